//! Data races through the whole machine.

use super::*;

const TILE: &str = ".shared .align 16 .b8 tile[4096];";

fn kinds(body: &str, before: &str, grid: u32, block: u32, words: &[u32]) -> Vec<FindingKind> {
    let text = kernel("sm_80", before, body);
    let (_, report) = run(2, &text, &LaunchConfig::new("k", grid, block), words);
    assert!(report.completed, "{:?}", report.findings);
    report.findings.iter().map(|f| f.kind).collect()
}

const EXCHANGE: &str = "
    mov.u32 %r2, tile; shl.b32 %r3, %r1, 2; add.u32 %r4, %r2, %r3;
    xor.b32 %r5, %r1, 63; shl.b32 %r5, %r5, 2; add.u32 %r5, %r5, %r2;
    st.shared.u32 [%r4], %r1;
    SYNC
    ld.shared.u32 %r6, [%r5];
    st.global.u32 [%rd3], %r6;";

#[test]
fn a_missing_barrier_is_a_race_and_a_barrier_is_none() {
    let with = |sync: &str| kinds(&EXCHANGE.replace("SYNC", sync), TILE, 1, 64, &[0; 64]);
    assert_eq!(with("bar.sync 0;"), []);
    assert!(with("").contains(&FindingKind::SharedRace));
    assert!(with("bar.warp.sync -1;").contains(&FindingKind::SharedRace));
}

#[test]
fn shuffles_order_nothing_and_a_warp_barrier_does() {
    let body = EXCHANGE.replace("63", "31");
    let with = |sync: &str| kinds(&body.replace("SYNC", sync), TILE, 1, 32, &[0; 32]);
    assert_eq!(with("bar.warp.sync -1;"), []);
    assert!(with("shfl.sync.bfly.b32 %r7, %r1, 1, 31, -1;").contains(&FindingKind::SharedRace));
}

#[test]
fn a_message_needs_release_and_acquire_of_wide_enough_scope() {
    // CTA 0 writes a word and raises a flag; CTA 1 waits for the flag and reads the word.
    let body = |store: &str, load: &str| {
        format!(
            "mov.u32 %r2, %ctaid.x; setp.ne.u32 %p1, %r2, 0; @%p1 bra WAIT;
             mov.u32 %r3, 42; st.global.u32 [%rd1], %r3; mov.u32 %r4, 1; {store} [%rd1+4], %r4; bra END;
             WAIT: {load} %r5, [%rd1+4]; setp.eq.u32 %p2, %r5, 0; @%p2 bra WAIT;
             ld.global.u32 %r6, [%rd1]; st.global.u32 [%rd1+8], %r6;
             END:"
        )
    };
    let of = |store: &str, load: &str| kinds(&body(store, load), "", 2, 1, &[0; 3]);
    assert_eq!(of("st.release.gpu.global.u32", "ld.acquire.gpu.global.u32"), []);
    assert!(of("st.release.cta.global.u32", "ld.acquire.gpu.global.u32").contains(&FindingKind::GlobalRace));
    assert!(of("st.relaxed.gpu.global.u32", "ld.acquire.gpu.global.u32").contains(&FindingKind::GlobalRace));
    assert!(of("st.release.gpu.global.u32", "ld.relaxed.gpu.global.u32").contains(&FindingKind::GlobalRace));
}

#[test]
fn a_copy_is_visible_to_its_own_thread_only_until_a_barrier() {
    let body = "
        mov.u32 %r2, tile; shl.b32 %r3, %r1, 2; add.u32 %r4, %r2, %r3;
        xor.b32 %r5, %r1, 63; shl.b32 %r5, %r5, 2; add.u32 %r5, %r5, %r2;
        cp.async.ca.shared.global [%r4], [%rd3], 4;
        cp.async.wait_all;
        SYNC
        ld.shared.u32 %r6, [%r5];
        st.global.u32 [%rd3+256], %r6;";
    let with = |sync: &str| kinds(&body.replace("SYNC", sync), TILE, 1, 64, &[5; 128]);
    assert_eq!(with("bar.sync 0;"), []);
    assert!(with("").contains(&FindingKind::SharedRace));
}

#[test]
fn a_matrix_load_sees_what_other_lanes_copied_only_behind_a_barrier_of_the_warp() {
    // Lane l copies the row that lane l ^ 1 names.
    let body = "
        mov.u32 %r2, tile; shl.b32 %r3, %r1, 4; add.u32 %r4, %r2, %r3; xor.b32 %r5, %r3, 16; add.u32 %r5, %r5, %r2;
        mul.wide.u32 %rd2, %r3, 1; add.u64 %rd3, %rd1, %rd2;
        cp.async.ca.shared.global [%r5], [%rd3], 16;
        cp.async.wait_all;
        SYNC
        ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r6, %r7, %r8, %r9}, [%r4];
        st.global.u32 [%rd3+512], %r6;";
    let with = |sync: &str| kinds(&body.replace("SYNC", sync), TILE, 1, 32, &[5; 256]);
    assert_eq!(with("bar.warp.sync -1;"), []);
    assert!(with("").contains(&FindingKind::SharedRace));
}

#[test]
fn the_read_only_path_must_not_see_what_the_grid_writes() {
    assert_eq!(
        kinds("ld.global.nc.u32 %r2, [%rd3];\nst.global.u32 [%rd3+128], %r2;", "", 1, 32, &[1; 64]),
        []
    );
    let found = kinds(
        "st.global.u32 [%rd3], %r1;\nld.global.nc.u32 %r2, [%rd3];\nst.global.u32 [%rd3+128], %r2;",
        "",
        1,
        32,
        &[1; 64],
    );
    assert!(found.contains(&FindingKind::ReadOnlyPath), "{found:?}");
}

#[test]
fn warps_that_hold_copies_of_a_value_may_write_it_to_the_same_place() {
    // Lane l of both warps writes to word l, without anything between them.
    let shared = |value: &str| {
        let body = format!(
            "mov.u32 %r2, tile; and.b32 %r3, %r1, 31; shl.b32 %r4, %r3, 2; add.u32 %r4, %r4, %r2;
                            {value} st.shared.u32 [%r4], %r5; bar.sync 0;
                            ld.shared.u32 %r6, [%r4]; st.global.u32 [%rd3], %r6;"
        );
        kinds(&body, TILE, 1, 64, &[0; 64])
    };
    assert_eq!(shared("mov.u32 %r5, %r3;"), [FindingKind::BenignRace]);
    assert!(shared("mov.u32 %r5, %r1;").contains(&FindingKind::SharedRace));
}

#[test]
fn lanes_of_one_store_may_write_the_same_value_to_the_same_place() {
    let shared = |value: &str| {
        let body = format!(
            "mov.u32 %r2, tile; {value} st.shared.u8 [%r2+4], %h1; bar.sync 0;
                            ld.shared.u8 %h2, [%r2+4]; cvt.u32.u16 %r4, %h2; st.global.u32 [%rd3], %r4;"
        );
        kinds(&body, TILE, 1, 32, &[0; 32])
    };
    // What a byte does not hold does not matter.
    assert_eq!(
        shared("shl.b32 %r3, %r1, 8; add.u32 %r3, %r3, 7; cvt.u16.u32 %h1, %r3;"),
        [FindingKind::BenignRace]
    );
    assert!(shared("cvt.u16.u32 %h1, %r1;").contains(&FindingKind::SharedRace));
    let global =
        |value: &str| kinds(&format!("{value} st.global.v2.u32 [%rd1], {{%r2, %r3}};"), "", 1, 32, &[0; 32]);
    assert_eq!(global("mov.u32 %r2, 5; mov.u32 %r3, 6;"), [FindingKind::BenignRace]);
    assert!(global("mov.u32 %r2, 5; mov.u32 %r3, %r1;").contains(&FindingKind::GlobalRace));
}

//! Barriers of a CTA.

use super::*;

const TILE: &str = ".shared .align 16 .b8 tile[4096];";

#[test]
fn a_reversal_through_shared_memory() {
    let body = "
        mov.u32 %r2, tile; shl.b32 %r3, %r1, 2; add.u32 %r4, %r2, %r3;
        st.shared.u32 [%r4], %r1;
        bar.sync 0;
        mov.u32 %r5, %ntid.x; sub.u32 %r5, %r5, 1; sub.u32 %r5, %r5, %r1;
        shl.b32 %r5, %r5, 2; add.u32 %r5, %r5, %r2;
        ld.shared.u32 %r6, [%r5];
        st.global.u32 [%rd3], %r6;";
    for seed in 0..8 {
        assert_eq!(threads(256, seed, "sm_80", TILE, body, &[0; 256]), (0..256).rev().collect::<Vec<u32>>());
    }
}

#[test]
fn lanes_that_end_are_not_waited_for() {
    let body =
        "and.b32 %r2, %r1, 16;\nsetp.ne.u32 %p1, %r2, 0;\n@%p1 exit;\nbar.sync 0;\nst.global.u32 [%rd3], 1;";
    let out = threads(128, 1, "sm_80", "", body, &[0; 128]);
    assert_eq!(out, (0..128).map(|i| u32::from(i & 16 == 0)).collect::<Vec<_>>());
    let warp_ends =
        "shr.u32 %r2, %r1, 5;\nsetp.eq.u32 %p1, %r2, 1;\n@%p1 exit;\nbar.sync 0;\nst.global.u32 [%rd3], 1;";
    let out = threads(96, 1, "sm_80", "", warp_ends, &[0; 96]);
    assert_eq!(out, (0..96).map(|i| u32::from(i / 32 != 1)).collect::<Vec<_>>());
}

#[test]
fn a_counted_barrier_does_wait_for_a_warp_that_ended() {
    let body = "shr.u32 %r2, %r1, 5;\nsetp.eq.u32 %p1, %r2, 1;\n@%p1 exit;\nbar.sync 1, 64;";
    let (_, report) = run(0, &kernel("sm_80", "", body), &LaunchConfig::new("k", 1, 64), &[0; 64]);
    let finding = report.of(FindingKind::Deadlock).next().expect("a deadlock");
    assert!(
        finding.message.contains("warp 0") && finding.message.contains("bar.sync"),
        "{}",
        finding.message
    );
}

#[test]
fn reductions_count_all_threads() {
    let body = "
        rem.u32 %r2, %r1, 3;
        setp.eq.u32 %p1, %r2, 0;
        bar.red.popc.u32 %r3, 0, %p1;
        bar.red.and.pred %p2, 1, !%p1;
        bar.red.or.pred %p3, 2, %p1;
        selp.u32 %r4, 1000, 0, %p2;
        selp.u32 %r5, 2000, 0, %p3;
        add.u32 %r3, %r3, %r4;
        add.u32 %r3, %r3, %r5;
        st.global.u32 [%rd3], %r3;";
    let count = (0..96).filter(|i| i % 3 == 0).count() as u32;
    assert_eq!(threads(96, 2, "sm_80", "", body, &[0; 96]), [count + 2000; 96]);
}

#[test]
fn a_ring_of_arrive_and_sync_hands_values_over() {
    // Warp 0 produces into one word, warp 1 consumes: full = barrier 1, empty = barrier 2.
    let body = "
        mov.u32 %r2, tile;
        shr.u32 %r3, %r1, 5; setp.ne.u32 %p1, %r3, 0;
        mov.u32 %r4, 0; mov.u32 %r5, 0;
        and.b32 %r8, %r1, 31; shl.b32 %r9, %r8, 2; add.u32 %r2, %r2, %r9;
        @%p1 bra CONSUMER;
    PRODUCE:
        bar.sync 2, 64;
        mul.lo.u32 %r6, %r4, 3; st.shared.u32 [%r2], %r6;
        bar.arrive 1, 64;
        add.u32 %r4, %r4, 1; setp.lt.u32 %p2, %r4, 300; @%p2 bra PRODUCE;
        bra END;
    CONSUMER:
        bar.arrive 2, 64;
    CONSUME:
        bar.sync 1, 64;
        ld.shared.u32 %r6, [%r2]; add.u32 %r5, %r5, %r6;
        add.u32 %r4, %r4, 1; setp.lt.u32 %p2, %r4, 300;
        @%p2 bar.arrive 2, 64;
        @%p2 bra CONSUME;
        st.global.u32 [%rd3], %r5;
    END:";
    let sum: u32 = (0..300).map(|i| 3 * i).sum();
    for seed in 0..4 {
        let out = threads(64, seed, "sm_80", TILE, body, &[0; 64]);
        assert_eq!(out[32..], [sum; 32]);
    }
}

#[test]
fn a_divergent_barrier_is_reported() {
    let body = "setp.lt.u32 %p1, %r1, 16;\n@%p1 bra A;\nbar.sync 0;\nadd.u32 %r2, %r1, 1;\nbra B;\nA: bar.sync 0;\nB:";
    let (_, report) = run(1, &kernel("sm_80", "", body), &LaunchConfig::new("k", 1, 32), &[0; 32]);
    assert!(report.of(FindingKind::BarrierMisuse).next().is_some(), "{:?}", report.findings);
}

#[test]
fn a_barrier_without_aligned_may_be_reached_in_pieces() {
    let body = "setp.lt.u32 %p1, %r1, 16;\n@%p1 bra A;\nbarrier.sync 0;\nmov.u32 %r2, 1;\nbra B;\nA: barrier.sync 0;\nmov.u32 %r2, 2;\nB: st.global.u32 [%rd3], %r2;";
    for seed in 0..6 {
        let out = threads(64, seed, "sm_80", "", body, &[0; 64]);
        assert_eq!(out, (0..64).map(|i| if i < 16 { 2 } else { 1 }).collect::<Vec<u32>>());
    }
}

#[test]
fn a_wrong_number_or_count_is_reported() {
    let misuse = |body: &str| {
        let (_, report) = run(0, &kernel("sm_80", "", body), &LaunchConfig::new("k", 1, 64), &[0; 64]);
        report
            .of(FindingKind::BarrierMisuse)
            .next()
            .map(|f| f.message.clone())
            .unwrap_or_else(|| panic!("{:?}", report.findings))
    };
    assert!(misuse("mov.u32 %r2, 16;\nbar.sync %r2;").contains("barrier 16"));
    assert!(misuse("mov.u32 %r2, 40;\nbar.sync 1, %r2;").contains("40"));
    assert!(misuse("bar.arrive 1, 64;\nbar.sync 1, 64;").contains("twice"));
}

use super::*;

const TILE: &str = ".shared .align 128 .b8 tile[1024]; .shared .align 8 .b64 bar;";

/// Registers: `%r1` the tile, `%r2` the barrier, initialised for `count`; `%p1` is thread 0.
fn start(count: u32) -> String {
    format!(
        "mov.u32 %r1, tile; mov.u32 %r2, bar; setp.eq.u32 %p1, %r0, 0;
        @%p1 mbarrier.init.shared::cta.b64 [%r2], {count}; fence.mbarrier_init.release.cluster; bar.sync 0;"
    )
}

const WAIT: &str = "W: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r2], 0; @!%p2 bra W;";

/// Thread i stores word i of the tile as result i.
const OUT: &str = "shl.b32 %r50, %r0, 2; add.u32 %r51, %r1, %r50; ld.shared.u32 %r52, [%r51];
    cvt.u64.u32 %d50, %r50; add.u64 %d50, %a0, %d50; st.global.u32 [%d50], %r52;";

fn words_from(first: u32, n: u32) -> Vec<u32> {
    (first..first + n).collect()
}

#[test]
fn a_load_lands_whole_before_its_barrier_passes() {
    let body = format!(
        "{} @%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 512;
        @%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%a1], 512, [%r2];
        {WAIT} {OUT}",
        start(1)
    );
    for seed in SEEDS {
        let input = words_from(9, 128);
        assert_eq!(clean(&kernel("sm_90", TILE, &body), seed, (1, 128, 1), 128, &input), input);
    }
}

#[test]
fn a_load_is_not_done_when_it_is_issued() {
    let body = format!(
        "{} st.shared.u32 [%r1], 77; fence.proxy.async;
        mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 16;
        cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%a1], 16, [%r2];
        ld.shared.u32 %r3, [%r1]; st.global.u32 [%a0], %r3; {WAIT}",
        start(1)
    );
    let text = kernel("sm_90", TILE, &body);
    let seen: Vec<u32> = (0..20).map(|seed| run_with(&text, seed, (1, 1, 1), 1, &[5; 4]).1[0]).collect();
    assert!(seen.contains(&77), "some seed shows the bytes of before: {seen:?}");
}

#[test]
fn a_store_lands_after_its_wait_and_reads_its_source_before_wait_read_returns() {
    let fill = "shl.b32 %r3, %r0, 2; add.u32 %r4, %r1, %r3; st.shared.u32 [%r4], %r0; fence.proxy.async.shared::cta; bar.sync 0;";
    let body = format!(
        "{} {fill} @!%p1 bra END;
        cp.async.bulk.global.shared::cta.bulk_group [%a0], [%r1], 128;
        cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 0;
        st.shared.u32 [%r1], 99;
        cp.async.bulk.wait_group 0;
        ld.global.u32 %r5, [%a0+4]; st.global.u32 [%a0+128], %r5;
        END:",
        start(1)
    );
    for seed in SEEDS {
        let mut wanted = words_from(0, 32);
        wanted.push(1);
        assert_eq!(clean(&kernel("sm_90", TILE, &body), seed, (1, 32, 1), 33, &[]), wanted);
    }
    // Without the wait the source changes under some seed before it is read.
    let text = kernel("sm_90", TILE, &body.replace("cp.async.bulk.wait_group.read 0;", ""));
    let firsts: Vec<u32> = (0..20).map(|seed| run_with(&text, seed, (1, 32, 1), 33, &[]).1[0]).collect();
    assert!(firsts.contains(&99) && firsts.contains(&0), "{firsts:?}");
    // `.read` is not the whole: under some seed the destination is still old.
    let early = kernel("sm_90", TILE, &body.replace("cp.async.bulk.wait_group 0;", ""));
    let seen: Vec<u32> = (0..20).map(|seed| run_with(&early, seed, (1, 32, 1), 33, &[]).1[32]).collect();
    assert!(seen.contains(&0), "{seen:?}");
}

#[test]
fn groups_are_waited_for_in_order() {
    // Three stores, one a group; after wait_group 1 the first two are there.
    let body = format!(
        "{} st.shared.u32 [%r1], 11; st.shared.u32 [%r1+16], 12; st.shared.u32 [%r1+32], 13; fence.proxy.async.shared::cta;
        mov.u32 %r3, 0; add.u64 %d1, %a0, 64; add.u64 %d2, %a0, 80; add.u64 %d3, %a0, 96; add.u32 %r4, %r1, 16; add.u32 %r5, %r1, 32;
        cp.async.bulk.global.shared::cta.bulk_group [%d1], [%r1], 16; cp.async.bulk.commit_group;
        cp.async.bulk.global.shared::cta.bulk_group [%d2], [%r4], 16; cp.async.bulk.commit_group;
        cp.async.bulk.global.shared::cta.bulk_group [%d3], [%r5], 16; cp.async.bulk.commit_group;
        cp.async.bulk.wait_group 1;
        ld.global.u32 %r6, [%a0+64]; ld.global.u32 %r7, [%a0+80]; ld.global.u32 %r8, [%a0+96];
        cp.async.bulk.wait_group 0;
        st.global.u32 [%a0], %r6; st.global.u32 [%a0+4], %r7; st.global.u32 [%a0+8], %r8;",
        start(1)
    );
    let text = kernel("sm_90", TILE, &body);
    let mut thirds = Vec::new();
    for seed in 0..20 {
        let (_, words) = run_with(&text, seed, (1, 1, 1), 32, &[]);
        assert_eq!(words[..2], [11, 12]);
        thirds.push(words[2]);
    }
    assert!(thirds.contains(&0), "the last group may be pending: {thirds:?}");
}

#[test]
fn reductions_combine_by_element_in_any_order() {
    let body = "mov.u32 %r1, tile; shl.b32 %r3, %r0, 2; add.u32 %r4, %r1, %r3; mov.u32 %r9, %ctaid.x; add.u32 %r9, %r9, 1;
        mul.lo.u32 %r5, %r0, %r9; cvt.rn.f32.u32 %f1, %r5; st.shared.f32 [%r4], %f1; fence.proxy.async.shared::cta; bar.sync 0;
        setp.eq.u32 %p1, %r0, 0;
        @%p1 cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%a0], [%r1], 128;
        @%p1 cp.async.bulk.commit_group; @%p1 cp.async.bulk.wait_group 0;";
    for seed in SEEDS {
        let words = clean(&kernel("sm_90", TILE, body), seed, (4, 32, 1), 32, &[]);
        let wanted: Vec<u32> = (0..32).map(|i| ((1 + 2 + 3 + 4) as f32 * i as f32).to_bits()).collect();
        assert_eq!(words, wanted);
    }
    let cases: [(&str, &str, fn(u32) -> u32); 4] = [
        ("max.s32", "-5", |i| i),
        ("or.b32", "0x80000001", |i| i | 0x8000_0001),
        ("inc.u32", "3", |i| if i >= 3 { 0 } else { i + 1 }),
        // The halves add up as f16: 2 + i * 2^-24 is 2 again, and the upper half is 2.
        ("add.noftz.f16", "0x40004000", |_| 0x4000_4000),
    ];
    for (operation, value, wanted) in cases {
        let body = format!(
            "mov.u32 %r1, tile; shl.b32 %r3, %r0, 2; add.u32 %r4, %r1, %r3; mov.b32 %r5, {value}; st.shared.u32 [%r4], %r5;
            cvt.u64.u32 %d1, %r3; add.u64 %d2, %a0, %d1; st.global.u32 [%d2], %r0; fence.proxy.async; bar.sync 0;
            setp.eq.u32 %p1, %r0, 0;
            @%p1 cp.reduce.async.bulk.global.shared::cta.bulk_group.{operation} [%a0], [%r1], 128;
            @%p1 cp.async.bulk.commit_group; @%p1 cp.async.bulk.wait_group 0;"
        );
        let words = clean(&kernel("sm_90", TILE, &body), 1, (1, 32, 1), 32, &[]);
        assert_eq!(words, (0..32).map(wanted).collect::<Vec<u32>>(), "{operation}");
    }
}

/// Meeting of the cluster, and what the ranks do between two of them.
fn clustered(first: &str, rest: &str) -> String {
    let meet = "barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;";
    format!("mov.u32 %r9, %cluster_ctarank; {} {first} {meet} {rest} {meet}", start(1))
}

const OUT_BY_RANK: &str = "shl.b32 %r50, %r0, 2; add.u32 %r51, %r1, %r50; ld.shared.u32 %r52, [%r51];
    mad.lo.u32 %r50, %r9, 128, %r50; cvt.u64.u32 %d50, %r50; add.u64 %d50, %a0, %d50; st.global.u32 [%d50], %r52;";

#[test]
fn a_multicast_lands_in_every_cta_and_signals_every_barrier() {
    let rest = format!(
        "@%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 128;
        setp.eq.and.u32 %p3, %r9, 1, %p1; mov.u16 %h1, 5;
        @%p3 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r1], [%a1], 128, [%r2], %h1;
        mov.u16 %h2, 10;
        @%p3 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r1], [%d1], 128, [%r2], %h2;
        {WAIT} {OUT_BY_RANK}"
    );
    let text = kernel("sm_90", TILE, &clustered("add.u64 %d1, %a1, 128;", &rest));
    for seed in SEEDS {
        let input = words_from(0, 64);
        let words = clean(&text, seed, (4, 32, 4), 128, &input);
        // Ranks 0 and 2 get the first 32 words, 1 and 3 the others.
        let wanted: Vec<u32> = (0..128).map(|i| i % 32 + i / 32 % 2 * 32).collect();
        assert_eq!(words, wanted);
    }
}

#[test]
fn copies_and_reductions_between_ctas_complete_at_the_destination() {
    for (instruction, base) in [
        ("cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes", 0),
        ("cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.add.u32", 1000),
    ] {
        let first = "shl.b32 %r3, %r0, 2; add.u32 %r4, %r1, %r3; mov.u32 %r5, 1000; setp.eq.u32 %p4, %r9, 0;
            @!%p4 add.u32 %r5, %r0, 7; st.shared.u32 [%r4], %r5; fence.proxy.async;";
        let rest = format!(
            "@!%p4 bra SEND;
            @%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 128; {WAIT} {OUT_BY_RANK} bra.uni DONE;
            SEND: mov.u32 %r10, 0; mapa.shared::cluster.u32 %r11, %r1, %r10; mapa.shared::cluster.u32 %r12, %r2, %r10;
            @%p1 {instruction} [%r11], [%r1], 128, [%r12];
            DONE:"
        );
        let text = kernel("sm_90", TILE, &clustered(first, &rest));
        for seed in SEEDS {
            let words = clean(&text, seed, (2, 32, 2), 64, &[]);
            assert_eq!(words[..32], words_from(base + 7, 32), "{instruction}");
        }
    }
}

#[test]
fn byte_masks_and_ignored_ends() {
    let body = format!(
        "{} shl.b32 %r3, %r0, 2; add.u32 %r4, %r1, %r3; mov.u32 %r5, 0x11111111; st.shared.u32 [%r4], %r5;
        fence.proxy.async.shared::cta; bar.sync 0; mov.u16 %h1, 0x8003;
        @%p1 cp.async.bulk.global.shared::cta.bulk_group.cp_mask [%a0], [%r1], 32, %h1;
        @%p1 cp.async.bulk.commit_group; @%p1 cp.async.bulk.wait_group 0;",
        start(1)
    );
    let words = clean(&kernel("sm_100", TILE, &body), 0, (1, 32, 1), 8, &[]);
    assert_eq!(words, [0x1111, 0, 0, 0x1100_0000, 0x1111, 0, 0, 0x1100_0000]);
    let ends = |left: u32, read: u32| {
        format!(
            "{} @%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 64;
            @%p1 cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes.ignore_oob [%r1], [%d1], 64, {left}, 0, [%r2];
            {WAIT} ld.shared.u32 %r3, [%r1+{read}]; @%p1 st.global.u32 [%a0], %r3; // MARK",
            format!("sub.u64 %d1, %a1, 16; {}", start(1))
        )
    };
    // The first 12 of the 16 bytes before the buffer may be ignored; all 16 may not, and reading them is a mistake.
    let (report, _) = run_with(&kernel("sm_90", TILE, &ends(12, 16)), 0, (1, 1, 1), 1, &words_from(5, 16));
    finding(&report, FindingKind::OutOfBounds, "input");
    let inside = ends(12, 16).replace("sub.u64 %d1, %a1, 16;", "mov.u64 %d1, %a1;");
    assert_eq!(clean(&kernel("sm_90", TILE, &inside), 0, (1, 1, 1), 1, &words_from(5, 16)), [9]);
    let stale = kernel("sm_90", TILE, &ends(12, 0).replace("sub.u64 %d1, %a1, 16;", "mov.u64 %d1, %a1;"));
    let (report, _) = run_with(&stale, 0, (1, 1, 1), 1, &words_from(5, 16));
    assert_eq!(finding(&report, FindingKind::Uninitialised, "").place.line, line_of(&stale, "MARK"));
}

#[test]
fn misuse_is_reported_with_the_buffer() {
    let load = "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes";
    let cases = [
        (format!("{load} [%r1], [%a1], 24, [%r2];"), FindingKind::AsyncMisuse, "24 bytes", None),
        (format!("{load} [%r1], [%a1+4], 16, [%r2];"), FindingKind::Misaligned, "no multiple of 16", None),
        (format!("{load} [%r1+8], [%a1], 16, [%r2];"), FindingKind::Misaligned, "the destination", None),
        (format!("{load} [%r1], [%a1+64], 16, [%r2];"), FindingKind::OutOfBounds, "offset 64 of the buffer `input` of 64", Some("input")),
        (format!("{load} [%r1+1008], [%a1], 64, [%r2];"), FindingKind::OutOfBounds, "the destination", None),
        (format!("{load} [%r1], [%a1], 16, [%r2+4];"), FindingKind::Misaligned, "the mbarrier", None),
        (format!("{load} [%r1], [%a1], 16, [%r1+512];"), FindingKind::MbarrierMisuse, "no initialised mbarrier", Some("tile")),
        (format!("{load} [%r2+-8], [%a1], 16, [%r2];").replace("[%r2+-8]", "[%r2]"), FindingKind::MbarrierMisuse, "overwrite", Some("bar")),
        ("cp.async.bulk.global.shared::cta.bulk_group [%a0], [%r1], 16;".into(), FindingKind::AsyncMisuse, "the CTA ends", None),
        ("cp.async.bulk.global.shared::cta.bulk_group [%a0], [%r1], 16; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;".into(), FindingKind::Uninitialised, "never written", Some("tile")),
    ];
    for (statement, kind, message, buffer) in cases {
        // The barrier stands on a multiple of 16 so that the copy over it is aligned.
        let shared = ".shared .align 128 .b8 tile[1024]; .shared .align 16 .b64 bar[2];";
        let text = kernel("sm_90", shared, &format!("{} {statement} // MARK", start(1)));
        let (report, _) = run_with(&text, 0, (1, 1, 1), 64, &[1; 16]);
        let found = finding(&report, kind, message);
        assert_eq!(found.place.line, line_of(&text, "MARK"), "{statement}");
        if buffer.is_some() {
            assert_eq!(found.buffer.as_deref(), buffer, "{statement}");
        }
    }
}

#[test]
fn a_read_of_an_mbarrier_by_an_ordinary_load_is_reported() {
    let text = kernel("sm_90", TILE, &format!("{} ld.shared.u32 %r3, [%r2]; // MARK", start(1)));
    let (report, _) = run_with(&text, 0, (1, 1, 1), 1, &[]);
    assert_eq!(finding(&report, FindingKind::MbarrierMisuse, "ordinary").place.line, line_of(&text, "MARK"));
}

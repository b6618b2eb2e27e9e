//! Lanes together: shuffles, votes, locks, meeting again.

use super::*;

/// The ISA's words, lane by lane, as a table of which lane is read.
fn shuffle_model(mode: &str, lane: i32, b: i32, width: i32) -> (i32, bool) {
    let first = lane / width * width;
    let (j, ok) = match mode {
        "up" => (lane - b, lane - b >= first),
        "down" => (lane + b, lane + b < first + width),
        "bfly" => (lane ^ b, (lane ^ b) < first + width),
        _ => (first + b % width, true),
    };
    if ok { (j, true) } else { (lane, false) }
}

#[test]
fn shuffles_stay_in_their_segments() {
    for mode in ["up", "down", "bfly", "idx"] {
        for width in [2, 8, 32] {
            for b in [0, 1, 3, 7, 8, 31] {
                let c = (32 - width) << 8 | if mode == "up" { 0 } else { 31 };
                let body = format!(
                    "mul.lo.u32 %r2, %r1, 5;\nshfl.sync.{mode}.b32 %r3|%p1, %r2, {b}, {c}, -1;\nselp.u32 %r4, 1000, 0, %p1;\n\
                     add.u32 %r3, %r3, %r4;\nst.global.u32 [%rd3], %r3;"
                );
                let expected: Vec<u32> = (0..32)
                    .map(|lane| {
                        let (j, ok) = shuffle_model(mode, lane, b, width);
                        j as u32 * 5 + if ok { 1000 } else { 0 }
                    })
                    .collect();
                assert_eq!(one_warp("sm_80", "", &body, &[0; 32]), expected, "{mode} {width} {b}");
            }
        }
    }
}

#[test]
fn votes_matches_and_reductions() {
    let body = "
        rem.u32 %r2, %r1, 5;
        setp.eq.u32 %p1, %r2, 0;
        vote.sync.ballot.b32 %r3, %p1, -1;
        vote.sync.any.pred %p2, %p1, -1;
        vote.sync.all.pred %p3, %p1, -1;
        vote.sync.uni.pred %p4, %p3, -1;
        match.any.sync.b32 %r4, %r2, -1;
        match.all.sync.b32 %r5|%p5, %r2, -1;
        redux.sync.add.s32 %r6, %r1, -1;
        redux.sync.max.u32 %r7, %r2, -1;
        redux.sync.xor.b32 %r8, %r1, -1;
        selp.u32 %r9, 1, 0, %p2; selp.u32 %r10, 2, 0, %p3; selp.u32 %r11, 4, 0, %p4; selp.u32 %r12, 8, 0, %p5;
        add.u32 %r9, %r9, %r10; add.u32 %r9, %r9, %r11; add.u32 %r9, %r9, %r12;
        xor.b32 %r3, %r3, %r4; add.u32 %r3, %r3, %r5; add.u32 %r3, %r3, %r6; add.u32 %r3, %r3, %r7; add.u32 %r3, %r3, %r8;
        add.u32 %r3, %r3, %r9;
        st.global.u32 [%rd3], %r3;";
    let of = |k: u32| (0..32).filter(|i| i % 5 == k).fold(0u32, |m, i| m | 1 << i);
    let xor = (0..32).fold(0, |a, b| a ^ b);
    let expected: Vec<u32> = (0..32).map(|i| (of(0) ^ of(i % 5)).wrapping_add(496 + 4 + xor + 5)).collect();
    assert_eq!(one_warp("sm_80", "", body, &[0; 32]), expected);
}

#[test]
fn the_same_mask_meets_at_different_places() {
    let body = "
        setp.lt.u32 %p1, %r1, 16;
        @%p1 bra A;
        add.u32 %r2, %r1, 100;
        shfl.sync.bfly.b32 %r3, %r2, 16, 31, -1;
        bra B;
    A:  add.u32 %r2, %r1, 200;
        shfl.sync.bfly.b32 %r3, %r2, 16, 31, -1;
    B:  st.global.u32 [%rd3], %r3;";
    let expected: Vec<u32> = (0..32).map(|i: u32| (i ^ 16) + if i < 16 { 100 } else { 200 }).collect();
    for seed in 0..8 {
        assert_eq!(threads(32, seed, "sm_80", "", body, &[0; 32]), expected);
    }
}

#[test]
fn a_mask_of_lanes_that_ended_in_part_is_fine_and_a_foreign_lane_is_not() {
    let body = "setp.gt.u32 %p1, %r1, 7;\n@%p1 exit;\nshfl.sync.idx.b32 %r2, %r1, 3, 31, -1;\nst.global.u32 [%rd3], %r2;";
    let out = one_warp("sm_80", "", body, &[9; 32]);
    assert_eq!(out, (0..32).map(|i| if i < 8 { 3 } else { 9 }).collect::<Vec<u32>>());
    let wrong = "setp.gt.u32 %p1, %r1, 7;\n@%p1 exit;\nshfl.sync.idx.b32 %r2, %r1, 9, 31, -1;";
    let (_, report) = run(0, &kernel("sm_80", "", wrong), &LaunchConfig::new("k", 1, 32), &[0; 32]);
    assert!(report.of(FindingKind::WarpMisuse).next().is_some(), "{:?}", report.findings);
    let foreign = "shfl.sync.idx.b32 %r2, %r1, 0, 31, 1;";
    let (_, report) = run(0, &kernel("sm_80", "", foreign), &LaunchConfig::new("k", 1, 32), &[0; 32]);
    assert!(report.of(FindingKind::WarpMisuse).next().is_some(), "{:?}", report.findings);
}

#[test]
fn lanes_that_spin_on_a_lock_of_their_own_warp_end() {
    // Each lane takes the lock, adds to a counter without atomics, and lets the lock go.
    let body = "
    TRY:
        atom.global.acquire.gpu.cas.b32 %r2, [%rd1], 0, 1;
        setp.ne.u32 %p1, %r2, 0;
        @%p1 bra TRY;
        ld.relaxed.gpu.global.u32 %r3, [%rd1+4];
        add.u32 %r3, %r3, 1;
        st.relaxed.gpu.global.u32 [%rd1+4], %r3;
        st.release.gpu.global.u32 [%rd1], 0;";
    for seed in 0..3 {
        let (out, report) = run(seed, &kernel("sm_80", "", body), &LaunchConfig::new("k", 2, 64), &[0, 0]);
        assert!(report.completed, "{:?}", report.findings);
        assert_eq!(out, [0, 128]);
    }
}

const MMA: &str = "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1, %f2, %f3, %f4}, {%r2, %r2, %r2, %r2}, {%r2, %r2}, {%f5, %f5, %f5, %f5};";

#[test]
fn lanes_meet_before_an_aligned_instruction() {
    // Ones times ones: each element is 16.
    let body = format!(
        "mov.u32 %r2, 0x3C003C00;\nmov.f32 %f5, 0f00000000;\nsetp.lt.u32 %p1, %r1, 16;\n@%p1 bra A;\nadd.u32 %r3, %r1, 1;\nbra B;\n\
         A: add.u32 %r3, %r1, 2;\nB:\n{MMA}\nst.global.f32 [%rd3], %f3;"
    );
    for seed in 0..4 {
        assert_eq!(threads(32, seed, "sm_80", "", &body, &[0; 32]), [16f32.to_bits(); 32]);
    }
}

#[test]
fn an_aligned_instruction_in_a_branch_is_reported() {
    let body = format!(
        "mov.u32 %r2, 0x3C003C00;\nmov.f32 %f5, 0f00000000;\nsetp.lt.u32 %p1, %r1, 16;\n@%p1 bra B;\n{MMA}\nst.global.f32 [%rd3], %f1;\nB:\nadd.u32 %r3, %r1, 1;"
    );
    for seed in 0..4 {
        let (_, report) = run(seed, &kernel("sm_80", "", &body), &LaunchConfig::new("k", 1, 32), &[0; 32]);
        assert!(report.of(FindingKind::MissingLanes).next().is_some(), "{:?}", report.findings);
    }
}

#[test]
fn an_elected_lane_is_the_lowest_of_the_mask() {
    let body = "elect.sync %r2|%p1, -1;\nselp.u32 %r3, 100, 0, %p1;\nadd.u32 %r3, %r3, %r2;\nst.global.u32 [%rd3], %r3;";
    assert_eq!(
        one_warp("sm_90", "", body, &[7; 32]),
        (0..32).map(|i| if i == 0 { 100 } else { 0 }).collect::<Vec<u32>>()
    );
}

#[test]
fn an_active_mask_is_split_under_some_seed() {
    let body = "activemask.b32 %r2;\nst.global.u32 [%rd3], %r2;";
    let mut whole = 0;
    for seed in 0..32 {
        let (out, _) = run(seed, &kernel("sm_80", "", body), &LaunchConfig::new("k", 1, 32), &[0; 32]);
        assert!(out.iter().enumerate().all(|(l, m)| m >> l & 1 == 1));
        whole += u32::from(out.iter().all(|m| *m == u32::MAX));
    }
    assert!(whole > 0 && whole < 32, "{whole} of 32");
}

#[test]
fn matrices_go_through_shared_memory_and_back() {
    // Row r of the matrix holds 8 numbers 8r..8r+8; the transpose comes back by `.trans`.
    let before = ".shared .align 16 .b8 tile[1024];";
    let body = "
        mov.u32 %r2, tile; and.b32 %r3, %r1, 7; shl.b32 %r3, %r3, 4; add.u32 %r4, %r2, %r3;
        shl.b32 %r5, %r1, 1; add.u32 %r6, %r5, 1; shl.b32 %r6, %r6, 16; or.b32 %r5, %r5, %r6;
        stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r4], {%r5};
        bar.warp.sync -1;
        ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%r7}, [%r4];
        movmatrix.sync.aligned.m8n8.trans.b16 %r8, %r7;
        sub.u32 %r9, %r8, %r5;
        shl.b32 %r9, %r9, 1;
        add.u32 %r7, %r7, %r9;
        st.global.u32 [%rd3], %r7;";
    let element = |row: u32, column: u32| row * 8 + column;
    let expected: Vec<u32> = (0..32)
        .map(|lane| {
            let (g, t) = (lane / 4, lane % 4);
            element(2 * t, g) | element(2 * t + 1, g) << 16
        })
        .collect();
    assert_eq!(one_warp("sm_90", before, body, &[0; 32]), expected);
}

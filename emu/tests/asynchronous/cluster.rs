use super::*;

const CELL: &str = ".shared .align 16 .b32 cell[32]; .shared .align 8 .b64 bar;";
const MEET: &str = "barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;";

/// Each thread of each CTA writes 1000 * rank + thread to its own cell.
fn fill() -> String {
    "mov.u32 %r1, cell; shl.b32 %r2, %r0, 2; add.u32 %r3, %r1, %r2;
     mov.u32 %r4, %cluster_ctarank; mad.lo.u32 %r5, %r4, 1000, %r0; mov.u32 %r6, %cluster_nctarank;"
        .to_owned()
}

/// Result index: 32 * CTA + thread.
const STORE: &str = "mov.u32 %r50, %ctaid.x; mad.lo.u32 %r50, %r50, 32, %r0; mul.wide.u32 %d50, %r50, 4;
     add.u64 %d50, %a0, %d50; st.global.u32 [%d50], %r20;";

#[test]
fn neighbours_read_each_other_in_clusters_of_four_by_both_forms_of_mapa() {
    let by_shared = "mapa.shared::cluster.u32 %r10, %r3, %r9; ld.shared::cluster.u32 %r20, [%r10];
                     getctarank.shared::cluster.u32 %r11, %r10;";
    let by_generic =
        "cvt.u64.u32 %d1, %r3; cvta.shared.u64 %d2, %d1; mapa.u64 %d3, %d2, %r9; ld.u32 %r20, [%d3];
                      getctarank.u64 %r11, %d3;";
    for read in [by_shared, by_generic] {
        let body = format!(
            "{} st.shared.u32 [%r3], %r5; {MEET}
            add.u32 %r9, %r4, 1; rem.u32 %r9, %r9, %r6; {read}
            setp.ne.u32 %p1, %r11, %r9; @%p1 trap; {MEET} {STORE}",
            fill()
        );
        let text = kernel("sm_90", CELL, &body);
        for seed in SEEDS {
            let words = clean(&text, seed, (8, 32, 4), 256, &[]);
            let wanted: Vec<u32> = (0..256).map(|i| (i / 32 % 4 + 1) % 4 * 1000 + i % 32).collect();
            assert_eq!(words, wanted);
        }
    }
}

#[test]
fn a_remote_store_is_there_after_the_cluster_barrier() {
    let body = format!(
        "{} {MEET}
        xor.b32 %r9, %r4, 1; mapa.shared::cluster.u32 %r10, %r3, %r9; st.shared::cluster.u32 [%r10], %r5; {MEET}
        ld.shared.u32 %r20, [%r3]; {STORE}",
        fill()
    );
    for seed in SEEDS {
        let wanted: Vec<u32> = (0..64).map(|i| (1 - i / 32) * 1000 + i % 32).collect();
        assert_eq!(clean(&kernel("sm_90", CELL, &body), seed, (2, 32, 2), 64, &[]), wanted);
    }
}

/// Rank 0 initialises a barrier for one arrival that announces bytes; others send to it.
fn sending(send: &str, bytes: u32) -> String {
    format!(
        "{} mov.u32 %r7, 0; st.shared.u32 [%r3], 7; mov.u32 %r8, bar; setp.eq.u32 %p1, %r0, 0;
        @%p1 mbarrier.init.shared::cta.b64 [%r8], 1; @%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r8], {bytes};
        fence.mbarrier_init.release.cluster; {MEET}
        setp.eq.u32 %p2, %r4, 0; @%p2 bra RECEIVE;
        mapa.shared::cluster.u32 %r10, %r3, %r7; mapa.shared::cluster.u32 %r11, %r8, %r7; mapa.shared::cluster.u32 %r12, %r1, %r7;
        {send}
        bra.uni END;
        RECEIVE:
        W: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %p3, [%r8], 0; @!%p3 bra W;
        ld.shared.u32 %r20, [%r3]; {STORE}
        END: {MEET}",
        fill()
    )
}

#[test]
fn asynchronous_stores_complete_on_the_barrier_of_their_destination() {
    let send = "st.async.shared::cluster.mbarrier::complete_tx::bytes.u32 [%r10], %r5, [%r11];";
    for seed in SEEDS {
        let words = clean(&kernel("sm_90", CELL, &sending(send, 128)), seed, (2, 32, 2), 64, &[]);
        assert_eq!(words[..32], (1000..1032).collect::<Vec<u32>>());
    }
    let vector = "setp.lt.u32 %p4, %r0, 8; shl.b32 %r13, %r0, 4; add.u32 %r12, %r12, %r13; add.u32 %r14, %r5, 100;
        @%p4 st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%r12], {%r5, %r14, %r5, %r14}, [%r11];";
    for seed in SEEDS {
        let words = clean(&kernel("sm_90", CELL, &sending(vector, 128)), seed, (2, 32, 2), 64, &[]);
        assert_eq!(words[..32], (0..32).map(|i| 1000 + i / 4 + i % 2 * 100).collect::<Vec<u32>>());
    }
}

#[test]
fn asynchronous_reductions_add_up_from_three_peers() {
    let send =
        "red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 [%r10], %r5, [%r11];";
    for seed in SEEDS {
        let words = clean(&kernel("sm_90", CELL, &sending(send, 3 * 128)), seed, (4, 32, 4), 128, &[]);
        assert_eq!(words[..32], (0..32).map(|i| 7 + 6000 + 3 * i).collect::<Vec<u32>>());
    }
}

#[test]
fn remote_arrivals_and_announcements_reach_the_barrier_of_rank_0() {
    let send = "fence.acq_rel.cluster;
        mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r11];";
    let body = sending(send, 0).replace("[%r8], 1;", "[%r8], 33;").replace(
        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r8], 0;",
        "mbarrier.arrive.shared::cta.b64 _, [%r8];",
    );
    for seed in SEEDS {
        let words = clean(&kernel("sm_90", CELL, &body), seed, (2, 32, 2), 64, &[]);
        assert_eq!(words[..32], [7; 32]);
    }
}

#[test]
fn shared_memory_of_a_peer_that_has_ended_is_reported() {
    // Rank 1 leaves after the first barrier; rank 0 waits for long before it reads.
    let body = format!(
        "{} st.shared.u32 [%r3], %r5; {MEET}
        setp.eq.u32 %p1, %r4, 1; @%p1 bra END;
        mov.u32 %r7, 0; SPIN: add.u32 %r7, %r7, 1; setp.lt.u32 %p2, %r7, 3000; @%p2 bra SPIN;
        mov.u32 %r9, 1; mapa.shared::cluster.u32 %r10, %r3, %r9;
        ld.shared::cluster.u32 %r20, [%r10]; // MARK
        {STORE} END:",
        fill()
    );
    let text = kernel("sm_90", CELL, &body);
    for seed in SEEDS {
        let (report, _) = run_with(&text, seed, (2, 32, 2), 64, &[]);
        let found = finding(&report, FindingKind::ClusterLifetime, "");
        assert_eq!(found.place.line, line_of(&text, "MARK"));
    }
    let kept = text.replace("END:", &format!("END: {MEET}"));
    for seed in SEEDS {
        clean(&kept, seed, (2, 32, 2), 64, &[]);
    }
}

#[test]
fn an_ended_thread_counts_as_arrived_at_the_cluster_barrier() {
    let body = format!(
        "{} setp.eq.u32 %p1, %r4, 1; @%p1 exit; mov.u32 %r20, 5;
        barrier.cluster.arrive.relaxed; barrier.cluster.wait; {STORE}",
        fill()
    );
    for seed in SEEDS {
        let words = clean(&kernel("sm_90", CELL, &body), seed, (2, 32, 2), 64, &[]);
        assert_eq!((words[0], words[31], words[32]), (5, 5, 0));
    }
}

#[test]
fn misuse_of_the_cluster_barrier_is_reported() {
    for (statement, message) in [
        ("barrier.cluster.wait.acquire.aligned; // MARK", "without having arrived"),
        (
            "barrier.cluster.arrive.release.aligned; barrier.cluster.arrive.release.aligned; // MARK",
            "without having waited",
        ),
    ] {
        let text = kernel("sm_90", CELL, statement);
        let (report, _) = run_with(&text, 0, (2, 32, 2), 64, &[]);
        assert_eq!(finding(&report, FindingKind::BarrierMisuse, message).place.line, line_of(&text, "MARK"));
    }
    // One warp never comes.
    let text = kernel(
        "sm_90",
        CELL,
        "setp.lt.u32 %p1, %r0, 32; @%p1 barrier.cluster.arrive.release.aligned;
        @%p1 barrier.cluster.wait.acquire.aligned; // MARK
        @!%p1 bar.sync 1, 96;",
    );
    let (report, _) = run_with(&text, 0, (2, 64, 2), 64, &[]);
    assert!(
        report.of(FindingKind::Deadlock).any(|f| f.place.line == line_of(&text, "MARK")),
        "{}",
        show(&report)
    );
}

#[test]
fn a_rank_beyond_the_cluster_is_reported() {
    let text = kernel(
        "sm_90",
        CELL,
        "mov.u32 %r1, cell; mov.u32 %r2, 2; mapa.shared::cluster.u32 %r3, %r1, %r2; // MARK",
    );
    let (report, _) = run_with(&text, 0, (2, 32, 2), 64, &[]);
    assert_eq!(finding(&report, FindingKind::WrongSpace, "rank 2").place.line, line_of(&text, "MARK"));
}

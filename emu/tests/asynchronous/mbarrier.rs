use super::*;

const BAR: &str = ".shared .align 8 .b64 bar;";

/// Thread 0 initialises `bar` for `count` arrivals, and all wait for it.
fn init(count: u32) -> String {
    format!(
        "mov.u32 %r1, bar; setp.eq.u32 %p1, %r0, 0; @%p1 mbarrier.init.shared::cta.b64 [%r1], {count};\n\
         fence.mbarrier_init.release.cluster; bar.sync 0;"
    )
}

#[test]
fn a_fresh_barrier_passes_parity_1_and_the_other_after_each_phase() {
    let body = format!(
        "{}\n
        mov.u32 %r2, 0;
        LOOP:
        and.b32 %r3, %r2, 1; xor.b32 %r4, %r3, 1;
        mbarrier.test_wait.parity.shared::cta.b64 %p2, [%r1], %r3;
        mbarrier.test_wait.parity.shared::cta.b64 %p3, [%r1], %r4;
        selp.u32 %r5, 1, 0, %p2; selp.u32 %r6, 2, 0, %p3; or.b32 %r5, %r5, %r6;
        add.u32 %r7, %r7, %r5;
        mbarrier.arrive.shared::cta.b64 _, [%r1];
        WAIT:
        mbarrier.try_wait.parity.shared::cta.b64 %p4, [%r1], %r3;
        @!%p4 bra WAIT;
        add.u32 %r2, %r2, 1; setp.lt.u32 %p5, %r2, 1000; @%p5 bra LOOP;
        st.global.u32 [%a0], %r7;",
        init(1)
    );
    let text = kernel("sm_90", BAR, &body.replace("mov.u32 %r2, 0;", "mov.u32 %r2, 0; mov.u32 %r7, 0;"));
    // One thread: in each of the 1,000 rounds only the other parity passes before the arrival.
    let (report, words) = run_with(&text, 1, (1, 1, 1), 1, &[]);
    assert_eq!(words, [2000]);
    // Testing the parity that has passed is waiting twice for one phase; that it is said is the only complaint.
    let kinds: Vec<_> = report.findings.iter().map(|f| (f.kind, f.severity)).collect();
    assert_eq!(kinds, [(FindingKind::MbarrierMisuse, Severity::Warning)], "{}", show(&report));
}

#[test]
fn a_thousand_phases_carry_data_between_warps() {
    // Warp 0 counts up in shared memory, warp 1 copies what it sees; two barriers, full and empty.
    let body = "
        mov.u32 %r1, bars; add.u32 %r2, %r1, 8; mov.u32 %r3, cell;
        setp.eq.u32 %p1, %r0, 0;
        @%p1 mbarrier.init.shared::cta.b64 [%r1], 1;
        @%p1 mbarrier.init.shared::cta.b64 [%r2], 1;
        fence.mbarrier_init.release.cluster; bar.sync 0;
        mov.u32 %r4, 0; mov.u32 %r9, 0;
        setp.eq.u32 %p2, %r0, 0; @%p2 bra PRODUCE;
        setp.eq.u32 %p2, %r0, 32; @%p2 bra CONSUME;
        bra.uni END;
        PRODUCE:
        and.b32 %r5, %r4, 1; xor.b32 %r6, %r5, 1;
        W1: mbarrier.try_wait.parity.shared::cta.b64 %p3, [%r2], %r6; @!%p3 bra W1;
        st.shared.u32 [%r3], %r4;
        mbarrier.arrive.shared::cta.b64 _, [%r1];
        add.u32 %r4, %r4, 1; setp.lt.u32 %p4, %r4, 1000; @%p4 bra PRODUCE;
        bra.uni END;
        CONSUME:
        and.b32 %r5, %r4, 1;
        W2: mbarrier.try_wait.parity.shared::cta.b64 %p3, [%r1], %r5; @!%p3 bra W2;
        ld.shared.u32 %r7, [%r3];
        setp.ne.u32 %p5, %r7, %r4; @%p5 add.u32 %r9, %r9, 1;
        mbarrier.arrive.shared::cta.b64 _, [%r2];
        add.u32 %r4, %r4, 1; setp.lt.u32 %p4, %r4, 1000; @%p4 bra CONSUME;
        st.global.u32 [%a0], %r4; st.global.u32 [%a0+4], %r9;
        END:";
    let text = kernel("sm_90", ".shared .align 8 .b64 bars[2]; .shared .b32 cell;", body);
    for seed in 0..3 {
        assert_eq!(clean(&text, seed, (1, 64, 1), 2, &[]), [1000, 0]);
    }
}

#[test]
fn a_state_is_waited_for_by_its_phase() {
    let body = format!(
        "{}
        mbarrier.arrive.shared::cta.b64 %d1, [%r1];
        W: mbarrier.test_wait.shared::cta.b64 %p2, [%r1], %d1; @!%p2 bra W;
        atom.shared.add.u32 %r2, [n], 1;
        bar.sync 0;
        ld.shared.u32 %r3, [n]; mul.wide.u32 %d2, %r0, 4; add.u64 %d3, %a0, %d2; st.global.u32 [%d3], %r3;",
        init(128).replace("bar.sync 0;", "@%p1 st.shared.u32 [n], 0; bar.sync 0;")
    );
    let text = kernel(
        "sm_80",
        &format!("{BAR} .shared .b32 n;"),
        &body.replace("fence.mbarrier_init.release.cluster;", ""),
    );
    for seed in SEEDS {
        assert_eq!(clean(&text, seed, (1, 128, 1), 128, &[]), [128; 128]);
    }
}

#[test]
fn bytes_before_their_announcement_do_not_end_a_phase_and_arrivals_alone_neither() {
    let body = format!(
        "{}
        mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%r1], 48;
        mbarrier.test_wait.parity.shared::cta.b64 %p2, [%r1], 0; selp.u32 %r2, 1, 0, %p2;
        mbarrier.arrive.expect_tx.shared::cta.b64 %d1, [%r1], 64;
        mbarrier.test_wait.shared::cta.b64 %p3, [%r1], %d1; selp.u32 %r3, 1, 0, %p3;
        mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%r1], 16;
        mbarrier.test_wait.shared::cta.b64 %p4, [%r1], %d1; selp.u32 %r4, 1, 0, %p4;
        st.global.v4.u32 [%a0], {{%r2, %r3, %r4, %r0}};",
        init(1)
    );
    assert_eq!(clean(&kernel("sm_90", BAR, &body), 0, (1, 1, 1), 4, &[]), [0, 0, 1, 0]);
}

#[test]
fn counts_drops_and_pending_counts() {
    let body = format!(
        "{}
        mbarrier.arrive.noComplete.shared::cta.b64 %d1, [%r1], 3;
        mbarrier.pending_count.b64 %r2, %d1;
        mbarrier.arrive_drop.shared::cta.b64 %d2, [%r1], 2;
        mbarrier.test_wait.shared::cta.b64 %p2, [%r1], %d2; selp.u32 %r3, 1, 0, %p2;
        mbarrier.arrive.shared::cta.b64 %d2, [%r1], 3;
        mbarrier.test_wait.shared::cta.b64 %p3, [%r1], %d2; selp.u32 %r4, 1, 0, %p3;
        st.global.v4.u32 [%a0], {{%r2, %r3, %r4, %r0}};",
        init(5)
    );
    // Five arrivals: three leave two; the drop of two ends the phase and leaves three for the next.
    assert_eq!(clean(&kernel("sm_90", BAR, &body), 0, (1, 1, 1), 4, &[]), [2, 1, 1, 0]);
}

#[test]
fn copies_of_every_thread_arrive_when_they_are_done() {
    for (noinc, count) in [("", 1), (".noinc", 33)] {
        let body = format!(
            "{}
            mov.u32 %r2, tile; mul.wide.u32 %d1, %r0, 4; cvt.u32.u64 %r3, %d1; add.u32 %r4, %r2, %r3;
            add.u64 %d2, %a1, %d1;
            cp.async.ca.shared.global [%r4], [%d2], 4;
            cp.async.mbarrier.arrive{noinc}.shared.b64 [%r1];
            @%p1 mbarrier.arrive.shared::cta.b64 _, [%r1];
            W: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r1], 0; @!%p2 bra W;
            xor.b32 %r5, %r3, 124; add.u32 %r5, %r2, %r5; ld.shared.u32 %r6, [%r5];
            add.u64 %d3, %a0, %d1; st.global.u32 [%d3], %r6;",
            init(count)
        );
        // Without `.noinc` an arrival adds itself first: the ordinary arrival must wait until all have done so.
        let body = if noinc.is_empty() {
            body.replace("@%p1 mbarrier.arrive", "bar.sync 0; @%p1 mbarrier.arrive")
        } else {
            body
        };
        let text = kernel("sm_90", &format!("{BAR} .shared .align 16 .b32 tile[32];"), &body);
        let input: Vec<u32> = (100..132).collect();
        for seed in SEEDS {
            let reversed: Vec<u32> = input.iter().rev().copied().collect();
            assert_eq!(clean(&text, seed, (1, 32, 1), 32, &input), reversed, "{noinc} seed {seed}");
        }
    }
}

#[test]
fn misuse_is_reported_where_it_stands() {
    let cases = [
        ("@%p1 mbarrier.init.shared::cta.b64 [%r1], 4; // MARK", "initialised again"),
        (
            "@%p1 mbarrier.inval.shared::cta.b64 [%r1]; @%p1 mbarrier.arrive.shared::cta.b64 _, [%r1]; // MARK",
            "no initialised mbarrier",
        ),
        (
            "@%p1 mbarrier.arrive.shared::cta.b64 _, [%r1], 3; // MARK",
            "3 arrivals where the phase waits for 2 more",
        ),
        (
            "@%p1 mbarrier.arrive.noComplete.shared::cta.b64 %d1, [%r1], 2; // MARK",
            "`.noComplete` ended the phase",
        ),
        ("@%p1 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r1], 1048576; // MARK", "beyond 1048575"),
        (
            "mov.b64 %d1, 7; @%p1 mbarrier.test_wait.shared::cta.b64 %p2, [%r1], %d1; // MARK",
            "given by no arrival",
        ),
        (
            "mov.u32 %r2, 2; @%p1 mbarrier.test_wait.parity.shared::cta.b64 %p2, [%r1], %r2; // MARK",
            "a parity of 2",
        ),
        (
            "@%p1 mbarrier.arrive.shared::cta.b64 _, [%r1], 2; @%p1 mbarrier.arrive.shared::cta.b64 _, [%r1]; // MARK",
            "before anybody saw",
        ),
    ];
    for (statement, message) in cases {
        let text = kernel("sm_90", BAR, &format!("{}\n{statement}", init(2)));
        let (report, _) = run_with(&text, 3, (1, 32, 1), 1, &[]);
        let found = finding(&report, FindingKind::MbarrierMisuse, message);
        assert_eq!(found.place.line, line_of(&text, "MARK"), "{statement}");
        assert_eq!(found.buffer.as_deref(), Some("bar"), "{statement}");
    }
}

#[test]
fn a_parity_that_was_not_flipped_is_noticed() {
    let body = format!(
        "{}
        mbarrier.arrive.shared::cta.b64 _, [%r1];
        W: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r1], 0; @!%p2 bra W;
        V: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r1], 0; @!%p2 bra V; // MARK",
        init(32)
    );
    let text = kernel("sm_90", BAR, &body);
    let (report, _) = run_with(&text, 0, (1, 32, 1), 1, &[]);
    let found = finding(&report, FindingKind::MbarrierMisuse, "not flipped");
    assert_eq!(
        (found.place.line, found.severity, found.count),
        (line_of(&text, "MARK"), Severity::Warning, 32)
    );
}

#[test]
fn a_deadlock_says_what_the_barrier_lacks() {
    let body = format!(
        "{}
        @%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r1], 256;
        W: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r1], 0; // MARK
        @!%p2 bra W;",
        init(3)
    );
    let text = kernel("sm_90", BAR, &body);
    for seed in SEEDS {
        let (report, _) = run_with(&text, seed, (1, 64, 1), 1, &[]);
        let found = finding(&report, FindingKind::Deadlock, "parity 0");
        assert!(
            found.message.contains("in phase 0, 2 of 3 arrivals pending, 256 bytes still to land"),
            "{found}"
        );
        assert_eq!(found.place.line, line_of(&text, "MARK"));
    }
}

#[test]
fn a_wait_may_come_back_with_nothing_and_the_warp_then_does_the_work() {
    // The only arrival is behind a wait that cannot succeed before it.
    let body = format!(
        "{}
        mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r1], 0, 100;
        @!%p2 mbarrier.arrive.shared::cta.b64 _, [%r1];
        selp.u32 %r2, 1, 0, %p2; st.global.u32 [%a0], %r2;",
        init(1)
    );
    for seed in SEEDS {
        assert_eq!(clean(&kernel("sm_90", BAR, &body), seed, (1, 1, 1), 1, &[]), [0]);
    }
}

#[test]
fn forms_that_do_not_exist_are_refused() {
    for (statement, why) in [
        ("mbarrier.arrive.shared::cluster.b64 %d1, [%r1];", "`_`"),
        ("mbarrier.try_wait.parity.shared::cluster.b64 %p1, [%r1], 0;", "shared::cluster"),
        ("mbarrier.arrive.relaxed.shared::cta.b64 _, [%r1];", "scope"),
    ] {
        let text = kernel("sm_90", BAR, statement);
        let mut emulator = Emulator::new(EmulatorOptions::default());
        let error = emulator.load(&text).expect_err(statement).to_string();
        assert!(error.contains(why), "{statement}: {error}");
    }
    let old = kernel("sm_80", BAR, "mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r1], 0;");
    assert!(Emulator::new(EmulatorOptions::default()).load(&old).is_err());
}

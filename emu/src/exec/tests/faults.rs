//! What cannot be executed is said, with the place, the thread and the buffer.

use super::*;

fn first(text: &str, kind: FindingKind) -> Finding {
    let (_, report) = run(3, text, &LaunchConfig::new("k", 1, 32), &[0; 32]);
    let found = report.findings.iter().find(|f| f.kind == kind);
    found.unwrap_or_else(|| panic!("no {kind:?} among {:?}", report.findings)).clone()
}

#[test]
fn out_of_bounds_names_the_buffer_and_the_thread() {
    let finding = first(&kernel("sm_80", "", "st.global.u32 [%rd3+4], %r1;"), FindingKind::OutOfBounds);
    assert_eq!(finding.buffer.as_deref(), Some("data"));
    assert_eq!(finding.thread.map(|t| t.thread), Some([31, 0, 0]));
    assert_eq!(finding.place.instruction, "st.global.u32");
    assert!(finding.message.contains("offset 128"), "{}", finding.message);
}

#[test]
fn misaligned_shared_and_null_addresses() {
    let shared = ".shared .align 4 .b8 tile[64];";
    assert_eq!(
        first(&kernel("sm_80", "", "ld.global.u64 %rd4, [%rd1+4];"), FindingKind::Misaligned)
            .address
            .map(|a| a % 8),
        Some(4)
    );
    let finding = first(
        &kernel("sm_80", shared, "mov.u32 %r2, tile;\nst.shared.u32 [%r2+64], %r1;"),
        FindingKind::OutOfBounds,
    );
    assert!(finding.message.contains("shared"), "{}", finding.message);
    first(&kernel("sm_80", "", "mov.u32 %r2, 0;\nld.shared.u32 %r3, [%r2];"), FindingKind::OutOfBounds);
    first(&kernel("sm_80", "", "mov.u64 %rd4, 0;\nld.global.u32 %r3, [%rd4];"), FindingKind::OutOfBounds);
}

#[test]
fn stores_to_what_is_read_only_and_foreign_local_memory() {
    let table = ".const .align 4 .b32 table[4];";
    first(
        &kernel("sm_80", table, "mov.u64 %rd4, table;\ncvta.const.u64 %rd5, %rd4;\nst.u32 [%rd5], %r1;"),
        FindingKind::ReadOnlyWrite,
    );
    first(
        &kernel("sm_80", "", "mov.b64 %rd4, p;\ncvta.param.u64 %rd5, %rd4;\nst.u32 [%rd5], %r1;"),
        FindingKind::ReadOnlyWrite,
    );
    let body = ".local .b32 x;\nmov.u64 %rd4, x;\nst.local.u32 [%rd4], %r1;\ncvta.local.u64 %rd5, %rd4;\nst.global.u64 [%rd1], %rd5;\n\
                ld.global.u64 %rd6, [%rd1];\nld.u32 %r2, [%rd6];";
    first(&kernel("sm_80", "", body), FindingKind::WrongSpace);
    first(
        &kernel(
            "sm_80",
            table,
            "mov.u64 %rd4, table;\ncvta.const.u64 %rd5, %rd4;\nld.global.u32 %r2, [%rd5];",
        ),
        FindingKind::WrongSpace,
    );
}

#[test]
fn a_freed_buffer_is_known_by_name() {
    let mut emu = emulator(0);
    let id = emu.load(&kernel("sm_80", "", "ld.global.u32 %r2, [%rd1];")).expect("loads");
    let buffer = emu.alloc_bytes("gone", &[0; 64]).expect("room");
    let address = emu.address(buffer).expect("alive");
    emu.free(buffer).expect("alive");
    let report = emu.launch(id, &LaunchConfig::new("k", 1, 1), &[Arg::U64(address)]).expect("allowed");
    assert_eq!(report.findings[0].kind, FindingKind::UseAfterFree);
    assert_eq!(report.findings[0].buffer.as_deref(), Some("gone"));
}

#[test]
fn what_nobody_wrote_is_reported_where_it_matters() {
    let shared = ".shared .align 4 .b8 tile[256];";
    let copy = "mov.u32 %r2, tile;\nshl.b32 %r3, %r1, 2;\nadd.u32 %r2, %r2, %r3;\nld.shared.u32 %r4, [%r2];";
    let finding = first(
        &kernel("sm_80", shared, &format!("{copy}\nst.global.u32 [%rd3], %r4;")),
        FindingKind::Uninitialised,
    );
    assert_eq!(finding.place.instruction, "st.global.u32");
    // A mere copy is none, nor is a value that is not chosen.
    let (_, report) = run(
        0,
        &kernel("sm_80", shared, &format!("{copy}\nmov.b32 %r5, %r4;\nst.shared.u32 [%r2+128], %r5;")),
        &LaunchConfig::new("k", 1, 32),
        &[0; 32],
    );
    assert!(report.clean(), "{:?}", report.findings);
    let chosen = "setp.ge.u32 %p1, %r1, 0;\nselp.b32 %r5, %r1, %r40, %p1;\nst.global.u32 [%rd3], %r5;";
    let (_, report) = run(0, &kernel("sm_80", "", chosen), &LaunchConfig::new("k", 1, 32), &[0; 32]);
    assert!(report.clean(), "{:?}", report.findings);
    first(
        &kernel("sm_80", "", "setp.eq.u32 %p1, %r40, 0;\n@%p1 add.u32 %r2, %r1, 1;"),
        FindingKind::Uninitialised,
    );
    first(&kernel("sm_80", "", "ld.global.u32 %r2, [%rd30];"), FindingKind::Uninitialised);
}

#[test]
fn each_element_of_a_vector_is_defined_by_itself() {
    // A row of four words whose last one nobody wrote, as padding: lane by lane 16 bytes, from memory of each kind.
    let shared = ".shared .align 16 .b8 tile[512];";
    let local = ".local .align 16 .b8 depot[16];";
    let in_shared = "mov.u32 %r2, tile; shl.b32 %r3, %r1, 4; add.u32 %r2, %r2, %r3;";
    let in_local = "mov.u64 %rd5, depot; cvt.u32.u64 %r2, %rd5;";
    for (space, declared, address) in [("shared", shared, in_shared), ("local", local, in_local)] {
        let declared = if space == "shared" { declared } else { "" };
        let inside = if space == "local" { local } else { "" };
        let with = |store: &str, used: &str| {
            let body = format!(
                "{inside} {address} {store}
                 ld.{space}.v4.u32 {{%r4, %r5, %r6, %r7}}, [%r2]; st.global.u32 [%rd3], {used};"
            );
            run(0, &kernel("sm_80", declared, &body), &LaunchConfig::new("k", 1, 32), &[0; 32]).1
        };
        let words =
            format!("st.{space}.u32 [%r2], %r1; st.{space}.u32 [%r2+4], %r1; st.{space}.u32 [%r2+8], %r1;");
        // %r40 never had a value: a vector that holds it is stored, and only its own word is without one.
        let vector = format!("st.{space}.v4.u32 [%r2], {{%r1, %r1, %r1, %r40}};");
        for store in [words.as_str(), vector.as_str()] {
            for used in ["%r4", "%r5", "%r6"] {
                let report = with(store, used);
                assert!(report.clean(), "{space} {used}: {:?}", report.findings);
            }
            let report = with(store, "%r7");
            assert!(report.of(FindingKind::Uninitialised).next().is_some(), "{space}: {:?}", report.findings);
        }
    }
}

#[test]
fn each_element_of_a_vector_of_scratch_memory_is_defined_by_itself() {
    let with = |used: &str| {
        let mut emu = emulator(0);
        let body = format!(
            "shl.b32 %r2, %r1, 4; cvt.u64.u32 %rd5, %r2; add.u64 %rd6, %rd1, %rd5;
             st.global.v2.u32 [%rd6], {{%r1, %r1}}; ld.global.v4.u32 {{%r4, %r5, %r6, %r7}}, [%rd6];
             st.global.u32 [%rd6+8], {used};"
        );
        let id = emu.load(&kernel("sm_80", "", &body)).expect("loads");
        let scratch = emu.alloc("scratch", 512).expect("room");
        emu.launch(id, &LaunchConfig::new("k", 1, 32), &[Arg::Buffer(scratch)]).expect("allowed")
    };
    assert!(with("%r5").clean());
    assert!(with("%r6").of(FindingKind::Uninitialised).next().is_some());
}

#[test]
fn scratch_memory_that_a_kernel_writes_first_is_clean_and_stays_known() {
    let mut emu = emulator(0);
    let body = "st.global.u32 [%rd3], %r1;\nld.global.u32 %r2, [%rd3];\nst.global.u32 [%rd3], %r2;";
    let writer = emu.load(&kernel("sm_80", "", body)).expect("loads");
    let reader = emu
        .load(&kernel("sm_80", "", "ld.global.u32 %r2, [%rd3];\nst.global.u32 [%rd3], %r2;"))
        .expect("loads");
    let scratch = emu.alloc("scratch", 256).expect("room");
    let args = [Arg::Buffer(scratch)];
    assert!(emu.launch(writer, &LaunchConfig::new("k", 1, 32), &args).expect("allowed").clean());
    assert!(emu.launch(reader, &LaunchConfig::new("k", 1, 32), &args).expect("allowed").clean());
    let report = emu.launch(reader, &LaunchConfig::new("k", 1, 64), &args).expect("allowed");
    let finding = report.of(FindingKind::Uninitialised).next().expect("the second half was never written");
    assert_eq!(finding.thread.map(|t| t.thread), Some([32, 0, 0]));
}

#[test]
fn traps_assertions_divisions_and_limits() {
    let trap = first(&kernel("sm_80", "", "setp.eq.u32 %p1, %r1, 5;\n@%p1 trap;"), FindingKind::Trap);
    assert_eq!(trap.thread.map(|t| t.thread), Some([5, 0, 0]));
    let zero = first(&kernel("sm_80", "", "div.u32 %r2, 7, %r1;"), FindingKind::Undefined);
    assert_eq!((zero.count, zero.thread.map(|t| t.thread)), (1, Some([0, 0, 0])));
    let endless =
        first(&kernel("sm_80", "", "L: add.u32 %r1, %r1, 1;\nbra L;"), FindingKind::InstructionLimit);
    assert!(endless.message.contains("warp 0"), "{}", endless.message);
}

#[test]
fn what_the_target_does_not_have_is_refused_with_its_line() {
    let mut emu = emulator(0);
    let refused = |emu: &mut Emulator, target: &str, line: &str| {
        emu.load(&kernel(target, "", line)).expect_err("must be refused").to_string()
    };
    let text = refused(&mut emu, "sm_80", "elect.sync %r2|%p1, -1;");
    assert!(text.contains("elect.sync") && text.contains("sm_90") && text.contains("line"), "{text}");
    let text = refused(&mut emu, "sm_90", "setmaxnreg.dec.sync.aligned.u32 40;");
    assert!(text.contains("sm_90a"), "{text}");
    let text = refused(&mut emu, "sm_80", "add.funny.u32 %r2, %r2, %r1;");
    assert!(text.contains("`.funny`"), "{text}");
    let text = refused(&mut emu, "sm_80", "frobnicate.u32 %r2, %r1;");
    assert!(text.contains("unknown instruction `frobnicate`"), "{text}");
    let text = refused(&mut emu, "sm_80", "add.u32 %r2, %rd1, %r1;");
    assert!(text.contains("`%rd1` has 64 bits"), "{text}");
    let text = refused(&mut emu, "sm_100a", "tcgen05.wait::ld.sync.aligned;");
    assert!(text.contains("tensor memory"), "{text}");
}

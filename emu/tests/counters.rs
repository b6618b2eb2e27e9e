//! What is counted of small kernels, against numbers that follow from their texts.
#![allow(clippy::unwrap_used)]

use jet_emu::count::{Counters, InstructionCounters};
use jet_emu::exec::{Arg, Checks, Emulator, EmulatorOptions, LaunchConfig};

/// Runs `k(buffer of 4096 bytes)` with a body.
fn run(declarations: &str, body: &str, grid: u32, block: u32, options: EmulatorOptions) -> Counters {
    let text = format!(
        ".version 8.0\n.target sm_90a\n.address_size 64\n{declarations}\n.visible .entry k(.param .u64 p)\n{{\n\
         .reg .pred %p<9>; .reg .b16 %h<9>; .reg .b32 %r<40>; .reg .f32 %f<40>; .reg .b64 %rd<9>;\n\
         ld.param.u64 %rd1, [p];\nmov.u32 %r1, %tid.x;\n{body}\nret;\n}}\n"
    );
    let mut emulator = Emulator::new(EmulatorOptions { counters: true, ..options });
    let module = emulator.load(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let buffer = emulator.alloc_zeroed("buffer", 4096).unwrap();
    let report =
        emulator.launch(module, &LaunchConfig::new("k", grid, block), &[Arg::Buffer(buffer)]).unwrap();
    assert!(report.completed, "{:#?}", report.findings);
    report.counters.unwrap()
}

fn counted(declarations: &str, body: &str, block: u32) -> Counters {
    run(declarations, body, 1, block, EmulatorOptions::default())
}

/// Counters of the only executed instruction that begins so.
fn line<'c>(counters: &'c Counters, begin: &str) -> &'c InstructionCounters {
    let mut found = counters.lines.iter().filter(|l| l.instruction.starts_with(begin));
    let one = found.next().unwrap_or_else(|| panic!("no {begin}"));
    assert!(found.next().is_none(), "more than one {begin}");
    one
}

#[test]
fn a_guard_that_holds_for_nobody_counts_for_the_warp_only() {
    let c =
        counted("", "setp.gt.u32 %p1, %r1, 999;\n@%p1 add.u32 %r2, %r1, 1;\n@!%p1 sub.u32 %r2, %r1, 1;", 64);
    assert_eq!((line(&c, "add").warp, line(&c, "add").thread), (2, 0));
    assert_eq!((line(&c, "sub").warp, line(&c, "sub").thread), (2, 64));
    // ld.param, mov, setp, add, sub, ret
    assert_eq!((c.instructions.warp, c.instructions.thread), (12, 64 * 5));
    assert_eq!(c.instructions.classes.iter().map(|k| k.thread).sum::<u64>(), c.instructions.thread);
}

#[test]
fn a_parted_warp_counts_both_ways_with_the_lanes_of_each() {
    let body = "setp.lt.u32 %p1, %r1, 8;\n@%p1 bra few;\nadd.u32 %r2, %r1, 1;\nbra.uni both;\nfew:\nsub.u32 %r2, %r1, 1;\n\
                both:\nxor.b32 %r3, %r2, %r1;";
    let c = counted("", body, 32);
    assert_eq!((line(&c, "add").warp, line(&c, "add").thread), (1, 24));
    assert_eq!((line(&c, "sub").warp, line(&c, "sub").thread), (1, 8));
    assert_eq!((line(&c, "xor").warp, line(&c, "xor").thread), (1, 32), "the lanes met again");
    assert_eq!((c.branches.executed, c.branches.divergent), (2, 1));
    // ld.param, mov, setp, bra, xor and ret with 32 lanes; add and bra.uni with 24; sub with 8.
    let lanes = 6 * 32 + 2 * 24 + 8;
    assert!((c.instructions.average_lanes - f64::from(lanes) / 9.0).abs() < 1e-12);
}

#[test]
fn a_guarded_call_counts_once() {
    let device = ".func (.param .b32 out) twice(.param .b32 in) { .reg .b32 %r<3>; ld.param.u32 %r1, [in]; \
                  shl.b32 %r2, %r1, 1; st.param.b32 [out], %r2; ret; }";
    let body = "setp.lt.u32 %p1, %r1, 8;\n{ .param .b32 a; .param .b32 b; st.param.b32 [a], %r1;\n\
                @%p1 call.uni (b), twice, (a);\nld.param.b32 %r2, [b]; }";
    let c = counted(device, body, 32);
    assert_eq!((line(&c, "call").thread, line(&c, "shl").thread), (8, 8));
    assert_eq!(line(&c, "shl").warp, 1);
}

#[test]
fn requests_are_counted_by_space_kind_and_buffer() {
    let body = "mul.wide.u32 %rd2, %r1, 32;\nadd.s64 %rd3, %rd1, %rd2;\n\
                ld.global.v2.u32 {%r2, %r3}, [%rd3];\nst.global.u8 [%rd1], %h1;\natom.global.add.u32 %r4, [%rd1], 1;";
    let options = EmulatorOptions { checks: Checks::NONE, ..EmulatorOptions::default() };
    let c = run("", &format!("mov.u16 %h1, 7;\n{body}"), 1, 32, options);
    let load = line(&c, "ld.global").global.clone().unwrap();
    assert_eq!((load.requests, load.read_bytes, load.written_bytes), (1, 256, 0));
    assert_eq!((load.sectors, load.ideal_sectors), (32, 8), "a stride of a sector");
    let store = line(&c, "st.global").global.clone().unwrap();
    assert_eq!((store.written_bytes, store.sectors), (32, 1), "one byte by all lanes");
    let atomic = line(&c, "atom").global.clone().unwrap();
    assert_eq!((atomic.read_bytes, atomic.written_bytes, atomic.sectors), (128, 128, 1));
    let b = &c.buffers[0];
    assert_eq!((b.name.as_str(), b.len), ("buffer", 4096));
    assert_eq!((b.read_bytes, b.unique_read_bytes), (256 + 128, 256));
    assert_eq!((b.written_bytes, b.unique_written_bytes), (32 + 128, 4));
}

#[test]
fn local_memory_and_generic_addresses_are_counted_where_they_lead() {
    let body = ".local .align 4 .b8 own[64];\nmov.u64 %rd2, own;\ncvta.local.u64 %rd3, %rd2;\n\
                st.u32 [%rd3+8], %r1;\nld.local.v2.u32 {%r2, %r3}, [%rd2+8];\nst.u32 [%rd1], %r2;";
    let options = EmulatorOptions { checks: Checks::NONE, ..EmulatorOptions::default() };
    let c = run("", body, 1, 32, options);
    assert_eq!((c.local.read_bytes, c.local.written_bytes), (32 * 8, 32 * 4));
    assert_eq!((c.global.read_bytes, c.global.written_bytes), (0, 32 * 4));
}

#[test]
fn matrices_atomics_and_copies_show_their_bank_conflicts() {
    let shared = ".shared .align 128 .b8 room[4096];";
    let body = "mov.u32 %r2, room;\nshl.b32 %r3, %r1, 7;\nadd.u32 %r4, %r2, %r3;\n\
                shl.b32 %r5, %r1, 4;\nadd.u32 %r6, %r2, %r5;\ncvt.u64.u32 %rd2, %r5;\nadd.s64 %rd3, %rd1, %rd2;\n\
                cp.async.cg.shared.global [%r6], [%rd3], 16;\ncp.async.wait_all;\nbar.sync 0;\n\
                ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r4];\n\
                red.shared.add.u32 [room], 1;";
    let options = EmulatorOptions { checks: Checks::NONE, ..EmulatorOptions::default() };
    let c = run(shared, body, 1, 32, options);
    let cost = |begin: &str| {
        let s = line(&c, begin).shared.clone().unwrap();
        (s.wavefronts, s.ideal_wavefronts)
    };
    assert_eq!(cost("ldmatrix"), (32, 4), "rows 128 bytes apart");
    assert_eq!(cost("red"), (32, 1));
    assert_eq!(cost("cp.async.cg"), (4, 4));
    let copy = line(&c, "cp.async.cg");
    assert_eq!((copy.copied_bytes, copy.global.as_ref().unwrap().read_bytes), (512, 512));
    assert_eq!((c.copies[0].mechanism.as_str(), c.copies[0].bytes), ("cp.async", 512));
    assert_eq!((c.barriers[0].kind.as_str(), c.barriers[0].warp), ("CTA barrier", 1));
}

#[test]
fn bulk_copies_are_counted_on_both_sides() {
    let shared = ".shared .align 128 .b8 room[1024]; .shared .align 8 .b8 gate[8];";
    let body = "mov.u32 %r2, room;\nmov.u32 %r3, gate;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra ready;\n\
                mbarrier.init.shared::cta.b64 [%r3], 1;\nfence.proxy.async.shared::cta;\n\
                mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r3], 512;\n\
                cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%rd1], 512, [%r3];\n\
                ready:\nbar.sync 0;\nagain:\n\
                mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r3], 0;\n@!%p2 bra again;\n\
                @%p1 bra done;\nadd.s64 %rd2, %rd1, 1024;\n\
                cp.async.bulk.global.shared::cta.bulk_group [%rd2], [%r2], 256;\n\
                cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\ndone:";
    let c = counted(shared, body, 32);
    let load = line(&c, "cp.async.bulk.shared::cluster.global");
    let global = load.global.clone().unwrap();
    assert_eq!((global.requests, global.read_bytes, global.sectors), (1, 512, 16));
    assert_eq!(
        load.shared.as_ref().map(|s| (s.written_bytes, s.wavefronts, s.cluster_bytes)),
        Some((512, 4, 0))
    );
    let store = line(&c, "cp.async.bulk.global.shared::cta");
    assert_eq!((store.copied_bytes, store.global.as_ref().unwrap().written_bytes), (256, 256));
    assert_eq!(store.shared.as_ref().unwrap().read_bytes, 256);
    assert_eq!(
        (c.copies[0].mechanism.as_str(), c.copies[0].bytes, c.copies[0].warp),
        ("cp.async.bulk", 768, 2)
    );
    assert_eq!((c.buffers[0].unique_read_bytes, c.buffers[0].unique_written_bytes), (512, 256));
    let kinds: Vec<&str> = c.barriers.iter().map(|b| b.kind.as_str()).collect();
    assert_eq!(kinds, ["CTA barrier", "mbarrier arrive", "mbarrier wait"]);
}

#[test]
fn tensor_work_is_counted_by_type() {
    let zeros: String = (1..=12).map(|i| format!("mov.b32 %r{}, 0;\n", i + 1)).collect();
    let mma = "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1, %f2, %f3, %f4}, {%r2, %r3, %r4, %r5}, \
               {%r6, %r7}, {%f1, %f2, %f3, %f4};\n";
    let int = "mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%r8, %r9, %r10, %r11}, {%r2, %r3, %r4, %r5}, \
               {%r6, %r7}, {%r8, %r9, %r10, %r11};\n";
    let floats: String = (1..=4).map(|i| format!("mov.f32 %f{i}, 0f00000000;\n")).collect();
    let c = counted("", &format!("{zeros}{floats}{mma}{mma}{int}"), 64);
    let of: Vec<_> =
        c.tensor.iter().map(|t| (t.inputs.as_str(), t.accumulator.as_str(), t.warp, t.flops)).collect();
    assert_eq!(of, [("f16", "f32", 4, 4 * 2 * 16 * 8 * 16), ("s8 x u8", "s32", 2, 2 * 2 * 16 * 8 * 32)]);
}

#[test]
fn counters_of_several_host_threads_are_those_of_one() {
    let body = "mov.u32 %r2, %ctaid.x;\nmad.lo.u32 %r3, %r2, 32, %r1;\nand.b32 %r3, %r3, 1023;\n\
                mul.wide.u32 %rd2, %r3, 4;\nadd.s64 %rd3, %rd1, %rd2;\nst.global.u32 [%rd3], %r2;\n\
                and.b32 %r4, %r2, 3;\nsetp.eq.u32 %p1, %r4, 0;\n@%p1 bra skip;\natom.global.add.u32 %r5, [%rd1], 1;\nskip:";
    let with = |threads| {
        let options = EmulatorOptions { threads, checks: Checks::NONE, ..EmulatorOptions::default() };
        run("", body, 64, 32, options)
    };
    let one = with(1);
    assert_eq!(one, with(4));
    assert_eq!(one.buffers[0].unique_written_bytes, 4096);
    assert_eq!(line(&one, "atom").thread, 48 * 32);
}

#[test]
fn nothing_is_counted_unless_it_was_asked_for() {
    let text = ".version 8.0\n.target sm_80\n.address_size 64\n.entry k() { ret; }";
    let mut emulator = Emulator::new(EmulatorOptions::default());
    let module = emulator.load(text).unwrap();
    let report = emulator.launch(module, &LaunchConfig::new("k", 1, 32), &[]).unwrap();
    assert!(report.counters.is_none());
}

#[test]
fn a_sample_runs_clusters_from_the_middles_of_equal_parts_of_the_grid() {
    // Each CTA writes the byte of its number, once.
    let body = "mov.u32 %r2, %ctaid.x;\ncvt.u64.u32 %rd2, %r2;\nadd.s64 %rd3, %rd1, %rd2;\nmov.u16 %h1, 1;\nst.global.u8 [%rd3], %h1;";
    let text = format!(
        ".version 8.0\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 p)\n{{\n\
         .reg .b16 %h<9>; .reg .b32 %r<9>; .reg .b64 %rd<9>;\nld.param.u64 %rd1, [p];\n{body}\nret;\n}}\n"
    );
    for (sample, expected) in [
        (Some(4), vec![8, 24, 40, 56]),
        (Some(100), (0..64).collect()),
        (None, (0..64).collect::<Vec<usize>>()),
    ] {
        let checks = Checks::NONE;
        let options = EmulatorOptions { checks, sample, counters: true, ..EmulatorOptions::default() };
        let mut emulator = Emulator::new(options);
        let module = emulator.load(&text).unwrap();
        let buffer = emulator.alloc_zeroed("buffer", 64).unwrap();
        let report = emulator.launch(module, &LaunchConfig::new("k", 64, 1), &[Arg::Buffer(buffer)]).unwrap();
        let bytes = emulator.read(buffer).unwrap();
        let ran: Vec<usize> = (0..64).filter(|i| bytes[*i] == 1).collect();
        assert_eq!(ran, expected, "{sample:?}");
        let written = report.counters.unwrap().buffers[0].unique_written_bytes;
        assert_eq!(written, expected.len() as u64);
    }
}

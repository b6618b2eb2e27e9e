//! Matrix products.

use crate::case::{Batch, Case, Family, Operand};
use crate::dice::Dice;
use crate::{nvrtc, rig};
use jet_codegen::arch;
use jet_codegen::kernel::gemm::{Gemm as Schedule, GemmKernel};
use jet_codegen::kernel::{Elem, Formats, Kernel};
use jet_codegen::nvrtc::{Job, Output, compile_all};
use jet_codegen::schedule::{Problem, Schedule as _, Values};
use std::sync::Arc;
use std::time::Duration;

pub struct Gemm;

impl Family for Gemm {
    fn name(&self) -> &'static str {
        "gemm"
    }

    fn goldens(&self) -> Vec<(&'static str, Problem)> {
        let sizes = |n, k, tokens, flag| {
            [("n", n), ("k", k), ("tokens", tokens), ("align", 8), ("out_align", 8), (flag, 1)]
        };
        vec![
            ("prefill", Problem::new("gemm", "bf16", &sizes(8960, 1536, 512, "bias")[..5])),
            ("residual", Problem::new("gemm", "bf16 out=f32", &sizes(1536, 8960, 512, "accumulate"))),
            ("few", Problem::new("gemm", "bf16", &sizes(1536, 1536, 8, "bias"))),
            ("f32", Problem::new("gemm", "f32", &sizes(1536, 1536, 64, "bias"))),
        ]
    }

    fn random(&self, d: &mut Dice) -> Case {
        let align = d.of(&[1, 2, 4, 8, 8]);
        let out_align = d.of(&[1, 2, 8]);
        let most = d.of(&[70, 70, 150]);
        // Whole accesses of the output need a whole number of columns.
        let n = 1 + d.below(100);
        let n = if d.flip() { n.next_multiple_of(8) } else { n };
        let deepest = d.of(&[150, 150, 400]);
        let shape = (1 + d.below(most), n, 1 + d.below(deepest));
        let main = d.of(&[Elem::F32, Elem::Bf16, Elem::Bf16, Elem::F16]);
        let formats = Formats::new(main, &[("out", d.of(&[main, Elem::F32]))]);
        let flags = (d.flip(), d.flip());
        case(d, shape, (align, out_align), &formats, flags)
    }

    fn cases(&self) -> usize {
        18
    }
}

/// A product of `rows` x `n` over `k`, with and without bias and an output that is added to.
fn case(
    d: &mut Dice,
    (rows, n, k): (usize, usize, usize),
    (align, out_align): (usize, usize),
    formats: &Formats,
    (bias, accumulate): (bool, bool),
) -> Case {
    let (main, out_elem) = (formats.default, formats.get("out"));
    let mut dims = vec![("n", n), ("k", k), ("align", align), ("out_align", out_align), ("tokens", rows)];
    dims.extend([("bias", usize::from(bias)), ("accumulate", usize::from(accumulate))]);
    let x = Operand::random(d, "x", main, (rows, k), align);
    let weight = Operand::random(d, "weight", main, (n, k), 16 / main.bytes());
    let weight = Operand { lead: 0, ..weight };
    let b = Operand::vector(d, "bias", n);
    let held = Operand::random(d, "out", out_elem, (rows, n), out_align);
    let out =
        if accumulate { held.clone() } else { Operand::unwritten(d, "out", out_elem, (rows, n), out_align) };
    let mut want = vec![0.0; rows * n];
    for (i, w) in want.iter_mut().enumerate() {
        let (r, c) = (i / n, i % n);
        let dot: f64 = x.row(r).iter().zip(weight.row(c)).map(|(a, b)| a * b).sum();
        let before = if accumulate { held.row(r)[c] } else { 0.0 };
        *w = dot + if bias { b.row(0)[c] } else { 0.0 } + before;
    }
    let mut operands = vec![x, weight, out];
    if bias {
        operands.push(b);
    }
    Case {
        problem: Problem::new("gemm", &formats.to_string(), &dims),
        batch: Batch::one(rows),
        rows,
        operands,
        scalars: vec![],
        expected: vec![("out", want)],
        // Products of 16-bit values are exact in f32, so only the sums and the last rounding err.
        tolerance: if out_elem == Elem::F32 { 2e-6 } else { 3e-3 },
    }
}

/// Runs a slice of a model's product on Hopper and gives what it counted, over the floors.
fn on_hopper(shape: (usize, usize, usize), formats: &Formats, accumulate: bool) -> Option<rig::Counted> {
    let nvrtc = nvrtc("gemm on Hopper")?;
    let arch = arch::parse("sm_90a").expect("it is a row");
    let mut case = case(&mut Dice::new(3), shape, (8, 8), formats, (!accumulate, accumulate));
    // As a device lays buffers out: rows begin with a sector.
    for o in &mut case.operands {
        (o.lead, o.stride) = (0, o.cols);
    }
    // The schedule is that of the whole.
    let mut whole = case.problem.clone();
    whole.dims.extend([("tokens".to_owned(), 2048), ("n".to_owned(), 8960)]);
    let values = GemmKernel.default_for(&whole, arch).expect("it is served");
    assert_eq!(values.get("form"), Some(2), "warpgroup products are preferred: {values}");
    let source = GemmKernel.emit(&case.problem, &values, arch).expect("it is legal");
    let c = rig::counted(nvrtc, &case, &source, arch).unwrap_or_else(|e| panic!("{}: {e}", case.problem));
    let floor = GemmKernel.floor(&case.problem);
    println!(
        "{} {values}: {} tensor instructions, tensor flops {:.2} of the floor, bytes {:.2} of the floor, wavefronts \
         {} of {} ideal, {} warp instructions",
        case.problem,
        c.tensor_instructions,
        c.tensor_flops as f64 / floor.flops as f64,
        c.sector_bytes as f64 / floor.bytes as f64,
        c.wavefronts,
        c.ideal_wavefronts,
        c.warp_instructions
    );
    Some(c)
}

#[test]
fn hopper_multiplies_by_warpgroups() {
    let (rows, n, k) = (256, 512, 512);
    for (formats, accumulate) in [
        (Formats::new(Elem::Bf16, &[]), false),
        (Formats::new(Elem::Bf16, &[]), true),
        (Formats::new(Elem::Bf16, &[("out", Elem::F32)]), true),
    ] {
        let Some(c) = on_hopper((rows, n, k), &formats, accumulate) else { return };
        // Products of 64 x 256 x 16, seen by each of four warps.
        assert_eq!(c.tensor_instructions, (4 * rows / 64 * n.div_ceil(256) * k / 16) as u64);
        assert_eq!(c.tensor_flops, 2 * (rows * n * k) as u64);
        // Two tiles share each operand; the output and what it held move once, in whole sectors. The bias is read by
        // each warp.
        let out = rows * n * formats.get("out").bytes() * (1 + usize::from(accumulate));
        let operands = (rows * n.div_ceil(256) + n * rows.div_ceil(128)) * k * 2;
        let bias = if accumulate { 0 } else { rows / 16 * n * 4 };
        assert_eq!(c.sector_bytes, (out + operands + bias) as u64);
        assert_eq!(c.wavefronts, c.ideal_wavefronts);
    }
}

#[test]
fn every_warpgroup_tile_compiles_without_notice_or_spill() {
    let Some(nvrtc) = nvrtc("gemm tiles") else { return };
    let arch = arch::parse("sm_90a").expect("it is a row");
    let goldens = Gemm.goldens();
    let (mut sources, mut jobs) = (Vec::new(), Vec::new());
    // The stages change no instruction. By turns a 16-bit output with a bias and f32 that is added to.
    let tiles = |v: &Values| v.get("form") == Some(2) && v.get("stages") == Some(2);
    let all: Vec<_> = GemmKernel.candidates(&goldens[0].1, arch).into_iter().filter(tiles).collect();
    assert!(all.len() >= 10, "{}", all.len());
    for (i, values) in all.iter().enumerate() {
        let source = GemmKernel.emit(&goldens[i % 2].1, values, arch).expect("it is legal");
        jobs.push(Job { source: Arc::from(source.text.as_str()), arch, output: Output::Cubin });
        sources.push(source);
    }
    let results = compile_all(nvrtc, &jobs, 0, Duration::from_secs(120), None);
    for ((values, source), result) in all.iter().zip(&sources).zip(results) {
        let compiled = result.unwrap_or_else(|e| panic!("{values}: {e}\n{}", source.text));
        assert!(compiled.notices().is_empty(), "{values}: {:?}", compiled.notices());
        let r = compiled.resources_of("gemm_wgmma").expect("it is the entry");
        println!("{values}: {} registers", r.registers);
        assert!(!r.spills(), "{values}: {r:?}");
        // What the warpgroups take must be what the kernel began with, or they would wait for ever.
        let budget = GemmKernel.budget(&goldens[0].1, values, arch).expect("it is legal");
        assert!(r.registers <= budget.registers, "{values}: {} of {}", r.registers, budget.registers);
        if values.get("warps_m") == Some(8) {
            assert!(r.registers * 3 >= 40 + 2 * 232, "{values}: {} registers to begin with", r.registers);
        }
    }
}

#[test]
fn a_form_tells_why_it_cannot_serve() {
    let values =
        Schedule { form: 2, tile_m: 128, tile_n: 128, tile_k: 64, warps_m: 8, warps_n: 1, stages: 4 };
    let problem = |format: &str, align| {
        Problem::new(
            "gemm",
            format,
            &[("n", 256), ("k", 100), ("align", align), ("out_align", 8), ("tokens", 256)],
        )
    };
    let why = |format: &str, align, target: &str, values: Schedule| {
        let arch = arch::parse(target).expect("it is a row");
        GemmKernel.legal(&problem(format, align), &values.values(), arch).map_err(|e| e.0)
    };
    assert_eq!(why("bf16", 8, "sm_90a", values), Ok(()));
    for (format, align, target, values, reason) in [
        ("bf16", 8, "sm_100a", values, "sm_100a has no warpgroup products"),
        ("bf16", 4, "sm_90a", values, "aligned to 16 bytes"),
        ("f32", 8, "sm_90a", values, "not f32"),
        ("bf16", 8, "sm_90a", Schedule { tile_k: 32, ..values }, "stages of 64"),
        ("bf16", 8, "sm_90a", Schedule { tile_m: 64, ..values }, "32 rows"),
        ("bf16", 8, "sm_90a", Schedule { warps_m: 2, ..values }, "whole warpgroups"),
        ("bf16", 8, "sm_90a", Schedule { tile_n: 32, ..values }, "32 columns"),
        ("bf16", 8, "sm_90a", Schedule { warps_m: 4, tile_n: 256, ..values }, "256 sums"),
        ("bf16", 8, "sm_90a", Schedule { tile_n: 256, stages: 5, ..values }, "bytes of shared memory"),
    ] {
        let told = why(format, align, target, values).expect_err(reason);
        assert!(told.contains(reason), "{told}");
    }
}

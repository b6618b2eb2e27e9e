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
        let fp8 = |tokens| {
            let mut dims = sizes(8960, 1536, tokens, "row_scale").to_vec();
            dims.extend([("column_scale", 1), ("align", 16), ("glu", 1)]);
            Problem::new("gemm", "e4m3 out=bf16", &dims)
        };
        let blocks = |tokens| {
            let mut dims = sizes(1536, 8960, tokens, "accumulate").to_vec();
            dims.extend([("block", 128), ("align", 16)]);
            Problem::new("gemm", "e4m3 out=f32", &dims)
        };
        vec![
            ("prefill", Problem::new("gemm", "bf16", &sizes(8960, 1536, 512, "bias")[..5])),
            ("residual", Problem::new("gemm", "bf16 out=f32", &sizes(1536, 8960, 512, "accumulate"))),
            ("gated", Problem::new("gemm", "bf16", &sizes(8960, 1536, 512, "glu"))),
            ("one", Problem::new("gemm", "bf16", &sizes(1536, 1536, 1, "bias"))),
            ("few", Problem::new("gemm", "bf16", &sizes(1536, 1536, 8, "bias"))),
            ("dozens", Problem::new("gemm", "bf16", &sizes(8960, 1536, 64, "glu"))),
            ("fp8", fp8(512)),
            ("few_fp8", fp8(16)),
            ("fp8_blocks", blocks(512)),
            ("few_fp8_blocks", blocks(16)),
            ("f32", Problem::new("gemm", "f32", &sizes(1536, 1536, 64, "bias"))),
        ]
    }

    fn random(&self, d: &mut Dice) -> Case {
        let main = d.of(&[Elem::F32, Elem::Bf16, Elem::Bf16, Elem::F16, Elem::E4m3]);
        let align = if main == Elem::E4m3 { d.of(&[4, 8, 16, 16]) } else { d.of(&[1, 2, 4, 8, 8]) };
        let out_align = d.of(&[1, 2, 4, 8]);
        let most = d.of(&[1, 4, 40, 70, 150]);
        // Whole accesses of the output need a whole number of columns, and whole accesses of weights one of k.
        let n = 1 + d.below(100);
        let n = if d.flip() { n.next_multiple_of(8) } else { n };
        let deepest = d.of(&[150, 150, 400]);
        let k = 1 + d.below(deepest);
        let k = if d.below(3) > 0 { k.next_multiple_of(16) } else { k };
        let shape = (1 + d.below(most), n, k);
        let out = if main == Elem::E4m3 { Elem::Bf16 } else { main };
        let formats = Formats::new(main, &[("out", d.of(&[out, Elem::F32]))]);
        let block = if main == Elem::E4m3 && d.flip() { 128 } else { 0 };
        let mut extras = Extras {
            bias: d.flip(),
            accumulate: d.flip(),
            row_scale: d.below(3) == 0,
            column_scale: d.below(3) == 0,
            block,
            ..Extras::default()
        };
        match d.below(3) {
            0 => extras.act = 1 + d.below(2),
            1 => extras.glu = 1 + d.below(2),
            _ => {}
        }
        extras.accumulate &= extras.act + extras.glu == 0;
        // A gate and its partner begin with a block.
        let shape = if block * extras.glu > 0 { (shape.0.min(40), block, k) } else { shape };
        case(d, shape, (align, out_align), &formats, extras)
    }

    fn cases(&self) -> usize {
        30
    }
}

/// What the sums of a product meet.
#[derive(Clone, Copy, Default)]
struct Extras {
    bias: bool,
    accumulate: bool,
    row_scale: bool,
    column_scale: bool,
    act: usize,
    glu: usize,
    /// Values of k and rows of weights with one scale; none at zero.
    block: usize,
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// The tanh form.
fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
}

/// A product of `rows` x `n` over `k`.
fn case(
    d: &mut Dice,
    (rows, n, k): (usize, usize, usize),
    (align, out_align): (usize, usize),
    formats: &Formats,
    e: Extras,
) -> Case {
    let (main, out_elem) = (formats.default, formats.get("out"));
    let weights = n * (1 + usize::from(e.glu > 0));
    let mut dims = vec![("n", n), ("k", k), ("align", align), ("out_align", out_align), ("tokens", rows)];
    dims.extend([("bias", usize::from(e.bias)), ("accumulate", usize::from(e.accumulate))]);
    dims.extend([("row_scale", usize::from(e.row_scale)), ("column_scale", usize::from(e.column_scale))]);
    dims.extend([("act", e.act), ("glu", e.glu), ("block", e.block)]);
    let x = Operand::random(d, "x", main, (rows, k), align);
    let weight = Operand::random(d, "weight", main, (weights, k), 16 / main.bytes());
    let weight = Operand { lead: 0, ..weight };
    let vector = |d: &mut Dice, role, len, there: bool| there.then(|| Operand::vector(d, role, len));
    let bias = vector(d, "bias", weights, e.bias);
    let row_scale = vector(d, "row_scale", rows, e.row_scale);
    let column_scale = vector(d, "column_scale", weights, e.column_scale);
    let held = Operand::random(d, "out", out_elem, (rows, n), out_align);
    let out = if e.accumulate {
        held.clone()
    } else {
        Operand::unwritten(d, "out", out_elem, (rows, n), out_align)
    };
    let of = |o: &Option<Operand>, i: usize, otherwise: f64| o.as_ref().map_or(otherwise, |o| o.row(0)[i]);
    let blocks = k.div_ceil(e.block.max(1));
    let dense = |d: &mut Dice, role, rows, cols| {
        let o = Operand::random(d, role, Elem::F32, (rows, cols), 1);
        (e.block > 0).then_some(Operand { stride: cols, lead: 0, ..o })
    };
    let x_scale = dense(d, "x_scale", blocks, rows);
    let weight_scale = dense(d, "weight_scale", weights.div_ceil(e.block.max(1)), blocks);
    let scaled = |i: usize, r: usize, c: usize| match (&x_scale, &weight_scale) {
        (Some(x), Some(w)) => x.row(i / e.block)[r] * w.row(c / e.block)[i / e.block],
        _ => 1.0,
    };
    let sum = |r: usize, c: usize| {
        let product = |(i, (a, b)): (usize, (&f64, &f64))| a * b * scaled(i, r, c);
        let dot: f64 = x.row(r).iter().zip(weight.row(c)).enumerate().map(product).sum();
        dot * of(&row_scale, r, 1.0) * of(&column_scale, c, 1.0) + of(&bias, c, 0.0)
    };
    let mut want = vec![0.0; rows * n];
    for (i, w) in want.iter_mut().enumerate() {
        let (r, c) = (i / n, i % n);
        *w = match (e.act, e.glu) {
            (1, _) => sum(r, c).max(0.0).powi(2),
            (2, _) => silu(sum(r, c)),
            (_, 1) => silu(sum(r, c)) * sum(r, n + c),
            (_, 2) => gelu(sum(r, c)) * sum(r, n + c),
            _ => sum(r, c) + if e.accumulate { held.row(r)[c] } else { 0.0 },
        };
    }
    let mut operands = vec![x, weight, out];
    operands.extend([bias, row_scale, column_scale, x_scale, weight_scale].into_iter().flatten());
    Case {
        problem: Problem::new("gemm", &formats.to_string(), &dims),
        batch: Batch::one(rows),
        rows,
        operands,
        scalars: vec![],
        expected: vec![("out", want)],
        // Products of narrow values are exact in f32, so only the sums, what is applied to them and the last rounding
        // err. Tensor cores of Hopper keep 14 bits of sums of fp8.
        tolerance: match (out_elem, main) {
            (Elem::F32, Elem::E4m3) => 1e-3,
            (Elem::F32, _) if e.act + e.glu > 0 => 5e-6,
            (Elem::F32, _) => 2e-6,
            _ => 3e-3,
        },
    }
}

/// Runs a slice of a model's product under its default, which must be of the form that is named, and gives what it
/// counted and the schedule.
fn slice_of_a_model(
    (target, form): (&str, i64),
    shape: (usize, usize, usize),
    formats: &Formats,
    accumulate: bool,
) -> Option<(rig::Counted, Schedule)> {
    let nvrtc = nvrtc("gemm for many tokens")?;
    let arch = arch::parse(target).expect("it is a row");
    let mut case = {
        let extras = Extras { bias: !accumulate, accumulate, ..Extras::default() };
        case(&mut Dice::new(3), shape, (8, 8), formats, extras)
    };
    // As a device lays buffers out: rows begin with a sector.
    for o in &mut case.operands {
        (o.lead, o.stride) = (0, o.cols);
    }
    // The schedule is that of the whole.
    let mut whole = case.problem.clone();
    whole.dims.extend([("tokens".to_owned(), 2048), ("n".to_owned(), 8960)]);
    let values = GemmKernel.default_for(&whole, arch).expect("it is served");
    assert_eq!(values.get("form"), Some(form), "{values}");
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
    Some((c, Schedule::from_values(&values).expect("it is a schedule")))
}

#[test]
fn prefill_reads_each_operand_once_a_tile() {
    let formats = Formats::new(Elem::Bf16, &[]);
    let (rows, n) = (256, 512);
    let mut instructions = Vec::new();
    for k in [256, 512] {
        let Some((c, s)) = slice_of_a_model(("sm_80", 1), (rows, n, k), &formats, true) else { return };
        assert!(s.tile_m * s.tile_n >= 128 * 128, "{s:?}");
        // Products of 16 x 8 x 16.
        assert_eq!(c.tensor_instructions, (rows / 16 * n / 8 * k / 16) as u64);
        let operands = (rows * n.div_ceil(s.tile_n) + n * rows.div_ceil(s.tile_m)) * k * 2;
        assert_eq!(c.sector_bytes, (operands + 2 * rows * n * 2) as u64);
        assert_eq!(c.wavefronts, c.ideal_wavefronts);
        instructions.push((c.warp_instructions, c.tensor_instructions));
    }
    // Reading fragments, copying tiles and walking the ring take little more than the products themselves.
    let [(short, few), (long, many)] = instructions[..] else { unreachable!("two depths") };
    let per_product = (long - short) as f64 / (many - few) as f64;
    println!("{per_product:.2} instructions for a product in the main loop");
    assert!(per_product < 2.2, "{per_product:.2} instructions for a product");
}

#[test]
fn hopper_multiplies_by_warpgroups() {
    let (rows, n, k) = (256, 512, 512);
    for (formats, accumulate) in [
        (Formats::new(Elem::Bf16, &[]), false),
        (Formats::new(Elem::Bf16, &[]), true),
        (Formats::new(Elem::Bf16, &[("out", Elem::F32)]), true),
    ] {
        let Some((c, _)) = slice_of_a_model(("sm_90a", 2), (rows, n, k), &formats, accumulate) else {
            return;
        };
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

/// A product of a model at a few tokens: what it is called, rows of weights (n, k), and what the sums meet.
const DECODE: &[(&str, usize, usize, usize)] = &[
    // Jet-Nemotron-2B: projections of a JetBlock, its output, gate and up, down.
    ("jet qkv", 8856, 1536, 0),
    ("jet out", 1536, 3072, 0),
    ("jet gate up", 8960, 1536, 1),
    ("jet down", 1536, 8960, 0),
    // Nemotron-Nano-9B-v2: projections of a Mamba-2 layer, its output, up and down of the MLP.
    ("nemotron in", 22_656, 4480, 0),
    ("nemotron out", 4480, 10_240, 0),
    ("nemotron up", 15_680, 4480, 0),
    ("nemotron down", 4480, 15_680, 0),
];

#[test]
fn few_tokens_move_little_more_than_the_weights() {
    let Some(nvrtc) = nvrtc("gemm for few tokens") else { return };
    let mut wrong = Vec::new();
    for (i, (what, n, k, glu)) in DECODE.iter().enumerate() {
        // The longer ones take a share each.
        let all: &[usize] = match i {
            0..4 => &[1, 8, 64],
            4 | 6 => &[1, 64],
            _ => &[8],
        };
        for (j, tokens) in all.iter().copied().enumerate() {
            let target = ["sm_80", "sm_90a"][(i + j) % 2];
            let arch = arch::parse(target).expect("it is a row");
            let extras = Extras { glu: *glu, ..Extras::default() };
            let formats = Formats::new(Elem::Bf16, &[]);
            let dims =
                [("n", *n), ("k", *k), ("align", 8), ("out_align", 8), ("glu", *glu), ("tokens", tokens)];
            let whole = Problem::new("gemm", "bf16", &dims);
            let values = GemmKernel.default_for(&whole, arch).expect("it is served");
            let tile = values.get("tile_n").map_or(1, |t| t as usize) / (1 + glu);
            // A slice of the columns, all of k: every tile does the same.
            let slice = tile.max(64);
            let mut case = case(&mut Dice::new(3), (tokens, slice, *k), (8, 8), &formats, extras);
            for o in &mut case.operands {
                (o.lead, o.stride) = (0, o.cols);
            }
            let source = GemmKernel.emit(&case.problem, &values, arch).expect("it is legal");
            let c = rig::counted(nvrtc, &case, &source, arch).unwrap_or_else(|e| panic!("{what}: {e}"));
            let floor = GemmKernel.floor(&case.problem).bytes as f64;
            // The tokens are read once for each tile; all reads but the first come from the L2 cache.
            let (x, x_once) = c.buffers["x"];
            let tiles = slice / tile;
            assert_eq!(x, (tiles * tokens * k * 2) as u64, "{what}: {values}");
            let bytes = (c.sector_bytes - x + x_once) as f64 / floor;
            let wavefronts = c.wavefronts as f64 / c.ideal_wavefronts.max(1) as f64;
            let mut conflicts = c.conflicts;
            conflicts.sort();
            println!(
                "{what} at {tokens} on {arch}: {values}: bytes {bytes:.3} of the floor ({:.3} with x from L2), \
                 wavefronts {wavefronts:.3} of ideal, {} warp instructions, {} on tensor cores, {:?}",
                c.sector_bytes as f64 / floor,
                c.warp_instructions,
                c.tensor_instructions,
                conflicts.last()
            );
            let form = values.get("form");
            assert_eq!(form, Some(if tokens <= 4 { 3 } else { 4 }), "{values}");
            assert_eq!(c.tensor_instructions > 0, tokens >= 8);
            if bytes > 1.05 || wavefronts > 1.02 {
                wrong.push(format!("{what} at {tokens}: {bytes:.3}, {wavefronts:.3}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
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
    let values = Schedule {
        form: 2,
        tile_m: 128,
        tile_n: 128,
        tile_k: 64,
        warps_m: 8,
        warps_n: 1,
        stages: 4,
        splits: 1,
    };
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
        ("e4m3", 8, "sm_90a", Schedule { tile_k: 128, ..values }, "aligned to 16 bytes"),
        (
            "e4m3",
            16,
            "sm_86",
            Schedule { form: 1, warps_m: 4, ..values },
            "sm_86 has no instructions for fp8",
        ),
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

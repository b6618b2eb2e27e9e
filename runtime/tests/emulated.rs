//! Programs on an emulated GPU against the CPU device: the same batches, ragged and step by step.

mod emulated_common;

use emulated_common::{LIMITS, dense, run, weights};
use jet_codegen::kernel::find;
use jet_codegen::launch::{Numbers, plan};
use jet_codegen::nvrtc::Nvrtc;
use jet_codegen::program::Program;
use jet_codegen::schedule::Problem;
use jet_codegen::{LowerOptions, lower};
use jet_dsl::block::{Act, Block, Mamba2};
use jet_dsl::{Binding, ModelSpec};
use jet_runtime::device::{Device, Executable, LoadRequest, Precision, open};
use jet_runtime::select::NoSchedules;

fn load(device: &dyn Device, program: &Program, precision: Precision) -> Box<dyn Executable> {
    let weights = weights(program);
    let request = LoadRequest {
        program: program.clone(),
        weights: &weights,
        schedules: &NoSchedules,
        recipe: precision.into(),
        limits: LIMITS,
    };
    device.load(request).unwrap_or_else(|e| panic!("{}: {e}", device.name()))
}

fn relative(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let error: f64 = got.iter().zip(want).map(|(g, w)| f64::from(g - w).powi(2)).sum();
    let norm: f64 = want.iter().map(|w| f64::from(*w).powi(2)).sum();
    (error / norm).sqrt()
}

#[test]
fn dense_models_give_the_logits_of_the_cpu() {
    if let Err(e) = Nvrtc::get() {
        return println!("skipped: dense_models_give_the_logits_of_the_cpu: {e}");
    }
    let cpu = open("cpu", 1).expect("there is always a CPU");
    for (act, d_model, hidden) in [(Act::Swiglu, 48, 80), (Act::Relu2, 20, 36), (Act::Geglu, 33, 51)] {
        let program = lower(&dense(act, d_model, hidden), LowerOptions::default());
        let want = run(&mut *load(&*cpu, &program, Precision::F32));
        for (arch, precision, allowed) in [
            ("emulated:sm_80", Precision::F32, 2e-6),
            ("emulated:sm_80", Precision::Bf16, 0.02),
            ("emulated:sm_90a", Precision::Bf16, 0.02),
        ] {
            let gpu = open(arch, 0).expect("the emulated device needs nothing");
            let got = run(&mut *load(&*gpu, &program, precision));
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                let off = relative(got, want);
                assert!(off <= allowed, "{act:?} on {arch} at {precision:?}, run {i}: off by {off:.2e}");
                assert!(off > 0.0 || precision == Precision::F32, "bfloat16 rounds");
            }
        }
    }
}

#[test]
fn a_mamba_model_gives_the_logits_of_the_cpu() {
    if let Err(e) = Nvrtc::get() {
        return println!("skipped: a_mamba_model_gives_the_logits_of_the_cpu: {e}");
    }
    // A shape that tiles of sixteen fit, and one that only the forms without them serve.
    let fits = Mamba2 { n_heads: 4, d_head: 16, d_state: 32, n_groups: 2, dt_min: 0.01, ..Mamba2::DEFAULT };
    let odd = Mamba2 { n_heads: 2, d_head: 9, d_state: 7, conv: 3, conv_bias: false, ..Mamba2::DEFAULT };
    let cpu = open("cpu", 1).expect("there is always a CPU");
    for block in [fits, odd] {
        let d_head = block.d_head;
        let bindings = vec![Binding { symbol: 'M', block: Block::Mamba2(block) }];
        let model =
            ModelSpec { pattern: "MM".into(), bindings: bindings.into(), ..dense(Act::Relu2, 24, 36) };
        let program = lower(&model, LowerOptions::default());
        let want = run(&mut *load(&*cpu, &program, Precision::F32));
        for (precision, allowed) in [(Precision::F32, 5e-6), (Precision::Bf16, 0.04)] {
            let gpu = open("emulated:sm_80", 0).expect("the emulated device needs nothing");
            let got = run(&mut *load(&*gpu, &program, precision));
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                let off = relative(got, want);
                assert!(off <= allowed, "heads of {d_head} at {precision:?}, run {i}: off by {off:.2e}");
            }
        }
    }
}

#[test]
fn the_problems_of_a_program_are_those_that_loading_asks_for() {
    if let Err(e) = Nvrtc::get() {
        return println!("skipped: the_problems_of_a_program_are_those_that_loading_asks_for: {e}");
    }
    let program = lower(&dense(Act::Swiglu, 48, 80), LowerOptions::default());
    let gpu = open("emulated:sm_86", 0).expect("the emulated device needs nothing");
    let problems = gpu.problems(&program, &|_| None, &Precision::Bf16.into(), &[1, 8, 64]);
    let planned = plan(&program, Numbers::Bf16);
    let asked = load(&*gpu, &program, Precision::Bf16).selection().clone();
    let missing: Vec<_> = problems.iter().filter(|p| asked.tasks.iter().all(|t| t.problem != **p)).collect();
    assert!(missing.is_empty(), "never asked for: {missing:#?}\n{planned}");
    assert!(problems.iter().any(|p| p.family == "gemm") && problems.len() > 10, "{planned}");
    for p in &problems {
        let family = gpu.family(&p.family).expect("problems are of the device's families");
        assert!(family.legal(p, &family.default_values(p)).is_ok());
        assert!(find(&p.family).is_some());
    }
}

#[test]
fn an_unknown_architecture_is_told_with_those_there_are() {
    let why = open("emulated:sm_75", 0).err().expect("sm_75 is no architecture of ours").to_string();
    assert!(why.contains("sm_75") && why.contains("sm_80"), "{why}");
}

/// A problem of each family, small, with sizes that are no multiples of a tile.
const ALONE: &[&str] = &[
    "norm[align=8 group=48 shared=0 tokens=5 width=48] bf16 x=f32",
    "norm[align=8 gate_first=1 group=24 shared=0 tokens=5 width=48] bf16",
    "norm[align=8 gate_last=1 group=16 shared=1 tokens=3 width=48] bf16",
    "norm[align=8 group=16 shared=1 tokens=3 width=48] bf16",
    "elementwise[align=8 embed=1 tokens=4 width=40] bf16 out=f32",
    "elementwise[align=4 head=24 rope=1 tokens=5 width=36] bf16",
    "elementwise[align=8 swiglu=1 tokens=5 width=40] bf16",
    "elementwise[align=8 gather=1 tokens=3 width=40] bf16 x=f32",
    "elementwise[align=8 gates=1 tokens=3 width=6] bf16 a=f32 b=f32",
    "gemm[accumulate=1 align=8 bias=0 k=72 n=40 out_align=8 tokens=19] bf16 out=f32",
    "gemm[accumulate=0 align=4 bias=1 k=60 n=36 out_align=4 tokens=19] f32",
    "gemm[accumulate=0 act=1 align=8 bias=0 k=72 n=40 out_align=8 tokens=19] bf16",
    "gemm[accumulate=0 align=8 bias=1 glu=1 k=72 n=40 out_align=8 tokens=3] bf16",
    "route[experts=8 n_group=2 normalise=1 tokens=7 top_k=3 topk_group=1] f32",
    "experts[accumulate=0 align=8 experts=5 hidden=24 out_align=8 relu2=1 tokens=9 top_k=2 width=32] bf16 gates=f32 ids=f32",
    "kv_append[align=8 d_head=24 kv_heads=2 tokens=6] bf16",
    "attention[align=8 d_head=24 heads=6 kv_heads=2 tokens=21 window=8] bf16",
    "attention_decode[align=8 d_head=24 heads=6 kv_heads=2 tokens=3 window=0] bf16",
    "conv[align=8 bias=1 channels=48 silu=1 taps=4 tokens=11] bf16",
    "dynamic_conv[align=8 channels=40 hidden=24 step=0 taps=4 tokens=9] bf16",
    "ssd[align=8 d_head=16 d_state=24 groups=1 heads=2 step=1 tokens=3] bf16",
    "ssd[align=8 d_head=16 d_state=24 groups=1 heads=2 step=0 tokens=37] f32",
    "gated_delta[align=8 d_key=24 d_value=32 heads=2 out_align=8 step=0 tokens=35] bf16 beta=f32 g=f32 state=f32",
];

#[test]
fn each_kernel_alone_gives_the_cpus_answer_under_its_default_and_some_other_schedule() {
    if let Err(e) = Nvrtc::get() {
        return println!(
            "skipped: each_kernel_alone_gives_the_cpus_answer_under_its_default_and_some_other_schedule: {e}"
        );
    }
    let device = open("emulated:sm_80", 1).expect("an emulated device");
    for text in ALONE {
        let problem: Problem = text.parse().expect("it is a problem");
        let family = device.family(&problem.family).expect("it is a family");
        let mut bench = device.bench(&problem).unwrap_or_else(|e| panic!("{problem}: {e}"));
        let candidates = family.candidates(&problem);
        let last = candidates.last().expect("there is a default");
        for values in [&candidates[0], last] {
            bench.prepare(values).unwrap_or_else(|e| panic!("{problem} with {values}: {e}"));
            let stats = bench.validate().unwrap_or_else(|e| panic!("{problem} with {values}: {e}"));
            assert!(stats.acceptable() && stats.max_abs.is_finite(), "{problem} with {values}: {stats:?}");
            let seconds = bench.time(2);
            assert!(seconds > 4e-6 && seconds < 1.0, "{problem} with {values}: {seconds} s");
        }
        let (bytes, _) = bench.floor();
        assert!(bytes > 0, "{problem}");
    }
}

#[test]
fn a_problem_that_no_program_gives_is_refused_with_the_reason() {
    if let Err(e) = Nvrtc::get() {
        return println!("skipped: a_problem_that_no_program_gives_is_refused_with_the_reason: {e}");
    }
    let device = open("emulated:sm_80", 1).expect("an emulated device");
    for (text, why) in [
        ("gemm[accumulate=0 align=8 bias=0 k=72 out_align=8 tokens=1] bf16", "no size `n`"),
        ("norm[align=8 group=48 odd=1 shared=0 tokens=5 width=48] bf16", "`odd` is unknown"),
        ("argmax[width=48 tokens=5] f32", "no program has such a kernel"),
        ("conv[align=8 bias=1 channels=48 silu=1 taps=4 tokens=11] f16", "no program computes in f16"),
        ("gemm[act=1 align=8 glu=1 k=72 n=40 out_align=8 tokens=3] bf16", "`act` of 1 with `glu` of 1"),
        ("gemm[align=8 k=72 n=40 out_align=8 row_scale=1 tokens=3] bf16", "`row_scale` is unknown"),
    ] {
        let problem: Problem = text.parse().expect("it is a problem");
        let e = device.bench(&problem).err().unwrap_or_else(|| panic!("{text} was taken")).to_string();
        assert!(e.contains(why), "{text}: {e}");
    }
}

//! Programs on an emulated GPU against the CPU device: the same batches, ragged and step by step.

use jet_codegen::kernel::find;
use jet_codegen::launch::{Numbers, plan};
use jet_codegen::nvrtc::Nvrtc;
use jet_codegen::op::Op;
use jet_codegen::program::Program;
use jet_codegen::{LOGITS, LowerOptions, lower};
use jet_dsl::block::{Act, Block, Mamba2, Mlp};
use jet_dsl::{Binding, ModelSpec, Naming};
use jet_runtime::device::{Device, Executable, Limits, LoadRequest, Outputs, Precision, Segment, open};
use jet_runtime::select::NoSchedules;
use jet_runtime::weights::MemoryWeights;

/// Values between -1 and 1 from a seed (splitmix64).
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let word = |i: usize| {
        let x = (seed << 32).wrapping_add(i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let a = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ (b >> 31)
    };
    (0..len).map(|i| (word(i) >> 40) as f32 / 8_388_608.0 - 1.0).collect()
}

/// Random weights for every op of `program`, scaled so that activations stay near one.
fn weights(program: &Program) -> MemoryWeights {
    let mut all = MemoryWeights::default();
    let mut seed = 0;
    let mut put = |id, shape: &[usize]| {
        seed += 1;
        let scale = if shape.len() == 2 { (3.0 / shape[1] as f32).sqrt() } else { 1.0 };
        let values = noise(seed, shape.iter().product()).into_iter().map(|v| v * scale).collect();
        all.insert(id, shape, values);
    };
    for step in &program.steps {
        match &step.op {
            Op::Linear(l) => {
                for p in &l.parts {
                    put(p.weight, &[p.rows, l.x.width]);
                    p.bias.iter().for_each(|b| put(*b, &[p.rows]));
                }
            }
            Op::Embed { table, vocab, out } => put(*table, &[*vocab, out.width]),
            other => other.weight_elements().into_iter().for_each(|(id, n)| put(id, &[n])),
        }
    }
    all
}

fn dense(act: Act, d_model: u32, hidden: u32) -> ModelSpec {
    ModelSpec {
        name: "dense".into(),
        vocab: 37,
        d_model,
        norm_eps: 1e-5,
        tie_embeddings: false,
        max_context: 64,
        pattern: "--".into(),
        naming: Naming::NemotronH,
        precisions: vec![].into(),
        bindings: vec![Binding { symbol: '-', block: Block::Mlp(Mlp { hidden, act, bias: true }) }].into(),
    }
}

const LIMITS: Limits = Limits { max_tokens: 20, max_outputs: 20, max_sequences: 3, context: 40 };

/// Logits of a ragged prompt, then of a few steps of all sequences.
fn run(exe: &mut dyn Executable) -> Vec<Vec<f32>> {
    let logits = exe.program().find_buffer(LOGITS).expect("a model has logits");
    let slots: Vec<_> = (0..3).map(|i| exe.open_sequence(i * 5).expect("there is room")).collect();
    let ids: Vec<u32> = (0..40).map(|i| i * 7 % 37).collect();
    let mut all = Vec::new();
    for lens in [[7, 1, 12], [1, 1, 1], [2, 3, 1]] {
        let segments: Vec<Segment<'_>> = lens
            .iter()
            .zip(&slots)
            .enumerate()
            .map(|(i, (len, slot))| Segment {
                slot: *slot,
                tokens: &ids[i..i + len],
                outputs: [Outputs::All, Outputs::Last, Outputs::None][i],
            })
            .collect();
        exe.run(&segments).expect("the batch is sound");
        all.push(exe.read(logits).to_vec());
    }
    all
}

fn load(device: &dyn Device, program: &Program, precision: Precision) -> Box<dyn Executable> {
    let weights = weights(program);
    let request = LoadRequest {
        program: program.clone(),
        weights: &weights,
        schedules: &NoSchedules,
        precision,
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
    let problems = gpu.problems(&program, &|_| None, Precision::Bf16, &[1, 8, 64]);
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

//! What tests on an emulated GPU share: a small model, its weights, and ragged batches.

use jet_codegen::LOGITS;
use jet_codegen::op::Op;
use jet_codegen::program::Program;
use jet_dsl::block::{Act, Block, Mlp};
use jet_dsl::{Binding, ModelSpec, Naming};
use jet_runtime::device::{Executable, Limits, Outputs, Segment};
use jet_runtime::weights::MemoryWeights;

/// Values between -1 and 1 from a seed (splitmix64).
pub(crate) fn noise(seed: u64, len: usize) -> Vec<f32> {
    let word = |i: usize| {
        let x = (seed << 32).wrapping_add(i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let a = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ (b >> 31)
    };
    (0..len).map(|i| (word(i) >> 40) as f32 / 8_388_608.0 - 1.0).collect()
}

/// Random weights for every op of `program`, scaled so that activations stay near one.
pub(crate) fn weights(program: &Program) -> MemoryWeights {
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

pub(crate) fn dense(act: Act, d_model: u32, hidden: u32) -> ModelSpec {
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

pub(crate) const LIMITS: Limits = Limits { max_tokens: 20, max_outputs: 20, max_sequences: 3, context: 40 };

/// Logits of a ragged prompt, then of a few steps of all sequences.
pub(crate) fn run(exe: &mut dyn Executable) -> Vec<Vec<f32>> {
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

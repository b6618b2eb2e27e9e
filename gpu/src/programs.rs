//! Programs of one block each, in the sizes of large models, with random weights: what is timed.

use jet_codegen::op::Op;
use jet_codegen::program::Program;
use jet_codegen::{LowerOptions, lower};
use jet_dsl::ModelSpec;
use jet_models::presets;
use jet_runtime::weights::MemoryWeights;

/// Models whose layers are timed, and the one of a rehearsal.
const LARGE: [&str; 2] = ["jet-nemotron-2b", "nemotron-nano-9b-v2"];
const TOY: [&str; 1] = ["tiny-hybrid"];
/// Rows of the vocabulary where it is not what is timed.
const VOCAB: u32 = 512;

/// A program to time.
pub(crate) struct Layer {
    /// Model and block.
    pub(crate) name: String,
    pub(crate) program: Program,
}

/// One program for each kind of block of each model, the most valuable first: what a small model's tokens take most time
/// in comes first, which is its own mixer, then the rest as the model declares it. The first model's last one comes again with its
/// whole vocabulary.
pub(crate) fn layers(toy: bool) -> Vec<Layer> {
    let mut all = Vec::new();
    for name in if toy { &TOY[..] } else { &LARGE[..] } {
        let preset = presets::find(name).expect("it is a preset");
        let spec = (preset.spec)();
        for binding in spec.bindings.iter() {
            let one = ModelSpec { pattern: binding.symbol.to_string().into(), vocab: VOCAB, ..spec.clone() };
            let name = format!("{name} {}", binding.symbol);
            all.push(Layer { name, program: lower(&one, LowerOptions::default()) });
        }
        if !toy && all.len() == spec.bindings.len() {
            let symbol = spec.bindings.last().expect("a model has blocks").symbol;
            let whole = ModelSpec { pattern: symbol.to_string().into(), ..spec.clone() };
            let name = format!("{name} {symbol} with its vocabulary");
            all.push(Layer { name, program: lower(&whole, LowerOptions::default()) });
        }
    }
    all
}

/// Values between -1 and 1 from a seed (splitmix64).
fn noise(seed: u64, len: usize, scale: f32) -> Vec<f32> {
    let word = |i: usize| {
        let x = (seed << 40).wrapping_add(i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let a = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ (b >> 31)
    };
    (0..len).map(|i| ((word(i) >> 40) as f32 / 8_388_608.0 - 1.0) * scale).collect()
}

/// Random weights for every op of `program`, scaled so that activations stay near one.
pub(crate) fn weights(program: &Program) -> MemoryWeights {
    let mut all = MemoryWeights::default();
    let mut seed = 0;
    let mut put = |id, shape: &[usize]| {
        seed += 1;
        let scale = if shape.len() == 2 { (3.0 / shape[1] as f32).sqrt() } else { 1.0 };
        all.insert(id, shape, noise(seed, shape.iter().product(), scale));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_of_the_models_is_a_program() {
        for toy in [true, false] {
            let all = layers(toy);
            let names: Vec<_> = all.iter().map(|l| l.name.as_str()).collect();
            assert!(names.len() >= 3, "{names:?}");
            assert!(all.iter().all(|l| l.program.steps.len() > 2));
        }
        assert!(layers(false).iter().any(|l| l.name == "jet-nemotron-2b J"));
    }

    #[test]
    fn noise_is_the_same_again_and_spread() {
        let values = noise(3, 1000, 1.0);
        assert_eq!(values, noise(3, 1000, 1.0));
        let mean = values.iter().sum::<f32>() / 1000.0;
        assert!(mean.abs() < 0.1 && values.iter().all(|v| v.abs() <= 1.0), "{mean}");
    }
}

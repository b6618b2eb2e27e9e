//! Causal convolutions.

use crate::case::{Batch, Case, Family, Operand};
use crate::dice::Dice;
use crate::ragged;
use jet_codegen::kernel::{Elem, Formats};
use jet_codegen::schedule::Problem;

pub struct Conv;

impl Family for Conv {
    fn name(&self) -> &'static str {
        "conv"
    }

    fn goldens(&self) -> Vec<(&'static str, Problem)> {
        let sizes = |channels, tokens, bias| {
            [
                ("channels", channels),
                ("taps", 4),
                ("align", 8),
                ("bias", bias),
                ("silu", 1),
                ("tokens", tokens),
            ]
        };
        vec![
            ("prefill", Problem::new("conv", "bf16", &sizes(12_288, 2048, 1))),
            ("step", Problem::new("conv", "bf16", &sizes(12_288, 1, 1))),
            ("f32", Problem::new("conv", "f32", &sizes(6144, 512, 0))),
        ]
    }

    fn random(&self, d: &mut Dice) -> Case {
        let align = d.of(&[1, 2, 4, 8, 8]);
        let (channels, taps) = (align * (1 + d.below(24)), 1 + d.below(5));
        let batch = ragged::batch(d, 4, 23);
        let main = d.of(&[Elem::F32, Elem::Bf16]);
        let formats = Formats::new(main, &[("out", d.of(&[main, Elem::F32]))]);
        let flags = (d.flip(), d.flip());
        case(d, (channels, taps, align), &formats, batch, flags)
    }

    fn layer(&self, d: &mut Dice, p: &Problem, batch: Batch) -> Option<Case> {
        let sizes = (p.dim("channels"), p.dim("taps"), p.dim("align"));
        let formats = Formats::of(p).expect("the formats of a layer");
        Some(case(d, sizes, &formats, batch, (p.dim("bias") > 0, p.dim("silu") > 0)))
    }
}

fn case(
    d: &mut Dice,
    (channels, taps, align): (usize, usize, usize),
    formats: &Formats,
    batch: Batch,
    (bias, silu): (bool, bool),
) -> Case {
    let rows = batch.tokens();
    let x = Operand::random(d, "x", formats.get("x"), (rows, channels), align);
    let weight = Operand::vector(d, "weight", channels * taps);
    let b = Operand::vector(d, "bias", channels);
    let out = Operand::unwritten(d, "out", formats.get("out"), (rows, channels), align);
    let state = ragged::states(d, (taps - 1, channels), &batch);
    let (want, moved) = reference(&batch, taps, &x, &weight, bias.then_some(&b), silu, &state);
    let dims = [
        ("channels", channels),
        ("taps", taps),
        ("align", align),
        ("bias", usize::from(bias)),
        ("silu", usize::from(silu)),
        ("tokens", rows),
    ];
    let tolerance = if formats.get("out") == Elem::F32 { 1e-6 } else { 3e-3 };
    let mut operands = vec![x, weight, out, state];
    if bias {
        operands.push(b);
    }
    Case {
        problem: Problem::new("conv", &formats.to_string(), &dims),
        batch,
        rows,
        operands,
        scalars: vec![],
        expected: vec![("out", want), ("state", moved)],
        // Only the sums and the last rounding err.
        tolerance,
    }
}

/// What comes out, and the states afterwards.
fn reference(
    batch: &Batch,
    taps: usize,
    x: &Operand,
    weight: &Operand,
    bias: Option<&Operand>,
    silu: bool,
    state: &Operand,
) -> (Vec<f64>, Vec<f64>) {
    let channels = x.cols;
    let (mut out, mut moved) = (vec![0.0; x.rows * channels], state.values().to_vec());
    for (s, start) in batch.segments.iter().zip(batch.starts()) {
        for c in 0..channels {
            let at = |column: usize| (s.slot * (taps - 1) + column) * channels + c;
            let old = (0..taps - 1).map(|k| state.values()[at(k)]);
            let history: Vec<f64> = old.chain((0..s.len).map(|t| x.row(start + t)[c])).collect();
            for t in 0..s.len {
                let dot: f64 = (0..taps).map(|k| weight.values()[c * taps + k] * history[t + k]).sum();
                let sum = dot + bias.map_or(0.0, |b| b.values()[c]);
                out[(start + t) * channels + c] = if silu { sum / (1.0 + (-sum).exp()) } else { sum };
            }
            for k in 0..taps - 1 {
                moved[at(k)] = history[s.len + k];
            }
        }
    }
    (out, moved)
}

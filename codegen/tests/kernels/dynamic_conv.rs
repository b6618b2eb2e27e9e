//! Dynamic convolutions.

use crate::case::{Batch, Case, Family, Operand};
use crate::dice::Dice;
use crate::ragged;
use jet_codegen::kernel::{Elem, Formats};
use jet_codegen::schedule::Problem;

pub struct DynamicConv;

impl Family for DynamicConv {
    fn name(&self) -> &'static str {
        "dynamic_conv"
    }

    fn goldens(&self) -> Vec<(&'static str, Problem)> {
        let jet = |tokens, step| {
            [
                ("channels", 3072),
                ("taps", 4),
                ("hidden", 384),
                ("align", 8),
                ("tokens", tokens),
                ("step", step),
            ]
        };
        vec![
            ("prefill", Problem::new("dynamic_conv", "bf16", &jet(2048, 0))),
            ("step", Problem::new("dynamic_conv", "bf16", &jet(8, 1))),
            ("f32", Problem::new("dynamic_conv", "f32", &jet(64, 0))),
        ]
    }

    fn random(&self, d: &mut Dice) -> Case {
        // Mostly what tiles of 16-bit operands fit, or anything.
        let fits = d.below(3) > 0;
        let (align, taps) = if fits { (d.of(&[2, 8]), 4) } else { (1, 1 + d.below(5)) };
        let (channels, hidden) = (align * (1 + d.below(40 / align)), 1 + d.below(90));
        let main =
            if fits { d.of(&[Elem::Bf16, Elem::Bf16, Elem::F16]) } else { d.of(&[Elem::F32, Elem::Bf16]) };
        let out_elem = if fits { main } else { d.of(&[main, Elem::F32]) };
        let formats = Formats::new(main, &[("out", out_elem)]);
        let batch = ragged::batch(d, 4, 30);
        let step = batch.segments.iter().all(|s| s.len == 1) && d.flip();
        case(d, (channels, taps, hidden, align), &formats, batch, step)
    }

    fn layer(&self, d: &mut Dice, p: &Problem, batch: Batch) -> Option<Case> {
        let sizes = (p.dim("channels"), p.dim("taps"), p.dim("hidden"), p.dim("align"));
        let formats = Formats::of(p).expect("the formats of a layer");
        Some(case(d, sizes, &formats, batch, p.dim("step") > 0))
    }

    fn cases(&self) -> usize {
        14
    }
}

fn case(
    d: &mut Dice,
    (channels, taps, hidden, align): (usize, usize, usize, usize),
    formats: &Formats,
    batch: Batch,
    step: bool,
) -> Case {
    let (main, out_elem) = (formats.get("u"), formats.get("out"));
    let rows = batch.tokens();
    let u = Operand::random(d, "u", main, (rows, channels), align);
    let h = Operand::random(d, "h", main, (rows, hidden), align);
    let weight = Operand::random(d, "weight", main, (channels * taps, hidden), 16 / main.bytes());
    let bias = Operand::vector(d, "bias", channels * taps);
    let out = Operand::unwritten(d, "out", out_elem, (rows, channels), align);
    let state = ragged::states(d, (taps, channels), &batch);
    let dims = [
        ("channels", channels),
        ("taps", taps),
        ("hidden", hidden),
        ("align", align),
        ("step", usize::from(step)),
        ("tokens", rows),
    ];
    let weight = Operand { lead: 0, ..weight };
    let mut case = Case {
        problem: Problem::new("dynamic_conv", &formats.to_string(), &dims),
        batch,
        rows,
        operands: vec![u, h, weight, bias, out, state],
        scalars: vec![],
        expected: vec![],
        // Products of 16-bit values are exact in f32, so only the sums and the last rounding err.
        tolerance: if out_elem == Elem::F32 { 3e-6 } else { 3e-3 },
    };
    let (want, moved) = reference(&case, taps, channels);
    case.expected = vec![("out", want), ("state", moved)];
    case
}

/// The taps written out, applied to the history written out; and the states afterwards.
fn reference(case: &Case, taps: usize, channels: usize) -> (Vec<f64>, Vec<f64>) {
    let of = |role: &str| case.operand(role);
    let old = of("state").values();
    let (mut out, mut state) = (vec![0.0; case.rows * channels], old.to_vec());
    for (s, start) in case.batch.segments.iter().zip(case.batch.starts()) {
        for c in 0..channels {
            let at = |column: usize| (s.slot * taps + column) * channels + c;
            let new = (0..s.len).map(|t| of("u").row(start + t)[c]);
            let history: Vec<f64> = (0..taps).map(|k| old[at(k)]).chain(new).collect();
            for t in 0..s.len {
                let h = of("h").row(start + t);
                let tap = |w: usize| {
                    let row = of("weight").row(c * taps + w);
                    of("bias").values()[c * taps + w] + h.iter().zip(row).map(|(a, b)| a * b).sum::<f64>()
                };
                let sum: f64 = (0..taps).map(|w| tap(w) * history[t + w + 1]).sum();
                out[(start + t) * channels + c] = sum / (1.0 + (-sum).exp());
            }
            for k in 0..taps {
                state[at(k)] = history[s.len + k];
            }
        }
    }
    (out, state)
}

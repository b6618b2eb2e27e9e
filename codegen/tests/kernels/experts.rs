//! The routed experts of a mixture.

use crate::case::{Batch, Case, Content, Family, Operand, round};
use crate::dice::Dice;
use jet_codegen::kernel::experts::ACTS;
use jet_codegen::kernel::{Elem, Formats};
use jet_codegen::schedule::Problem;

pub struct Experts;

impl Family for Experts {
    fn name(&self) -> &'static str {
        "experts"
    }

    fn goldens(&self) -> Vec<(&'static str, Problem)> {
        let of = |format: &str, (width, hidden), (experts, top_k), tokens, act| {
            let sizes = [
                ("width", width),
                ("hidden", hidden),
                ("experts", experts),
                ("top_k", top_k),
                ("align", 8),
                ("out_align", 8),
                ("accumulate", 1),
                ("tokens", tokens),
                (act, 1),
            ];
            Problem::new("experts", format, &sizes)
        };
        vec![
            ("prefill", of("bf16 out=f32", (2688, 1856), (128, 6), 4096, "relu2")),
            ("few", of("bf16 out=f32", (2688, 1856), (128, 6), 8, "relu2")),
            ("gated", of("bf16", (2048, 768), (128, 8), 512, "swiglu")),
            ("f32", of("f32", (2688, 1856), (128, 6), 64, "relu2")),
        ]
    }

    fn random(&self, d: &mut Dice) -> Case {
        let main = d.of(&[Elem::F32, Elem::Bf16, Elem::Bf16, Elem::F16]);
        let formats = Formats::new(main, &[("out", d.of(&[main, Elem::F32]))]);
        let (width, hidden) = (1 + d.below(70), 1 + d.below(70));
        let experts = 1 + d.below(40);
        let top_k = 1 + d.below(experts.min(4));
        // Few experts get many tokens, or each of many some.
        let rows = 1 + d.below(if experts < 4 { 40 } else { 12 });
        let act = d.below(ACTS.len());
        let accumulate = d.flip();
        let (align, out_align) = (d.of(&[1, 2, 8, 8]), d.of(&[1, 2, 8]));
        let dims = [
            ("width", width),
            ("hidden", hidden),
            ("experts", experts),
            ("top_k", top_k),
            ("align", align),
            ("out_align", out_align),
            ("accumulate", usize::from(accumulate)),
            ("tokens", rows),
            (ACTS[act], 1),
        ];
        let x = Operand::random(d, "x", main, (rows, width), align);
        // Distinct experts for each token: neighbours from a random one on, the first ones most often.
        let mut ids = Operand::random(d, "ids", Elem::F32, (rows, top_k), 1);
        if let Content::Values(values) = &mut ids.content {
            for chosen in values.chunks_mut(top_k) {
                let most = d.of(&[2, experts]);
                let first = d.below(most);
                chosen.iter_mut().enumerate().for_each(|(j, id)| *id = ((first + j) % experts) as f64);
            }
        }
        let gates = Operand::random(d, "gates", Elem::F32, (rows, top_k), 1);
        let bank = |d: &mut Dice, role, rows, cols| {
            let o = Operand::random(d, role, main, (experts * rows, cols), 16 / main.bytes());
            Operand { lead: 0, ..o }
        };
        let up = bank(d, "up", hidden, width);
        let gate = bank(d, "gate", hidden, width);
        let down = bank(d, "down", width, hidden);
        let held = Operand::random(d, "out", formats.get("out"), (rows, width), out_align);
        let mut want = vec![0.0; rows * width];
        for row in 0..rows {
            for j in 0..top_k {
                let expert = ids.row(row)[j] as usize;
                let inner: Vec<f64> = (0..hidden)
                    .map(|h| {
                        let of = |m: &Operand| dot(x.row(row), m.row(expert * hidden + h));
                        // Between the products values are stored in the format of the matrices.
                        round(main, activation(ACTS[act], of(&up), of(&gate)))
                    })
                    .collect();
                for c in 0..width {
                    want[row * width + c] += gates.row(row)[j] * dot(&inner, down.row(expert * width + c));
                }
            }
        }
        let out = if accumulate {
            want.iter_mut().zip(held.values()).for_each(|(w, h)| *w += h);
            held
        } else {
            Operand { content: Content::Unwritten, ..held }
        };
        let mut operands = vec![x, ids, gates, up, down, out];
        if act > 0 {
            operands.push(gate);
        }
        Case {
            problem: Problem::new("experts", &formats.to_string(), &dims),
            batch: Batch::one(rows),
            rows,
            operands,
            scalars: vec![],
            expected: vec![("out", want)],
            // What rounds to the other side between the products costs at most a rounding of it.
            tolerance: if main == Elem::F32 { 3e-6 } else { 3e-3 },
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn activation(act: &str, up: f64, gate: f64) -> f64 {
    let gelu =
        |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh());
    match act {
        "swiglu" => up * gate / (1.0 + (-gate).exp()),
        "geglu" => up * gelu(gate),
        _ => up.max(0.0).powi(2),
    }
}

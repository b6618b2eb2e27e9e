//! Matrix products.

use crate::case::{Batch, Case, Family, Operand};
use crate::dice::Dice;
use jet_codegen::kernel::{Elem, Formats};
use jet_codegen::schedule::Problem;

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
        let (rows, n, k) = (1 + d.below(70), 1 + d.below(100), 1 + d.below(150));
        let main = d.of(&[Elem::F32, Elem::Bf16, Elem::Bf16, Elem::F16]);
        let out_elem = d.of(&[main, Elem::F32]);
        let formats = Formats::new(main, &[("out", out_elem)]);
        let (bias, accumulate) = (d.flip(), d.flip());
        let mut dims = vec![("n", n), ("k", k), ("align", align), ("out_align", out_align), ("tokens", rows)];
        dims.extend([("bias", usize::from(bias)), ("accumulate", usize::from(accumulate))]);
        let x = Operand::random(d, "x", main, (rows, k), align);
        let weight = Operand::random(d, "weight", main, (n, k), 16 / main.bytes());
        let weight = Operand { lead: 0, ..weight };
        let b = Operand::vector(d, "bias", n);
        let held = Operand::random(d, "out", out_elem, (rows, n), out_align);
        let out = if accumulate {
            held.clone()
        } else {
            Operand::unwritten(d, "out", out_elem, (rows, n), out_align)
        };
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
}

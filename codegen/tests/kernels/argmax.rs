//! Greedy choice.

use crate::case::{Batch, Case, Content, Family, Operand};
use crate::dice::Dice;
use jet_codegen::kernel::Elem;
use jet_codegen::schedule::Problem;

pub struct Argmax;

impl Family for Argmax {
    fn name(&self) -> &'static str {
        "argmax"
    }

    fn goldens(&self) -> Vec<(&'static str, Problem)> {
        let of = |format, width, tokens| {
            Problem::new("argmax", format, &[("width", width), ("align", 8), ("tokens", tokens)])
        };
        vec![("one", of("f32", 151_936, 1)), ("many", of("bf16", 131_072, 256))]
    }

    fn random(&self, d: &mut Dice) -> Case {
        let align = d.of(&[1, 2, 4, 8]);
        let (rows, width) = (1 + d.below(4), 1 + d.below(700));
        let main = d.of(&[Elem::F32, Elem::Bf16]);
        let mut x = Operand::random(d, "x", main, (rows, width), align);
        if let Content::Values(values) = &mut x.content {
            // Few different values, so that most maxima are there several times; some rows without any number.
            for row in values.chunks_mut(width) {
                let kind = d.below(6);
                for v in row {
                    *v = match kind {
                        0 => f64::NAN,
                        1 => f64::NEG_INFINITY,
                        _ if d.below(9) == 0 => f64::NAN,
                        _ => (*v * 3.0).round(),
                    };
                }
            }
        }
        let place = |row: &[f64]| {
            let best = row.iter().copied().filter(|v| !v.is_nan()).reduce(f64::max);
            best.and_then(|b| row.iter().position(|v| *v == b)).map_or(-1.0, |i| i as f64)
        };
        let want = (0..rows).map(|r| place(x.row(r))).collect();
        let dims = [("width", width), ("align", align), ("tokens", rows)];
        let ids = Operand::unwritten(d, "ids", Elem::F32, (rows, 1), 1);
        Case {
            problem: Problem::new("argmax", main.name(), &dims),
            batch: Batch::one(rows),
            rows,
            operands: vec![x, ids],
            scalars: vec![],
            expected: vec![("ids", want)],
            tolerance: 0.0,
        }
    }
}

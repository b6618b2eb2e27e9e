//! The router of a mixture of experts.

use crate::case::{Batch, Case, Content, Family, Operand};
use crate::dice::Dice;
use jet_codegen::kernel::Elem;
use jet_codegen::schedule::Problem;

pub struct Route;

impl Family for Route {
    fn name(&self) -> &'static str {
        "route"
    }

    fn goldens(&self) -> Vec<(&'static str, Problem)> {
        let of = |experts, top_k, groups: (usize, usize)| {
            let sizes = [
                ("experts", experts),
                ("top_k", top_k),
                ("n_group", groups.0),
                ("topk_group", groups.1),
                ("normalise", 1),
                ("tokens", 512),
            ];
            Problem::new("route", "f32", &sizes)
        };
        vec![("nano", of(128, 6, (1, 1))), ("super", of(512, 22, (1, 1))), ("groups", of(256, 8, (8, 4)))]
    }

    fn random(&self, d: &mut Dice) -> Case {
        let groups = d.of(&[1, 1, 2, 3, 4]);
        let experts = groups * (1 + d.below(30));
        let kept = 1 + d.below(groups);
        let top_k = 1 + d.below((experts / groups * kept).min(9));
        let normalise = d.flip();
        let rows = 1 + d.below(11);
        let main = d.of(&[Elem::F32, Elem::Bf16]);
        let dims = [
            ("experts", experts),
            ("top_k", top_k),
            ("n_group", groups),
            ("topk_group", kept),
            ("normalise", usize::from(normalise)),
            ("tokens", rows),
        ];
        // On a grid, so that choices are equal or well apart also in float.
        let grid = |o: &mut Operand, steps: f64, factor: f64| {
            if let Content::Values(values) = &mut o.content {
                values.iter_mut().for_each(|v| *v = (*v * steps).round() / steps * factor);
            }
        };
        let mut logits = Operand::random(d, "logits", main, (rows, experts), 1);
        grid(&mut logits, 8.0, 4.0);
        let mut bias = Operand::vector(d, "bias", experts);
        grid(&mut bias, 2.0, 1.0);
        let ids = Operand::unwritten(d, "ids", Elem::F32, (rows, top_k), 1);
        let gates = Operand::unwritten(d, "gates", Elem::F32, (rows, top_k), 1);
        let (mut want_ids, mut want_gates) = (vec![], vec![]);
        let rule = Rule { groups, kept, top_k, normalise, scale: 2.5 };
        for row in 0..rows {
            for (id, gate) in rule.choose(logits.row(row), bias.row(0)) {
                want_ids.push(id as f64);
                want_gates.push(gate);
            }
        }
        Case {
            problem: Problem::new("route", main.name(), &dims),
            batch: Batch::one(rows),
            rows,
            operands: vec![logits, bias, ids, gates],
            scalars: vec![("scale", 2.5)],
            expected: vec![("ids", want_ids), ("gates", want_gates)],
            // A wrong id is far beyond it; so is a wrong order of equals.
            tolerance: 1e-6,
        }
    }
}

struct Rule {
    groups: usize,
    kept: usize,
    top_k: usize,
    normalise: bool,
    scale: f64,
}

impl Rule {
    /// The chosen experts and their weights, best first, equals in order: by sorting.
    fn choose(&self, logits: &[f64], bias: &[f64]) -> Vec<(usize, f64)> {
        let ranked = |values: &[f64]| {
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
            order
        };
        let scores: Vec<f64> = logits.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect();
        let mut choice: Vec<f64> = scores.iter().zip(bias).map(|(s, b)| s + b).collect();
        if self.groups > 1 {
            let size = logits.len() / self.groups;
            let goodness = |members: &[f64]| ranked(members).iter().take(2).map(|i| members[*i]).sum();
            let groups: Vec<f64> = choice.chunks(size).map(goodness).collect();
            let kept = &ranked(&groups)[..self.kept];
            for (e, c) in choice.iter_mut().enumerate() {
                if !kept.contains(&(e / size)) {
                    *c = f64::NEG_INFINITY;
                }
            }
        }
        let chosen = &ranked(&choice)[..self.top_k];
        let sum: f64 = chosen.iter().map(|e| scores[*e]).sum();
        let divisor = if self.normalise { sum } else { 1.0 };
        chosen.iter().map(|e| (*e, scores[*e] / divisor * self.scale)).collect()
    }
}

//! Norms.

use crate::case::{Batch, Case, Family, Operand};
use crate::dice::Dice;
use jet_codegen::kernel::{Elem, Formats};
use jet_codegen::schedule::Problem;

pub struct Norm;

impl Family for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn goldens(&self) -> Vec<(&'static str, Problem)> {
        let sizes = |width, group, flag, on| {
            [("width", width), ("group", group), ("align", 8), ("tokens", 64), (flag, on)]
        };
        vec![
            ("rows", Problem::new("norm", "bf16 x=f32", &sizes(1536, 1536, "shared", 0))),
            ("rows_f32", Problem::new("norm", "f32", &sizes(4480, 4480, "shared", 0))),
            ("add", Problem::new("norm", "bf16 residual=f32", &sizes(2560, 2560, "residual", 1))),
            ("gate_first", Problem::new("norm", "bf16", &sizes(10_240, 1280, "gate_first", 1))),
            ("gate_last", Problem::new("norm", "bf16", &sizes(3072, 256, "gate_last", 1))),
        ]
    }

    fn random(&self, d: &mut Dice) -> Case {
        let align = d.of(&[1, 2, 4, 8]);
        let most = if d.flip() { 10 } else { 160 / align };
        let group = align * (1 + d.below(most));
        let (groups, rows) = (1 + d.below(4), 1 + d.below(9));
        let width = group * groups;
        let shared = d.flip();
        let kind = d.of(&["plain", "residual", "gate_first", "gate_last"]);
        let main = d.of(&[Elem::F32, Elem::Bf16]);
        let formats = Formats::new(main, &[("x", d.of(&[main, Elem::F32])), ("residual", Elem::F32)]);
        let mut dims = vec![("width", width), ("group", group), ("align", align), ("tokens", rows)];
        dims.push(("shared", usize::from(shared)));
        if kind != "plain" {
            dims.push((kind, 1));
        }
        case(d, &Problem::new("norm", &formats.to_string(), &dims), Batch::one(rows))
    }

    fn layer(&self, d: &mut Dice, p: &Problem, batch: Batch) -> Option<Case> {
        Some(case(d, p, batch))
    }
}

/// Operands of the problem's sizes.
fn case(d: &mut Dice, p: &Problem, batch: Batch) -> Case {
    let (width, group, align) = (p.dim("width"), p.dim("group"), p.dim("align"));
    let (shared, rows) = (p.dim("shared") > 0, batch.tokens());
    let kind = ["residual", "gate_first", "gate_last"].into_iter().find(|k| p.dim(k) > 0).unwrap_or("plain");
    let formats = Formats::of(p).expect("the formats of a case");
    let eps = 1e-3f32;
    let shape = (rows, width);
    let x = Operand::random(d, "x", formats.get("x"), shape, align);
    let weight = Operand::vector(d, "weight", if shared { group } else { width });
    let z = Operand::random(d, "z", formats.get("z"), shape, align);
    let residual = Operand::random(d, "residual", formats.get("residual"), shape, align);
    let out = Operand::unwritten(d, "out", formats.get("out"), shape, align);
    let sums: Vec<f64> = x.values().iter().zip(residual.values()).map(|(a, b)| a + b).collect();
    let input = if kind == "residual" { &sums } else { x.values() };
    let want = reference(kind, input, z.values(), weight.values(), width, group, f64::from(eps));
    let mut expected = vec![("out", want)];
    let mut operands = vec![x, weight, out];
    match kind {
        "residual" => {
            expected.push(("residual", sums));
            operands.push(residual);
        }
        "plain" => {}
        _ => operands.push(z),
    }
    Case {
        problem: p.clone(),
        batch,
        rows,
        operands,
        scalars: vec![("eps", eps)],
        expected,
        tolerance: if formats.get("out") == Elem::F32 { 1e-6 } else { 3e-3 },
    }
}

fn reference(
    kind: &str,
    x: &[f64],
    z: &[f64],
    weight: &[f64],
    width: usize,
    group: usize,
    eps: f64,
) -> Vec<f64> {
    let silu = |z: f64| z / (1.0 + (-z).exp());
    let gated = |x: f64, i: usize, when: &str| if kind == when { x * silu(z[i]) } else { x };
    let x: Vec<f64> = x.iter().enumerate().map(|(i, x)| gated(*x, i, "gate_first")).collect();
    let normed = |i: usize| {
        let first = i / group * group;
        let mean = x[first..first + group].iter().map(|v| v * v).sum::<f64>() / group as f64;
        x[i] / (mean + eps).sqrt() * weight[i % width % weight.len()]
    };
    (0..x.len()).map(|i| gated(normed(i), i, "gate_last")).collect()
}

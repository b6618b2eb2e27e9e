//! The gated delta rule.

use crate::case::{Batch, Case, Content, Family, Operand, Segment, round};
use crate::dice::Dice;
use jet_codegen::kernel::{Elem, Formats};
use jet_codegen::schedule::Problem;

pub struct GatedDelta;

impl Family for GatedDelta {
    fn name(&self) -> &'static str {
        "gated_delta"
    }

    fn cases(&self) -> usize {
        18
    }

    fn goldens(&self) -> Vec<(&'static str, Problem)> {
        let of = |format: &str, heads, d_key, d_value, tokens, step| {
            let sizes = [
                ("heads", heads),
                ("d_key", d_key),
                ("d_value", d_value),
                ("align", 8),
                ("out_align", 8),
                ("tokens", tokens),
                ("step", step),
            ];
            Problem::new("gated_delta", format, &sizes)
        };
        vec![
            ("step", of("bf16", 12, 96, 256, 8, 1)),
            ("step_f32", of("f32", 16, 128, 256, 1, 1)),
            ("chunks", of("bf16", 12, 96, 256, 512, 0)),
            ("chunks_square", of("bf16", 16, 128, 128, 4096, 0)),
            ("chunks_f32", of("f32", 16, 128, 256, 512, 0)),
        ]
    }

    fn random(&self, d: &mut Dice) -> Case {
        // Half of the cases suit tensor cores.
        let matrix = d.flip();
        let step = !matrix && d.flip();
        let main = d.of(&[Elem::F32, Elem::Bf16, Elem::Bf16, Elem::F16][usize::from(matrix)..]);
        let formats = Formats::new(main, &[("out", d.of(&[main, Elem::F32]))]);
        let fragments = matrix || d.flip();
        let (d_key, d_value) = if fragments {
            (16 * (1 + d.below(3)), 16 * (1 + d.below(4)))
        } else {
            (1 + d.below(37), 1 + d.below(45))
        };
        let dims = [
            ("heads", 1 + d.below(2)),
            ("d_key", d_key),
            ("d_value", d_value),
            ("align", d.of(&[1, 2, 8, 8][usize::from(matrix)..])),
            ("out_align", d.of(&[1, 2, 8])),
            ("step", usize::from(step)),
        ];
        let batch = batch(d, step);
        case(d, &Problem::new("gated_delta", &formats.to_string(), &dims), batch)
    }

    fn layer(&self, d: &mut Dice, p: &Problem, batch: Batch) -> Option<Case> {
        Some(case(d, p, batch))
    }
}

/// Operands of the problem's sizes.
fn case(d: &mut Dice, p: &Problem, batch: Batch) -> Case {
    let (heads, d_key, d_value) = (p.dim("heads"), p.dim("d_key"), p.dim("d_value"));
    let (align, out_align) = (p.dim("align"), p.dim("out_align"));
    let formats = Formats::of(p).expect("the formats of a case");
    let (main, rows) = (formats.get("q"), batch.tokens());
    let mut problem = p.clone();
    problem.dims.insert("tokens".to_owned(), rows as i64);
    let q = Operand::random(d, "q", main, (rows, heads * d_key), align);
    let k = Operand::random(d, "k", main, (rows, heads * d_key), align);
    let v = Operand::random(d, "v", main, (rows, heads * d_value), align);
    let mut g = Operand::random(d, "g", Elem::F32, (rows, heads), 1);
    // Decays from nearly one to one that wipes the state.
    map(&mut g, |x| if x > 0.95 { -100.0 } else { -0.5 * (x + 1.0) * (x + 1.0) });
    let mut beta = Operand::random(d, "beta", Elem::F32, (rows, heads), 1);
    map(&mut beta, |x| 0.5 * (x + 1.0));
    let out = Operand::unwritten(d, "out", formats.get("out"), (rows, heads * d_value), out_align);
    let slots = 1 + batch.segments.iter().map(|s| s.slot).max().unwrap_or(0);
    let per_slot = heads * d_key * d_value;
    let state = Operand {
        rows: heads * d_key,
        cols: d_value,
        stride: d_value,
        lead: 4 * d.below(3),
        slots: Some((per_slot.next_multiple_of(4) + 4 * d.below(3), slots)),
        ..Operand::random(d, "state", Elem::F32, (slots * heads * d_key, d_value), 1)
    };
    let (scale, l2_eps) = (1.0 / (d_key as f32).sqrt(), 1e-6f32);
    let rule = Rule { heads, d_key, d_value, scale: f64::from(scale), eps: f64::from(l2_eps) };
    let (want, after) = rule.run(&batch, [&q, &k, &v, &g, &beta], state.values());
    Case {
        problem,
        batch,
        rows,
        operands: vec![q, k, v, g, beta, out, state],
        scalars: vec![("scale", scale), ("l2_eps", l2_eps)],
        expected: vec![("out", want), ("state", after)],
        // In float the triangular solve is the longest chain of roundings. With 16-bit operands the state, the
        // writes and both triangles are rounded once in each chunk: some units of 2^-9.
        tolerance: match main {
            Elem::F32 => 1e-5,
            Elem::F16 => 2e-3,
            _ => 8e-3,
        },
    }
}

fn batch(d: &mut Dice, step: bool) -> Batch {
    let n = 1 + d.below(3);
    let len = |d: &mut Dice| match (step, d.below(3)) {
        (true, _) => 1,
        (_, 0) => 1 + d.below(5),
        (_, 1) => 16 * (1 + d.below(3)),
        _ => 1 + d.below(70),
    };
    // Slots in another order than sequences, one of them unused.
    let segments = (0..n).map(|i| Segment { slot: n - i, len: len(d), past: d.below(9), first: 0 }).collect();
    Batch { segments, ..Batch::default() }
}

fn map(o: &mut Operand, f: impl Fn(f64) -> f64) {
    if let Content::Values(values) = &mut o.content {
        values.iter_mut().for_each(|v| *v = round(Elem::F32, f(*v)));
    }
}

struct Rule {
    heads: usize,
    d_key: usize,
    d_value: usize,
    scale: f64,
    eps: f64,
}

impl Rule {
    /// Outputs and the states afterwards, token by token.
    fn run(&self, batch: &Batch, [q, k, v, g, beta]: [&Operand; 5], states: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let Self { heads, d_key, d_value, .. } = *self;
        let mut states = states.to_vec();
        let mut out = Vec::new();
        for (segment, start) in batch.segments.iter().zip(batch.starts()) {
            for row in start..start + segment.len {
                for h in 0..heads {
                    let keys = |o: &Operand, factor: f64| -> Vec<f64> {
                        let x = &o.row(row)[h * d_key..(h + 1) * d_key];
                        let norm = (x.iter().map(|x| x * x).sum::<f64>() + self.eps).sqrt();
                        x.iter().map(|x| x / norm * factor).collect()
                    };
                    let (q, k) = (keys(q, self.scale), keys(k, 1.0));
                    let at = (segment.slot * heads + h) * d_key * d_value;
                    let state = &mut states[at..at + d_key * d_value];
                    state.iter_mut().for_each(|s| *s *= g.row(row)[h].exp());
                    for (c, value) in v.row(row)[h * d_value..(h + 1) * d_value].iter().enumerate() {
                        let read: f64 = (0..d_key).map(|i| state[i * d_value + c] * k[i]).sum();
                        let error = beta.row(row)[h] * (value - read);
                        (0..d_key).for_each(|i| state[i * d_value + c] += k[i] * error);
                        out.push((0..d_key).map(|i| state[i * d_value + c] * q[i]).sum());
                    }
                }
            }
        }
        (out, states)
    }
}

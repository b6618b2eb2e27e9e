//! The scan of Mamba-2.

use crate::case::{Batch, Case, Family, Operand};
use crate::dice::Dice;
use crate::ragged;
use jet_codegen::kernel::{Elem, Formats};
use jet_codegen::schedule::Problem;

pub struct Ssd;

/// Sizes of a scan.
#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    d_head: usize,
    groups: usize,
    d_state: usize,
}

impl Family for Ssd {
    fn name(&self) -> &'static str {
        "ssd"
    }

    fn goldens(&self) -> Vec<(&'static str, Problem)> {
        let nano = |tokens, step| {
            [
                ("heads", 128),
                ("d_head", 80),
                ("groups", 8),
                ("d_state", 128),
                ("align", 8),
                ("tokens", tokens),
                ("step", step),
            ]
        };
        let small =
            [("heads", 64), ("d_head", 64), ("groups", 8), ("d_state", 128), ("align", 8), ("tokens", 512)];
        vec![
            ("prefill", Problem::new("ssd", "bf16", &nano(2048, 0))),
            ("few_heads", Problem::new("ssd", "bf16 dt=f32", &small)),
            ("step", Problem::new("ssd", "bf16", &nano(1, 1))),
            ("f32", Problem::new("ssd", "f32", &nano(512, 0))),
        ]
    }

    fn random(&self, d: &mut Dice) -> Case {
        let batch = ragged::batch(d, 2, 70);
        // Mostly shapes and formats that tiles of 16 fit, or anything.
        let fits = d.below(4) > 0;
        let step = !fits && batch.segments.iter().all(|s| s.len == 1) && d.flip();
        let (d_head, d_state) =
            if fits { (d.of(&[16, 32]), d.of(&[32, 64])) } else { (1 + d.below(24), 1 + d.below(40)) };
        let align = if fits { d.of(&[2, 8]) } else { 1 };
        let groups = 1 + d.below(2);
        let shape = Shape { groups, heads: groups * (1 + d.below(2)), d_head, d_state };
        let main = if fits {
            d.of(&[Elem::Bf16, Elem::Bf16, Elem::F16])
        } else {
            d.of(&[Elem::F32, Elem::F32, Elem::Bf16])
        };
        let formats = Formats::new(main, &[("dt", d.of(&[main, Elem::F32]))]);
        case(d, shape, align, &formats, batch, step)
    }

    fn layer(&self, d: &mut Dice, p: &Problem, batch: Batch) -> Option<Case> {
        let of = |name| p.dim(name);
        let shape =
            Shape { heads: of("heads"), d_head: of("d_head"), groups: of("groups"), d_state: of("d_state") };
        let formats = Formats::of(p).expect("the formats of a layer");
        Some(case(d, shape, of("align"), &formats, batch, of("step") > 0))
    }

    fn cases(&self) -> usize {
        15
    }
}

fn case(d: &mut Dice, s: Shape, align: usize, formats: &Formats, batch: Batch, step: bool) -> Case {
    let rows = batch.tokens();
    let (channels, keys) = (s.heads * s.d_head, s.groups * s.d_state);
    let x = Operand::random(d, "x", formats.get("x"), (rows, channels), align);
    let b = Operand::random(d, "b", formats.get("b"), (rows, keys), align);
    let c = Operand::random(d, "c", formats.get("c"), (rows, keys), align);
    let dt = Operand::random(d, "dt", formats.get("dt"), (rows, s.heads), 1);
    let out = Operand::unwritten(d, "out", formats.get("out"), (rows, channels), align);
    let (dt_bias, d_skip) = (Operand::vector(d, "dt_bias", s.heads), Operand::vector(d, "d_skip", s.heads));
    let a_log = Operand::vector(d, "a_log", s.heads);
    let state = ragged::states(d, (s.heads * s.d_head, s.d_state), &batch);
    let (dt_min, dt_max) = d.of(&[(0.0, f32::INFINITY), (0.5, 1.25)]);
    let operands = vec![x, b, c, dt, out, dt_bias, a_log, d_skip, state];
    let dims = [
        ("heads", s.heads),
        ("d_head", s.d_head),
        ("groups", s.groups),
        ("d_state", s.d_state),
        ("align", align),
        ("tokens", rows),
        ("step", usize::from(step)),
    ];
    let mut case = Case {
        problem: Problem::new("ssd", &formats.to_string(), &dims),
        batch,
        rows,
        operands,
        scalars: vec![("dt_min", dt_min), ("dt_max", dt_max)],
        expected: vec![],
        // In float the sums err, over at most 70 terms, and the exponentials by two units. With 16-bit operands the
        // scores, the weighed x and the mirror of the state are rounded once each, by 1.1e-3 in the mean, and the output
        // once more.
        tolerance: if formats.get("x") == Elem::F32 { 5e-6 } else { 5e-3 },
    };
    let (want, moved) = reference(&case, s);
    case.expected = vec![("out", want), ("state", moved)];
    case
}

/// The recurrence as it is written: one token, head and element of the state after the other.
fn reference(case: &Case, s: Shape) -> (Vec<f64>, Vec<f64>) {
    let row = |role: &str, r: usize| case.operand(role).row(r);
    let vector = |role: &str, i: usize| case.operand(role).values()[i];
    let (lo, hi) = (f64::from(case.scalars[0].1), f64::from(case.scalars[1].1));
    let channels = s.heads * s.d_head;
    let mut state = case.operand("state").values().to_vec();
    let mut out = vec![0.0; case.rows * channels];
    for (segment, start) in case.batch.segments.iter().zip(case.batch.starts()) {
        for t in start..start + segment.len {
            for (h, g) in (0..s.heads).map(|h| (h, h / (s.heads / s.groups))) {
                let delta = (row("dt", t)[h] + vector("dt_bias", h)).exp().ln_1p().clamp(lo, hi);
                let decay = (-vector("a_log", h).exp() * delta).exp();
                for p in h * s.d_head..(h + 1) * s.d_head {
                    let x = row("x", t)[p];
                    let mut sum = vector("d_skip", h) * x;
                    for n in 0..s.d_state {
                        let held = &mut state[(segment.slot * channels + p) * s.d_state + n];
                        *held = decay * *held + delta * x * row("b", t)[g * s.d_state + n];
                        sum += *held * row("c", t)[g * s.d_state + n];
                    }
                    out[t * channels + p] = sum;
                }
            }
        }
    }
    (out, state)
}

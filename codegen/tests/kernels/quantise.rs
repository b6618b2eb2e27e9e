//! Activations to fp8.

use crate::case::{Batch, Case, Family, Operand};
use crate::dice::Dice;
use jet_codegen::kernel::{Elem, Formats};
use jet_codegen::schedule::Problem;

pub struct Quantise;

impl Family for Quantise {
    fn name(&self) -> &'static str {
        "quantise"
    }

    fn goldens(&self) -> Vec<(&'static str, Problem)> {
        let problem = |width, block| {
            let dims = [("width", width), ("align", 16), ("block", block), ("tokens", 512)];
            Problem::new("quantise", "bf16 out=e4m3", &dims)
        };
        vec![("rows", problem(1536, 0)), ("long_rows", problem(15_680, 0)), ("blocks", problem(8960, 128))]
    }

    fn random(&self, d: &mut Dice) -> Case {
        let align = d.of(&[1, 2, 4, 8, 16, 16]);
        let rows = 1 + d.below(9);
        let width = (1 + d.below(300)).next_multiple_of(align);
        let x = d.of(&[Elem::F32, Elem::Bf16, Elem::F16]);
        let block = d.of(&[0, 128]);
        case(d, (rows, width), align, block, x)
    }

    fn layer(&self, d: &mut Dice, p: &Problem, batch: Batch) -> Option<Case> {
        let elem = Formats::of(p).expect("the formats of a layer").get("x");
        Some(case(d, (batch.tokens(), p.dim("width")), p.dim("align"), p.dim("block"), elem))
    }
}

/// `rows` by `width`. The reference divides and rounds as the kernel must: in float32, to nearest.
fn case(d: &mut Dice, (rows, width): (usize, usize), align: usize, block: usize, elem: Elem) -> Case {
    let mut x = Operand::random(d, "x", elem, (rows, width), align);
    // A row of zeros must stay one.
    if rows > 2
        && let crate::case::Content::Values(v) = &mut x.content
    {
        v[width..2 * width].fill(0.0);
    }
    let out = Operand::unwritten(d, "out", Elem::E4m3, (rows, width), align);
    let group = if block > 0 { block } else { width };
    let groups = width.div_ceil(group);
    let (mut codes, mut scales) = (vec![0.0; rows * width], vec![0.0; groups * rows]);
    for r in 0..rows {
        for (g, values) in x.row(r).chunks(group).enumerate() {
            let top = values.iter().fold(0.0f32, |top, v| top.max(v.abs() as f32));
            let factor = if top > 0.0 { 448.0 / top } else { 1.0 };
            scales[g * rows + r] = f64::from(if top > 0.0 { top / 448.0 } else { 1.0 });
            for (i, v) in values.iter().enumerate() {
                let scaled = f64::from(*v as f32 * factor);
                codes[r * width + g * group + i] = crate::case::round(Elem::E4m3, scaled);
            }
        }
    }
    let scale = Operand::unwritten(d, "scale", Elem::F32, (groups, rows), 1);
    let scale = Operand { stride: rows, lead: 0, ..scale };
    let dims = [("width", width), ("align", align), ("block", block), ("tokens", rows)];
    Case {
        problem: Problem::new("quantise", &Formats::new(elem, &[("out", Elem::E4m3)]).to_string(), &dims),
        batch: Batch::one(rows),
        rows,
        operands: vec![x, out, scale],
        scalars: vec![],
        expected: vec![("out", codes), ("scale", scales)],
        // The same operations in the same format: nothing may differ but the last bit of a scale.
        tolerance: 1e-7,
    }
}

//! Projections.

use crate::kernel::{Elem, Formats};
use crate::launch::{Call, Choice, Cx, Weight, row_stride};
use crate::op::{Activation, Linear, Unary};
use crate::schedule::Problem;
use jet_dsl::block::Act;

pub(super) fn lower(cx: &Cx<'_>, l: &Linear) -> Vec<Vec<Choice>> {
    let weight_elem = if l.exact { Elem::F32 } else { cx.main() };
    let formats =
        Formats::new(cx.main(), &[("x", cx.elem(l.x)), ("weight", weight_elem), ("out", cx.elem(l.out))]);
    let bias = l.parts.iter().any(|p| p.bias.is_some());
    let out = l.results();
    let mut dims = vec![
        ("n", out.width),
        ("k", l.x.width),
        ("align", cx.align(&[l.x])),
        ("out_align", cx.align(&[l.out])),
        ("bias", usize::from(bias)),
        ("accumulate", usize::from(l.accumulate)),
    ];
    match l.act {
        Some(Activation::Unary(Unary::Relu2)) => dims.push(("act", 1)),
        Some(Activation::Unary(Unary::Silu)) => dims.push(("act", 2)),
        Some(Activation::Glu(Act::Geglu)) => dims.push(("glu", 2)),
        Some(Activation::Glu(Act::Swiglu | Act::Relu2)) => dims.push(("glu", 1)),
        None => {}
    }
    let parts = l.parts.iter().map(|p| (Some(p.weight), p.rows)).collect();
    let weight = Weight { parts, cols: l.x.width, stride: row_stride(l.x.width), elem: weight_elem };
    let mut call = Call::new(Problem::new("gemm", &formats.to_string(), &dims), cx.rows(l.x))
        .view("x", l.x)
        .weight("weight", weight)
        .view("out", out);
    if bias {
        // One after the other, zero for a part without one.
        let parts = l.parts.iter().map(|p| (p.bias, p.rows)).collect();
        call = call.weight("bias", Weight { parts, cols: 1, stride: 1, elem: Elem::F32 });
    }
    vec![call.always()]
}

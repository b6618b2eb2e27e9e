//! Norms.

use crate::kernel::Formats;
use crate::launch::{Call, Choice, Cx, Weight};
use crate::op::{GateOrder, View};
use crate::schedule::Problem;
use jet_dsl::weight::WeightRef;

fn call(
    cx: &Cx<'_>,
    (x, out): (View, View),
    group: usize,
    (weight, shared): (WeightRef, bool),
    eps: f64,
    gate: Option<(View, &'static str)>,
) -> Vec<Vec<Choice>> {
    let mut views = vec![x, out];
    let mut formats = vec![("x", cx.elem(x)), ("out", cx.elem(out))];
    let align = |views: &[View]| {
        // A group that begins in the middle of a row is no better aligned than its width.
        let inner = if group < x.width { 1 << group.trailing_zeros().min(3) } else { 8 };
        cx.align(views).min(inner)
    };
    let mut dims = vec![("width", x.width), ("group", group), ("shared", usize::from(shared))];
    if let Some((z, name)) = gate {
        views.push(z);
        formats.push(("z", cx.elem(z)));
        dims.push((name, 1));
    }
    dims.push(("align", align(&views)));
    let problem = Problem::new("norm", &Formats::new(cx.main(), &formats).to_string(), &dims);
    let weights = Weight::vector(weight, if shared { group } else { x.width });
    let mut call = Call::new(problem, cx.rows(x)).view("x", x).weight("weight", weights).view("out", out);
    if let Some((z, _)) = gate {
        call = call.view("z", z);
    }
    vec![call.scalar("eps", eps).always()]
}

pub(super) fn rms(cx: &Cx<'_>, x: View, weight: WeightRef, eps: f64, out: View) -> Vec<Vec<Choice>> {
    call(cx, (x, out), x.width, (weight, false), eps, None)
}

pub(super) fn heads(cx: &Cx<'_>, x: View, heads: usize, weight: WeightRef, eps: f64) -> Vec<Vec<Choice>> {
    call(cx, (x, x), x.width / heads.max(1), (weight, true), eps, None)
}

pub(super) fn gated(
    cx: &Cx<'_>,
    (x, z, out): (View, View, View),
    weight: WeightRef,
    groups: usize,
    eps: f64,
    order: GateOrder,
) -> Vec<Vec<Choice>> {
    let (name, shared) = match order {
        GateOrder::GateFirst => ("gate_first", false),
        GateOrder::NormFirst => ("gate_last", true),
    };
    call(cx, (x, out), x.width / groups.max(1), (weight, shared), eps, Some((z, name)))
}

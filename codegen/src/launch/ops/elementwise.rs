//! Elementwise ops.

use crate::kernel::Formats;
use crate::launch::{Call, Choice, Cx, Weight};
use crate::op::{Unary, View};
use crate::schedule::Problem;
use jet_dsl::block::Act;
use jet_dsl::weight::WeightRef;

/// A call of `function` on `views`, whose rows are those of the last one.
fn call(cx: &Cx<'_>, function: &'static str, views: &[(&'static str, View)]) -> Call {
    let (_, last) = views[views.len() - 1];
    let formats: Vec<_> = views.iter().map(|(role, v)| (*role, cx.elem(*v))).collect();
    let plain: Vec<View> = views.iter().map(|(_, v)| *v).collect();
    let dims = [("width", last.width), ("align", cx.align(&plain)), (function, 1)];
    let problem = Problem::new("elementwise", &Formats::new(cx.main(), &formats).to_string(), &dims);
    views.iter().fold(Call::new(problem, cx.rows(last)), |c, (role, v)| c.view(role, *v))
}

pub(super) fn pair(cx: &Cx<'_>, function: &'static str, x: View, out: View) -> Vec<Vec<Choice>> {
    vec![call(cx, function, &[("x", x), ("out", out)]).always()]
}

pub(super) fn unary(cx: &Cx<'_>, f: Unary, x: View, out: View) -> Vec<Vec<Choice>> {
    let function = match f {
        Unary::Silu => "silu",
        Unary::Relu2 => "relu2",
    };
    pair(cx, function, x, out)
}

pub(super) fn glu(cx: &Cx<'_>, gate: View, up: View, act: Act, out: View) -> Vec<Vec<Choice>> {
    let function = match act {
        Act::Swiglu => "swiglu",
        Act::Geglu => "geglu",
        // An activation without a gate applies to the gate's operand alone.
        Act::Relu2 => return pair(cx, "relu2", gate, out),
    };
    vec![call(cx, function, &[("gate", gate), ("up", up), ("out", out)]).always()]
}

pub(super) fn embed(cx: &Cx<'_>, table: WeightRef, vocab: usize, out: View) -> Vec<Vec<Choice>> {
    let mut call = call(cx, "embed", &[("out", out)]);
    let formats = Formats::new(cx.main(), &[("out", cx.elem(out)), ("table", cx.main())]);
    call.problem.format = formats.to_string();
    vec![call.weight("table", Weight::matrix(table, vocab, out.width, cx.main())).always()]
}

pub(super) fn gates(
    cx: &Cx<'_>,
    (a, b): (View, View),
    a_log: WeightRef,
    dt_bias: WeightRef,
) -> Vec<Vec<Choice>> {
    let call = call(cx, "gates", &[("a", a), ("b", b)]);
    let call = call.weight("a_log", Weight::vector(a_log, a.width));
    vec![call.weight("dt_bias", Weight::vector(dt_bias, a.width)).always()]
}

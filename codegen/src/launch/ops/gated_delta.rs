//! The gated delta rule: one kernel where every sequence has one new token, another for segments.

use crate::kernel::{Elem, Formats};
use crate::launch::{Call, Choice, Cx, Operand, When};
use crate::op::GatedDelta;
use crate::schedule::Problem;

pub(super) fn lower(cx: &Cx<'_>, d: &GatedDelta) -> Vec<Vec<Choice>> {
    let formats = Formats::new(
        cx.main(),
        &[
            ("q", cx.elem(d.q)),
            ("k", cx.elem(d.k)),
            ("v", cx.elem(d.v)),
            ("out", cx.elem(d.out)),
            ("g", Elem::F32),
            ("beta", Elem::F32),
            ("state", Elem::F32),
        ],
    );
    let call = |step: usize| {
        let dims = [
            ("heads", d.heads),
            ("d_key", d.d_key),
            ("d_value", d.d_value),
            ("align", cx.align(&[d.q, d.k, d.v])),
            ("out_align", cx.align(&[d.out])),
            ("step", step),
        ];
        Call::new(Problem::new("gated_delta", &formats.to_string(), &dims), cx.rows(d.out))
            .view("q", d.q)
            .view("k", d.k)
            .view("v", d.v)
            .view("g", d.g)
            .view("beta", d.beta)
            .view("out", d.out)
            .with("state", Operand::State(d.state))
            .scalar("scale", f64::from(d.scale))
            .scalar("l2_eps", f64::from(d.l2_eps))
    };
    vec![vec![Choice { when: When::Steps, call: call(1) }, Choice { when: When::Always, call: call(0) }]]
}

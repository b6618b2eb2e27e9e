//! Convolutions along the sequence.

use crate::kernel::Formats;
use crate::launch::{Call, Choice, Cx, Operand, Weight, When};
use crate::op::{StateId, View};
use crate::schedule::Problem;
use jet_dsl::weight::WeightRef;

pub(super) fn causal(
    cx: &Cx<'_>,
    (x, out): (View, View),
    (weight, bias): (WeightRef, Option<WeightRef>),
    state: StateId,
    taps: usize,
    silu: bool,
) -> Vec<Vec<Choice>> {
    let formats = Formats::new(cx.main(), &[("x", cx.elem(x)), ("out", cx.elem(out))]);
    let dims = [
        ("channels", x.width),
        ("taps", taps),
        ("align", cx.align(&[x, out])),
        ("bias", usize::from(bias.is_some())),
        ("silu", usize::from(silu)),
    ];
    let mut call = Call::new(Problem::new("conv", &formats.to_string(), &dims), cx.rows(x))
        .view("x", x)
        .weight("weight", Weight::dense(weight, x.width, taps))
        .view("out", out)
        .with("state", Operand::State(state));
    if let Some(bias) = bias {
        call = call.weight("bias", Weight::vector(bias, x.width));
    }
    vec![call.always()]
}

pub(super) fn dynamic(
    cx: &Cx<'_>,
    (u, h, out): (View, View, View),
    (w2, bias): (WeightRef, WeightRef),
    state: StateId,
    taps: usize,
) -> Vec<Vec<Choice>> {
    let weights = Weight::matrix(w2, u.width * taps, h.width, cx.main());
    let formats = [("u", cx.elem(u)), ("h", cx.elem(h)), ("weight", weights.elem), ("out", cx.elem(out))];
    let format = Formats::new(cx.main(), &formats).to_string();
    let call = |step: usize| {
        let dims = [
            ("channels", u.width),
            ("taps", taps),
            ("hidden", h.width),
            ("align", cx.align(&[u, h, out])),
            ("step", step),
        ];
        Call::new(Problem::new("dynamic_conv", &format, &dims), cx.rows(u))
            .view("u", u)
            .view("h", h)
            .weight("weight", weights.clone())
            .weight("bias", Weight::vector(bias, u.width * taps))
            .view("out", out)
            .with("state", Operand::State(state))
    };
    // With one token each no other CTA looks into a sequence's state, and the same launch moves it on.
    vec![vec![Choice { when: When::Steps, call: call(1) }, Choice { when: When::Always, call: call(0) }]]
}

//! The scan of Mamba-2.

use crate::kernel::Formats;
use crate::launch::{Call, Choice, Cx, Operand, Weight, When};
use crate::op::Ssd;
use crate::schedule::Problem;

pub(super) fn lower(cx: &Cx<'_>, s: &Ssd) -> Vec<Vec<Choice>> {
    let formats: Vec<_> = [("x", s.x), ("b", s.b), ("c", s.c), ("dt", s.dt), ("out", s.out)]
        .iter()
        .map(|(role, v)| (*role, cx.elem(*v)))
        .collect();
    let format = Formats::new(cx.main(), &formats).to_string();
    let call = |step: usize| {
        let dims = [
            ("heads", s.heads),
            ("d_head", s.d_head),
            ("groups", s.groups),
            ("d_state", s.d_state),
            ("align", cx.align(&[s.x, s.b, s.c, s.out])),
            ("step", step),
        ];
        Call::new(Problem::new("ssd", &format, &dims), cx.rows(s.x))
            .view("x", s.x)
            .view("b", s.b)
            .view("c", s.c)
            .view("dt", s.dt)
            .view("out", s.out)
            .weight("dt_bias", Weight::vector(s.dt_bias, s.heads))
            .weight("a_log", Weight::vector(s.a_log, s.heads))
            .weight("d_skip", Weight::vector(s.d_skip, s.heads))
            .with("state", Operand::State(s.state))
            .scalar("dt_min", s.dt_min)
            .scalar("dt_max", s.dt_max.unwrap_or(f64::INFINITY))
    };
    vec![vec![Choice { when: When::Steps, call: call(1) }, Choice { when: When::Always, call: call(0) }]]
}

//! The dense MLP.

use super::BlockCx;
use crate::op::{Op, Unary, View};
use jet_dsl::block::{Act, Mlp};
use jet_dsl::weight::Role;

pub(super) fn lower(cx: &mut BlockCx<'_>, b: &Mlp, x: View) -> View {
    let bias = |role| b.bias.then_some(role);
    let roles = Roles {
        gate: (Role::GateProj, bias(Role::GateBias)),
        up: (Role::UpProj, bias(Role::UpBias)),
        down: (Role::DownProj, bias(Role::DownBias)),
    };
    feed_forward(cx, x, b.hidden as usize, b.act, roles, "mlp")
}

/// Weights of a feed-forward network, each with its bias.
pub(super) struct Roles {
    pub(super) gate: (Role, Option<Role>),
    pub(super) up: (Role, Option<Role>),
    pub(super) down: (Role, Option<Role>),
}

/// `down(act(up))` or `down(act(gate) · up)`; an MLP and a shared expert are the same thing.
pub(super) fn feed_forward(
    cx: &mut BlockCx<'_>,
    x: View,
    hidden: usize,
    act: Act,
    w: Roles,
    name: &str,
) -> View {
    let inner = match act {
        Act::Relu2 => {
            let up = cx.project(x, &format!("{name}.up"), w.up.0, w.up.1, hidden);
            cx.push(Op::Unary { f: Unary::Relu2, x: up, out: up });
            up
        }
        Act::Swiglu | Act::Geglu => {
            let gate = cx.project(x, &format!("{name}.gate"), w.gate.0, w.gate.1, hidden);
            let up = cx.project(x, &format!("{name}.up"), w.up.0, w.up.1, hidden);
            cx.push(Op::Glu { gate, up, act, out: gate });
            gate
        }
    };
    cx.project(inner, &format!("{name}.down"), w.down.0, w.down.1, cx.h.width)
}

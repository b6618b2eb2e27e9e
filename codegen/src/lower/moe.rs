//! Mixture of experts: router in float32, routed experts (in a latent width where there is one), shared expert.

use super::BlockCx;
use super::mlp::{Roles, feed_forward};
use crate::op::{Experts, Linear, LinearPart, Op, View};
use jet_dsl::block::Moe;
use jet_dsl::weight::Role;

pub(super) fn lower(cx: &mut BlockCx<'_>, b: &Moe, x: View) -> View {
    let (n, top_k, d) = (b.n_experts as usize, b.top_k as usize, cx.h.width);
    let logits = cx.buffer("router", n);
    let part = LinearPart { weight: cx.weight(Role::Router), bias: None, rows: n };
    cx.push(Op::Linear(Linear {
        x,
        parts: vec![part],
        out: logits,
        accumulate: false,
        exact: true,
        act: None,
    }));
    let (ids, gates) = (cx.buffer("ids", top_k), cx.buffer("gates", top_k));
    let route = Op::Route {
        logits,
        bias: cx.weight(Role::RouterBias),
        ids,
        gates,
        n_group: b.n_group as usize,
        topk_group: b.topk_group as usize,
        normalise: b.norm_topk,
        scale: b.scale as f32,
    };
    cx.push(route);

    let inner = match b.latent {
        Some(latent) => cx.project(x, "latent", Role::LatentIn, None, latent as usize),
        None => x,
    };
    let all =
        |cx: &BlockCx<'_>, role: fn(u32) -> Role| (0..b.n_experts).map(|e| cx.weight(role(e))).collect();
    let experts = Experts {
        x: inner,
        ids,
        gates,
        out: cx.buffer("routed", inner.width),
        accumulate: false,
        gate: if b.act.gated() { all(cx, Role::ExpertGate) } else { vec![] },
        up: all(cx, Role::ExpertUp),
        down: all(cx, Role::ExpertDown),
        hidden: b.hidden as usize,
        top_k,
        act: b.act,
    };
    let routed = experts.out;
    cx.push(Op::Experts(experts));
    let routed = match b.latent {
        Some(_) => cx.project(routed, "latent_out", Role::LatentOut, None, d),
        None => routed,
    };
    if b.shared_hidden > 0 {
        let roles = Roles {
            gate: (Role::SharedGate, None),
            up: (Role::SharedUp, None),
            down: (Role::SharedDown, None),
        };
        let shared = feed_forward(cx, x, b.shared_hidden as usize, b.act, roles, "shared");
        cx.push(Op::Add { x: shared, out: routed });
    }
    routed
}

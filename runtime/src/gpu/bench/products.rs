//! Cases of matrix products and of what chooses among them.

use super::case::{Case, Maker};
use jet_codegen::kernel::Elem;
use jet_codegen::op::{Experts, Linear, LinearPart, Op};
use jet_codegen::program::Rows;
use jet_dsl::block::Act;
use jet_dsl::weight::Role;

/// Sums of some thousand products in f32, in an order of their own.
const SUM: f64 = 1e-5;
/// One rounding of the result to bfloat16, and of what lies between two products.
const ROUNDED: f64 = 5e-3;

fn allowed(out: Elem, inner: Elem) -> f64 {
    if (out, inner) == (Elem::F32, Elem::F32) { SUM } else { ROUNDED }
}

pub(super) fn gemm(mut m: Maker<'_>) -> Result<Case, String> {
    let [n, k, align, out_align] = m.sizes(["n", "k", "align", "out_align"])?;
    let (bias, accumulate) = (m.flag("bias") > 0, m.flag("accumulate") > 0);
    let exact = m.main() == Elem::Bf16 && m.elem("weight") == Elem::F32;
    let x = m.input("x", k, align);
    let weight = m.weight(Role::InProj, &[n, k]);
    let bias = bias.then(|| m.weight(Role::InProjBias, &[n]));
    let out = if accumulate {
        m.in_place("out", n, out_align)
    } else {
        m.output("out", n, out_align, Rows::Tokens)
    };
    let parts = vec![LinearPart { weight, bias, rows: n }];
    let near = allowed(m.elem("out"), Elem::F32);
    m.finish(Op::Linear(Linear { x, parts, out, accumulate, exact }), false, near)
}

pub(super) fn route(mut m: Maker<'_>) -> Result<Case, String> {
    let [experts, top_k, n_group, topk_group] = m.sizes(["experts", "top_k", "n_group", "topk_group"])?;
    let normalise = m.flag("normalise") > 0;
    let logits = m.input("logits", experts, 8);
    let bias = m.weight(Role::RouterBias, &[experts]);
    let [ids, gates] = ["ids", "gates"].map(|role| m.output(role, top_k, 8, Rows::Tokens));
    let op = Op::Route { logits, bias, ids, gates, n_group, topk_group, normalise, scale: 2.5 };
    m.finish(op, false, SUM)
}

pub(super) fn experts(mut m: Maker<'_>) -> Result<Case, String> {
    let [width, hidden, n, top_k] = m.sizes(["width", "hidden", "experts", "top_k"])?;
    let [align, out_align] = m.sizes(["align", "out_align"])?;
    let accumulate = m.flag("accumulate") > 0;
    let acts = [("relu2", Act::Relu2), ("swiglu", Act::Swiglu), ("geglu", Act::Geglu)];
    let act = acts.iter().find(|(name, _)| m.flag(name) > 0).ok_or("it names no activation")?.1;
    let x = m.input("x", width, align);
    let (ids, gates) = (m.input("ids", top_k, 8), m.input("gates", top_k, 8));
    // A token's experts are different ones.
    let chosen = (0..m.tokens()).flat_map(|t| (0..top_k).map(move |i| ((t * 7 + i) % n) as f32)).collect();
    m.fill(ids, chosen);
    let mut bank = |role: fn(u32) -> Role, rows, cols| -> Vec<_> {
        (0..n as u32).map(|e| m.weight(role(e), &[rows, cols])).collect()
    };
    let up = bank(Role::ExpertUp, hidden, width);
    let down = bank(Role::ExpertDown, width, hidden);
    let gate = if act == Act::Relu2 { vec![] } else { bank(Role::ExpertGate, hidden, width) };
    let out = if accumulate {
        m.in_place("out", width, out_align)
    } else {
        m.output("out", width, out_align, Rows::Tokens)
    };
    let near = allowed(m.elem("out"), m.main());
    m.finish(
        Op::Experts(Experts { x, ids, gates, out, accumulate, gate, up, down, hidden, top_k, act }),
        false,
        near,
    )
}

//! Cases of matrix products and of what chooses among them.

use super::case::{Case, Maker};
use jet_codegen::kernel::Elem;
use jet_codegen::op::{Activation, Experts, Linear, LinearPart, Op, Unary};
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
    let act = activation(m.flag("act"), m.flag("glu"))?;
    let exact = m.main() == Elem::Bf16 && m.elem("weight") == Elem::F32;
    // With a gate there are two parts of `n` rows, and the results are in the first half of `out`.
    let parts = if matches!(act, Some(Activation::Glu(_))) { 2 } else { 1 };
    let x = m.input("x", k, align);
    let roles = [(Role::GateProj, Role::GateBias), (Role::UpProj, Role::UpBias)];
    let parts: Vec<_> = roles[..parts]
        .iter()
        .map(|(weight, of)| {
            let weight = m.weight(*weight, &[n, k]);
            LinearPart { weight, bias: bias.then(|| m.weight(*of, &[n])), rows: n }
        })
        .collect();
    let out = if accumulate {
        m.in_place("out", n, out_align)
    } else {
        m.wide_output("out", (n * parts.len(), n), out_align)
    };
    let near = allowed(m.elem("out"), Elem::F32);
    m.finish(Op::Linear(Linear { x, parts, out, accumulate, exact, act }), false, near)
}

/// What the results of a problem with these sizes pass last.
fn activation(act: usize, glu: usize) -> Result<Option<Activation>, String> {
    Ok(Some(match (act, glu) {
        (0, 0) => return Ok(None),
        (1, 0) => Activation::Unary(Unary::Relu2),
        (2, 0) => Activation::Unary(Unary::Silu),
        (0, 1) => Activation::Glu(Act::Swiglu),
        (0, 2) => Activation::Glu(Act::Geglu),
        _ => return Err(format!("no projection has `act` of {act} with `glu` of {glu}")),
    }))
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

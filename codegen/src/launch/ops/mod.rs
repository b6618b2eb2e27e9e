//! From an op to its launches: one file a kind, this one only dispatches.
//!
//! A file makes the problem (family, sizes, formats) and names the operands as the family's signatures do.

mod attention;
mod conv;
mod elementwise;
mod experts;
mod gated_delta;
mod linear;
mod norm;
mod rope;
mod ssd;

use super::{Choice, Cx};
use crate::op::Op;

/// The steps of `op`, each with its choices.
pub(super) fn lower(cx: &Cx<'_>, op: &Op) -> Vec<Vec<Choice>> {
    match op {
        Op::Embed { table, vocab, out } => elementwise::embed(cx, *table, *vocab, *out),
        Op::RmsNorm { x, weight, eps, out } => norm::rms(cx, *x, *weight, *eps, *out),
        Op::HeadNorm { x, heads, weight, eps } => norm::heads(cx, *x, *heads, *weight, *eps),
        Op::Rope { x, heads, rope } => rope::lower(cx, *x, *heads, rope),
        Op::Linear(l) => linear::lower(cx, l),
        Op::Attention(a) => attention::lower(cx, a),
        Op::CausalConv { x, weight, bias, out, state, taps, silu } => {
            conv::causal(cx, (*x, *out), (*weight, *bias), *state, *taps, *silu)
        }
        Op::Ssd(s) => ssd::lower(cx, s),
        Op::DynamicConv { u, h, w2, bias, out, state, taps } => {
            conv::dynamic(cx, (*u, *h, *out), (*w2, *bias), *state, *taps)
        }
        Op::JetGates { a, b, a_log, dt_bias } => elementwise::gates(cx, (*a, *b), *a_log, *dt_bias),
        Op::GatedDelta(d) => gated_delta::lower(cx, d),
        Op::GatedNorm { x, z, weight, groups, eps, order, out } => {
            norm::gated(cx, (*x, *z, *out), *weight, *groups, *eps, *order)
        }
        Op::Unary { f, x, out } => elementwise::unary(cx, *f, *x, *out),
        Op::Glu { gate, up, act, out } => elementwise::glu(cx, *gate, *up, *act, *out),
        Op::Add { x, out } => elementwise::pair(cx, "add", *x, *out),
        Op::Route { .. } => experts::route(cx, op),
        Op::Experts(e) => experts::experts(cx, e),
        Op::Gather { x, out } => elementwise::pair(cx, "gather", *x, *out),
        Op::Copy { x, out } => elementwise::pair(cx, "copy", *x, *out),
    }
}

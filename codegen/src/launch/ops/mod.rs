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

use super::{Choice, Cx, Unserved};
use crate::op::Op;

/// The steps of `op`, each with its choices.
pub(super) fn lower(cx: &Cx<'_>, op: &Op) -> Result<Vec<Vec<Choice>>, Unserved> {
    match op {
        Op::Embed { table, vocab, out } => Ok(elementwise::embed(cx, *table, *vocab, *out)),
        Op::RmsNorm { x, weight, eps, out } => Ok(norm::rms(cx, *x, *weight, *eps, *out)),
        Op::HeadNorm { x, heads, weight, eps } => Ok(norm::heads(cx, *x, *heads, *weight, *eps)),
        Op::Rope { x, heads, rope } => Ok(rope::lower(cx, *x, *heads, rope)),
        Op::Linear(l) => Ok(linear::lower(cx, l)),
        Op::Attention(a) => Ok(attention::lower(cx, a)),
        Op::CausalConv { x, weight, bias, out, state, taps, silu } => {
            Ok(conv::causal(cx, (*x, *out), (*weight, *bias), *state, *taps, *silu))
        }
        Op::Ssd(s) => Ok(ssd::lower(cx, s)),
        Op::DynamicConv { u, h, w2, bias, out, state, taps } => {
            Ok(conv::dynamic(cx, (*u, *h, *out), (*w2, *bias), *state, *taps))
        }
        Op::JetGates { a, b, a_log, dt_bias } => Ok(elementwise::gates(cx, (*a, *b), *a_log, *dt_bias)),
        Op::GatedDelta(d) => Ok(gated_delta::lower(cx, d)),
        Op::GatedNorm { x, z, weight, groups, eps, order, out } => {
            Ok(norm::gated(cx, (*x, *z, *out), *weight, *groups, *eps, *order))
        }
        Op::Unary { f, x, out } => Ok(elementwise::unary(cx, *f, *x, *out)),
        Op::Glu { gate, up, act, out } => Ok(elementwise::glu(cx, *gate, *up, *act, *out)),
        Op::Add { x, out } => Ok(elementwise::pair(cx, "add", *x, *out)),
        Op::Route { .. } => Ok(experts::route(cx, op)),
        Op::Experts(e) => Ok(experts::experts(cx, e)),
        Op::Gather { x, out } => Ok(elementwise::pair(cx, "gather", *x, *out)),
        Op::Copy { x, out } => Ok(elementwise::pair(cx, "copy", *x, *out)),
    }
}

fn unserved(op: &Op) -> Result<Vec<Vec<Choice>>, Unserved> {
    Err(Unserved { op: op.name(), reason: "no kernel family of this version serves it".to_owned() })
}

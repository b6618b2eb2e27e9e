//! The ops on the CPU: one file a family, this one only dispatches.

mod attention;
mod conv;
mod elementwise;
mod experts;
mod linear;
mod rope;
mod scans;
mod state;

use super::build::Angles;
use super::{Cx, Exec, Loader, Operand};
use crate::Error;
use crate::cpu::device::kv_type;
use crate::cpu::pool::Worker;
use crate::recipe::{Part, Recipe};
use jet_codegen::op::Op;
use jet_codegen::program::{Program, Step};
use jet_codegen::schedule::{Family, Problem};
use jet_dsl::weight::WeightRef;
use jet_numerics::DType;
use std::ops::Range;
use std::sync::Arc;

/// The kernel families of the CPU that have something to tune.
pub(crate) const FAMILIES: &[&dyn Family] = &[
    crate::cpu::matmul::GEMM,
    crate::cpu::matmul::GEMV,
    crate::cpu::attention::PREFILL,
    crate::cpu::attention::DECODE,
    &crate::cpu::conv::ConvFamily,
    &crate::cpu::dynamic_conv::DynamicConvFamily,
    &crate::cpu::ssd::SsdFamily,
    &crate::cpu::gated_delta::GatedDeltaFamily,
];

/// Loads one step, in the precision of the part that it belongs to.
pub(crate) fn build(l: &mut Loader<'_>, step: &Step) -> Result<Box<dyn Exec>, Error> {
    use elementwise as e;
    l.enter(Part::of_layer(step.layer));
    let op = &step.op;
    Ok(match op {
        Op::Embed { table, vocab, out } => Box::new(linear::Embed::build(l, *table, *vocab, *out)?),
        Op::RmsNorm { x, weight, eps, out } => Box::new(e::RmsNorm::build(l, *x, *weight, *eps, *out)?),
        Op::HeadNorm { x, heads, weight, eps } => Box::new(e::HeadNorm::build(l, *x, *heads, *weight, *eps)?),
        Op::Rope { x, heads, rope } => Box::new(rope::Rope::build(l, *x, *heads, rope)),
        Op::Linear(linear) => Box::new(linear::Linear::build(l, linear)?),
        Op::Attention(a) => Box::new(attention::Attention::build(l, a)?),
        Op::CausalConv { x, weight, bias, out, state, taps, silu } => {
            Box::new(conv::CausalConv::build(l, (*x, *out), *weight, *bias, *state, *taps, *silu)?)
        }
        Op::Ssd(s) => Box::new(scans::Ssd::build(l, s)?),
        Op::DynamicConv { u, h, w2, bias, out, state, taps } => {
            Box::new(conv::DynamicConv::build(l, (*u, *h, *out), *w2, *bias, *state, *taps)?)
        }
        Op::JetGates { a, b, a_log, dt_bias } => {
            Box::new(scans::JetGates::build(l, *a, *b, *a_log, *dt_bias)?)
        }
        Op::GatedDelta(d) => Box::new(scans::GatedDelta::build(l, d)?),
        Op::GatedNorm { x, z, weight, groups, eps, order, out } => {
            Box::new(e::GatedNorm::build(l, (*x, *z, *out), *weight, *groups, *eps, *order)?)
        }
        Op::Unary { f, x, out } => Box::new(e::Unary::build(l, *f, *x, *out)),
        Op::Glu { gate, up, act, out } => Box::new(e::Glu::build(l, *gate, *up, *act, *out)),
        Op::Add { x, out } => Box::new(e::Add::build(l, *x, *out)),
        Op::Route { .. } => Box::new(experts::Route::build(l, op)?),
        Op::Experts(x) => Box::new(experts::Experts::build(l, x)?),
        Op::Gather { x, out } => Box::new(e::Gather::build(l, *x, *out)),
        Op::Copy { x, out } => Box::new(e::Copy::build(l, *x, *out)),
    })
}

/// The step in front of a run's steps that computes the rotations.
pub(crate) fn angles_step(angles: Vec<Arc<Angles>>) -> Box<dyn Exec> {
    Box::new(rope::FillAngles(angles))
}

/// The tuning problems of `program` in runs of `tokens` tokens: exactly those that loading it asks for.
pub(crate) fn problems(
    program: &Program,
    dtype: &dyn Fn(WeightRef) -> Option<DType>,
    recipe: &Recipe,
    tokens: usize,
) -> Vec<Problem> {
    let of = |step: &Step| match &step.op {
        Op::Linear(l) => linear::problems(program, l, dtype, recipe.of(Part::of_layer(step.layer)), tokens),
        Op::Experts(e) => experts::problems(e, dtype, recipe.of(Part::of_layer(step.layer)), tokens),
        Op::Attention(a) => attention::problems(a, kv_type(recipe.of(Part::Caches)), tokens),
        Op::CausalConv { x, taps, .. } => vec![crate::cpu::conv::problem(tokens, x.width, *taps)],
        Op::DynamicConv { u, h, w2, taps, .. } => {
            conv::dynamic_problems(u.width, h.width, *taps, dtype(*w2), tokens)
        }
        Op::Ssd(s) => vec![scans::ssd_problem(s, tokens)],
        Op::GatedDelta(d) => vec![scans::delta_problem(d, tokens)],
        _ => vec![],
    };
    program.steps.iter().flat_map(of).collect()
}

/// This worker's rows of an operand.
fn rows_of(cx: &Cx<'_>, w: &Worker<'_>, o: Operand) -> Range<usize> {
    w.share(cx.rows(o), 1)
}

//! JetBlock: projections → kernel generator and dynamic convolution of the values → gated delta rule → gated
//! norm → output projection.

use super::BlockCx;
use crate::op::{GateOrder, GatedDelta, Op, Unary, View};
use crate::program::StateShape;
use jet_dsl::block::JetBlock;
use jet_dsl::weight::Role;

/// Inside the root of the l2 norms of queries and keys.
const L2_EPS: f32 = 1e-6;

pub(super) fn lower(cx: &mut BlockCx<'_>, b: &JetBlock, x: View) -> View {
    let (heads, d_key, d_value) = (b.n_heads as usize, b.d_head as usize, b.d_value() as usize);
    let (kd, vd, taps) = (b.key_dim() as usize, b.value_dim() as usize, b.conv as usize);
    let q = cx.project(x, "q", Role::QProj, None, kd);
    let k = cx.project(x, "k", Role::KProj, None, kd);
    let u = cx.project(x, "u", Role::VProj, None, vd);
    let z = cx.project(x, "z", Role::GateProj, None, vd);
    let beta = cx.project(x, "beta", Role::BetaProj, None, heads);
    let g = cx.project(x, "g", Role::DecayProj, None, heads);
    let hidden = cx.project(x, "generator", Role::GeneratorW1, None, b.generator_hidden() as usize);
    for x in [q, k, hidden] {
        cx.push(Op::Unary { f: Unary::Silu, x, out: x });
    }
    let (a_log, dt_bias) = (cx.weight(Role::ALog), cx.weight(Role::DtBias));
    cx.push(Op::JetGates { a: g, b: beta, a_log, dt_bias });

    let v = cx.buffer("v", vd);
    let state = cx.state("conv", StateShape::Conv { channels: vd, columns: taps });
    let (w2, bias) = (cx.weight(Role::GeneratorW2), cx.weight(Role::GeneratorBias));
    cx.push(Op::DynamicConv { u, h: hidden, w2, bias, out: v, state, taps });

    let o = cx.buffer("o", vd);
    let state = cx.state("delta", StateShape::Recurrent { heads, rows: d_key, cols: d_value });
    let scale = (1.0 / (d_key as f64).sqrt()) as f32;
    let delta = GatedDelta { q, k, v, g, beta, out: o, state, heads, d_key, d_value, scale, l2_eps: L2_EPS };
    cx.push(Op::GatedDelta(delta));
    let weight = cx.weight(Role::GatedNorm);
    let norm = Op::GatedNorm {
        x: o,
        z,
        weight,
        groups: heads,
        eps: b.norm_eps,
        order: GateOrder::NormFirst,
        out: o,
    };
    cx.push(norm);
    cx.project_out(o, Role::OProj, None)
}

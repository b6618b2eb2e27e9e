//! Mamba-2: in_proj → convolution → SSD scan → gated norm → out_proj.

use super::BlockCx;
use crate::op::{GateOrder, Op, Ssd, View};
use crate::program::StateShape;
use jet_dsl::block::Mamba2;
use jet_dsl::weight::Role;

pub(super) fn lower(cx: &mut BlockCx<'_>, b: &Mamba2, x: View) -> View {
    let (d, cd, h) = (b.d_inner() as usize, b.conv_dim() as usize, b.n_heads as usize);
    let (groups, d_state, taps) = (b.n_groups as usize, b.d_state as usize, b.conv as usize);
    let gn = groups * d_state;
    let bias = |role| b.proj_bias.then_some(role);
    // One matrix, whose rows are z | xBC | Δ in this order.
    let zxbcdt = cx.project(x, "zxbcdt", Role::InProj, bias(Role::InProjBias), b.in_proj_rows() as usize);
    let (z, xbc, dt) = (zxbcdt.slice(0, d), zxbcdt.slice(d, cd), zxbcdt.slice(d + cd, h));

    let conv = cx.buffer("conv", cd);
    let state = cx.state("conv", StateShape::Conv { channels: cd, columns: taps.saturating_sub(1) });
    let (weight, conv_bias) = (cx.weight(Role::ConvWeight), b.conv_bias.then(|| cx.weight(Role::ConvBias)));
    cx.push(Op::CausalConv { x: xbc, weight, bias: conv_bias, out: conv, state, taps, silu: true });

    let y = cx.buffer("y", d);
    let shape = StateShape::Recurrent { heads: h, rows: b.d_head as usize, cols: d_state };
    let state = cx.state("ssm", shape);
    let ssd = Ssd {
        x: conv.slice(0, d),
        b: conv.slice(d, gn),
        c: conv.slice(d + gn, gn),
        dt,
        out: y,
        dt_bias: cx.weight(Role::DtBias),
        a_log: cx.weight(Role::ALog),
        d_skip: cx.weight(Role::DSkip),
        state,
        heads: h,
        d_head: b.d_head as usize,
        groups,
        d_state,
        dt_min: b.dt_min,
        dt_max: b.dt_max,
        chunk_hint: b.chunk as usize,
    };
    cx.push(Op::Ssd(ssd));

    let weight = cx.weight(Role::GatedNorm);
    let eps = cx.spec.norm_eps;
    cx.push(Op::GatedNorm { x: y, z, weight, groups, eps, order: GateOrder::GateFirst, out: y });
    cx.project_out(y, Role::OutProj, bias(Role::OutProjBias))
}

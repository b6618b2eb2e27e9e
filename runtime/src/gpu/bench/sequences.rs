//! Cases of kernels that look along a sequence.

use super::case::{Case, Maker};
use jet_codegen::kernel::Elem;
use jet_codegen::op::{Attention, GatedDelta, Op, Ssd};
use jet_codegen::program::{Rows, StateShape};
use jet_dsl::weight::Role;

/// `float` where everything is, else `narrow`: what is rounded to bfloat16 on the way, some units of 2^-9.
fn allowed(m: &Maker<'_>, float: f64, narrow: f64) -> f64 {
    if m.main() == Elem::F32 { float } else { narrow }
}

pub(super) fn attention(mut m: Maker<'_>) -> Result<Case, String> {
    let append = m.problem.family == "kv_append";
    let [kv_heads, d_head, align] = m.sizes(["kv_heads", "d_head", "align"])?;
    let heads = if append { kv_heads } else { m.size("heads")? };
    let window = if append { 0 } else { m.flag("window") };
    let window = (window > 0).then_some(window);
    let cache = m.state(StateShape::Kv { kv_heads, d_head, window });
    let q = m.input("q", heads * d_head, align);
    let [k, v] = ["k", "v"].map(|role| m.input(role, kv_heads * d_head, align));
    let out = m.output("out", heads * d_head, align, Rows::Tokens);
    let scale = (d_head as f32).sqrt().recip();
    let near = allowed(&m, 1e-5, 6e-3);
    let steps = m.problem.family == "attention_decode";
    m.finish(
        Op::Attention(Attention { q, k, v, out, cache, heads, kv_heads, d_head, scale, window }),
        steps,
        near,
    )
}

pub(super) fn conv(mut m: Maker<'_>) -> Result<Case, String> {
    let [channels, taps, align] = m.sizes(["channels", "taps", "align"])?;
    let (bias, silu) = (m.flag("bias") > 0, m.flag("silu") > 0);
    let x = m.input("x", channels, align);
    let weight = m.weight(Role::ConvWeight, &[channels, 1, taps]);
    let bias = bias.then(|| m.weight(Role::ConvBias, &[channels]));
    let out = m.output("out", channels, align, Rows::Tokens);
    let state = m.state(StateShape::Conv { channels, columns: taps - 1 });
    let near = if m.elem("out") == Elem::F32 { 4e-6 } else { 4e-3 };
    m.finish(Op::CausalConv { x, weight, bias, out, state, taps, silu }, false, near)
}

pub(super) fn dynamic_conv(mut m: Maker<'_>) -> Result<Case, String> {
    let [channels, taps, hidden, align] = m.sizes(["channels", "taps", "hidden", "align"])?;
    let steps = m.flag("step") > 0;
    let (u, h) = (m.input("u", channels, align), m.input("h", hidden, align));
    let w2 = m.weight(Role::GeneratorW2, &[channels * taps, hidden]);
    let bias = m.weight(Role::GeneratorBias, &[channels * taps]);
    let out = m.output("out", channels, align, Rows::Tokens);
    let state = m.state(StateShape::Conv { channels, columns: taps });
    let near = if m.elem("out") == Elem::F32 { 1e-5 } else { 4e-3 };
    m.finish(Op::DynamicConv { u, h, w2, bias, out, state, taps }, steps, near)
}

pub(super) fn ssd(mut m: Maker<'_>) -> Result<Case, String> {
    let [heads, d_head, groups, d_state, align] =
        m.sizes(["heads", "d_head", "groups", "d_state", "align"])?;
    let steps = m.flag("step") > 0;
    let x = m.input("x", heads * d_head, align);
    let [b, c] = ["b", "c"].map(|role| m.input(role, groups * d_state, align));
    let dt = m.input("dt", heads, 8);
    let out = m.output("out", heads * d_head, align, Rows::Tokens);
    let [dt_bias, a_log, d_skip] =
        [Role::DtBias, Role::ALog, Role::DSkip].map(|role| m.weight(role, &[heads]));
    let state = m.state(StateShape::Recurrent { heads, rows: d_head, cols: d_state });
    let near = allowed(&m, 1e-5, 6e-3);
    let (dt_min, dt_max, chunk_hint) = (0.0, None, 0);
    m.finish(
        Op::Ssd(Ssd {
            x,
            b,
            c,
            dt,
            out,
            dt_bias,
            a_log,
            d_skip,
            state,
            heads,
            d_head,
            groups,
            d_state,
            dt_min,
            dt_max,
            chunk_hint,
        }),
        steps,
        near,
    )
}

pub(super) fn gated_delta(mut m: Maker<'_>) -> Result<Case, String> {
    let [heads, d_key, d_value, align, out_align] =
        m.sizes(["heads", "d_key", "d_value", "align", "out_align"])?;
    let steps = m.flag("step") > 0;
    let [q, k] = ["q", "k"].map(|role| m.input(role, heads * d_key, align));
    let v = m.input("v", heads * d_value, align);
    let [g, beta] = ["g", "beta"].map(|role| m.input(role, heads, 8));
    // A decay is a factor of at most one, its logarithm at most zero; a strength lies between zero and one.
    let n = m.tokens() * heads;
    let decay = m.random(n).into_iter().map(|x| -0.1 * (x + 1.0)).collect();
    let strength = m.random(n).into_iter().map(|x| 0.5 * (x + 1.0)).collect();
    m.fill(g, decay);
    m.fill(beta, strength);
    let out = m.output("out", heads * d_value, out_align, Rows::Tokens);
    let state = m.state(StateShape::Recurrent { heads, rows: d_key, cols: d_value });
    let (scale, l2_eps) = ((d_key as f32).sqrt().recip(), 1e-6);
    let near = allowed(&m, 2e-5, 1e-2);
    m.finish(
        Op::GatedDelta(GatedDelta { q, k, v, g, beta, out, state, heads, d_key, d_value, scale, l2_eps }),
        steps,
        near,
    )
}

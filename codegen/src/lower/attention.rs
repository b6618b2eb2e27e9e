//! Attention: q, k, v → head norms → rotation → attention over the cache → output projection.

use super::BlockCx;
use crate::op::{self, Op, RopeSpec, View};
use crate::program::StateShape;
use jet_dsl::block::Attention;
use jet_dsl::weight::Role;

pub(super) fn lower(cx: &mut BlockCx<'_>, b: &Attention, x: View) -> View {
    let (heads, kv_heads, d_head) = (b.n_heads as usize, b.n_kv_heads as usize, b.d_head as usize);
    let bias = |role| b.qkv_bias.then_some(role);
    let q = cx.project(x, "q", Role::QProj, bias(Role::QBias), heads * d_head);
    let k = cx.project(x, "k", Role::KProj, bias(Role::KBias), kv_heads * d_head);
    let v = cx.project(x, "v", Role::VProj, bias(Role::VBias), kv_heads * d_head);
    let eps = cx.spec.norm_eps;
    for (x, heads, norm) in [(q, heads, Role::QNorm), (k, kv_heads, Role::KNorm)] {
        if b.qk_norm {
            let weight = cx.weight(norm);
            cx.push(Op::HeadNorm { x, heads, weight, eps });
        }
        if let Some(rope) = &b.rope {
            let rope = RopeSpec { theta: rope.theta, scaling: rope.scaling.clone() };
            cx.push(Op::Rope { x, heads, rope });
        }
    }
    let window = b.window.map(|w| w as usize);
    let cache = cx.state("kv", StateShape::Kv { kv_heads, d_head, window });
    let out = cx.buffer("attended", heads * d_head);
    let scale = (1.0 / f64::from(b.d_head).sqrt()) as f32;
    cx.push(Op::Attention(op::Attention { q, k, v, out, cache, heads, kv_heads, d_head, scale, window }));
    cx.project_out(out, Role::OProj, b.out_bias.then_some(Role::OBias))
}

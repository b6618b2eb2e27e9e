//! Cases of attention: a prompt from an empty cache, and one token behind a context.

use super::{Case, random};
use crate::cpu::attention::reference;
use crate::cpu::kv_cache::KvType;
use crate::device::Precision;
use crate::weights::MemoryWeights;
use jet_codegen::op::{self, Op};
use jet_codegen::program::{Program, Rows, StateShape};
use jet_codegen::schedule::Problem;

/// Largest relative error that rounding keys and values to the cache's format explains.
fn allowed(kind: KvType) -> f64 {
    match kind {
        KvType::F32 => 1e-5,
        KvType::F16 => 2e-3,
        KvType::Bf16 => 1.6e-2,
    }
}

/// Both families; a problem of one token has a context behind it.
pub(super) fn case(problem: &Problem) -> Result<Case, String> {
    let [tokens, heads, kv_heads, d_head] = super::sizes(problem, ["tokens", "heads", "kv_heads", "d_head"])?;
    let window = Some(problem.dim("window")).filter(|w| *w > 0);
    let kinds =
        [(KvType::F32, Precision::F32), (KvType::F16, Precision::Native), (KvType::Bf16, Precision::Bf16)];
    let (kind, precision) = kinds
        .into_iter()
        .find(|(k, _)| k.name() == problem.format)
        .ok_or_else(|| format!("unknown cache format `{}`", problem.format))?;
    let context = problem.dim("context").max(tokens);
    let past =
        window.map_or(context, |w| context.min(w)) - tokens.min(window.unwrap_or(context)).min(context);
    let past = if tokens == 1 { past } else { 0 };

    let mut program = Program::new("attention");
    let (q, k) = (program.input("q", heads * d_head), program.input("k", kv_heads * d_head));
    let v = program.input("v", kv_heads * d_head);
    let out = program.buffer("out", heads * d_head, Rows::Tokens);
    program.mark_output(out);
    let cache = program.state("kv", 0, StateShape::Kv { kv_heads, d_head, window });
    let scale = 1.0 / (d_head as f32).sqrt();
    program.push(
        Some(0),
        Op::Attention(op::Attention { q, k, v, out, cache, heads, kv_heads, d_head, scale, window }),
    );

    let width = kv_heads * d_head;
    let (qs, all_k, all_v) = (
        random(0, tokens * heads * d_head),
        random(1, (past + tokens) * width),
        random(2, (past + tokens) * width),
    );
    let expected = reference::attention(&reference::Case {
        q: &qs,
        k: &all_k,
        v: &all_v,
        q_positions: &(past..past + tokens).collect::<Vec<_>>(),
        k_positions: &(0..past + tokens).collect::<Vec<_>>(),
        heads,
        kv_heads,
        d: d_head,
        scale: f64::from(scale),
        window,
    });
    let mut state = all_k[..past * width].to_vec();
    state.extend_from_slice(&all_v[..past * width]);
    let seen = if tokens == 1 { past + 1 } else { tokens.div_ceil(2) };
    Ok(Case {
        program,
        weights: MemoryWeights::default(),
        precision,
        tokens,
        inputs: vec![
            (q.buf, qs),
            (k.buf, all_k[past * width..].to_vec()),
            (v.buf, all_v[past * width..].to_vec()),
        ],
        states: if past > 0 { vec![(cache, state)] } else { vec![] },
        past,
        output: out.buf,
        reference: expected.iter().map(|x| *x as f32).collect(),
        allowed: allowed(kind),
        copies: 1,
        floor: (
            (2 * (past + tokens) * width * kind.bytes() + 8 * tokens * heads * d_head) as u64,
            (4 * tokens * seen * heads * d_head) as u64,
        ),
    })
}

//! Qwen3-1.7B: the full-attention baseline of the published speed-ups.

use jet_macros::jet_model;

jet_model! {
    /// Qwen3-1.7B: 28 layers of full attention with norms on queries and keys.
    pub struct Qwen3_1_7B;
    crate: crate,
    name: "qwen3-1.7b",
    vocab: 151_936,
    d_model: 2_048,
    norm: rms_norm { eps: 1e-6 },
    tie_embeddings: true,
    max_context: 40_960,
    naming: transformer,
    pattern: "(*-)28",
    blocks {
        '*' => attention { n_heads: 16, n_kv_heads: 8, d_head: 128, rope: 1_000_000.0, qk_norm: true },
        '-' => mlp { hidden: 6_144, act: swiglu },
    }
}

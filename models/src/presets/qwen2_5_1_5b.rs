//! Qwen2.5-1.5B: the full-attention model that Jet-Nemotron-2B was made from.

use jet_macros::jet_model;

jet_model! {
    /// Qwen2.5-1.5B: 28 layers of full attention with q, k and v biases.
    pub struct Qwen2_5_1_5B;
    crate: crate,
    name: "qwen2.5-1.5b",
    vocab: 151_936,
    d_model: 1_536,
    norm: rms_norm { eps: 1e-6 },
    tie_embeddings: true,
    max_context: 32_768,
    naming: transformer,
    pattern: "(*-)28",
    blocks {
        '*' => attention { n_heads: 12, n_kv_heads: 2, d_head: 128, rope: 1_000_000.0, qkv_bias: true },
        '-' => mlp { hidden: 8_960, act: swiglu },
    }
}

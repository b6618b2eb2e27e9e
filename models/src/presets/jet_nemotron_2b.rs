//! Jet-Nemotron-2B (arXiv 2508.15884): 24 JetBlocks, two full and two windowed attention layers.

use jet_macros::jet_model;

jet_model! {
    /// Jet-Nemotron-2B: JetBlocks with two full-attention and two sliding-window layers, an MLP behind each.
    pub struct JetNemotron2B;
    crate: crate,
    name: "jet-nemotron-2b",
    vocab: 151_936,
    d_model: 1_536,
    norm: rms_norm { eps: 1e-6 },
    tie_embeddings: true,
    max_context: 131_072,
    naming: transformer,
    pattern: "(J-)14 *- (J-)4 *- (W-)2 (J-)6",
    blocks {
        'J' => jet_block { n_heads: 12, d_head: 96, expand_v: 2.6666666667, conv: 4, reduction: 8 },
        '*' => attention { n_heads: 12, n_kv_heads: 2, d_head: 128, rope: 1_000_000.0, qkv_bias: true },
        'W' => window_attention {
            n_heads: 12, n_kv_heads: 2, d_head: 128, rope: 1_000_000.0, qkv_bias: true, window: 1_152,
        },
        '-' => mlp { hidden: 8_960, act: swiglu },
    }
}

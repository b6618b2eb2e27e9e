//! Jet-Nemotron-4B (arXiv 2508.15884): 26 JetBlocks, three full and seven windowed attention layers.

use jet_macros::jet_model;

jet_model! {
    /// Jet-Nemotron-4B: JetBlocks with three full-attention and seven sliding-window layers, an MLP behind each.
    pub struct JetNemotron4B;
    crate: crate,
    name: "jet-nemotron-4b",
    vocab: 151_936,
    d_model: 2_048,
    norm: rms_norm { eps: 1e-6 },
    tie_embeddings: true,
    max_context: 32_768,
    naming: transformer,
    pattern: "(J-)5 W- (J-)10 W- *- J- W- *- (W-)2 (J-)2 W- J- W- (J-)4 *- (J-)3",
    blocks {
        'J' => jet_block { n_heads: 16, d_head: 128, expand_v: 2.0, conv: 4, reduction: 8 },
        'W' => window_attention {
            n_heads: 16, n_kv_heads: 2, d_head: 128, rope: 1_000_000.0, qkv_bias: true, window: 2_048,
        },
        '*' => attention { n_heads: 16, n_kv_heads: 2, d_head: 128, rope: 1_000_000.0, qkv_bias: true },
        '-' => mlp { hidden: 11_008, act: swiglu },
    }
}

//! Nemotron-Nano-9B-v2: pruned from the 12B; its attention is wider than the residual stream.

use jet_macros::jet_model;

jet_model! {
    /// Nemotron-Nano-9B-v2: 27 Mamba-2, 4 attention and 25 MLP blocks.
    pub struct NemotronNano9BV2;
    crate: crate,
    name: "nemotron-nano-9b-v2",
    vocab: 131_072,
    d_model: 4_480,
    norm: rms_norm { eps: 1e-5 },
    max_context: 131_072,
    naming: nemotron_h,
    pattern: "(M-)3 M (M-)3 M*- (M-)2 M*- ((M-)3 M*-)2 M- M (M-)6",
    blocks {
        'M' => mamba2 { n_heads: 128, d_head: 80, d_state: 128, n_groups: 8, conv: 4 },
        '-' => mlp { hidden: 15_680, act: relu2 },
        '*' => attention { n_heads: 40, n_kv_heads: 8, d_head: 128 },
    }
}

//! Nemotron-Nano-12B-v2-Base: 28 Mamba-2, 6 attention and 28 MLP blocks.

use jet_macros::jet_model;

jet_model! {
    /// Nemotron-Nano-12B-v2-Base: 28 Mamba-2, 6 attention and 28 MLP blocks.
    pub struct NemotronNano12BV2Base;
    crate: crate,
    name: "nemotron-nano-12b-v2-base",
    vocab: 131_072,
    d_model: 5_120,
    norm: rms_norm { eps: 1e-5 },
    max_context: 131_072,
    naming: nemotron_h,
    pattern: "((M-)3 M*-)6 (M-)4",
    blocks {
        'M' => mamba2 { n_heads: 128, d_head: 80, d_state: 128, n_groups: 8, conv: 4 },
        '-' => mlp { hidden: 20_480, act: relu2 },
        '*' => attention { n_heads: 40, n_kv_heads: 8, d_head: 128 },
    }
}

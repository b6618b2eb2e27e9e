//! A seven-layer hybrid with most kinds of block: for examples, tests and tuning without weights.

use jet_macros::jet_model;

jet_model! {
    /// A seven-layer hybrid.
    pub struct TinyHybrid;
    crate: crate,
    vocab: 32_000,
    d_model: 512,
    norm: rms_norm { eps: 1e-5 },
    tie_embeddings: true,
    pattern: "MM*M-J*",
    blocks {
        'M' => mamba2    { n_heads: 16, d_head: 64, d_state: 128, n_groups: 2, conv: 4 },
        '*' => attention { n_heads: 8, n_kv_heads: 2, d_head: 64, rope: 10_000.0 },
        '-' => mlp       { hidden: 2_048, act: relu2 },
        'J' => jet_block { n_heads: 6, d_head: 64, expand_v: 2.0, conv: 4, reduction: 8 },
    }
    precision: tune [bf16, fp8_e4m3, nvfp4],
}

//! The model. It has a file of its own so that `jet-tune run src/model.rs` can read it.

use jet::jet_model;

jet_model! {
    /// Four blocks, one of each kind that a hybrid model is made of.
    pub struct Deployed;
    vocab: 256,
    d_model: 64,
    norm: rms_norm { eps: 1e-5 },
    tie_embeddings: true,
    max_context: 64,
    pattern: "M*-J",
    blocks {
        'M' => mamba2    { n_heads: 4, d_head: 16, d_state: 16, n_groups: 1, conv: 4 },
        '*' => attention { n_heads: 4, n_kv_heads: 2, d_head: 16, rope: 10_000.0 },
        '-' => mlp       { hidden: 128, act: swiglu },
        'J' => jet_block { n_heads: 2, d_head: 16, expand_v: 2.0, conv: 4, reduction: 8 },
    }
}

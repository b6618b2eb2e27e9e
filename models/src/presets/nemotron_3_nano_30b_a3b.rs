//! Nemotron-3-Nano-30B-A3B: 23 Mamba-2, 23 mixture-of-experts and 6 attention blocks.

use jet_macros::jet_model;

jet_model! {
    /// Nemotron-3-Nano-30B-A3B: 128 experts, six of them and a shared one per token.
    pub struct Nemotron3Nano30BA3B;
    crate: crate,
    name: "nemotron-3-nano-30b-a3b",
    vocab: 131_072,
    d_model: 2_688,
    norm: rms_norm { eps: 1e-5 },
    max_context: 262_144,
    naming: nemotron_h,
    pattern: "MEMEM* (EMEMEM*)4 (EM)4 * (EM)4 E",
    blocks {
        'M' => mamba2 { n_heads: 64, d_head: 64, d_state: 128, n_groups: 8, conv: 4 },
        'E' => moe {
            n_experts: 128, top_k: 6, hidden: 1_856, shared_hidden: 3_712, act: relu2,
            norm_topk: true, scale: 2.5,
        },
        '*' => attention { n_heads: 32, n_kv_heads: 2, d_head: 128 },
    }
}

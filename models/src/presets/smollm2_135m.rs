//! SmolLM2-135M: small enough for any machine, and the model of the quickstart.

use jet_macros::jet_model;

jet_model! {
    /// SmolLM2-135M: 30 layers of full attention, a Llama in every respect.
    pub struct SmolLm2_135M;
    crate: crate,
    name: "smollm2-135m",
    vocab: 49_152,
    d_model: 576,
    norm: rms_norm { eps: 1e-5 },
    tie_embeddings: true,
    max_context: 8_192,
    naming: transformer,
    pattern: "(*-)30",
    blocks {
        '*' => attention { n_heads: 9, n_kv_heads: 3, d_head: 64, rope: 100_000.0 },
        '-' => mlp { hidden: 1_536, act: swiglu },
    }
}

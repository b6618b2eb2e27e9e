//! Every part of the language in one definition, and what the expansion offers.
#![deny(warnings)]

use jet_macros::jet_model;

/// Stands in for the crate that re-exports the language and the trait.
mod house {
    pub(crate) use jet_dsl as dsl;

    pub(crate) trait Model {
        const SPEC: dsl::ModelSpec;
    }
}

jet_model! {
    /// Windows of two widths, two MLPs, experts, a JetBlock and Mamba-2.
    pub struct EveryPart;
    crate: crate::house,
    name: "every-part",
    vocab: 1_000,
    d_model: 64,
    norm: rms_norm { eps: 1e-6 },
    tie_embeddings: true,
    max_context: 65_536,
    naming: nemotron_h,
    pattern: "(M-)2 w+ W- *E J-",
    blocks {
        'M' => mamba2 { n_heads: 8, d_head: 16, n_groups: 2, dt_min: 0.001, dt_max: 0.1, proj_bias: true },
        '-' => mlp { hidden: 128, act: relu2 },
        '+' => mlp { hidden: 256, act: swiglu, bias: true },
        'w' => window_attention { n_heads: 8, n_kv_heads: 2, d_head: 16, window: 128, rope: none },
        'W' => window_attention { n_heads: 8, n_kv_heads: 2, d_head: 16, window: 1024, rope: 10_000 },
        '*' => attention {
            n_heads: 8, n_kv_heads: 8, d_head: 16, qk_norm: true, qkv_bias: true, out_bias: true,
            rope: { theta: 5e5, llama3 { factor: 8.0, low_freq: 1.0, high_freq: 4.0, original_context: 8192 } },
        }
        'E' => moe { n_experts: 8, top_k: 2, hidden: 32, shared_hidden: 48, n_group: 4, topk_group: 2, latent: 16 }
        'J' => jet_block { n_heads: 3, d_head: 24, expand_v: 2.6666666667, conv: 3 }
    }
    precision: tune [bf16, fp8_e4m3],
}

jet_model! {
    struct Unquoted;
    crate: crate::house,
    vocab: 10, d_model: 8,
    pattern: [(M2 -)2 M],
    blocks { 'M' => mamba2 { n_heads: 2, d_head: 4 }, '-' => mlp { hidden: 8, act: geglu } }
}

const LAYERS: usize = EveryPart::LAYERS;

fn sizes<M: house::Model>() -> u32 {
    M::SPEC.d_model
}

#[test]
fn every_part_of_the_language_expands() {
    assert_eq!(EveryPart::PATTERN, "M-M-w+W-*EJ-");
    assert_eq!((LAYERS, EveryPart::NAME), (12, "every-part"));
    assert_eq!(EveryPart::spec().params(), EveryPart::PARAMS);
    assert_eq!(Unquoted::PATTERN, "MM-MM-M");
    assert_eq!(sizes::<EveryPart>(), 64);
}

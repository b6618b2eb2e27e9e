#[cfg(all())]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Everything;
#[cfg(all())]
#[allow(dead_code)]
impl Everything {
    /// What `Everything` is: sizes, pattern and blocks, without weights and without a device.
    pub(crate) const SPEC: crate::somewhere::dsl::ModelSpec = crate::somewhere::dsl::ModelSpec {
        name: ::std::borrow::Cow::Borrowed("all-of-it"),
        vocab: 100,
        d_model: 64,
        norm_eps: 0.00001f64,
        tie_embeddings: false,
        max_context: 65536,
        pattern: ::std::borrow::Cow::Borrowed("W-W-*E"),
        bindings: ::std::borrow::Cow::Borrowed(
            &[
                crate::somewhere::dsl::Binding {
                    symbol: 'W',
                    block: crate::somewhere::dsl::block::Block::Attention(crate::somewhere::dsl::block::Attention {
                        n_heads: 4,
                        n_kv_heads: 2,
                        d_head: 16,
                        window: ::core::option::Option::Some(128),
                        rope: ::core::option::Option::Some(crate::somewhere::dsl::block::Rope {
                            theta: 500000f64,
                            scaling: crate::somewhere::dsl::block::RopeScaling::Llama3 {
                                factor: 8f64,
                                low_freq: 1f64,
                                high_freq: 4f64,
                                original_context: 8192,
                            },
                        }),
                        qk_norm: true,
                        qkv_bias: false,
                        out_bias: false,
                    }),
                },
                crate::somewhere::dsl::Binding {
                    symbol: '-',
                    block: crate::somewhere::dsl::block::Block::Mlp(crate::somewhere::dsl::block::Mlp {
                        hidden: 128,
                        act: crate::somewhere::dsl::block::Act::Swiglu,
                        bias: true,
                    }),
                },
                crate::somewhere::dsl::Binding {
                    symbol: '*',
                    block: crate::somewhere::dsl::block::Block::Attention(crate::somewhere::dsl::block::Attention {
                        n_heads: 4,
                        n_kv_heads: 4,
                        d_head: 16,
                        window: ::core::option::Option::None,
                        rope: ::core::option::Option::None,
                        qk_norm: false,
                        qkv_bias: true,
                        out_bias: true,
                    }),
                },
                crate::somewhere::dsl::Binding {
                    symbol: 'E',
                    block: crate::somewhere::dsl::block::Block::Moe(crate::somewhere::dsl::block::Moe {
                        n_experts: 8,
                        top_k: 2,
                        hidden: 32,
                        shared_hidden: 48,
                        act: crate::somewhere::dsl::block::Act::Geglu,
                        n_group: 2,
                        topk_group: 1,
                        norm_topk: false,
                        scale: 2.5f64,
                        latent: ::core::option::Option::Some(24),
                    }),
                },
            ],
        ),
        naming: crate::somewhere::dsl::Naming::Transformer,
        precisions: ::std::borrow::Cow::Borrowed(&[]),
    };
    /// Name of the model: `all-of-it`.
    pub(crate) const NAME: &'static str = "all-of-it";
    /// Rows of the embedding: 100.
    pub(crate) const VOCAB: u32 = 100;
    /// Width of the residual stream: 64.
    pub(crate) const D_MODEL: u32 = 64;
    /// Blocks of the pattern: 6.
    pub(crate) const LAYERS: usize = 6;
    /// The pattern, one character a block: `W-W-*E`.
    pub(crate) const PATTERN: &'static str = "W-W-*E";
    /// Longest context the model is meant for, in tokens: 65536.
    pub(crate) const MAX_CONTEXT: u32 = 65536;
    /// Parameters, a tied head counted once: 135552.
    pub(crate) const PARAMS: u64 = 135552;
    /// The specification, as a value of its own.
    #[must_use]
    pub(crate) fn spec() -> crate::somewhere::dsl::ModelSpec {
        Self::SPEC
    }
}
#[cfg(all())]
impl crate::somewhere::Model for Everything {
    const SPEC: crate::somewhere::dsl::ModelSpec = Everything::SPEC;
}

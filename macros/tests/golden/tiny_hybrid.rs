/// A seven-layer hybrid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TinyHybrid;
#[allow(dead_code)]
impl TinyHybrid {
    /// What `TinyHybrid` is: sizes, pattern and blocks, without weights and without a device.
    pub const SPEC: ::jet::dsl::ModelSpec = ::jet::dsl::ModelSpec {
        name: ::std::borrow::Cow::Borrowed("tiny-hybrid"),
        vocab: 32000,
        d_model: 512,
        norm_eps: 0.00001f64,
        tie_embeddings: true,
        max_context: 4096,
        pattern: ::std::borrow::Cow::Borrowed("MM*M-J*"),
        bindings: ::std::borrow::Cow::Borrowed(
            &[
                ::jet::dsl::Binding {
                    symbol: 'M',
                    block: ::jet::dsl::block::Block::Mamba2(::jet::dsl::block::Mamba2 {
                        n_heads: 16,
                        d_head: 64,
                        d_state: 128,
                        n_groups: 2,
                        conv: 4,
                        chunk: 128,
                        dt_min: 0f64,
                        dt_max: ::core::option::Option::None,
                        proj_bias: false,
                        conv_bias: true,
                    }),
                },
                ::jet::dsl::Binding {
                    symbol: '*',
                    block: ::jet::dsl::block::Block::Attention(::jet::dsl::block::Attention {
                        n_heads: 8,
                        n_kv_heads: 2,
                        d_head: 64,
                        window: ::core::option::Option::None,
                        rope: ::core::option::Option::Some(::jet::dsl::block::Rope {
                            theta: 10000f64,
                            scaling: ::jet::dsl::block::RopeScaling::None,
                        }),
                        qk_norm: false,
                        qkv_bias: false,
                        out_bias: false,
                    }),
                },
                ::jet::dsl::Binding {
                    symbol: '-',
                    block: ::jet::dsl::block::Block::Mlp(::jet::dsl::block::Mlp {
                        hidden: 2048,
                        act: ::jet::dsl::block::Act::Relu2,
                        bias: false,
                    }),
                },
                ::jet::dsl::Binding {
                    symbol: 'J',
                    block: ::jet::dsl::block::Block::JetBlock(::jet::dsl::block::JetBlock {
                        n_heads: 6,
                        d_head: 64,
                        expand_v: 2f64,
                        conv: 4,
                        reduction: 8,
                        norm_eps: 0.00001f64,
                    }),
                },
            ],
        ),
        naming: ::jet::dsl::Naming::NemotronH,
        precisions: ::std::borrow::Cow::Borrowed(
            &[
                ::jet::dsl::Precision::Bf16,
                ::jet::dsl::Precision::Fp8E4m3,
                ::jet::dsl::Precision::Nvfp4,
            ],
        ),
    };
    /// Name of the model: `tiny-hybrid`.
    pub const NAME: &'static str = "tiny-hybrid";
    /// Rows of the embedding: 32000.
    pub const VOCAB: u32 = 32000;
    /// Width of the residual stream: 512.
    pub const D_MODEL: u32 = 512;
    /// Blocks of the pattern: 7.
    pub const LAYERS: usize = 7;
    /// The pattern, one character a block: `MM*M-J*`.
    pub const PATTERN: &'static str = "MM*M-J*";
    /// Longest context the model is meant for, in tokens: 4096.
    pub const MAX_CONTEXT: u32 = 4096;
    /// Parameters, a tied head counted once: 27278108.
    pub const PARAMS: u64 = 27278108;
    /// The specification, as a value of its own.
    #[must_use]
    pub fn spec() -> ::jet::dsl::ModelSpec {
        Self::SPEC
    }
}
impl ::jet::Model for TinyHybrid {
    const SPEC: ::jet::dsl::ModelSpec = TinyHybrid::SPEC;
}

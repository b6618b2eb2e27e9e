//! Prints a definition as Rust: documented, all of it constant, and plain enough for an editor to complete.

use jet_dsl::block::{Act, Attention, Block, JetBlock, Mamba2, Mlp, Moe, Rope, RopeScaling};
use jet_dsl::syntax::{Definition, Header};
use jet_dsl::{Binding, ModelSpec, Naming, Precision};
use proc_macro2::{Literal, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{Attribute, Visibility};

/// The type, its constants, and `Model` for it.
pub(crate) fn definition(definition: &Definition) -> TokenStream {
    let Header { attrs, vis, ident } = &definition.header;
    let jet = match &definition.crate_path {
        Some(path) => path.to_token_stream(),
        None => quote!(::jet),
    };
    let spec = &definition.spec;
    // An item that is configured away takes its impls with it.
    let cfg: Vec<&Attribute> = attrs.iter().filter(|a| a.path().is_ident("cfg")).collect();
    let value = model_spec(spec, &jet);
    let constants = constants(spec, vis);
    let about =
        format!(" What `{ident}` is: sizes, pattern and blocks, without weights and without a device.");
    quote! {
        #(#attrs)*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #vis struct #ident;

        #(#cfg)*
        #[allow(dead_code)]
        impl #ident {
            #[doc = #about]
            #vis const SPEC: #jet::dsl::ModelSpec = #value;
            #(#constants)*
            /// The specification, as a value of its own.
            #[must_use]
            #vis fn spec() -> #jet::dsl::ModelSpec {
                Self::SPEC
            }
        }

        #(#cfg)*
        impl #jet::Model for #ident {
            const SPEC: #jet::dsl::ModelSpec = #ident::SPEC;
        }
    }
}

/// The errors, and the bare type if its name is known, so that its uses do not fail as well.
pub(crate) fn errors(errors: &syn::Error, header: Option<&Header>) -> TokenStream {
    let errors = errors.to_compile_error();
    let stand_in = header.map(|Header { attrs, vis, ident }| {
        quote! {
            #(#attrs)*
            #[allow(dead_code)]
            #vis struct #ident;
        }
    });
    quote! { #errors #stand_in }
}

/// One constant for each of the model's own fields.
fn constants(spec: &ModelSpec, vis: &Visibility) -> Vec<TokenStream> {
    let ModelSpec { vocab, d_model, max_context, .. } = spec;
    let (name, pattern, layers) = (&*spec.name, &*spec.pattern, spec.pattern.chars().count());
    let params = spec.params();
    let (vocab, d_model, max_context) = (whole(*vocab), whole(*d_model), whole(*max_context));
    let (layers, params) = (Literal::usize_unsuffixed(layers), Literal::u64_unsuffixed(params));
    let docs = [
        format!(" Name of the model: `{name}`."),
        format!(" Rows of the embedding: {vocab}."),
        format!(" Width of the residual stream: {d_model}."),
        format!(" Blocks of the pattern: {layers}."),
        format!(" The pattern, one character a block: `{pattern}`."),
        format!(" Longest context the model is meant for, in tokens: {max_context}."),
        format!(" Parameters, a tied head counted once: {params}."),
    ];
    let items = [
        quote!(const NAME: &'static str = #name;),
        quote!(const VOCAB: u32 = #vocab;),
        quote!(const D_MODEL: u32 = #d_model;),
        quote!(const LAYERS: usize = #layers;),
        quote!(const PATTERN: &'static str = #pattern;),
        quote!(const MAX_CONTEXT: u32 = #max_context;),
        quote!(const PARAMS: u64 = #params;),
    ];
    docs.iter().zip(items).map(|(doc, item)| quote!(#[doc = #doc] #vis #item)).collect()
}

fn model_spec(spec: &ModelSpec, jet: &TokenStream) -> TokenStream {
    let (name, pattern) = (&*spec.name, &*spec.pattern);
    let (vocab, d_model, max_context) = (whole(spec.vocab), whole(spec.d_model), whole(spec.max_context));
    let (norm_eps, tie) = (spec.norm_eps, spec.tie_embeddings);
    let bindings = spec.bindings.iter().map(|b| binding(b, jet));
    let precisions = spec.precisions.iter().map(|p| precision(*p, jet));
    let naming = match spec.naming {
        Naming::Transformer => quote!(Transformer),
        Naming::NemotronH => quote!(NemotronH),
    };
    quote! {
        #jet::dsl::ModelSpec {
            name: ::std::borrow::Cow::Borrowed(#name),
            vocab: #vocab,
            d_model: #d_model,
            norm_eps: #norm_eps,
            tie_embeddings: #tie,
            max_context: #max_context,
            pattern: ::std::borrow::Cow::Borrowed(#pattern),
            bindings: ::std::borrow::Cow::Borrowed(&[#(#bindings),*]),
            naming: #jet::dsl::Naming::#naming,
            precisions: ::std::borrow::Cow::Borrowed(&[#(#precisions),*]),
        }
    }
}

fn precision(precision: Precision, jet: &TokenStream) -> TokenStream {
    // The variants' names are what `Debug` prints.
    let variant = format_ident!("{precision:?}");
    quote!(#jet::dsl::Precision::#variant)
}

fn binding(binding: &Binding, jet: &TokenStream) -> TokenStream {
    let symbol = binding.symbol;
    let block = match &binding.block {
        Block::Mamba2(b) => mamba2(b, jet),
        Block::Attention(b) => attention(b, jet),
        Block::Mlp(b) => mlp(b, jet),
        Block::JetBlock(b) => jet_block(b, jet),
        Block::Moe(b) => moe(b, jet),
    };
    quote!(#jet::dsl::Binding { symbol: #symbol, block: #block })
}

fn mamba2(b: &Mamba2, jet: &TokenStream) -> TokenStream {
    let (n_heads, d_head, d_state, n_groups) =
        (whole(b.n_heads), whole(b.d_head), whole(b.d_state), whole(b.n_groups));
    let (conv, chunk, dt_min, dt_max) = (whole(b.conv), whole(b.chunk), b.dt_min, option(b.dt_max));
    let Mamba2 { proj_bias, conv_bias, .. } = b;
    quote! {
        #jet::dsl::block::Block::Mamba2(#jet::dsl::block::Mamba2 {
            n_heads: #n_heads,
            d_head: #d_head,
            d_state: #d_state,
            n_groups: #n_groups,
            conv: #conv,
            chunk: #chunk,
            dt_min: #dt_min,
            dt_max: #dt_max,
            proj_bias: #proj_bias,
            conv_bias: #conv_bias,
        })
    }
}

fn attention(b: &Attention, jet: &TokenStream) -> TokenStream {
    let (n_heads, n_kv_heads, d_head) = (whole(b.n_heads), whole(b.n_kv_heads), whole(b.d_head));
    let window = option(b.window.map(whole));
    let rope = option(b.rope.as_ref().map(|r| rope(r, jet)));
    let Attention { qk_norm, qkv_bias, out_bias, .. } = b;
    quote! {
        #jet::dsl::block::Block::Attention(#jet::dsl::block::Attention {
            n_heads: #n_heads,
            n_kv_heads: #n_kv_heads,
            d_head: #d_head,
            window: #window,
            rope: #rope,
            qk_norm: #qk_norm,
            qkv_bias: #qkv_bias,
            out_bias: #out_bias,
        })
    }
}

fn rope(rope: &Rope, jet: &TokenStream) -> TokenStream {
    let theta = rope.theta;
    let scaling = match &rope.scaling {
        RopeScaling::None => quote!(None),
        RopeScaling::Llama3 { factor, low_freq, high_freq, original_context } => {
            let original_context = whole(*original_context);
            quote!(Llama3 {
                factor: #factor,
                low_freq: #low_freq,
                high_freq: #high_freq,
                original_context: #original_context,
            })
        }
    };
    quote!(#jet::dsl::block::Rope { theta: #theta, scaling: #jet::dsl::block::RopeScaling::#scaling })
}

fn mlp(b: &Mlp, jet: &TokenStream) -> TokenStream {
    let (hidden, act, bias) = (whole(b.hidden), act(b.act, jet), b.bias);
    quote! {
        #jet::dsl::block::Block::Mlp(#jet::dsl::block::Mlp { hidden: #hidden, act: #act, bias: #bias })
    }
}

fn act(act: Act, jet: &TokenStream) -> TokenStream {
    let variant = format_ident!("{act:?}");
    quote!(#jet::dsl::block::Act::#variant)
}

fn jet_block(b: &JetBlock, jet: &TokenStream) -> TokenStream {
    let (n_heads, d_head, conv, reduction) =
        (whole(b.n_heads), whole(b.d_head), whole(b.conv), whole(b.reduction));
    let JetBlock { expand_v, norm_eps, .. } = b;
    quote! {
        #jet::dsl::block::Block::JetBlock(#jet::dsl::block::JetBlock {
            n_heads: #n_heads,
            d_head: #d_head,
            expand_v: #expand_v,
            conv: #conv,
            reduction: #reduction,
            norm_eps: #norm_eps,
        })
    }
}

fn moe(b: &Moe, jet: &TokenStream) -> TokenStream {
    let (n_experts, top_k, hidden, shared) =
        (whole(b.n_experts), whole(b.top_k), whole(b.hidden), whole(b.shared_hidden));
    let (act, n_group, topk_group) = (act(b.act, jet), whole(b.n_group), whole(b.topk_group));
    let (norm_topk, scale, latent) = (b.norm_topk, b.scale, option(b.latent.map(whole)));
    quote! {
        #jet::dsl::block::Block::Moe(#jet::dsl::block::Moe {
            n_experts: #n_experts,
            top_k: #top_k,
            hidden: #hidden,
            shared_hidden: #shared,
            act: #act,
            n_group: #n_group,
            topk_group: #topk_group,
            norm_topk: #norm_topk,
            scale: #scale,
            latent: #latent,
        })
    }
}

/// A number as a person would write it, without the type behind it.
fn whole(value: u32) -> Literal {
    Literal::u32_unsuffixed(value)
}

fn option<T: ToTokens>(value: Option<T>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

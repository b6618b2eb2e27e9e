//! `jet_model!`: declares a hybrid model.
//!
//! This crate is only the door: the tokens are read and judged by `jet_dsl::syntax`, and `expand` prints the
//! result. It judges nothing itself.
#![forbid(unsafe_code)]

mod expand;

use jet_dsl::syntax;

/// Declares a model: a type, its specification as a constant, and the ways to get its weights.
///
/// ```ignore
/// jet::jet_model! {
///     /// A seven-layer hybrid.
///     pub struct TinyHybrid;
///     vocab: 32_000,
///     d_model: 512,
///     norm: rms_norm { eps: 1e-5 },
///     tie_embeddings: true,
///     pattern: "MM*M-J*",
///     blocks {
///         'M' => mamba2    { n_heads: 16, d_head: 64, d_state: 128, n_groups: 2, conv: 4 },
///         '*' => attention { n_heads: 8, n_kv_heads: 2, d_head: 64, rope: 10_000.0 },
///         '-' => mlp       { hidden: 2_048, act: relu2 },
///         'J' => jet_block { n_heads: 6, d_head: 64, expand_v: 2.0, conv: 4, reduction: 8 },
///     }
///     precision: tune [bf16, fp8_e4m3, nvfp4],
/// }
/// ```
///
/// The pattern has one character a block; groups and repeats such as `"(M-)4 *-"` are written out. Any
/// visible character can be bound to any kind of block, several characters to one kind. The fields of the
/// model and of each kind, with types and defaults, are listed in `jet::dsl::block::MODEL_FIELDS` and
/// `jet::dsl::block::KINDS`. Whatever is wrong is a compile error on the token that is wrong, all faults at
/// once.
///
/// For a type `TinyHybrid` the expansion has `TinyHybrid::SPEC`, `::spec()`, a constant for each of the
/// model's fields (`VOCAB`, `D_MODEL`, `LAYERS`, `PATTERN`, …), and implements `jet::Model`, which brings the
/// constructors from a checkpoint folder, a GGUF file or a seed. Inside a crate that is not `jet` under its
/// own name, say where it is with `crate: path`.
#[proc_macro]
pub fn jet_model(tokens: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let tokens = proc_macro2::TokenStream::from(tokens);
    match syntax::parse(tokens.clone()) {
        Ok(definition) => expand::definition(&definition),
        Err(errors) => expand::errors(&errors, syntax::header(tokens).ok().as_ref()),
    }
    .into()
}

#[cfg(test)]
mod tests;

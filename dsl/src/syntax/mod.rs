//! The parser of `jet_model!`, shared by the macro and by whatever reads a source file (feature `syntax`).
//!
//! ```text
//! /// A seven-layer hybrid.
//! pub struct TinyHybrid;
//! vocab: 32_000,
//! d_model: 512,
//! norm: rms_norm { eps: 1e-5 },
//! tie_embeddings: true,
//! pattern: "MM*M-J*",
//! blocks {
//!     'M' => mamba2    { n_heads: 16, d_head: 64, d_state: 128, n_groups: 2, conv: 4 },
//!     '*' => attention { n_heads: 8, n_kv_heads: 2, d_head: 64, rope: 10_000.0 },
//!     '-' => mlp       { hidden: 2_048, act: relu2 },
//!     'J' => jet_block { n_heads: 6, d_head: 64, expand_v: 2.0, conv: 4, reduction: 8 },
//! }
//! precision: tune [bf16, fp8_e4m3, nvfp4],
//! ```
//!
//! ```
//! let source = r#"
//!     jet_model! {
//!         pub struct Tiny;
//!         vocab: 100, d_model: 64, pattern: "M?",
//!         blocks { 'M' => mamba2 { n_heads: 4, d_head: 16, n_groups: 3 } }
//!     }
//! "#;
//! let error = jet_dsl::syntax::file(source).unwrap_err();
//! assert_eq!(error.faults.len(), 2, "an unknown symbol and groups that do not divide the heads");
//! ```
//!
//! What can stand where is in [`crate::block::MODEL_FIELDS`] and in the fields of [`crate::block::KINDS`].
//! All errors of a definition are collected and reported together, each on its token.

mod block;
mod entry;
mod fields;
mod file;
mod model;
mod report;
mod source;

pub use file::{FileError, Located, file};
pub use model::{Definition, Header, header, parse};

#[cfg(test)]
mod tests;

//! The language of models: patterns, blocks, [`ModelSpec`] and the rules they obey.
//!
//! A hybrid model is a string with one character a block and a table that says what each character stands for.
//! This crate reads that from three places, with one set of rules: the tokens of `jet_model!` ([`syntax`], with
//! the feature of that name), a checkpoint's `config.json` ([`import::hf`]) and GGUF metadata
//! ([`import::gguf`]). What comes out, a [`ModelSpec`], knows its weights, parameters, FLOPs and state sizes.
//!
//! It is the first stage of the pipeline and depends on no other crate of jet. It does no I/O, knows no device
//! and holds no weights; it parses and judges, and nothing else.
//!
//! ```
//! use jet_dsl::{import::hf, pattern};
//!
//! let (parsed, faults) = pattern::parse("(M-)2 *-");
//! assert!(faults.is_empty());
//! assert_eq!(parsed.flat(), "M-M-*-");
//!
//! let config = r#"{
//!     "model_type": "qwen2", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
//!     "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100
//! }"#;
//! let (spec, _) = hf::import(config, "tiny-qwen")?;
//! assert_eq!(spec.pattern, "*-*-");
//! assert_eq!(spec.params(), spec.weights().iter().map(|w| w.shape.elements()).sum::<u64>());
//! # Ok::<(), jet_dsl::import::ImportError>(())
//! ```
#![forbid(unsafe_code)]

pub mod block;
pub mod check;
pub mod diagnostic;
mod digest;
mod error;
pub mod import;
mod naming;
pub mod pattern;
mod spec;
pub mod suggest;
#[cfg(feature = "syntax")]
pub mod syntax;
pub mod weight;

pub use diagnostic::Diagnostic;
pub use error::SpecError;
pub use naming::{Naming, gguf_model_name, gguf_name};
pub use spec::{Binding, ModelSpec, Precision};

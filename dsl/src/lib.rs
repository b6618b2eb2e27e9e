//! The language of models: patterns, blocks, [`ModelSpec`] and the rules they obey.
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

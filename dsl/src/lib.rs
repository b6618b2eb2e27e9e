//! The language of models: patterns, blocks, [`ModelSpec`] and the rules they obey.
#![forbid(unsafe_code)]

pub mod block;
pub mod check;
pub mod diagnostic;
mod digest;
mod error;
mod naming;
pub mod pattern;
mod spec;
pub mod suggest;
#[cfg(feature = "syntax")]
pub mod syntax;
pub mod weight;

pub use diagnostic::Diagnostic;
pub use error::SpecError;
pub use naming::Naming;
pub use spec::{Binding, ModelSpec, Precision};

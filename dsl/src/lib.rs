//! The language of models: patterns, blocks, [`ModelSpec`] and the rules they obey.
#![forbid(unsafe_code)]

pub mod block;
pub mod diagnostic;
mod naming;
pub mod pattern;
mod spec;
pub mod suggest;
pub mod weight;

pub use diagnostic::Diagnostic;
pub use naming::Naming;
pub use spec::{Binding, ModelSpec, Precision};

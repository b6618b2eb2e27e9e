//! The language of models: patterns, blocks, [`ModelSpec`] and the rules they obey.
#![forbid(unsafe_code)]

pub mod block;
mod naming;
mod spec;
pub mod weight;

pub use naming::Naming;
pub use spec::{Binding, ModelSpec, Precision};

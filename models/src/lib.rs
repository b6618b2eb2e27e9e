//! Presets, weights, text: everything about a concrete model that is neither its declaration nor its execution.
//!
//! [`weights`] gives each weight of a [`dsl::ModelSpec`] from a checkpoint, a GGUF file or a seed; [`text`] turns
//! messages into token ids and ids into text, and picks the next id; [`hub`] finds what is already in the
//! Hugging Face cache of this machine. No kernels live here, and nothing is fetched.
#![deny(unsafe_code)]

pub mod generate;
pub mod hub;
mod model;
pub mod presets;
pub mod session;
pub mod target;
pub mod text;
pub mod weights;

pub use jet_dsl as dsl;
pub use jet_macros::jet_model;
pub use model::Model;
pub use session::Session;
pub use target::Target;

//! From a model to ops over named buffers, and the schedules of the kernels that run them.
//!
//! A [`jet_dsl::ModelSpec`] is lowered to a [`program::Program`], which [`fuse`] rewrites, [`verify`] checks and
//! [`memory`] gives a place in one arena. Nothing here touches a file, a clock or a device: the same model gives
//! the same bytes.
//!
//! ```
//! use jet_codegen::{LowerOptions, lower, program::Program};
//! # use jet_dsl::{Binding, ModelSpec, Naming, block::{Act, Block, Mlp}};
//! # let spec = ModelSpec {
//! #     name: "one".into(), vocab: 8, d_model: 16, norm_eps: 1e-5, tie_embeddings: true, max_context: 64,
//! #     pattern: "-".into(), naming: Naming::NemotronH, precisions: vec![].into(),
//! #     bindings: vec![Binding { symbol: '-', block: Block::Mlp(Mlp { hidden: 32, act: Act::Swiglu, bias: false }) }].into(),
//! # };
//! let program: Program = lower(&spec, LowerOptions::default());
//! assert!(program.to_string().contains("0.mlp.gate+up"));
//! ```
#![cfg_attr(not(feature = "nvrtc"), forbid(unsafe_code))]
#![deny(unsafe_code)]

pub mod arch;
pub mod emit;
pub mod fuse;
pub mod gpu;
pub mod kernel;
pub mod launch;
mod lower;
pub mod memory;
#[cfg(feature = "nvrtc")]
pub mod nvrtc;
pub mod op;
pub mod program;
pub mod schedule;
pub mod verify;

pub use lower::{LOGITS, LowerOptions, lower, lower_plain};

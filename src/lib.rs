//! jet: a compiler and autotuner for hybrid language models. Declare a model, tune it for a device, run it.
//!
//! This crate is the front door: it only re-exports what a program needs. A model is declared with [`jet_model!`],
//! which checks all of it at compile time and gives a type that implements [`Model`]:
//!
//! ```
//! use jet::prelude::*;
//!
//! jet_model! {
//!     /// A four-block hybrid.
//!     pub struct Small;
//!     vocab: 256,
//!     d_model: 64,
//!     norm: rms_norm { eps: 1e-5 },
//!     tie_embeddings: true,
//!     pattern: "M-*-",
//!     blocks {
//!         'M' => mamba2    { n_heads: 4, d_head: 32, d_state: 16, n_groups: 1, conv: 4 },
//!         '*' => attention { n_heads: 4, n_kv_heads: 2, d_head: 16, rope: 10_000.0 },
//!         '-' => mlp       { hidden: 128, act: relu2 },
//!     }
//! }
//!
//! assert_eq!(Small::SPEC.pattern, "M-*-");
//! assert_eq!(Small::PARAMS, Small::spec().params());
//! ```
//!
//! A session runs it: with the weights of a checkpoint ([`Model::from_pretrained`], [`Model::from_gguf`]), or with
//! random ones of the true shapes ([`Model::random`]) to try it out:
//!
//! ```
//! use jet::prelude::*;
//! use std::ops::ControlFlow;
//! # jet::jet_model! {
//! #     pub struct Small; vocab: 256, d_model: 64, norm: rms_norm { eps: 1e-5 }, tie_embeddings: true, pattern: "*-",
//! #     blocks {
//! #         '*' => attention { n_heads: 4, n_kv_heads: 2, d_head: 16, rope: 10_000.0 },
//! #         '-' => mlp { hidden: 128, act: relu2 },
//! #     }
//! # }
//!
//! let mut session = Small::random(7)?;
//! let options = GenerateOptions { max_tokens: 8, ..GenerateOptions::default() };
//! let answer = session.generate(&[1, 2, 3], &options, |_token| ControlFlow::Continue(()))?;
//! assert_eq!(answer.tokens.len(), 8);
//! assert_eq!(session.origin().weights, "random weights (seed 7)");
//! # Ok::<(), jet::SessionError>(())
//! ```
//!
//! Models that exist already need no declaration: [`Target::resolve`] takes a preset's name, a checkpoint folder or a
//! `.gguf` file, and [`Session::load`] runs it.
//!
//! Schedules found by `jet-tune` (or by the tuner as a library, feature `autotune`) are looked up by every session; how
//! many of them were found is [`Session::selection`]. Without any, each kernel runs with its default. A program that is
//! deployed embeds its schedules with [`schedule_pack!`].
#![forbid(unsafe_code)]

mod schedule_pack;

#[cfg(feature = "autotune")]
pub use jet_autotune as autotune;
pub use jet_cache as cache;
pub use jet_dsl as dsl;
pub use jet_macros::jet_model;
pub use jet_models::generate::{self, Conversation, Finish, GenerateOptions, Generated, Token};
pub use jet_models::session::{Arithmetic, LoadOptions, Schedules, Session, SessionError};
pub use jet_models::target::{Random, Target, TargetError};
pub use jet_models::{Model, hub, presets, text, weights};
pub use jet_runtime as runtime;
pub use jet_runtime::device::Precision;
pub use jet_runtime::recipe::Recipe;

/// What most programs use.
pub mod prelude {
    pub use crate::dsl::ModelSpec;
    pub use crate::text::{Message, Role, SamplerOptions, StopTokens};
    pub use crate::{
        Conversation, GenerateOptions, Generated, LoadOptions, Model, Precision, Session, Target, Token,
    };
    pub use crate::{SessionError, jet_model};
}

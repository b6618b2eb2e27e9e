//! What the binaries `jet` and `jet-tune` are made of, one module a subcommand.
#![forbid(unsafe_code)]

pub mod check;
mod command;
mod common;
pub mod jet;
pub mod jet_tune;
mod tune;

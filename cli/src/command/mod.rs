//! The subcommands of `jet`, one file each.

pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod emit;
pub(crate) mod generation;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod spec;

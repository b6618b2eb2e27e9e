//! The subcommands of `jet-tune`.

mod bars;
pub(crate) mod run;
pub(crate) mod show;

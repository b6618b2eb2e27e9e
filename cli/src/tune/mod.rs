//! The subcommands of `jet-tune`.

mod bars;
pub(crate) mod coverage;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod gc;
pub(crate) mod import;
pub(crate) mod landscape;
mod machine;
pub(crate) mod merge;
pub(crate) mod page;
pub(crate) mod pin;
pub(crate) mod plan;
pub(crate) mod precision;
pub(crate) mod run;
pub(crate) mod show;
mod source;
pub(crate) mod verify;
pub(crate) mod worker;

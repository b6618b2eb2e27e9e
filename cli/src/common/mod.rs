//! What all commands share: arguments, exit codes, logs, output, signals, tables.

pub(crate) mod args;
pub(crate) mod exit;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod output;
pub(crate) mod signal;
pub(crate) mod table;
pub(crate) mod units;

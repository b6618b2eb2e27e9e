//! The binaries as a user meets them: run as processes, judged by output and exit code.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod check_and_doctor;
mod help;
mod interrupts;
mod model;
mod plan;
mod precision;
mod run;
mod spec;
mod store;
mod targets;
mod tune;

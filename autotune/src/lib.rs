//! The tuner: for every task of a model, finds the schedule that is fastest on this device and right.
//!
//! ```text
//! plan → enumerate → validate → race → decide → confirm → commit → report
//! ```
//!
//! - [`tasks`]: which tasks a model has; identical ones folded
//! - [`subject`]: one problem set up alone, as a device (or an invented one, in tests) offers it; [`device`] joins the two
//! - [`measure`]: one sample of one candidate
//! - [`race`]: candidates against each other, interleaved, clear losers dropped early
//! - [`decide`]: who won, or that nobody did: the default wins ties
//! - [`tuner`]: the whole of it, with budget, interruption and resumption; [`book`]: where it keeps what it finds
//! - [`journal`]: what a run has done so far, for the case that it is killed
//! - [`fleet`]: the same work shared by processes and hosts; [`estimate`]: how long it will take
//! - [`verify`]: whether stored schedules still hold
//! - [`worker`]: the device in a process of its own, so that what a candidate breaks it breaks for itself alone
//! - [`absent`]: schedules for a GPU that is not there, by a cost model
//! - [`precision`]: which arithmetic each part of a model gets, under a bound on what it does to the answers
//! - [`progress`], [`report`]: what a person sees meanwhile and afterwards
//!
//! A candidate is timed only after its output was compared with the reference, all of it, over a poisoned buffer. A gain
//! that is under two per cent or inside the noise is no gain. Each finished task is committed at once, so a run that is
//! stopped or killed goes on where it was.
#![forbid(unsafe_code)]

pub mod absent;
mod assumed;
pub mod book;
pub mod clock;
mod conditions;
pub mod decide;
pub mod device;
mod error;
pub mod estimate;
pub mod fleet;
mod guard;
pub mod html;
pub mod journal;
pub mod landscape;
pub mod measure;
pub mod options;
pub mod precision;
pub mod progress;
pub mod race;
pub mod report;
mod roofline;
pub mod search;
pub mod stats;
pub mod subject;
mod target;
pub mod tasks;
pub mod tuner;
pub mod verify;
pub mod worker;

pub use device::{DeviceBench, plan};
pub use error::TuneError;
pub use fleet::Shard;
pub use journal::Journal;
pub use options::{Effort, Options, parse_budget};
pub use progress::{Event, Progress, Silent};
pub use report::{Outcome, Report, TaskReport};
pub use target::plan_target;
pub use tasks::Task;
pub use tuner::Tuner;

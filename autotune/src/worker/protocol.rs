//! What a tuner and its worker say to each other: one JSON object a line, a question and then its answer. Between them the
//! worker may give signs of life.

use crate::subject::{Details, Errors};
use crate::tasks::Task;
use jet_cache::Grade;
use jet_codegen::schedule::{Problem, Values};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of all below. Tuner and worker are one program; where they are not, they must not talk.
pub const PROTOCOL: u32 = 1;

/// What the tasks of a model are asked for with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanAsk {
    /// The target as on the command line.
    pub target: String,
    /// Whether its weights are to be taken as random ones.
    pub random: bool,
    /// How random matrices are stored, by name.
    pub random_format: String,
    /// The arithmetic of the parts that are not listed, by name.
    pub precision: String,
    /// Parts of the model whose arithmetic is another, both by name.
    #[serde(default)]
    pub parts: BTreeMap<String, String>,
    /// Token counts.
    pub tokens: Vec<usize>,
}

/// A device as its worker found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// As on the command line.
    pub name: String,
    /// One line for people.
    pub describe: String,
    /// Facts that are part of every key.
    pub hard: BTreeMap<String, String>,
    /// Facts that may differ where an entry is used.
    pub soft: BTreeMap<String, String>,
    /// Names of the families that have something to tune.
    pub families: Vec<String>,
    /// What its times are worth.
    pub grade: Grade,
    /// Name and version of the reference.
    pub reference: String,
    /// Compiler and version; empty where kernels are part of the program.
    pub toolchain: String,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// Who are you? `beat_ms` is how often a sign of life is wanted.
    Hello { protocol: u32, jet: String, beat_ms: u64 },
    /// Open a device.
    Device { name: String, threads: usize },
    /// Which tasks does a model have on it?
    Plan(PlanAsk),
    /// Set a problem up, in place of the one before.
    Open { problem: Problem },
    /// Make this the schedule of the next runs.
    Prepare { values: Values },
    /// Compare the output with the reference.
    Validate,
    /// Run so many times.
    Time { runs: usize },
    /// Under what conditions?
    Conditions,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// To [`Ask::Hello`].
    Hello { protocol: u32, jet: String },
    /// To [`Ask::Device`].
    Device(Description),
    /// To [`Ask::Plan`].
    Plan { tasks: Vec<Task> },
    /// To [`Ask::Open`]: bytes and operations at least, and seconds at least, where there is a roofline.
    Open { floor: (u64, u64), bound: Option<f64> },
    /// To [`Ask::Prepare`].
    Prepared,
    /// To [`Ask::Validate`].
    Validated { errors: Wire, details: Details },
    /// To [`Ask::Time`]: no number where it was none.
    Timed { seconds: Option<f64> },
    /// To [`Ask::Conditions`].
    Conditions { facts: BTreeMap<String, String> },
    /// It cannot be done; the worker is well.
    Refused { reason: String },
    /// The device is gone, and with it the worker.
    Lost { reason: String },
    /// A sign of life.
    Beat,
}

/// Errors without the numbers that JSON does not have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wire {
    max_abs: Option<f64>,
    rel_rms: Option<f64>,
    allowed: Option<f64>,
}

/// The number, unless it is infinite or none.
pub(crate) fn finite(number: f64) -> Option<f64> {
    number.is_finite().then_some(number)
}

impl From<Errors> for Wire {
    fn from(e: Errors) -> Self {
        Self { max_abs: finite(e.max_abs), rel_rms: finite(e.rel_rms), allowed: finite(e.allowed) }
    }
}

impl From<Wire> for Errors {
    fn from(w: Wire) -> Self {
        let number = |x: Option<f64>| x.unwrap_or(f64::NAN);
        Self { max_abs: number(w.max_abs), rel_rms: number(w.rel_rms), allowed: number(w.allowed) }
    }
}

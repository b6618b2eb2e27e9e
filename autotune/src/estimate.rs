//! How long a run is going to take, before it begins.

use crate::measure;
use crate::options::Effort;
use crate::race::Rules;
use crate::tasks::Task;
use jet_cache::{Entry, Status};
use jet_codegen::schedule::{Family, Values};
use serde::Serialize;

/// One task of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planned {
    /// Short name.
    pub id: String,
    /// What is computed.
    pub task: String,
    /// Candidates that will be tried at most.
    pub candidates: usize,
    /// Whether it is finished already.
    pub stored: bool,
    /// About how many seconds it takes.
    pub seconds: f64,
}

/// Seconds for setting a problem up and for loading a candidate, where nothing better is known.
const SETUP: f64 = 0.05;
const LOAD: f64 = 2e-3;

/// Seconds of one run, where nothing near is stored.
const RUN: f64 = 200e-6;

/// The part of the candidates that runs to the end; the others are dropped early.
const STAY: f64 = 0.25;

/// Samples of a candidate that is dropped.
const DROPPED: f64 = 4.0;

/// What `task` is going to cost. Times of runs come from the nearest stored record of its family; the rest is the race's own
/// rules.
pub fn estimate(family: &dyn Family, task: &Task, effort: Effort, again: bool, records: &[Entry]) -> Planned {
    let own = records.iter().find(|entry| entry.key.store_key() == task.key.store_key());
    let thorough = |e: &&Entry| {
        jet_cache::merge::effort_rank(&e.search.effort) >= jet_cache::merge::effort_rank(effort.name())
    };
    let legal = |e: &&Entry| family.legal(&task.problem, &Values(e.schedule.clone())).is_ok();
    let stored = !again && own.filter(|e| e.search.complete).filter(thorough).filter(legal).is_some();
    let candidates = family.candidates(&task.problem).len().min(effort.candidates());
    let related =
        records.iter().filter(|e| e.key.fields().family == task.problem.family && e.timing.is_some());
    let nearest = related.filter(|e| e.status != Status::Assumed).max_by_key(|e| task.key.agreement(&e.key));
    let run = nearest.and_then(|e| e.timing.as_ref()).map_or(RUN, |t| t.default_ns * 1e-9);
    let rules = Rules::default();
    let measure::Rules { sample_seconds, .. } = rules.sample;
    let sample = run + sample_seconds.max(run) + LOAD;
    let rounds = rules.rounds as f64;
    let racing = candidates as f64 * (STAY * rounds + (1.0 - STAY) * DROPPED) * sample;
    let validating = candidates as f64 * (LOAD + 2.0 * run);
    let confirming = if candidates > 1 { 2.0 * rounds * sample } else { 0.0 };
    let seconds = if stored { 0.0 } else { SETUP + validating + racing + confirming };
    Planned { id: task.key.short_id(), task: task.key.label(), candidates, stored, seconds }
}

//! What a task is given of which nothing was found out.

use crate::tasks::Task;
use jet_cache::{Entry, Grade};
use jet_codegen::schedule::{Family, Values};

/// What a session would take for `task` if there were no record of its own: the schedule of the nearer of the two
/// measured buckets around it, where it is legal, else the family's default. A record that says so must not make
/// the session slower than none.
pub(crate) fn schedule(family: &dyn Family, task: &Task, records: &[Entry]) -> Values {
    let key = task.key.store_key();
    let default = || family.default_values(&task.problem);
    let others =
        || records.iter().filter(|e| e.key.store_key().task() == key.task() && e.key.store_key() != key);
    let measured = |entry: &&Entry| {
        let legal = family.legal(&task.problem, &Values(entry.schedule.clone())).is_ok();
        legal && entry.grade == Grade::Measured
    };
    let bucket = |entry: &&Entry| entry.key.store_key().bucket();
    let below = others().filter(|e| bucket(e) < key.bucket()).max_by_key(bucket).filter(measured);
    let above = others().filter(|e| bucket(e) > key.bucket()).min_by_key(bucket).filter(measured);
    let (Some(below), Some(above)) = (below, above) else { return default() };
    // Buckets grow by factors, so nearness is a matter of ratios.
    let here = key.bucket() as f64;
    let nearer_low = here / (bucket(&below).max(1) as f64) <= bucket(&above) as f64 / here.max(1.0);
    Values(if nearer_low { below } else { above }.schedule.clone())
}

//! Whether a cache serves a model: every task of it, and the records that no task asks for. Without this, records that
//! stop matching go unnoticed, and the model is only slower.

use crate::entry::NamedIntegers;
use crate::key::{StoreKey, TaskKey};
use crate::lookup::{Legal, Rung, ScheduleCache};
use serde::Serialize;
use std::collections::BTreeSet;

/// One task and what serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Covered {
    /// The task's short name.
    pub id: String,
    /// Its label.
    pub task: String,
    /// The step of the ladder: `exact`, `bucket` or `default`.
    pub rung: String,
    /// What is used; absent where the family's default is.
    pub schedule: Option<NamedIntegers>,
    /// `verified`, `imported` or `modelled`; absent where nothing is stored.
    pub status: Option<String>,
    /// Soft facts that were others when the record was made.
    pub soft: Vec<String>,
    /// Why there is no exact hit: the reason, and the nearest record with the first field that differs.
    pub reason: String,
}

/// A record that no task asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unused {
    /// The task's short name.
    pub id: String,
    /// Its label.
    pub task: String,
}

/// How a cache serves a list of tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Every task once, in order.
    pub tasks: Vec<Covered>,
    /// Records of other tasks, by label.
    pub unused: Vec<Unused>,
}

impl Coverage {
    /// How many tasks this rung serves.
    pub fn count(&self, rung: Rung) -> usize {
        let word = rung.to_string();
        self.tasks.iter().filter(|task| task.rung == word).count()
    }

    /// Whether every task has a record of its own.
    pub fn is_complete(&self) -> bool {
        self.count(Rung::Exact) == self.tasks.len()
    }

    /// Whether every task has a record of its own that was made under the present conditions.
    pub fn is_fresh(&self) -> bool {
        self.is_complete() && self.tasks.iter().all(|task| task.soft.is_empty())
    }
}

/// Looks every task up, as a session would. The look-ups count in [`ScheduleCache::counts`]; in a frozen cache a miss
/// is listed like any other.
pub fn coverage<'a>(
    cache: &ScheduleCache,
    tasks: impl IntoIterator<Item = (&'a TaskKey, Legal<'a>)>,
) -> Coverage {
    let mut out = Coverage::default();
    let mut asked: BTreeSet<StoreKey> = BTreeSet::new();
    for (key, legal) in tasks {
        if asked.insert(*key.store_key()) {
            out.tasks.push(covered(cache, key, legal));
        }
    }
    let unused = cache.entries().filter(|entry| !asked.contains(entry.key.store_key()));
    let unused: BTreeSet<_> = unused.map(|entry| (entry.key.label(), entry.key.short_id())).collect();
    out.unused.extend(unused.into_iter().map(|(task, id)| Unused { id, task }));
    out
}

fn covered(cache: &ScheduleCache, key: &TaskKey, legal: Legal<'_>) -> Covered {
    let mut task = Covered {
        id: key.short_id(),
        task: key.label(),
        rung: Rung::Default.to_string(),
        schedule: None,
        status: None,
        soft: Vec::new(),
        reason: String::new(),
    };
    match cache.lookup(key, legal) {
        Ok(found) => {
            task.rung = found.rung.to_string();
            task.status = found.entry.as_ref().map(|entry| entry.status.to_string());
            (task.schedule, task.soft, task.reason) =
                (found.schedule().cloned(), found.soft, found.reason.into_owned());
        }
        Err(frozen) => task.reason = frozen.to_string(),
    }
    if task.rung != Rung::Exact.to_string()
        && let Some(near) = cache.explain(key)
    {
        task.reason = format!("{}; {near}", task.reason);
    }
    task
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::sample;
    use crate::lookup::Mode;
    use std::collections::BTreeMap;

    fn cache(mode: Mode) -> ScheduleCache {
        let cache = ScheduleCache::empty(mode);
        [16, 256].into_iter().for_each(|tokens| cache.insert(sample(tokens, 8)));
        cache
    }

    fn cover(cache: &ScheduleCache, tokens: &[i64]) -> Coverage {
        let keys: Vec<TaskKey> = tokens.iter().map(|t| sample(*t, 1).key).collect();
        coverage(cache, keys.iter().map(|key| (key, &(|_: &NamedIntegers| Ok(())) as Legal<'_>)))
    }

    #[test]
    fn every_task_is_listed_once_with_what_serves_it() {
        let found = cover(&cache(Mode::Default), &[16, 64, 8, 16]);
        let rungs: Vec<_> = found.tasks.iter().map(|t| t.rung.as_str()).collect();
        assert_eq!(rungs, ["exact", "bucket", "default"]);
        assert!(found.tasks[2].reason.contains("nearest is gemm"), "{}", found.tasks[2].reason);
        assert_eq!(found.tasks[0].status.as_deref(), Some("verified"));
        assert_eq!(found.unused.len(), 1);
        assert!(found.unused[0].task.contains("tokens=256"));
        assert!(!found.is_complete());
    }

    #[test]
    fn a_complete_cache_is_complete_and_an_aged_one_is_not_fresh() {
        let full = cover(&cache(Mode::Frozen), &[256, 16]);
        assert!(full.is_complete() && full.is_fresh() && full.unused.is_empty());
        let aged = cache(Mode::Default).here(BTreeMap::from([("os".to_owned(), "plan9".to_owned())]));
        let found = cover(&aged, &[16]);
        assert!(found.is_complete() && !found.is_fresh());
        let frozen = cover(&cache(Mode::Frozen), &[8]);
        assert!(frozen.tasks[0].reason.contains("frozen"), "{}", frozen.tasks[0].reason);
    }

    #[test]
    fn what_is_not_legal_is_not_covered() {
        let cache = cache(Mode::Default);
        let key = sample(16, 1).key;
        let refuse: Legal<'_> = &|_| Err("too wide".to_owned());
        let found = coverage(&cache, [(&key, refuse)]);
        assert!(found.tasks[0].reason.contains("too wide") && found.count(Rung::Default) == 1);
    }
}

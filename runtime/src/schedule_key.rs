//! The one place where a device's problem becomes a key of the schedule cache: the tuner writes under the key that a
//! session reads with.

use crate::device::Fingerprint;
use crate::select::{Hit, ScheduleSource};
use jet_cache::{Mode, Rung, ScheduleCache, TaskFields, TaskKey};
use jet_codegen::schedule::{Family, Problem, Values};
use std::borrow::Cow;

/// Version of the code behind all kernels. Raised when a change makes stored times meaningless for every family; for a
/// change inside one family its schedule's own version is raised.
pub const KERNELS: &str = "kernels-1";

/// The name under which a fingerprint's facts hold the kind of device.
const KIND: &str = "device";

/// The device as the schedule cache knows it: the hard facts of `fingerprint`; soft ones are no part of a key.
pub fn cached_device(fingerprint: &Fingerprint) -> jet_cache::Fingerprint {
    let kind = fingerprint.hard.get(KIND).map_or("unknown", String::as_str);
    let facts = fingerprint.hard.iter().filter(|(name, _)| *name != KIND);
    facts.fold(jet_cache::Fingerprint::new(kind), |device, (name, value)| device.with(name, value))
}

/// The key of `problem` in the schedule cache, for `family` on `device` (see [`cached_device`]).
pub fn schedule_key(device: &jet_cache::Fingerprint, family: &dyn Family, problem: &Problem) -> TaskKey {
    let fields = TaskFields::new(device.clone(), family.name(), family.version(), &problem.format, KERNELS);
    TaskKey::new(fields.dims(problem.dims.clone()))
}

/// The schedule cache as a source of schedules for one device.
#[derive(Debug)]
pub struct CachedSchedules<'a> {
    cache: &'a ScheduleCache,
    device: jet_cache::Fingerprint,
}

impl<'a> CachedSchedules<'a> {
    /// What `cache` holds for the device with this fingerprint.
    pub fn new(cache: &'a ScheduleCache, fingerprint: &Fingerprint) -> Self {
        Self { cache, device: cached_device(fingerprint) }
    }
}

impl ScheduleSource for CachedSchedules<'_> {
    fn lookup(&self, family: &dyn Family, problem: &Problem) -> Option<(Values, Hit)> {
        let key = schedule_key(&self.device, family, problem);
        let legal = |values: &jet_cache::NamedIntegers| {
            family.legal(problem, &Values(values.clone())).map_err(|why| why.to_string())
        };
        // Only a frozen cache refuses, and the caller learns of that from `frozen`.
        let found = self.cache.lookup(&key, &legal).ok()?;
        let hit = match found.rung {
            Rung::Exact => Hit::Exact,
            Rung::Bucket => Hit::Bucket,
            Rung::Default => return None,
        };
        Some((Values(found.schedule()?.clone()), hit))
    }

    fn kernel(&self, family: &dyn Family, problem: &Problem, name: &str) -> Option<Vec<u8>> {
        let key = schedule_key(&self.device, family, problem);
        match self.cache.kernel(&key, name) {
            Ok(found) => found.map(Cow::into_owned),
            Err(e) => {
                tracing::warn!(task = %problem, "a stored kernel is not used: {e}");
                None
            }
        }
    }

    fn frozen(&self) -> bool {
        self.cache.mode() == Mode::Frozen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::Selection;
    use jet_cache::Entry;
    use jet_codegen::schedule::{Illegal, Param};
    use proptest::collection::vec;
    use proptest::prelude::*;

    struct Demo;

    impl Family for Demo {
        fn name(&self) -> &'static str {
            "demo"
        }
        fn version(&self) -> u32 {
            2
        }
        fn params(&self) -> &'static [Param] {
            const PARAMS: &[Param] =
                &[Param { name: "chunk", values: &[16, 32], default: 32, doc: "Tokens." }];
            PARAMS
        }
        fn legal(&self, problem: &Problem, values: &Values) -> Result<(), Illegal> {
            let chunk = values.get("chunk").unwrap_or(0);
            if chunk as usize <= problem.dim("n") {
                Ok(())
            } else {
                Err(Illegal("the chunk is too long".into()))
            }
        }
    }

    fn fingerprint(workers: &str) -> Fingerprint {
        let hard = [("device", "cpu"), ("model", "a processor"), ("workers", workers)];
        let own = |(k, v): (&str, &str)| (k.to_owned(), v.to_owned());
        Fingerprint { hard: hard.map(own).into(), soft: [("kernel", "1.2")].map(own).into() }
    }

    fn problem(tokens: usize) -> Problem {
        Problem::new("demo", "f32", &[("n", 64), ("tokens", tokens)])
    }

    fn stored(device: &Fingerprint, tokens: usize, chunk: i64) -> Entry {
        let key = schedule_key(&cached_device(device), &Demo, &problem(tokens));
        serde_json::from_value(serde_json::json!({
            "key": key, "schedule": { "chunk": chunk }, "status": "verified", "grade": "measured", "origin": "local"
        }))
        .unwrap()
    }

    #[test]
    fn what_was_stored_is_found_by_the_same_device_only() {
        let cache = ScheduleCache::empty(Mode::Default);
        cache.insert(stored(&fingerprint("2"), 64, 16));
        let here = CachedSchedules::new(&cache, &fingerprint("2"));
        let mut selection = Selection::default();
        let values = selection.choose(&Demo, &problem(64), &here).unwrap();
        assert_eq!(values.get("chunk"), Some(16));
        assert_eq!(selection.summary(), "exact 1, bucket 0, default 0");
        let elsewhere = CachedSchedules::new(&cache, &fingerprint("3"));
        let mut selection = Selection::default();
        assert_eq!(selection.choose(&Demo, &problem(64), &elsewhere).unwrap().get("chunk"), Some(32));
        assert_eq!(selection.count(Hit::Default), 1);
    }

    /// Its chunk is a multiple of the alignment, and no longer than `n`.
    struct Aligned;

    impl Family for Aligned {
        fn name(&self) -> &'static str {
            "aligned"
        }
        fn version(&self) -> u32 {
            1
        }
        fn params(&self) -> &'static [Param] {
            const PARAMS: &[Param] =
                &[Param { name: "chunk", values: &[1, 2, 4, 8, 16, 32], default: 1, doc: "Tokens." }];
            PARAMS
        }
        fn legal(&self, p: &Problem, values: &Values) -> Result<(), Illegal> {
            let chunk = values.get("chunk").unwrap_or(0) as usize;
            match chunk.is_multiple_of(p.dim("align")) && chunk <= p.dim("n") + p.dim("tokens") {
                true => Ok(()),
                false => Err(Illegal(format!("a chunk of {chunk}"))),
            }
        }
    }

    proptest! {
        // Whatever is stored, for whatever shapes: also records that were never legal for their own.
        #[test]
        fn shapes_that_share_a_bucket_never_share_an_illegal_schedule(
            stored in vec((0usize..3, 0usize..3, 0usize..4, 0usize..6), 1..40),
            asked in vec((0usize..3, 0usize..3, 0usize..4), 1..20),
        ) {
            let shape = |n: usize, align: usize, tokens: usize| {
                let dims = [("n", [1, 8, 20][n]), ("align", [1, 4, 8][align]), ("tokens", [1, 8, 64, 256][tokens])];
                Problem::new("aligned", "f32", &dims)
            };
            let cache = ScheduleCache::empty(Mode::Default);
            let device = cached_device(&fingerprint("2"));
            for (n, align, tokens, chunk) in stored {
                let key = schedule_key(&device, &Aligned, &shape(n, align, tokens));
                let entry: Entry = serde_json::from_value(serde_json::json!({
                    "key": key, "schedule": { "chunk": 1 << chunk }, "status": "verified", "grade": "measured",
                    "origin": "local"
                })).unwrap();
                cache.insert(entry);
            }
            let source = CachedSchedules::new(&cache, &fingerprint("2"));
            for (n, align, tokens) in asked {
                let problem = shape(n, align, tokens);
                if let Some((values, hit)) = source.lookup(&Aligned, &problem) {
                    prop_assert!(Aligned.legal(&problem, &values).is_ok(), "{problem}: {values}, {hit:?}");
                }
            }
        }
    }

    #[test]
    fn soft_facts_are_no_part_of_the_key() {
        let mut newer = fingerprint("2");
        newer.soft.insert("kernel".into(), "1.3".into());
        let key = |f: &Fingerprint| schedule_key(&cached_device(f), &Demo, &problem(1));
        assert_eq!(key(&newer), key(&fingerprint("2")));
        assert_eq!(key(&newer).fields().device.kind, "cpu");
        assert!(!key(&newer).fields().device.facts.contains_key("device"));
    }

    #[test]
    fn a_bucket_between_two_measured_ones_serves() {
        let cache = ScheduleCache::empty(Mode::Default);
        cache.insert(stored(&fingerprint("2"), 8, 16));
        cache.insert(stored(&fingerprint("2"), 256, 16));
        let source = CachedSchedules::new(&cache, &fingerprint("2"));
        assert_eq!(source.lookup(&Demo, &problem(64)).map(|(_, hit)| hit), Some(Hit::Bucket));
    }

    #[test]
    fn a_frozen_cache_makes_a_miss_an_error() {
        let cache = ScheduleCache::empty(Mode::Frozen);
        let source = CachedSchedules::new(&cache, &fingerprint("2"));
        let error = Selection::default().choose(&Demo, &problem(64), &source).unwrap_err();
        assert!(error.to_string().contains("demo[n=64 tokens=64] f32"), "{error}");
    }
}

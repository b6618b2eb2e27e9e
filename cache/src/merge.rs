//! Which of two records of one task is kept.
//!
//! Verified beats imported beats modelled; among equals the better *evidence* wins: the search that ended by itself, the
//! more thorough effort, more samples, the later time. The smaller time is never a reason: on a noisy machine it would
//! choose the luckiest run. The order is total, so the result does not depend on the order of the arguments.

use crate::entry::{Entry, NamedIntegers};
use crate::error::CacheError;
use crate::key::StoreKey;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Two records of one task that name different schedules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The task's label.
    pub task: String,
    /// The schedule that is kept.
    pub kept: NamedIntegers,
    /// The schedule that is not.
    pub dropped: NamedIntegers,
}

/// Compares two records of one task by what stands behind them; greater is kept.
///
/// # Errors
/// [`CacheError::InvalidEntry`] for a record that could not be stored.
pub fn compare(a: &Entry, b: &Entry) -> Result<Ordering, CacheError> {
    let rank = |e: &Entry| {
        (
            e.status,
            e.grade,
            e.search.complete,
            effort_rank(&e.search.effort),
            e.timing.as_ref().map_or(0, |t| t.samples),
            e.provenance.time,
            e.origin,
        )
    };
    // The stored bytes decide what is left: an arbitrary order, but the same one everywhere.
    match rank(a).cmp(&rank(b)) {
        Ordering::Equal => Ok(a.encode()?.cmp(&b.encode()?)),
        decided => Ok(decided),
    }
}

/// The order of the effort levels; what is not known ranks lowest.
pub fn effort_rank(effort: &str) -> u8 {
    match effort {
        "full" => 3,
        "quick" => 2,
        "none" => 1,
        _ => 0,
    }
}

/// Merges records from any number of sources: one per task, in store order, and the conflicts in the same order.
///
/// # Errors
/// As [`compare`].
pub fn merge(
    sources: impl IntoIterator<Item = Entry>,
) -> Result<(BTreeMap<StoreKey, Entry>, Vec<Conflict>), CacheError> {
    let mut groups: BTreeMap<StoreKey, Vec<Entry>> = BTreeMap::new();
    for entry in sources {
        entry.check()?;
        groups.entry(*entry.key.store_key()).or_default().push(entry);
    }
    let (mut kept, mut conflicts) = (BTreeMap::new(), Vec::new());
    for (key, mut group) in groups {
        let mut best = group.swap_remove(0);
        let mut losers = Vec::new();
        for entry in group {
            let stronger = compare(&entry, &best)? == Ordering::Greater;
            losers.push(if stronger { std::mem::replace(&mut best, entry) } else { entry });
        }
        let mut dropped: Vec<_> =
            losers.into_iter().map(|l| l.schedule).filter(|s| *s != best.schedule).collect();
        dropped.sort();
        dropped.dedup();
        conflicts.extend(dropped.into_iter().map(|dropped| Conflict {
            task: best.key.label(),
            kept: best.schedule.clone(),
            dropped,
        }));
        kept.insert(key, best);
    }
    Ok((kept, conflicts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::sample;
    use crate::entry::{Grade, Status};
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = Entry> {
        (1_i64..3, 1_i64..4, 0_usize..3, 0_u32..3, any::<bool>(), 0_u64..2, 0_usize..3, 1_u32..5).prop_map(
            |(tokens, tile, status, samples, complete, time, effort, median)| {
                let mut e = sample(tokens, tile);
                e.status = [Status::Modelled, Status::Imported, Status::Verified][status];
                e.grade = if e.status == Status::Modelled { Grade::Modelled } else { Grade::Measured };
                e.search.complete = complete;
                e.search.effort = ["none", "quick", "full"][effort].to_owned();
                e.provenance.time = time;
                let t = e.timing.as_mut().unwrap();
                t.samples = samples;
                t.median_ns = f64::from(median);
                e
            },
        )
    }

    proptest! {
        #[test]
        fn merging_does_not_depend_on_the_order(
            entries in prop::collection::vec(entry(), 0..8), seed in any::<u64>()
        ) {
            let mut shuffled = entries.clone();
            let mut state = seed;
            for i in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(i, (state >> 33) as usize % (i + 1));
            }
            prop_assert_eq!(merge(entries).unwrap(), merge(shuffled).unwrap());
        }

        #[test]
        fn merging_in_two_steps_is_merging_at_once(
            a in prop::collection::vec(entry(), 0..5), b in prop::collection::vec(entry(), 0..5)
        ) {
            let at_once = merge(a.iter().chain(&b).cloned()).unwrap().0;
            let first = merge(a).unwrap().0;
            let in_steps = merge(first.into_values().chain(b)).unwrap().0;
            prop_assert_eq!(&at_once, &in_steps);
            let again = merge(at_once.values().chain(at_once.values()).cloned()).unwrap();
            prop_assert_eq!(again, (at_once, vec![]));
        }
    }

    #[test]
    fn better_evidence_beats_a_smaller_time() {
        let (mut thorough, mut lucky) = (sample(64, 8), sample(64, 16));
        thorough.timing.as_mut().unwrap().samples = 50;
        lucky.timing.as_mut().unwrap().median_ns = 1.0;
        let (kept, conflicts) = merge([lucky, thorough.clone()]).unwrap();
        assert_eq!(kept.into_values().collect::<Vec<_>>(), [thorough]);
        assert_eq!(conflicts[0].dropped["tile"], 16);
    }

    #[test]
    fn verified_beats_imported_beats_modelled() {
        let mut modelled = sample(64, 1);
        (modelled.status, modelled.grade) = (Status::Modelled, Grade::Modelled);
        modelled.timing.as_mut().unwrap().samples = 900;
        let mut imported = sample(64, 2);
        imported.status = Status::Imported;
        let tile =
            |entries: Vec<Entry>| merge(entries).unwrap().0.into_values().next().unwrap().schedule["tile"];
        assert_eq!(tile(vec![modelled.clone(), imported.clone()]), 2);
        assert_eq!(tile(vec![sample(64, 3), imported, modelled]), 3);
    }
}

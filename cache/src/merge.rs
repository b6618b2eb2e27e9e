//! Which of two records of one task is kept, and the merging of whole packs by that rule.
//!
//! What a person pinned stays. Else verified beats imported beats modelled beats assumed; among equals the better *evidence* wins: the search that ended by itself, the
//! more thorough effort, more samples, the later time. The smaller time is never a reason: on a noisy machine it would
//! choose the luckiest run. The order is total, so the result does not depend on the order of the arguments.

use crate::contents::Contents;
use crate::entry::{Entry, NamedIntegers, Status, schedule_text};
use crate::error::CacheError;
use crate::failure::Failure;
use crate::key::StoreKey;
use crate::pack::Manifest;
use crate::recipe::StoredRecipe;
use crate::trials::Trials;
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Two records of one task that name different schedules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The task's short name.
    pub id: String,
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
            e.pinned,
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
            // An assumed record claims nothing that another could contradict.
            losers.into_iter().filter(|l| l.status != Status::Assumed).map(|l| l.schedule).filter(|s| *s != best.schedule).collect();
        dropped.sort();
        dropped.dedup();
        conflicts.extend(dropped.into_iter().map(|dropped| Conflict {
            id: best.key.short_id(),
            task: best.key.label(),
            kept: best.schedule.clone(),
            dropped,
        }));
        kept.insert(key, best);
    }
    Ok((kept, conflicts))
}

/// Merges whole packs: entries as [`merge`] does, of side records the later and longer, of failures the earlier, of
/// recipes the later, of kernels those that a kept entry names. The result does not depend on the order of the sources.
///
/// # Errors
/// As [`compare`].
pub fn merge_contents(
    sources: impl IntoIterator<Item = Contents>,
) -> Result<(Contents, Vec<Conflict>), CacheError> {
    let mut all = Contents::default();
    let mut entries = Vec::new();
    for source in sources {
        entries.extend(source.entries.into_values());
        for (key, trials) in source.trials {
            keep_greater(&mut all.trials, key, trials, rank_of_trials)?;
        }
        for (key, failure) in source.failures {
            keep_greater(&mut all.failures, key, failure, rank_of_failure)?;
        }
        for (key, recipe) in source.recipes {
            keep_greater(&mut all.recipes, key, recipe, rank_of_recipe)?;
        }
        all.cubins.extend(source.cubins);
    }
    let (kept, conflicts) = merge(entries)?;
    all.entries = kept;
    all.bind_cubins();
    Ok((all, conflicts))
}

/// Fails where there are conflicts: for those who want the sources to agree.
///
/// # Errors
/// [`CacheError::Conflicts`] with the first of them.
pub fn strictly(conflicts: &[Conflict]) -> Result<(), CacheError> {
    let Some(c) = conflicts.first() else { return Ok(()) };
    let first = format!("{} ({} or {})", c.task, schedule_text(&c.kept), schedule_text(&c.dropped));
    Err(CacheError::Conflicts { count: conflicts.len(), first })
}

/// The manifest of a merged pack, from those of its sources: independent of their order.
pub fn merge_manifests<'a>(
    merged: &Contents,
    sources: impl IntoIterator<Item = &'a Manifest>,
    jet: &str,
) -> Manifest {
    let (mut created, mut notes) = (0, Vec::new());
    for source in sources {
        created = created.max(source.created);
        notes.extend(source.note.split("; ").filter(|note| !note.is_empty()).map(str::to_owned));
    }
    notes.sort();
    notes.dedup();
    Manifest { note: notes.join("; "), ..Manifest::describe(merged.entries.values(), jet, created) }
}

pub(crate) type Rank = (u64, usize, Vec<u8>);

fn rank_of_trials(trials: &Trials) -> Result<Rank, CacheError> {
    Ok((trials.provenance.time, trials.trials.len(), trials.encode()?))
}

/// The later recipe knows the schedules of its time.
pub(crate) fn rank_of_recipe(recipe: &StoredRecipe) -> Result<Rank, CacheError> {
    Ok((recipe.provenance.time, 0, recipe.encode()?))
}

/// The first to find out is the one to ask.
fn rank_of_failure(failure: &Failure) -> Result<Rank, CacheError> {
    Ok((u64::MAX - failure.provenance.time, 0, failure.encode()?))
}

/// Keeps the record of the higher rank, and says whether that is the new one.
pub(crate) fn keep_greater<T>(
    all: &mut BTreeMap<StoreKey, T>,
    key: StoreKey,
    record: T,
    rank: fn(&T) -> Result<Rank, CacheError>,
) -> Result<bool, CacheError> {
    let stays = match all.get(&key) {
        Some(there) => rank(there)? >= rank(&record)?,
        None => false,
    };
    if !stays {
        all.insert(key, record);
    }
    Ok(!stays)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::entry::CubinRef;
    use crate::entry::Grade;
    use crate::entry::tests::{assumed, sample};
    use crate::envelope::Stored as _;
    use crate::failure::tests::failure;
    use crate::trials::tests::trials;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = Entry> {
        (1_i64..3, 1_i64..4, 0_usize..4, 0_u32..3, any::<bool>(), 0_u64..2, 0_usize..3, 1_u32..5).prop_map(
            |(tokens, tile, status, samples, complete, time, effort, median)| {
                let mut e = sample(tokens, tile);
                if status == 3 {
                    return assumed(tokens);
                }
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

    /// Packs of one to three of everything, kernels bound to half of the entries.
    fn pack() -> impl Strategy<Value = Contents> {
        let side = (1_i64..3, 1_u32..4, 0_u64..3);
        let sides = prop::collection::vec(side, 0..3);
        (prop::collection::vec(entry(), 0..5), sides.clone(), sides).prop_map(|(entries, sides, failed)| {
            let mut all = Contents::of_entries(entries);
            for entry in all.entries.values_mut().filter(|e| e.schedule["tile"] > 1) {
                let kernel = format!("kernel {:?}", entry.schedule).into_bytes();
                let digest = Digest::of(&kernel);
                entry.cubins = vec![CubinRef { kernel: "gemm".into(), arch: "sm_90a".into(), digest }];
                all.cubins.insert(digest, kernel);
            }
            for (tokens, median, time) in sides {
                let mut side = trials(tokens, f64::from(median));
                side.provenance.time = time;
                all.trials.insert(side.place(), side);
            }
            for (tokens, size, time) in failed {
                let mut failed = failure(tokens, 8);
                failed.reason = "x".repeat(size as usize);
                failed.provenance.time = time;
                all.failures.insert(failed.place(), failed);
            }
            all
        })
    }

    proptest! {
        #[test]
        fn merged_packs_are_the_same_bytes_in_any_order(packs in prop::collection::vec(pack(), 3)) {
            let manifest = |created, note: &str| Manifest { created, note: note.into(), ..Manifest::default() };
            let manifests = [manifest(1, "a"), manifest(3, ""), manifest(2, "b")];
            let bytes = |order: [usize; 3]| {
                let (all, conflicts) = merge_contents(order.map(|i| packs[i].clone())).unwrap();
                let manifest = merge_manifests(&all, order.map(|i| &manifests[i]), "0.1.0");
                (all.encode(&manifest).unwrap(), conflicts)
            };
            let first = bytes([0, 1, 2]);
            for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                prop_assert_eq!(&bytes(order), &first);
            }
            let (all, _) = merge_contents(packs.clone()).unwrap();
            let named: Vec<_> = all.entries.values().flat_map(|e| e.cubins.iter().map(|c| c.digest)).collect();
            prop_assert!(named.iter().all(|digest| all.cubins.contains_key(digest)));
            prop_assert!(all.cubins.keys().all(|digest| named.contains(digest)));
        }

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
    fn a_pinned_record_is_kept() {
        let mut pinned = sample(64, 1);
        (pinned.pinned, pinned.status) = (true, Status::Imported);
        let (kept, conflicts) = merge([sample(64, 2), pinned.clone()]).unwrap();
        assert_eq!(kept.into_values().collect::<Vec<_>>(), [pinned]);
        assert_eq!(conflicts.len(), 1);
    }

    #[test]
    fn a_strict_merge_names_the_first_conflict() {
        let conflicts = merge([sample(64, 8), sample(64, 16)]).unwrap().1;
        let message = strictly(&conflicts).unwrap_err().to_string();
        assert!(
            message.contains("gemm[") && message.contains("tile=8") && message.contains("tile=16"),
            "{message}"
        );
        assert!(strictly(&merge([sample(64, 8), sample(1, 16)]).unwrap().1).is_ok());
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
    fn any_record_beats_an_assumed_one_without_a_conflict() {
        let mut modelled = sample(64, 8);
        (modelled.status, modelled.grade) = (Status::Modelled, Grade::Modelled);
        modelled.timing = None;
        let mut later = assumed(64);
        later.provenance.time += 1_000;
        later.search.effort = "full".into();
        let (kept, conflicts) = merge([later, modelled.clone()]).unwrap();
        assert_eq!((kept.into_values().collect::<Vec<_>>(), conflicts), (vec![modelled], vec![]));
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

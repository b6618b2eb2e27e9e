//! The look-up ladder: the very task, else a bucket between two measured ones, else the family's default.
//!
//! A session builds one [`ScheduleCache`], asks it once per task while it loads, and reports the counts. What is found is
//! checked for legality against the problem at hand before it is used; what fails is a miss with a reason.

use crate::entry::{Entry, Grade, NamedIntegers};
use crate::error::CacheError;
use crate::folders::Layout;
use crate::key::{StoreKey, TaskKey};
use crate::pack::Pack;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// What a miss means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The ladder; the default schedule at its end.
    #[default]
    Default,
    /// Only exact hits; anything else is an error that names the task.
    Frozen,
    /// Nothing is looked up: defaults everywhere.
    Off,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "default" => Ok(Self::Default),
            "frozen" => Ok(Self::Frozen),
            "off" => Ok(Self::Off),
            other => Err(format!("`{other}` is no cache mode; the modes are default, frozen, off")),
        }
    }
}

/// The step of the ladder that served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// The very task.
    Exact,
    /// Another token bucket of the same task, between two measured ones.
    Bucket,
    /// The family's default.
    Default,
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Exact => "exact",
            Self::Bucket => "bucket",
            Self::Default => "default",
        })
    }
}

/// The answer to one look-up.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which step served.
    pub rung: Rung,
    /// The schedule; `None` at [`Rung::Default`], where the family says it.
    pub schedule: Option<NamedIntegers>,
    /// The record behind it.
    pub entry: Option<Arc<Entry>>,
    /// Why no higher rung served; empty for an exact hit.
    pub reason: String,
}

/// How many look-ups each rung has served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// [`Rung::Exact`].
    pub exact: u64,
    /// [`Rung::Bucket`].
    pub bucket: u64,
    /// [`Rung::Default`].
    pub default: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exact {}, bucket {}, default {}", self.exact, self.bucket, self.default)
    }
}

/// Says whether a stored schedule can serve the problem at hand, and why not.
pub type Legal<'a> = &'a dyn Fn(&NamedIntegers) -> Result<(), String>;

/// What a session reads: packs, the local overlay's snapshot above them, and an in-process map on top.
#[derive(Debug, Default)]
pub struct ScheduleCache {
    mode: Mode,
    /// Lowest first.
    packs: Vec<Arc<Pack>>,
    live: RwLock<BTreeMap<StoreKey, Arc<Entry>>>,
    served: [AtomicU64; 3],
    notices: Vec<String>,
}

impl ScheduleCache {
    /// A cache without any layer.
    pub fn empty(mode: Mode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// A cache over the overlay in the folder `root`, opened read-only: only its snapshot pack is read, so any number of
    /// processes can, on a read-only mount. A snapshot that is missing is an empty layer; one that cannot be read or is damaged
    /// is too, with a notice.
    pub fn open(root: &Path, mode: Mode) -> Self {
        let mut cache = Self::empty(mode);
        if mode != Mode::Off {
            match Pack::load(&Layout::of(root).snapshot) {
                Ok(pack) => cache.packs.extend(pack.map(Arc::new)),
                Err(e) => cache.note(format!("local schedules are not used: {e}")),
            }
        }
        cache
    }

    /// Adds a shipped pack below all layers that are there.
    #[must_use]
    pub fn over(mut self, pack: Arc<Pack>) -> Self {
        self.packs.insert(0, pack);
        self
    }

    /// Puts a record into the in-process map, above all packs.
    pub fn insert(&self, entry: Entry) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.insert(*entry.key.store_key(), Arc::new(entry));
    }

    /// The mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What was wrong with a layer, for a person.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// How many look-ups each rung has served so far.
    pub fn counts(&self) -> Counts {
        let [exact, bucket, default] = &self.served;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts { exact: read(exact), bucket: read(bucket), default: read(default) }
    }

    /// Number of records in all layers.
    pub fn len(&self) -> usize {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner).len();
        self.packs.iter().map(|pack| pack.len()).sum::<usize>() + live
    }

    /// Whether no layer has a record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Looks for a schedule of `key`'s task. `legal` judges each candidate against the problem at hand, since a size that
    /// was rounded for speed must not be rounded for legality.
    ///
    /// # Errors
    /// [`CacheError::Missing`] in [`Mode::Frozen`], for anything but an exact hit. Never otherwise.
    pub fn lookup(&self, key: &TaskKey, legal: Legal<'_>) -> Result<Found, CacheError> {
        let found = self.ladder(key, legal);
        if self.mode == Mode::Frozen && found.rung != Rung::Exact {
            return Err(CacheError::Missing { task: key.label(), reason: found.reason });
        }
        self.served[found.rung as usize].fetch_add(1, Ordering::Relaxed);
        Ok(found)
    }

    /// The record that is nearest to `key`'s task and the first field in which it differs: why an exact look-up
    /// misses. Reads every record, so this is for a person and not for a session.
    pub fn explain(&self, key: &TaskKey) -> Option<String> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let packed = self.packs.iter().flat_map(|pack| pack.entries().flatten());
        let nearest = live.values().cloned().chain(packed).max_by_key(|entry| key.agreement(&entry.key))?;
        match key.first_difference(&nearest.key) {
            None => Some(format!("{} is stored", nearest.key)),
            Some(difference) => Some(format!("nearest is {}: {difference}", nearest.key)),
        }
    }

    fn ladder(&self, key: &TaskKey, legal: Legal<'_>) -> Found {
        let default = |reason: String| Found { rung: Rung::Default, schedule: None, entry: None, reason };
        if self.mode == Mode::Off {
            return default("the schedule cache is off".to_owned());
        }
        let missed = match self.at(key.store_key(), legal) {
            Ok(entry) => return hit(Rung::Exact, entry, String::new()),
            Err(missed) => missed,
        };
        match self.between(key, legal) {
            Ok(entry) => hit(Rung::Bucket, entry, missed),
            Err(reason) => default(format!("{missed}; {reason}")),
        }
    }

    /// The best usable record under exactly this key: an upper layer's, unless a lower one has a higher status.
    fn at(&self, key: &StoreKey, legal: Legal<'_>) -> Result<Arc<Entry>, String> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        let packed = self.packs.iter().rev().filter_map(|pack| pack.get(key).transpose());
        let mut reason = "no entry".to_owned();
        let mut best: Option<Arc<Entry>> = None;
        for record in live.map(Ok).into_iter().chain(packed) {
            let usable = record.map_err(|e| e.to_string()).and_then(|entry| match legal(&entry.schedule) {
                Ok(()) => Ok(entry),
                Err(why) => Err(format!("the entry of {} is not legal here: {why}", entry.key)),
            });
            match usable {
                Ok(entry) if best.as_ref().is_none_or(|b| b.status < entry.status) => best = Some(entry),
                Ok(_) => {}
                Err(why) => {
                    tracing::warn!(reason = %why, "a stored schedule is not used");
                    reason = why;
                }
            }
        }
        best.ok_or(reason)
    }

    /// The record of the nearer of the two measured buckets around the task's own.
    fn between(&self, key: &TaskKey, legal: Legal<'_>) -> Result<Arc<Entry>, String> {
        let (below, above) = self.neighbours(key.store_key());
        let (Some(below), Some(above)) = (below, above) else {
            return Err("no bucket on both sides".to_owned());
        };
        let measured = |key: &StoreKey| match self.at(key, legal)? {
            entry if entry.grade == Grade::Measured => Ok(entry),
            entry => Err(format!("bucket {} is only {}", key.bucket(), entry.grade)),
        };
        let (low, high) = (measured(&below)?, measured(&above)?);
        // Buckets grow by factors, so nearness is a matter of ratios.
        let here = key.store_key().bucket() as f64;
        let nearer_low = here / (below.bucket().max(1) as f64) <= above.bucket() as f64 / here.max(1.0);
        Ok(if nearer_low { low } else { high })
    }

    fn neighbours(&self, key: &StoreKey) -> (Option<StoreKey>, Option<StoreKey>) {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let same =
            |k: Option<(&StoreKey, &Arc<Entry>)>| k.map(|(k, _)| *k).filter(|k| k.task() == key.task());
        let mut below = same(live.range(..*key).next_back());
        let mut above = same(live.range(*key..).find(|(k, _)| *k != key));
        for pack in &self.packs {
            let (low, high) = pack.neighbours(key);
            below = below.max(low);
            above = [above, high].into_iter().flatten().min();
        }
        (below, above)
    }

    fn note(&mut self, notice: String) {
        tracing::warn!("{notice}");
        self.notices.push(notice);
    }
}

fn hit(rung: Rung, entry: Arc<Entry>, reason: String) -> Found {
    Found { rung, schedule: Some(entry.schedule.clone()), entry: Some(entry), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Status;
    use crate::entry::tests::sample;
    use crate::pack::{Manifest, encode};

    fn pack(entries: &[Entry]) -> Arc<Pack> {
        let bytes = encode(&Manifest::default(), entries, &[]).unwrap();
        Arc::new(Pack::from_bytes(bytes, "p").unwrap())
    }

    fn tile(found: &Found) -> i64 {
        found.schedule.as_ref().unwrap()["tile"]
    }

    const ANY: Legal<'static> = &|_| Ok(());

    #[test]
    fn the_ladder_goes_exact_bucket_default() {
        let cache = ScheduleCache::empty(Mode::Default).over(pack(&[sample(16, 1), sample(256, 2)]));
        let ask = |tokens| cache.lookup(&sample(tokens, 0).key, ANY).unwrap();
        let exact = ask(16);
        assert_eq!((exact.rung, tile(&exact), exact.reason.as_str()), (Rung::Exact, 1, ""));
        let nearer_below = ask(32);
        assert_eq!((nearer_below.rung, tile(&nearer_below)), (Rung::Bucket, 1));
        let nearer_above = ask(128);
        assert_eq!((nearer_above.rung, tile(&nearer_above)), (Rung::Bucket, 2));
        for outside in [8, 512] {
            let found = ask(outside);
            assert_eq!(found.rung, Rung::Default);
            assert!(found.schedule.is_none() && found.reason.contains("both sides"), "{}", found.reason);
        }
        assert_eq!(cache.counts().to_string(), "exact 1, bucket 2, default 2");
    }

    #[test]
    fn a_bucket_needs_both_ends_measured() {
        let mut guessed = sample(256, 2);
        (guessed.status, guessed.grade) = (Status::Modelled, Grade::Modelled);
        let cache = ScheduleCache::empty(Mode::Default).over(pack(&[sample(16, 1), guessed]));
        let found = cache.lookup(&sample(32, 0).key, ANY).unwrap();
        assert_eq!(found.rung, Rung::Default);
        assert!(found.reason.contains("bucket 256 is only modelled"), "{}", found.reason);
    }

    #[test]
    fn upper_layers_win_unless_the_lower_is_better_founded() {
        let shipped = pack(&[sample(1, 1), sample(2, 1), sample(3, 1)]);
        let mut guessed = sample(3, 2);
        (guessed.status, guessed.grade) = (Status::Modelled, Grade::Modelled);
        let cache = ScheduleCache::empty(Mode::Default).over(pack(&[sample(2, 2), guessed])).over(shipped);
        cache.insert(sample(1, 3));
        let ask = |tokens| tile(&cache.lookup(&sample(tokens, 0).key, ANY).unwrap());
        assert_eq!([ask(1), ask(2), ask(3)], [3, 2, 1]);
    }

    #[test]
    fn what_is_not_legal_here_falls_to_the_next_layer_then_to_the_default() {
        let cache =
            ScheduleCache::empty(Mode::Default).over(pack(&[sample(1, 8)])).over(pack(&[sample(1, 4)]));
        let at_most = |limit: i64| {
            move |s: &NamedIntegers| if s["tile"] <= limit { Ok(()) } else { Err("tile too wide".to_owned()) }
        };
        assert_eq!(tile(&cache.lookup(&sample(1, 0).key, &at_most(8)).unwrap()), 8);
        assert_eq!(tile(&cache.lookup(&sample(1, 0).key, &at_most(4)).unwrap()), 4);
        let none = cache.lookup(&sample(1, 0).key, &at_most(2)).unwrap();
        assert_eq!(none.rung, Rung::Default);
        assert!(none.reason.contains("not legal here: tile too wide"), "{}", none.reason);
    }

    #[test]
    fn a_frozen_cache_names_the_task_it_misses() {
        let cache = ScheduleCache::empty(Mode::Frozen).over(pack(&[sample(16, 1), sample(64, 1)]));
        assert_eq!(cache.lookup(&sample(16, 0).key, ANY).unwrap().rung, Rung::Exact);
        let message = cache.lookup(&sample(32, 0).key, ANY).unwrap_err().to_string();
        assert!(message.contains("tokens=32") && message.contains("frozen"), "{message}");
    }

    #[test]
    fn a_cache_that_is_off_serves_defaults() {
        let cache = ScheduleCache::empty(Mode::Off).over(pack(&[sample(16, 1)]));
        assert_eq!(cache.lookup(&sample(16, 0).key, ANY).unwrap().rung, Rung::Default);
        assert_eq!("off".parse(), Ok(Mode::Off));
        assert!("on".parse::<Mode>().unwrap_err().contains("frozen"));
    }

    #[test]
    fn live_records_are_neighbours_too() {
        let cache = ScheduleCache::empty(Mode::Default).over(pack(&[sample(16, 1)]));
        cache.insert(sample(64, 2));
        cache.insert(sample(8, 3));
        assert_eq!(tile(&cache.lookup(&sample(60, 0).key, ANY).unwrap()), 2);
        assert_eq!(tile(&cache.lookup(&sample(15, 0).key, ANY).unwrap()), 1);
        assert_eq!(cache.len(), 3);
    }

    #[test]
    fn a_miss_can_be_explained() {
        let cache = ScheduleCache::empty(Mode::Default).over(pack(&[sample(16, 1)]));
        let mut fields = sample(16, 1).key.fields().clone();
        fields.code = "cpu-2".into();
        let text = cache.explain(&TaskKey::new(fields)).unwrap();
        assert!(text.contains("code is `cpu-2` here and `cpu-1` there"), "{text}");
        assert!(cache.explain(&sample(16, 9).key).unwrap().ends_with("is stored"));
    }
}

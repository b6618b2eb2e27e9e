//! The look-up ladder: the very task, else a bucket between two measured ones, else the family's default.
//!
//! A session builds one [`ScheduleCache`], asks it once per task while it loads, and reports the counts. What is found is
//! checked for legality against the problem at hand before it is used; what fails is a miss with a reason.

use crate::cubins::CubinStore;
use crate::digest::Digest;
use crate::entry::{Entry, Grade, NamedIntegers};
use crate::error::CacheError;
use crate::folders::Layout;
use crate::key::{StoreKey, TaskKey};
use crate::live::Live;
use crate::nearest::{Near, nearest};
use crate::pack::Pack;
use crate::recipe::{RecipeKey, StoredRecipe};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A reason in words. Most are constant, and a look-up should not pay for their copies.
type Reason = Cow<'static, str>;

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
    /// The record behind it.
    pub entry: Option<Arc<Entry>>,
    /// Why no higher rung served; empty for an exact hit.
    pub reason: Cow<'static, str>,
    /// The soft facts that were others when the record was made, as `driver: 570.1 then, 580.2 here`: the schedule is
    /// right, and whether it is still the fastest is for `jet-tune verify` to say.
    pub soft: Vec<String>,
}

impl Found {
    /// The schedule; `None` at [`Rung::Default`], where the family says it.
    pub fn schedule(&self) -> Option<&NamedIntegers> {
        self.entry.as_ref().map(|entry| &entry.schedule)
    }
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
    /// How many of the hits were found under other soft facts.
    pub soft: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exact {}, bucket {}, default {}", self.exact, self.bucket, self.default)?;
        match self.soft {
            0 => Ok(()),
            soft => write!(f, " ({soft} measured under other conditions)"),
        }
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
    live: Live,
    cubins: Option<CubinStore>,
    /// The soft facts of this machine; empty where nobody said them.
    here: BTreeMap<String, String>,
    served: [AtomicU64; 3],
    soft: AtomicU64,
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
            let layout = Layout::of(root);
            match Pack::load(&layout.snapshot) {
                Ok(pack) => cache.packs.extend(pack.map(Arc::new)),
                Err(e) => cache.note(format!("local schedules are not used: {e}")),
            }
            cache.cubins = Some(CubinStore::at(&layout.cubins));
        }
        cache
    }

    /// Adds a shipped pack below all layers that are there.
    #[must_use]
    pub fn over(mut self, pack: Arc<Pack>) -> Self {
        self.packs.insert(0, pack);
        self
    }

    /// Says the soft facts of this machine, so that hits from other conditions are marked and counted.
    #[must_use]
    pub fn here(mut self, soft: BTreeMap<String, String>) -> Self {
        self.here = soft;
        self
    }

    /// Puts a record into the in-process map, above all packs.
    pub fn insert(&self, entry: Entry) {
        self.live.insert(entry);
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
        Counts { exact: read(exact), bucket: read(bucket), default: read(default), soft: read(&self.soft) }
    }

    /// Number of records in all layers.
    pub fn len(&self) -> usize {
        self.packs.iter().map(|pack| pack.len()).sum::<usize>() + self.live.len()
    }

    /// Whether no layer has a record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every readable record of every layer, the upper layers first; a task may come more than once.
    pub fn entries(&self) -> impl Iterator<Item = Arc<Entry>> + '_ {
        let packed = self.packs.iter().rev().flat_map(|pack| pack.entries().flatten());
        self.live.all().into_iter().chain(packed)
    }

    /// Looks for a schedule of `key`'s task. `legal` judges each candidate against the problem at hand, since a size that
    /// was rounded for speed must not be rounded for legality.
    ///
    /// # Errors
    /// [`CacheError::Missing`] in [`Mode::Frozen`], for anything but an exact hit. Never otherwise.
    pub fn lookup(&self, key: &TaskKey, legal: Legal<'_>) -> Result<Found, CacheError> {
        let found = self.ladder(key, legal);
        if self.mode == Mode::Frozen && found.rung != Rung::Exact {
            let layers = self.notices.iter().map(|notice| format!("; {notice}"));
            let reason = std::iter::once(found.reason.into_owned()).chain(layers).collect();
            return Err(CacheError::Missing { task: key.label(), reason });
        }
        self.served[found.rung as usize].fetch_add(1, Ordering::Relaxed);
        if !found.soft.is_empty() {
            self.soft.fetch_add(1, Ordering::Relaxed);
        }
        Ok(found)
    }

    /// The recipe under `key`: the upper layer's, and none where the cache is off. One that is damaged is passed
    /// over with a warning.
    pub fn recipe(&self, key: &RecipeKey) -> Option<StoredRecipe> {
        let packs = if self.mode == Mode::Off { &[][..] } else { &self.packs };
        packs.iter().rev().find_map(|pack| match pack.recipe(key) {
            Ok(found) => found,
            Err(damaged) => {
                tracing::warn!(reason = %damaged, "a stored recipe is not used");
                None
            }
        })
    }

    /// A compiled kernel that an entry names: from a pack, else from the folder beside the local schedules.
    ///
    /// # Errors
    /// [`CacheError::Damaged`] where it is there, and nowhere with the bytes that its digest promises.
    pub fn cubin(&self, digest: &Digest) -> Result<Option<Cow<'_, [u8]>>, CacheError> {
        let mut fault = None;
        for pack in self.packs.iter().rev() {
            match pack.attachment(digest) {
                Ok(Some(bytes)) => return Ok(Some(Cow::Borrowed(bytes))),
                Ok(None) => {}
                Err(e) => fault = Some(e),
            }
        }
        match self.cubins.as_ref().map_or(Ok(None), |store| store.get(digest)) {
            Ok(Some(bytes)) => Ok(Some(Cow::Owned(bytes))),
            Ok(None) => fault.map_or(Ok(None), Err),
            Err(e) => Err(fault.unwrap_or(e)),
        }
    }

    /// The kernel called `name` of the record of `key`'s very task, if the record names one and the bytes are there.
    ///
    /// # Errors
    /// As [`ScheduleCache::cubin`].
    pub fn kernel(&self, key: &TaskKey, name: &str) -> Result<Option<Cow<'_, [u8]>>, CacheError> {
        if self.mode == Mode::Off {
            return Ok(None);
        }
        let Ok(entry) = self.at(key.store_key(), &|_| Ok(())) else { return Ok(None) };
        let named = entry.cubins.iter().find(|c| c.kernel == name);
        named.map_or(Ok(None), |c| self.cubin(&c.digest))
    }

    /// The records nearest to `key`'s task, each with the first field in which it differs: why an exact look-up misses.
    /// Reads every record, so this is for a person and not for a session.
    pub fn nearest(&self, key: &TaskKey, count: usize) -> Vec<Near> {
        nearest(key, self.entries(), count)
    }

    /// The nearest record and the first field in which it differs, in one line.
    pub fn explain(&self, key: &TaskKey) -> Option<String> {
        self.nearest(key, 1).first().map(ToString::to_string)
    }

    fn ladder(&self, key: &TaskKey, legal: Legal<'_>) -> Found {
        if self.mode == Mode::Off {
            return miss("the schedule cache is off".into());
        }
        let missed = match self.at(key.store_key(), legal) {
            Ok(entry) => return self.hit(Rung::Exact, entry, Cow::Borrowed("")),
            Err(missed) => missed,
        };
        match self.between(key, legal) {
            Ok(entry) => self.hit(Rung::Bucket, entry, missed),
            Err(reason) => miss(format!("{missed}; {reason}").into()),
        }
    }

    fn hit(&self, rung: Rung, entry: Arc<Entry>, reason: Reason) -> Found {
        let soft = if self.here.is_empty() { Vec::new() } else { entry.soft_differences(&self.here) };
        Found { rung, entry: Some(entry), reason, soft }
    }

    /// The best usable record under exactly this key: an upper layer's, unless a lower one has a higher status.
    fn at(&self, key: &StoreKey, legal: Legal<'_>) -> Result<Arc<Entry>, Reason> {
        let packed = self.packs.iter().rev().filter_map(|pack| pack.get(key).transpose());
        let mut reason = Cow::Borrowed("no entry");
        let mut best: Option<Arc<Entry>> = None;
        for record in self.live.get(key).map(Ok).into_iter().chain(packed) {
            let usable = record.map_err(|e| e.to_string()).and_then(|entry| match legal(&entry.schedule) {
                Ok(()) => Ok(entry),
                Err(why) => Err(format!("the entry of {} is not legal here: {why}", entry.key)),
            });
            match usable {
                Ok(entry) if best.as_ref().is_none_or(|b| standing(b) < standing(&entry)) => {
                    best = Some(entry)
                }
                Ok(_) => {}
                Err(why) => {
                    tracing::warn!(reason = %why, "a stored schedule is not used");
                    reason = why.into();
                }
            }
        }
        best.ok_or(reason)
    }

    /// The record of the nearer of the two measured buckets around the task's own.
    fn between(&self, key: &TaskKey, legal: Legal<'_>) -> Result<Arc<Entry>, Reason> {
        let (below, above) = self.neighbours(key.store_key());
        let (Some(below), Some(above)) = (below, above) else {
            return Err(Cow::Borrowed("no bucket on both sides"));
        };
        let measured = |key: &StoreKey| match self.at(key, legal)? {
            entry if entry.grade == Grade::Measured => Ok(entry),
            entry => Err(Reason::from(format!("bucket {} is only {}", key.bucket(), entry.grade))),
        };
        let (low, high) = (measured(&below)?, measured(&above)?);
        // Buckets grow by factors, so nearness is a matter of ratios.
        let here = key.store_key().bucket() as f64;
        let nearer_low = here / (below.bucket().max(1) as f64) <= above.bucket() as f64 / here.max(1.0);
        Ok(if nearer_low { low } else { high })
    }

    fn neighbours(&self, key: &StoreKey) -> (Option<StoreKey>, Option<StoreKey>) {
        let (mut below, mut above) = self.live.neighbours(key);
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

/// What a person decided goes before what stands behind an entry.
fn standing(entry: &Entry) -> (bool, crate::Status) {
    (entry.pinned, entry.status)
}

fn miss(reason: Reason) -> Found {
    Found { rung: Rung::Default, entry: None, reason, soft: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::sample;
    use crate::entry::{CubinRef, Status};
    use crate::pack::{Manifest, encode};

    fn pack(entries: &[Entry]) -> Arc<Pack> {
        let bytes = encode(&Manifest::default(), entries, &[]).unwrap();
        Arc::new(Pack::from_bytes(bytes, "p").unwrap())
    }

    fn tile(found: &Found) -> i64 {
        found.schedule().unwrap()["tile"]
    }

    const ANY: Legal<'static> = &|_| Ok(());

    #[test]
    fn the_ladder_goes_exact_bucket_default() {
        let cache = ScheduleCache::empty(Mode::Default).over(pack(&[sample(16, 1), sample(256, 2)]));
        let ask = |tokens| cache.lookup(&sample(tokens, 0).key, ANY).unwrap();
        let exact = ask(16);
        assert_eq!((exact.rung, tile(&exact), &*exact.reason), (Rung::Exact, 1, ""));
        let nearer_below = ask(32);
        assert_eq!((nearer_below.rung, tile(&nearer_below)), (Rung::Bucket, 1));
        let nearer_above = ask(128);
        assert_eq!((nearer_above.rung, tile(&nearer_above)), (Rung::Bucket, 2));
        for outside in [8, 512] {
            let found = ask(outside);
            assert_eq!(found.rung, Rung::Default);
            assert!(found.schedule().is_none() && found.reason.contains("both sides"), "{}", found.reason);
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
        assert!(ScheduleCache::empty(Mode::Default).explain(&sample(16, 9).key).is_none());
    }

    #[test]
    fn hits_from_other_conditions_are_marked_and_counted() {
        let here = |os: &str| BTreeMap::from([("os".to_owned(), os.to_owned())]);
        let other = ScheduleCache::empty(Mode::Default).over(pack(&[sample(16, 1)])).here(here("plan9"));
        let found = other.lookup(&sample(16, 0).key, ANY).unwrap();
        assert_eq!(
            (found.rung, &found.soft[..]),
            (Rung::Exact, &["os: linux then, plan9 here".to_owned()][..])
        );
        assert_eq!(
            other.counts().to_string(),
            "exact 1, bucket 0, default 0 (1 measured under other conditions)"
        );
        let same = ScheduleCache::empty(Mode::Default).over(pack(&[sample(16, 1)])).here(here("linux"));
        assert!(same.lookup(&sample(16, 0).key, ANY).unwrap().soft.is_empty());
        assert_eq!(same.counts().soft, 0);
    }

    #[test]
    fn a_pinned_record_wins_over_a_better_founded_one() {
        let mut pinned = sample(1, 7);
        (pinned.pinned, pinned.status, pinned.grade) = (true, Status::Modelled, Grade::Modelled);
        let cache = ScheduleCache::empty(Mode::Default).over(pack(&[sample(1, 2)])).over(pack(&[pinned]));
        assert_eq!(tile(&cache.lookup(&sample(1, 0).key, ANY).unwrap()), 7);
    }

    #[test]
    fn a_kernel_comes_from_the_first_layer_whose_bytes_are_right() {
        let digest = Digest::of(b"kernel");
        let good = encode(&Manifest::default(), &[], &[b"kernel"]).unwrap();
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        let layer = |bytes: &[u8]| Arc::new(Pack::from_bytes(bytes.to_owned(), "p").unwrap());
        let cache = ScheduleCache::empty(Mode::Default).over(layer(&bad)).over(layer(&good));
        assert_eq!(cache.cubin(&digest).unwrap().unwrap(), &b"kernel"[..]);
        let mut named = sample(16, 1);
        named.cubins = vec![CubinRef { kernel: "gemm".into(), arch: "sm_90a".into(), digest }];
        let schedules = Pack::from_bytes(encode(&Manifest::default(), [&named], &[b"kernel"]).unwrap(), "p");
        let bound = ScheduleCache::empty(Mode::Default).over(Arc::new(schedules.unwrap()));
        assert_eq!(bound.kernel(&named.key, "gemm").unwrap().unwrap(), &b"kernel"[..]);
        assert_eq!(bound.kernel(&named.key, "conv").unwrap(), None);
        assert_eq!(bound.kernel(&sample(64, 1).key, "gemm").unwrap(), None);
        assert!(cache.cubin(&Digest::of(b"other")).unwrap().is_none());
        let spoilt = ScheduleCache::empty(Mode::Default).over(layer(&bad));
        assert!(spoilt.cubin(&digest).unwrap_err().to_string().contains("other bytes"));
    }

    #[test]
    fn a_frozen_cache_tells_of_a_layer_that_could_not_be_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(Layout::of(folder.path()).snapshot, b"this is not a pack").unwrap();
        let cache = ScheduleCache::open(folder.path(), Mode::Frozen);
        let message = cache.lookup(&sample(1, 1).key, ANY).unwrap_err().to_string();
        assert!(message.contains("gemm[") && message.contains("does not begin as a jet pack"), "{message}");
    }
}

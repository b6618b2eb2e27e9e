//! The local overlay: what was tuned on this machine, as the tuner sees it.
//!
//! One process at a time has it open. All entries are in memory; a commit goes to the durable store first and then into a new
//! snapshot pack, which replaces the old one whole and is what sessions read. The two mend each other: what the store
//! has lost is taken from the snapshot, and a damaged snapshot is written anew from the store. A process that is killed
//! between the two leaves a snapshot that is one commit behind, and the next opening completes it.
//!
//! Beside the entries the store keeps *extras*: the recipes of models, which sessions read too, and for tuners alone side
//! records of all candidates, and candidates that failed. Compiled kernels are files in a folder of their own.

mod compact;
mod extras;
mod import;
mod lock;
mod open;
mod recipes;
mod sweep;

pub use import::Imported;
pub use sweep::{Sweep, Swept};

use crate::contents::Contents;
use crate::cubins::CubinStore;
use crate::digest::Digest;
use crate::entry::{Entry, Status};
use crate::error::CacheError;
use crate::folders::Layout;
use crate::key::StoreKey;
use crate::pack::Manifest;
use crate::recipe::StoredRecipe;
use crate::store::{MemoryStore, Store};
use lock::Lock;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a second process waits for the first.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// An overlay, open for writing.
pub struct Overlay {
    layout: Option<Layout>,
    store: Box<dyn Store>,
    extras: Box<dyn Store>,
    entries: BTreeMap<StoreKey, Entry>,
    recipes: BTreeMap<StoreKey, StoredRecipe>,
    cubins: CubinStore,
    jet: String,
    notices: Vec<String>,
    // Last, so that the store is closed before another process may come in.
    _lock: Option<Lock>,
}

/// What a commit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The record is stored.
    Stored,
    /// The task's record is pinned, and stays as it is.
    KeptPinned,
    /// The task's record was measured and the new one is modelled: it stays as it is.
    KeptStronger,
}

impl Overlay {
    /// Opens the overlay in the folder `root`, which is made where it is missing. `jet` is the version of the
    /// program, for manifests.
    ///
    /// # Errors
    /// [`CacheError::Busy`] with the holder after [`PATIENCE`]: who must go on then can with [`Overlay::detached`];
    /// [`CacheError::NotWritable`]; [`CacheError::NewerFormat`] where a newer jet wrote here, and nothing is touched.
    pub fn open(root: &Path, jet: &str) -> Result<Self, CacheError> {
        Self::open_within(root, jet, PATIENCE)
    }

    /// [`Overlay::open`] with another patience.
    ///
    /// # Errors
    /// As [`Overlay::open`].
    pub fn open_within(root: &Path, jet: &str, patience: Duration) -> Result<Self, CacheError> {
        open::open(root, jet, patience)
    }

    /// What the overlay in the folder `root` holds according to its snapshot, without taking it: nothing that is
    /// committed is written. For those who only look, and for a tuner that cannot have the folder.
    ///
    /// # Errors
    /// [`CacheError::NewerFormat`] where a newer jet wrote here.
    pub fn detached(root: &Path, jet: &str) -> Result<Self, CacheError> {
        let mut overlay = Self::in_memory(jet);
        let snapshot = open::read_snapshot(&Layout::of(root).snapshot, &mut overlay.notices)?;
        let snapshot = snapshot.unwrap_or_default();
        (overlay.entries, overlay.recipes) = (snapshot.entries, snapshot.recipes);
        Ok(overlay)
    }

    /// An overlay that is forgotten: where nothing can be written, and in tests.
    pub fn in_memory(jet: &str) -> Self {
        Self {
            layout: None,
            store: Box::new(MemoryStore::default()),
            extras: Box::new(MemoryStore::default()),
            entries: BTreeMap::new(),
            recipes: BTreeMap::new(),
            cubins: CubinStore::in_memory(),
            jet: jet.to_owned(),
            notices: Vec::new(),
            _lock: None,
        }
    }

    /// What had to be mended, for a person.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The record under `key`.
    pub fn get(&self, key: &StoreKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// All entries in store order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.values()
    }

    /// Stores a record in place of an older one of the same task, unless that one is pinned and this one is not, or that one
    /// was measured and this one is modelled. When this
    /// returns, neither a kill nor a power cut takes it away, and sessions that start from now on see it.
    ///
    /// # Errors
    /// [`CacheError::InvalidEntry`], also where it names a kernel that was not given to [`Overlay::keep_cubin`] before;
    /// [`CacheError::Store`] and [`CacheError::NotWritable`] where the disk does not take it. The record is then still
    /// held in memory.
    pub fn commit(&mut self, entry: Entry) -> Result<Committed, CacheError> {
        if let Some(missing) = entry.cubins.iter().find(|c| !self.cubins.has(&c.digest)) {
            let reason = format!("it names the kernel {}, which was not stored before it", missing.digest);
            return Err(CacheError::InvalidEntry { task: entry.key.label(), reason });
        }
        let key = entry.key.store_key();
        if !entry.pinned && self.entries.get(key).is_some_and(|there| there.pinned) {
            return Ok(Committed::KeptPinned);
        }
        let measured = |there: &Entry| there.status != Status::Modelled;
        if entry.status == Status::Modelled && self.entries.get(key).is_some_and(measured) {
            return Ok(Committed::KeptStronger);
        }
        self.put_entries(vec![entry]).map(|()| Committed::Stored)
    }

    /// Pins the record of a task, so that it stays, or lets go of it; `false` where there is no record.
    ///
    /// # Errors
    /// As [`Overlay::commit`].
    pub fn pin(&mut self, key: &StoreKey, pinned: bool) -> Result<bool, CacheError> {
        let Some(entry) = self.entries.get(key) else { return Ok(false) };
        if entry.pinned != pinned {
            self.put_entries(vec![Entry { pinned, ..entry.clone() }])?;
        }
        Ok(true)
    }

    /// Removes the record of a task and says whether there was one.
    ///
    /// # Errors
    /// As [`Overlay::commit`].
    pub fn remove(&mut self, key: &StoreKey) -> Result<bool, CacheError> {
        let there = self.entries.remove(key).is_some();
        // Snapshot first: what is only in the snapshot would come back with the next opening.
        self.export_snapshot()?;
        Ok(self.store.remove(key.as_bytes())? || there)
    }

    /// Stores a compiled kernel under its content, before the entry that names it is committed.
    ///
    /// # Errors
    /// [`CacheError::NotWritable`].
    pub fn keep_cubin(&mut self, bytes: &[u8]) -> Result<Digest, CacheError> {
        self.cubins.put(bytes)
    }

    /// The compiled kernels.
    pub fn cubins(&self) -> &CubinStore {
        &self.cubins
    }

    /// Everything, to be merged, compared or packed: entries, extras, and the kernels that entries name. A kernel that
    /// cannot be read is left out, with a notice.
    pub fn contents(&mut self) -> Contents {
        let mut all = self.for_sessions();
        self.add_extras(&mut all);
        let missing = all.bind_cubins();
        for digest in missing {
            match self.cubins.get(&digest) {
                Ok(found) => all.cubins.extend(found.map(|bytes| (digest, bytes))),
                Err(damaged) => self.notices.push(damaged.to_string()),
            }
        }
        all
    }

    /// Writes all entries and recipes as a pack, without what only tuners want and without kernels.
    ///
    /// # Errors
    /// [`CacheError::NotWritable`].
    pub fn export(&self, path: &Path) -> Result<(), CacheError> {
        let manifest = Manifest::describe(self.entries.values(), &self.jet, now());
        self.for_sessions().write(path, &manifest)
    }

    /// What sessions read.
    fn for_sessions(&self) -> Contents {
        Contents { entries: self.entries.clone(), recipes: self.recipes.clone(), ..Contents::default() }
    }

    /// Stores entries in place of what is there, all of them with one flush and one snapshot.
    fn put_entries(&mut self, entries: Vec<Entry>) -> Result<(), CacheError> {
        let mut sealed = Vec::with_capacity(entries.len());
        for entry in &entries {
            sealed.push((*entry.key.store_key(), entry.encode()?));
        }
        self.entries.extend(entries.into_iter().map(|entry| (*entry.key.store_key(), entry)));
        let stored = self.store.put(&extras::pairs(&sealed));
        // The snapshot is written even where the store fails: it alone brings the records to the sessions.
        self.export_snapshot()?;
        stored
    }

    fn export_snapshot(&self) -> Result<(), CacheError> {
        self.layout.as_ref().map_or(Ok(()), |layout| self.export(&layout.snapshot))
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

//! The local overlay: what was tuned on this machine, as the tuner sees it.
//!
//! One process at a time has it open. Everything is in memory; a commit goes to the durable store first and then into a new
//! snapshot pack, which replaces the old one whole and is what sessions read. The two mend each other: what the store
//! has lost is taken from the snapshot, and a damaged snapshot is written anew from the store. A process that is killed
//! between the two leaves a snapshot that is one commit behind, and the next opening completes it.

use crate::entry::Entry;
use crate::error::CacheError;
use crate::files;
use crate::folders::Layout;
use crate::key::StoreKey;
use crate::pack::{self, Manifest, Pack};
use crate::sled_store::{Opened, SledStore};
use crate::store::{MemoryStore, Pairs, Store};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a second process waits for the first.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// An overlay, open for writing.
pub struct Overlay {
    layout: Option<Layout>,
    store: Box<dyn Store>,
    entries: BTreeMap<StoreKey, Entry>,
    jet: String,
    notices: Vec<String>,
    // Last, so that the store is closed before another process may come in.
    _lock: Option<Lock>,
}

impl Overlay {
    /// Opens the overlay in the folder `root`, which is made where it is missing. `jet` is the version of the
    /// program, for manifests.
    ///
    /// # Errors
    /// [`CacheError::Busy`] with the holder after [`PATIENCE`]; [`CacheError::NotWritable`];
    /// [`CacheError::NewerFormat`] where a newer jet wrote here, and nothing is touched.
    pub fn open(root: &Path, jet: &str) -> Result<Self, CacheError> {
        Self::open_within(root, jet, PATIENCE)
    }

    /// [`Overlay::open`] with another patience.
    ///
    /// # Errors
    /// As [`Overlay::open`].
    pub fn open_within(root: &Path, jet: &str, patience: Duration) -> Result<Self, CacheError> {
        let layout = Layout::of(root);
        files::make_folder(root)?;
        let lock = Lock::acquire(&layout.lock, patience)?;
        files::remove_leftovers(&layout.snapshot);
        let mut notices = Vec::new();
        let snapshot = read_snapshot(&layout.snapshot, &mut notices)?;
        let (mut store, pairs) = open_store(&layout.store, patience, &mut notices)?;
        let mut entries = read_records(&mut *store, pairs, &mut notices)?;
        let complete = snapshot.as_ref().is_some_and(|old| *old == entries);
        for (key, entry) in snapshot.unwrap_or_default() {
            if let std::collections::btree_map::Entry::Vacant(place) = entries.entry(key) {
                store.put(key.as_bytes(), &entry.encode()?)?;
                place.insert(entry);
            }
        }
        let overlay =
            Self { layout: Some(layout), store, entries, jet: jet.to_owned(), notices, _lock: Some(lock) };
        if !complete {
            overlay.export_snapshot()?;
        }
        Ok(overlay)
    }

    /// An overlay that is forgotten: where nothing can be written, and in tests.
    pub fn in_memory(jet: &str) -> Self {
        Self {
            layout: None,
            store: Box::new(MemoryStore::default()),
            entries: BTreeMap::new(),
            jet: jet.to_owned(),
            notices: Vec::new(),
            _lock: None,
        }
    }

    /// What had to be mended while opening, for a person.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The record under `key`.
    pub fn get(&self, key: &StoreKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// All records in store order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.values()
    }

    /// Stores a record in place of an older one of the same task. When this returns, neither a kill nor a power cut takes it
    /// away, and sessions that start from now on see it.
    ///
    /// # Errors
    /// [`CacheError::InvalidEntry`]; [`CacheError::Store`] and [`CacheError::NotWritable`] where the
    /// disk does not take it. The record is then still held in memory.
    pub fn commit(&mut self, entry: Entry) -> Result<(), CacheError> {
        let (key, bytes) = (*entry.key.store_key(), entry.encode()?);
        self.entries.insert(key, entry);
        let stored = self.store.put(key.as_bytes(), &bytes);
        // The snapshot is written even where the store fails: it alone brings the record to the sessions.
        self.export_snapshot()?;
        stored
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

    /// Writes all records as a pack.
    ///
    /// # Errors
    /// [`CacheError::NotWritable`].
    pub fn export(&self, path: &Path) -> Result<(), CacheError> {
        let manifest = Manifest::describe(self.entries.values(), &self.jet, now());
        pack::write(path, &manifest, self.entries.values(), &[])
    }

    fn export_snapshot(&self) -> Result<(), CacheError> {
        self.layout.as_ref().map_or(Ok(()), |layout| self.export(&layout.snapshot))
    }
}

/// The snapshot's records; what is damaged is left out with a notice.
fn read_snapshot(
    path: &Path,
    notices: &mut Vec<String>,
) -> Result<Option<BTreeMap<StoreKey, Entry>>, CacheError> {
    let pack = match Pack::load(path) {
        Ok(pack) => pack,
        Err(e @ CacheError::NewerFormat { .. }) => return Err(e),
        Err(damaged) => {
            notices.push(damaged.to_string());
            None
        }
    };
    let Some(pack) = pack else { return Ok(None) };
    let mut entries = BTreeMap::new();
    for record in pack.entries() {
        match record {
            Ok(entry) => drop(entries.insert(*entry.key.store_key(), (*entry).clone())),
            Err(damaged) => notices.push(damaged.to_string()),
        }
    }
    Ok(Some(entries))
}

/// The durable store; where it cannot even be begun anew, records go to the snapshot alone.
fn open_store(
    path: &Path,
    patience: Duration,
    notices: &mut Vec<String>,
) -> Result<(Box<dyn Store>, Pairs), CacheError> {
    match SledStore::open(path, patience) {
        Ok(Opened { store, pairs, notices: mended }) => {
            notices.extend(mended);
            Ok((Box::new(store), pairs))
        }
        Err(unusable @ CacheError::Store { .. }) => {
            notices.push(format!("{unusable}; until then the snapshot alone keeps what is tuned"));
            Ok((Box::new(MemoryStore::default()), Pairs::new()))
        }
        Err(other) => Err(other),
    }
}

/// Decodes what the store holds and removes what is damaged.
fn read_records(
    store: &mut dyn Store,
    pairs: Pairs,
    notices: &mut Vec<String>,
) -> Result<BTreeMap<StoreKey, Entry>, CacheError> {
    let mut entries = BTreeMap::new();
    for (key, value) in pairs {
        let reason = match Entry::decode(&value, "a stored record") {
            Err(e @ CacheError::NewerFormat { .. }) => return Err(e),
            Err(damaged) => damaged.to_string(),
            Ok(entry) if entry.key.store_key().as_bytes()[..] == key[..] => {
                entries.insert(*entry.key.store_key(), entry);
                continue;
            }
            Ok(entry) => format!("the record of {} stood under another key", entry.key),
        };
        store.remove(&key)?;
        notices.push(format!("{reason}; it was removed"));
    }
    Ok(entries)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// The overlay's lock: the system's own, which vanishes with the process. The file says who holds it.
struct Lock(File);

impl Lock {
    fn acquire(path: &Path, patience: Duration) -> Result<Self, CacheError> {
        let error = |source| CacheError::NotWritable { path: path.to_owned(), source };
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open().map_err(error)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begun.elapsed() < patience => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => {
                    let waited_ms = begun.elapsed().as_millis() as u64;
                    return Err(CacheError::Busy {
                        path: path.to_owned(),
                        holder: holder(&mut file),
                        waited_ms,
                    });
                }
                Err(TryLockError::Error(source)) => return Err(error(source)),
            }
        }
        let name = format!("{}\n", std::process::id());
        let written =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(name.as_bytes()));
        written.map_err(error)?;
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A name that stays is wrong only until the next holder writes its own.
        let _ = self.0.set_len(0);
        let _ = self.0.unlock();
    }
}

/// ` by process 12`, from what the holder wrote; empty where that says nothing.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // The file is foreign by now: anything in it but a process number is ignored.
    let read = file.rewind().and_then(|()| file.take(32).read_to_string(&mut text));
    match text.trim().parse::<u32>() {
        Ok(pid) if read.is_ok() => format!(" by process {pid}"),
        _ => String::new(),
    }
}

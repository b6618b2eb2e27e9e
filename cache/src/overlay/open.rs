//! Opening an overlay: the lock, what a killed process left, store and snapshot mending each other.

use super::extras::pairs;
use super::lock::Lock;
use super::{Overlay, compact};
use crate::contents::Contents;
use crate::cubins::CubinStore;
use crate::entry::Entry;
use crate::envelope::Stored as _;
use crate::error::CacheError;
use crate::files;
use crate::folders::Layout;
use crate::key::StoreKey;
use crate::pack::Pack;
use crate::sled_store::SledStore;
use crate::store::{MemoryStore, Pairs, Store};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

pub(super) fn open(root: &Path, jet: &str, patience: Duration) -> Result<Overlay, CacheError> {
    let layout = Layout::of(root);
    files::make_folder(root)?;
    let lock = Lock::acquire(&layout.lock, patience)?;
    files::remove_leftovers(&layout.snapshot);
    let mut notices = Vec::new();
    let snapshot = read_snapshot(&layout.snapshot, &mut notices)?;
    compact::finish(&layout)?;
    let mut stores = open_stores(&layout.store, patience, &mut notices)?;
    let mut entries = read_entries(&mut *stores.entries, stores.pairs, &mut notices)?;
    let complete = snapshot.as_ref().is_some_and(|old| old.entries == entries);
    let snapshot = snapshot.unwrap_or_default();
    let lost: Vec<(StoreKey, Entry)> =
        snapshot.entries.into_iter().filter(|(key, _)| !entries.contains_key(key)).collect();
    let mut sealed = Vec::with_capacity(lost.len());
    for (key, entry) in &lost {
        sealed.push((*key, entry.encode()?));
    }
    if !sealed.is_empty() {
        stores.entries.put(&pairs(&sealed))?;
    }
    entries.extend(lost);
    let mut overlay = Overlay {
        cubins: CubinStore::at(&layout.cubins),
        layout: Some(layout),
        store: stores.entries,
        extras: stores.extras,
        entries,
        recipes: BTreeMap::new(),
        jet: jet.to_owned(),
        notices,
        _lock: Some(lock),
    };
    let same_recipes = overlay.read_recipes(snapshot.recipes)?;
    if !complete || !same_recipes {
        overlay.export_snapshot()?;
    }
    Ok(overlay)
}

/// The snapshot's entries and recipes; what is damaged is left out with a notice.
pub(super) fn read_snapshot(path: &Path, notices: &mut Vec<String>) -> Result<Option<Contents>, CacheError> {
    let pack = match Pack::load(path) {
        Ok(pack) => pack,
        Err(e @ CacheError::NewerFormat { .. }) => return Err(e),
        Err(damaged) => {
            notices.push(damaged.to_string());
            None
        }
    };
    let Some(pack) = pack else { return Ok(None) };
    let mut all = Contents::default();
    for record in pack.entries() {
        match record {
            Ok(entry) => drop(all.entries.insert(*entry.key.store_key(), (*entry).clone())),
            Err(damaged) => notices.push(damaged.to_string()),
        }
    }
    for record in pack.recipes() {
        match record {
            Ok(recipe) => drop(all.recipes.insert(recipe.place(), recipe)),
            Err(damaged) => notices.push(damaged.to_string()),
        }
    }
    Ok(Some(all))
}

/// The two durable stores, and what the first holds.
pub(super) struct Stores {
    pub(super) entries: Box<dyn Store>,
    pub(super) extras: Box<dyn Store>,
    pub(super) pairs: Pairs,
}

/// Opens the durable stores; where they cannot even be begun anew, records go to the snapshot alone.
pub(super) fn open_stores(
    path: &Path,
    patience: Duration,
    notices: &mut Vec<String>,
) -> Result<Stores, CacheError> {
    match SledStore::open(path, patience) {
        Ok(opened) => {
            notices.extend(opened.notices);
            let (entries, extras) = (Box::new(opened.entries), Box::new(opened.extras));
            Ok(Stores { entries, extras, pairs: opened.pairs })
        }
        Err(unusable @ CacheError::Store { .. }) => {
            notices.push(format!("{unusable}; until then the snapshot alone keeps what is tuned"));
            let memory = || Box::new(MemoryStore::default());
            Ok(Stores { entries: memory(), extras: memory(), pairs: Pairs::new() })
        }
        Err(other) => Err(other),
    }
}

/// Decodes what the store holds and removes what is damaged.
fn read_entries(
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

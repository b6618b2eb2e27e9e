//! Writing the durable store anew, since sled keeps what was overwritten. The new folder is complete before the old one
//! is moved, and whoever opens the overlay after a kill in between finishes or undoes it.

use super::extras::pairs;
use super::{Overlay, open};
use crate::error::CacheError;
use crate::folders::Layout;
use crate::sled_store::SledStore;
use crate::store::{MemoryStore, Store as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn with_suffix(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The copy that is being made.
fn new(layout: &Layout) -> PathBuf {
    with_suffix(&layout.store, ".new")
}

/// The folder that the copy replaces.
fn old(layout: &Layout) -> PathBuf {
    with_suffix(&layout.store, ".old")
}

/// Finishes or undoes what a killed compaction left. Call it under the lock.
pub(super) fn finish(layout: &Layout) -> Result<(), CacheError> {
    let (new, old) = (new(layout), old(layout));
    let done = if layout.store.exists() {
        // Either the copy was not complete yet, or it has taken its place.
        remove_folder(&new).and_then(|()| remove_folder(&old))
    } else if old.exists() && new.exists() {
        // The old folder moves only when the copy is complete.
        fs::rename(&new, &layout.store).and_then(|()| remove_folder(&old))
    } else {
        remove_folder(&new)
    };
    done.map_err(|source| CacheError::NotWritable { path: layout.store.clone(), source })
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Bytes of all files below a folder.
pub(super) fn folder_bytes(path: &Path) -> u64 {
    let files = fs::read_dir(path).into_iter().flatten().flatten();
    files
        .map(|file| match file.metadata() {
            Ok(m) if m.is_dir() => folder_bytes(&file.path()),
            Ok(m) => m.len(),
            Err(_) => 0,
        })
        .sum()
}

impl Overlay {
    /// Copies the store into a new folder, which takes its place.
    pub(super) fn compact(&mut self) -> Result<(), CacheError> {
        let Some(layout) = self.layout.clone() else { return Ok(()) };
        let (new, old) = (new(&layout), old(&layout));
        let extras = self.extras.iterate()?;
        let mut sealed = Vec::with_capacity(self.entries.len());
        for (key, entry) in &self.entries {
            sealed.push((*key, entry.encode()?));
        }
        let mut copy = SledStore::open(&new, Duration::ZERO)?;
        copy.entries.put(&pairs(&sealed))?;
        let borrowed: Vec<(&[u8], &[u8])> = extras.iter().map(|(k, v)| (&k[..], &v[..])).collect();
        copy.extras.put(&borrowed)?;
        drop(copy);
        // sled has the folder until its last handle is gone.
        self.store = Box::new(MemoryStore::default());
        self.extras = Box::new(MemoryStore::default());
        let moved = fs::rename(&layout.store, &old).and_then(|()| fs::rename(&new, &layout.store));
        moved.map_err(|source| CacheError::NotWritable { path: layout.store.clone(), source })?;
        // The space matters, not the name: what cannot be removed now goes with the next opening.
        let _ = remove_folder(&old);
        let stores = open::open_stores(&layout.store, super::PATIENCE, &mut self.notices)?;
        (self.store, self.extras) = (stores.entries, stores.extras);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::sample;
    use crate::failure::tests::failure;
    use crate::pack::Manifest;

    fn filled(folder: &Path) -> Vec<u8> {
        let mut overlay = Overlay::open(folder, "0.1.0").unwrap();
        for round in 0..4 {
            for i in 0..30 {
                overlay.commit(sample(1 << (i % 10), round + i)).unwrap();
            }
        }
        overlay.reject(&failure(64, 8)).unwrap();
        overlay.contents().encode(&Manifest::default()).unwrap()
    }

    fn holds(folder: &Path) -> Vec<u8> {
        let mut overlay = Overlay::open(folder, "0.1.0").unwrap();
        assert!(overlay.notices().is_empty(), "{:?}", overlay.notices());
        overlay.contents().encode(&Manifest::default()).unwrap()
    }

    #[test]
    fn a_compacted_store_holds_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let before = filled(folder.path());
        let layout = Layout::of(folder.path());
        let mut overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
        overlay.compact().unwrap();
        overlay.commit(sample(1 << 12, 1)).unwrap();
        overlay.remove(sample(1 << 12, 1).key.store_key()).unwrap();
        drop(overlay);
        assert_eq!(holds(folder.path()), before);
        assert!(!new(&layout).exists() && !old(&layout).exists());
    }

    #[test]
    fn a_compaction_killed_anywhere_is_finished_or_undone() {
        let folder = tempfile::tempdir().unwrap();
        let before = filled(folder.path());
        let layout = Layout::of(folder.path());
        // Killed while copying: half a folder.
        fs::create_dir(new(&layout)).unwrap();
        fs::write(new(&layout).join("db"), b"half").unwrap();
        assert_eq!(holds(folder.path()), before);
        assert!(!new(&layout).exists());
        // Killed between the two renames.
        fs::rename(&layout.store, new(&layout)).unwrap();
        fs::create_dir(old(&layout)).unwrap();
        assert_eq!(holds(folder.path()), before);
        assert!(!new(&layout).exists() && !old(&layout).exists());
        // Killed before the old folder was removed.
        fs::create_dir(old(&layout)).unwrap();
        assert_eq!(holds(folder.path()), before);
        assert!(!old(&layout).exists());
    }
}

//! Garbage collection: what nothing can find any more, and what damage and kills have left.

use super::Overlay;
use super::compact::folder_bytes;
use crate::contents::Contents;
use crate::digest::Digest;
use crate::envelope::Stored;
use crate::error::CacheError;
use crate::files::is_older;
use crate::folders::Layout;
use crate::key::{StoreKey, TaskFields};
use crate::trials::Trials;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Space that a store may waste before it is written anew.
const WASTE: u64 = 1 << 20;

/// What is swept.
pub struct Sweep<'a> {
    /// Says why records with these fields can never be found again, as in "its code is kernels-1, this jet has kernels-2".
    pub obsolete: &'a dyn Fn(&TaskFields) -> Option<String>,
    /// Files that no record names stay until they are this old: another process may be about to name them.
    pub older_than: Duration,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What went, or would go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Labels of the entries, each with the reason.
    pub entries: Vec<(String, String)>,
    /// Side records that were obsolete or had no entry.
    pub trials: usize,
    /// Failed candidates that were obsolete.
    pub failures: usize,
    /// Kernels that no entry names.
    pub cubins: Vec<Digest>,
    /// Folders and files that were set aside or left over.
    pub leftovers: Vec<PathBuf>,
    /// Bytes of the whole folder before.
    pub bytes_before: u64,
    /// Bytes of the whole folder after; the same as before in a dry run.
    pub bytes_after: u64,
}

impl Overlay {
    /// Removes what nothing can find any more, and writes a store anew that wastes space. Pinned entries stay.
    ///
    /// # Errors
    /// [`CacheError::Store`], [`CacheError::NotWritable`].
    pub fn sweep(&mut self, rules: &Sweep<'_>) -> Result<Swept, CacheError> {
        let root = self.layout.as_ref().map(|layout| layout.root.clone());
        let bytes = || root.as_deref().map_or(0, folder_bytes);
        let mut out = Swept { bytes_before: bytes(), ..Swept::default() };
        let mut extras = Contents::default();
        self.add_extras(&mut extras);
        let gone = self.obsolete_entries(rules, &mut out);
        let extras_gone = self.obsolete_extras(rules, &extras, &gone, &mut out);
        out.cubins = self.nameless_cubins(rules, &gone);
        out.leftovers = self.layout.as_ref().map_or(Vec::new(), |layout| leftovers(layout, rules.older_than));
        if !rules.dry_run {
            self.remove_all(&gone, &extras_gone, &out)?;
            self.compact_if_wasteful(&extras)?;
        }
        out.bytes_after = bytes();
        Ok(out)
    }

    fn obsolete_entries(&self, rules: &Sweep<'_>, out: &mut Swept) -> BTreeSet<StoreKey> {
        let mut gone = BTreeSet::new();
        for (key, entry) in self.entries.iter().filter(|(_, entry)| !entry.pinned) {
            if let Some(reason) = (rules.obsolete)(entry.key.fields()) {
                gone.insert(*key);
                out.entries.push((entry.key.label(), reason));
            }
        }
        gone
    }

    fn obsolete_extras(
        &self,
        rules: &Sweep<'_>,
        extras: &Contents,
        gone: &BTreeSet<StoreKey>,
        out: &mut Swept,
    ) -> Vec<StoreKey> {
        let lost = |key: &StoreKey| gone.contains(key) || !self.entries.contains_key(key);
        let old = |t: &&Trials| lost(t.key.store_key()) || (rules.obsolete)(t.key.fields()).is_some();
        let mut places: Vec<_> = extras.trials.values().filter(old).map(Stored::place).collect();
        out.trials = places.len();
        let failed = extras.failures.values().filter(|f| (rules.obsolete)(&f.key.task).is_some());
        places.extend(failed.map(Stored::place));
        out.failures = places.len() - out.trials;
        places
    }

    /// Kernels that no entry names which stays, and that are old enough.
    fn nameless_cubins(&self, rules: &Sweep<'_>, gone: &BTreeSet<StoreKey>) -> Vec<Digest> {
        let kept = self.entries.iter().filter(|(key, _)| !gone.contains(*key)).map(|(_, entry)| entry);
        let named: BTreeSet<Digest> = kept.flat_map(|e| e.cubins.iter().map(|c| c.digest)).collect();
        let listed = self.cubins.list().into_iter().map(|(digest, _)| digest);
        let old = |digest: &Digest| self.cubins.is_older(digest, rules.older_than);
        listed.filter(|digest| !named.contains(digest) && old(digest)).collect()
    }

    fn remove_all(
        &mut self,
        gone: &BTreeSet<StoreKey>,
        extras_gone: &[StoreKey],
        out: &Swept,
    ) -> Result<(), CacheError> {
        self.entries.retain(|key, _| !gone.contains(key));
        // Snapshot first: what is only in the snapshot would come back with the next opening.
        self.export_snapshot()?;
        gone.iter().try_for_each(|key| self.store.remove(key.as_bytes()).map(drop))?;
        extras_gone.iter().try_for_each(|key| self.extras.remove(key.as_bytes()).map(drop))?;
        out.cubins.iter().try_for_each(|digest| self.cubins.remove(digest).map(drop))?;
        out.leftovers.iter().try_for_each(|path| remove(path))
    }

    fn compact_if_wasteful(&mut self, extras: &Contents) -> Result<(), CacheError> {
        let Some(store) = self.layout.as_ref().map(|layout| layout.store.clone()) else { return Ok(()) };
        let sized = |bytes: Result<Vec<u8>, CacheError>| bytes.map_or(0, |b| b.len() as u64);
        let live: u64 = self.entries.values().map(|e| sized(e.encode())).sum::<u64>()
            + extras.trials.values().map(|t| sized(t.encode())).sum::<u64>()
            + extras.recipes.values().map(|r| sized(r.encode())).sum::<u64>()
            + extras.failures.values().map(|f| sized(f.encode())).sum::<u64>();
        if folder_bytes(&store) > 2 * live + WASTE { self.compact() } else { Ok(()) }
    }
}

/// Folders of damaged stores, sled's snapshot files that were set aside, and files of killed writers.
fn leftovers(layout: &Layout, older_than: Duration) -> Vec<PathBuf> {
    let in_folder = |folder: &Path, ours: fn(&str) -> bool| -> Vec<PathBuf> {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let named = files.filter(|file| file.file_name().to_str().is_some_and(ours));
        named.map(|file| file.path()).filter(|path| is_older(path, older_than)).collect()
    };
    let mut all = in_folder(&layout.root, |name| name.starts_with("schedules.sled.corrupt-"));
    all.extend(in_folder(&layout.store, |name| name.starts_with("aside.snap.")));
    all.extend(in_folder(&layout.cubins, |name| name.starts_with('.') && name.contains(".tmp-")));
    all.sort();
    all
}

fn remove(path: &Path) -> Result<(), CacheError> {
    let done = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    done.map_err(|source| CacheError::NotWritable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::tests::contents;
    use crate::entry::tests::sample;
    use crate::failure::tests::failure;
    use crate::trials::tests::trials;

    fn old_code(fields: &TaskFields) -> Option<String> {
        (fields.code != "cpu-2").then(|| format!("its code is {}, this jet has cpu-2", fields.code))
    }

    #[test]
    fn obsolete_records_and_nameless_kernels_go_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
        overlay.import(contents(), "ab12", true).unwrap();
        let mut current = sample(1, 3);
        let mut fields = current.key.fields().clone();
        fields.code = "cpu-2".into();
        current.key = crate::TaskKey::new(fields);
        overlay.commit(current.clone()).unwrap();
        overlay.pin(sample(1, 4).key.store_key(), true).unwrap();
        let stray = overlay.keep_cubin(b"nobody names it").unwrap();
        let aside = folder.path().join("schedules.sled.corrupt-1");
        fs::create_dir(&aside).unwrap();

        let rules = |dry_run, older_than| Sweep { obsolete: &old_code, older_than, dry_run };
        let young = overlay.sweep(&rules(true, Duration::from_secs(3600))).unwrap();
        assert!(young.cubins.is_empty() && young.leftovers.is_empty(), "{young:?}");
        let dry = overlay.sweep(&rules(true, Duration::ZERO)).unwrap();
        assert_eq!((overlay.entries().len(), aside.exists(), overlay.cubins().has(&stray)), (3, true, true));
        assert_eq!(dry.bytes_after, dry.bytes_before);

        let swept = overlay.sweep(&rules(false, Duration::ZERO)).unwrap();
        assert_eq!((&swept.entries, swept.trials, swept.failures), (&dry.entries, 1, 1));
        assert_eq!(swept.cubins.len(), 2, "the stray one and that of the obsolete entry");
        assert_eq!(swept.leftovers, std::slice::from_ref(&aside));
        assert!(swept.entries[0].1.contains("cpu-1") && swept.bytes_after < swept.bytes_before);
        let check = |overlay: &mut Overlay| {
            let left: Vec<i64> = overlay.entries().map(|e| e.schedule["tile"]).collect();
            assert_eq!(left.len(), 2);
            assert!(left.contains(&3) && left.contains(&4), "the current one and the pinned one");
            assert!(overlay.trials(&trials(64, 1.0).key).is_none());
            assert!(overlay.rejection(&failure(64, 32).key).is_none());
        };
        check(&mut overlay);
        assert!(!aside.exists() && overlay.cubins().list().is_empty());
        drop(overlay);
        check(&mut Overlay::open(folder.path(), "0.1.0").unwrap());
    }

    #[test]
    fn a_store_that_wastes_space_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
        let mut long = trials(64, 1.0);
        long.provenance.command = "x".repeat(200_000);
        overlay.commit(sample(64, 8)).unwrap();
        for i in 0..30 {
            long.provenance.time = i;
            overlay.record_trials(&long).unwrap();
        }
        let rules = Sweep { obsolete: &|_| None, older_than: Duration::ZERO, dry_run: false };
        let swept = overlay.sweep(&rules).unwrap();
        assert!(swept.bytes_before > 3 << 20 && swept.bytes_after < swept.bytes_before / 2, "{swept:?}");
        assert_eq!(overlay.trials(&long.key).unwrap().provenance.time, 29);
        assert_eq!(overlay.entries().len(), 1);
    }
}

//! Bringing the contents of a pack into the overlay.

use super::Overlay;
use crate::contents::Contents;
use crate::digest::Digest;
use crate::entry::{Entry, Origin, Status};
use crate::envelope::Stored;
use crate::error::CacheError;
use crate::key::StoreKey;
use crate::merge::{Conflict, merge, strictly};
use serde::Serialize;

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Tasks that were not stored before.
    pub added: usize,
    /// Tasks whose stored record was weaker.
    pub replaced: usize,
    /// Tasks whose stored record is the same or stronger, and stays.
    pub kept: usize,
    /// Recipes that were not here, or older.
    pub recipes: usize,
    /// Kernels that were not stored before.
    pub cubins: usize,
    /// Kernels that entries name and that neither the pack nor this machine has: they will be compiled.
    pub missing_cubins: Vec<Digest>,
    /// Tasks for which the two sides name different schedules.
    pub conflicts: Vec<Conflict>,
}

impl Overlay {
    /// Merges `contents` into the overlay. `host` is this machine's hash: records made on it come back as they
    /// were, so an export is a backup; others become `imported` at best and lose their pins. With `strict` nothing is stored
    /// where the two sides name different schedules for one task.
    ///
    /// # Errors
    /// [`CacheError::Conflicts`]; those of [`Overlay::commit`].
    pub fn import(&mut self, contents: Contents, host: &str, strict: bool) -> Result<Imported, CacheError> {
        let Contents { entries, trials, failures, recipes, cubins } = contents;
        let mut out = Imported::default();
        let mut chosen = Vec::new();
        for arrival in entries.into_values() {
            let arrival = adopt(arrival, host);
            let there = self.entries.get(arrival.key.store_key());
            let (kept, conflicts) = merge(there.cloned().into_iter().chain([arrival]))?;
            out.conflicts.extend(conflicts);
            let better = kept.into_values().find(|best| Some(best) != there);
            match (&better, there) {
                (None, _) => out.kept += 1,
                (Some(_), None) => out.added += 1,
                (Some(_), Some(_)) => out.replaced += 1,
            }
            chosen.extend(better);
        }
        if strict {
            strictly(&out.conflicts)?;
        }
        // Kernels go before the entries that name them, as in a commit.
        for (digest, bytes) in &cubins {
            out.cubins += usize::from(!self.cubins.has(digest));
            self.cubins.put(bytes)?;
        }
        let named = chosen.iter().flat_map(|entry| &entry.cubins).map(|c| c.digest);
        out.missing_cubins = named.filter(|digest| !self.cubins.has(digest)).collect();
        out.missing_cubins.sort();
        out.missing_cubins.dedup();
        if !chosen.is_empty() {
            self.put_entries(chosen)?;
        }
        let mut sealed = Vec::new();
        self.seal_new(trials.into_iter(), &mut sealed)?;
        self.seal_new(failures.into_iter(), &mut sealed)?;
        self.put_sealed_extras(&sealed)?;
        out.recipes = self.import_recipes(recipes.into_values())?;
        Ok(out)
    }

    /// Seals those extras that are not here already: what is here was found out on this machine.
    fn seal_new<T: Stored>(
        &mut self,
        arrivals: impl Iterator<Item = (StoreKey, T)>,
        sealed: &mut Vec<(StoreKey, Vec<u8>)>,
    ) -> Result<(), CacheError> {
        for (key, record) in arrivals {
            if self.extra::<T>(&key).is_none() {
                sealed.push((key, record.seal()?));
            }
        }
        Ok(())
    }
}

/// A record as this machine may hold it.
fn adopt(entry: Entry, host: &str) -> Entry {
    if !host.is_empty() && entry.provenance.host == host {
        return entry;
    }
    Entry { status: entry.status.min(Status::Imported), origin: Origin::Imported, pinned: false, ..entry }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::tests::contents;
    use crate::entry::tests::sample;
    use crate::pack::{Manifest, Pack};

    /// The host of every sample.
    const HERE: &str = "ab12";

    fn there(overlay: &mut Overlay) -> Vec<u8> {
        overlay.contents().encode(&Manifest::default()).unwrap()
    }

    #[test]
    fn exporting_and_importing_is_the_identity() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut first = Overlay::open(from.path(), "0.1.0").unwrap();
        first.import(contents(), HERE, true).unwrap();
        first.pin(sample(1, 4).key.store_key(), true).unwrap();
        let exported = there(&mut first);
        let unpacked = Contents::of_pack(&Pack::from_bytes(exported.clone(), "p").unwrap()).unwrap();
        let mut second = Overlay::open(to.path(), "0.1.0").unwrap();
        let done = second.import(unpacked.clone(), HERE, true).unwrap();
        assert_eq!((done.added, done.replaced, done.kept, done.cubins), (2, 0, 0, 1));
        assert_eq!(there(&mut second), exported);
        let again = second.import(unpacked, HERE, true).unwrap();
        assert_eq!((again.added, again.replaced, again.kept, again.cubins), (0, 0, 2, 0));
        drop(second);
        assert_eq!(there(&mut Overlay::open(to.path(), "0.1.0").unwrap()), exported);
    }

    #[test]
    fn what_another_machine_verified_is_imported_here() {
        let mut overlay = Overlay::in_memory("0.1.0");
        let mut foreign = contents();
        foreign.entries.values_mut().for_each(|e| e.pinned = true);
        overlay.import(foreign.clone(), "elsewhere", false).unwrap();
        for entry in overlay.entries() {
            assert_eq!(
                (entry.status, entry.origin, entry.pinned),
                (Status::Imported, Origin::Imported, false)
            );
        }
        let before = there(&mut overlay);
        let again = overlay.import(foreign, "elsewhere", true).unwrap();
        assert_eq!((again.kept, there(&mut overlay)), (2, before));
        // What is verified here is not replaced by it, and takes its place.
        let mut own = Overlay::in_memory("0.1.0");
        own.commit(sample(1, 9)).unwrap();
        let done = own.import(contents(), "elsewhere", false).unwrap();
        assert_eq!((done.added, done.kept, done.conflicts.len()), (1, 1, 1));
        assert_eq!(own.get(sample(1, 0).key.store_key()).unwrap().schedule["tile"], 9);
    }

    #[test]
    fn a_strict_import_with_a_conflict_stores_nothing() {
        let mut overlay = Overlay::in_memory("0.1.0");
        overlay.commit(sample(1, 9)).unwrap();
        let before = there(&mut overlay);
        let message = overlay.import(contents(), HERE, true).unwrap_err().to_string();
        assert!(message.contains("tile=9") && message.contains("tile=4"), "{message}");
        assert_eq!(there(&mut overlay), before);
    }

    #[test]
    fn kernels_that_nobody_has_are_told() {
        let mut without = contents();
        let digest = without.cubins.pop_first().unwrap().0;
        let mut overlay = Overlay::in_memory("0.1.0");
        assert_eq!(overlay.import(without.clone(), HERE, true).unwrap().missing_cubins, [digest]);
        let bound = without.entries.into_values().find(|e| !e.cubins.is_empty()).unwrap();
        let message = Overlay::in_memory("0.1.0").commit(bound.clone()).unwrap_err().to_string();
        assert!(message.contains(&digest.to_string()), "{message}");
        overlay.keep_cubin(b"a compiled kernel").unwrap();
        overlay.commit(bound).unwrap();
        assert_eq!(overlay.contents().cubins.len(), 1);
    }
}

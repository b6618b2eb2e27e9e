//! What a pack or a whole overlay holds, unpacked: records of every kind and the compiled kernels they name.

use crate::digest::Digest;
use crate::entry::Entry;
use crate::envelope::Stored as _;
use crate::error::CacheError;
use crate::failure::Failure;
use crate::files;
use crate::key::StoreKey;
use crate::pack::{self, Manifest, Pack};
use crate::recipe::StoredRecipe;
use crate::trials::Trials;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Records by their places, and kernels by their content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The winners.
    pub entries: BTreeMap<StoreKey, Entry>,
    /// The side records.
    pub trials: BTreeMap<StoreKey, Trials>,
    /// The candidates that failed.
    pub failures: BTreeMap<StoreKey, Failure>,
    /// The recipes of models.
    pub recipes: BTreeMap<StoreKey, StoredRecipe>,
    /// Compiled kernels.
    pub cubins: BTreeMap<Digest, Vec<u8>>,
}

impl Contents {
    /// These entries and nothing else; of two for one task the later stays.
    pub fn of_entries(entries: impl IntoIterator<Item = Entry>) -> Self {
        let entries = entries.into_iter().map(|e| (*e.key.store_key(), e)).collect();
        Self { entries, ..Self::default() }
    }

    /// All that `pack` holds.
    ///
    /// # Errors
    /// The first damaged record or attachment: what is passed on must be whole.
    pub fn of_pack(pack: &Pack) -> Result<Self, CacheError> {
        pack.check_kinds()?;
        let mut all = Self::default();
        for entry in pack.entries() {
            let entry = entry?;
            all.entries.insert(*entry.key.store_key(), (*entry).clone());
        }
        for trials in pack.trials() {
            let trials = trials?;
            all.trials.insert(trials.place(), trials);
        }
        for failure in pack.failures() {
            let failure = failure?;
            all.failures.insert(failure.place(), failure);
        }
        for recipe in pack.recipes() {
            let recipe = recipe?;
            all.recipes.insert(recipe.place(), recipe);
        }
        for digest in pack.attachments() {
            if let Some(bytes) = pack.attachment(&digest)? {
                all.cubins.insert(digest, bytes.to_owned());
            }
        }
        Ok(all)
    }

    /// All that the pack file at `path` holds.
    ///
    /// # Errors
    /// As [`Contents::of_pack`] and [`Pack::load`]; a missing file is one that cannot be read.
    pub fn load(path: &Path) -> Result<Self, CacheError> {
        let missing = || CacheError::NotReadable {
            path: path.to_owned(),
            source: io::Error::new(io::ErrorKind::NotFound, "there is no such file"),
        };
        Self::of_pack(&Pack::load(path)?.ok_or_else(missing)?)
    }

    /// The bytes of a pack with all of this.
    ///
    /// # Errors
    /// [`CacheError::InvalidEntry`] for a record that must not be stored.
    pub fn encode(&self, manifest: &Manifest) -> Result<Vec<u8>, CacheError> {
        let mut extras = BTreeMap::new();
        for (key, trials) in &self.trials {
            extras.insert(*key, trials.encode()?);
        }
        for (key, failure) in &self.failures {
            extras.insert(*key, failure.encode()?);
        }
        for (key, recipe) in &self.recipes {
            extras.insert(*key, recipe.encode()?);
        }
        let cubins: Vec<&[u8]> = self.cubins.values().map(Vec::as_slice).collect();
        pack::encode_with_extras(manifest, self.entries.values(), &extras, &cubins)
    }

    /// Writes all of this as a pack file, whole or not at all.
    ///
    /// # Errors
    /// Those of [`Contents::encode`], and [`CacheError::NotWritable`].
    pub fn write(&self, path: &Path, manifest: &Manifest) -> Result<(), CacheError> {
        files::write_atomically(path, &self.encode(manifest)?)
    }

    /// Removes the kernels that no entry names, and lists, sorted, those that an entry names and that are not here.
    pub fn bind_cubins(&mut self) -> Vec<Digest> {
        let mut named: Vec<Digest> =
            self.entries.values().flat_map(|e| e.cubins.iter().map(|c| c.digest)).collect();
        named.sort();
        named.dedup();
        self.cubins.retain(|digest, _| named.binary_search(digest).is_ok());
        named.retain(|digest| !self.cubins.contains_key(digest));
        named
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::entry::CubinRef;
    use crate::entry::tests::sample;
    use crate::failure::tests::failure;
    use crate::recipe::tests::recipe;
    use crate::trials::tests::trials;

    /// Two entries, one of them with a kernel, a side record, a failure, a recipe.
    pub(crate) fn contents() -> Contents {
        let mut bound = sample(64, 8);
        let kernel = b"a compiled kernel".to_vec();
        let digest = Digest::of(&kernel);
        bound.cubins = vec![CubinRef { kernel: "gemm".into(), arch: "sm_90a".into(), digest }];
        let (side, failed, recipe) = (trials(64, 100.0), failure(64, 32), recipe("m"));
        Contents {
            trials: BTreeMap::from([(side.place(), side)]),
            failures: BTreeMap::from([(failed.place(), failed)]),
            recipes: BTreeMap::from([(recipe.place(), recipe)]),
            cubins: BTreeMap::from([(digest, kernel)]),
            ..Contents::of_entries([bound, sample(1, 4)])
        }
    }

    #[test]
    fn packing_and_unpacking_is_the_identity() {
        let bytes = contents().encode(&Manifest::default()).unwrap();
        let pack = Pack::from_bytes(bytes.clone(), "p").unwrap();
        pack.verify().unwrap();
        let unpacked = Contents::of_pack(&pack).unwrap();
        assert_eq!(unpacked, contents());
        assert_eq!(unpacked.encode(&Manifest::default()).unwrap(), bytes);
    }

    #[test]
    fn a_flipped_byte_anywhere_is_refused() {
        let good = contents().encode(&Manifest::default()).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            let read = Pack::from_bytes(bad, "p").and_then(|pack| Contents::of_pack(&pack));
            assert!(read.is_err(), "byte {at} went unnoticed");
        }
    }

    #[test]
    fn kernels_without_an_entry_go_and_entries_without_a_kernel_are_listed() {
        let mut all = contents();
        let stray = Digest::of(b"stray");
        all.cubins.insert(stray, b"stray".to_vec());
        assert_eq!(all.bind_cubins(), []);
        assert_eq!(all, contents());
        let wanted = *all.cubins.keys().next().unwrap();
        all.cubins.clear();
        assert_eq!(all.bind_cubins(), [wanted]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = Contents::load(&folder.path().join("none.jetpack")).unwrap_err().to_string();
        assert!(message.contains("none.jetpack") && message.contains("no such file"), "{message}");
    }
}

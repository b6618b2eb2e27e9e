//! The store of compiled kernels: one file for each content, named by its SHA-256.
//!
//! Any number of processes may write at the same time without a lock: equal names mean equal bytes, a file appears
//! whole by a rename, and whoever loses a race has written the same. A reader takes nothing whose bytes do not have
//! the digest that the entry names, so parts of two writers never mix.

use crate::digest::Digest;
use crate::error::CacheError;
use crate::files;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the names of the files end with.
const EXTENSION: &str = "cubin";

/// Compiled kernels by content: in a folder, or in memory where nothing is to be written.
#[derive(Clone, Debug, Default)]
pub struct CubinStore {
    folder: Option<PathBuf>,
    kept: BTreeMap<Digest, Vec<u8>>,
}

impl CubinStore {
    /// The store in `folder`, which is made by the first [`CubinStore::put`].
    pub fn at(folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()), kept: BTreeMap::new() }
    }

    /// A store that is forgotten.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Where the file of `digest` is or would be.
    fn path(&self, digest: &Digest) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(format!("{digest}.{EXTENSION}")))
    }

    /// Keeps `bytes` and gives their digest. A damaged file of the same name is replaced.
    ///
    /// # Errors
    /// [`CacheError::NotWritable`].
    pub fn put(&mut self, bytes: &[u8]) -> Result<Digest, CacheError> {
        let digest = Digest::of(bytes);
        let (Some(path), Some(folder)) = (self.path(&digest), &self.folder) else {
            self.kept.insert(digest, bytes.to_owned());
            return Ok(digest);
        };
        if !matches!(self.get(&digest), Ok(Some(_))) {
            files::make_folder(folder)?;
            files::write_atomically(&path, bytes)?;
        }
        Ok(digest)
    }

    /// The kernel with this digest; `None` where there is none.
    ///
    /// # Errors
    /// [`CacheError::Damaged`] where the file holds other bytes, [`CacheError::NotReadable`].
    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, CacheError> {
        let Some(path) = self.path(digest) else { return Ok(self.kept.get(digest).cloned()) };
        let Some(bytes) = files::read_if_there(&path)? else { return Ok(None) };
        if Digest::of(&bytes) == *digest {
            return Ok(Some(bytes));
        }
        let found = format!("its {} bytes have another SHA-256 than its name", bytes.len());
        Err(CacheError::damaged(&path.display().to_string(), found))
    }

    /// Whether a file of this digest is there. Its bytes are not looked at: [`CubinStore::get`] does that.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).map_or_else(|| self.kept.contains_key(digest), |path| path.is_file())
    }

    /// Every kernel with its size in bytes, in order of the digests. Files that are not of this store are left out.
    pub fn list(&self) -> Vec<(Digest, u64)> {
        let Some(folder) = &self.folder else {
            return self.kept.iter().map(|(digest, bytes)| (*digest, bytes.len() as u64)).collect();
        };
        let named = |path: &Path| {
            let ours = path.extension()?.to_str()? == EXTENSION;
            path.file_stem()?.to_str()?.parse().ok().filter(|_| ours)
        };
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<_> = files
            .filter_map(|file| Some((named(&file.path())?, file.metadata().map_or(0, |m| m.len()))))
            .collect();
        found.sort();
        found
    }

    /// Whether the file of this digest was written at least so long ago; without a folder, always.
    pub(crate) fn is_older(&self, digest: &Digest, age: Duration) -> bool {
        self.path(digest).is_none_or(|path| crate::files::is_older(&path, age))
    }

    /// Removes the kernel with this digest and says whether there was one.
    ///
    /// # Errors
    /// [`CacheError::NotWritable`].
    pub fn remove(&mut self, digest: &Digest) -> Result<bool, CacheError> {
        let Some(path) = self.path(digest) else { return Ok(self.kept.remove(digest).is_some()) };
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(CacheError::NotWritable { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_stored_once_under_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = CubinStore::at(&folder.path().join("cubins"));
        assert!(store.list().is_empty());
        let first = store.put(b"one kernel").unwrap();
        assert_eq!(store.put(b"one kernel").unwrap(), first);
        let second = store.put(b"another").unwrap();
        assert_eq!(store.get(&first).unwrap().unwrap(), b"one kernel");
        let mut both = [(first, 10), (second, 7)];
        both.sort();
        assert_eq!(store.list(), both);
        assert!(store.remove(&first).unwrap() && !store.remove(&first).unwrap());
        assert!(!store.has(&first) && store.get(&first).unwrap().is_none());
    }

    #[test]
    fn other_bytes_under_a_name_are_refused_and_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = CubinStore::at(folder.path());
        let digest = store.put(b"one kernel").unwrap();
        let path = folder.path().join(format!("{digest}.cubin"));
        fs::write(&path, b"one kernal").unwrap();
        assert!(store.get(&digest).unwrap_err().to_string().contains("another SHA-256"));
        store.put(b"one kernel").unwrap();
        assert_eq!(store.get(&digest).unwrap().unwrap(), b"one kernel");
        fs::write(folder.path().join("notes.txt"), b"not ours").unwrap();
        assert_eq!(store.list().len(), 1);
    }

    #[test]
    fn many_writers_of_the_same_kernels_leave_whole_files() {
        let folder = tempfile::tempdir().unwrap();
        let kernels: Vec<Vec<u8>> = (0_u8..4).map(|i| vec![i; 40_000]).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut store = CubinStore::at(folder.path());
                    for kernel in &kernels {
                        let digest = store.put(kernel).unwrap();
                        assert_eq!(store.get(&digest).unwrap().unwrap(), *kernel);
                    }
                });
            }
        });
        assert_eq!(CubinStore::at(folder.path()).list().len(), 4);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "no temporary file is left");
    }

    #[test]
    fn without_a_folder_kernels_are_kept_in_memory() {
        let mut store = CubinStore::in_memory();
        let digest = store.put(b"k").unwrap();
        assert!(store.has(&digest) && store.get(&digest).unwrap().is_some());
        assert_eq!(store.list(), [(digest, 1)]);
        assert!(store.remove(&digest).unwrap());
    }
}

//! Files that are there whole or not at all.

use crate::error::CacheError;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Between the final name and the writer's own part of a temporary name.
const TEMPORARY: &str = ".tmp-";

/// Writes `bytes` to `path` by way of a temporary file beside it: written, synced, renamed, and the folder synced. A
/// reader sees the old file or the new one; a writer that is killed leaves the old one.
///
/// # Errors
/// [`CacheError::NotWritable`]; the temporary file is removed again where that is possible.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
    let error = |source| CacheError::NotWritable { path: path.to_owned(), source };
    let temporary = temporary_name(path).map_err(error)?;
    let written = write_and_rename(&temporary, path, bytes);
    if written.is_err() {
        // The file may not even have been made; the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(error)
}

fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let own = format!("{TEMPORARY}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(own);
    Ok(path.with_file_name(hidden))
}

fn write_and_rename(temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(temporary, path)?;
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()).map(File::open) {
        // Not every system can open or sync a folder; the rename itself has happened.
        Some(Ok(folder)) => folder.sync_all().or(Ok(())),
        _ => Ok(()),
    }
}

/// Removes temporary files that killed writers of `path` left. Call it only under the lock of all its writers.
pub(crate) fn remove_leftovers(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return;
    };
    let prefix = format!(".{name}{TEMPORARY}");
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        if file.file_name().to_str().is_some_and(|n| n.starts_with(&prefix)) {
            // Nothing depends on it: a leftover that stays only takes room.
            let _ = fs::remove_file(file.path());
        }
    }
}

/// Reads a whole file; `None` where there is none.
///
/// # Errors
/// [`CacheError::NotReadable`].
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, CacheError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CacheError::NotReadable { path: path.to_owned(), source }),
    }
}

/// Makes a folder and its parents.
///
/// # Errors
/// [`CacheError::NotWritable`].
pub fn make_folder(path: &Path) -> Result<(), CacheError> {
    fs::create_dir_all(path).map_err(|source| CacheError::NotWritable { path: path.to_owned(), source })
}

/// Whether a file or folder was last changed at least so long ago. What cannot say is taken as new.
pub(crate) fn is_older(path: &Path, age: Duration) -> bool {
    let changed = fs::metadata(path).and_then(|m| m.modified());
    changed.is_ok_and(|time| SystemTime::now().duration_since(time).unwrap_or_default() >= age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(read_if_there(&path).unwrap().unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(read_if_there(&folder.path().join("none")).unwrap(), None);
    }

    #[test]
    fn a_failed_write_names_the_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        let message = write_atomically(&path, b"x").unwrap_err().to_string();
        assert!(message.contains("taken") && message.contains("JET_CACHE_DIR"), "{message}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_atomically(&folder.path().join("no/such/folder"), b"x").is_err());
    }

    #[test]
    fn leftovers_of_one_file_are_removed_and_others_kept() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".a.bin.tmp-1-0", ".b.bin.tmp-1-0", "a.bin"] {
            fs::write(folder.path().join(name), b"x").unwrap();
        }
        remove_leftovers(&folder.path().join("a.bin"));
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".b.bin.tmp-1-0", "a.bin"]);
    }
}

//! Bytes of a file, mapped read-only. The only unsafe code of this crate.
#![allow(unsafe_code, reason = "maps a file")]

use super::Error;
use std::fs::File;
use std::ops::Deref;
use std::path::Path;

/// The bytes of a file: mapped, or held in memory (an empty file cannot be mapped, and tests have no file).
#[derive(Debug)]
pub struct FileBytes(Inner);

#[derive(Debug)]
enum Inner {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl FileBytes {
    /// Maps a file. Fails where it cannot be opened, or is no regular file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let io = |doing| move |source| Error::Io { path: path.to_owned(), doing, source };
        let file = File::open(path).map_err(io("open it"))?;
        let meta = file.metadata().map_err(io("read its size"))?;
        if !meta.is_file() {
            let source = std::io::Error::other("it is not a regular file");
            return Err(Error::Io { path: path.to_owned(), doing: "map it", source });
        }
        if meta.len() == 0 {
            return Ok(Self(Inner::Owned(Vec::new())));
        }
        // SAFETY: the map is private to this value, read-only and lives as long as the value; slices borrow it.
        // The remaining condition, that nobody writes to the file or truncates it meanwhile, is the caller's, as for
        // every program that maps its weights: checkpoints are replaced by rename, never edited in place.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io("map it"))?;
        Ok(Self(Inner::Mapped(map)))
    }

    /// Bytes in memory in place of a file.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Self(Inner::Owned(bytes))
    }

    /// Tells the system that `range` will not be read again soon, so that its pages may go. A hint: errors and
    /// ranges past the end are ignored, and reading again is correct, only slower.
    pub fn release(&self, range: std::ops::Range<usize>) {
        #[cfg(unix)]
        if let Inner::Mapped(map) = &self.0 {
            let (start, end) = (range.start.next_multiple_of(PAGE), range.end.min(map.len()) / PAGE * PAGE);
            if start < end {
                // SAFETY: the map is read-only and backed by a file, so dropping pages loses nothing: the next access
                // reads the file again. Only whole pages inside the range are named.
                let _ = unsafe {
                    map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, end - start)
                };
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

/// A multiple of every usual page size.
#[cfg(unix)]
const PAGE: usize = 1 << 16;

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Inner::Mapped(map) => map,
            Inner::Owned(bytes) => bytes,
        }
    }
}

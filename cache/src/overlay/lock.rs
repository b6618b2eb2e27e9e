//! The lock of an overlay's writers.

use crate::error::CacheError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// The overlay's lock: the system's own, which vanishes with the process. The file says who holds it.
pub(super) struct Lock(File);

impl Lock {
    pub(super) fn acquire(path: &Path, patience: Duration) -> Result<Self, CacheError> {
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

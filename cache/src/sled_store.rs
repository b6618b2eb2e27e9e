//! The durable store: sled 0.34.7, behind the four methods of [`Store`]. The only file that names it.
//!
//! What had to be known of sled: it takes the folder for one process and has no read-only way in; a damaged `snap.*`
//! file or a leftover of one makes opening fail although the log is sound; a truncated `db` panics; flipped bytes in
//! `db` go unnoticed. So every call is guarded against panics, a broken snapshot is set aside, what still cannot be opened is
//! renamed and begun anew, and whoever uses the store keeps a checksum in each value.

use crate::error::CacheError;
use crate::quiet::{install_hook, quietly};
use crate::store::{Pairs, Store};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Memory for sled's pages; its own default is 1 GiB, and a store of thousands of records is a few MiB.
const CACHE_CAPACITY: u64 = 32 << 20;

/// Pause between attempts at a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The name of the tree of extras; entries are in sled's default tree. A jet that knows of no extras never opens it,
/// and so leaves it as it is.
const EXTRAS: &[u8] = b"extras";

/// One tree of an open sled folder.
pub(crate) struct SledStore {
    /// Always there until the drop, which must guard the closing.
    open: Option<(sled::Db, sled::Tree)>,
    path: PathBuf,
}

/// Why a folder could not be opened.
enum Fault {
    /// Another process has it.
    Locked,
    /// The system refuses.
    System(io::Error),
    /// The files are not usable.
    Unusable(String),
}

/// A folder that was opened, what it holds of entries, and what had to be done for it.
pub(crate) struct Opened {
    pub(crate) entries: SledStore,
    pub(crate) extras: SledStore,
    pub(crate) pairs: Pairs,
    pub(crate) notices: Vec<String>,
}

/// What one attempt gave: both trees, and what the tree of entries holds.
type Trees = (SledStore, SledStore, Pairs);

impl SledStore {
    /// Opens the folder, waiting up to `patience` for another process, and reads all of it. Unusable files are recovered
    /// or, where that fails, the folder is renamed to `*.corrupt-TIME` and begun anew: the pairs are then empty.
    ///
    /// # Errors
    /// [`CacheError::Busy`], [`CacheError::NotWritable`], or [`CacheError::Store`] where even a new folder fails.
    pub(crate) fn open(path: &Path, patience: Duration) -> Result<Opened, CacheError> {
        install_hook();
        let mut notices = Vec::new();
        let give_up = |reason| CacheError::Store { path: path.to_owned(), reason };
        // First as it is, then without sled's snapshot files, then a new folder.
        let mends: [fn(&Path) -> io::Result<String>; 2] = [set_snapshots_aside, set_folder_aside];
        let mut mends = mends.into_iter();
        loop {
            let reason = match open_patiently(path, patience)? {
                Ok((entries, extras, pairs)) => return Ok(Opened { entries, extras, pairs, notices }),
                Err(reason) => reason,
            };
            let Some(mend) = mends.next() else { return Err(give_up(reason)) };
            let done =
                mend(path).map_err(|source| CacheError::NotWritable { path: path.to_owned(), source })?;
            notices.push(format!("the store {} was damaged ({reason}); {done}", path.display()));
        }
    }

    fn guard<R>(&self, work: impl FnOnce(&sled::Tree) -> sled::Result<R>) -> Result<R, CacheError> {
        let (_, tree) = self.open.as_ref().expect("the store is closed by its drop alone");
        let failed = |reason| CacheError::Store { path: self.path.clone(), reason };
        quietly(|| work(tree)).map_err(failed)?.map_err(|e| failed(e.to_string()))
    }
}

impl Store for SledStore {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, CacheError> {
        self.guard(|tree| Ok(tree.get(key)?.map(|value| value.to_vec())))
    }

    fn put(&mut self, pairs: &[(&[u8], &[u8])]) -> Result<(), CacheError> {
        self.guard(|tree| {
            pairs.iter().try_for_each(|(key, value)| tree.insert(key, *value).map(drop))?;
            tree.flush().map(drop)
        })
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, CacheError> {
        self.guard(|tree| {
            let removed = tree.remove(key)?;
            tree.flush()?;
            Ok(removed.is_some())
        })
    }

    fn iterate(&mut self) -> Result<Pairs, CacheError> {
        self.guard(|tree| tree.iter().map(|pair| pair.map(|(k, v)| (k.to_vec(), v.to_vec()))).collect())
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        let open = self.open.take();
        // All that matters was flushed by `put`; a panic while closing has nothing to tell.
        let _ = quietly(|| drop(open));
    }
}

/// Opens and reads, again and again while another process has the folder; the inner error says why the files are
/// unusable.
#[allow(clippy::type_complexity)] // The two levels of failure are the point: one is final, one can be mended.
fn open_patiently(path: &Path, patience: Duration) -> Result<Result<Trees, String>, CacheError> {
    let begun = Instant::now();
    loop {
        match try_open(path) {
            Ok((mut entries, mut extras)) => {
                // Extras are read to find out whether they can be; what they say is asked for later.
                let all = extras.iterate().and_then(|_| entries.iterate());
                return Ok(all.map(|pairs| (entries, extras, pairs)).map_err(|e| e.to_string()));
            }
            Err(Fault::Unusable(reason)) => return Ok(Err(reason)),
            Err(Fault::System(source)) => {
                return Err(CacheError::NotWritable { path: path.to_owned(), source });
            }
            Err(Fault::Locked) if begun.elapsed() < patience => std::thread::sleep(LOCK_PAUSE),
            Err(Fault::Locked) => {
                let waited_ms = begun.elapsed().as_millis() as u64;
                return Err(CacheError::Busy { path: path.to_owned(), holder: String::new(), waited_ms });
            }
        }
    }
}

fn try_open(path: &Path) -> Result<(SledStore, SledStore), Fault> {
    let config = sled::Config::new().path(path).cache_capacity(CACHE_CAPACITY).flush_every_ms(None);
    let open = || -> sled::Result<_> {
        let db = config.open()?;
        let extras = db.open_tree(EXTRAS)?;
        Ok((db, extras))
    };
    let store = |db: sled::Db, tree| SledStore { open: Some((db, tree)), path: path.to_owned() };
    match quietly(open) {
        // A database stands for its default tree as well.
        Ok(Ok((db, extras))) => Ok((store(db.clone(), (*db).clone()), store(db, extras))),
        Ok(Err(sled::Error::Io(e))) => Err(classify(e)),
        Ok(Err(other)) => Err(Fault::Unusable(other.to_string())),
        Err(panic) => Err(Fault::Unusable(panic)),
    }
}

/// Tells the system's refusals from files that make no sense.
fn classify(error: io::Error) -> Fault {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::WouldBlock => Fault::Locked,
        // sled reports a lock that is taken as an error of no kind.
        Kind::Other if error.to_string().contains("acquire lock") => Fault::Locked,
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem | Kind::StorageFull | Kind::QuotaExceeded => {
            Fault::System(error)
        }
        _ => Fault::Unusable(error.to_string()),
    }
}

/// Renames sled's snapshot files, from which it can rebuild nothing that its log does not have.
fn set_snapshots_aside(path: &Path) -> io::Result<String> {
    let mut count = 0;
    for file in fs::read_dir(path)? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        if name.starts_with("snap.") {
            fs::rename(file.path(), path.join(format!("aside.{name}")))?;
            count += 1;
        }
    }
    Ok(format!("{count} of its snapshot files were set aside"))
}

/// Renames the whole folder; the next attempt makes a new one.
fn set_folder_aside(path: &Path) -> io::Result<String> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let free = |n: u32| path.with_file_name(format!("{name}.corrupt-{time}{}", "x".repeat(n as usize)));
    let aside = (0..100).map(free).find(|p| !p.exists()).unwrap_or_else(|| free(100));
    fs::rename(path, &aside)?;
    Ok(format!("it is now {}, and a new one was begun", aside.display()))
}

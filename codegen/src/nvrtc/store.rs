//! A folder of compiled sources, each under the digest of what made it. What cannot be read is a miss; a file is whole
//! or absent, since it comes into being by a rename.

use super::{Compiled, NvrtcError, Output, log};
use crate::arch::Arch;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

/// First bytes of a stored file; the digit is the version of the format.
const MAGIC: &[u8; 8] = b"jetbin01";

/// A file could not be written.
#[derive(Debug, Error)]
#[error("cannot keep a compiled kernel in {}: {source}", path.display())]
pub struct StoreError {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Identifies a compilation: the source, the options (which name the architecture) and the compiler's version.
pub fn digest(source: &str, options: &[String], version: &str) -> String {
    let mut hash = Sha256::new();
    // Lengths in front, so that no two different lists read the same.
    for part in [version, source].into_iter().chain(options.iter().map(String::as_str)) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// The name of a source by its text, whichever compiler made something of it: entries of the schedule cache say with it
/// which kernel is bound to them.
pub fn source_name(source: &str) -> String {
    Sha256::digest(source).iter().take(12).map(|b| format!("{b:02x}")).collect()
}

/// Compiled sources in a folder.
#[derive(Clone, Debug)]
pub struct CubinStore {
    folder: PathBuf,
}

impl CubinStore {
    /// The store in `folder`, which is made when the first file is kept.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}.bin"))
    }

    /// What was kept under `digest`.
    pub fn get(&self, digest: &str) -> Option<Compiled> {
        decode(&fs::read(self.path(digest)).ok()?)
    }

    /// Keeps `compiled` under `digest`: written beside, synced, renamed.
    pub fn put(&self, digest: &str, compiled: &Compiled) -> Result<(), StoreError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let path = self.path(digest);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let beside = self.folder.join(format!(".{digest}.{}.{number}", std::process::id()));
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            let mut file = File::create(&beside)?;
            file.write_all(&encode(compiled))?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            // The name itself must survive a power cut too; not every file system lets a folder be synced.
            let _ = File::open(&self.folder).and_then(|f| f.sync_all());
            Ok(())
        };
        write().map_err(|source| {
            let _ = fs::remove_file(&beside);
            StoreError { path, source }
        })
    }

    /// What was kept for `source`, else what `compile` makes of it, which is kept. A store that cannot be written costs
    /// time, not the result.
    pub fn get_or_compile(
        &self,
        (source, arch, output): (&str, &Arch, Output),
        version: &str,
        compile: impl FnOnce() -> Result<Compiled, NvrtcError>,
    ) -> Result<Compiled, NvrtcError> {
        let digest = digest(source, &super::Nvrtc::options(arch, output), version);
        if let Some(found) = self.get(&digest) {
            return Ok(found);
        }
        let made = compile()?;
        let _ = self.put(&digest, &made);
        Ok(made)
    }
}

/// Magic, then cubin, PTX and log, each with its length in front, then the digest of all that.
pub(super) fn encode(c: &Compiled) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for part in [c.cubin.as_slice(), c.ptx.as_bytes(), c.log.as_bytes()] {
        out.extend((part.len() as u64).to_le_bytes());
        out.extend(part);
    }
    let sum = Sha256::digest(&out);
    out.extend(sum);
    out
}

pub(super) fn decode(bytes: &[u8]) -> Option<Compiled> {
    let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Sha256::digest(body).as_slice() != sum {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let mut part = || {
        let (len, tail) = rest.split_first_chunk::<8>()?;
        let (part, tail) = tail.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        rest = tail;
        Some(part.to_vec())
    };
    let (cubin, ptx, log) = (part()?, String::from_utf8(part()?).ok()?, String::from_utf8(part()?).ok()?);
    let resources = if cubin.is_empty() { Vec::new() } else { log::resources(&log) };
    Some(Compiled { cubin, ptx, log, resources })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch;

    fn compiled() -> Compiled {
        Compiled { cubin: vec![1, 2, 3], ptx: ".version 9.0".into(), log: "fine".into(), resources: vec![] }
    }

    fn store(name: &str) -> CubinStore {
        CubinStore::new(std::env::temp_dir().join(format!("jet-cubins-{name}-{}", std::process::id())))
    }

    #[test]
    fn what_was_kept_is_found_and_not_compiled_again() {
        let store = store("found");
        let key = ("extern \"C\" __global__ void k() {}", arch::parse("sm_80").unwrap(), Output::Cubin);
        let first = store.get_or_compile(key, "13.5", || Ok(compiled())).unwrap();
        let second = store.get_or_compile(key, "13.5", || panic!("it was kept")).unwrap();
        assert_eq!((first, second), (compiled(), compiled()));
        let newer = store.get_or_compile(key, "13.6", || Ok(Compiled { log: "new".into(), ..compiled() }));
        assert_eq!(newer.unwrap().log, "new");
        fs::remove_dir_all(store.folder()).unwrap();
    }

    #[test]
    fn a_damaged_file_is_a_miss() {
        let store = store("damaged");
        store.put("d", &compiled()).unwrap();
        let whole = fs::read(store.path("d")).unwrap();
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0x10;
            assert_eq!(decode(&broken), None, "byte {at}");
            assert_eq!(decode(&whole[..at]), None, "cut at {at}");
        }
        assert_eq!(store.get("d"), Some(compiled()));
        assert_eq!(store.get("e"), None);
        fs::remove_dir_all(store.folder()).unwrap();
    }

    #[test]
    fn every_part_of_what_is_compiled_is_in_the_digest() {
        let options = ["-a".to_owned(), "-b".to_owned()];
        let one = digest("s", &options, "13");
        assert_ne!(one, digest("t", &options, "13"));
        assert_ne!(one, digest("s", &options[..1], "13"));
        assert_ne!(one, digest("s", &["-a-b".to_owned()], "13"));
        assert_ne!(one, digest("s", &options, "12"));
    }
}

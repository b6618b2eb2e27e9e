//! Where the commands find records: the local store's snapshot, or a pack file. Nothing is locked and nothing written,
//! so they work beside a running tuner and on a read-only mount.

use crate::common::output;
use anyhow::{Result, anyhow};
use jet_cache::folders::{Layout, schedules_folder};
use jet_cache::{Contents, Entry, Manifest, Overlay, Pack};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The records to look at, and what they are called.
pub(super) struct Source {
    /// Every readable record.
    pub(super) entries: Vec<Arc<Entry>>,
    /// The folder or file, for a person.
    pub(super) place: String,
}

impl Source {
    /// The local store, or the pack at `path`. Damaged records are left out and told on stderr.
    pub(super) fn open(path: Option<&Path>) -> Result<Self> {
        let (pack, place) = match path {
            Some(path) => (Some(existing(path)?), path.to_owned()),
            None => {
                let folder = schedules_folder()?;
                (Pack::load(&Layout::of(&folder).snapshot)?, folder)
            }
        };
        let mut entries = Vec::new();
        for entry in pack.iter().flat_map(Pack::entries) {
            match entry {
                Ok(entry) => entries.push(entry),
                Err(e) => output::complain(&format!("note: {e}")),
            }
        }
        Ok(Self { entries, place: place.display().to_string() })
    }
}

/// The pack at `path`, which must be there.
pub(super) fn existing(path: &Path) -> Result<Pack> {
    Pack::load(path)?.ok_or_else(|| anyhow!("there is no file {}", path.display()))
}

/// All of a pack file with its manifest; for the word `local`, the entries of the local store; for a store's folder,
/// as the ranks of a fleet leave them, all of that store.
pub(super) fn contents(path: &Path) -> Result<(Contents, Manifest)> {
    if path.is_dir() {
        let layout = Layout::of(path);
        if !layout.snapshot.exists() {
            return Err(anyhow!("{} is no store: it has no {}", path.display(), layout.snapshot.display()));
        }
        let mut overlay = Overlay::open(path, env!("CARGO_PKG_VERSION"))?;
        let all = overlay.contents();
        overlay.notices().iter().for_each(|notice| output::complain(&format!("note: {notice}")));
        // Not the present time: the result must not depend on when it is asked for.
        let created = all.entries.values().map(|entry| entry.provenance.time).max().unwrap_or(0);
        let manifest = Manifest::describe(all.entries.values(), env!("CARGO_PKG_VERSION"), created);
        return Ok((all, manifest));
    }
    let file = if path == Path::new(LOCAL) { local_snapshot()? } else { path.to_owned() };
    let pack = existing(&file)?;
    Ok((Contents::of_pack(&pack)?, pack.manifest().clone()))
}

/// The word that stands for the local store where a pack is wanted.
pub(super) const LOCAL: &str = "local";

fn local_snapshot() -> Result<PathBuf> {
    let snapshot = Layout::of(&schedules_folder()?).snapshot;
    match snapshot.exists() {
        true => Ok(snapshot),
        false => Err(anyhow!(
            "nothing is stored here yet ({}); tune a model: jet-tune run TARGET",
            snapshot.display()
        )),
    }
}

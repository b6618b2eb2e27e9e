//! What can go wrong with the schedule cache.

use std::io;
use std::path::PathBuf;

/// An error of the schedule cache. None of them need stop a session: without a cache the defaults run.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// There is no place for jet's cache folder.
    #[error(
        "no cache folder: neither JET_CACHE_DIR nor {tried} is set to an absolute path; set JET_CACHE_DIR"
    )]
    NoFolder {
        /// The variables that were looked at beside `JET_CACHE_DIR`.
        tried: &'static str,
    },
    /// A folder or file cannot be written.
    #[error("cannot write {}: {source}; make it writable or set JET_CACHE_DIR to another folder", path.display())]
    NotWritable {
        /// What was to be written.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    NotReadable {
        /// What was to be read.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another process has the store open.
    #[error("the store {} is in use{holder} (waited {waited_ms} ms); let it finish or set JET_CACHE_DIR", path.display())]
    Busy {
        /// The lock that was not free.
        path: PathBuf,
        /// Who holds it, as ` by process 12 on host`, or empty where that is unknown.
        holder: String,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// The store's own files are unusable, and it could not be built anew.
    #[error("the store {} cannot be used: {reason}; move the folder away and tune again", path.display())]
    Store {
        /// The store's folder.
        path: PathBuf,
        /// What the store said.
        reason: String,
    },
    /// Stored bytes are not what was written.
    #[error("{what} is damaged: {reason}; delete it, or write it again with `jet-tune`")]
    Damaged {
        /// File or record.
        what: String,
        /// What was found, and what was expected.
        reason: String,
    },
    /// Written by a newer jet.
    #[error(
        "{what} has format {found}, and this jet reads up to {known}; update jet, or tune again with this one"
    )]
    NewerFormat {
        /// File or record.
        what: String,
        /// Its format number.
        found: u32,
        /// The newest format that this build reads.
        known: u32,
    },
    /// A record that must not be stored.
    #[error("the record of {task} cannot be stored: {reason}")]
    InvalidEntry {
        /// The task's label.
        task: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// Records of one task name different schedules, and the caller wanted none that do.
    #[error(
        "{count} tasks have different schedules, the first is {first}; compare them with `jet-tune diff`, or merge without --strict"
    )]
    Conflicts {
        /// How many.
        count: usize,
        /// The first of them: task, and both schedules.
        first: String,
    },
    /// A task is named that is not stored, or by a name that more than one has.
    #[error("{reason}; `jet-tune show` lists what is stored")]
    NoSuchTask {
        /// What was asked for and what was found.
        reason: String,
    },
    /// A task has no usable entry, and the mode is `frozen`.
    #[error(
        "no usable schedule for {task}: {reason}; the cache is frozen, so tune it or choose another mode"
    )]
    Missing {
        /// The task's label.
        task: String,
        /// Why nothing served.
        reason: String,
    },
}

impl CacheError {
    /// A record or file whose bytes are wrong.
    pub(crate) fn damaged(what: &str, reason: impl Into<String>) -> Self {
        Self::Damaged { what: what.to_owned(), reason: reason.into() }
    }
}

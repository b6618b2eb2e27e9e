//! What can stop a tuning run. A candidate that fails stops nothing: it is rejected with its reason.

/// An error of the tuner.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// The results cannot be stored.
    #[error(transparent)]
    Cache(#[from] jet_cache::CacheError),
    /// The journal cannot be read or written.
    #[error("the journal {} cannot be used: {source}; make the folder writable or set JET_CACHE_DIR", path.display())]
    Journal {
        /// The file.
        path: std::path::PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Something could not be written down in the middle of a race.
    #[error("{reason}")]
    Unwritten {
        /// What, and why.
        reason: String,
    },
    /// The device went away and does not come back.
    #[error(
        "{reason}; what was found before is stored: look after the device, then go on with `jet-tune run --resume`"
    )]
    DeviceLost {
        /// What happened.
        reason: String,
    },
    /// A worker cannot be used.
    #[error("{reason}")]
    Worker {
        /// What happened, and what to do.
        reason: String,
    },
    /// Ranks of a fleet do not agree, or do not come.
    #[error("{reason}")]
    Fleet {
        /// What was found, what was expected, what to do.
        reason: String,
    },
    /// A task names a kernel family that the device does not have.
    #[error("{task} is a task of the family `{family}`, which this device does not have; it has: {known}")]
    UnknownFamily {
        /// The task's label.
        task: String,
        /// The family.
        family: String,
        /// The device's families, separated by commas.
        known: String,
    },
    /// A model cannot be loaded or run.
    #[error(transparent)]
    Model(#[from] jet_runtime::Error),
    /// A text that cannot be used for calibration.
    #[error("{origin} cannot be the calibration: {what}")]
    Calibration {
        /// Where the text is from.
        origin: String,
        /// What is wrong with it.
        what: String,
    },
    /// A kernel whose time is needed cannot be measured.
    #[error("{task} cannot be measured: {what}")]
    Kernel {
        /// What it computes.
        task: String,
        /// What went wrong.
        what: String,
    },
    /// Somebody stopped a search that has no half result.
    #[error("stopped before there was a result; nothing was stored")]
    Stopped,
    /// A duration that makes no sense.
    #[error("`{found}` is no duration; write 90s, 3m or 1h")]
    BadBudget {
        /// What was given.
        found: String,
    },
    /// An effort that there is not.
    #[error("`{found}` is no effort; the efforts are none, quick, full")]
    BadEffort {
        /// What was given.
        found: String,
    },
    /// A search strategy that there is not.
    #[error("`{found}` is no search strategy; the strategies are {known}")]
    BadStrategy {
        /// What was given.
        found: String,
        /// Those there are, separated by commas.
        known: String,
    },
}

//! What can stop a tuning run. A candidate that fails stops nothing: it is rejected with its reason.

/// An error of the tuner.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// The results cannot be stored.
    #[error(transparent)]
    Cache(#[from] jet_cache::CacheError),
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
}

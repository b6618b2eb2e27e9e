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

//! What a session is loaded with.

use jet_cache::{Mode, ScheduleCache, folders};
use jet_numerics::DType;
use jet_runtime::device::Precision;
use std::path::PathBuf;

/// Context of a session where none is asked for, in tokens; less for a model meant for less.
pub const DEFAULT_CONTEXT: usize = 4096;

/// Tokens that one run takes at most where nothing else is asked for: longer prompts are fed in pieces of this size.
pub const DEFAULT_PIECE: usize = 512;

/// What a [`super::Session`] is loaded with.
///
/// ```
/// use jet_models::session::LoadOptions;
///
/// let options = LoadOptions { context: Some(512), random: Some(7), ..LoadOptions::default() };
/// assert_eq!(options.device, "cpu");
/// ```
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The device's name, as in `cpu`.
    pub device: String,
    /// Worker threads; 0 is one for each physical core that the process may use.
    pub threads: usize,
    /// Arithmetic of the matrices and format of the KV caches.
    pub precision: Precision,
    /// Tokens that a sequence may have; `None` is [`DEFAULT_CONTEXT`], or what the model is meant for where that is
    /// less.
    pub context: Option<usize>,
    /// Sequences open at a time.
    pub batch: usize,
    /// Tokens of one run; a longer prompt is fed in pieces of this size.
    pub piece: usize,
    /// Tuned schedules.
    pub schedules: Schedules,
    /// Random weights from this seed instead of stored ones.
    pub random: Option<u64>,
    /// How random matrices are stored.
    pub random_format: DType,
    /// Look for infinities and NaN in stored weights before they are loaded.
    pub check_weights: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            device: "cpu".to_owned(),
            threads: 0,
            precision: Precision::default(),
            context: None,
            batch: 1,
            piece: DEFAULT_PIECE,
            schedules: Schedules::default(),
            random: None,
            random_format: DType::Bf16,
            check_weights: true,
        }
    }
}

/// Where a session looks for tuned schedules.
#[derive(Clone, Debug, Default)]
pub struct Schedules {
    /// What a miss means, or that nothing is looked up.
    pub mode: Mode,
    /// The folder of the local schedules; `None` is jet's own (`JET_CACHE_DIR`, else the user's cache folder).
    pub folder: Option<PathBuf>,
}

impl Schedules {
    /// Defaults everywhere.
    pub fn off() -> Self {
        Self { mode: Mode::Off, folder: None }
    }

    /// Opens the cache for reading. It cannot fail: what cannot be read is an empty layer with a notice.
    pub fn open(&self) -> ScheduleCache {
        match self.folder.clone().map_or_else(folders::schedules_folder, Ok) {
            Ok(folder) => ScheduleCache::open(&folder, self.mode),
            Err(e) => {
                tracing::warn!("local schedules are not used: {e}");
                ScheduleCache::empty(self.mode)
            }
        }
    }
}

//! What a session is loaded with.

use super::Arithmetic;
use jet_cache::{Mode, Pack, ScheduleCache, folders};
use jet_numerics::DType;
use std::path::PathBuf;
use std::sync::Arc;

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
    pub precision: Arithmetic,
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
            precision: Arithmetic::default(),
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
    /// Packs that the program ships with, the most important first. What was tuned on this machine goes before them.
    pub packs: Vec<Arc<Pack>>,
    /// Look at the packs only, and at no folder: every machine with the same program then uses the same schedules.
    pub packs_only: bool,
}

impl Schedules {
    /// Defaults everywhere.
    pub fn off() -> Self {
        Self { mode: Mode::Off, ..Self::default() }
    }

    /// The schedules of this pack and no others: a task that it lacks stops the loading with an error that names it.
    pub fn frozen(pack: Arc<Pack>) -> Self {
        Self { mode: Mode::Frozen, folder: None, packs: vec![pack], packs_only: true }
    }

    /// This pack below what is there already.
    #[must_use]
    pub fn over(mut self, pack: Arc<Pack>) -> Self {
        self.packs.push(pack);
        self
    }

    /// Opens the cache for reading. It cannot fail: what cannot be read is an empty layer with a notice.
    pub fn open(&self) -> ScheduleCache {
        self.packs.iter().fold(self.local(), |cache, pack| cache.over(Arc::clone(pack)))
    }

    fn local(&self) -> ScheduleCache {
        if self.packs_only {
            return ScheduleCache::empty(self.mode);
        }
        match self.folder.clone().map_or_else(folders::schedules_folder, Ok) {
            Ok(folder) => ScheduleCache::open(&folder, self.mode),
            Err(e) => {
                tracing::warn!("local schedules are not used: {e}");
                ScheduleCache::empty(self.mode)
            }
        }
    }
}

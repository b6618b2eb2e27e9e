//! How an emulator runs.

pub use crate::tensor::Accumulation;

/// What a launch checks beyond addresses, which are always checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checks {
    /// Values that nobody wrote.
    pub definedness: bool,
    /// Data races and missing proxy fences.
    pub races: bool,
    /// Also what most kernels get away with: the fence after a generic read and before an asynchronous write.
    pub strict: bool,
}

impl Checks {
    /// Everything that is a mistake by the letter.
    pub const ALL: Checks = Checks { definedness: true, races: true, strict: false };
    /// Only what cannot be executed.
    pub const NONE: Checks = Checks { definedness: false, races: false, strict: false };

    /// Whether any is on.
    pub fn any(self) -> bool {
        self.definedness || self.races
    }
}

/// Options.
#[derive(Debug, Clone)]
pub struct EmulatorOptions {
    /// Host threads; with checks on one is used, so that a seed gives the same run.
    pub threads: usize,
    /// The seed of every choice that the machine may make.
    pub seed: u64,
    /// What is checked.
    pub checks: Checks,
    /// How tensor instructions add up.
    pub accumulation: Accumulation,
    /// Warp instructions that a launch may execute.
    pub instruction_limit: u64,
    /// Whether to count.
    pub counters: bool,
    /// Clusters of a launch that are run at most, spread evenly over the grid; the others do nothing. For counters of a
    /// launch that is too large to be run as a whole: its results are none.
    pub sample: Option<u64>,
    /// CTAs that are resident at a time on a host thread at least; more are admitted when nobody goes on.
    pub resident: Option<usize>,
    /// Bytes of the heap of `malloc`.
    pub heap_bytes: u64,
}

impl Default for EmulatorOptions {
    fn default() -> Self {
        EmulatorOptions {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            seed: 0,
            checks: Checks::ALL,
            accumulation: Accumulation::Exact,
            instruction_limit: 20_000_000_000,
            counters: false,
            sample: None,
            resident: None,
            heap_bytes: 8 << 20,
        }
    }
}

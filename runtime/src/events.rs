//! Counters of what a deployment must not do: a program that ships its schedules and kernels proves with them that it
//! neither compiled nor tuned.

use std::sync::atomic::{AtomicU64, Ordering};

static BENCHES: AtomicU64 = AtomicU64::new(0);

/// What this process has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Sources given to a compiler.
    pub compilations: u64,
    /// Kernels set up alone, to be validated or timed: what tuning begins with.
    pub benches: u64,
}

/// What this process has done since it began.
///
/// ```
/// let before = jet_runtime::events::so_far();
/// assert_eq!(jet_runtime::events::so_far(), before);
/// ```
pub fn so_far() -> Events {
    Events { compilations: compilations(), benches: BENCHES.load(Ordering::Relaxed) }
}

#[cfg(feature = "gpu")]
fn compilations() -> u64 {
    jet_codegen::nvrtc::compilations()
}

#[cfg(not(feature = "gpu"))]
fn compilations() -> u64 {
    0
}

/// Notes that a kernel was set up alone.
pub(crate) fn bench_opened() {
    BENCHES.fetch_add(1, Ordering::Relaxed);
}

//! What happens while the tuner works, as events. Binaries draw them; libraries need not look.

use crate::report::TaskReport;
use jet_codegen::schedule::Values;

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The tasks are known.
    Planned {
        /// All tasks.
        tasks: usize,
        /// Those that are stored already.
        stored: usize,
    },
    /// A task begins.
    TaskStarted {
        /// Its number, from 0.
        index: usize,
        /// All tasks.
        tasks: usize,
        /// Its label.
        label: &'a str,
        /// Candidates that will be tried.
        candidates: usize,
    },
    /// A round of a race has ended.
    Round {
        /// Candidates timed so far, or found wrong.
        tried: usize,
        /// Candidates still in the race.
        racing: usize,
        /// The fastest.
        best: &'a Values,
        /// Its median time in seconds.
        best_seconds: f64,
        /// The default's median time in seconds.
        default_seconds: f64,
        /// Seconds that a run takes at least, where the device has a roofline.
        bound_seconds: Option<f64>,
    },
    /// A task has ended.
    TaskFinished {
        /// Its number, from 0.
        index: usize,
        /// All tasks.
        tasks: usize,
        /// Its outcome.
        report: &'a TaskReport,
    },
}

/// Someone who watches.
pub trait Progress {
    /// Called for each event, on the tuner's thread and outside any timed region.
    fn event(&mut self, event: &Event<'_>);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&mut self, _event: &Event<'_>) {}
}

//! What the tuner needs of a device, in two small traits: so that it can be tested on recorded or invented devices.

use jet_codegen::schedule::{Family, Problem, Values};

/// How far an output is from its reference.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Errors {
    /// Largest absolute difference.
    pub max_abs: f64,
    /// Root mean square difference over the reference's root mean square.
    pub rel_rms: f64,
    /// The largest `rel_rms` that the kernel's arithmetic allows.
    pub allowed: f64,
}

impl Errors {
    /// Whether the output is right. Not-a-number is not.
    pub fn acceptable(&self) -> bool {
        self.rel_rms <= self.allowed && self.max_abs.is_finite()
    }
}

/// One problem set up alone, on inputs of its own. An error is the reason for which the candidate at hand is rejected.
pub trait Subject {
    /// Makes `values` the schedule of the next runs; untimed.
    ///
    /// # Errors
    /// The reason why this device cannot run it.
    fn prepare(&mut self, values: &Values) -> Result<(), String>;

    /// Poisons all outputs, runs once, and compares all of them with the reference. The candidate stays prepared.
    ///
    /// # Errors
    /// The reason why there is no output to compare.
    fn validate(&mut self) -> Result<Errors, String>;

    /// Runs `runs` times and gives the seconds of all of them together.
    fn time(&mut self, runs: usize) -> f64;

    /// Bytes that one run must move and floating-point operations that it must do, at least.
    fn floor(&self) -> (u64, u64);
}

/// Where subjects are made: a device.
pub trait Workbench {
    /// The kernel families that have something to tune.
    fn families(&self) -> &[&dyn Family];

    /// Sets up `problem` alone.
    ///
    /// # Errors
    /// The reason why this device cannot.
    fn open(&self, problem: &Problem) -> Result<Box<dyn Subject + '_>, String>;

    /// Name and version of the reference that outputs are compared with.
    fn reference(&self) -> String;

    /// The family called `name`.
    fn family(&self, name: &str) -> Option<&dyn Family> {
        self.families().iter().copied().find(|family| family.name() == name)
    }
}

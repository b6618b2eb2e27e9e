//! What the tuner needs of a device, in two small traits: so that it can be tested on recorded or invented devices.

use jet_cache::{FailureKind, Grade};
use jet_codegen::schedule::{Family, Problem, Values};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far an output is from its reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
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

/// What else is known of a comparison; absent where the device does not say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// Mean absolute difference.
    pub mean_abs: Option<f64>,
    /// Largest difference in units of the last place.
    pub max_ulp: Option<f64>,
    /// Seed of the inputs.
    pub inputs_seed: Option<u64>,
}

/// Why the last thing that a subject was asked for did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What the candidate has done; `None` where it is not to blame, and must not be remembered for it.
    pub kind: Option<FailureKind>,
    /// In words.
    pub reason: String,
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

    /// More about the last validation.
    fn details(&self) -> Details {
        Details::default()
    }

    /// After an error or an impossible time: what the candidate has done, where the device knows it better than the
    /// caller.
    fn fault(&self) -> Option<Fault> {
        None
    }
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

    /// Compiler and version behind its kernels, as in `nvrtc 12.9`; empty where the kernels are part of the program.
    fn toolchain(&self) -> String {
        String::new()
    }

    /// Under what conditions times are taken just now: clocks, temperatures, throttling, as far as the device says so.
    fn conditions(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// What its times are worth: measured ones, or under [`Grade::Emulated`] those that a model makes of counters.
    fn grade(&self) -> Grade {
        Grade::Measured
    }

    /// Seconds that a run with this [`Subject::floor`] takes at least, where the device has a roofline.
    fn bound(&self, _floor: (u64, u64)) -> Option<f64> {
        None
    }

    /// Whether work can go on.
    ///
    /// # Errors
    /// The reason why the device is gone for good.
    fn usable(&self) -> Result<(), String> {
        Ok(())
    }

    /// The family called `name`.
    fn family(&self, name: &str) -> Option<&dyn Family> {
        self.families().iter().copied().find(|family| family.name() == name)
    }
}

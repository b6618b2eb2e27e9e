//! A device of `jet-runtime` as the tuner's workbench, and the tasks of a model on it.

use crate::conditions;
use crate::roofline;
use crate::subject::{Details, Errors, Subject, Workbench};
use crate::tasks::{Task, fold};
use jet_cache::Grade;
use jet_codegen::program::Program;
use jet_codegen::schedule::{Family, Problem, Values};
use jet_dsl::weight::WeightRef;
use jet_numerics::DType;
use jet_runtime::device::{self, Bench, Device};
use jet_runtime::recipe::Recipe;
use jet_runtime::schedule_key::{KERNELS, cached_device, schedule_key};
use std::collections::BTreeMap;

/// The tasks of `program` on `device`: every problem that has a tunable family, at each token bucket, identical ones
/// once, in program order. `dtype` says in which format a weight is stored.
pub fn plan(
    device: &dyn Device,
    program: &Program,
    dtype: &dyn Fn(WeightRef) -> Option<DType>,
    recipe: impl Into<Recipe>,
    tokens: &[usize],
) -> Vec<Task> {
    let identity = cached_device(&device.fingerprint());
    let task = |problem: Problem| {
        let family = device.family(&problem.family)?;
        Some(Task { key: schedule_key(&identity, family, &problem), problem })
    };
    fold(device.problems(program, dtype, &recipe.into(), tokens).into_iter().filter_map(task))
}

/// A device as a workbench.
pub struct DeviceBench<'a>(pub &'a dyn Device);

impl Workbench for DeviceBench<'_> {
    fn families(&self) -> &[&dyn Family] {
        self.0.families()
    }

    fn open(&self, problem: &Problem) -> Result<Box<dyn Subject + '_>, String> {
        let bench = self.0.bench(problem).map_err(|e| e.to_string())?;
        let details = Details::default();
        Ok(match self.grade() {
            Grade::Measured => Box::new(DeviceSubject { bench, details }),
            _ => Box::new(Modelled::new(DeviceSubject { bench, details })),
        })
    }

    fn reference(&self) -> String {
        match self.0.name() == CPU {
            true => format!("cpu reference, {KERNELS}"),
            false => format!("cpu kernels in float32, {KERNELS}"),
        }
    }

    fn toolchain(&self) -> String {
        self.0.toolchain()
    }

    fn grade(&self) -> Grade {
        match self.0.grade() {
            device::Grade::Measured => Grade::Measured,
            device::Grade::Emulated => Grade::Emulated,
        }
    }

    fn conditions(&self) -> BTreeMap<String, String> {
        if self.0.name() == CPU { conditions::of_cpu() } else { BTreeMap::new() }
    }

    fn bound(&self, (bytes, _): (u64, u64)) -> Option<f64> {
        if self.0.name() != CPU {
            return None;
        }
        let hard = self.0.fingerprint().hard;
        let cache = ["l3", "l2"].iter().find_map(|level| roofline::size(hard.get(*level)?))?;
        // Measuring takes a while, so only for those that could have a bound.
        roofline::bound(bytes, cache, f64::INFINITY)?;
        let workers = hard.get("workers").and_then(|n| n.parse().ok()).unwrap_or(1);
        roofline::bound(bytes, cache, roofline::bandwidth(workers))
    }
}

/// The name of the device that is the host.
const CPU: &str = "cpu";

struct DeviceSubject {
    bench: Box<dyn Bench>,
    details: Details,
}

impl Subject for DeviceSubject {
    fn prepare(&mut self, values: &Values) -> Result<(), String> {
        self.bench.prepare(values).map_err(|e| e.to_string())
    }

    fn validate(&mut self) -> Result<Errors, String> {
        let stats = self.bench.validate().map_err(|e| e.to_string())?;
        self.details = Details {
            mean_abs: Some(stats.mean_abs),
            max_ulp: Some(stats.max_ulp),
            inputs_seed: self.bench.inputs_seed(),
        };
        Ok(Errors { max_abs: stats.max_abs, rel_rms: stats.rel_rms, allowed: stats.allowed })
    }

    fn time(&mut self, runs: usize) -> f64 {
        self.bench.time(runs)
    }

    fn floor(&self) -> (u64, u64) {
        self.bench.floor()
    }

    fn details(&self) -> Details {
        self.details
    }
}

/// A subject whose times are a model's: each candidate is run once and its time remembered. Taking turns would run it, and on
/// an emulated device compile it, again and again for the same number.
struct Modelled {
    inner: DeviceSubject,
    values: Values,
    /// Whether `values` is the schedule of the device's next run.
    prepared: bool,
    /// Seconds of one run.
    known: BTreeMap<Values, f64>,
}

impl Modelled {
    fn new(inner: DeviceSubject) -> Self {
        Self { inner, values: Values::default(), prepared: false, known: BTreeMap::new() }
    }
}

impl Subject for Modelled {
    fn prepare(&mut self, values: &Values) -> Result<(), String> {
        (self.values, self.prepared) = (values.clone(), false);
        if self.known.contains_key(values) {
            return Ok(());
        }
        self.inner.prepare(values)?;
        self.prepared = true;
        Ok(())
    }

    fn validate(&mut self) -> Result<Errors, String> {
        if !self.prepared {
            self.inner.prepare(&self.values)?;
            self.prepared = true;
        }
        self.inner.validate()
    }

    fn time(&mut self, runs: usize) -> f64 {
        let seconds = match self.known.get(&self.values) {
            Some(known) => *known,
            None => self.inner.time(1),
        };
        if seconds.is_finite() {
            self.known.insert(self.values.clone(), seconds);
        }
        seconds * runs as f64
    }

    fn floor(&self) -> (u64, u64) {
        self.inner.floor()
    }

    fn details(&self) -> Details {
        self.inner.details()
    }
}

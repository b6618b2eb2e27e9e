//! A device of `jet-runtime` as the tuner's workbench, and the tasks of a model on it.

use crate::subject::{Errors, Subject, Workbench};
use crate::tasks::{Task, fold};
use jet_codegen::program::Program;
use jet_codegen::schedule::{Family, Problem, Values};
use jet_dsl::weight::WeightRef;
use jet_numerics::DType;
use jet_runtime::device::{Bench, Device};
use jet_runtime::recipe::Recipe;
use jet_runtime::schedule_key::{KERNELS, cached_device, schedule_key};

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
        Ok(Box::new(DeviceSubject(bench)))
    }

    fn reference(&self) -> String {
        format!("{} reference, {KERNELS}", self.0.name())
    }
}

struct DeviceSubject(Box<dyn Bench>);

impl Subject for DeviceSubject {
    fn prepare(&mut self, values: &Values) -> Result<(), String> {
        self.0.prepare(values).map_err(|e| e.to_string())
    }

    fn validate(&mut self) -> Result<Errors, String> {
        let stats = self.0.validate().map_err(|e| e.to_string())?;
        Ok(Errors { max_abs: stats.max_abs, rel_rms: stats.rel_rms, allowed: stats.allowed })
    }

    fn time(&mut self, runs: usize) -> f64 {
        self.0.time(runs)
    }

    fn floor(&self) -> (u64, u64) {
        self.0.floor()
    }
}

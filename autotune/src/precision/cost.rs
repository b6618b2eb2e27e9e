//! What parts take in each precision: the sum of their kernels, each as it was measured when it was tuned, else as it is
//! measured now with the schedule that a session would use.

use crate::error::TuneError;
use crate::measure::{Rules, sample};
use crate::stats::median;
use crate::subject::Workbench;
use jet_cache::{Entry, Grade, Rung, ScheduleCache};
use jet_codegen::op::Op;
use jet_codegen::program::{Program, Step};
use jet_codegen::schedule::{Problem, Values};
use jet_dsl::weight::WeightRef;
use jet_numerics::DType;
use jet_runtime::device::{Device, Precision};
use jet_runtime::recipe::{Part, Recipe};
use jet_runtime::schedule_key::{cached_device, schedule_key};
use std::collections::HashMap;

/// Samples of a kernel that was not tuned before.
const SAMPLES: usize = 9;

/// A program by its parts.
pub struct Parts<'a> {
    device: &'a dyn Device,
    dtype: &'a dyn Fn(WeightRef) -> Option<DType>,
    tokens: usize,
    /// Each step alone, with the part whose precision it has. Attention has that of the caches.
    steps: Vec<(Part, Program)>,
}

impl<'a> Parts<'a> {
    /// The parts of `program`, whose weights are stored as `dtype` says, in runs of `tokens` tokens.
    pub fn new(
        device: &'a dyn Device,
        program: &Program,
        dtype: &'a dyn Fn(WeightRef) -> Option<DType>,
        tokens: usize,
    ) -> Self {
        let frame = Program { steps: Vec::new(), ..program.clone() };
        let alone = |step: &Step| {
            let part =
                if matches!(step.op, Op::Attention(_)) { Part::Caches } else { Part::of_layer(step.layer) };
            (part, Program { steps: vec![step.clone()], ..frame.clone() })
        };
        Self { device, dtype, tokens, steps: program.steps.iter().map(alone).collect() }
    }

    /// The parts that have kernels with another problem in some precision than in the reference's.
    pub fn parts(&self) -> Vec<Part> {
        let mut all: Vec<Part> = self.steps.iter().map(|(part, _)| *part).collect();
        all.sort();
        all.dedup();
        let differs = |part: &Part| {
            let reference = self.problems(*part, super::REFERENCE);
            super::CHEAPER.iter().any(|cheaper| self.problems(*part, *cheaper) != reference)
        };
        all.retain(differs);
        all
    }

    /// The problems of a part in one precision, as often as it solves them in a run.
    pub fn problems(&self, part: Part, precision: Precision) -> Vec<Problem> {
        let recipe = Recipe::from(super::REFERENCE).with(part, precision);
        let mine = self.steps.iter().filter(|(of, _)| *of == part);
        mine.flat_map(|(_, alone)| self.device.problems(alone, self.dtype, &recipe, &[self.tokens])).collect()
    }
}

/// What some kernels come to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Seconds of all together.
    pub seconds: f64,
    /// The largest relative error, root mean square, of one of them.
    pub rel_err: f64,
}

/// Looks kernels up, or measures them; each once.
pub struct Costs<'a> {
    bench: &'a dyn Workbench,
    schedules: &'a ScheduleCache,
    device: jet_cache::Fingerprint,
    known: HashMap<Problem, Cost>,
}

impl<'a> Costs<'a> {
    /// Kernels of `device`, set up on `bench`; what was tuned is in `schedules`.
    pub fn new(bench: &'a dyn Workbench, schedules: &'a ScheduleCache, device: &dyn Device) -> Self {
        Self { bench, schedules, device: cached_device(&device.fingerprint()), known: HashMap::new() }
    }

    /// The cost of `problems`, one after the other.
    ///
    /// # Errors
    /// [`TuneError::Kernel`] where one of them cannot be set up, or is wrong.
    pub fn of(&mut self, problems: &[Problem]) -> Result<Cost, TuneError> {
        let mut all = Cost::default();
        for problem in problems {
            let cost = match self.known.get(problem) {
                Some(known) => *known,
                None => {
                    let cost = self.find(problem)?;
                    self.known.insert(problem.clone(), cost);
                    cost
                }
            };
            all.seconds += cost.seconds;
            all.rel_err = all.rel_err.max(cost.rel_err);
        }
        Ok(all)
    }

    fn find(&self, problem: &Problem) -> Result<Cost, TuneError> {
        let failed = |what: String| TuneError::Kernel { task: problem.to_string(), what };
        let family =
            self.bench.family(&problem.family).ok_or_else(|| failed("it has no family".to_owned()))?;
        let key = schedule_key(&self.device, family, problem);
        let legal = |values: &jet_cache::NamedIntegers| {
            family.legal(problem, &Values(values.clone())).map_err(|why| why.to_string())
        };
        // Only a frozen cache refuses; then the default is measured, as of any other miss.
        let found = self.schedules.lookup(&key, &legal).ok();
        let exact = found.as_ref().filter(|f| f.rung == Rung::Exact).and_then(|f| f.entry.as_deref());
        if let Some(cost) = exact.and_then(stored) {
            return Ok(cost);
        }
        let values = found
            .as_ref()
            .and_then(|f| f.schedule().cloned())
            .map_or_else(|| family.default_values(problem), Values);
        self.measure(problem, &values).map_err(failed)
    }

    fn measure(&self, problem: &Problem, values: &Values) -> Result<Cost, String> {
        let mut subject = self.bench.open(problem)?;
        subject.prepare(values)?;
        let errors = subject.validate()?;
        if !errors.acceptable() {
            return Err(format!("its error is {:.2e}, {:.2e} is allowed", errors.rel_rms, errors.allowed));
        }
        let rules = Rules::default();
        let samples = (0..SAMPLES).map(|_| sample(&mut *subject, &rules)).collect::<Result<Vec<_>, _>>()?;
        Ok(Cost { seconds: median(&samples), rel_err: errors.rel_rms })
    }
}

/// The cost of a kernel that was measured when it was tuned.
fn stored(entry: &Entry) -> Option<Cost> {
    let (timing, evidence) = (entry.timing.as_ref()?, entry.evidence.as_ref()?);
    (entry.grade == Grade::Measured)
        .then_some(Cost { seconds: timing.median_ns * 1e-9, rel_err: evidence.rel_rms })
}

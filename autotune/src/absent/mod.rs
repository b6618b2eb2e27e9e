//! Schedules for a GPU that is not there.
//!
//! ```text
//! enumerate → legality → compile → resource prune → count a sample of the CTAs → model → commit as modelled
//! ```
//!
//! The strategies of [`crate::search`] propose here as they do for a device that has a clock; what stands in the clock's place
//! is the cost model of the emulated device, over counters and the assembler's report. A modelled entry never takes the place
//! of a measured one; where there are measured ones, the model is held against them ([`accuracy`]).

pub mod accuracy;
mod choice;

pub use accuracy::{Accuracy, Compared};

use crate::clock::Clock;
use crate::error::TuneError;
use crate::options::Options;
use crate::progress::{Event, Progress};
use crate::report::{Outcome, Report, TaskReport};
use crate::search::{self, Plan, Space};
use crate::tasks::Task;
use choice::{Choice, Search};
use jet_cache::merge::effort_rank;
use jet_cache::{Entry, Overlay, Status};
use jet_codegen::schedule::{Family, Problem, Values};
use jet_runtime::device::{Counted, Device};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One problem, whose schedules can be counted.
pub trait Counting {
    /// What one run does with `values`.
    ///
    /// # Errors
    /// The reason why the device could not run it.
    fn count(&mut self, values: &Values) -> Result<Counted, String>;

    /// Bytes that one run must move and floating-point operations that it must do, at least.
    fn floor(&self) -> (u64, u64);
}

/// A device that counts.
pub trait Counter {
    /// The kernel families that have something to tune.
    fn families(&self) -> &[&dyn Family];

    /// Sets up `problem` alone.
    ///
    /// # Errors
    /// The reason why this device cannot.
    fn open(&self, problem: &Problem) -> Result<Box<dyn Counting + '_>, String>;

    /// The device for people.
    fn describe(&self) -> String;
}

/// A device of `jet-runtime` whose launches are counted.
pub struct DeviceCounter<'a>(pub &'a dyn Device);

impl Counter for DeviceCounter<'_> {
    fn families(&self) -> &[&dyn Family] {
        self.0.families()
    }

    fn open(&self, problem: &Problem) -> Result<Box<dyn Counting + '_>, String> {
        let bench = self.0.bench(problem).map_err(|e| e.to_string())?;
        Ok(Box::new(DeviceCounting(bench)))
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}

struct DeviceCounting(Box<dyn jet_runtime::device::Bench>);

impl Counting for DeviceCounting {
    fn count(&mut self, values: &Values) -> Result<Counted, String> {
        self.0.prepare(values).map_err(|e| e.to_string())?;
        let counted = self.0.counted().map_err(|e| e.to_string())?;
        counted.ok_or_else(|| "this device does not count".to_owned())
    }

    fn floor(&self) -> (u64, u64) {
        self.0.floor()
    }
}

/// What a run has come to.
#[derive(Clone, Debug, Default)]
pub struct Modelled {
    /// Task by task; every time in it is the model's, but for those of tasks that were measured before.
    pub report: Report,
    /// The model against what was measured.
    pub accuracy: Accuracy,
}

/// Chooses schedules by the model.
pub struct Modeller<'a> {
    counter: &'a dyn Counter,
    clock: &'a dyn Clock,
    stop: &'a AtomicBool,
    options: Options,
}

impl<'a> Modeller<'a> {
    /// One that counts on `counter`, by `clock`, until `stop` is set.
    pub fn new(
        counter: &'a dyn Counter,
        clock: &'a dyn Clock,
        stop: &'a AtomicBool,
        options: Options,
    ) -> Self {
        Self { counter, clock, stop, options }
    }

    /// Goes through `tasks` in order and commits each choice to `overlay` at once. A task that was measured keeps its entry,
    /// and its schedules are modelled to see how far the model is out.
    ///
    /// # Errors
    /// [`TuneError::Cache`] where a result cannot be stored.
    pub fn run(
        &self,
        tasks: &[Task],
        overlay: &mut Overlay,
        progress: &mut dyn Progress,
    ) -> Result<Modelled, TuneError> {
        let begun = self.clock.now();
        let end = self.options.budget.map(|budget| begun + budget);
        let needs_work = |task: &&Task, overlay: &Overlay| {
            overlay.get(task.key.store_key()).is_none_or(|entry| !self.stands(entry))
        };
        let mut open = tasks.iter().filter(|task| needs_work(task, overlay)).count();
        progress.event(&Event::Planned { tasks: tasks.len(), stored: tasks.len() - open });
        let mut report = Report { notices: overlay.notices().to_vec(), ..Report::default() };
        let mut compared = Vec::new();
        for (index, task) in tasks.iter().enumerate() {
            let stored = overlay.get(task.key.store_key()).filter(|entry| self.stands(entry)).cloned();
            let done = match stored {
                Some(entry) if entry.status == Status::Modelled => {
                    TaskReport::of_entry(&entry, Outcome::Stored, "modelled by an earlier run".to_owned())
                }
                Some(entry) => {
                    compared.extend(self.compare(task, &entry, end));
                    TaskReport::of_entry(
                        &entry,
                        Outcome::Stored,
                        "measured, which no model replaces".to_owned(),
                    )
                }
                None => {
                    let now = self.clock.now();
                    let share = |end: Duration| now + end.saturating_sub(now) / open.max(1) as u32;
                    let place = (index, tasks.len(), end.map(share));
                    open = open.saturating_sub(1);
                    self.task(task, place, overlay, progress)?
                }
            };
            progress.event(&Event::TaskFinished { index, tasks: tasks.len(), report: &done });
            report.tasks.push(done);
        }
        report.seconds = (self.clock.now() - begun).as_secs_f64();
        report.stopped = self.stop.load(Ordering::Relaxed);
        let unfinished = |t: &TaskReport| {
            t.outcome == Outcome::NotReached || !t.complete && t.outcome == Outcome::Modelled
        };
        report.out_of_time = !report.stopped && report.tasks.iter().any(unfinished);
        Ok(Modelled { report, accuracy: Accuracy::of(compared) })
    }

    /// Whether an entry needs no more work: a measured one never does, a modelled one where it was as thorough; one that
    /// claims nothing always does.
    fn stands(&self, entry: &Entry) -> bool {
        let thorough = effort_rank(&entry.search.effort) >= effort_rank(self.options.effort.name());
        entry.status > Status::Modelled
            || entry.status == Status::Modelled && !self.options.again && entry.search.complete && thorough
    }

    fn task(
        &self,
        task: &Task,
        (index, tasks, deadline): (usize, usize, Option<Duration>),
        overlay: &mut Overlay,
        progress: &mut dyn Progress,
    ) -> Result<TaskReport, TuneError> {
        let ended = |outcome, note: &str| {
            TaskReport::without(task.key.short_id(), task.key.label(), outcome, note.to_owned())
        };
        let over = || {
            let late = deadline.is_some_and(|deadline| self.clock.now() >= deadline);
            self.stop.load(Ordering::Relaxed) || late
        };
        if over() {
            return Ok(ended(Outcome::NotReached, "stopped, or out of time, before"));
        }
        let family = self.counter.families().iter().copied().find(|f| f.name() == task.problem.family);
        let Some(family) = family else {
            return Ok(ended(Outcome::Failed, "no such family"));
        };
        let space = Space::new(family, &task.problem, &search::known(overlay, &task.key));
        let plan = Plan::of(self.options.effort, self.options.strategy, space.candidates.len());
        let label = task.problem.to_string();
        progress.event(&Event::TaskStarted { index, tasks, label: &label, candidates: plan.candidates });
        let begun = self.clock.now();
        let searched = self.counter.open(&task.problem).and_then(|mut subject| {
            let search = Search { space: &space, plan: &plan, seed: task.seed(), over: &over };
            search.run(&mut *subject, progress)
        });
        let mut report = match searched {
            Ok(choice) => {
                let entry = self.entry(task, &choice, space.candidates.len());
                let report = choice.describe(&entry);
                overlay.commit(entry)?;
                report
            }
            Err(reason) => ended(Outcome::Failed, &reason),
        };
        report.seconds.race = (self.clock.now() - begun).as_secs_f64();
        Ok(report)
    }

    fn entry(&self, task: &Task, choice: &Choice, legal: usize) -> Entry {
        let mut entry = choice.entry(task, &self.options, legal);
        entry.provenance.time = self.clock.date();
        entry.provenance.reason = choice.reason(&self.counter.describe());
        entry
    }

    /// The model's times of what was measured of a task: the winner, the default, the next best.
    fn compare(&self, task: &Task, entry: &Entry, end: Option<Duration>) -> Vec<Compared> {
        let over = end.is_some_and(|end| self.clock.now() >= end) || self.stop.load(Ordering::Relaxed);
        let family = self.counter.families().iter().copied().find(|f| f.name() == task.problem.family);
        let (Some(family), Some(timing), false) = (family, &entry.timing, over) else { return Vec::new() };
        let Ok(mut subject) = self.counter.open(&task.problem) else { return Vec::new() };
        let default = family.default_values(&task.problem);
        let mut known = vec![(Values(entry.schedule.clone()), timing.median_ns)];
        if known[0].0 != default {
            known.push((default, timing.default_ns));
        }
        known.extend(timing.runner_up.iter().map(|r| (Values(r.schedule.clone()), r.median_ns)));
        let mut compared: Vec<Compared> = Vec::new();
        for (values, measured_ns) in known.into_iter().filter(|(_, ns)| *ns > 0.0) {
            let schedule = values.to_string();
            if compared.iter().any(|c| c.schedule == schedule) {
                continue;
            }
            match subject.count(&values) {
                Ok(counted) => {
                    let modelled_ns = counted.seconds * 1e9;
                    compared.push(Compared { task: task.key.label(), schedule, measured_ns, modelled_ns });
                }
                Err(why) => tracing::warn!(task = %task.problem, %schedule, %why, "cannot be modelled"),
            }
        }
        compared
    }
}

#[cfg(test)]
mod tests;

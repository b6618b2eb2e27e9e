//! An invented device whose kernels take a known time, with noise and drift, on a clock of its own.
#![allow(dead_code, clippy::unwrap_used)] // Each test program uses its own part; a helper may fail like a test.

use jet_autotune::clock::Clock;
use jet_autotune::stats::Random;
use jet_autotune::subject::{Errors, Subject, Workbench};
use jet_autotune::{Effort, Event, Options, Progress, Task};
use jet_cache::{Fingerprint, TaskFields, TaskKey};
use jet_codegen::schedule::{Family, Illegal, Param, Problem, Schedule as _, Values, check_values};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

jet_codegen::schedule! {
    /// How the invented kernel works.
    pub(crate) struct Invented = "invented" v1 {
        /// Columns at a time.
        tile: [8, 16, 32, 64] = 16,
        /// Rows at a time.
        rows: [1, 2, 4, 8] = 2,
    }
}

pub(crate) struct InventedFamily;

impl Family for InventedFamily {
    fn name(&self) -> &'static str {
        Invented::FAMILY
    }
    fn version(&self) -> u32 {
        Invented::VERSION
    }
    fn params(&self) -> &'static [Param] {
        Invented::PARAMS
    }
    fn legal(&self, problem: &Problem, values: &Values) -> Result<(), Illegal> {
        check_values(self.params(), values)?;
        let wide = values.get("tile").unwrap_or(0) > problem.dim("n") as i64;
        if wide { Err(Illegal("the tile is wider than the matrix".into())) } else { Ok(()) }
    }
}

/// Time that passes only when something is done.
#[derive(Default)]
pub(crate) struct VirtualClock(Cell<Duration>);

impl VirtualClock {
    pub(crate) fn pass(&self, seconds: f64) {
        self.0.set(self.0.get() + Duration::from_secs_f64(seconds));
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.0.get()
    }
    fn date(&self) -> u64 {
        1_700_000_000 + self.0.get().as_secs()
    }
}

/// What an invented kernel does with a schedule.
#[derive(Clone, Copy)]
pub(crate) enum Deed {
    /// Right, and takes so many seconds.
    Takes(f64),
    /// Takes so many seconds and gives a wrong output.
    Wrong(f64),
    /// Gives not-a-number.
    NotANumber,
    /// Cannot be prepared.
    Refuses,
}

pub(crate) type Model = fn(&Problem, i64, i64) -> Deed;

/// An invented device.
pub(crate) struct Device<'a> {
    pub(crate) clock: &'a VirtualClock,
    pub(crate) model: Model,
    /// Standard deviation of one run's time, relative.
    pub(crate) noise: f64,
    /// Amplitude of a slow change of all times, relative.
    pub(crate) drift: f64,
    pub(crate) random: RefCell<Random>,
    /// Problems that were set up, schedules that were validated, and schedules that were timed.
    pub(crate) opened: Cell<usize>,
    pub(crate) validated: RefCell<Vec<Values>>,
    pub(crate) timed: RefCell<Vec<Values>>,
    /// Seconds that preparing a candidate takes, and how often it was done.
    pub(crate) prepare: f64,
    pub(crate) prepared: Cell<usize>,
    /// Seconds that a run takes at least.
    pub(crate) bound: Option<f64>,
    /// Sets the flag when so many seconds have passed.
    pub(crate) stop_at: Option<(f64, &'a AtomicBool)>,
}

impl<'a> Device<'a> {
    pub(crate) fn new(clock: &'a VirtualClock, model: Model, noise: f64, seed: u64) -> Self {
        Self {
            clock,
            model,
            noise,
            drift: 0.0,
            random: RefCell::new(Random::new(seed)),
            opened: Cell::new(0),
            validated: RefCell::default(),
            timed: RefCell::default(),
            prepare: 50e-6,
            prepared: Cell::new(0),
            bound: None,
            stop_at: None,
        }
    }

    /// A normal number, by the sum of twelve uniform ones.
    fn gauss(&self) -> f64 {
        let mut random = self.random.borrow_mut();
        (0..12).map(|_| random.unit()).sum::<f64>() - 6.0
    }

    fn pass(&self, seconds: f64) {
        self.clock.pass(seconds);
        if let Some((at, flag)) = self.stop_at
            && self.clock.now().as_secs_f64() >= at
        {
            flag.store(true, Ordering::Relaxed);
        }
    }
}

impl Workbench for Device<'_> {
    fn families(&self) -> &[&dyn Family] {
        &[&InventedFamily]
    }
    fn open(&self, problem: &Problem) -> Result<Box<dyn Subject + '_>, String> {
        self.opened.set(self.opened.get() + 1);
        self.pass(0.01);
        Ok(Box::new(Kernel { device: self, problem: problem.clone(), values: Values::default() }))
    }
    fn reference(&self) -> String {
        "invented reference 1".to_owned()
    }
    fn bound(&self, _floor: (u64, u64)) -> Option<f64> {
        self.bound
    }
}

struct Kernel<'d> {
    device: &'d Device<'d>,
    problem: Problem,
    values: Values,
}

impl Kernel<'_> {
    fn deed(&self) -> Deed {
        (self.device.model)(&self.problem, self.values.get("tile").unwrap(), self.values.get("rows").unwrap())
    }
}

impl Subject for Kernel<'_> {
    fn prepare(&mut self, values: &Values) -> Result<(), String> {
        self.values = values.clone();
        self.device.pass(self.device.prepare);
        self.device.prepared.set(self.device.prepared.get() + 1);
        match self.deed() {
            Deed::Refuses => Err("not enough scratch".to_owned()),
            _ => Ok(()),
        }
    }
    fn validate(&mut self) -> Result<Errors, String> {
        self.device.validated.borrow_mut().push(self.values.clone());
        self.device.pass(2e-3);
        let rel_rms = match self.deed() {
            Deed::Takes(_) => 1e-6,
            Deed::Wrong(_) => 0.3,
            _ => f64::NAN,
        };
        Ok(Errors { max_abs: rel_rms * 4.0, rel_rms, allowed: 1e-3 })
    }
    fn time(&mut self, runs: usize) -> f64 {
        let validated = self.device.validated.borrow().contains(&self.values);
        assert!(validated, "{} was timed before it was validated", self.values);
        self.device.timed.borrow_mut().push(self.values.clone());
        let (Deed::Takes(mean) | Deed::Wrong(mean)) = self.deed() else { panic!("timed what cannot run") };
        let phase = self.device.clock.now().as_secs_f64() * 2.0;
        let drift = 1.0 + self.device.drift * phase.sin();
        // Disturbances only ever make a run longer.
        let noise = 1.0 + self.device.noise * self.device.gauss().abs();
        let seconds = mean * drift * noise * runs as f64;
        self.device.pass(seconds);
        seconds
    }
    fn floor(&self) -> (u64, u64) {
        (1_000_000, 0)
    }
}

pub(crate) fn task(n: usize, tokens: usize) -> Task {
    let problem = Problem::new(Invented::FAMILY, "f32", &[("n", n), ("tokens", tokens)]);
    let device = Fingerprint::new("invented").with("workers", 2);
    let fields = TaskFields::new(device, Invented::FAMILY, Invented::VERSION, &problem.format, "kernels-1");
    Task { key: TaskKey::new(fields.dims(problem.dims.clone())), problem }
}

pub(crate) fn options(effort: Effort) -> Options {
    Options { effort, command: "jet-tune run invented".into(), ..Options::default() }
}

/// Writes the kinds of events down.
#[derive(Default)]
pub(crate) struct Log(pub(crate) Vec<String>);

impl Progress for Log {
    fn event(&mut self, event: &Event<'_>) {
        self.0.push(match event {
            Event::Planned { tasks, stored } => format!("planned {tasks}, stored {stored}"),
            Event::TaskStarted { index, candidates, .. } => format!("started {index} with {candidates}"),
            Event::Round { .. } => "round".to_owned(),
            Event::TaskFinished { index, report, .. } => format!("finished {index} {}", report.outcome),
        });
    }
}

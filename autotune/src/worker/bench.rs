//! A workbench whose subjects live in a worker.

use super::link::{Broken, Link};
use super::protocol::{Answer, Ask, Description, PROTOCOL, PlanAsk};
use crate::error::TuneError;
use crate::subject::{Details, Errors, Fault, Subject, Workbench};
use crate::tasks::Task;
use jet_cache::{FailureKind, Grade};
use jet_codegen::schedule::{Family, Problem, Values};
use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

/// How long what may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Opening a device, planning, setting a problem up with its reference.
    pub setup: Duration,
    /// Compiling and loading one candidate.
    pub compile: Duration,
    /// One launch, the first one with its comparison.
    pub launch: Duration,
    /// Any sign of life.
    pub silence: Duration,
    /// How long a lost device is given to come back.
    pub recovery: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            setup: Duration::from_secs(600),
            compile: Duration::from_secs(120),
            launch: Duration::from_secs(60),
            silence: Duration::from_secs(30),
            recovery: Duration::from_secs(5),
        }
    }
}

/// How a worker is started, and for what.
pub struct Launcher {
    /// The worker's program with its arguments.
    pub command: Box<dyn Fn() -> Command + Send + Sync>,
    /// The device, as on the command line.
    pub device: String,
    /// Worker threads of the device.
    pub threads: usize,
    /// What may take how long.
    pub deadlines: Deadlines,
}

/// A second loss of the device ends the run.
const LOSSES: usize = 2;

/// Signs of life that are wanted within the longest silence.
const BEATS: u32 = 8;

/// A time that is longer than expected by this factor counts as none.
const SLACK: f64 = 20.0;

/// What is kept of the worker at hand.
#[derive(Default)]
struct State {
    link: Option<Link>,
    /// How many workers there were: a subject of an earlier one must be set up again.
    generation: usize,
    losses: usize,
    gone: Option<String>,
    /// The roofline of the problem that was set up last.
    bound: Option<f64>,
}

/// A device in another process.
pub struct WorkerBench {
    launcher: Launcher,
    families: Vec<&'static dyn Family>,
    description: Description,
    state: RefCell<State>,
}

impl WorkerBench {
    /// Starts a worker and opens its device. `families` gives the kernel families by what the worker says of the device: they
    /// are part of the program, and judge schedules here as well as there.
    ///
    /// # Errors
    /// [`TuneError::Worker`] where there is no such device, or the worker is no worker.
    pub fn start(
        launcher: Launcher,
        families: &dyn Fn(&Description) -> Vec<&'static dyn Family>,
    ) -> Result<Self, TuneError> {
        let (link, description) = connect(&launcher).map_err(|reason| TuneError::Worker { reason })?;
        let families = families(&description);
        let missing = description.families.iter().find(|name| families.iter().all(|f| f.name() != *name));
        if let Some(missing) = missing {
            let reason = format!("the worker has the kernel family `{missing}`, which this program has not");
            return Err(TuneError::Worker { reason });
        }
        let state = State { link: Some(link), generation: 1, ..State::default() };
        Ok(Self { launcher, families, description, state: RefCell::new(state) })
    }

    /// The device.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// How many workers there were.
    pub fn workers(&self) -> usize {
        self.state.borrow().generation
    }

    /// Process number of the worker, while there is one.
    pub fn worker_id(&self) -> Option<u32> {
        self.state.borrow().link.as_ref().map(Link::id)
    }

    /// The tasks of a model on the device.
    ///
    /// # Errors
    /// [`TuneError::Worker`] with the reason why there are none.
    pub fn plan(&self, ask: &PlanAsk) -> Result<Vec<Task>, TuneError> {
        let answer = self.ask(&Ask::Plan(ask.clone()), "planning", self.launcher.deadlines.setup);
        match answer {
            Ok(Answer::Plan { tasks }) => Ok(tasks),
            Ok(other) => Err(TuneError::Worker { reason: unexpected(&other) }),
            Err(fault) => Err(TuneError::Worker { reason: fault.reason }),
        }
    }

    /// A worker that works, started anew where the last one is gone.
    fn link(&self) -> Result<RefMut<'_, State>, Fault> {
        let blameless = |reason: String| Fault { kind: None, reason };
        let mut state = self.state.borrow_mut();
        while state.link.is_none() {
            if let Some(gone) = &state.gone {
                return Err(blameless(gone.clone()));
            }
            match connect(&self.launcher) {
                Ok((link, _)) => {
                    state.link = Some(link);
                    state.generation += 1;
                }
                Err(reason) => {
                    lose(&mut state, &self.description.name, &reason);
                    if state.gone.is_none() {
                        std::thread::sleep(self.launcher.deadlines.recovery);
                    }
                }
            }
        }
        Ok(state)
    }

    /// Asks the worker, which is gone where that fails with a kind.
    fn ask(&self, ask: &Ask, doing: &str, deadline: Duration) -> Result<Answer, Fault> {
        let mut state = self.link()?;
        let link = state.link.as_mut().expect("it was made just now");
        match link.ask(ask, doing, deadline, self.launcher.deadlines.silence) {
            Ok(Answer::Refused { reason }) => Err(Fault { kind: None, reason }),
            Ok(Answer::Lost { reason }) => {
                state.link = None;
                lose(&mut state, &self.description.name, &reason);
                let reason = format!("the device was lost while {doing}: {reason}");
                Err(Fault { kind: Some(FailureKind::Crashed), reason })
            }
            Ok(answer) => Ok(answer),
            Err(Broken { kind, reason }) => {
                state.link = None;
                tracing::debug!(reason, "a worker is gone");
                Err(Fault { kind: Some(kind), reason })
            }
        }
    }
}

fn lose(state: &mut State, device: &str, reason: &str) {
    state.losses += 1;
    if state.losses >= LOSSES {
        state.gone = Some(format!("the device {device} was lost {LOSSES} times, the last time: {reason}"));
    }
}

fn unexpected(answer: &Answer) -> String {
    format!("the worker answered what it was not asked: {answer:?}")
}

/// Starts a worker, greets it, and has it open the device.
fn connect(launcher: &Launcher) -> Result<(Link, Description), String> {
    let Deadlines { setup, silence, .. } = launcher.deadlines;
    let mut link = Link::start((launcher.command)())?;
    let jet = env!("CARGO_PKG_VERSION").to_owned();
    let beat_ms = (silence / BEATS).as_millis() as u64;
    let hello = Ask::Hello { protocol: PROTOCOL, jet: jet.clone(), beat_ms };
    // Before the greeting there are no signs of life.
    match link.ask(&hello, "starting", silence, silence).map_err(|broken| broken.reason)? {
        Answer::Hello { protocol, jet: theirs } if (protocol, &theirs) == (PROTOCOL, &jet) => {}
        Answer::Hello { protocol, jet: theirs } => {
            return Err(format!(
                "the worker is jet {theirs} with protocol {protocol}, and this is jet {jet} with protocol {PROTOCOL}: \
                 install one version"
            ));
        }
        other => return Err(unexpected(&other)),
    }
    let ask = Ask::Device { name: launcher.device.clone(), threads: launcher.threads };
    match link.ask(&ask, "opening the device", setup, silence).map_err(|broken| broken.reason)? {
        Answer::Device(description) => Ok((link, description)),
        Answer::Refused { reason } | Answer::Lost { reason } => Err(reason),
        other => Err(unexpected(&other)),
    }
}

impl Workbench for WorkerBench {
    fn families(&self) -> &[&dyn Family] {
        &self.families
    }

    fn open(&self, problem: &Problem) -> Result<Box<dyn Subject + '_>, String> {
        let mut subject = WorkerSubject {
            bench: self,
            problem: problem.clone(),
            generation: 0,
            ready: false,
            floor: (0, 0),
            per_run: 0.0,
            details: Details::default(),
            fault: RefCell::default(),
        };
        subject.set_up().map_err(|fault| fault.reason)?;
        Ok(Box::new(subject))
    }

    fn reference(&self) -> String {
        self.description.reference.clone()
    }

    fn toolchain(&self) -> String {
        self.description.toolchain.clone()
    }

    fn conditions(&self) -> BTreeMap<String, String> {
        match self.ask(&Ask::Conditions, "telling the conditions", self.launcher.deadlines.launch) {
            Ok(Answer::Conditions { facts }) => facts,
            _ => BTreeMap::new(),
        }
    }

    fn grade(&self) -> Grade {
        self.description.grade
    }

    fn bound(&self, _floor: (u64, u64)) -> Option<f64> {
        self.state.borrow().bound
    }

    fn usable(&self) -> Result<(), String> {
        self.state.borrow().gone.clone().map_or(Ok(()), Err)
    }
}

struct WorkerSubject<'b> {
    bench: &'b WorkerBench,
    problem: Problem,
    /// Of which worker it is.
    generation: usize,
    /// Whether a candidate is prepared there.
    ready: bool,
    floor: (u64, u64),
    /// Seconds of the last run.
    per_run: f64,
    details: Details,
    fault: RefCell<Option<Fault>>,
}

impl WorkerSubject<'_> {
    /// Sets the problem up in the worker that there is, if that is not done.
    fn set_up(&mut self) -> Result<(), Fault> {
        drop(self.bench.link()?);
        if self.generation == self.bench.workers() {
            return Ok(());
        }
        let ask = Ask::Open { problem: self.problem.clone() };
        match self.bench.ask(&ask, "setting up", self.bench.launcher.deadlines.setup) {
            Ok(Answer::Open { floor, bound }) => {
                self.bench.state.borrow_mut().bound = bound;
                (self.floor, self.generation) = (floor, self.bench.workers());
                Ok(())
            }
            Ok(other) => Err(Fault { kind: None, reason: unexpected(&other) }),
            // A worker that falls while it sets up has not come to any candidate yet.
            Err(fault) => Err(Fault { kind: None, ..fault }),
        }
    }

    fn ask(&mut self, ask: &Ask, doing: &str, deadline: Duration) -> Result<Answer, String> {
        let answer = match self.ready || matches!(ask, Ask::Prepare { .. }) {
            true => self.bench.ask(ask, doing, deadline),
            false => return Err(self.fault().map_or_else(|| "it is not prepared".to_owned(), |f| f.reason)),
        };
        answer.map_err(|fault| {
            let reason = fault.reason.clone();
            if fault.kind.is_some() {
                self.ready = false;
                self.fault.replace(Some(fault));
            }
            reason
        })
    }
}

impl Subject for WorkerSubject<'_> {
    fn prepare(&mut self, values: &Values) -> Result<(), String> {
        (self.ready, self.per_run) = (false, 0.0);
        self.fault.replace(None);
        if let Err(fault) = self.set_up() {
            let reason = fault.reason.clone();
            self.fault.replace(Some(fault));
            return Err(reason);
        }
        let deadline = self.bench.launcher.deadlines.compile;
        match self.ask(&Ask::Prepare { values: values.clone() }, "compiling", deadline)? {
            Answer::Prepared => {
                self.ready = true;
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }

    fn validate(&mut self) -> Result<Errors, String> {
        match self.ask(&Ask::Validate, "validating", self.bench.launcher.deadlines.launch)? {
            Answer::Validated { errors, details } => {
                self.details = details;
                Ok(errors.into())
            }
            other => Err(unexpected(&other)),
        }
    }

    fn time(&mut self, runs: usize) -> f64 {
        let expected = Duration::try_from_secs_f64(self.per_run * runs as f64 * SLACK).unwrap_or_default();
        let deadline = self.bench.launcher.deadlines.launch + expected;
        match self.ask(&Ask::Time { runs }, "running", deadline) {
            Ok(Answer::Timed { seconds }) => {
                self.per_run = seconds.unwrap_or(0.0) / runs.max(1) as f64;
                seconds.unwrap_or(f64::NAN)
            }
            _ => f64::NAN,
        }
    }

    fn floor(&self) -> (u64, u64) {
        self.floor
    }

    fn details(&self) -> Details {
        self.details
    }

    fn fault(&self) -> Option<Fault> {
        self.fault.borrow().clone()
    }
}

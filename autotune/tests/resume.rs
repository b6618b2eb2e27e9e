//! A run that is killed anywhere: what it has found is given again, and the winners are those of a run that was not.

#![allow(clippy::unwrap_used)] // A test helper may fail like a test.

mod common;

use common::{Deed, Device, VirtualClock, options, task};
use jet_autotune::journal::Journal;
use jet_autotune::stats::Random;
use jet_autotune::subject::{Errors, Subject, Workbench};
use jet_autotune::{Effort, Outcome, Report, Silent, Task, Tuner};
use jet_cache::{Overlay, folders::Layout};
use jet_codegen::schedule::{Family, Problem, Values};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

/// How a life says that it was ended.
const KILLED: &str = "killed";

static GO_ON: AtomicBool = AtomicBool::new(false);

/// Recorded times: a landscape of its own for each problem, with two candidates near the best.
fn recorded(problem: &Problem, tile: i64, rows: i64) -> Deed {
    let best = [8, 32, 64][problem.dim("n") % 3];
    match (tile, rows) {
        (t, 2) if t == best => Deed::Takes(0.7e-4),
        (t, 4) if t == best => Deed::Takes(0.701e-4),
        (64, 8) => Deed::Wrong(1e-6),
        _ => Deed::Takes(1e-4),
    }
}

/// A device on which everything ends after so many steps: before or after one is taken.
struct Mortal<'a> {
    inner: &'a Device<'a>,
    left: Cell<usize>,
    steps: Cell<usize>,
}

impl Mortal<'_> {
    fn step(&self) {
        self.steps.set(self.steps.get() + 1);
        match self.left.get() {
            // Unlike a panic this tells nobody; like a kill it gives nobody the time to do anything.
            0 => resume_unwind(Box::new(KILLED)),
            left => self.left.set(left - 1),
        }
    }
}

impl Workbench for Mortal<'_> {
    fn families(&self) -> &[&dyn Family] {
        self.inner.families()
    }
    fn open(&self, problem: &Problem) -> Result<Box<dyn Subject + '_>, String> {
        Ok(Box::new(Part { device: self, inner: self.inner.open(problem)? }))
    }
    fn reference(&self) -> String {
        self.inner.reference()
    }
}

struct Part<'m> {
    device: &'m Mortal<'m>,
    inner: Box<dyn Subject + 'm>,
}

impl Subject for Part<'_> {
    fn prepare(&mut self, values: &Values) -> Result<(), String> {
        self.device.step();
        self.inner.prepare(values)
    }
    fn validate(&mut self) -> Result<Errors, String> {
        let errors = self.inner.validate();
        self.device.step();
        errors
    }
    fn time(&mut self, runs: usize) -> f64 {
        self.device.step();
        let seconds = self.inner.time(runs);
        self.device.step();
        seconds
    }
    fn floor(&self) -> (u64, u64) {
        self.inner.floor()
    }
}

/// What one life of a tuner has.
struct Life<'a> {
    folder: &'a Path,
    tasks: &'a [Task],
    seed: u64,
    /// The steps after which it is killed.
    steps: usize,
    resume: bool,
    /// Candidates that this life or an earlier one has validated.
    validated: &'a mut Vec<Values>,
}

/// One life of the tuner: what it came to, if it was not killed, and how many steps it took.
fn live(life: Life<'_>) -> (Option<Report>, usize) {
    let Life { folder, tasks, seed, steps, resume, validated } = life;
    let clock = VirtualClock::default();
    let device = Device::new(&clock, recorded, 0.01, seed);
    device.validated.replace(std::mem::take(validated));
    let mortal = Mortal { inner: &device, left: Cell::new(steps), steps: Cell::new(0) };
    let mut overlay = Overlay::open(folder, "0.1.0").unwrap();
    let journal = Mutex::new(Journal::open(folder, resume, false, "a test").unwrap());
    let done = catch_unwind(AssertUnwindSafe(|| {
        let tuner = Tuner::new(&mortal, &clock, &GO_ON, options(Effort::Full)).journalled(&journal);
        tuner.run(tasks, &mut overlay, &mut Silent).unwrap()
    }));
    let done = match done {
        Ok(report) => {
            journal.into_inner().unwrap_or_else(|e| e.into_inner()).finish().unwrap();
            Some(report)
        }
        Err(why) if why.downcast_ref() == Some(&KILLED) => None,
        Err(fault) => resume_unwind(fault),
    };
    *validated = device.validated.take();
    (done, mortal.steps.get())
}

fn winners(folder: &Path, tasks: &[Task]) -> Vec<(i64, i64)> {
    let overlay = Overlay::open(folder, "0.1.0").unwrap();
    let winner = |task: &Task| {
        let entry = overlay.get(task.key.store_key()).unwrap();
        assert!(entry.search.complete);
        (entry.schedule["tile"], entry.schedule["rows"])
    };
    tasks.iter().map(winner).collect()
}

#[test]
fn killed_at_a_hundred_random_points_the_winners_are_those_of_an_undisturbed_run() {
    let tasks: Vec<Task> = (0..6).map(|i| task(576 + i, 64)).collect();
    let undisturbed = tempfile::tempdir().unwrap();
    let mut validated = Vec::new();
    let (report, whole) = live(Life {
        folder: undisturbed.path(),
        tasks: &tasks,
        seed: 1,
        steps: usize::MAX,
        resume: true,
        validated: &mut validated,
    });
    assert!(report.unwrap().notices.is_empty());
    let wanted = winners(undisturbed.path(), &tasks);
    let best = |n: usize| ([8, 32, 64][n % 3], 2);
    assert_eq!(wanted, (0..6).map(|i| best(576 + i)).collect::<Vec<_>>());

    let mut random = Random::new(7);
    let (mut kills, mut seed) = (0, 2);
    while kills < 100 {
        let folder = tempfile::tempdir().unwrap();
        let (mut steps, mut validated) = (0, Vec::new());
        let mut lives = 0;
        let report = loop {
            let (done, taken) = live(Life {
                folder: folder.path(),
                tasks: &tasks,
                seed,
                steps: 1 + random.below(200),
                resume: true,
                validated: &mut validated,
            });
            (steps, lives, seed) = (steps + taken, lives + 1, seed + 1);
            if let Some(report) = done {
                break report;
            }
            kills += 1;
            // Now and then the last line does not reach the disk whole.
            let journal = Layout::of(folder.path()).journal;
            if let Ok(bytes) = std::fs::read(&journal)
                && random.below(3) == 0
            {
                std::fs::write(&journal, &bytes[..bytes.len() - 1 - random.below(9)]).unwrap();
            }
        };
        assert_eq!(winners(folder.path(), &tasks), wanted, "after {lives} lives");
        // What was recorded is not measured again: a life costs a few steps more, not the whole task.
        assert!(steps < whole + 40 * lives, "{steps} steps in {lives} lives, {whole} in one");
        assert!(!Layout::of(folder.path()).journal.exists());
        assert!(report.tasks.iter().all(|t| matches!(t.outcome, Outcome::Tuned | Outcome::Stored)));
    }
}

#[test]
fn without_resume_the_task_at_hand_begins_anew_and_the_culprit_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut validated = Vec::new();
    let tasks = [task(576, 64)];
    assert!(
        live(Life {
            folder: folder.path(),
            tasks: &tasks,
            seed: 1,
            steps: 1,
            resume: false,
            validated: &mut validated
        })
        .0
        .is_none()
    );
    let journal = Journal::open(folder.path(), false, false, "a test").unwrap();
    assert_eq!(journal.recorded(), 0);
    let told = journal.notices().join("; ");
    assert!(
        told.contains("ended while rows=2 tile=16 of task ") && told.contains("was being tried"),
        "{told}"
    );
    drop(journal);
    let (report, _) = live(Life {
        folder: folder.path(),
        tasks: &tasks,
        seed: 1,
        steps: usize::MAX,
        resume: false,
        validated: &mut validated,
    });
    assert_eq!(report.unwrap().tasks[0].replayed, 0);
}

#[test]
fn what_an_interrupted_run_found_wrong_is_not_launched_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut validated = Vec::new();
    let tasks = [task(576, 64)];
    // Long enough for all candidates' first turns, too short for the race.
    assert!(
        live(Life {
            folder: folder.path(),
            tasks: &tasks,
            seed: 1,
            steps: 200,
            resume: true,
            validated: &mut validated
        })
        .0
        .is_none()
    );
    let (report, _) = live(Life {
        folder: folder.path(),
        tasks: &tasks,
        seed: 2,
        steps: usize::MAX,
        resume: true,
        validated: &mut validated,
    });
    let report = report.unwrap();
    assert!(report.tasks[0].replayed > 30, "{}", report.tasks[0].replayed);
    assert_eq!(report.tasks[0].rejected.len(), 1);
    assert_eq!(report.tasks[0].rejected[0].schedule, "rows=8 tile=64");
}

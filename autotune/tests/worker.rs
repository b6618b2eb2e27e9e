//! The tuner with a worker process, on an invented device whose candidates do all that a candidate must not do. This
//! program plays three roles: the tests, the worker, and a tuner that the tests kill.
#![allow(clippy::unwrap_used)] // A test helper may fail like a test.

mod common;

use common::{Invented, InventedFamily, options, task};
use jet_autotune::clock::SystemClock;
use jet_autotune::journal::Journal;
use jet_autotune::subject::{Errors, Subject, Workbench};
use jet_autotune::worker::{Deadlines, Description, Host, Launcher, PlanAsk, WorkerBench, serve};
use jet_autotune::{Effort, Options, Outcome, Report, Silent, Task, TuneError, Tuner};
use jet_cache::trials::Outcome as Became;
use jet_cache::{CandidateKey, FailureKind, Grade, Overlay, Status};
use jet_codegen::schedule::{Family, Problem, Schedule as _, Values};
use std::collections::BTreeMap;
use std::io::{self, BufReader, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

static GO_ON: AtomicBool = AtomicBool::new(false);

/// Elements of the invented output.
const OUTPUT: usize = 64;

/// What the worker's candidates do, by tile and rows. The default is 16 and 2, the fastest right one 32 and 2.
#[derive(Clone, Copy, PartialEq)]
enum Deed {
    Works(f64),
    Traps,
    NeverEnds,
    WritesHalf,
    IsOffByALittle,
    IsKilled,
    WritesNonsense,
    LosesTheDevice,
    Stops,
}

fn deed(device: &str, tile: i64, rows: i64) -> Deed {
    match (device, tile, rows) {
        ("lossy", 8, _) => Deed::LosesTheDevice,
        ("steady" | "lossy", ..) => Deed::Works(seconds(tile, rows)),
        (_, 8, 1) => Deed::Traps,
        (_, 8, 2) => Deed::NeverEnds,
        (_, 8, 4) => Deed::WritesHalf,
        (_, 8, 8) => Deed::IsOffByALittle,
        (_, 64, 1) => Deed::IsKilled,
        (_, 64, 2) => Deed::WritesNonsense,
        (_, 64, 4) => Deed::LosesTheDevice,
        (_, 64, 8) => Deed::Stops,
        _ => Deed::Works(seconds(tile, rows)),
    }
}

fn seconds(tile: i64, rows: i64) -> f64 {
    let by_tile = if tile == 32 { 0.7 } else { 1.0 };
    1e-4 * by_tile * if rows == 2 { 1.0 } else { 1.2 }
}

/// The device in the worker.
struct Faulty(String);

impl Host for Faulty {
    fn describe(&self) -> Description {
        let fact = |name: &str| (name.to_owned(), "2".to_owned());
        Description {
            name: self.0.clone(),
            describe: "an invented device".into(),
            hard: [fact("workers")].into(),
            families: vec![Invented::FAMILY.into()],
            soft: BTreeMap::new(),
            grade: Grade::Measured,
            reference: "invented reference 1".into(),
            toolchain: String::new(),
        }
    }
    fn plan(&self, ask: &PlanAsk) -> Result<Vec<Task>, String> {
        Ok(ask.tokens.iter().map(|tokens| task(576, *tokens)).collect())
    }
    fn work(&self, work: &mut dyn FnMut(&dyn Workbench)) {
        work(self);
    }
    fn lost(&self, reason: &str) -> bool {
        reason.contains("fell off the bus")
    }
}

impl Workbench for Faulty {
    fn families(&self) -> &[&dyn Family] {
        &[&InventedFamily]
    }
    fn open(&self, _: &Problem) -> Result<Box<dyn Subject + '_>, String> {
        Ok(Box::new(Kernel { device: &self.0, deed: Deed::Works(1.0), output: [0.0; OUTPUT] }))
    }
    fn reference(&self) -> String {
        "invented reference 1".into()
    }
}

struct Kernel<'d> {
    device: &'d str,
    deed: Deed,
    output: [f32; OUTPUT],
}

fn signal(name: &str) {
    let pid = std::process::id().to_string();
    Command::new("kill").args([name, &pid]).status().unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

impl Kernel<'_> {
    fn run(&mut self) -> Result<(), String> {
        let written = if self.deed == Deed::WritesHalf { OUTPUT / 2 } else { OUTPUT };
        let scale = if self.deed == Deed::IsOffByALittle { 1.002 } else { 1.0 };
        match self.deed {
            Deed::Traps => std::process::abort(),
            Deed::NeverEnds => loop {
                std::thread::sleep(Duration::from_millis(5));
            },
            Deed::IsKilled => signal("-KILL"),
            Deed::Stops => signal("-STOP"),
            Deed::WritesNonsense => {
                io::stdout().write_all(b"Segmentation fault? No: {nonsense\n").unwrap();
                io::stdout().flush().unwrap();
            }
            Deed::LosesTheDevice => return Err("the GPU fell off the bus".into()),
            Deed::Works(_) | Deed::WritesHalf | Deed::IsOffByALittle => {}
        }
        for (i, x) in self.output[..written].iter_mut().enumerate() {
            *x = (i + 1) as f32 * scale;
        }
        Ok(())
    }
}

impl Subject for Kernel<'_> {
    fn prepare(&mut self, values: &Values) -> Result<(), String> {
        self.deed = deed(self.device, values.get("tile").unwrap(), values.get("rows").unwrap());
        Ok(())
    }
    fn validate(&mut self) -> Result<Errors, String> {
        self.output = [f32::NAN; OUTPUT];
        self.run()?;
        let (mut square, mut reference) = (0.0, 0.0);
        for (i, x) in self.output.iter().enumerate() {
            square += (f64::from(*x) - (i + 1) as f64).powi(2);
            reference += ((i + 1) as f64).powi(2);
        }
        let rel_rms = (square / reference).sqrt();
        Ok(Errors { max_abs: rel_rms, rel_rms, allowed: 1e-3 })
    }
    fn time(&mut self, runs: usize) -> f64 {
        if self.device == "steady" {
            // Slow enough to be killed in the middle of.
            std::thread::sleep(Duration::from_micros(300));
        }
        let Deed::Works(seconds) = self.deed else { return f64::NAN };
        seconds * runs as f64
    }
    fn floor(&self) -> (u64, u64) {
        (1_000_000, 0)
    }
}

fn launcher(device: &str) -> Launcher {
    let program = std::env::current_exe().unwrap();
    Launcher {
        command: Box::new(move || {
            let mut command = Command::new(&program);
            command.arg("worker");
            command
        }),
        device: device.into(),
        threads: 0,
        deadlines: Deadlines {
            launch: Duration::from_millis(1500),
            silence: Duration::from_secs(3),
            recovery: Duration::from_millis(10),
            ..Deadlines::default()
        },
    }
}

fn start(device: &str) -> WorkerBench {
    WorkerBench::start(launcher(device), &|_| vec![&InventedFamily]).unwrap()
}

fn run(
    bench: &WorkerBench,
    tasks: &[Task],
    overlay: &mut Overlay,
    options: Options,
) -> Result<Report, TuneError> {
    Tuner::new(bench, &SystemClock::default(), &GO_ON, options).run(tasks, overlay, &mut Silent)
}

fn each_fault_is_rejected_with_its_own_reason_and_the_sweep_goes_on() {
    let bench = start("faulty");
    let mut overlay = Overlay::in_memory("0.1.0");
    let report = run(&bench, &[task(576, 64)], &mut overlay, options(Effort::Full)).unwrap();
    let rejected = &report.tasks[0].rejected;
    let wanted = [
        ("rows=1 tile=8", "ended while validating: signal: 6", FailureKind::Crashed),
        ("rows=2 tile=8", "no end after 1.5 s of validating", FailureKind::Hung),
        ("rows=4 tile=8", "relative error NaN", FailureKind::WrongOutput),
        ("rows=8 tile=8", "relative error 2.00e-3, allowed 1.00e-3", FailureKind::WrongOutput),
        ("rows=1 tile=64", "ended while validating: signal: 9", FailureKind::Crashed),
        ("rows=2 tile=64", "wrote nonsense while validating: \"Segmentation fault?", FailureKind::Crashed),
        ("rows=4 tile=64", "the device was lost while validating: the GPU fell off", FailureKind::Crashed),
        ("rows=8 tile=64", "no sign of life for 3 s", FailureKind::Hung),
    ];
    assert_eq!(rejected.len(), wanted.len(), "{report}");
    // The silent one is within the deadline of a launch only where that is longer than the silence.
    for (schedule, reason, kind) in wanted {
        let found = rejected
            .iter()
            .find(|r| r.schedule == schedule)
            .unwrap_or_else(|| panic!("{schedule}: {report}"));
        let hung = kind == FailureKind::Hung && found.reason.contains("no end after 1.5 s");
        assert!(found.reason.contains(reason) || hung, "{schedule}: {}", found.reason);
        let values: Values = schedule.parse().unwrap();
        let key = CandidateKey::new(&task(576, 64).key, "", &values.0);
        assert_eq!(overlay.rejection(&key).unwrap().kind, kind, "{schedule}");
    }
    assert_eq!((report.tasks[0].outcome, report.tasks[0].timed), (Outcome::Tuned, 8), "{report}");
    let entry = overlay.get(task(576, 64).key.store_key()).unwrap();
    assert_eq!((entry.schedule["tile"], entry.schedule["rows"], entry.search.rejected), (32, 2, 8));
    let trials = overlay.trials(&task(576, 64).key).unwrap().trials;
    let failed = trials.iter().filter(|t| matches!(t.outcome, Became::Failed { .. })).count();
    assert_eq!((trials.len(), failed), (16, 8));
    // Each of the six that take their worker with them cost one worker, and nothing else did.
    assert_eq!(bench.workers(), 1 + 6);

    // The next run knows them, and no worker falls.
    let again = Options { again: true, ..options(Effort::Full) };
    let second = run(&bench, &[task(576, 64)], &mut overlay, again.clone()).unwrap();
    assert_eq!((second.known(), second.rejected(), bench.workers()), (8, 8, 7), "{second}");
    assert!(second.summary().contains("8 candidates skipped that are known to fail"), "{second}");
    let known = &second.tasks[0].rejected[0];
    assert!(known.known && known.reason.contains("known from an earlier run"), "{}", known.reason);
    // Unless it is told to ask again; but the device must not be lost a second time.
    let third = run(&bench, &[task(576, 64)], &mut overlay, Options { retry_failed: true, ..again });
    assert!(matches!(third, Err(TuneError::DeviceLost { .. })), "{third:?}");
}

fn the_second_loss_of_the_device_ends_the_run_and_every_task_has_a_record() {
    let bench = start("lossy");
    let mut overlay = Overlay::in_memory("0.1.0");
    let tasks = [task(576, 1), task(576, 64)];
    let error = run(&bench, &tasks, &mut overlay, options(Effort::Full)).unwrap_err().to_string();
    assert!(error.contains("lossy was lost 2 times") && error.contains("fell off the bus"), "{error}");
    assert!(error.contains("--resume"), "{error}");
    let statuses: Vec<_> = overlay.entries().map(|e| (e.status, e.schedule["tile"])).collect();
    assert_eq!(statuses, [(Status::Assumed, 16); 2]);
}

fn what_is_no_worker_is_said_to_be_none() {
    let program = |script: &'static str| Launcher {
        command: Box::new(move || {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        }),
        ..launcher("any")
    };
    let fails = |script| {
        let bench = WorkerBench::start(program(script), &|_| vec![]);
        bench.err().expect("it is no worker").to_string()
    };
    let other = fails(r#"read x; echo '{"hello":{"protocol":99,"jet":"7.0.0"}}'; sleep 5"#);
    assert!(other.contains("jet 7.0.0 with protocol 99") && other.contains("install one version"), "{other}");
    assert!(fails("exit 3").contains("exit status: 3"));
    let words = fails("echo 'cannot find the driver' >&2; exit 1");
    assert!(words.contains("cannot find the driver"), "{words}");
    assert!(fails("read x; echo hello; sleep 5").contains("wrote nonsense while starting: \"hello\""));
    let missing = WorkerBench::start(launcher("steady"), &|_| vec![]).err().unwrap().to_string();
    assert!(missing.contains("`invented`"), "{missing}");
}

fn a_worker_plans() {
    let ask = PlanAsk {
        target: "invented".into(),
        random: true,
        random_format: "f32".into(),
        precision: "f32".into(),
        parts: BTreeMap::new(),
        tokens: vec![1, 64],
    };
    assert_eq!(start("steady").plan(&ask).unwrap(), [task(576, 1), task(576, 64)]);
}

/// The tasks of the tuner that is killed.
fn killed_tasks() -> Vec<Task> {
    (0..3).map(|i| task(576 + i, 64)).collect()
}

/// The role of a tuner: tunes into a folder, resuming what was begun.
fn tune(folder: &Path) {
    let mut overlay = Overlay::open(folder, "0.1.0").unwrap();
    let journal = Mutex::new(Journal::open(folder, true, false, "a test").unwrap());
    let bench = start("steady");
    let clock = SystemClock::default();
    let tuner = Tuner::new(&bench, &clock, &GO_ON, options(Effort::Full)).journalled(&journal);
    let report = tuner.run(&killed_tasks(), &mut overlay, &mut Silent).unwrap();
    journal.into_inner().unwrap().finish().unwrap();
    println!("{}", report.tasks.iter().map(|t| t.replayed).sum::<usize>());
}

fn a_tuner_that_is_killed_goes_on_and_finds_the_same_winners() {
    let folder = tempfile::tempdir().unwrap();
    let spawn = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("tune").arg(folder.path()).stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let mut killed = 0;
    for delay in [150, 300, 450, 250, 350] {
        let mut child = spawn();
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
    }
    assert!(killed > 0, "no run was killed before its end");
    let last = spawn().wait_with_output().unwrap();
    assert!(last.status.success(), "{last:?}");
    let overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
    for task in killed_tasks() {
        let entry = overlay.get(task.key.store_key()).unwrap();
        assert_eq!((entry.schedule["tile"], entry.schedule["rows"]), (32, 2));
        assert!(entry.search.complete && entry.status == Status::Verified);
    }
    assert!(!jet_cache::folders::Layout::of(folder.path()).journal.exists(), "a finished run has no journal");
}

const TESTS: &[(&str, fn())] = &[
    (
        "each_fault_is_rejected_with_its_own_reason_and_the_sweep_goes_on",
        each_fault_is_rejected_with_its_own_reason_and_the_sweep_goes_on,
    ),
    (
        "the_second_loss_of_the_device_ends_the_run_and_every_task_has_a_record",
        the_second_loss_of_the_device_ends_the_run_and_every_task_has_a_record,
    ),
    ("what_is_no_worker_is_said_to_be_none", what_is_no_worker_is_said_to_be_none),
    ("a_worker_plans", a_worker_plans),
    (
        "a_tuner_that_is_killed_goes_on_and_finds_the_same_winners",
        a_tuner_that_is_killed_goes_on_and_finds_the_same_winners,
    ),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("worker") => {
            let open = |name: &str, _: usize| Ok(Box::new(Faulty(name.to_owned())) as Box<dyn Host>);
            if let Err(e) = serve(BufReader::new(io::stdin()), io::stdout(), &open) {
                eprintln!("{e}");
                std::process::exit(1);
            }
        }
        Some("tune") => tune(Path::new(&arguments[1])),
        Some("--list") => TESTS.iter().for_each(|(name, _)| println!("{name}: test")),
        _ => {
            // As the usual harness does: words are parts of names.
            let words: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
            let wanted =
                |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
            let chosen: Vec<_> = TESTS.iter().filter(|(name, _)| wanted(name)).collect();
            println!("\nrunning {} tests", chosen.len());
            for (name, test) in &chosen {
                test();
                println!("test {name} ... ok");
            }
            println!("\ntest result: ok. {} passed\n", chosen.len());
        }
    }
}

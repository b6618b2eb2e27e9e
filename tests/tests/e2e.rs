//! From tuning to a session: what the tuner stores, the next session finds; what is broken costs time only.

use jet_autotune::clock::SystemClock;
use jet_autotune::{DeviceBench, Effort, Options, Outcome, Report, Silent, Tuner, plan};
use jet_cache::{Mode, Overlay};
use jet_codegen::{LowerOptions, lower};
use jet_models::session::{LoadOptions, Schedules, Session};
use jet_models::target::Target;
use jet_numerics::DType;
use jet_runtime::device::{Device, Precision, open, token_buckets};
use jet_runtime::select::Hit;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const PIECE: usize = 32;

/// A model with every kind of kernel, small enough to be tuned in a test.
const SOURCE: &str = r#"
jet_model! {
    /// For the tests.
    pub struct Small;
    vocab: 200,
    d_model: 64,
    norm: rms_norm { eps: 1e-5 },
    tie_embeddings: true,
    max_context: 256,
    pattern: "M*-J",
    blocks {
        'M' => mamba2    { n_heads: 4, d_head: 16, d_state: 16, n_groups: 2, conv: 4 },
        '*' => attention { n_heads: 4, n_kv_heads: 2, d_head: 16, rope: 10_000.0 },
        '-' => mlp       { hidden: 96, act: swiglu },
        'J' => jet_block { n_heads: 2, d_head: 16, expand_v: 2.0, conv: 4, reduction: 8 },
    }
}
"#;

struct House {
    folder: tempfile::TempDir,
    device: Arc<dyn Device>,
    target: Target,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let source = folder.path().join("small.rs");
        std::fs::write(&source, SOURCE).expect("the folder is writable");
        let target = Target::resolve(&source.to_string_lossy()).expect("the source declares a model");
        Self { folder, device: open("cpu", 2).expect("the CPU is always there"), target }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn options(&self, mode: Mode) -> LoadOptions {
        LoadOptions {
            context: Some(128),
            piece: PIECE,
            random: Some(1),
            schedules: Schedules { mode, folder: Some(self.cache()), ..Schedules::default() },
            ..LoadOptions::default()
        }
    }

    fn session(&self, mode: Mode) -> Session {
        Session::load_on(Arc::clone(&self.device), &self.target, &self.options(mode))
            .expect("the model loads")
    }

    /// What `jet-tune run` does, with the least effort that stores something.
    fn tune(&self) -> Report {
        let formats = self.target.formats(DType::Bf16).expect("random weights have a format");
        let dtype = |id| formats.info(id).ok().map(|i| i.dtype);
        let program = lower(self.target.spec(), LowerOptions::default());
        let tasks = plan(&*self.device, &program, &dtype, Precision::default(), &token_buckets(PIECE));
        assert!(tasks.len() > 5, "only {} tasks", tasks.len());
        let bench = DeviceBench(&*self.device);
        let (clock, stop) = (SystemClock::default(), AtomicBool::new(false));
        let options =
            Options { effort: Effort::None, budget: Some(Duration::from_secs(300)), ..Options::default() };
        let mut overlay = Overlay::open(&self.cache(), "test").expect("the folder is writable");
        Tuner::new(&bench, &clock, &stop, options)
            .run(&tasks, &mut overlay, &mut Silent)
            .expect("tuning works")
    }

    fn logits(&self, mode: Mode) -> Vec<f32> {
        let mut session = self.session(mode);
        let sequence = session.open().expect("a sequence opens");
        let prompt: Vec<u32> = (0..40).map(|i| i * 3 % 200).collect();
        session.prefill(sequence, &prompt).expect("the prompt runs").to_vec()
    }
}

fn every_file(folder: &Path) -> Vec<PathBuf> {
    jet_tests::files(folder, "")
}

#[test]
fn a_session_finds_what_the_tuner_stored() {
    let house = House::new();
    let before = house.session(Mode::Default);
    assert_eq!(before.selection().count(Hit::Default), before.selection().tasks.len());
    let plain = house.logits(Mode::Default);

    let report = house.tune();
    assert_eq!(report.count(Outcome::Failed), 0, "{}", report.summary());
    let after = house.session(Mode::Default);
    let all = after.selection().tasks.len();
    assert!(all > 5);
    assert_eq!(after.selection().summary(), format!("exact {all}, bucket 0, default 0"));
    // With the least effort the default is the only candidate, so the arithmetic is the same to the bit.
    assert_eq!(house.logits(Mode::Default), plain);
    // A frozen session needs every task, and has it.
    assert_eq!(house.session(Mode::Frozen).selection().count(Hit::Exact), all);

    let again = house.tune();
    assert_eq!(again.count(Outcome::Stored), again.tasks.len(), "{}", again.summary());
}

#[test]
fn a_frozen_session_names_the_task_it_misses() {
    let house = House::new();
    let error = match Session::load_on(Arc::clone(&house.device), &house.target, &house.options(Mode::Frozen))
    {
        Ok(_) => panic!("nothing is tuned, and the session loads"),
        Err(e) => e.to_string(),
    };
    assert!(error.contains("no tuned schedule for") && error.contains("jet-tune run"), "{error}");
}

#[test]
fn a_damaged_cache_costs_time_and_never_an_answer() {
    let house = House::new();
    let plain = house.logits(Mode::Off);
    house.tune();
    let files = every_file(&house.cache());
    assert!(!files.is_empty());
    let sound: Vec<Vec<u8>> =
        files.iter().map(|f| std::fs::read(f).expect("it was written just now")).collect();
    let put_back = || {
        for (file, bytes) in files.iter().zip(&sound) {
            std::fs::write(file, bytes).expect("the folder is writable");
        }
    };
    let damages: [(&str, fn(&[u8]) -> Vec<u8>); 4] = [
        ("empty", |_| Vec::new()),
        ("cut", |b| b[..b.len() / 2].to_vec()),
        ("other", |b| b.iter().map(|x| !x).collect()),
        ("one bit", |b| {
            let mut b = b.to_vec();
            let middle = b.len() / 2;
            if let Some(x) = b.get_mut(middle) {
                *x ^= 1;
            }
            b
        }),
    ];
    for (name, damage) in damages {
        for (file, bytes) in files.iter().zip(&sound) {
            std::fs::write(file, damage(bytes)).expect("the folder is writable");
        }
        assert_eq!(house.logits(Mode::Default), plain, "files damaged: {name}");
        put_back();
    }
    // The tuner mends what it finds broken.
    for file in &files {
        std::fs::write(file, b"nonsense").expect("the folder is writable");
    }
    house.tune();
    let all = house.session(Mode::Default);
    assert_eq!(all.selection().count(Hit::Exact), all.selection().tasks.len());
}

#[test]
fn a_cache_that_cannot_be_there_is_an_empty_one() {
    let house = House::new();
    let file = house.folder.path().join("a-file");
    std::fs::write(&file, b"").expect("the folder is writable");
    let mut options = house.options(Mode::Default);
    options.schedules.folder = Some(file.join("below"));
    let session =
        Session::load_on(Arc::clone(&house.device), &house.target, &options).expect("it loads all the same");
    assert_eq!(session.selection().count(Hit::Exact), 0);
    // The tuner has to write, so for it this is an error that names the folder.
    let error = match Overlay::open(&file.join("below"), "test") {
        Ok(_) => panic!("a folder below a file"),
        Err(e) => e.to_string(),
    };
    assert!(error.contains("a-file"), "{error}");
}

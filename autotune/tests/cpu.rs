//! The tuner on the real CPU device: what it stores is what a session of the same device finds.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use jet_autotune::clock::SystemClock;
use jet_autotune::{DeviceBench, Effort, Options, Outcome, Silent, Tuner, plan};
use jet_cache::{Grade, Mode, Overlay, ScheduleCache};
use jet_codegen::{LowerOptions, lower};
use jet_dsl::block::{Act, Attention, Block, Mamba2, Mlp};
use jet_dsl::{Binding, ModelSpec, Naming};
use jet_numerics::DType;
use jet_runtime::device::{self, Precision};
use jet_runtime::schedule_key::CachedSchedules;
use jet_runtime::select::{Hit, Selection};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Five layers of three kinds, two of them alike.
fn tiny() -> ModelSpec {
    let bind = |symbol, block| Binding { symbol, block };
    let mamba = Mamba2 { n_heads: 4, d_head: 32, d_state: 32, n_groups: 1, conv: 4, ..Mamba2::DEFAULT };
    let attention = Attention { n_heads: 4, n_kv_heads: 2, d_head: 32, ..Attention::DEFAULT };
    let mlp = Mlp { hidden: 256, act: Act::Relu2, ..Mlp::DEFAULT };
    ModelSpec {
        name: "tiny".into(),
        vocab: 512,
        d_model: 128,
        norm_eps: 1e-5,
        tie_embeddings: true,
        max_context: 256,
        pattern: "M-*-M".into(),
        bindings: vec![
            bind('M', Block::Mamba2(mamba)),
            bind('*', Block::Attention(attention)),
            bind('-', Block::Mlp(mlp)),
        ]
        .into(),
        naming: Naming::NemotronH,
        precisions: vec![].into(),
    }
}

#[test]
fn what_the_tuner_stores_a_session_finds() {
    let device = device::open("cpu", 2).unwrap();
    let program = lower(&tiny(), LowerOptions::default());
    let dtype = |_| Some(DType::Q8_0);
    let tokens = [1, 8];
    let tasks = plan(&*device, &program, &dtype, Precision::Native, &tokens);
    assert!(tasks.len() > 6, "{tasks:?}");
    let again = plan(&*device, &program, &dtype, Precision::Native, &tokens);
    assert_eq!(tasks, again, "planning is a function");

    let folder = tempfile::tempdir().unwrap();
    let mut overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
    let (bench, clock, go_on) = (DeviceBench(&*device), SystemClock::default(), AtomicBool::new(false));
    let options =
        Options { effort: Effort::Quick, budget: Some(Duration::from_secs(60)), ..Options::default() };
    let report =
        Tuner::new(&bench, &clock, &go_on, options.clone()).run(&tasks, &mut overlay, &mut Silent).unwrap();
    assert_eq!(report.count(Outcome::Failed), 0, "{report}");
    assert_eq!(report.count(Outcome::NotReached), 0, "{report}");
    assert_eq!(report.rejected(), 0, "every legal schedule is right: {report}");
    for entry in overlay.entries() {
        assert_eq!(entry.grade, Grade::Measured);
        assert!(entry.evidence.as_ref().is_some_and(|e| e.rel_rms <= e.tolerance));
    }
    drop(overlay);

    let cache = ScheduleCache::open(folder.path(), Mode::Frozen);
    let source = CachedSchedules::new(&cache, &device.fingerprint());
    let mut selection = Selection::default();
    for problem in device.problems(&program, &dtype, &Precision::Native.into(), &tokens) {
        let family = device.family(&problem.family).unwrap();
        selection.choose(family, &problem, &source).unwrap();
    }
    assert_eq!(selection.count(Hit::Exact), tasks.len(), "{}", selection.summary());

    // Another number of workers is another device: nothing of this is its own.
    let other = device::open("cpu", 1).unwrap();
    let source = CachedSchedules::new(&cache, &other.fingerprint());
    let family = other.family(&tasks[0].problem.family).unwrap();
    assert!(Selection::default().choose(family, &tasks[0].problem, &source).is_err());

    let mut overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
    let unfinished = overlay.entries().filter(|e| !e.search.complete).count();
    let second = Tuner::new(&bench, &clock, &go_on, options).run(&tasks, &mut overlay, &mut Silent).unwrap();
    assert_eq!(second.count(Outcome::Stored), tasks.len() - unfinished, "{second}");
}

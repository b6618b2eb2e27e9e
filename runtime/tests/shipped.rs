//! A program whose schedules and kernels were shipped: nothing is compiled, nothing tuned. One test, for the counters are the
//! process's.

mod emulated_common;

use emulated_common::{LIMITS, dense, run, weights};
use jet_codegen::nvrtc::{CubinStore, Nvrtc};
use jet_codegen::schedule::{Family, Problem, Values};
use jet_codegen::{LowerOptions, lower};
use jet_dsl::block::Act;
use jet_runtime::device::{Device, LoadRequest, Precision};
use jet_runtime::emulated::Emulated;
use jet_runtime::gpu::Shipping;
use jet_runtime::schedule_key::cached_device;
use jet_runtime::select::{Hit, NoSchedules, ScheduleSource};
use jet_runtime::{Error, events};
use std::cell::Cell;
use std::collections::HashMap;

/// Defaults as stored schedules, with the kernels that were made of them.
#[derive(Default)]
struct Shipped {
    schedules: HashMap<Problem, Values>,
    kernels: HashMap<(Problem, String), Vec<u8>>,
    given: Cell<usize>,
}

impl ScheduleSource for Shipped {
    fn lookup(&self, _family: &dyn Family, problem: &Problem) -> Option<(Values, Hit)> {
        self.schedules.get(problem).map(|v| (v.clone(), Hit::Exact))
    }

    fn kernel(&self, _family: &dyn Family, problem: &Problem, name: &str) -> Option<Vec<u8>> {
        let found = self.kernels.get(&(problem.clone(), name.to_owned())).cloned();
        self.given.set(self.given.get() + usize::from(found.is_some()));
        found
    }

    fn frozen(&self) -> bool {
        true
    }
}

#[test]
fn shipped_kernels_are_run_without_a_compiler_and_a_missing_one_is_named() {
    if let Err(e) = Nvrtc::get() {
        return println!(
            "skipped: shipped_kernels_are_run_without_a_compiler_and_a_missing_one_is_named: {e}"
        );
    }
    let program = lower(&dense(Act::Swiglu, 48, 80), LowerOptions::default());
    let weights = weights(&program);
    let folder = std::env::temp_dir().join(format!("jet-shipped-{}", std::process::id()));
    let device =
        |store| Emulated::open_with("emulated:sm_80", store).expect("it is emulated").expect("it opens");
    let load = |device: &dyn Device, schedules: &dyn ScheduleSource| {
        let (program, recipe, limits) = (program.clone(), Precision::Bf16.into(), LIMITS);
        device.load(LoadRequest { program, weights: &weights, schedules, recipe, limits })
    };

    let factory = device(Some(CubinStore::new(&folder)));
    let mut made = load(&factory, &NoSchedules).expect("it compiles what it needs");
    let mut shipped = Shipped::default();
    let identity = cached_device(&factory.fingerprint());
    let shipping =
        Shipping::to(&identity.kind, &identity.facts).expect("a GPU has kernels").expect("it is known");
    assert_eq!(shipping.arch(), "sm_80");
    for task in &made.selection().tasks {
        let source = shipping.source(&task.problem, &task.values).expect("it is legal");
        let bytes =
            shipping.compile(std::slice::from_ref(&source), Some(&CubinStore::new(&folder))).remove(0);
        shipped.schedules.insert(task.problem.clone(), task.values.clone());
        shipped.kernels.insert((task.problem.clone(), source.name), bytes.expect("it was compiled just now"));
    }
    let before = events::so_far();
    assert!(before.compilations > 0, "{before:?}");

    // A machine that has compiled nothing.
    let elsewhere = device(None);
    let mut deployed = load(&elsewhere, &shipped).expect("everything was shipped");
    assert!(shipped.given.get() > 0);
    assert_eq!(run(&mut *deployed), run(&mut *made));
    assert_eq!(events::so_far(), before);

    // A kernel that is damaged is as one that is not there, and what this machine compiled before is not compiled again.
    let victim = shipped.kernels.keys().next().expect("there are kernels").clone();
    for (problem, name) in shipped.kernels.keys().filter(|k| k.1 == victim.1).cloned().collect::<Vec<_>>() {
        shipped.kernels.insert((problem, name), b"no kernel".to_vec());
    }
    let why = load(&elsewhere, &shipped).err().expect("a kernel is missing");
    assert!(matches!(&why, Error::FrozenKernel { task } if task.starts_with(&victim.0.family)), "{why}");
    assert!(load(&factory, &shipped).is_ok());
    assert_eq!(events::so_far(), before);

    let gone = shipped.schedules.keys().next().expect("there are schedules").clone();
    shipped.schedules.remove(&gone);
    let why = load(&factory, &shipped).err().expect("a schedule is missing");
    assert!(matches!(&why, Error::Frozen { task } if *task == gone.to_string()), "{why}");

    let bench = factory.bench(&gone).expect("it can be set up alone");
    drop(bench);
    assert_eq!(events::so_far().benches, before.benches + 1);
    std::fs::remove_dir_all(folder).expect("it was made here");
}

use super::*;
use crate::clock::Clock;
use crate::options::Effort;
use crate::progress::Silent;
use jet_cache::{Evidence, Grade, TaskFields, TaskKey, Timing};
use jet_codegen::schedule::{Illegal, Param};
use jet_runtime::device::Roofs;
use std::cell::Cell;

struct Tiles;

impl Family for Tiles {
    fn name(&self) -> &'static str {
        "tiles"
    }
    fn version(&self) -> u32 {
        1
    }
    fn params(&self) -> &'static [Param] {
        const PARAMS: &[Param] =
            &[Param { name: "tile", values: &[16, 32, 64, 128, 256], default: 32, doc: "Rows." }];
        PARAMS
    }
    fn legal(&self, _problem: &Problem, values: &Values) -> Result<(), Illegal> {
        if values.get("tile") == Some(256) { Err(Illegal("too large".into())) } else { Ok(()) }
    }
}

/// A device on which the wider tile is the faster one, the widest spills, and the narrowest does not run at all.
struct Invented;

impl Counter for Invented {
    fn families(&self) -> &[&dyn Family] {
        &[&Tiles]
    }
    fn open(&self, problem: &Problem) -> Result<Box<dyn Counting + '_>, String> {
        match problem.dim("n") {
            0 => Err("it has no size".to_owned()),
            _ => Ok(Box::new(Self)),
        }
    }
    fn describe(&self) -> String {
        "an invented GPU".to_owned()
    }
}

impl Counting for Invented {
    fn count(&mut self, values: &Values) -> Result<Counted, String> {
        let tile = values.get("tile").unwrap_or(0);
        if tile == 16 {
            return Err("it does not fit".to_owned());
        }
        let seconds = 1e-3 / tile as f64;
        let roofs = Roofs { memory: 0.9 * seconds, ..Roofs::default() };
        let spilled_bytes = if tile == 128 { 48 } else { 0 };
        Ok(Counted { seconds, roofs, spilled_bytes, ctas: 64, ran: 4, resident: 2, ..Counted::default() })
    }
    fn floor(&self) -> (u64, u64) {
        (1000, 2000)
    }
}

/// A clock that goes on by a second with each look.
#[derive(Default)]
struct Ticking(Cell<u64>);

impl Clock for Ticking {
    fn now(&self) -> Duration {
        self.0.set(self.0.get() + 1);
        Duration::from_secs(self.0.get())
    }
    fn date(&self) -> u64 {
        1_800_000_000
    }
}

fn task(n: i64) -> Task {
    let problem = Problem::new("tiles", "f32", &[("n", n as usize)]);
    let device = jet_cache::Fingerprint::new("cuda").with("gpu", "an invented GPU");
    let fields = TaskFields::new(device, "tiles", 1, "f32", "kernels-1").dims(problem.dims.clone());
    Task { problem, key: TaskKey::new(fields) }
}

fn run(tasks: &[Task], overlay: &mut Overlay, options: Options) -> Modelled {
    let (stop, clock) = (AtomicBool::new(false), Ticking::default());
    Modeller::new(&Invented, &clock, &stop, options).run(tasks, overlay, &mut Silent).unwrap()
}

#[test]
fn the_fastest_by_the_model_that_does_not_spill_is_stored_as_modelled_with_its_reason() {
    let mut overlay = Overlay::in_memory("0");
    let found = run(&[task(8)], &mut overlay, Options::default());
    let entry = overlay.get(task(8).key.store_key()).unwrap();
    assert_eq!((entry.status, entry.grade, &entry.evidence), (Status::Modelled, Grade::Modelled, &None));
    assert_eq!(entry.schedule["tile"], 64);
    let reason = &entry.provenance.reason;
    for words in
        ["an invented GPU; nothing ran", "bound by memory", "4 of 64 CTAs", "the default takes 31.2 us"]
    {
        assert!(reason.contains(words), "`{words}` in: {reason}");
    }
    let t = &found.report.tasks[0];
    assert_eq!((t.outcome, t.candidates, t.timed, t.rejected.len()), (Outcome::Modelled, 4, 2, 2));
    assert!(t.rejected.iter().any(|r| r.reason.contains("spills 48 bytes")), "{:?}", t.rejected);
    assert!(t.rejected.iter().any(|r| r.reason.contains("does not fit")));
    // A second run has nothing to do, unless it is told to.
    assert_eq!(run(&[task(8)], &mut overlay, Options::default()).report.count(Outcome::Stored), 1);
    let again = Options { again: true, ..Options::default() };
    assert_eq!(run(&[task(8)], &mut overlay, again).report.count(Outcome::Modelled), 1);
}

#[test]
fn a_measured_entry_stays_and_says_how_far_the_model_is_out() {
    let mut overlay = Overlay::in_memory("0");
    run(&[task(8)], &mut overlay, Options::default());
    let mut measured = overlay.get(task(8).key.store_key()).unwrap().clone();
    (measured.status, measured.grade) = (Status::Verified, Grade::Measured);
    measured.evidence = Some(Evidence {
        reference: "r 1".into(),
        max_abs: 0.0,
        rel_rms: 0.0,
        tolerance: 1.0,
        mean_abs: None,
        max_ulp: None,
        inputs_seed: None,
    });
    let timing = measured.timing.as_mut().unwrap();
    *timing = Timing { samples: 20, median_ns: 10_000.0, default_ns: 20_000.0, ..timing.clone() };
    overlay.commit(measured.clone()).unwrap();
    let again = Options { again: true, ..Options::default() };
    let found = run(&[task(8), task(16)], &mut overlay, again);
    assert_eq!(overlay.get(task(8).key.store_key()), Some(&measured));
    // Tile 64 takes 15.6 us and tile 32 31.3 us by the model.
    let a = &found.accuracy;
    assert_eq!((a.compared.len(), a.ordered, a.pairs), (2, 1, 1));
    assert!((a.median_ratio.unwrap() - 1.5625).abs() < 1e-9, "{a}");
    // Nor does one come in by the side door.
    let modelled =
        Entry { status: Status::Modelled, grade: Grade::Modelled, evidence: None, ..measured.clone() };
    assert_eq!(overlay.commit(modelled).unwrap(), jet_cache::Committed::KeptStronger);
    assert_eq!(overlay.get(task(8).key.store_key()), Some(&measured));
}

#[test]
fn a_budget_ends_a_search_and_what_was_found_until_then_is_kept() {
    let mut overlay = Overlay::in_memory("0");
    let options = |seconds| Options { budget: Some(Duration::from_secs(seconds)), ..Options::default() };
    let cut = run(&[task(8)], &mut overlay, options(5)).report;
    assert!(cut.out_of_time && cut.tasks[0].outcome == Outcome::Modelled && !cut.tasks[0].complete, "{cut}");
    let none = run(&[task(8), task(16)], &mut Overlay::in_memory("0"), options(1)).report;
    assert_eq!(none.count(Outcome::NotReached), 2);
    // What was cut short is looked at again.
    let whole = run(&[task(8)], &mut overlay, Options { effort: Effort::Quick, ..Options::default() }).report;
    assert!(whole.count(Outcome::Modelled) == 1 && whole.tasks[0].complete);
}

#[test]
fn a_task_that_cannot_be_set_up_fails_alone() {
    let found = run(&[task(0), task(8)], &mut Overlay::in_memory("0"), Options::default()).report;
    assert_eq!((found.count(Outcome::Failed), found.count(Outcome::Modelled)), (1, 1));
    assert!(found.tasks[0].note.contains("it has no size"), "{found}");
}

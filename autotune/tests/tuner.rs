//! The pipeline on an invented device: what wins, what is rejected, what a budget and a stop do, and what a second run finds.

#![allow(clippy::unwrap_used)] // A test helper may fail like a test.

mod common;

use common::{Deed, Device, Invented, Log, VirtualClock, options, task};
use jet_autotune::{Effort, Options, Outcome, Report, Silent, Task, Tuner};
use jet_cache::trials::Outcome as Became;
use jet_cache::{CandidateKey, FailureKind, Grade, Mode, Overlay, ScheduleCache, Status};
use jet_codegen::schedule::Problem;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

static GO_ON: AtomicBool = AtomicBool::new(false);

/// The bigger the tile the faster, up to 32; two rows are best. The best is tile 32, rows 2, at 70 % of the default's time.
fn hill(_: &Problem, tile: i64, rows: i64) -> Deed {
    let by_tile = [(8, 1.6), (16, 1.0), (32, 0.7), (64, 0.9)].iter().find(|(t, _)| *t == tile).unwrap().1;
    let by_rows = [(1, 1.3), (2, 1.0), (4, 1.1), (8, 1.8)].iter().find(|(r, _)| *r == rows).unwrap().1;
    Deed::Takes(1e-4 * by_tile * by_rows)
}

fn flat(_: &Problem, _: i64, _: i64) -> Deed {
    Deed::Takes(1e-4)
}

fn run(device: &Device<'_>, tasks: &[Task], overlay: &mut Overlay, options: Options) -> Report {
    Tuner::new(device, device.clock, &GO_ON, options).run(tasks, overlay, &mut Silent).unwrap()
}

fn schedule(overlay: &Overlay, task: &Task) -> (i64, i64) {
    let entry = overlay.get(task.key.store_key()).unwrap();
    (entry.schedule["tile"], entry.schedule["rows"])
}

#[test]
fn the_fastest_candidate_wins_and_is_stored_with_its_evidence() {
    let clock = VirtualClock::default();
    let device = Device::new(&clock, hill, 0.02, 1);
    let mut overlay = Overlay::in_memory("0.1.0");
    let report = run(&device, &[task(576, 64)], &mut overlay, options(Effort::Full));
    assert_eq!(schedule(&overlay, &task(576, 64)), (32, 2), "{report}");
    let entry = overlay.get(task(576, 64).key.store_key()).unwrap();
    let timing = entry.timing.as_ref().unwrap();
    assert!((timing.median_ns / timing.default_ns - 0.7).abs() < 0.03, "{timing:?}");
    assert!(timing.p10_ns <= timing.median_ns && timing.median_ns <= timing.p90_ns && timing.samples >= 15);
    assert!(timing.runner_up.as_ref().is_some_and(|r| r.schedule["tile"] == 32 && r.schedule["rows"] == 4));
    assert_eq!((entry.status, entry.search.candidates, entry.search.timed), (Status::Verified, 16, 16));
    assert!(entry.search.complete && entry.evidence.as_ref().unwrap().rel_rms < 1e-3);
    assert_eq!(timing.floor_bytes, Some(1_000_000));
    assert_eq!((report.count(Outcome::Tuned), report.rejected()), (1, 0));
    assert!((report.mean_speedup() - 1.0 / 0.7).abs() < 0.06);
}

#[test]
fn the_default_wins_ties() {
    for seed in 0..20 {
        let clock = VirtualClock::default();
        let mut device = Device::new(&clock, flat, 0.05, seed);
        device.drift = 0.3;
        let mut overlay = Overlay::in_memory("0.1.0");
        let report = run(&device, &[task(576, 64)], &mut overlay, options(Effort::Full));
        let default = Invented::default();
        let wanted = (default.tile as i64, default.rows as i64);
        assert_eq!(schedule(&overlay, &task(576, 64)), wanted, "seed {seed}: {report}");
        assert_eq!(report.tasks[0].outcome, Outcome::Default);
    }
}

#[test]
fn a_gain_under_two_per_cent_is_no_gain() {
    let clock = VirtualClock::default();
    let nearly = |_: &Problem, tile: i64, _: i64| Deed::Takes(if tile == 64 { 0.985e-4 } else { 1e-4 });
    let device = Device::new(&clock, nearly, 0.001, 1);
    let mut overlay = Overlay::in_memory("0.1.0");
    let report = run(&device, &[task(576, 64)], &mut overlay, options(Effort::Full));
    assert_eq!(report.tasks[0].outcome, Outcome::Default);
    assert!(report.tasks[0].note.contains("under 2 %"), "{}", report.tasks[0].note);
}

#[test]
fn a_slower_candidate_never_wins() {
    // All candidates are slower than the default by a little, and the noise is larger than that.
    let slower =
        |_: &Problem, tile: i64, rows: i64| Deed::Takes(if (tile, rows) == (16, 2) { 1e-4 } else { 1.03e-4 });
    for seed in 0..20 {
        let clock = VirtualClock::default();
        let mut device = Device::new(&clock, slower, 0.1, seed);
        device.drift = 0.2;
        let mut overlay = Overlay::in_memory("0.1.0");
        run(&device, &[task(576, 64)], &mut overlay, options(Effort::Quick));
        assert_eq!(schedule(&overlay, &task(576, 64)), (16, 2), "seed {seed}");
    }
}

#[test]
fn two_noisy_runs_choose_alike() {
    // Two candidates are best by the same: the one nearer to the default is taken, whatever the noise says.
    let twins = |_: &Problem, tile: i64, rows: i64| match (tile, rows) {
        (32, 2) => Deed::Takes(0.800e-4),
        (64, 4) => Deed::Takes(0.799e-4),
        _ => Deed::Takes(1e-4),
    };
    let alike = (0..40_u64).filter(|seed| {
        let clock = VirtualClock::default();
        let mut device = Device::new(&clock, twins, 0.04, *seed);
        device.drift = 0.3;
        let mut overlay = Overlay::in_memory("0.1.0");
        run(&device, &[task(576, 64)], &mut overlay, options(Effort::Full));
        schedule(&overlay, &task(576, 64)) == (32, 2)
    });
    let alike = alike.count();
    assert!(alike >= 38, "{alike} of 40");
}

#[test]
fn a_wrong_candidate_is_rejected_with_its_reason_however_fast() {
    let traps = |_: &Problem, tile: i64, rows: i64| match (tile, rows) {
        (32, 4) => Deed::Wrong(1e-6),
        (64, 1) => Deed::NotANumber,
        (8, 8) => Deed::Refuses,
        _ => Deed::Takes(1e-4),
    };
    let clock = VirtualClock::default();
    let device = Device::new(&clock, traps, 0.01, 3);
    let mut overlay = Overlay::in_memory("0.1.0");
    let report = run(&device, &[task(576, 64)], &mut overlay, options(Effort::Full));
    let rejected = &report.tasks[0].rejected;
    assert_eq!(rejected.len(), 3, "{report}");
    let reason = |schedule: &str| &rejected.iter().find(|r| r.schedule == schedule).unwrap().reason;
    assert!(reason("rows=4 tile=32").contains("relative error 3.00e-1, allowed 1.00e-3"));
    assert!(reason("rows=1 tile=64").contains("output is wrong: relative error NaN"));
    assert!(reason("rows=8 tile=8").contains("not enough scratch"));
    assert!(report.to_string().contains("3 of 16 rejected"), "{report}");
    assert_eq!(schedule(&overlay, &task(576, 64)), (16, 2));
    assert_eq!(overlay.get(task(576, 64).key.store_key()).unwrap().search.rejected, 3);
}

#[test]
fn a_default_that_is_wrong_fails_the_task_and_stores_nothing() {
    let clock = VirtualClock::default();
    let broken =
        |_: &Problem, tile: i64, _: i64| if tile == 16 { Deed::Wrong(1e-4) } else { Deed::Takes(1e-5) };
    let device = Device::new(&clock, broken, 0.0, 3);
    let mut overlay = Overlay::in_memory("0.1.0");
    let report = run(&device, &[task(576, 64), task(577, 1)], &mut overlay, options(Effort::Quick));
    assert_eq!(report.count(Outcome::Failed), 2);
    assert!(report.tasks[0].note.contains("the default schedule (rows=2 tile=16) cannot be used"));
    assert_eq!(overlay.entries().len(), 0);
}

#[test]
fn only_legal_candidates_are_tried() {
    let clock = VirtualClock::default();
    let device = Device::new(&clock, hill, 0.0, 3);
    let mut overlay = Overlay::in_memory("0.1.0");
    run(&device, &[task(16, 64)], &mut overlay, options(Effort::Full));
    assert!(device.validated.borrow().iter().all(|v| v.get("tile").unwrap() <= 16));
}

#[test]
fn clear_losers_are_dropped_early() {
    let clock = VirtualClock::default();
    let device = Device::new(&clock, hill, 0.01, 3);
    let mut overlay = Overlay::in_memory("0.1.0");
    run(&device, &[task(576, 64)], &mut overlay, options(Effort::Quick));
    let turns = |tile: i64, rows: i64| {
        let timed = device.timed.borrow();
        // A turn is a warm-up run and a sample.
        timed.iter().filter(|v| v.get("tile") == Some(tile) && v.get("rows") == Some(rows)).count() / 2
    };
    assert_eq!(turns(8, 8), 3, "2.9 times slower than the best, out after three samples");
    assert!(turns(32, 2) >= 15 + 15, "the winner runs the whole race and the confirmation");
}

#[test]
fn a_costly_preparation_is_made_less_often() {
    let prepared = |seconds: f64| {
        let clock = VirtualClock::default();
        let mut device = Device::new(&clock, hill, 0.01, 3);
        device.prepare = seconds;
        let mut overlay = Overlay::in_memory("0.1.0");
        run(&device, &[task(576, 64)], &mut overlay, options(Effort::Quick));
        assert_eq!(schedule(&overlay, &task(576, 64)), (32, 2));
        let entry = overlay.get(task(576, 64).key.store_key()).unwrap();
        assert!(entry.timing.as_ref().unwrap().samples >= 15);
        device.prepared.get()
    };
    let (cheap, costly) = (prepared(50e-6), prepared(0.05));
    assert!(costly * 2 < cheap, "{costly} against {cheap}");
}

#[test]
fn the_budget_is_kept_and_shared() {
    let tasks: Vec<_> = (0..10).map(|i| task(576 + i, 64)).collect();
    for budget in [0.05, 0.5, 2.0] {
        let clock = VirtualClock::default();
        let slow = |p: &Problem, tile: i64, rows: i64| match hill(p, tile, rows) {
            Deed::Takes(seconds) => Deed::Takes(seconds * 10.0),
            other => other,
        };
        let device = Device::new(&clock, slow, 0.02, 5);
        let mut overlay = Overlay::in_memory("0.1.0");
        let limit = Some(Duration::from_secs_f64(budget));
        let report = run(&device, &tasks, &mut overlay, Options { budget: limit, ..options(Effort::Full) });
        // One turn that has begun is finished.
        assert!(report.seconds <= budget + 0.02, "{} of {budget} s", report.seconds);
        assert!(report.out_of_time, "{report}");
        let wrong = report.tasks.iter().filter(|t| t.outcome == Outcome::Failed);
        assert_eq!(wrong.count(), 0);
        if budget >= 0.5 {
            // Every task gets its share, and the stored ones are marked as unfinished.
            assert_eq!(report.count(Outcome::NotReached), 0, "{report}");
            assert!(overlay.entries().any(|e| !e.search.complete));
        }
    }
    let clock = VirtualClock::default();
    let device = Device::new(&clock, hill, 0.02, 5);
    let mut overlay = Overlay::in_memory("0.1.0");
    let limit = Some(Duration::from_secs(600));
    let report = run(&device, &tasks, &mut overlay, Options { budget: limit, ..options(Effort::Full) });
    assert!(!report.out_of_time && overlay.entries().all(|e| e.search.complete), "{report}");
}

#[test]
fn a_task_whose_share_was_too_short_gets_what_the_others_left() {
    // One task takes a hundred times as long as the nineteen others, which leave nearly all of their shares.
    let slow = |p: &Problem, tile: i64, rows: i64| match hill(p, tile, rows) {
        Deed::Takes(seconds) if p.dim("n") == 64 => Deed::Takes(seconds * 100.0),
        other => other,
    };
    let clock = VirtualClock::default();
    let device = Device::new(&clock, slow, 0.01, 5);
    let tasks: Vec<Task> = std::iter::once(task(64, 1)).chain((1..20).map(|i| task(64 + i, 1))).collect();
    let mut overlay = Overlay::in_memory("0.1.0");
    let alone = run(&device, &tasks, &mut overlay, options(Effort::Full)).seconds;
    // Enough for all of them together, while the equal share of the first is not enough for it.
    let budget = Some(Duration::from_secs_f64(alone * 2.0));
    let mut overlay = Overlay::in_memory("0.1.0");
    let report = run(&device, &tasks, &mut overlay, Options { budget, ..options(Effort::Full) });
    assert!(!report.out_of_time, "{report:?}");
    assert!(report.tasks.iter().all(|t| t.complete));
}

#[test]
fn a_second_run_finds_everything_stored() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = [task(576, 1), task(576, 64), task(1536, 1)];
    let clock = VirtualClock::default();
    let device = Device::new(&clock, hill, 0.02, 5);
    let mut overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
    run(&device, &tasks, &mut overlay, options(Effort::Quick));
    drop(overlay);

    let second = Device::new(&clock, hill, 0.02, 6);
    let mut overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
    let mut log = Log::default();
    let tuner = Tuner::new(&second, &clock, &GO_ON, options(Effort::Quick));
    let report = tuner.run(&tasks, &mut overlay, &mut log).unwrap();
    assert_eq!((report.count(Outcome::Stored), second.opened.get()), (3, 0));
    assert_eq!(log.0[0], "planned 3, stored 3");
    assert!(report.tasks[0].speedup() > 1.3, "a stored task still shows its gain");
    // What a session sees.
    let cache = jet_cache::ScheduleCache::open(folder.path(), Mode::Frozen);
    for task in &tasks {
        let found = cache.lookup(&task.key, &|_| Ok(())).unwrap();
        assert_eq!(found.schedule().unwrap()["tile"], 32);
    }
    assert_eq!(cache.counts().exact, 3);

    // A more thorough run, or one that is told to, does not rest on it.
    for asked in [options(Effort::Full), Options { again: true, ..options(Effort::Quick) }] {
        let third = Device::new(&clock, hill, 0.02, 7);
        let report = run(&third, &tasks, &mut overlay, asked);
        assert_eq!((report.count(Outcome::Stored), third.opened.get()), (0, 3));
    }
    let fourth = Device::new(&clock, hill, 0.02, 8);
    assert_eq!(run(&fourth, &tasks, &mut overlay, options(Effort::None)).count(Outcome::Stored), 3);
}

#[test]
fn a_stopped_run_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let tasks: Vec<_> = (0..6).map(|i| task(576 + i, 64)).collect();
    let undisturbed = {
        let clock = VirtualClock::default();
        let device = Device::new(&clock, hill, 0.02, 5);
        let mut overlay = Overlay::in_memory("0.1.0");
        run(&device, &tasks, &mut overlay, options(Effort::Full));
        tasks.iter().map(|t| schedule(&overlay, t)).collect::<Vec<_>>()
    };
    let mut finished_before = 0;
    for attempt in 0..200 {
        let clock = VirtualClock::default();
        let stop = AtomicBool::new(false);
        let mut device = Device::new(&clock, hill, 0.02, 50 + attempt);
        device.stop_at = Some((0.6, &stop));
        let mut overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
        let report = Tuner::new(&device, &clock, &stop, options(Effort::Full))
            .run(&tasks, &mut overlay, &mut Silent)
            .unwrap();
        assert!(report.count(Outcome::Stored) >= finished_before, "a finished task is not tuned again");
        finished_before = overlay.entries().filter(|e| e.search.complete).count();
        // What was not finished has a record, which claims nothing.
        assert_eq!(overlay.entries().len(), tasks.len());
        assert!(overlay.entries().all(|e| e.search.complete || e.status == Status::Assumed));
        if !report.stopped {
            assert_eq!(tasks.iter().map(|t| schedule(&overlay, t)).collect::<Vec<_>>(), undisturbed);
            assert!(attempt > 1, "it was stopped a few times");
            return;
        }
    }
    panic!("it never came to an end");
}

#[test]
fn events_come_in_order() {
    let clock = VirtualClock::default();
    let device = Device::new(&clock, hill, 0.02, 5);
    let mut overlay = Overlay::in_memory("0.1.0");
    let mut log = Log::default();
    let tuner = Tuner::new(&device, &clock, &GO_ON, options(Effort::Quick));
    tuner.run(&[task(576, 1), task(8, 1)], &mut overlay, &mut log).unwrap();
    assert_eq!(log.0[..3], ["planned 2, stored 0", "started 0 with 16", "round"]);
    log.0.retain(|line| line != "round");
    let rest = ["finished 0 tuned", "started 1 with 4", "finished 1 tuned"];
    assert!(
        log.0[2..].iter().zip(rest).all(|(a, b)| a.split(' ').take(2).eq(b.split(' ').take(2))),
        "{:?}",
        log.0
    );
}

#[test]
fn an_unknown_family_is_an_error_before_any_work() {
    let clock = VirtualClock::default();
    let device = Device::new(&clock, hill, 0.02, 5);
    let mut odd = task(576, 1);
    odd.problem.family = "gemm".into();
    let mut overlay = Overlay::in_memory("0.1.0");
    let tuner = Tuner::new(&device, &clock, &GO_ON, options(Effort::Quick));
    let error = tuner.run(&[task(576, 1), odd], &mut overlay, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("`gemm`") && error.contains("it has: invented"), "{error}");
    assert_eq!(device.opened.get(), 0);
}

#[test]
fn no_effort_times_the_default_alone() {
    let clock = VirtualClock::default();
    let device = Device::new(&clock, hill, 0.02, 5);
    let mut overlay = Overlay::in_memory("0.1.0");
    let report = run(&device, &[task(576, 1)], &mut overlay, options(Effort::None));
    assert_eq!((report.tasks[0].outcome, report.tasks[0].timed), (Outcome::Default, 1));
    assert_eq!(schedule(&overlay, &task(576, 1)), (16, 2));
    assert!(report.tasks[0].samples >= 15);
}

#[test]
fn a_run_that_reaches_nothing_leaves_a_record_of_each_task_that_claims_nothing() {
    let clock = VirtualClock::default();
    let tasks = [task(576, 1), task(576, 64), task(1536, 1)];
    for (budget, stopped) in [(Some(Duration::ZERO), false), (None, true)] {
        let folder = tempfile::tempdir().unwrap();
        let stop = AtomicBool::new(stopped);
        let device = Device::new(&clock, hill, 0.02, 5);
        let mut overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
        let asked = Options { budget, ..options(Effort::Full) };
        let report =
            Tuner::new(&device, &clock, &stop, asked).run(&tasks, &mut overlay, &mut Silent).unwrap();
        assert_eq!((report.count(Outcome::NotReached), report.assumed, device.opened.get()), (3, 3, 0));
        assert!(report.summary().contains("3 tasks have the default without a measurement"), "{report}");
        let claims = |e: &jet_cache::Entry| e.timing.is_some() || e.evidence.is_some() || e.search.complete;
        assert!(
            overlay.entries().all(|e| (e.status, e.grade) == (Status::Assumed, Grade::Assumed) && !claims(e))
        );
        assert!(tasks.iter().all(|t| schedule(&overlay, t) == (16, 2)));
        // A frozen session runs with them.
        let cache = ScheduleCache::open(folder.path(), Mode::Frozen);
        assert!(tasks.iter().all(|t| cache.lookup(&t.key, &|_| Ok(())).is_ok()));
        // They finish nothing, and what is measured takes their place.
        let report = run(&device, &tasks, &mut overlay, options(Effort::None));
        assert_eq!((report.count(Outcome::Stored), report.assumed), (0, 0), "{report}");
        assert!(overlay.entries().all(|e| e.status == Status::Verified));
        // The other way round nothing is lost.
        let asked = Options { budget: Some(Duration::ZERO), again: true, ..options(Effort::Full) };
        assert_eq!(run(&device, &tasks, &mut overlay, asked).assumed, 0);
        assert!(overlay.entries().all(|e| e.status == Status::Verified));
    }
}

#[test]
fn a_bucket_between_two_measured_ones_is_assumed_to_be_like_the_nearer() {
    let clock = VirtualClock::default();
    let device = Device::new(&clock, hill, 0.01, 5);
    let mut overlay = Overlay::in_memory("0.1.0");
    run(&device, &[task(576, 1), task(576, 64)], &mut overlay, options(Effort::Full));
    let all = [task(576, 1), task(576, 8), task(576, 64), task(576, 256)];
    let asked = Options { budget: Some(Duration::ZERO), ..options(Effort::Full) };
    let report = run(&device, &all, &mut overlay, asked);
    assert_eq!(report.assumed, 2);
    assert_eq!(schedule(&overlay, &task(576, 8)), (32, 2), "what a session would take without the record");
    assert_eq!(schedule(&overlay, &task(576, 256)), (16, 2), "the default beyond the measured ones");
}

#[test]
fn a_search_that_is_cut_short_does_not_replace_one_that_was_not() {
    let clock = VirtualClock::default();
    let device = Device::new(&clock, hill, 0.01, 5);
    let mut overlay = Overlay::in_memory("0.1.0");
    run(&device, &[task(576, 64)], &mut overlay, options(Effort::Quick));
    let before = overlay.get(task(576, 64).key.store_key()).unwrap().clone();
    let asked = Options { budget: Some(Duration::from_secs_f64(0.08)), ..options(Effort::Full) };
    let report = run(&device, &[task(576, 64)], &mut overlay, asked);
    assert!(report.out_of_time, "{report}");
    assert_eq!(*overlay.get(task(576, 64).key.store_key()).unwrap(), before);
}

#[test]
fn what_became_of_each_candidate_is_recorded_and_failures_are_not_tried_again() {
    let traps = |_: &Problem, tile: i64, rows: i64| match (tile, rows) {
        (32, 4) => Deed::Wrong(1e-6),
        (8, 8) => Deed::Refuses,
        (64, _) => Deed::Takes(5e-4),
        _ => Deed::Takes(1e-4),
    };
    let clock = VirtualClock::default();
    let device = Device::new(&clock, traps, 0.01, 3);
    let mut overlay = Overlay::in_memory("0.1.0");
    let tasks = [task(576, 64)];
    run(&device, &tasks, &mut overlay, options(Effort::Full));
    let trials = overlay.trials(&tasks[0].key).unwrap().trials;
    assert_eq!(trials.len(), 16);
    let of = |tile: i64, rows: i64| {
        let found = trials.iter().find(|t| t.schedule["tile"] == tile && t.schedule["rows"] == rows);
        found.unwrap().outcome.clone()
    };
    assert!(
        matches!(of(16, 2), Became::Timed { samples: 15.., median_ns, .. } if (median_ns / 1e5 - 1.0).abs() < 0.05)
    );
    assert!(matches!(of(64, 1), Became::Timed { samples: 3, .. }), "a clear loser has few samples");
    assert!(matches!(of(32, 4), Became::Failed { kind: FailureKind::WrongOutput, .. }));
    assert!(matches!(of(8, 8), Became::Failed { kind: FailureKind::DoesNotCompile, .. }));
    let wrong = |tile: i64, rows: i64| {
        let values = [("rows".to_owned(), rows), ("tile".to_owned(), tile)].into();
        CandidateKey::new(&tasks[0].key, "", &values)
    };
    assert_eq!(overlay.rejection(&wrong(32, 4)).unwrap().kind, FailureKind::WrongOutput);
    assert_eq!(overlay.rejection(&wrong(16, 2)), None);

    let second = Device::new(&clock, traps, 0.01, 4);
    let report = run(&second, &tasks, &mut overlay, Options { again: true, ..options(Effort::Full) });
    assert_eq!((report.known(), report.rejected()), (2, 2), "{report}");
    let tried = second.validated.borrow();
    assert!(
        tried.iter().all(|v| (v.get("tile"), v.get("rows")) != (Some(32), Some(4))),
        "it was tried again"
    );
    drop(tried);
    // Repaired, and asked to try again: the record is forgotten.
    let repaired = Device::new(&clock, hill, 0.01, 4);
    let asked = Options { again: true, retry_failed: true, ..options(Effort::Full) };
    assert_eq!(run(&repaired, &tasks, &mut overlay, asked).rejected(), 0);
    assert_eq!(overlay.rejection(&wrong(32, 4)), None);
}

#[test]
fn a_search_ends_within_reach_of_the_roofline() {
    let candidates = |stop_within: Option<f64>| {
        let clock = VirtualClock::default();
        let mut device = Device::new(&clock, hill, 0.001, 5);
        // The best candidate takes 70 microseconds; the default 100.
        device.bound = Some(0.98e-4);
        let mut overlay = Overlay::in_memory("0.1.0");
        let report =
            run(&device, &[task(576, 64)], &mut overlay, Options { stop_within, ..options(Effort::Full) });
        assert_eq!(report.tasks[0].bound_ns.map(f64::round), Some(98_000.0));
        let pruned = overlay.trials(&task(576, 64).key).unwrap().trials;
        let pruned = pruned.iter().filter(|t| matches!(t.outcome, Became::Pruned { .. })).count();
        assert_eq!((pruned, report.rejected()), (report.tasks[0].pruned, 0));
        (report.tasks[0].timed, report.tasks[0].pruned)
    };
    assert_eq!(candidates(None), (16, 0));
    assert_eq!(candidates(Some(0.05)), (1, 15), "the default is within five per cent");
    assert_eq!(candidates(Some(0.001)).0, 16 - candidates(Some(0.001)).1);
}

#[test]
fn a_search_begins_with_what_was_good_nearby() {
    let clock = VirtualClock::default();
    let device = Device::new(&clock, hill, 0.01, 5);
    let mut overlay = Overlay::in_memory("0.1.0");
    run(&device, &[task(576, 64)], &mut overlay, options(Effort::Full));
    assert_eq!(schedule(&overlay, &task(576, 64)), (32, 2));
    let next = Device::new(&clock, hill, 0.01, 6);
    run(&next, &[task(576, 256)], &mut overlay, options(Effort::Full));
    let second = next.validated.borrow()[1].clone();
    assert_eq!((second.get("tile"), second.get("rows")), (Some(32), Some(2)));
    // Where that is not legal, it is not tried.
    let narrow = Device::new(&clock, hill, 0.01, 6);
    run(&narrow, &[task(16, 64)], &mut overlay, options(Effort::Full));
    assert!(narrow.validated.borrow().iter().all(|v| v.get("tile").unwrap() <= 16));
}

//! The search on recorded landscapes: what it loses against measuring everything, and whether two tunings agree.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use jet_autotune::landscape::regret::{BAR, Entrant, compare, tied};
use jet_autotune::landscape::{Landscape, Replay, load};
use jet_autotune::search::Kind;
use jet_autotune::{Effort, Options, Outcome, Silent, Task, Tuner};
use jet_cache::{Fingerprint, Overlay, TaskFields, TaskKey};
use jet_codegen::schedule::{Family, Values};
use jet_runtime::cpu::FAMILIES;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn landscapes() -> Vec<Landscape> {
    load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("landscapes")).unwrap()
}

fn task(landscape: &Landscape) -> Task {
    let problem = landscape.problem.clone();
    let (device, version) = (Fingerprint::new("recorded"), landscape.header.version);
    let fields = TaskFields::new(device, &problem.family, version, &problem.format, "recorded");
    Task { key: TaskKey::new(fields.dims(problem.dims.clone())), problem }
}

#[test]
fn the_landscapes_are_of_many_families_and_of_the_kernels_as_they_are() {
    let all = landscapes();
    let families: BTreeSet<_> = all.iter().map(|l| l.problem.family.clone()).collect();
    assert!(all.len() >= 20 && families.len() >= 6, "{} of {families:?}", all.len());
    let known: Vec<&dyn Family> = FAMILIES.to_vec();
    Replay::new(&all, &known, 0).unwrap();
    assert!(all.iter().flat_map(|l| &l.rows).all(|row| row.ns.len() >= 25 || row.rejected.is_some()));
}

#[test]
fn a_landscape_of_other_candidates_is_refused() {
    let known: Vec<&dyn Family> = FAMILIES.to_vec();
    let refused = |change: fn(&mut Landscape)| {
        let mut all = landscapes();
        change(&mut all[0]);
        Replay::new(&all, &known, 0).err().unwrap()
    };
    assert!(refused(|l| l.rows.truncate(5)).contains("record it again"));
    assert!(refused(|l| l.header.version += 1).contains("version"));
    assert!(refused(|l| l.rows.swap(0, 1)).contains("another default"));
}

#[test]
fn the_default_strategy_stays_within_three_per_cent_with_a_tenth_of_the_measurements() {
    let known: Vec<&dyn Family> = FAMILIES.to_vec();
    let comparison = compare(&landscapes(), &known, 8).unwrap();
    let chosen = Entrant { kind: Kind::default(), model: true, warm: false };
    let score = comparison.score(chosen).unwrap();
    assert!(comparison.searched >= 8, "{comparison}");
    assert!(score.median <= BAR && score.mean <= BAR, "{comparison}");
    assert!(score.most_samples <= 0.1, "{comparison}");
    // It is the default because nothing else that starts from nothing loses less.
    let others = Entrant::ALL.into_iter().filter(|e| !e.warm).filter_map(|e| comparison.score(e));
    assert!(others.map(|s| s.mean).all(|mean| score.mean <= mean), "{comparison}");
}

/// What a whole tuning chooses for every landscape.
fn tuned(all: &[Landscape], known: &[&dyn Family], effort: Effort, seed: u64) -> Vec<Values> {
    let replay = Replay::new(all, known, seed).unwrap();
    let tasks: Vec<_> = all.iter().map(task).collect();
    let mut overlay = Overlay::in_memory("0.1.0");
    let options = Options { effort, ..Options::default() };
    let go_on = AtomicBool::new(false);
    let report =
        Tuner::new(&replay, &replay, &go_on, options).run(&tasks, &mut overlay, &mut Silent).unwrap();
    assert_eq!(report.count(Outcome::Failed) + report.count(Outcome::NotReached), 0, "{report}");
    let chosen = |task: &Task| Values(overlay.get(task.key.store_key()).unwrap().schedule.clone());
    tasks.iter().map(chosen).collect()
}

#[test]
fn two_tunings_on_a_noisy_machine_choose_the_same_or_a_tie() {
    let (all, known) = (landscapes(), FAMILIES.to_vec());
    let known: Vec<&dyn Family> = known;
    for effort in [Effort::Quick, Effort::Full] {
        let mut agree = 0;
        let mut apart = Vec::new();
        for pair in 0..4 {
            let (a, b) = (tuned(&all, &known, effort, pair), tuned(&all, &known, effort, pair + 1000));
            for (landscape, (a, b)) in all.iter().zip(a.iter().zip(&b)) {
                match tied(landscape, a, b) {
                    true => agree += 1,
                    false => apart.push(format!("{}: {a} or {b}", landscape.problem)),
                }
            }
        }
        let share = f64::from(agree) / (agree as usize + apart.len()) as f64;
        assert!(share >= 0.95, "{effort}: {share}, {apart:#?}");
    }
}

#[test]
fn a_quick_tuning_finds_what_a_full_one_finds_or_nearly() {
    let (all, known) = (landscapes(), FAMILIES.to_vec());
    let known: Vec<&dyn Family> = known;
    let chosen = tuned(&all, &known, Effort::Quick, 3);
    let mut regrets: Vec<_> = all.iter().zip(&chosen).map(|(l, values)| l.regret(values)).collect();
    regrets.sort_by(f64::total_cmp);
    assert!(
        regrets[regrets.len() / 2] <= 0.01 && regrets.iter().sum::<f64>() <= 0.02 * regrets.len() as f64,
        "{regrets:?}"
    );
}

use super::*;
use jet_codegen::schedule::{Illegal, Schedule as _, check_values};

jet_codegen::schedule! {
    /// Three parameters, 150 candidates, of which 120 are legal.
    struct Wide = "wide" v1 {
        /// A.
        a: [1, 2, 4, 8, 16] = 4,
        /// B.
        b: [1, 2, 3, 4, 5] = 1,
        /// C.
        c: [1, 2, 3, 4, 5, 6] = 2,
    }
}

/// With a cost model where the problem says so.
struct Demo;
impl Family for Demo {
    fn name(&self) -> &'static str {
        Wide::FAMILY
    }
    fn version(&self) -> u32 {
        Wide::VERSION
    }
    fn params(&self) -> &'static [Param] {
        Wide::PARAMS
    }
    fn legal(&self, _: &Problem, v: &Values) -> Result<(), Illegal> {
        check_values(Wide::PARAMS, v)?;
        if v.get("b") == Some(5) { Err(Illegal("five".into())) } else { Ok(()) }
    }
    fn cost(&self, problem: &Problem, v: &Values) -> Option<f64> {
        match problem.dim("model") {
            0 => None,
            1 => Some(time(v)),
            // A model that is wrong: its order is the reverse of the truth.
            _ => Some(1.0 / time(v)),
        }
    }
}

/// A valley with its bottom at a = 8, b = 3, c = 5.
fn time(v: &Values) -> f64 {
    let get = |name| v.get(name).unwrap() as f64;
    1.0 + 0.2 * (get("a").log2() - 3.0).abs() + 0.1 * (get("b") - 3.0).powi(2) + 0.1 * (get("c") - 5.0).abs()
}

fn space(model: usize, known: &[Values]) -> Space {
    Space::new(&Demo, &Problem::new("wide", "f32", &[("model", model)]), known)
}

/// Runs a strategy on exact times and gives what it tried, in order.
fn search(space: &Space, kind: Kind, tries: usize, seed: u64) -> Vec<Trial> {
    let (mut strategy, mut random) = (kind.strategy(), Random::new(seed));
    let ratio = |at: usize| Some(time(&space.candidates[at]) / time(&space.candidates[0]));
    let mut trials = vec![Trial { at: 0, ratio: Some(1.0), samples: 3 }];
    while trials.len() < tries {
        let batch = strategy.propose(space, &trials, 4.min(tries - trials.len()), &mut random);
        if batch.is_empty() {
            break;
        }
        trials.extend(batch.into_iter().map(|at| Trial { at, ratio: ratio(at), samples: 3 }));
    }
    trials
}

fn best(space: &Space, trials: &[Trial]) -> f64 {
    trials.iter().map(|t| time(&space.candidates[t.at])).fold(f64::INFINITY, f64::min)
}

#[test]
fn every_strategy_tries_each_legal_candidate_once_and_then_nothing() {
    let space = space(1, &[]);
    assert_eq!(space.candidates.len(), 120);
    for kind in Kind::ALL {
        let mut tried: Vec<_> = search(&space, kind, 1000, 5).iter().map(|t| t.at).collect();
        assert_eq!(tried[0], 0, "{kind}: the default is first");
        tried.sort_unstable();
        assert_eq!(tried, (0..120).collect::<Vec<_>>(), "{kind}");
    }
}

#[test]
fn a_strategy_is_a_function_of_its_seed() {
    for kind in Kind::ALL {
        assert_eq!(search(&space(0, &[]), kind, 30, 7), search(&space(0, &[]), kind, 30, 7), "{kind}");
    }
    assert_ne!(search(&space(0, &[]), Kind::Random, 30, 7), search(&space(0, &[]), Kind::Random, 30, 8));
}

#[test]
fn a_right_cost_model_is_followed_at_once_and_a_wrong_one_is_found_out() {
    for seed in 0..10 {
        let right = space(1, &[]);
        assert!(best(&right, &search(&right, Kind::Guided, 3, seed)) <= 1.0 + 1e-9, "seed {seed}");
        let wrong = space(2, &[]);
        let found = best(&wrong, &search(&wrong, Kind::Guided, 40, seed));
        assert!(found < 1.25, "seed {seed}: {found}");
    }
}

#[test]
fn evolution_and_the_model_beat_chance() {
    let mean = |kind| {
        let space = space(0, &[]);
        (0..40).map(|seed| best(&space, &search(&space, kind, 20, seed))).sum::<f64>() / 40.0
    };
    let (chance, evolve, guided) = (mean(Kind::Random), mean(Kind::Evolve), mean(Kind::Guided));
    assert!(evolve < chance && guided < chance, "{evolve} and {guided} against {chance}");
}

#[test]
fn known_schedules_become_hints_where_they_are_legal() {
    let near = Wide { a: 8, b: 3, c: 5 }.values();
    let illegal = Wide { a: 8, b: 5, c: 5 }.values();
    let default = Wide::default().values();
    let space = space(0, &[illegal, near.clone(), default, near.clone()]);
    assert_eq!(space.hints, [space.find(&near).unwrap()]);
}

#[test]
fn neighbours_are_one_step_of_one_parameter_away() {
    let space = space(0, &[]);
    let around: Vec<_> = space.neighbours(0).iter().map(|at| space.candidates[*at].to_string()).collect();
    assert_eq!(around, ["a=2 b=1 c=2", "a=8 b=1 c=2", "a=4 b=2 c=2", "a=4 b=1 c=1", "a=4 b=1 c=3"]);
}

#[test]
fn a_strategy_that_there_is_not_is_told_with_those_there_are() {
    assert_eq!("guided".parse::<Kind>().unwrap(), Kind::Guided);
    let why = "gradient".parse::<Kind>().unwrap_err().to_string();
    assert!(why.contains("`gradient`") && why.contains("exhaustive, random, evolve, guided"), "{why}");
}

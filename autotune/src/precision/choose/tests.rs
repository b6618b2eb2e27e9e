use super::*;
use std::convert::Infallible;

fn choice(layer: u32, precision: Precision, kl: f64, saved: f64) -> Choice {
    Choice { part: Part::Layer(layer), precision, kl, saved }
}

/// Four parts: one cheap to change, one with two steps, one dear, one that is slower.
fn choices() -> Vec<Choice> {
    vec![
        choice(0, Precision::Native, 0.001, 10.0),
        choice(1, Precision::Bf16, 0.002, 10.0),
        choice(1, Precision::Native, 0.010, 15.0),
        choice(2, Precision::Native, 0.100, 12.0),
        choice(3, Precision::Native, 0.001, -1.0),
    ]
}

/// A judge whose divergence is the sum of the parts' times `factor`, and the recipes that it was asked about.
fn sum_of(choices: &[Choice], factor: f64) -> impl FnMut(&Recipe) -> Result<f64, Infallible> {
    move |recipe| {
        let kl = |(part, precision)| {
            choices.iter().find(|c| (c.part, c.precision) == (part, precision)).map_or(0.0, |c| c.kl)
        };
        Ok(recipe.exceptions().map(kl).sum::<f64>() * factor)
    }
}

fn run(max_kl: f64, factor: f64) -> Search {
    let all = choices();
    Search::run(&moves(&all), max_kl, 0, &mut sum_of(&all, factor)).unwrap()
}

#[test]
fn moves_come_by_time_saved_per_divergence_and_slower_choices_never() {
    let order: Vec<_> = moves(&choices()).iter().map(|m| (m.part, m.precision, m.saved)).collect();
    let layer = Part::Layer;
    assert_eq!(
        order,
        [
            (layer(0), Precision::Native, 10.0),
            (layer(1), Precision::Bf16, 10.0),
            (layer(1), Precision::Native, 5.0),
            (layer(2), Precision::Native, 12.0),
        ]
    );
}

#[test]
fn of_a_part_only_what_no_mixture_beats_is_a_move() {
    // The second saves less per divergence than going straight to the third.
    let of = |middle: f64| {
        moves(&[choice(0, Precision::Bf16, 0.005, middle), choice(0, Precision::Native, 0.010, 20.0)])
    };
    assert_eq!(of(8.0).len(), 1);
    assert_eq!(of(12.0).len(), 2);
    // What is further away and slower is none either.
    let worse = moves(&[choice(0, Precision::Bf16, 0.010, 5.0), choice(0, Precision::Native, 0.001, 6.0)]);
    assert_eq!(worse.iter().map(|m| m.precision).collect::<Vec<_>>(), [Precision::Native]);
    assert!(moves(&[choice(0, Precision::Bf16, f64::INFINITY, 5.0)]).is_empty());
}

#[test]
fn without_a_budget_everything_stays_the_reference() {
    let none = run(0.0, 1.0);
    assert_eq!((none.recipe, none.kl, none.saved), (REFERENCE.into(), 0.0, 0.0));
}

#[test]
fn a_huge_budget_gives_the_fastest() {
    let all = run(1e9, 1.0);
    assert_eq!(all.saved, 10.0 + 15.0 + 12.0);
    assert_eq!(all.recipe.of(Part::Layer(3)), REFERENCE, "what is slower is not taken");
    assert_eq!(all.measured.len(), 2, "the reference and all moves: nothing else needs to be measured");
}

#[test]
fn the_bound_holds_whether_divergences_add_up_or_not() {
    for factor in [0.1, 0.5, 1.0, 3.0, 40.0] {
        for max_kl in [0.0, 0.0005, 0.001, 0.003, 0.011, 0.02, 0.1, 0.111, 0.2, 5.0] {
            let found = run(max_kl, factor);
            let again = sum_of(&choices(), factor)(&found.recipe).unwrap();
            assert!(found.kl <= max_kl && again == found.kl, "{max_kl} {factor}: {found:?}");
            let better = |m: &&Measured| m.kl <= max_kl && m.saved > found.saved;
            assert_eq!(found.measured.iter().find(better), None);
        }
    }
}

#[test]
fn behind_a_part_that_does_not_fit_those_that_do_are_taken() {
    let all = [
        choice(0, Precision::Native, 0.100, 1000.0),
        choice(1, Precision::Native, 0.001, 5.0),
        choice(2, Precision::Native, 0.002, 5.0),
    ];
    let found = Search::run(&moves(&all), 0.0035, 0, &mut sum_of(&all, 1.0)).unwrap();
    assert_eq!((found.saved, found.recipe.of(Part::Layer(0))), (10.0, REFERENCE));
    // Together they are further away than their sum says: the last one is given back.
    let found = Search::run(&moves(&all), 0.0035, 0, &mut sum_of(&all, 1.5)).unwrap();
    assert_eq!((found.saved, found.recipe.of(Part::Layer(2))), (5.0, REFERENCE));
}

#[test]
fn a_judge_that_fails_ends_the_search() {
    let failed = Search::run(&moves(&choices()), 0.01, 2, &mut |_| Err("no memory"));
    assert_eq!(failed, Err("no memory"));
}

#[test]
fn the_front_has_what_nothing_beats_in_both() {
    let points =
        [(0.0, 10.0), (0.1, 5.0), (0.1, 4.0), (0.2, 6.0), (0.3, 1.0), (f64::INFINITY, 0.5), (0.3, 1.0)];
    assert_eq!(front(&points, |p| *p), [(0.0, 10.0), (0.1, 4.0), (0.3, 1.0)]);
}

#[test]
fn probes_are_measured_along_the_way() {
    let all = choices();
    let found = Search::run(&moves(&all), 1e9, 3, &mut sum_of(&all, 1.0)).unwrap();
    let saved: Vec<f64> = found.measured.iter().map(|m| m.saved).collect();
    assert_eq!(saved, [0.0, 37.0, 10.0, 20.0, 25.0]);
    assert_eq!(found.saved, 37.0);
}

//! Local and evolutionary search: neighbours of the best by one step of one parameter, and mixtures of two of them.

use super::{Space, Strategy, Trial, untried};
use crate::stats::Random;
use jet_codegen::schedule::Values;

/// Parents: the best so many of what was tried.
const PARENTS: usize = 4;

/// Of four children, so many are neighbours of one parent; the others mix two.
const NEIGHBOURS_OF_FOUR: usize = 3;

pub(super) struct Evolve;

impl Strategy for Evolve {
    fn propose(&mut self, space: &Space, trials: &[Trial], room: usize, random: &mut Random) -> Vec<usize> {
        let mut left = untried(space, trials);
        let mut parents: Vec<_> = trials.iter().filter_map(|t| t.ratio.map(|ratio| (t.at, ratio))).collect();
        parents.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        let parents: Vec<_> = parents.into_iter().take(PARENTS).map(|(at, _)| at).collect();
        let mut chosen = Vec::new();
        while chosen.len() < room && !left.is_empty() {
            let born = match random.below(4) < NEIGHBOURS_OF_FOUR {
                true => near(space, &parents, &left, random),
                false => mixed(space, &parents, random).filter(|at| left.contains(at)),
            };
            // Where the parents have no new children, chance helps out.
            let next = born.unwrap_or_else(|| left[random.below(left.len())]);
            left.retain(|at| *at != next);
            chosen.push(next);
        }
        chosen
    }
}

/// An untried neighbour of the best parent that has one.
fn near(space: &Space, parents: &[usize], left: &[usize], random: &mut Random) -> Option<usize> {
    parents.iter().find_map(|parent| {
        let mut around = space.neighbours(*parent);
        around.retain(|at| left.contains(at));
        (!around.is_empty()).then(|| around[random.below(around.len())])
    })
}

/// Each parameter from one of two parents.
fn mixed(space: &Space, parents: &[usize], random: &mut Random) -> Option<usize> {
    let mut pick = || parents.get(random.below(parents.len().max(1))).copied();
    let (a, b) = (pick()?, pick()?);
    let from = |at: usize, name: &str| (name.to_owned(), space.candidates[at].get(name).unwrap_or_default());
    let child = space.params.iter().map(|p| from(if random.below(2) == 0 { a } else { b }, p.name));
    let child = Values(child.collect());
    space.find(&child)
}

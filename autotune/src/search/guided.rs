//! Model-guided search: the family's cost model ranks, measurements correct it.
//!
//! The log of a candidate's time over the default's is taken as the cost model's answer plus a Gaussian process, whose samples
//! are the trials. The next candidate is the one with the lowest bound that the process thinks likely; the rest of a batch is
//! chosen as if that had been measured and had come out as expected. One in four comes by chance instead, so that a
//! model that is wrong is found out.

use super::process::Process;
use super::{Space, Strategy, Trial, untried};
use crate::stats::Random;

/// How many standard deviations below the mean a candidate is judged by.
const HOPE: f64 = 1.0;

/// Every so many-th candidate comes by chance.
const TAIL: usize = 4;

/// What a candidate that failed counts as: e times as slow.
const FAILED: f64 = 1.0;

pub(super) struct Guided;

impl Strategy for Guided {
    fn propose(&mut self, space: &Space, trials: &[Trial], room: usize, random: &mut Random) -> Vec<usize> {
        let mut left = untried(space, trials);
        let seen: Vec<_> = trials
            .iter()
            .map(|t| (t.at, t.ratio.map_or(FAILED, f64::ln) - space.costs[t.at].ln(), t.samples))
            .collect();
        let mut process = Process::new(space, seen);
        let mut chosen = Vec::new();
        while chosen.len() < room && !left.is_empty() {
            let by_chance = (trials.len() + chosen.len()).is_multiple_of(TAIL);
            let next = match by_chance {
                true => left[random.below(left.len())],
                false => {
                    let bound = |at: usize| {
                        let (mean, deviation) = process.expect(at);
                        space.costs[at].ln() + mean - HOPE * deviation
                    };
                    let bounds: Vec<_> = left.iter().map(|at| (bound(*at), *at)).collect();
                    let lowest = bounds.iter().min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                    lowest.map_or(left[0], |(_, at)| *at)
                }
            };
            left.retain(|at| *at != next);
            let (mean, _) = process.expect(next);
            process.add(next, mean, 1);
            chosen.push(next);
        }
        chosen
    }
}

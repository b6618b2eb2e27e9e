//! Search: which candidates of a task to measure next, given what was measured so far.
//!
//! A [`Strategy`] sees the task's [`Space`] (every legal schedule, the default first, with what the family's cost model says of
//! each) and the [`Trial`]s so far, and names the next ones by their index. All parameters of a schedule are searched together.
//! [`contest`](contest::contest) does the measuring; [`Plan`] says how much of it there is.
//!
//! Which strategy is the default was decided by regret on recorded landscapes: [`crate::landscape::regret`].

pub mod contest;
mod evolve;
mod exhaustive;
mod guided;
pub mod plan;
mod process;
mod random;

pub use plan::Plan;

use crate::TuneError;
use crate::book::Book;
use crate::stats::Random;
use jet_cache::nearest::nearest;
use jet_cache::{Entry, Status, TaskKey};
use jet_codegen::schedule::{Family, Param, Problem, Values};
use std::fmt;
use std::str::FromStr;

/// A task's candidates.
#[derive(Clone, Debug)]
pub struct Space {
    /// The family's parameters.
    pub params: &'static [Param],
    /// Every legal schedule, the default first.
    pub candidates: Vec<Values>,
    /// What the family's cost model expects of each candidate, over what it expects of the default; 1 for all where the
    /// family has none.
    pub costs: Vec<f64>,
    /// Candidates to try before the strategy is asked: winners of other buckets and precisions.
    pub hints: Vec<usize>,
}

impl Space {
    /// The candidates of `problem`, with `known` schedules as hints where they are legal.
    pub fn new(family: &dyn Family, problem: &Problem, known: &[Values]) -> Self {
        let candidates = family.candidates(problem);
        let cost = |values: &Values| family.cost(problem, values).filter(|c| c.is_finite() && *c > 0.0);
        let costs = match candidates.iter().map(cost).collect::<Option<Vec<f64>>>() {
            Some(costs) => costs.iter().map(|c| c / costs[0]).collect(),
            None => vec![1.0; candidates.len()],
        };
        let mut space = Self { params: family.params(), candidates, costs, hints: Vec::new() };
        for values in known {
            if let Some(at) = space.find(values).filter(|at| *at > 0 && !space.hints.contains(at)) {
                space.hints.push(at);
            }
        }
        space
    }

    /// The candidate with `values`.
    pub fn find(&self, values: &Values) -> Option<usize> {
        self.candidates.iter().position(|c| c == values)
    }

    /// Where each parameter of a candidate stands among its values, from 0 (the first) to 1 (the last).
    fn levels(&self, at: usize) -> Vec<f64> {
        let level = |p: &Param| {
            let value = self.candidates[at].get(p.name);
            let place = p.values.iter().position(|v| Some(*v) == value).unwrap_or(0);
            place as f64 / (p.values.len() - 1).max(1) as f64
        };
        self.params.iter().map(level).collect()
    }

    /// The candidates that differ from `at` by one step of one parameter.
    fn neighbours(&self, at: usize) -> Vec<usize> {
        let mut found = Vec::new();
        for p in self.params {
            let value = self.candidates[at].get(p.name);
            let Some(place) = p.values.iter().position(|v| Some(*v) == value) else { continue };
            let steps = [place.checked_sub(1), Some(place + 1)].into_iter().flatten();
            for step in steps.filter_map(|i| p.values.get(i)) {
                let mut values = self.candidates[at].clone();
                values.0.insert(p.name.to_owned(), *step);
                found.extend(self.find(&values));
            }
        }
        found
    }
}

/// Schedules that are known to be good near a task: its own from an earlier run, then those of the nearest entries, which differ
/// in bucket, precision or device.
pub fn known(book: &dyn Book, key: &TaskKey) -> Vec<Values> {
    /// As many neighbours as are asked.
    const NEIGHBOURS: usize = 2;
    // A record that claims nothing is no hint.
    let founded = |entry: &Entry| entry.status != Status::Assumed;
    let own = book.find(key.store_key()).filter(founded).map(|entry| Values(entry.schedule));
    let family = &key.fields().family;
    let records = book.records().into_iter().filter(founded);
    let others = records.filter(|e| e.key != *key && e.key.fields().family == *family);
    let near = nearest(key, others.map(std::sync::Arc::new), NEIGHBOURS);
    own.into_iter().chain(near.into_iter().map(|near| Values(near.entry.schedule.clone()))).collect()
}

/// A candidate that was tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// Its index in the space.
    pub at: usize,
    /// Its time over the default's; `None` where it was wrong or could not run.
    pub ratio: Option<f64>,
    /// Samples behind the ratio.
    pub samples: usize,
}

/// A way to choose what to measure next.
pub trait Strategy {
    /// The next candidates, at most `room`, none of which is among `trials`; none where there is nothing left. The first trial
    /// is the default's. The same arguments give the same answer.
    fn propose(&mut self, space: &Space, trials: &[Trial], room: usize, random: &mut Random) -> Vec<usize>;
}

/// The strategies there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// All, in the order of enumeration.
    Exhaustive,
    /// Any, by chance.
    Random,
    /// Neighbours and mixtures of the best so far.
    Evolve,
    /// A model of the times, corrected by each measurement. On the recorded landscapes it loses least.
    #[default]
    Guided,
}

impl Kind {
    /// Every strategy.
    pub const ALL: [Self; 4] = [Self::Exhaustive, Self::Random, Self::Evolve, Self::Guided];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exhaustive => "exhaustive",
            Self::Random => "random",
            Self::Evolve => "evolve",
            Self::Guided => "guided",
        }
    }

    /// Ready to propose.
    pub fn strategy(self) -> Box<dyn Strategy> {
        match self {
            Self::Exhaustive => Box::new(exhaustive::Exhaustive),
            Self::Random => Box::new(random::AtRandom),
            Self::Evolve => Box::new(evolve::Evolve),
            Self::Guided => Box::new(guided::Guided),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = TuneError;

    fn from_str(text: &str) -> Result<Self, TuneError> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| TuneError::BadStrategy {
            found: text.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// The candidates that were not tried, in order.
fn untried(space: &Space, trials: &[Trial]) -> Vec<usize> {
    let mut tried = vec![false; space.candidates.len()];
    trials.iter().for_each(|trial| tried[trial.at] = true);
    (0..tried.len()).filter(|at| !tried[*at]).collect()
}

#[cfg(test)]
mod tests;

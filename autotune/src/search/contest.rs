//! The measuring of a search: batches of newcomers against the default, then the best of them to the end.
//!
//! Every batch is a short race in which the default runs along, so that newcomers of different batches are compared by what
//! they took relative to it, whatever the machine did meanwhile. The finalists' race is longer, and only its lanes can win.

use super::{Plan, Space, Strategy, Trial};
use crate::race::{self, End, Lane, Standing, Track, race};
use crate::stats::{Random, median};
use crate::subject::Subject;

/// What a contest has come to.
pub struct Contest {
    /// Every candidate that was met, the default first, with all its samples.
    pub lanes: Vec<Lane>,
    /// Those among them that may win, by their place in `lanes`: the default, then the finalists.
    pub finalists: Vec<usize>,
    /// Why it ended.
    pub end: End,
}

impl Contest {
    /// The lanes that may win, the default first.
    pub fn final_lanes(&self) -> Vec<Lane> {
        self.finalists.iter().map(|at| self.lanes[*at].clone()).collect()
    }
}

/// Part of a task's time that newcomers may take; the rest is for the finalists.
const SCREENING_SHARE: f64 = 0.6;

/// Measures the candidates of `space` that `strategy` proposes, as `plan` says.
pub fn contest(
    subject: &mut dyn Subject,
    space: &Space,
    strategy: &mut dyn Strategy,
    plan: &Plan,
    seed: u64,
    track: &mut Track<'_>,
) -> Contest {
    let mut random = Random::new(seed);
    let mut field = Field::new(space);
    let room = plan.candidates.min(space.candidates.len());
    if plan.batch >= room {
        field.invite(space.hints.iter().copied().take(room - 1).collect());
        let others = strategy.propose(space, &field.trials(), room - field.lanes.len(), &mut random);
        field.invite(others);
        let (lanes, end) = race(subject, field.lanes, &plan.race, track);
        let finalists = (0..lanes.len()).collect();
        return Contest { lanes, finalists, end };
    }
    let deadline = track.deadline;
    track.deadline = deadline.map(|end| {
        let now = track.clock.now();
        now + end.saturating_sub(now).mul_f64(SCREENING_SHARE)
    });
    let mut hints = space.hints.clone();
    let mut end = End::Complete;
    while end == End::Complete && field.lanes.len() < room {
        let size = plan.batch.min(room - field.lanes.len());
        let mut batch: Vec<_> = hints.drain(..hints.len().min(size)).collect();
        let trials = field.trials_with(&batch);
        batch.extend(strategy.propose(space, &trials, size - batch.len(), &mut random));
        if batch.is_empty() {
            break;
        }
        let first = field.lanes.len();
        field.invite(batch);
        let runners: Vec<_> = std::iter::once(0).chain(first..field.lanes.len()).collect();
        let rules = race::Rules { rounds: plan.screen, drops: &[], ..plan.race.clone() };
        end = field.run(subject, &runners, &rules, track);
        if matches!(field.lanes[0].standing, Standing::Rejected(_)) || end == End::Stopped {
            return Contest { lanes: field.lanes, finalists: vec![0], end };
        }
    }
    track.deadline = deadline;
    let finalists = field.finalists(plan.finalists);
    let last = field.run(subject, &finalists, &plan.race, track);
    let end = if last == End::Complete { end } else { last };
    Contest { lanes: field.lanes, finalists, end }
}

/// The lanes of a contest.
struct Field<'s> {
    space: &'s Space,
    lanes: Vec<Lane>,
    /// The candidate of each lane.
    of: Vec<usize>,
    rounds: usize,
}

impl<'s> Field<'s> {
    fn new(space: &'s Space) -> Self {
        Self { space, lanes: vec![Lane::new(space.candidates[0].clone())], of: vec![0], rounds: 0 }
    }

    fn invite(&mut self, candidates: Vec<usize>) {
        for at in candidates {
            debug_assert!(!self.of.contains(&at), "a strategy proposes what was not tried");
            self.lanes.push(Lane::new(self.space.candidates[at].clone()));
            self.of.push(at);
        }
    }

    fn ratio(&self, lane: usize) -> Option<f64> {
        let fit = !matches!(self.lanes[lane].standing, Standing::Rejected(_));
        let ratios = self.lanes[lane].ratios(&self.lanes[0]);
        (fit && !ratios.is_empty()).then(|| median(&ratios))
    }

    /// What is known of those that were tried; of the default, that it takes its own time.
    fn trials(&self) -> Vec<Trial> {
        let trial = |lane: usize| {
            let ratio = if lane == 0 { Some(1.0) } else { self.ratio(lane) };
            Trial { at: self.of[lane], ratio, samples: self.lanes[lane].samples.len() }
        };
        (0..self.lanes.len()).map(trial).collect()
    }

    /// The same, with candidates that are about to be tried, so that nobody proposes them.
    fn trials_with(&self, coming: &[usize]) -> Vec<Trial> {
        let mut trials = self.trials();
        trials.extend(coming.iter().map(|at| Trial { at: *at, ratio: Some(self.space.costs[*at]), samples: 0 }));
        trials
    }

    /// A race of some lanes; what they ran before stays with them.
    fn run(
        &mut self,
        subject: &mut dyn Subject,
        runners: &[usize],
        rules: &race::Rules,
        track: &mut Track<'_>,
    ) -> End {
        let lanes = runners.iter().map(|at| self.lanes[*at].again()).collect();
        let (lanes, end) = race(subject, lanes, rules, track);
        for (at, ran) in runners.iter().zip(lanes) {
            let lane = &mut self.lanes[*at];
            lane.standing = ran.standing;
            lane.errors = ran.errors;
            lane.samples.extend(ran.samples.into_iter().map(|(round, t)| (round + self.rounds, t)));
        }
        self.rounds += rules.rounds;
        end
    }

    /// The default and the `count` lanes that are best so far, in their order.
    fn finalists(&self, count: usize) -> Vec<usize> {
        let mut best: Vec<_> =
            (1..self.lanes.len()).filter_map(|lane| self.ratio(lane).map(|ratio| (lane, ratio))).collect();
        best.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        let mut chosen: Vec<_> = std::iter::once(0).chain(best.into_iter().take(count).map(|(lane, _)| lane)).collect();
        chosen.sort_unstable();
        chosen
    }
}

//! The measuring of a search: batches of newcomers against the default, then the best of them to the end.
//!
//! Every batch is a short race in which the default runs along, so that newcomers of different batches are compared by what
//! they took relative to it, whatever the machine did meanwhile. The finalists' race is longer, and only its lanes can win; where
//! noise leaves open which of them, they run on.

use super::{Plan, Space, Strategy, Trial};
use crate::decide::LEAST_GAIN;
use crate::race::{self, End, Lane, Standing, Track, race};
use crate::stats::{Random, bootstrap_median, median};
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

/// Behind the best by no more than this, a lane takes part in a run-off, if it is one of the first so many.
const NEAR: f64 = 0.05;
const MOST_NEAR: usize = 6;

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
    let (finalists, end) = if plan.batch >= room {
        field.invite(space.hints.iter().copied().take(room - 1).collect());
        let others = strategy.propose(space, &field.trials(), room - field.lanes.len(), &mut random);
        field.invite(others);
        let all: Vec<_> = (0..field.lanes.len()).collect();
        let end = field.run(subject, &all, &plan.race, track);
        (all, end)
    } else {
        let deadline = track.deadline;
        track.deadline = deadline.map(|end| {
            let now = track.clock.now();
            now + end.saturating_sub(now).mul_f64(SCREENING_SHARE)
        });
        let screened = field.screen(subject, strategy, plan, room, (&mut random, track));
        track.deadline = deadline;
        let finalists = field.finalists(plan.finalists);
        let last = match screened {
            End::Stopped => End::Stopped,
            _ => field.run(subject, &finalists, &plan.race, track),
        };
        (finalists, if last == End::Complete { screened } else { last })
    };
    if end == End::Complete {
        field.run_off(subject, plan, track);
    }
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

    /// Batch after batch of newcomers, each against the default.
    fn screen(
        &mut self,
        subject: &mut dyn Subject,
        strategy: &mut dyn Strategy,
        plan: &Plan,
        room: usize,
        (random, track): (&mut Random, &mut Track<'_>),
    ) -> End {
        let mut hints = self.space.hints.clone();
        let rules = race::Rules { rounds: plan.screen, drops: &[], ..plan.race.clone() };
        while self.lanes.len() < room {
            let size = plan.batch.min(room - self.lanes.len());
            let mut batch: Vec<_> = hints.drain(..hints.len().min(size)).collect();
            batch.extend(strategy.propose(self.space, &self.trials_with(&batch), size - batch.len(), random));
            if batch.is_empty() {
                break;
            }
            let first = self.lanes.len();
            self.invite(batch);
            let runners: Vec<_> = std::iter::once(0).chain(first..self.lanes.len()).collect();
            let end = self.run(subject, &runners, &rules, track);
            if end != End::Complete || matches!(self.lanes[0].standing, Standing::Rejected(_)) {
                return end;
            }
        }
        End::Complete
    }

    /// More rounds for the default and those near the best, while noise leaves open by how much they differ.
    fn run_off(&mut self, subject: &mut dyn Subject, plan: &Plan, track: &mut Track<'_>) {
        let rules = race::Rules { drops: &[], ..plan.race.clone() };
        for extra in 0..plan.extra {
            let racing = |lane: &usize| self.lanes[*lane].standing == Standing::Racing;
            let ratio = |lane: usize| self.ratio(lane).map(|ratio| (lane, ratio));
            let mut near: Vec<_> = (1..self.lanes.len()).filter(racing).filter_map(ratio).collect();
            near.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
            let best = near.first().map_or(1.0, |(_, ratio)| ratio.min(1.0));
            near.retain(|(_, ratio)| *ratio <= best * (1.0 + NEAR));
            near.truncate(MOST_NEAR);
            let open = |(lane, _): &(usize, f64)| {
                let ratios = self.lanes[*lane].ratios(&self.lanes[0]);
                let i = bootstrap_median(&ratios, 0.95, extra as u64);
                i.high - i.low > LEAST_GAIN
            };
            if !racing(&0) || !near.iter().any(open) {
                return;
            }
            let mut runners: Vec<_> =
                std::iter::once(0).chain(near.into_iter().map(|(lane, _)| lane)).collect();
            runners.sort_unstable();
            if self.run(subject, &runners, &rules, track) != End::Complete {
                return;
            }
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
        trials.extend(coming.iter().map(|at| Trial {
            at: *at,
            ratio: Some(self.space.costs[*at]),
            samples: 0,
        }));
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
            self.lanes[*at].join(ran, self.rounds);
        }
        self.rounds += rules.rounds;
        end
    }

    /// The default and the `count` lanes that are best so far, in their order.
    fn finalists(&self, count: usize) -> Vec<usize> {
        let mut best: Vec<_> =
            (1..self.lanes.len()).filter_map(|lane| self.ratio(lane).map(|ratio| (lane, ratio))).collect();
        best.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        let mut chosen: Vec<_> =
            std::iter::once(0).chain(best.into_iter().take(count).map(|(lane, _)| lane)).collect();
        chosen.sort_unstable();
        chosen
    }
}

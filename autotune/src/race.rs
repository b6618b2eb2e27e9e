//! Candidates against each other on one subject.
//!
//! Candidates take turns, one sample each a round, the order reversed every other round, so that a machine that drifts
//! (clock, memory bandwidth, neighbours) treats all alike; times are later compared within rounds. A candidate enters with its
//! validation and is out at the first fault. Clear losers go early; what is left runs to the full count.
//!
//! The default is the first lane, always runs, and is never dropped.

use crate::clock::Clock;
use crate::measure::{self, sample};
use crate::stats::median;
use crate::subject::{Errors, Subject};
use jet_codegen::schedule::Values;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How a race is run.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Samples of those that stay to the end.
    pub rounds: usize,
    /// After so many samples, a candidate slower than the best by this factor is out.
    pub drops: &'static [(usize, f64)],
    /// How one sample is taken.
    pub sample: measure::Rules,
}

impl Default for Rules {
    fn default() -> Self {
        Self { rounds: 15, drops: &[(3, 1.5), (5, 1.25), (8, 1.1)], sample: measure::Rules::default() }
    }
}

/// Samples before anyone may be dropped.
const FIRST_SAMPLES: usize = 3;

/// Where a candidate stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Not tried yet; at the end: time ran out before.
    Waiting,
    /// In the race.
    Racing,
    /// Slower than the best by so much that it was dropped.
    Dropped,
    /// Wrong, or not able to run.
    Rejected(String),
}

/// One candidate.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Its schedule.
    pub values: Values,
    /// Where it stands.
    pub standing: Standing,
    /// Its comparison with the reference.
    pub errors: Option<Errors>,
    /// Seconds per run, by round.
    pub samples: Vec<(usize, f64)>,
}

impl Lane {
    /// A candidate that has not been tried.
    pub fn new(values: Values) -> Self {
        Self { values, standing: Standing::Waiting, errors: None, samples: Vec::new() }
    }

    /// The same candidate for another race: what is known of its output stays, its times do not.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { samples: Vec::new(), ..self.clone() }
    }

    /// Takes over what `ran`, the same candidate in another race, came to; that race's first round is number `first` here.
    pub fn join(&mut self, ran: Self, first: usize) {
        self.standing = ran.standing;
        self.errors = ran.errors;
        self.samples.extend(ran.samples.into_iter().map(|(round, t)| (round + first, t)));
    }

    /// Its times without the rounds.
    pub fn times(&self) -> Vec<f64> {
        self.samples.iter().map(|(_, t)| *t).collect()
    }

    /// Its median time in seconds.
    pub fn median(&self) -> f64 {
        median(&self.times())
    }

    /// Its times over `other`'s times in the same rounds.
    pub fn ratios(&self, other: &Self) -> Vec<f64> {
        let same = |round: usize| other.samples.iter().find(|(r, _)| *r == round).map(|(_, t)| *t);
        self.samples.iter().filter_map(|(round, t)| same(*round).map(|o| t / o)).collect()
    }
}

/// Why a race ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All that stayed have all their samples.
    Complete,
    /// The deadline came.
    Deadline,
    /// The run was asked to stop.
    Stopped,
}

/// The conditions a race runs under.
pub struct Track<'a> {
    /// Time.
    pub clock: &'a dyn Clock,
    /// When the task must end, by [`Clock::now`].
    pub deadline: Option<Duration>,
    /// Set by Ctrl-C.
    pub stop: &'a AtomicBool,
    /// Told after each round.
    pub watch: &'a mut dyn FnMut(&[Lane]),
    /// Where the time went.
    pub spent: Spent,
}

/// Seconds by what they were for.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Spent {
    /// Setting the problem up.
    pub setup: f64,
    /// Comparing outputs with the reference.
    pub validate: f64,
    /// Taking samples.
    pub race: f64,
}

impl Spent {
    /// The sum.
    pub fn total(&self) -> f64 {
        self.setup + self.validate + self.race
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.setup += other.setup;
        self.validate += other.validate;
        self.race += other.race;
    }
}

/// Races the candidates in `lanes`, the default first; they come back in the same order.
///
/// # Panics
/// Where there is no lane.
pub fn race(
    subject: &mut dyn Subject,
    mut lanes: Vec<Lane>,
    rules: &Rules,
    track: &mut Track<'_>,
) -> (Vec<Lane>, End) {
    // Rounds are counted in samples; where changing the candidate is costly, a visit takes several.
    let mut round = 0;
    let mut burst = 1;
    for visit in 0.. {
        let order: Vec<_> =
            if visit % 2 == 0 { (0..lanes.len()).collect() } else { (0..lanes.len()).rev().collect() };
        for at in order {
            if let Some(end) = track.over() {
                return (lanes, end);
            }
            // Newcomers are admitted for half the time only: what entered must also be able to finish.
            if lanes[at].standing == Standing::Waiting && (visit > 0 || (at > 0 && track.half_gone())) {
                continue;
            }
            let cost = turn(subject, &mut lanes[at], round..round + burst, rules, track);
            if visit == 0 && at == 0 && cost.prepare > COSTLY * cost.sample {
                burst = MOST_BURST.min(rules.rounds);
                more(subject, &mut lanes[0], 1..burst, rules, track);
            }
            if matches!(lanes[0].standing, Standing::Rejected(_)) {
                return (lanes, End::Complete);
            }
        }
        round += burst;
        drop_losers(&mut lanes, rules);
        drop_what_cannot_finish(&mut lanes, rules.rounds.saturating_sub(round), track);
        (track.watch)(&lanes);
        if round >= rules.rounds {
            break;
        }
    }
    let all_tried = lanes.iter().all(|lane| lane.standing != Standing::Waiting);
    (lanes, if all_tried { End::Complete } else { End::Deadline })
}

/// Changing the candidate is costly where it takes so many times as long as a sample.
const COSTLY: f64 = 2.0;

/// Samples of one visit where it is.
const MOST_BURST: usize = 3;

/// Seconds of a turn.
#[derive(Clone, Copy, Default)]
struct Cost {
    prepare: f64,
    sample: f64,
}

/// One candidate's turn: its validation the first time, then a sample for each of `rounds`.
fn turn(
    subject: &mut dyn Subject,
    lane: &mut Lane,
    rounds: Range<usize>,
    rules: &Rules,
    track: &mut Track<'_>,
) -> Cost {
    if !matches!(lane.standing, Standing::Waiting | Standing::Racing) {
        return Cost::default();
    }
    let begun = track.clock.now();
    let prepared = subject.prepare(&lane.values);
    let prepare = track.since(begun);
    track.spent.race += prepare;
    let verdict = match (prepared, &lane.standing) {
        (Err(reason), _) => Err(reason),
        (Ok(()), Standing::Waiting) => {
            let begun = track.clock.now();
            let verdict = validate(subject);
            track.spent.validate += track.since(begun);
            verdict.map(|errors| lane.errors = Some(errors))
        }
        (Ok(()), _) => Ok(()),
    };
    lane.standing = verdict.map_or_else(Standing::Rejected, |()| Standing::Racing);
    let begun = track.clock.now();
    more(subject, lane, rounds, rules, track);
    Cost { prepare, sample: track.since(begun) }
}

/// Samples of the prepared candidate.
fn more(
    subject: &mut dyn Subject,
    lane: &mut Lane,
    rounds: Range<usize>,
    rules: &Rules,
    track: &mut Track<'_>,
) {
    let begun = track.clock.now();
    for round in rounds {
        if lane.standing != Standing::Racing {
            break;
        }
        match sample(subject, &rules.sample) {
            Ok(seconds) => lane.samples.push((round, seconds)),
            Err(reason) => lane.standing = Standing::Rejected(reason),
        }
    }
    track.spent.race += track.since(begun);
}

/// Runs the prepared candidate once over poisoned outputs.
fn validate(subject: &mut dyn Subject) -> Result<Errors, String> {
    let errors = subject.validate()?;
    match errors.acceptable() {
        true => Ok(errors),
        false => Err(format!(
            "its output is wrong: relative error {:.2e}, allowed {:.2e} (largest difference {:.2e})",
            errors.rel_rms, errors.allowed, errors.max_abs
        )),
    }
}

fn drop_losers(lanes: &mut [Lane], rules: &Rules) {
    let best = best_median(lanes);
    for lane in lanes.iter_mut().skip(1).filter(|lane| lane.standing == Standing::Racing) {
        let limit =
            rules.drops.iter().rev().find(|(n, _)| lane.samples.len() >= *n).map(|(_, factor)| *factor);
        if limit.is_some_and(|factor| lane.median() > factor * best) {
            lane.standing = Standing::Dropped;
        }
    }
}

/// Where the time left is too short for all, only the fastest stay.
fn drop_what_cannot_finish(lanes: &mut [Lane], rounds_left: usize, track: &Track<'_>) {
    let Some(deadline) = track.deadline else { return };
    if lanes[0].samples.len() < FIRST_SAMPLES {
        return;
    }
    let left = deadline.saturating_sub(track.clock.now()).as_secs_f64();
    let rounds_done = lanes[0].samples.len() as f64;
    let turns: usize = lanes.iter().map(|lane| lane.samples.len()).sum();
    // The mean turn so far, preparation included, is what a coming one will cost.
    let turn = track.spent.race / (turns as f64).max(rounds_done);
    let affordable = (left / (turn * rounds_left.max(1) as f64)) as usize;
    let mut racing: Vec<_> = (1..lanes.len()).filter(|i| lanes[*i].standing == Standing::Racing).collect();
    racing.sort_by(|a, b| lanes[*a].median().total_cmp(&lanes[*b].median()));
    // The default and one other stay in any case.
    for at in racing.into_iter().skip(affordable.saturating_sub(1).max(1)) {
        lanes[at].standing = Standing::Dropped;
    }
}

fn best_median(lanes: &[Lane]) -> f64 {
    let racing = lanes.iter().filter(|lane| lane.standing == Standing::Racing && !lane.samples.is_empty());
    racing.map(Lane::median).fold(f64::INFINITY, f64::min)
}

impl Track<'_> {
    fn since(&self, begun: Duration) -> f64 {
        (self.clock.now() - begun).as_secs_f64()
    }

    /// Whether the race must end now.
    fn over(&self) -> Option<End> {
        if self.stop.load(Ordering::Relaxed) {
            return Some(End::Stopped);
        }
        self.deadline.is_some_and(|deadline| self.clock.now() >= deadline).then_some(End::Deadline)
    }

    /// Whether less time is left than was spent on this task.
    fn half_gone(&self) -> bool {
        let spent = Duration::from_secs_f64(self.spent.total());
        self.deadline.is_some_and(|deadline| deadline.saturating_sub(self.clock.now()) < spent)
    }
}

//! How good a strategy is: its regret on recorded landscapes.
//!
//! Regret is how much slower the schedule that a search ends with is than the fastest there is, both by their recorded medians.
//! A search has a tenth of the samples that measuring everything takes, and decides by the tuner's own rules;
//! its samples are drawn from the recorded ones by a seed. Winner flips are pairs of searches with different seeds that end
//! with different schedules; of these, ties are as good as each other. Transfer regret is that of a task's best schedule in a
//! task that differs in its number of tokens only.

use super::{Landscape, Replay};
use crate::clock::Clock as _;
use crate::decide::{LEAST_GAIN, decide};
use crate::race::{Spent, Track};
use crate::search::contest::contest;
use crate::search::plan::FULL_ROUNDS;
use crate::search::{Kind, Plan, Space};
use crate::stats::quantile;
use crate::subject::Workbench as _;
use jet_codegen::schedule::{Family, Problem, Values};
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::sync::atomic::AtomicBool;

/// What is compared: a strategy, with the family's cost model or without, from nothing or from another bucket's winner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrant {
    /// The strategy.
    pub kind: Kind,
    /// Whether it sees the cost model.
    pub model: bool,
    /// Whether it begins with what is best for another number of tokens.
    pub warm: bool,
}

impl Entrant {
    /// All that are compared.
    pub const ALL: [Self; 6] = [
        Self { kind: Kind::Exhaustive, model: false, warm: false },
        Self { kind: Kind::Random, model: false, warm: false },
        Self { kind: Kind::Evolve, model: false, warm: false },
        Self { kind: Kind::Guided, model: false, warm: false },
        Self { kind: Kind::Guided, model: true, warm: false },
        Self { kind: Kind::Guided, model: true, warm: true },
    ];

    /// For a table.
    pub fn name(self) -> String {
        let model = match (self.kind, self.model) {
            (Kind::Guided, false) => ", no cost model",
            _ => "",
        };
        format!("{}{model}{}", self.kind, if self.warm { ", warm" } else { "" })
    }
}

/// A search that ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What it chose.
    pub winner: Values,
    /// How much slower that is than the best.
    pub regret: f64,
    /// Samples it took.
    pub samples: usize,
    /// Candidates it tried.
    pub tried: usize,
}

/// Searches one landscape once, with a tenth of the samples; `None` where the space is too small for that.
///
/// # Errors
/// The landscape is not one of `families`' tasks as they are now.
pub fn search(
    landscape: &Landscape,
    families: &[&dyn Family],
    entrant: Entrant,
    hint: Option<&Values>,
    seed: u64,
) -> Result<Option<Run>, String> {
    let Some(plan) = Plan::tenth(landscape.rows.len()) else { return Ok(None) };
    let replay = Replay::new(std::slice::from_ref(landscape), families, seed)?;
    let problem = &landscape.problem;
    let family = replay.family(&problem.family).ok_or_else(|| format!("no family {}", problem.family))?;
    let known: Vec<_> = hint.into_iter().cloned().collect();
    let mut space = Space::new(family, problem, &known);
    if !entrant.model {
        space.costs.fill(1.0);
    }
    let mut subject = replay.open(problem)?;
    let mut track = Track {
        clock: &replay,
        deadline: None,
        stop: &AtomicBool::new(false),
        watch: &mut |_| {},
        spent: Spent::default(),
    };
    debug_assert!(replay.now().is_zero());
    let mut strategy = entrant.kind.strategy();
    // The draw of the times and the choices of the strategy are different dice.
    let held = contest(&mut *subject, &space, &mut *strategy, &plan, !seed, &mut track);
    let lanes = held.final_lanes();
    let decision = decide(&lanes, seed).ok_or_else(|| format!("{problem}: nothing was decided"))?;
    let winner = lanes[decision.winner].values.clone();
    Ok(Some(Run {
        regret: landscape.regret(&winner),
        winner,
        samples: held.lanes.iter().map(|lane| lane.samples.len()).sum(),
        tried: held.lanes.len(),
    }))
}

/// An entrant's score on one task, over all seeds.
#[derive(Clone, Debug, Serialize)]
pub struct TaskScore {
    /// The task.
    pub task: String,
    /// Its candidates.
    pub candidates: usize,
    /// The default's regret.
    pub default_regret: f64,
    /// Median regret.
    pub median: f64,
    /// The regret that nine of ten stay below.
    pub p90: f64,
    /// Samples over those of a search of everything.
    pub samples: f64,
    /// Candidates tried, over all.
    pub tried: f64,
    /// Of the pairs of seeds, those that chose differently.
    pub flips: f64,
    /// Of the pairs of seeds, those that chose differently and not as well.
    pub losing_flips: f64,
}

/// An entrant's score over all tasks.
#[derive(Clone, Debug, Serialize)]
pub struct Score {
    /// The entrant.
    pub strategy: String,
    /// Median regret over all tasks and seeds.
    pub median: f64,
    /// Mean of the tasks' medians.
    pub mean: f64,
    /// The regret that nine of ten searches stay below.
    pub p90: f64,
    /// Tasks whose median regret is above [`BAR`].
    pub over: usize,
    /// Most samples over those of a search of everything.
    pub most_samples: f64,
    /// Mean of the candidates tried, over all.
    pub tried: f64,
    /// Mean over the tasks.
    pub flips: f64,
    /// Mean over the tasks.
    pub losing_flips: f64,
    /// Task by task.
    pub tasks: Vec<TaskScore>,
}

/// What the median regret must stay below.
pub const BAR: f64 = 0.03;

/// Everything that was compared.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Landscapes that were read.
    pub landscapes: usize,
    /// Those with enough candidates to choose among with a tenth of the samples.
    pub searched: usize,
    /// Searches of each by each entrant.
    pub seeds: u64,
    /// Median regret of the default schedules.
    pub default_regret: f64,
    /// Median regret of another bucket's best schedule, over all pairs of buckets; `None` without a pair.
    pub transfer_regret: Option<f64>,
    /// The pairs of buckets.
    pub transfers: usize,
    /// By entrant.
    pub scores: Vec<Score>,
}

/// Whether two schedules of a task are as good as each other: within what counts as a gain, or not told apart by the
/// recorded samples.
pub fn tied(landscape: &Landscape, a: &Values, b: &Values) -> bool {
    if a == b {
        return true;
    }
    let (Some(a), Some(b)) = (landscape.row(a), landscape.row(b)) else { return false };
    let apart = (a.seconds() / b.seconds()).ln().abs();
    let (a, b) = (a.interval(), b.interval());
    apart <= LEAST_GAIN || (a.low <= b.high && b.low <= a.high)
}

/// Every entrant on every landscape, `seeds` times.
///
/// # Errors
/// A landscape is not one of `families`' tasks as they are now.
pub fn compare(landscapes: &[Landscape], families: &[&dyn Family], seeds: u64) -> Result<Comparison, String> {
    let large: Vec<_> = landscapes.iter().filter(|l| Plan::tenth(l.rows.len()).is_some()).collect();
    let mut scores = Vec::new();
    for entrant in Entrant::ALL {
        let mut tasks = Vec::new();
        let mut all = Vec::new();
        for &landscape in &large {
            let hint = entrant.warm.then(|| warm(landscape, landscapes)).flatten();
            let runs = (0..seeds).map(|seed| search(landscape, families, entrant, hint, seed));
            let runs: Vec<Run> = runs.filter_map(Result::transpose).collect::<Result<_, _>>()?;
            all.extend(runs.iter().map(|run| run.regret));
            tasks.push(score(landscape, &runs));
        }
        let mean =
            |of: &dyn Fn(&TaskScore) -> f64| tasks.iter().map(of).sum::<f64>() / tasks.len().max(1) as f64;
        scores.push(Score {
            strategy: entrant.name(),
            median: quantile(&all, 0.5),
            mean: mean(&|t| t.median),
            p90: quantile(&all, 0.9),
            over: tasks.iter().filter(|t| t.median > BAR).count(),
            most_samples: tasks.iter().map(|t| t.samples).fold(0.0, f64::max),
            tried: mean(&|t| t.tried),
            flips: mean(&|t| t.flips),
            losing_flips: mean(&|t| t.losing_flips),
            tasks,
        });
    }
    let transfers = transfers(landscapes);
    let defaults: Vec<_> = large.iter().map(|l| l.regret(&l.rows[0].values)).collect();
    Ok(Comparison {
        landscapes: landscapes.len(),
        searched: large.len(),
        seeds,
        default_regret: quantile(&defaults, 0.5),
        transfer_regret: (!transfers.is_empty()).then(|| quantile(&transfers, 0.5)),
        transfers: transfers.len(),
        scores,
    })
}

fn score(landscape: &Landscape, runs: &[Run]) -> TaskScore {
    let size = landscape.rows.len() as f64;
    let regrets: Vec<_> = runs.iter().map(|run| run.regret).collect();
    let pairs: Vec<_> = runs.chunks_exact(2).map(|pair| (&pair[0].winner, &pair[1].winner)).collect();
    let share = |count: usize| count as f64 / pairs.len().max(1) as f64;
    let mean = |of: &dyn Fn(&Run) -> usize| {
        runs.iter().map(|r| of(r) as f64).sum::<f64>() / runs.len().max(1) as f64
    };
    TaskScore {
        task: landscape.header.problem.clone(),
        candidates: landscape.rows.len(),
        default_regret: landscape.regret(&landscape.rows[0].values),
        median: quantile(&regrets, 0.5),
        p90: quantile(&regrets, 0.9),
        samples: mean(&|r| r.samples) / (size * FULL_ROUNDS as f64),
        tried: mean(&|r| r.tried) / size,
        flips: share(pairs.iter().filter(|(a, b)| a != b).count()),
        losing_flips: share(pairs.iter().filter(|(a, b)| !tied(landscape, a, b)).count()),
    }
}

/// Whether two problems are one but for their numbers of tokens.
fn buckets_of_one(a: &Problem, b: &Problem) -> bool {
    let shape = |p: &Problem| {
        let mut dims = p.dims.clone();
        dims.retain(|name, _| name != "tokens" && name != "context");
        dims
    };
    a != b && a.family == b.family && a.format == b.format && shape(a) == shape(b)
}

/// The best schedule of a neighbouring bucket, the nearest in tokens.
fn warm<'l>(landscape: &Landscape, all: &'l [Landscape]) -> Option<&'l Values> {
    let size = |p: &Problem| p.dim("tokens").max(p.dim("context")).max(1) as f64;
    let apart = |l: &&Landscape| (size(&l.problem) / size(&landscape.problem)).ln().abs();
    let near = all.iter().filter(|l| buckets_of_one(&l.problem, &landscape.problem));
    let nearest = near.min_by(|a, b| apart(a).total_cmp(&apart(b)))?;
    nearest.best().map(|row| &row.values)
}

/// The regret of each bucket's best schedule in each other bucket where it is a candidate.
fn transfers(landscapes: &[Landscape]) -> Vec<f64> {
    let pairs = landscapes.iter().flat_map(|a| landscapes.iter().map(move |b| (a, b)));
    let of = |(from, to): (&Landscape, &Landscape)| {
        let best = &from.best()?.values;
        (buckets_of_one(&from.problem, &to.problem) && to.row(best).is_some()).then(|| to.regret(best))
    };
    pairs.filter_map(of).collect()
}

fn percent(x: f64) -> String {
    format!("{:.1} %", x * 100.0)
}

/// Cells in columns: the first to the left, the others to the right.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[i] - cell.chars().count());
            let cell = if i == 0 { format!("{cell}{pad}") } else { format!("  {pad}{cell}") };
            out.push_str(&cell);
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

impl Comparison {
    /// The entrant's score.
    pub fn score(&self, entrant: Entrant) -> Option<&Score> {
        self.scores.iter().find(|s| s.strategy == entrant.name())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut head = String::new();
        writeln!(
            head,
            "{} landscapes, {} with enough candidates to search; {} seeds; the default schedule's median regret {}",
            self.landscapes,
            self.searched,
            self.seeds,
            percent(self.default_regret)
        )?;
        if let Some(regret) = self.transfer_regret {
            let pairs = self.transfers;
            writeln!(
                head,
                "another bucket's best schedule: median regret {} over {pairs} pairs",
                percent(regret)
            )?;
        }
        let names =
            ["strategy", "median", "mean", "p90", "tasks > 3 %", "samples", "tried", "flips", "losing flips"];
        let mut rows = vec![names.map(str::to_owned).to_vec()];
        for s in &self.scores {
            let shares = [s.median, s.mean, s.p90].map(percent);
            let rest = [s.most_samples, s.tried, s.flips, s.losing_flips].map(percent);
            let cells = [s.strategy.clone()].into_iter().chain(shares);
            rows.push(cells.chain([s.over.to_string()]).chain(rest).collect());
        }
        write!(f, "{head}\n{}", table(&rows))?;
        let Some(first) = self.scores.first() else { return Ok(()) };
        let mut rows = vec![vec!["median regret".to_owned(), "candidates".to_owned(), "default".to_owned()]];
        rows[0].extend(self.scores.iter().map(|s| s.strategy.clone()));
        for (i, task) in first.tasks.iter().enumerate() {
            let mut row = vec![task.task.clone(), task.candidates.to_string(), percent(task.default_regret)];
            row.extend(self.scores.iter().map(|s| percent(s.tasks[i].median)));
            rows.push(row);
        }
        write!(f, "\n{}", table(&rows))
    }
}

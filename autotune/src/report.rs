//! What a run of the tuner found, as data and as a table.

use crate::race::Spent;
use jet_cache::Entry;
use serde::Serialize;
use std::fmt;

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A candidate beat the default, and is stored.
    Tuned,
    /// The default stays, and that is stored.
    Default,
    /// A cost model chose, for a device that is not there; that is stored.
    Modelled,
    /// An earlier run had finished it.
    Stored,
    /// Nothing could be found out; nothing is stored.
    Failed,
    /// Time ran out, or the run was stopped, before there was a result.
    NotReached,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tuned => "tuned",
            Self::Default => "default",
            Self::Modelled => "modelled",
            Self::Stored => "stored",
            Self::Failed => "failed",
            Self::NotReached => "not reached",
        })
    }
}

/// A candidate that was not fit to win.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// Its schedule.
    pub schedule: String,
    /// Why.
    pub reason: String,
    /// Whether an earlier run had found that out, and it was not tried this time.
    pub known: bool,
}

/// A candidate that was timed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// Its schedule.
    pub schedule: String,
    /// Its median, by all samples it has.
    pub median_ns: f64,
    /// How many these are.
    pub samples: usize,
}

/// One task's result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskReport {
    /// Short name of the task.
    pub id: String,
    /// What is computed.
    pub task: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in words.
    pub note: String,
    /// The schedule that is used from now on; empty where nothing is stored.
    pub schedule: String,
    /// Nanoseconds of the default.
    pub default_ns: Option<f64>,
    /// Nanoseconds of the schedule that is used.
    pub best_ns: Option<f64>,
    /// Samples behind the latter.
    pub samples: u32,
    /// Bytes per second at least, in the schedule that is used.
    pub bytes_per_second: Option<f64>,
    /// Floating-point operations per second at least.
    pub flops_per_second: Option<f64>,
    /// Legal candidates.
    pub candidates: usize,
    /// Candidates that were timed.
    pub timed: usize,
    /// Those of this run, the default first.
    pub tried: Vec<Tried>,
    /// Relative error of the schedule that is used, against the reference.
    pub rel_rms: Option<f64>,
    /// Candidates that were wrong or could not run.
    pub rejected: Vec<Rejected>,
    /// Candidates that were not tried, since the best was near enough to the bound.
    pub pruned: usize,
    /// Steps that were taken from the journal of an interrupted run.
    pub replayed: usize,
    /// Nanoseconds that a run takes at least, where the device has a roofline.
    pub bound_ns: Option<f64>,
    /// Whether the search ended by itself.
    pub complete: bool,
    /// Where the time went.
    pub seconds: Spent,
}

impl TaskReport {
    /// A result without measurements.
    pub(crate) fn without(id: String, task: String, outcome: Outcome, note: String) -> Self {
        Self {
            id,
            task,
            outcome,
            note,
            schedule: String::new(),
            default_ns: None,
            best_ns: None,
            samples: 0,
            bytes_per_second: None,
            flops_per_second: None,
            candidates: 0,
            timed: 0,
            tried: Vec::new(),
            rel_rms: None,
            rejected: Vec::new(),
            pruned: 0,
            replayed: 0,
            bound_ns: None,
            complete: false,
            seconds: Spent::default(),
        }
    }

    /// The result that a stored entry stands for.
    pub(crate) fn of_entry(entry: &Entry, outcome: Outcome, note: String) -> Self {
        let words = |(name, value): (&String, &i64)| format!("{name}={value}");
        let timing = entry.timing.as_ref();
        let rate = |work: Option<u64>| {
            let seconds = timing?.median_ns * 1e-9;
            work.filter(|work| *work > 0 && seconds > 0.0).map(|work| work as f64 / seconds)
        };
        Self {
            schedule: entry.schedule.iter().map(words).collect::<Vec<_>>().join(" "),
            default_ns: timing.map(|t| t.default_ns),
            best_ns: timing.map(|t| t.median_ns),
            samples: timing.map_or(0, |t| t.samples),
            bytes_per_second: rate(timing.and_then(|t| t.floor_bytes)),
            flops_per_second: rate(timing.and_then(|t| t.floor_flops)),
            candidates: entry.search.candidates as usize,
            timed: entry.search.timed as usize,
            bound_ns: timing.and_then(|t| t.bound_ns),
            rel_rms: entry.evidence.as_ref().map(|e| e.rel_rms),
            complete: entry.search.complete,
            ..Self::without(entry.key.short_id(), entry.key.label(), outcome, note)
        }
    }

    /// How many times faster than the default; 1 without measurements.
    pub fn speedup(&self) -> f64 {
        match (self.default_ns, self.best_ns) {
            (Some(default), Some(best)) if best > 0.0 => default / best,
            _ => 1.0,
        }
    }
}

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// One per task, in order.
    pub tasks: Vec<TaskReport>,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Where they went; the rest is bookkeeping.
    pub spent: Spent,
    /// Whether the run was stopped from outside.
    pub stopped: bool,
    /// Whether the budget ended before the tasks.
    pub out_of_time: bool,
    /// Tasks of which nothing was found out; their records say so.
    pub assumed: usize,
    /// What had to be mended in the store.
    pub notices: Vec<String>,
}

impl Report {
    /// The report of several tuners, the first of which had the tasks 0, n, 2n…, the second 1, n + 1…
    ///
    /// Seconds are those of the longest; what they were spent on is added up.
    pub fn together(parts: Vec<Self>) -> Self {
        let mut all = Self::default();
        let mut queues = Vec::new();
        for part in parts {
            all.seconds = all.seconds.max(part.seconds);
            all.spent.add(part.spent);
            all.stopped |= part.stopped;
            all.out_of_time |= part.out_of_time;
            all.assumed += part.assumed;
            for notice in part.notices {
                if !all.notices.contains(&notice) {
                    all.notices.push(notice);
                }
            }
            queues.push(part.tasks.into_iter());
        }
        loop {
            let before = all.tasks.len();
            all.tasks.extend(queues.iter_mut().filter_map(Iterator::next));
            if all.tasks.len() == before {
                return all;
            }
        }
    }

    /// How many tasks ended so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.tasks.iter().filter(|task| task.outcome == outcome).count()
    }

    /// Candidates that were wrong or could not run, over all tasks.
    pub fn rejected(&self) -> usize {
        self.tasks.iter().map(|task| task.rejected.len()).sum()
    }

    /// Candidates that an earlier run had found to fail, and that were not tried again.
    pub fn known(&self) -> usize {
        self.tasks.iter().flat_map(|task| &task.rejected).filter(|rejected| rejected.known).count()
    }

    /// The geometric mean of the speed-ups of all measured tasks; 1 without any.
    pub fn mean_speedup(&self) -> f64 {
        let logs: Vec<_> =
            self.tasks.iter().filter(|t| t.best_ns.is_some()).map(|t| t.speedup().ln()).collect();
        if logs.is_empty() { 1.0 } else { (logs.iter().sum::<f64>() / logs.len() as f64).exp() }
    }

    /// One line: counts, mean gain, time.
    pub fn summary(&self) -> String {
        let all = [
            Outcome::Tuned,
            Outcome::Default,
            Outcome::Modelled,
            Outcome::Stored,
            Outcome::Failed,
            Outcome::NotReached,
        ];
        let parts = all
            .map(|outcome| (self.count(outcome), outcome))
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, outcome)| format!("{count} {outcome}"));
        format!(
            "{} tasks: {}; mean gain {:.2}x; {:.1} s ({:.1} racing, {:.1} validating, {:.1} setting up){}{}",
            self.tasks.len(),
            parts.collect::<Vec<_>>().join(", "),
            self.mean_speedup(),
            self.seconds,
            self.spent.race,
            self.spent.validate,
            self.spent.setup,
            match self.known() {
                0 => String::new(),
                known => format!("; {known} candidates skipped that are known to fail"),
            } + &match self.assumed {
                0 => String::new(),
                assumed => format!("; {assumed} tasks have the default without a measurement"),
            } + if self.stopped { "; stopped" } else { "" },
            if self.out_of_time { "; out of time" } else { "" },
        )
    }
}

/// Nanoseconds for people.
pub fn time(ns: f64) -> String {
    match ns {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.1} us", n / 1e3),
        n if n < 1e9 => format!("{:.2} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}

const HEADINGS: [&str; 8] = ["task", "outcome", "default", "now", "gain", "GB/s", "tried", "schedule"];

/// The table that `jet-tune` prints: one line per task, what was rejected, and the summary.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dash = || "-".to_owned();
        let mut rows = vec![HEADINGS.map(str::to_owned)];
        rows.extend(self.tasks.iter().map(|t| {
            [
                t.task.clone(),
                t.outcome.to_string(),
                t.default_ns.map_or_else(dash, time),
                t.best_ns.map_or_else(dash, time),
                t.best_ns.map_or_else(dash, |_| format!("{:.2}x", t.speedup())),
                t.bytes_per_second.map_or_else(dash, |b| format!("{:.1}", b / 1e9)),
                format!("{}/{}", t.timed, t.candidates),
                if t.schedule.is_empty() { t.note.clone() } else { t.schedule.clone() },
            ]
        }));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..HEADINGS.len()).map(width).collect();
        for row in &rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                // Numbers to the right, words to the left.
                let pad = " ".repeat(widths[column] - cell.chars().count());
                let number = (2..=6).contains(&column);
                line += &if number { format!("{pad}{cell}  ") } else { format!("{cell}{pad}  ") };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        for task in self.tasks.iter().filter(|task| !task.rejected.is_empty()) {
            writeln!(f, "{} of {} rejected: {}", task.rejected.len(), task.candidates, task.task)?;
            task.rejected.iter().try_for_each(|r| writeln!(f, "  {}: {}", r.schedule, r.reason))?;
        }
        self.notices.iter().try_for_each(|notice| writeln!(f, "note: {notice}"))?;
        writeln!(f, "{}", self.summary())
    }
}

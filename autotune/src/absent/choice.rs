//! The choice among the schedules of one task, by the model.

use super::Counting;
use crate::options::Options;
use crate::progress::{Event, Progress};
use crate::report::{Outcome, Rejected, TaskReport, Tried, time};
use crate::search::{Plan, Space, Trial};
use crate::stats::Random;
use crate::tasks::Task;
use jet_cache::{Entry, Grade, Origin, Provenance, RunnerUp, Search as SearchRecord, Status, Timing};
use jet_codegen::schedule::Values;
use jet_runtime::device::Counted;
use std::collections::BTreeMap;

/// What a candidate must gain by the model to take the default's place: less is inside the model's error.
const LEAST_GAIN: f64 = 0.05;

const NANO: f64 = 1e9;

/// A search by the model.
pub(super) struct Search<'a> {
    pub(super) space: &'a Space,
    pub(super) plan: &'a Plan,
    pub(super) seed: u64,
    /// Whether time or patience has ended.
    pub(super) over: &'a dyn Fn() -> bool,
}

/// What was found.
pub(super) struct Choice {
    /// Those that were counted, the default first.
    counted: Vec<(Values, Counted)>,
    /// The place of the chosen one.
    chosen: usize,
    rejected: Vec<Rejected>,
    floor: (u64, u64),
    /// Whether the search ended by itself.
    complete: bool,
}

impl Search<'_> {
    /// Counts the default, then what the strategy proposes.
    ///
    /// # Errors
    /// The default cannot be counted.
    pub(super) fn run(
        &self,
        subject: &mut dyn Counting,
        progress: &mut dyn Progress,
    ) -> Result<Choice, String> {
        let all = &self.space.candidates;
        let default = all.first().ok_or("no schedule of its family serves it")?;
        let first =
            subject.count(default).map_err(|why| format!("the default schedule ({default}): {why}"))?;
        let mut counted = vec![(default.clone(), first)];
        let (mut rejected, mut complete) = (Vec::new(), true);
        let mut trials = vec![Trial { at: 0, ratio: Some(1.0), samples: 1 }];
        let mut random = Random::new(self.seed);
        let mut strategy = self.plan.strategy.strategy();
        let mut next: Vec<usize> = self.space.hints.clone();
        let room = self.plan.candidates.min(all.len());
        while trials.len() < room && complete {
            if next.is_empty() {
                let size = self.plan.batch.min(room - trials.len());
                next = strategy.propose(self.space, &trials, size, &mut random);
            }
            next.truncate(room - trials.len());
            if next.is_empty() {
                break;
            }
            for at in std::mem::take(&mut next) {
                if (self.over)() {
                    complete = false;
                    break;
                }
                let fit = subject.count(&all[at]).and_then(|c| fits(&c, &first).map(|()| c));
                let ratio = fit.as_ref().ok().map(|c| c.seconds / first.seconds);
                trials.push(Trial { at, ratio, samples: 1 });
                match fit {
                    Ok(c) => counted.push((all[at].clone(), c)),
                    Err(reason) => {
                        rejected.push(Rejected { schedule: all[at].to_string(), reason, known: false })
                    }
                }
            }
            let best = &counted[best(&counted)];
            progress.event(&Event::Round {
                tried: trials.len(),
                racing: counted.len(),
                best: &best.0,
                best_seconds: best.1.seconds,
                default_seconds: first.seconds,
                bound_seconds: None,
            });
        }
        let fastest = best(&counted);
        let gains = counted[fastest].1.seconds <= first.seconds * (1.0 - LEAST_GAIN);
        let chosen = if gains { fastest } else { 0 };
        Ok(Choice { counted, chosen, rejected, floor: subject.floor(), complete })
    }
}

/// The place of the fastest; the first of equals.
fn best(counted: &[(Values, Counted)]) -> usize {
    let fastest = counted.iter().enumerate().min_by(|a, b| a.1.1.seconds.total_cmp(&b.1.1.seconds));
    fastest.map_or(0, |(at, _)| at)
}

/// Whether the assembler found registers for a candidate; not asked of one that spills no more than the default.
fn fits(candidate: &Counted, default: &Counted) -> Result<(), String> {
    if !candidate.seconds.is_finite() {
        return Err("the model has no time for it".to_owned());
    }
    match candidate.spilled_bytes {
        bytes if bytes > default.spilled_bytes => Err(format!(
            "its registers run out: a thread spills {bytes} bytes with {} registers",
            candidate.registers
        )),
        _ => Ok(()),
    }
}

impl Choice {
    fn winner(&self) -> &(Values, Counted) {
        &self.counted[self.chosen]
    }

    /// The best of the others.
    fn runner_up(&self) -> Option<&(Values, Counted)> {
        let others = self.counted.iter().enumerate().filter(|(at, _)| *at != self.chosen).map(|(_, c)| c);
        others.min_by(|a, b| a.1.seconds.total_cmp(&b.1.seconds))
    }

    /// Why this schedule, in words that can be checked.
    pub(super) fn reason(&self, gpu: &str) -> String {
        let (_, c) = self.winner();
        let (roof, seconds) = c.roofs.highest();
        let of = match c.ran < c.ctas {
            true => format!("counts of {} of {} CTAs, scaled by the grid", c.ran, c.ctas),
            false => format!("counts of all {} CTAs", c.ctas),
        };
        let mut text = format!(
            "by the cost model for {gpu}; nothing ran there. {}, bound by {roof} ({}); an SM holds {} CTAs, {} registers a \
             thread; {of}",
            time(c.seconds * NANO),
            time(seconds * NANO),
            c.resident,
            c.registers,
        );
        if self.chosen > 0 {
            text += &format!("; the default takes {}", time(self.counted[0].1.seconds * NANO));
        }
        if let Some((values, other)) = self.runner_up() {
            text += &format!("; next best {} with {values}", time(other.seconds * NANO));
        }
        text
    }

    /// The record of it, without time and reason.
    pub(super) fn entry(&self, task: &Task, options: &Options, legal: usize) -> Entry {
        let (values, c) = self.winner();
        let ns = c.seconds * NANO;
        let runner_up = self
            .runner_up()
            .map(|(values, other)| RunnerUp { schedule: values.0.clone(), median_ns: other.seconds * NANO });
        let (bytes, flops) = self.floor;
        let above_zero = |n: u64| Some(n).filter(|n| *n > 0);
        Entry {
            key: task.key.clone(),
            schedule: values.0.clone(),
            status: Status::Modelled,
            grade: Grade::Modelled,
            origin: Origin::Local,
            evidence: None,
            timing: Some(Timing {
                samples: 0,
                median_ns: ns,
                p10_ns: ns,
                p90_ns: ns,
                default_ns: self.counted[0].1.seconds * NANO,
                runner_up,
                floor_bytes: above_zero(bytes),
                floor_flops: above_zero(flops),
                bound_ns: None,
                conditions: BTreeMap::new(),
            }),
            search: SearchRecord {
                effort: options.effort.name().to_owned(),
                candidates: legal as u32,
                timed: self.counted.len() as u32,
                rejected: self.rejected.len() as u32,
                complete: self.complete,
            },
            soft: BTreeMap::new(),
            provenance: Provenance {
                jet: options.jet.clone(),
                command: options.command.clone(),
                host: options.host.clone(),
                ..Provenance::default()
            },
            cubins: Vec::new(),
            pinned: false,
        }
    }

    /// What a person sees of it.
    pub(super) fn describe(&self, entry: &Entry) -> TaskReport {
        let (_, c) = self.winner();
        let mut note = format!("bound by {}", c.roofs.highest().0);
        if self.chosen == 0 {
            note += "; the default, as no gain is beyond the model's error";
        }
        if !self.complete {
            note += "; the search did not end";
        }
        let tried = |(values, c): &(Values, Counted)| Tried {
            schedule: values.to_string(),
            median_ns: c.seconds * NANO,
            samples: 0,
        };
        TaskReport {
            tried: self.counted.iter().map(tried).collect(),
            rejected: self.rejected.clone(),
            ..TaskReport::of_entry(entry, Outcome::Modelled, note)
        }
    }
}

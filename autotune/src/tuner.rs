//! The pipeline: for each task that is not finished yet, race, decide, confirm, commit.
//!
//! The winner of a race among many is in part the luckiest, so it runs against the default once more, and only
//! those samples decide. What is committed is complete in itself; a run that is stopped, killed or out of time loses only the
//! task it was at.

use crate::clock::Clock;
use crate::decide::{Decision, LEAST_SAMPLES, Verdict, decide};
use crate::error::TuneError;
use crate::options::Options;
use crate::progress::{Event, Progress};
use crate::race::{End, Lane, Spent, Standing, Track, race};
use crate::report::{Outcome, Rejected, Report, TaskReport, Tried};
use crate::search::contest::contest;
use crate::search::{self, Plan, Space};
use crate::stats::quantile;
use crate::subject::{Subject, Workbench};
use crate::tasks::Task;
use jet_cache::merge::effort_rank;
use jet_cache::{
    Entry, Evidence, Grade, NamedIntegers, Origin, Overlay, Provenance, RunnerUp, Search, Status, Timing,
};
use jet_codegen::schedule::Values;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Part of a task's time that the race may take; the rest is for the confirmation.
const RACE_SHARE: f64 = 0.75;

/// A tuner for one device.
pub struct Tuner<'a> {
    bench: &'a dyn Workbench,
    clock: &'a dyn Clock,
    stop: &'a AtomicBool,
    options: Options,
}

/// What a task's race has come to.
struct Raced {
    lanes: Vec<Lane>,
    decision: Decision,
    /// The samples that decided: the confirmation's where there was one. Default first, then the candidate.
    judged: Vec<Lane>,
    complete: bool,
    floor: (u64, u64),
}

impl<'a> Tuner<'a> {
    /// A tuner that works on `bench`, by `clock`, until `stop` is set.
    pub fn new(
        bench: &'a dyn Workbench,
        clock: &'a dyn Clock,
        stop: &'a AtomicBool,
        options: Options,
    ) -> Self {
        Self { bench, clock, stop, options }
    }

    /// Tunes `tasks` in order and commits each to `overlay` as soon as it is finished.
    ///
    /// # Errors
    /// [`TuneError::UnknownFamily`] before anything is done; [`TuneError::Cache`] where a result cannot be stored. What was
    /// committed before stays.
    pub fn run(
        &self,
        tasks: &[Task],
        overlay: &mut Overlay,
        progress: &mut dyn Progress,
    ) -> Result<Report, TuneError> {
        self.check_families(tasks)?;
        let begun = self.clock.now();
        let end = self.options.budget.map(|budget| begun + budget);
        let mut open = tasks.iter().filter(|task| self.finished(task, overlay).is_none()).count();
        progress.event(&Event::Planned { tasks: tasks.len(), stored: tasks.len() - open });
        let mut report = Report { notices: overlay.notices().to_vec(), ..Report::default() };
        for (index, task) in tasks.iter().enumerate() {
            let done = match self.finished(task, overlay) {
                Some(entry) => {
                    TaskReport::of_entry(entry, Outcome::Stored, "found by an earlier run".to_owned())
                }
                None => {
                    let deadline = end.map(|end| self.share(end, open));
                    open -= 1;
                    let place = Place { index, tasks: tasks.len(), deadline };
                    self.task(task, &place, overlay, progress)?
                }
            };
            progress.event(&Event::TaskFinished { index, tasks: tasks.len(), report: &done });
            report.spent.add(done.seconds);
            report.tasks.push(done);
        }
        if let Some(end) = end {
            self.use_what_is_left(tasks, end, &mut report, overlay, progress)?;
        }
        report.seconds = (self.clock.now() - begun).as_secs_f64();
        report.stopped = self.stop.load(Ordering::Relaxed);
        report.out_of_time = !report.stopped && report.tasks.iter().any(cut_short);
        Ok(report)
    }

    /// Gives the time that the others did not need to the tasks whose share was too short, once each.
    fn use_what_is_left(
        &self,
        tasks: &[Task],
        end: Duration,
        report: &mut Report,
        overlay: &mut Overlay,
        progress: &mut dyn Progress,
    ) -> Result<(), TuneError> {
        let again: Vec<usize> =
            (0..report.tasks.len()).filter(|index| cut_short(&report.tasks[*index])).collect();
        for (done, &index) in again.iter().enumerate() {
            let deadline = self.share(end, again.len() - done);
            let share = (deadline.saturating_sub(self.clock.now())).as_secs_f64();
            // A share no longer than the first would only give the same unfinished answer again.
            if share <= report.tasks[index].seconds.total() {
                continue;
            }
            let place = Place { index, tasks: tasks.len(), deadline: Some(deadline) };
            let second = self.task(&tasks[index], &place, overlay, progress)?;
            report.spent.add(second.seconds);
            if second.outcome != Outcome::NotReached {
                progress.event(&Event::TaskFinished { index, tasks: tasks.len(), report: &second });
                report.tasks[index] = second;
            }
        }
        Ok(())
    }

    fn check_families(&self, tasks: &[Task]) -> Result<(), TuneError> {
        let Some(task) = tasks.iter().find(|t| self.bench.family(&t.problem.family).is_none()) else {
            return Ok(());
        };
        let known: Vec<_> = self.bench.families().iter().map(|family| family.name()).collect();
        Err(TuneError::UnknownFamily {
            task: task.problem.to_string(),
            family: task.problem.family.clone(),
            known: known.join(", "),
        })
    }

    /// The entry of a task that needs no more work: complete, by this effort or a higher one, still legal, and not by the cost
    /// model alone.
    fn finished<'o>(&self, task: &Task, overlay: &'o Overlay) -> Option<&'o Entry> {
        let ran = |entry: &&Entry| entry.status != Status::Modelled || entry.evidence.is_some();
        let entry = overlay.get(task.key.store_key()).filter(ran)?;
        let legal = || {
            self.bench
                .family(&task.problem.family)?
                .legal(&task.problem, &Values(entry.schedule.clone()))
                .ok()
        };
        let thorough = effort_rank(&entry.search.effort) >= effort_rank(self.options.effort.name());
        (!self.options.again && entry.search.complete && thorough && legal().is_some()).then_some(entry)
    }

    /// When a task must end that is the next of `open`: the time left is shared equally, and what one does not need goes to
    /// those after it.
    fn share(&self, end: Duration, open: usize) -> Duration {
        let now = self.clock.now();
        now + end.saturating_sub(now) / u32::try_from(open.max(1)).unwrap_or(u32::MAX)
    }

    fn task(
        &self,
        task: &Task,
        place: &Place,
        overlay: &mut Overlay,
        progress: &mut dyn Progress,
    ) -> Result<TaskReport, TuneError> {
        let ended = |outcome, note: &str| {
            TaskReport::without(task.key.short_id(), task.key.label(), outcome, note.to_owned())
        };
        if self.stop.load(Ordering::Relaxed) {
            return Ok(ended(Outcome::NotReached, "stopped before"));
        }
        if place.deadline.is_some_and(|deadline| self.clock.now() >= deadline) {
            return Ok(ended(Outcome::NotReached, "the budget ended before"));
        }
        let Some(family) = self.bench.family(&task.problem.family) else {
            return Ok(ended(Outcome::Failed, "no such family"));
        };
        let space = Space::new(family, &task.problem, &search::known(overlay, &task.key));
        let legal = space.candidates.len();
        let plan = Plan::of(self.options.effort, self.options.strategy, legal);
        progress.event(&Event::TaskStarted {
            index: place.index,
            tasks: place.tasks,
            label: &task.problem.to_string(),
            candidates: plan.candidates,
        });
        let mut watch = |lanes: &[Lane]| report_round(lanes, progress);
        let mut track = Track {
            clock: self.clock,
            deadline: place.deadline,
            stop: self.stop,
            watch: &mut watch,
            spent: Spent::default(),
        };
        let raced = self.race_and_confirm(task, &space, &plan, &mut track);
        let spent = track.spent;
        let mut report = match raced {
            Ok(Some(raced)) => {
                let entry = self.entry(task, &raced, legal);
                let report = describe(&entry, &raced);
                tracing::info!(task = %task.problem, schedule = %report.schedule, gain = report.speedup(), "tuned");
                overlay.commit(entry)?;
                report
            }
            Ok(None) => ended(Outcome::NotReached, "stopped or out of time before there was a result"),
            Err(reason) => ended(Outcome::Failed, &reason),
        };
        report.seconds = spent;
        Ok(report)
    }

    /// Sets the task up, searches its space and lets the winner run against the default once more. `None` where time or
    /// patience ended before there was anything to tell; an error where the default itself is wrong.
    fn race_and_confirm(
        &self,
        task: &Task,
        space: &Space,
        plan: &Plan,
        track: &mut Track<'_>,
    ) -> Result<Option<Raced>, String> {
        let begun = self.clock.now();
        let mut subject = self.bench.open(&task.problem)?;
        track.spent.setup += (self.clock.now() - begun).as_secs_f64();
        let end = track.deadline;
        track.deadline = end.map(|end| begun + end.saturating_sub(begun).mul_f64(RACE_SHARE));
        let mut strategy = plan.strategy.strategy();
        let held = contest(&mut *subject, space, &mut *strategy, plan, task.seed(), track);
        let (finals, how) = (held.final_lanes(), held.end);
        if let Standing::Rejected(reason) = &held.lanes[0].standing {
            return Err(format!("the default schedule ({}) cannot be used: {reason}", held.lanes[0].values));
        }
        track.deadline = end;
        let Some(decision) = decide(&finals, task.seed()).filter(|_| how != End::Stopped) else {
            return Ok(None);
        };
        // Deciding saw the finalists only; what is kept tells of all.
        let place = |at: usize| held.finalists[at];
        let decision = Decision {
            winner: place(decision.winner),
            ties: decision.ties.iter().map(|at| place(*at)).collect(),
            runner_up: decision.runner_up.map(place),
            ..decision
        };
        let (lanes, floor, complete) = (held.lanes, subject.floor(), how == End::Complete);
        if decision.verdict != Verdict::Faster {
            let judged = vec![lanes[0].clone()];
            return Ok(Some(Raced { lanes, decision, judged, complete, floor }));
        }
        Ok(confirm(&mut *subject, lanes, decision, plan, task.seed(), track).map(|raced| Raced {
            complete: complete && raced.complete,
            floor,
            ..raced
        }))
    }

    fn entry(&self, task: &Task, raced: &Raced, legal: usize) -> Entry {
        let rejected =
            raced.lanes.iter().filter(|lane| matches!(lane.standing, Standing::Rejected(_))).count();
        let timed = raced.lanes.iter().filter(|lane| !lane.samples.is_empty()).count();
        let winner = &raced.lanes[raced.decision.winner];
        let errors = winner.errors.unwrap_or_default();
        Entry {
            key: task.key.clone(),
            schedule: winner.values.0.clone(),
            status: Status::Verified,
            grade: Grade::Measured,
            origin: Origin::Local,
            evidence: Some(Evidence {
                reference: self.bench.reference(),
                max_abs: errors.max_abs,
                rel_rms: errors.rel_rms,
                tolerance: errors.allowed,
                mean_abs: None,
                max_ulp: None,
                inputs_seed: None,
            }),
            timing: Some(timing(raced)),
            search: Search {
                effort: self.options.effort.name().to_owned(),
                candidates: legal as u32,
                timed: timed as u32,
                rejected: rejected as u32,
                complete: raced.complete,
            },
            soft: self.options.soft.clone(),
            provenance: Provenance {
                jet: self.options.jet.clone(),
                command: self.options.command.clone(),
                time: self.clock.date(),
                host: self.options.host.clone(),
                reason: String::new(),
            },
            cubins: Vec::new(),
            pinned: false,
        }
    }
}

/// Whether the task's time ended before its search did.
fn cut_short(task: &TaskReport) -> bool {
    !task.complete && task.outcome != Outcome::Failed
}

/// Where a task stands in its run.
struct Place {
    index: usize,
    tasks: usize,
    deadline: Option<Duration>,
}

/// The default against the winner, on fresh samples, and on more of them while noise leaves the answer open. Where they do
/// not show a gain, the default wins after all.
fn confirm(
    subject: &mut dyn Subject,
    lanes: Vec<Lane>,
    decision: Decision,
    plan: &Plan,
    seed: u64,
    track: &mut Track<'_>,
) -> Option<Raced> {
    let rules = plan.confirmation();
    let mut judged = vec![lanes[0].again(), lanes[decision.winner].again()];
    let (mut second, mut complete) = (None, false);
    for again in 0..=plan.extra {
        let duel = judged.iter().map(Lane::again).collect();
        let (ran, how) = race(subject, duel, &rules, track);
        if how == End::Stopped {
            return None;
        }
        judged.iter_mut().zip(ran).for_each(|(lane, ran)| lane.join(ran, again * rules.rounds));
        // Time that ends while the noise is being looked through leaves what was found before.
        complete |= how == End::Complete;
        let enough = judged.iter().all(|lane| lane.samples.len() >= LEAST_SAMPLES);
        second = decide(&judged, !seed).filter(|_| enough);
        let open = second.as_ref().is_some_and(|d| d.verdict == Verdict::InsideTheNoise);
        if how != End::Complete || !open {
            break;
        }
    }
    let (decision, judged) = match second {
        Some(second) if second.winner == 1 => (Decision { ratio: second.ratio, ..decision }, judged),
        Some(second) => {
            let runner_up = Some(decision.winner);
            (Decision { winner: 0, ties: vec![0], runner_up, ..second }, vec![judged[0].clone()])
        }
        // Without a confirmation the gain is a guess.
        None => {
            let runner_up = Some(decision.winner);
            let verdict = Verdict::InsideTheNoise;
            (Decision { winner: 0, ties: vec![0], runner_up, verdict, ..decision }, vec![lanes[0].clone()])
        }
    };
    Some(Raced { lanes, decision, judged, complete, floor: (0, 0) })
}

const NANO: f64 = 1e9;

fn timing(raced: &Raced) -> Timing {
    let winner = raced.judged.last().expect("the default at least was judged").times();
    let ns = |q| quantile(&winner, q) * NANO;
    let work = |amount: u64| (amount > 0).then_some(amount);
    Timing {
        samples: winner.len() as u32,
        median_ns: ns(0.5),
        p10_ns: ns(0.1),
        p90_ns: ns(0.9),
        default_ns: raced.judged[0].median() * NANO,
        runner_up: raced.decision.runner_up.map(|at| RunnerUp {
            schedule: NamedIntegers::clone(&raced.lanes[at].values.0),
            median_ns: raced.lanes[at].median() * NANO,
        }),
        floor_bytes: work(raced.floor.0),
        floor_flops: work(raced.floor.1),
        bound_ns: None,
        conditions: BTreeMap::new(),
    }
}

fn describe(entry: &Entry, raced: &Raced) -> TaskReport {
    let outcome = if raced.decision.winner == 0 { Outcome::Default } else { Outcome::Tuned };
    let rejected = |lane: &Lane| match &lane.standing {
        Standing::Rejected(reason) => {
            Some(Rejected { schedule: lane.values.to_string(), reason: reason.clone() })
        }
        _ => None,
    };
    let tried = |lane: &Lane| {
        (!lane.samples.is_empty()).then(|| Tried {
            schedule: lane.values.to_string(),
            median_ns: lane.median() * NANO,
            samples: lane.samples.len(),
        })
    };
    let mut note = raced.decision.verdict.words().to_owned();
    if !raced.complete {
        note += "; the search did not end";
    }
    TaskReport {
        rejected: raced.lanes.iter().filter_map(rejected).collect(),
        tried: raced.lanes.iter().filter_map(tried).collect(),
        ..TaskReport::of_entry(entry, outcome, note)
    }
}

fn report_round(lanes: &[Lane], progress: &mut dyn Progress) {
    let timed = |lane: &&Lane| lane.standing == Standing::Racing && !lane.samples.is_empty();
    let Some(best) = lanes.iter().filter(timed).min_by(|a, b| a.median().total_cmp(&b.median())) else {
        return;
    };
    progress.event(&Event::Round {
        tried: lanes.iter().filter(|lane| lane.standing != Standing::Waiting).count(),
        racing: lanes.iter().filter(|lane| lane.standing == Standing::Racing).count(),
        best: &best.values,
        best_seconds: best.median(),
        default_seconds: lanes[0].median(),
    });
}

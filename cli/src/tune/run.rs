//! `jet-tune run`: races the schedules of a model's tasks and stores the winners.

use super::bars::Bars;
use super::machine::{IsolationArgs, Machine, duration};
use super::page::Page;
use crate::common::args::{DeviceArgs, RandomArgs, TARGET};
use crate::common::exit::{DEGRADED, FAILURE, INTERRUPTED, Usage};
use crate::common::output;
use crate::common::signal::Graceful;
use anyhow::Result;
use clap::Args;
use jet_autotune::book::Shared;
use jet_autotune::clock::SystemClock;
use jet_autotune::estimate::{Planned, estimate};
use jet_autotune::fleet::{self, Shard};
use jet_autotune::html::About;
use jet_autotune::search::Kind as Strategy;
use jet_autotune::worker::PlanAsk;
use jet_autotune::{
    Effort, Event, Journal, Options, Outcome, Progress, Report, Task, TuneError, Tuner, parse_budget,
};
use jet_cache::{Digest, Grade, Overlay, folders};
use jet_models::session::{Arithmetic, DEFAULT_PIECE, Schedules};
use jet_models::target::Target;
use jet_runtime::device::{self, token_buckets};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Tune a model for a device: time the candidates of each of its kernels, check each winner against the reference, and
/// store it where later sessions find it.
///
/// Candidates run in a worker process, so one that crashes or hangs costs itself only, and is not tried again by later runs.
/// Every finished task is stored at once, so a run that is stopped goes on where it was; with `--resume` it also goes
/// on within the task. However a run ends, every task has a record afterwards: of one that was not reached it
/// says that nothing was measured. A target without weights is tuned with random weights of the true shapes.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet-tune run model.gguf --budget 3m
  jet-tune run models/src/presets/tiny_hybrid.rs --device cpu --effort full
  jet-tune run model.gguf --resume
  jet-tune run model.gguf --device cuda:0,cuda:1
  srun -n 8 jet-tune run model.gguf --fleet /shared/tune     # then: jet-tune merge FOLDERS -o all.jetpack

Exit codes: 0 all tasks have a result, 1 a task failed, 2 usage, 3 time ran out before some tasks, 130 stopped.")]
pub(crate) struct RunArgs {
    #[arg(help = TARGET)]
    target: String,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    random: RandomArgs,
    /// Time for all tasks together, as in 90s, 3m, 1h.
    #[arg(long, value_name = "TIME", value_parser = budget)]
    budget: Option<Duration>,
    /// How thorough: `none` only times the defaults, `quick` tries some candidates, `full` all of them.
    #[arg(long, default_value = "quick", value_name = "EFFORT", value_parser = effort)]
    effort: Effort,
    /// End a task's search when its best is within so many per cent of its roofline bound, where it has one.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    stop_within: Option<f64>,
    /// Token counts to tune for, separated by commas; the default is those that a session meets.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    tokens: Vec<usize>,
    /// Tune again what is stored already.
    #[arg(long)]
    again: bool,
    /// How candidates are chosen: exhaustive, random, evolve or guided; the default is the effort's own way.
    #[arg(long, value_name = "NAME")]
    strategy: Option<Strategy>,
    /// Try candidates again that an earlier run found to fail.
    #[arg(long)]
    retry_failed: bool,
    /// Go on within the task at which the last run was stopped or killed.
    #[arg(long)]
    resume: bool,
    /// Where to write the report as one page for a browser; the default is `reports` in jet's cache folder.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Only list the tasks, with an estimate of the time.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(flatten)]
    isolation: IsolationArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which part of the work is this process's.
#[derive(Clone, Debug, Args)]
struct FleetArgs {
    /// Tune only part I of N (from 0), into a store of its own. The default is what SLURM, MPI, torchrun or an indexed job say
    /// of this process; 0/1 is all of it.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<Shard>,
    /// How many processes there are, where the launcher does not say it (JOB_COMPLETION_INDEX).
    #[arg(long, value_name = "N", conflicts_with = "shard")]
    shards: Option<usize>,
    /// A folder that all ranks share: they compare their plans there before they begin.
    #[arg(long, value_name = "FOLDER")]
    fleet: Option<PathBuf>,
    /// How long the other ranks are waited for.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    fleet_wait: Duration,
}

pub(super) fn budget(text: &str) -> Result<Duration, String> {
    parse_budget(text).map_err(|e| e.to_string())
}

pub(super) fn effort(text: &str) -> Result<Effort, String> {
    text.parse().map_err(|e: TuneError| e.to_string())
}

fn shard(text: &str) -> Result<Shard, String> {
    text.parse().map_err(|e: TuneError| e.to_string())
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').parse().ok().filter(|p| (0.0..1000.0).contains(p));
    number
        .map(|p: f64| p / 100.0)
        .ok_or_else(|| format!("`{text}` is no percentage; write 5 for five per cent"))
}

#[derive(Serialize)]
struct Tuned<'a> {
    model: &'a str,
    weights: &'a str,
    random_seed: Option<u64>,
    device: String,
    precision: String,
    effort: &'static str,
    grade: Grade,
    plan: String,
    shard: Shard,
    store: String,
    mean_speedup: f64,
    /// The page for a browser.
    page: Option<&'a Path>,
    #[serde(flatten)]
    report: &'a Report,
}

/// What a dry run prints.
#[derive(Serialize)]
struct Plan {
    plan: String,
    shard: Shard,
    device: String,
    effort: &'static str,
    /// About how long it takes; never more than the budget.
    seconds: f64,
    tasks: Vec<Planned>,
}

/// What is tuned: a model with stored or with random weights.
struct Subject {
    target: Target,
    seed: Option<u64>,
    weights: String,
    /// The arithmetic, for a person.
    recipe: String,
    ask: PlanAsk,
}

impl Subject {
    fn of(args: &RunArgs) -> Result<Self> {
        let mut tokens = args.tokens.clone();
        if tokens.contains(&0) {
            return Err(Usage("--tokens has a 0; a batch has at least one token".to_owned()).into());
        }
        if tokens.is_empty() {
            tokens = token_buckets(DEFAULT_PIECE);
        }
        let target = Target::resolve(&args.target)?;
        let seed = match args.random.random {
            None if target.has_weights() => None,
            given => Some(given.unwrap_or(0)),
        };
        let weights = match seed {
            Some(seed) => format!("random weights (seed {seed})"),
            None => target.place().to_string(),
        };
        let recipe = match &args.device.precision {
            Arithmetic::Given(recipe) => recipe.clone(),
            Arithmetic::Tuned => {
                let first = args.device.device.split(',').next().unwrap_or_default().trim();
                let device = device::open(first, args.device.threads)?;
                args.device.recipe(&*device, &target, &args.random, &Schedules::default().open())?
            }
        };
        let ask = PlanAsk {
            target: args.target.clone(),
            random: seed.is_some(),
            random_format: args.random.random_format.name().to_owned(),
            precision: recipe.default_precision().name().to_owned(),
            parts: recipe.exceptions().map(|(part, p)| (part.to_string(), p.name().to_owned())).collect(),
            tokens,
        };
        Ok(Self { target, seed, weights, recipe: recipe.to_string(), ask })
    }
}

/// The machines, all of one kind, and the tasks that they have in common.
struct Fleet {
    machines: Vec<Machine>,
    tasks: Vec<Task>,
    plan: Digest,
    shard: Shard,
}

impl Fleet {
    fn of(args: &RunArgs, ask: &PlanAsk, notes: bool) -> Result<Self> {
        let shard = args.fleet.shard(notes)?;
        let names: Vec<&str> = args.device.device.split(',').map(str::trim).collect();
        let twice = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
        if let Some((_, name)) = twice {
            return Err(Usage(format!(
                "--device names {name} twice; two tuners on it would disturb each other"
            ))
            .into());
        }
        let mut machines = Vec::new();
        for name in &names {
            machines.push(Machine::open(name, args.device.threads, &args.isolation)?);
        }
        let first = machines[0].description();
        if let Some(other) = machines.iter().map(Machine::description).find(|other| other.hard != first.hard)
        {
            let reason = format!(
                "{} and {} are different devices ({}; {}): what is fast on one says nothing of the other, so tune \
                 them one after the other",
                first.name, other.name, first.describe, other.describe
            );
            return Err(Usage(reason).into());
        }
        let all = machines[0].plan(ask)?;
        Ok(Self { plan: fleet::plan_hash(&all, args.effort), tasks: shard.of(&all), machines, shard })
    }

    /// The devices as on the command line, with the part where there are several.
    fn name(&self) -> String {
        let all: Vec<&str> = self.machines.iter().map(|m| m.description().name.as_str()).collect();
        match self.shard {
            Shard { count: 1, .. } => all.join("-"),
            Shard { index, count } => format!("{}-{index}-of-{count}", all.join("-")),
        }
    }

    fn describe(&self) -> String {
        let all: Vec<&str> = self.machines.iter().map(|m| m.description().describe.as_str()).collect();
        match all.len() {
            1 => all[0].to_owned(),
            many => format!("{many} devices: {}", all.join("; ")),
        }
    }

    /// Where this rank stores what it finds.
    fn store(&self) -> Result<PathBuf> {
        let folder = folders::schedules_folder()?;
        Ok(match self.shard {
            Shard { count: 1, .. } => folder,
            Shard { index, count } => folder.with_file_name(format!("schedules-{index}-of-{count}")),
        })
    }
}

impl FleetArgs {
    fn shard(&self, notes: bool) -> Result<Shard> {
        if let Some(shard) = self.shard {
            return Ok(shard);
        }
        let found = Shard::from_environment(&|name| std::env::var(name).ok(), self.shards)?;
        match found {
            Some((shard, variable)) if shard.count > 1 => {
                if notes {
                    output::complain(&format!(
                        "{variable} says that this is part {shard}; --shard 0/1 takes all"
                    ));
                }
                Ok(shard)
            }
            Some(_) | None => Ok(Shard::ALL),
        }
    }
}

pub(crate) fn run(args: &RunArgs, notes: bool) -> Result<ExitCode> {
    let subject = Subject::of(args)?;
    let mut fleet = Fleet::of(args, &subject.ask, notes)?;
    let plan = fleet.plan.to_string();
    let (model, weights) = (&subject.target.spec().name, &subject.weights);
    if args.dry_run {
        dry_run(args, &fleet)?;
        return Ok(ExitCode::SUCCESS);
    }
    let page = Page::place(args.report.as_deref(), model, &fleet.name())?;
    if notes {
        output::complain(&format!(
            "{model}, {weights}, on {}, plan {}",
            fleet.describe(),
            fleet::short(&plan)
        ));
    }
    if let Some(folder) = &args.fleet.fleet {
        fleet::meet(folder, fleet.shard, &fleet.plan, args.fleet.fleet_wait)?;
    }
    let folder = fleet.store()?;
    let overlay = Overlay::open(&folder, env!("CARGO_PKG_VERSION"))?;
    // What is on another device than this processor may take the machine with it.
    let durable = fleet.machines[0].description().name != "cpu";
    let journal = Journal::open(&folder, args.resume, durable, &command_line())?;
    journal.notices().iter().filter(|_| notes).for_each(|n| output::complain(&format!("note: {n}")));
    let report = tune(args, &mut fleet, overlay, journal, notes)?;
    let grade = fleet.machines[0].description().grade;
    // A device that is emulated has no clock: its times are the model's.
    let times = if grade == Grade::Measured { "measured" } else { "modelled" };
    let facts = [("weights", weights.clone()), ("command", command_line()), ("plan", plan.clone())];
    let about = About {
        model: model.to_string(),
        device: fleet.describe(),
        grade: times.to_owned(),
        facts: facts.map(|(name, value)| (name.to_owned(), value)).into(),
    };
    let page = page.write(&report, &about)?;
    if args.json {
        output::json(&Tuned {
            model,
            weights,
            random_seed: subject.seed,
            device: fleet.describe(),
            precision: subject.recipe.clone(),
            effort: args.effort.name(),
            grade,
            plan,
            shard: fleet.shard,
            store: folder.display().to_string(),
            mean_speedup: report.mean_speedup(),
            page,
            report: &report,
        })?;
    } else {
        let how = match grade {
            Grade::Measured => "measured on",
            _ => "outputs compared and times modelled on",
        };
        let head = format!("{model}, {weights}, {how} {}\n", fleet.describe());
        let merge = match fleet.shard.count {
            1 => String::new(),
            _ => format!("part {} of plan {} is in {}\n", fleet.shard, fleet::short(&plan), folder.display()),
        };
        output::print(&format!("{head}\n{report}{merge}"))?;
    }
    if let Some(file) = page.filter(|_| notes) {
        output::complain(&format!("the report as a page: {}", file.display()));
    }
    Ok(code(&report))
}

/// Tunes the fleet's tasks: every machine its share, all into one store.
fn tune(
    args: &RunArgs,
    fleet: &mut Fleet,
    overlay: Overlay,
    journal: Journal,
    notes: bool,
) -> Result<Report> {
    let options = Options {
        effort: args.effort,
        budget: args.budget,
        again: args.again,
        retry_failed: args.retry_failed,
        stop_within: args.stop_within,
        strategy: args.strategy,
        command: command_line(),
        jet: env!("CARGO_PKG_VERSION").to_owned(),
        soft: fleet.machines[0].description().soft.clone(),
        ..Options::default()
    };
    let stop = Graceful::new();
    let (overlay, journal) = (Mutex::new(overlay), Mutex::new(journal));
    let bars = Mutex::new(Bars::new(notes));
    let Fleet { machines, tasks: all, .. } = fleet;
    let (count, flag): (usize, &AtomicBool) = (machines.len(), stop.flag());
    let one = |at: usize, machine: &Machine| {
        let tasks = Shard { index: at, count }.of(all);
        let mut part = Part { bars: &bars, index: at, count, tasks: all.len() };
        let clock = SystemClock::default();
        machine.work(|bench| {
            let tuner = Tuner::new(bench, &clock, flag, options.clone()).journalled(&journal);
            tuner.run(&tasks, &mut Shared(&overlay), &mut part)
        })
    };
    let results = match &mut machines[..] {
        [machine] => vec![one(0, machine)],
        machines => together(machines, &one),
    };
    // The bars go before anything else is written.
    drop(bars);
    let mut reports = Vec::new();
    for result in results {
        reports.push(result?);
    }
    let report = Report::together(reports);
    if !report.stopped && !report.out_of_time {
        journal.into_inner().unwrap_or_else(PoisonError::into_inner).finish()?;
    }
    Ok(report)
}

/// Each machine on a thread of its own.
fn together(
    machines: &mut [Machine],
    one: &(dyn Fn(usize, &Machine) -> Result<Report, TuneError> + Sync),
) -> Vec<Result<Report, TuneError>> {
    std::thread::scope(|scope| {
        // A worker's line is one thread's alone, so each machine goes to its thread as a whole.
        let running: Vec<_> = machines
            .iter_mut()
            .enumerate()
            .map(|(at, machine)| scope.spawn(move || one(at, machine)))
            .collect();
        running.into_iter().map(|thread| thread.join().expect("a tuner does not panic")).collect()
    })
}

/// The progress of one machine among several.
struct Part<'a> {
    bars: &'a Mutex<Bars>,
    index: usize,
    count: usize,
    tasks: usize,
}

impl Progress for Part<'_> {
    fn event(&mut self, event: &Event<'_>) {
        let all = |index: usize| index * self.count + self.index;
        let event = match *event {
            Event::Planned { stored, .. } => Event::Planned { tasks: self.tasks, stored },
            Event::TaskStarted { index, label, candidates, .. } => {
                Event::TaskStarted { index: all(index), tasks: self.tasks, label, candidates }
            }
            Event::TaskFinished { index, report, .. } => {
                Event::TaskFinished { index: all(index), tasks: self.tasks, report }
            }
            round @ Event::Round { .. } => round,
        };
        self.bars.lock().unwrap_or_else(PoisonError::into_inner).event(&event);
    }
}

fn dry_run(args: &RunArgs, fleet: &Fleet) -> Result<()> {
    // Nothing is locked and nothing made: this may run beside a tuner.
    let records: Vec<_> =
        Overlay::detached(&fleet.store()?, env!("CARGO_PKG_VERSION"))?.entries().cloned().collect();
    let tasks: Vec<Planned> = fleet.machines[0].work(|bench| {
        let planned = |task: &Task| {
            let family = bench.family(&task.problem.family)?;
            Some(estimate(family, task, args.effort, args.again, &records))
        };
        fleet.tasks.iter().filter_map(planned).collect()
    });
    let whole = tasks.iter().map(|t| t.seconds).sum::<f64>() / fleet.machines.len() as f64;
    let seconds = args.budget.map_or(whole, |budget| whole.min(budget.as_secs_f64()));
    let (plan, shard) = (fleet.plan.to_string(), fleet.shard);
    let plan = Plan { plan, shard, device: fleet.describe(), effort: args.effort.name(), seconds, tasks };
    if args.json {
        return output::json(&plan);
    }
    let line = |t: &Planned| match t.stored {
        true => format!("{}, stored\n", t.task),
        false => format!("{}, {} candidates, about {:.1} s\n", t.task, t.candidates, t.seconds),
    };
    let lines: String = plan.tasks.iter().map(line).collect();
    let part = if shard.count > 1 { format!(", part {shard}") } else { String::new() };
    let hash = fleet::short(&plan.plan);
    output::print(&format!("{lines}{} tasks{part}, about {seconds:.0} s, plan {hash}\n", plan.tasks.len()))
}

fn code(report: &Report) -> ExitCode {
    if report.stopped {
        ExitCode::from(INTERRUPTED)
    } else if report.count(Outcome::Failed) > 0 {
        ExitCode::from(FAILURE)
    } else if report.count(Outcome::NotReached) > 0 {
        ExitCode::from(DEGRADED)
    } else {
        ExitCode::SUCCESS
    }
}

/// The command line as it was given, for provenance: without the folders of the program.
pub(super) fn command_line() -> String {
    std::iter::once("jet-tune".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ")
}

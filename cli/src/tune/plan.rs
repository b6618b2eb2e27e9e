//! `jet-tune plan`: a model's tasks, and schedules for a GPU that is not there.

use super::bars::Bars;
use super::page::Page;
use crate::common::args::{DeviceArgs, RandomArgs, TARGET};
use crate::common::exit::{DEGRADED, FAILURE, INTERRUPTED, Usage};
use crate::common::output;
use crate::common::signal::Graceful;
use crate::common::table::Table;
use anyhow::Result;
use clap::Args;
use jet_autotune::absent::{Accuracy, DeviceCounter, Modeller};
use jet_autotune::clock::SystemClock;
use jet_autotune::html::About;
use jet_autotune::search::Kind as Strategy;
use jet_autotune::{Effort, Options, Outcome, Report, Task, plan_target};
use jet_cache::{Overlay, folders};
use jet_codegen::gpu::{self, Gpu};
use jet_models::session::{Arithmetic, DEFAULT_PIECE};
use jet_models::target::Target;
use jet_runtime::device::{self, Device, token_buckets};
use jet_runtime::emulated::AbsentGpu;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// List what a model has to tune on a device. With --gpu: choose schedules for a GPU that is not here.
///
/// With --gpu the candidates of each kernel are compiled for that GPU, those that do not fit are left out, and a sample of the
/// CTAs of the others is run by the PTX interpreter and counted. A cost model makes times of the counts and of the assembler's
/// report; its choice is stored with the status `modelled`, and a schedule that was measured is never replaced by it. Where
/// there are measured ones, the model's error is shown.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet-tune plan tiny-hybrid
  jet-tune plan model.gguf --gpu h100 --budget 10m
  jet-tune plan model.gguf --gpu 'rtx 5090' --tokens 1,512 --json

Exit codes: 0 all tasks have a schedule, 1 a task failed, 2 usage, 3 time ran out before some tasks, 130 stopped.")]
pub(crate) struct PlanArgs {
    #[arg(help = TARGET)]
    target: String,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    random: RandomArgs,
    /// A GPU that is not here, as in h100, a100, l40s, b200, rtx5090; an unknown name lists them all.
    #[arg(long, value_name = "NAME", value_parser = gpu::parse, conflicts_with_all = ["device", "threads"])]
    gpu: Option<&'static Gpu>,
    /// Token counts to plan for, separated by commas; the default is those that a session meets.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    tokens: Vec<usize>,
    /// How thorough: `none` only models the defaults, `quick` tries some candidates, `full` all of them.
    #[arg(long, default_value = "quick", value_name = "EFFORT", value_parser = super::run::effort, requires = "gpu")]
    effort: Effort,
    /// Time for all tasks together, as in 90s, 3m, 1h.
    #[arg(long, value_name = "TIME", value_parser = super::run::budget, requires = "gpu")]
    budget: Option<Duration>,
    /// Model again what was modelled before.
    #[arg(long, requires = "gpu")]
    again: bool,
    /// How candidates are chosen: exhaustive, random, evolve or guided; the default is the effort's own way.
    #[arg(long, value_name = "NAME", requires = "gpu")]
    strategy: Option<Strategy>,
    /// Where to write the report as one page for a browser; the default is `reports` in jet's cache folder.
    #[arg(long, value_name = "FILE.html", requires = "gpu")]
    report: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A task as it stands.
#[derive(Serialize)]
struct Listed {
    id: String,
    task: String,
    candidates: usize,
    /// The status of what is stored.
    stored: Option<String>,
}

/// What `plan --gpu` found.
#[derive(Serialize)]
struct Planned<'a> {
    model: &'a str,
    gpu: &'static Gpu,
    grade: &'static str,
    accuracy: &'a Accuracy,
    page: Option<&'a std::path::Path>,
    #[serde(flatten)]
    report: &'a Report,
}

pub(crate) fn run(args: &PlanArgs, notes: bool) -> Result<ExitCode> {
    let mut tokens = args.tokens.clone();
    if tokens.contains(&0) {
        return Err(Usage("--tokens has a 0; a batch has at least one token".to_owned()).into());
    }
    if tokens.is_empty() {
        tokens = token_buckets(DEFAULT_PIECE);
    }
    let target = Target::resolve(&args.target)?;
    let tuned = match args.random.random {
        Some(_) => Target::from_spec(target.spec().clone()),
        None => target.clone(),
    };
    let Arithmetic::Given(recipe) = &args.device.precision else {
        let why = "--precision tuned is of a device that is there; `jet-tune run` tunes its tasks";
        return Err(Usage(why.to_owned()).into());
    };
    let plan = |device: &dyn Device| plan_target(device, &tuned, args.random.random_format, recipe, &tokens);
    match args.gpu {
        Some(gpu) => {
            let device = AbsentGpu::open(gpu);
            let tasks = plan(&device)?;
            model(args, gpu, &device, &target.spec().name, &tasks, notes)
        }
        None => {
            let device = device::open(&args.device.device, args.device.threads)?;
            list(args, &*device, &plan(&*device)?)
        }
    }
}

/// The tasks of a device that is here.
fn list(args: &PlanArgs, device: &dyn Device, tasks: &[Task]) -> Result<ExitCode> {
    let overlay = Overlay::detached(&folders::schedules_folder()?, env!("CARGO_PKG_VERSION"))?;
    let listed = tasks.iter().map(|task| Listed {
        id: task.key.short_id(),
        task: task.key.label(),
        candidates: device.family(&task.problem.family).map_or(0, |f| f.candidates(&task.problem).len()),
        stored: overlay.get(task.key.store_key()).map(|entry| entry.status.to_string()),
    });
    let listed: Vec<Listed> = listed.collect();
    if args.json {
        output::json(&listed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["id", "task", ">candidates", "stored"]);
    for t in &listed {
        let stored = t.stored.clone().unwrap_or_else(|| "-".to_owned());
        table.row([t.id.clone(), t.task.clone(), t.candidates.to_string(), stored]);
    }
    output::print(&table.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Schedules for a GPU that is not here.
fn model(
    args: &PlanArgs,
    gpu: &'static Gpu,
    device: &dyn Device,
    name: &str,
    tasks: &[Task],
    notes: bool,
) -> Result<ExitCode> {
    let page = Page::place(args.report.as_deref(), name, gpu.name)?;
    if notes {
        output::complain(&format!("{name}, modelled for {}", device.describe()));
    }
    let mut overlay = Overlay::open(&folders::schedules_folder()?, env!("CARGO_PKG_VERSION"))?;
    let options = Options {
        effort: args.effort,
        budget: args.budget,
        again: args.again,
        strategy: args.strategy,
        command: super::run::command_line(),
        jet: env!("CARGO_PKG_VERSION").to_owned(),
        ..Options::default()
    };
    let stop = Graceful::new();
    let (counter, clock) = (DeviceCounter(device), SystemClock::default());
    let mut bars = Bars::new(notes);
    let result = Modeller::new(&counter, &clock, stop.flag(), options).run(tasks, &mut overlay, &mut bars);
    // The bars go before anything else is written.
    drop(bars);
    let found = result?;
    let about = About {
        model: name.to_owned(),
        device: device.describe(),
        grade: "modelled".to_owned(),
        facts: vec![("the model's error".to_owned(), found.accuracy.summary())],
    };
    let page = page.write(&found.report, &about)?;
    let (accuracy, report) = (&found.accuracy, &found.report);
    match args.json {
        true => output::json(&Planned { model: name, gpu, grade: "modelled", accuracy, page, report })?,
        false => output::print(&format!("{name}, modelled for {}\n\n{report}{accuracy}", device.describe()))?,
    }
    if let Some(file) = page.filter(|_| notes) {
        output::complain(&format!("the report as a page: {}", file.display()));
    }
    Ok(match report {
        r if r.stopped => ExitCode::from(INTERRUPTED),
        r if r.count(Outcome::Failed) > 0 => ExitCode::from(FAILURE),
        r if r.count(Outcome::NotReached) > 0 => ExitCode::from(DEGRADED),
        _ => ExitCode::SUCCESS,
    })
}

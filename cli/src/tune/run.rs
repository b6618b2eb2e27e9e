//! `jet-tune run`: races the schedules of a model's tasks and stores the winners.

use super::bars::Bars;
use crate::common::args::{DeviceArgs, RandomArgs, TARGET};
use crate::common::exit::{DEGRADED, FAILURE, INTERRUPTED, Usage};
use crate::common::output;
use crate::common::signal::Graceful;
use anyhow::Result;
use clap::Args;
use jet_autotune::clock::SystemClock;
use jet_autotune::{DeviceBench, Effort, Options, Outcome, Report, Tuner, parse_budget, plan_target};
use jet_cache::{Overlay, folders};
use jet_models::session::{DEFAULT_PIECE, Schedules};
use jet_models::target::Target;
use jet_runtime::device::{self, token_buckets};
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

/// Tune a model for a device: time the candidates of each of its kernels, check each winner against the reference, and
/// store it where later sessions find it.
///
/// Every finished task is stored at once, so a run that is stopped goes on where it was. A target without weights is
/// tuned with random weights of the true shapes.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet-tune run model.gguf --budget 3m
  jet-tune run models/src/presets/tiny_hybrid.rs --device cpu --effort full

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
    /// Token counts to tune for, separated by commas; the default is those that a session meets.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    tokens: Vec<usize>,
    /// Tune again what is stored already.
    #[arg(long)]
    again: bool,
    /// Only list the tasks.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn budget(text: &str) -> Result<Duration, String> {
    parse_budget(text).map_err(|e| e.to_string())
}

fn effort(text: &str) -> Result<Effort, String> {
    text.parse().map_err(|e: jet_autotune::TuneError| e.to_string())
}

#[derive(Serialize)]
struct Tuned<'a> {
    model: &'a str,
    weights: &'a str,
    random_seed: Option<u64>,
    device: String,
    precision: String,
    effort: &'static str,
    grade: &'static str,
    mean_speedup: f64,
    #[serde(flatten)]
    report: &'a Report,
}

pub(crate) fn run(args: &RunArgs, notes: bool) -> Result<ExitCode> {
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
    let tuned = if seed.is_some() { Target::from_spec(target.spec().clone()) } else { target.clone() };
    let device = device::open(&args.device.device, args.device.threads)?;
    let stored = Schedules::default().open();
    let recipe = args.device.recipe(&*device, &target, &args.random, &stored)?;
    let tasks = plan_target(&*device, &tuned, args.random.random_format, &recipe, &tokens)?;
    if args.dry_run {
        let labels: Vec<String> = tasks.iter().map(|t| t.key.label()).collect();
        match args.json {
            true => output::json(&labels)?,
            false => output::print(&labels.iter().map(|l| format!("{l}\n")).collect::<String>())?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    if notes {
        output::complain(&format!("{}, {weights}, on {}", target.spec().name, device.describe()));
    }
    let mut overlay = Overlay::open(&folders::schedules_folder()?, env!("CARGO_PKG_VERSION"))?;
    let options = Options {
        effort: args.effort,
        budget: args.budget,
        again: args.again,
        command: command_line(),
        jet: env!("CARGO_PKG_VERSION").to_owned(),
        soft: device.fingerprint().soft,
        ..Options::default()
    };
    let stop = Graceful::new();
    let (bench, clock) = (DeviceBench(&*device), SystemClock::default());
    let mut bars = Bars::new(notes);
    let result = Tuner::new(&bench, &clock, stop.flag(), options).run(&tasks, &mut overlay, &mut bars);
    // The bars go before anything else is written.
    drop(bars);
    let report = result?;
    if args.json {
        output::json(&Tuned {
            model: &target.spec().name,
            weights: &weights,
            random_seed: seed,
            device: device.describe(),
            precision: recipe.to_string(),
            effort: args.effort.name(),
            grade: "measured",
            mean_speedup: report.mean_speedup(),
            report: &report,
        })?;
    } else {
        let head = format!("{}, {weights}, measured on {}\n", target.spec().name, device.describe());
        output::print(&format!("{head}\n{report}"))?;
    }
    Ok(code(&report))
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

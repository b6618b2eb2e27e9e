//! `jet-tune coverage TARGET`: whether the stored schedules serve a model.

use crate::common::args::{DeviceArgs, RandomArgs, TARGET, pack_file};
use crate::common::exit::{DEGRADED, Usage};
use crate::common::output;
use crate::common::table::Table;
use anyhow::Result;
use clap::Args;
use jet_autotune::plan_target;
use jet_cache::coverage::{Coverage, coverage};
use jet_cache::entry::schedule_text;
use jet_cache::folders::schedules_folder;
use jet_cache::lookup::Legal;
use jet_cache::{Mode, NamedIntegers, Pack, Rung, ScheduleCache};
use jet_codegen::schedule::Values;
use jet_models::session::DEFAULT_PIECE;
use jet_models::target::Target;
use jet_runtime::device::{self, token_buckets};
use serde::Serialize;
use std::process::ExitCode;
use std::sync::Arc;

/// List a model's tasks with what serves each, and the stored records that none of them asks for. Nothing is tuned.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet-tune coverage model.gguf
  jet-tune coverage tiny-hybrid --pack model.jetpack --no-local

Exit codes: 0 every task has a record of its own, 1 failure, 2 usage, 3 some are served by a neighbouring bucket or \
the default, or were measured under other conditions.")]
pub(crate) struct CoverageArgs {
    #[arg(help = TARGET)]
    target: String,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    random: RandomArgs,
    /// Token counts to look up, separated by commas; the default is those that a session meets.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    tokens: Vec<usize>,
    /// A pack below the local store; may be given more than once, the most important first.
    #[arg(long, value_name = "FILE", value_parser = pack_file)]
    pack: Vec<Arc<Pack>>,
    /// Look at the packs only.
    #[arg(long)]
    no_local: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The status of a record that claims nothing.
const ASSUMED: &str = "assumed";

#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    device: String,
    exact: usize,
    bucket: usize,
    default: usize,
    /// Of the exact ones, those of which nothing was measured.
    assumed: usize,
    complete: bool,
    fresh: bool,
    #[serde(flatten)]
    coverage: &'a Coverage,
}

pub(crate) fn run(args: &CoverageArgs) -> Result<ExitCode> {
    let mut tokens = args.tokens.clone();
    if tokens.contains(&0) {
        return Err(Usage("--tokens has a 0; a batch has at least one token".to_owned()).into());
    }
    if tokens.is_empty() {
        tokens = token_buckets(DEFAULT_PIECE);
    }
    let target = Target::resolve(&args.target)?;
    let device = device::open(&args.device.device, args.device.threads)?;
    // As `jet-tune run` does: with random weights where some are asked for, or where the target has none.
    let random = args.random.random.is_some() || !target.has_weights();
    let planned = if random { Target::from_spec(target.spec().clone()) } else { target.clone() };
    let local = match args.no_local {
        true => ScheduleCache::empty(Mode::Default),
        false => ScheduleCache::open(&schedules_folder()?, Mode::Default),
    };
    let cache = args.pack.iter().fold(local, |cache, pack| cache.over(Arc::clone(pack)));
    let recipe = args.device.recipe(&*device, &target, &args.random, &cache)?;
    let tasks = plan_target(&*device, &planned, args.random.random_format, recipe, &tokens)?;
    let cache = cache.here(device.fingerprint().soft);
    cache.notices().iter().for_each(|notice| output::complain(&format!("note: {notice}")));
    let legal: Vec<_> = tasks
        .iter()
        .map(|task| {
            let family = device.family(&task.problem.family);
            move |schedule: &NamedIntegers| match family {
                None => Err(format!("this device has no kernel family {}", task.problem.family)),
                Some(f) => f.legal(&task.problem, &Values(schedule.clone())).map_err(|why| why.to_string()),
            }
        })
        .collect();
    let found = coverage(&cache, tasks.iter().zip(&legal).map(|(t, legal)| (&t.key, legal as Legal<'_>)));
    let report = Report {
        model: &target.spec().name,
        device: device.describe(),
        exact: found.count(Rung::Exact),
        bucket: found.count(Rung::Bucket),
        default: found.count(Rung::Default),
        assumed: found.tasks.iter().filter(|t| t.status.as_deref() == Some(ASSUMED)).count(),
        complete: found.is_complete(),
        fresh: found.is_fresh(),
        coverage: &found,
    };
    match args.json {
        true => output::json(&report)?,
        false => output::print(&shown(&report))?,
    }
    Ok(if report.fresh { ExitCode::SUCCESS } else { ExitCode::from(DEGRADED) })
}

fn shown(report: &Report<'_>) -> String {
    let mut table = Table::new(&["id", "task", "found", "status", "schedule", "note"]);
    for task in &report.coverage.tasks {
        let schedule = task.schedule.as_ref().map_or_else(|| "-".to_owned(), schedule_text);
        let note = match task.rung == Rung::Exact.to_string() {
            true => task.soft.join("; "),
            false => task.reason.clone(),
        };
        let status = task.status.clone().unwrap_or_else(|| "-".to_owned());
        table.row([task.id.clone(), task.task.clone(), task.rung.clone(), status, schedule, note]);
    }
    let mut out = format!("{} on {}\n\n{table}\n", report.model, report.device);
    if !report.coverage.unused.is_empty() {
        let mut unused = Table::new(&["unused", "task"]);
        report.coverage.unused.iter().for_each(|u| unused.row([&u.id, &u.task]));
        out += &format!("{unused}\n");
    }
    let Report { exact, bucket, default, .. } = report;
    let unused = report.coverage.unused.len();
    out +=
        &format!("exact {exact}, bucket {bucket}, default {default}; {unused} stored records are not used\n");
    if report.assumed > 0 {
        out += &format!(
            "of {} nothing was measured, they have the default: jet-tune run TARGET\n",
            report.assumed
        );
    }
    if !report.complete {
        out += "for the rest: jet-tune run TARGET\n";
    }
    out
}

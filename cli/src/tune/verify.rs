//! `jet-tune verify PACK`: whether stored schedules are still right and still fast on this device.

use super::machine::{IsolationArgs, Machine};
use super::source::{LOCAL, Source};
use crate::common::args::DeviceArgs;
use crate::common::exit::{DEGRADED, FAILURE, INTERRUPTED};
use crate::common::output;
use crate::common::signal::Graceful;
use crate::common::table::Table;
use anyhow::{Result, anyhow};
use clap::Args;
use jet_autotune::Task;
use jet_autotune::clock::SystemClock;
use jet_autotune::report::time;
use jet_autotune::verify::{Verdict, Verified, verify};
use jet_cache::Entry;
use jet_codegen::schedule::Problem;
use jet_runtime::device::Fingerprint;
use jet_runtime::schedule_key::{cached_device, schedule_key};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Validate stored schedules again, and race each again with the default and the runner-up: those first that take the
/// most time. A schedule is degraded only where it has lost by more than the noise that was recorded with it.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet-tune verify local --top 10
  jet-tune verify model.jetpack --device cuda:0 --json

Exit codes: 0 pass, 1 fail (a wrong output, a schedule that does not run, or no record of this device), 2 usage, \
3 degraded, 130 stopped.")]
pub(crate) struct VerifyArgs {
    /// The pack; `local` stands for the local store.
    pack: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    /// Only the records that take the most time, so many of them.
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    #[command(flatten)]
    isolation: IsolationArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Looked<'a> {
    pack: String,
    device: &'a str,
    verdict: Verdict,
    pass: usize,
    degraded: usize,
    fail: usize,
    /// Records of this device that were not looked at.
    left: usize,
    /// Records of other devices, or of other kernels.
    foreign: usize,
    stopped: bool,
    records: &'a [Verified],
}

pub(crate) fn run(args: &VerifyArgs, notes: bool) -> Result<ExitCode> {
    let pack = (args.pack != Path::new(LOCAL)).then_some(args.pack.as_path());
    let Source { entries, place } = Source::open(pack)?;
    let machine = Machine::open(&args.device.device, args.device.threads, &args.isolation)?;
    let all = entries.len();
    let mut own: Vec<(Task, Arc<Entry>)> =
        entries.into_iter().filter_map(|entry| Some((task_of(&machine, &entry)?, entry))).collect();
    if own.is_empty() {
        return Err(anyhow!(
            "none of the {all} records in {place} is for {}; `jet-tune explain` says in which field one differs",
            machine.description().describe
        ));
    }
    let foreign = all - own.len();
    let weight = |entry: &Entry| entry.timing.as_ref().map_or(0.0, |t| t.median_ns);
    own.sort_by(|a, b| weight(&b.1).total_cmp(&weight(&a.1)));
    let left = own.len() - own.len().min(args.top.unwrap_or(usize::MAX));
    own.truncate(args.top.unwrap_or(usize::MAX));
    let (stop, clock) = (Graceful::new(), SystemClock::default());
    let mut records = Vec::new();
    machine.work(|bench| {
        for (at, (task, entry)) in own.iter().enumerate() {
            let Some(found) = verify(bench, &clock, stop.flag(), task, entry) else { break };
            if notes {
                output::complain(&format!("[{}/{}] {} {}", at + 1, own.len(), found.task, found.verdict));
            }
            records.push(found);
            if bench.usable().is_err() {
                break;
            }
        }
    });
    let count = |verdict| records.iter().filter(|r: &&Verified| r.verdict == verdict).count();
    let looked = Looked {
        pack: place,
        device: &machine.description().describe,
        verdict: records.iter().map(|r| r.verdict).max().unwrap_or(Verdict::Pass),
        pass: count(Verdict::Pass),
        degraded: count(Verdict::Degraded),
        fail: count(Verdict::Fail),
        left,
        foreign,
        stopped: stop.stopped(),
        records: &records,
    };
    match args.json {
        true => output::json(&looked)?,
        false => output::print(&shown(&looked))?,
    }
    Ok(match looked.verdict {
        Verdict::Fail => ExitCode::from(FAILURE),
        _ if looked.stopped => ExitCode::from(INTERRUPTED),
        Verdict::Degraded => ExitCode::from(DEGRADED),
        Verdict::Pass => ExitCode::SUCCESS,
    })
}

/// The task of a record, where it is one of this device and these kernels.
fn task_of(machine: &Machine, entry: &Entry) -> Option<Task> {
    let fields = entry.key.fields();
    let problem =
        Problem { family: fields.family.clone(), dims: fields.dims.clone(), format: fields.format.clone() };
    let description = machine.description();
    let fingerprint = Fingerprint { hard: description.hard.clone(), soft: description.soft.clone() };
    let key = machine.work(|bench| {
        let family = bench.family(&problem.family)?;
        Some(schedule_key(&cached_device(&fingerprint), family, &problem))
    })?;
    (key == entry.key).then_some(Task { problem, key })
}

fn shown(looked: &Looked<'_>) -> String {
    let dash = || "-".to_owned();
    let ratio = |r: Option<f64>| r.map_or_else(dash, |r| format!("{r:.2}"));
    let mut table =
        Table::new(&["id", "task", "verdict", ">then", ">now", ">of default then", ">now", "note"]);
    for r in looked.records {
        table.row([
            r.id.clone(),
            r.task.clone(),
            r.verdict.to_string(),
            r.then_ns.map_or_else(dash, time),
            r.now_ns.map_or_else(dash, time),
            ratio(r.ratio_then),
            ratio(r.ratio_now),
            r.note.clone(),
        ]);
    }
    let Looked { pass, degraded, fail, left, foreign, .. } = looked;
    format!(
        "{} on {}\n\n{table}\n{}: {pass} pass, {degraded} degraded, {fail} fail; {left} of this device not looked at, \
         {foreign} of others{}\n",
        looked.pack,
        looked.device,
        looked.verdict,
        if looked.stopped { "; stopped" } else { "" },
    )
}

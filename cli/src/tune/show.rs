//! `jet-tune show`: what is stored.

use super::source::Source;
use crate::common::output;
use crate::common::table::Table;
use anyhow::{Result, anyhow};
use clap::Args;
use jet_autotune::report::time;
use jet_cache::entry::schedule_text;
use jet_cache::{Entry, names};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Show the stored schedules: task, times, what stands behind them.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet-tune show
  jet-tune show 'gemm[k=576' --json
  jet-tune show --pack model.jetpack

Exit codes: 0 ok, 1 nothing has that name or the pack cannot be read, 2 usage.")]
pub(crate) struct ShowArgs {
    /// Only tasks whose short id begins so, or whose label contains this.
    task: Option<String>,
    /// Show this pack instead of the local store.
    #[arg(long, value_name = "FILE")]
    pack: Option<PathBuf>,
    /// Print JSON: the whole records.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ShowArgs) -> Result<ExitCode> {
    let Source { mut entries, place } = Source::open(args.pack.as_deref())?;
    let all = entries.len();
    if let Some(wanted) = &args.task {
        entries.retain(|e| names::is_named(e, wanted));
        if entries.is_empty() {
            return Err(anyhow!("none of the {all} stored tasks in {place} is called {wanted:?}"));
        }
    }
    if args.json {
        output::json(&entries.iter().map(|e| &**e).collect::<Vec<_>>())?;
    } else {
        output::print(&shown(&entries, &place))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(entries: &[Arc<Entry>], place: &str) -> String {
    if entries.is_empty() {
        return format!("no schedules in {place}; tune a model: jet-tune run TARGET\n");
    }
    let mut table = Table::new(&[
        "id", "task", "schedule", ">time", ">default", ">gain", ">samples", "status", "grade", "",
    ]);
    for e in entries {
        let t = e.timing.as_ref();
        let dash = || "-".to_owned();
        let gain = t.filter(|t| t.median_ns > 0.0).map(|t| format!("{:.2}x", t.default_ns / t.median_ns));
        table.row([
            e.key.short_id(),
            e.key.label(),
            schedule_text(&e.schedule),
            t.map_or_else(dash, |t| time(t.median_ns)),
            t.map_or_else(dash, |t| time(t.default_ns)),
            gain.unwrap_or_else(dash),
            t.map_or_else(dash, |t| t.samples.to_string()),
            e.status.to_string(),
            e.grade.to_string(),
            if e.pinned { "pinned".to_owned() } else { String::new() },
        ]);
    }
    format!("{table}\n{} schedules in {place}\n", entries.len())
}

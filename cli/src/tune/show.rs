//! `jet-tune show`: what is stored.

use crate::common::output;
use crate::common::table::Table;
use anyhow::{Result, anyhow};
use clap::Args;
use jet_autotune::report::time;
use jet_cache::folders::{Layout, schedules_folder};
use jet_cache::{Entry, Pack};
use std::process::ExitCode;
use std::sync::Arc;

/// Show the stored schedules: task, times, what stands behind them.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShowArgs {
    /// Only tasks whose short id or label contains this.
    task: Option<String>,
    /// Print JSON: the whole records.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ShowArgs) -> Result<ExitCode> {
    let folder = schedules_folder()?;
    let pack = Pack::load(&Layout::of(&folder).snapshot)?;
    let mut entries = Vec::new();
    for entry in pack.iter().flat_map(|pack| pack.entries()) {
        match entry {
            Ok(entry) => entries.push(entry),
            Err(e) => output::complain(&format!("note: {e}")),
        }
    }
    let all = entries.len();
    if let Some(wanted) = &args.task {
        entries.retain(|e| {
            e.key.short_id().contains(wanted.as_str()) || e.key.label().contains(wanted.as_str())
        });
        if entries.is_empty() {
            return Err(anyhow!(
                "none of the {all} stored tasks in {} is called {wanted:?}",
                folder.display()
            ));
        }
    }
    if args.json {
        output::json(&entries.iter().map(|e| &**e).collect::<Vec<_>>())?;
    } else {
        output::print(&shown(&entries, &folder.display().to_string()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(entries: &[Arc<Entry>], folder: &str) -> String {
    if entries.is_empty() {
        return format!("no schedules in {folder}; tune a model: jet-tune run TARGET\n");
    }
    let mut table =
        Table::new(&["id", "task", "schedule", ">time", ">default", ">gain", ">samples", "status", "grade"]);
    for e in entries {
        let schedule: Vec<String> =
            e.schedule.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let t = e.timing.as_ref();
        let dash = || "-".to_owned();
        let gain = t.filter(|t| t.median_ns > 0.0).map(|t| format!("{:.2}x", t.default_ns / t.median_ns));
        table.row([
            e.key.short_id(),
            e.key.label(),
            schedule.join(" "),
            t.map_or_else(dash, |t| time(t.median_ns)),
            t.map_or_else(dash, |t| time(t.default_ns)),
            gain.unwrap_or_else(dash),
            t.map_or_else(dash, |t| t.samples.to_string()),
            e.status.to_string(),
            e.grade.to_string(),
        ]);
    }
    format!("{table}\n{} schedules in {folder}\n", entries.len())
}

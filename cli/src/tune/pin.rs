//! `jet-tune pin TASK`: a schedule that stays.

use crate::common::output;
use anyhow::Result;
use clap::Args;
use jet_cache::entry::schedule_text;
use jet_cache::folders::schedules_folder;
use jet_cache::{Overlay, names};
use serde::Serialize;
use std::process::ExitCode;

/// Pin the schedule of a task: tuning and importing do not replace it, and gc does not remove it.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet-tune pin dd3ff421
  jet-tune pin dd3ff421 --off

Exit codes: 0 ok, 1 nothing has that name or the store cannot be written, 2 usage.")]
pub(crate) struct PinArgs {
    /// The task: a short id, or a part of a label that only one task has.
    task: String,
    /// Let go of it.
    #[arg(long)]
    off: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Pinned {
    id: String,
    task: String,
    schedule: String,
    pinned: bool,
}

pub(crate) fn run(args: &PinArgs) -> Result<ExitCode> {
    let mut overlay = Overlay::open(&schedules_folder()?, env!("CARGO_PKG_VERSION"))?;
    let entry = names::the_one(overlay.entries(), &args.task)?.clone();
    overlay.pin(entry.key.store_key(), !args.off)?;
    let done = Pinned {
        id: entry.key.short_id(),
        task: entry.key.label(),
        schedule: schedule_text(&entry.schedule),
        pinned: !args.off,
    };
    let word = if done.pinned { "pinned" } else { "no longer pinned" };
    match args.json {
        true => output::json(&done)?,
        false => output::line(&format!("{}  {}  {}  {word}", done.id, done.task, done.schedule))?,
    }
    Ok(ExitCode::SUCCESS)
}

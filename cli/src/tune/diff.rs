//! `jet-tune diff A B`: tasks whose winners differ.

use super::source::contents;
use crate::common::exit::DEGRADED;
use crate::common::output;
use crate::common::table::Table;
use anyhow::Result;
use clap::Args;
use jet_autotune::report::time;
use jet_cache::diff::{Alone, Diff, diff};
use jet_cache::entry::schedule_text;
use std::path::PathBuf;
use std::process::ExitCode;

/// Compare the winners of two packs, or of a pack and the local store. Times are no difference; another schedule is.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet-tune diff old.jetpack new.jetpack
  jet-tune diff local shipped.jetpack --json

Exit codes: 0 the same winners for the same tasks, 1 a pack cannot be read, 2 usage, 3 they differ.")]
pub(crate) struct DiffArgs {
    /// A pack, or `local` for the local store.
    a: PathBuf,
    /// The other one.
    b: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &DiffArgs) -> Result<ExitCode> {
    let (a, b) = (contents(&args.a)?.0, contents(&args.b)?.0);
    let found = diff(&a.entries, &b.entries);
    if args.json {
        output::json(&found)?;
    } else {
        output::print(&shown(&found))?;
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DEGRADED) })
}

fn shown(found: &Diff) -> String {
    let mut out = String::new();
    if !found.changed.is_empty() {
        let mut table = Table::new(&["id", "task", "A", ">time", "B", ">time", ""]);
        let ns = |t: Option<f64>| t.map_or_else(|| "-".to_owned(), time);
        for c in &found.changed {
            let tie = if c.inside_the_noise { "inside the noise" } else { "" };
            table.row([
                c.id.clone(),
                c.task.clone(),
                schedule_text(&c.left),
                ns(c.left_ns),
                schedule_text(&c.right),
                ns(c.right_ns),
                tie.to_owned(),
            ]);
        }
        out += &format!("{table}\n");
    }
    for (side, alone) in [("A", &found.only_left), ("B", &found.only_right)] {
        if !alone.is_empty() {
            out += &format!("{}\n", only(side, alone));
        }
    }
    let (left, right) = (found.only_left.len(), found.only_right.len());
    out + &format!(
        "{} the same, {} differ, {left} only in A, {right} only in B\n",
        found.same,
        found.changed.len()
    )
}

fn only(side: &str, alone: &[Alone]) -> Table {
    let mut table = Table::new(&[&format!("only in {side}"), "task", "schedule"]);
    for a in alone {
        table.row([a.id.clone(), a.task.clone(), schedule_text(&a.schedule)]);
    }
    table
}

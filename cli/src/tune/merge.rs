//! `jet-tune merge A B -o C`: several packs as one.

use super::source::contents;
use crate::common::exit::Usage;
use crate::common::output;
use crate::common::table::Table;
use anyhow::Result;
use clap::Args;
use jet_cache::Manifest;
use jet_cache::entry::schedule_text;
use jet_cache::merge::{Conflict, merge_contents, merge_manifests, strictly};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Merge packs into one, record by record: pinned before verified before imported before modelled before assumed, then the
/// better evidence; never blindly the smaller time. The result does not depend on the order of the packs.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet-tune merge rank0.jetpack rank1.jetpack -o all.jetpack
  jet-tune merge *.jetpack -o all.jetpack --strict
  jet-tune merge ~/.cache/jet/schedules-*-of-8 -o all.jetpack   # what the ranks of a fleet have left

Exit codes: 0 ok (conflicts are listed), 1 a pack cannot be read or, with --strict, there are conflicts, 2 usage.")]
pub(crate) struct MergeArgs {
    /// The packs, or folders of stores; `local` stands for the local store.
    #[arg(required = true, num_args = 1.., value_name = "PACK")]
    packs: Vec<PathBuf>,
    /// Where the merged pack is written.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Fail, and write nothing, where packs name different schedules for one task.
    #[arg(long)]
    strict: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Merged {
    output: String,
    digest: String,
    entries: usize,
    trials: usize,
    failures: usize,
    recipes: usize,
    cubins: usize,
    conflicts: Vec<Conflict>,
}

pub(crate) fn run(args: &MergeArgs) -> Result<ExitCode> {
    if args.packs.len() < 2 {
        return Err(Usage("merge takes two packs or more".to_owned()).into());
    }
    let (mut sources, mut manifests): (Vec<_>, Vec<Manifest>) = (Vec::new(), Vec::new());
    for path in &args.packs {
        let (source, manifest) = contents(path)?;
        sources.push(source);
        manifests.push(manifest);
    }
    let (all, conflicts) = merge_contents(sources)?;
    if args.strict {
        strictly(&conflicts)?;
    }
    all.write(&args.output, &merge_manifests(&all, &manifests, env!("CARGO_PKG_VERSION")))?;
    let merged = Merged {
        output: args.output.display().to_string(),
        digest: super::source::existing(&args.output)?.digest().to_string(),
        entries: all.entries.len(),
        trials: all.trials.len(),
        failures: all.failures.len(),
        recipes: all.recipes.len(),
        cubins: all.cubins.len(),
        conflicts,
    };
    match args.json {
        true => output::json(&merged)?,
        false => output::print(&shown(&merged))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(m: &Merged) -> String {
    let conflicts = conflicts(&m.conflicts);
    let Merged { trials, failures, recipes, cubins, .. } = m;
    let extras = format!("{trials} side records, {failures} failures, {recipes} recipes, {cubins} kernels");
    format!("{conflicts}{} entries, {extras} in {}\ndigest {}\n", m.entries, m.output, m.digest)
}

/// The tasks for which two schedules were named; empty where there are none.
pub(super) fn conflicts(conflicts: &[Conflict]) -> String {
    if conflicts.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["conflict", "task", "kept", "dropped"]);
    for c in conflicts {
        table.row([&c.id, &c.task, &schedule_text(&c.kept), &schedule_text(&c.dropped)]);
    }
    format!("{table}\n")
}

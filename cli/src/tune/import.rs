//! `jet-tune import PACK`: the records of a pack in the local store.

use super::merge::conflicts;
use super::source::existing;
use crate::common::output;
use anyhow::Result;
use clap::Args;
use jet_autotune::options::host_hash;
use jet_cache::folders::schedules_folder;
use jet_cache::overlay::Imported;
use jet_cache::{Contents, Overlay};
use std::path::PathBuf;
use std::process::ExitCode;

/// Merge a pack into the local store. What this machine wrote comes back as it was; what another one verified is
/// `imported` here, and never replaces what was verified here.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet-tune import shipped.jetpack
  jet-tune import backup.jetpack --strict --json

Exit codes: 0 ok (conflicts are listed), 1 the pack or the store cannot be used or, with --strict, there are conflicts, \
2 usage.")]
pub(crate) struct ImportArgs {
    /// The pack.
    pack: PathBuf,
    /// Fail, and store nothing, where the pack names another schedule for a task than the store.
    #[arg(long)]
    strict: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ImportArgs) -> Result<ExitCode> {
    let contents = Contents::of_pack(&existing(&args.pack)?)?;
    let folder = schedules_folder()?;
    let mut overlay = Overlay::open(&folder, env!("CARGO_PKG_VERSION"))?;
    let done = overlay.import(contents, &host_hash(), args.strict)?;
    overlay.notices().iter().for_each(|notice| output::complain(&format!("note: {notice}")));
    match args.json {
        true => output::json(&done)?,
        false => output::print(&shown(&done, &folder.display().to_string()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(done: &Imported, place: &str) -> String {
    let mut out = conflicts(&done.conflicts);
    let missing = done.missing_cubins.iter();
    missing.for_each(|digest| out += &format!("missing kernel {digest}: it will be compiled\n"));
    let Imported { added, replaced, kept, recipes, cubins, .. } = done;
    out + &format!(
        "{added} added, {replaced} replaced, {kept} kept, {recipes} recipes, {cubins} kernels, in {place}\n"
    )
}

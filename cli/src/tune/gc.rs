//! `jet-tune gc`: what nothing can find any more goes.

use crate::common::output;
use crate::common::table::Table;
use anyhow::Result;
use clap::Args;
use jet_cache::folders::schedules_folder;
use jet_cache::key::{KEY_SCHEMA, MEASURING_PROTOCOL};
use jet_cache::overlay::{Sweep, Swept};
use jet_cache::{Overlay, TaskFields};
use jet_runtime::device::{self, Device};
use jet_runtime::schedule_key::KERNELS;
use std::process::ExitCode;
use std::time::Duration;

/// Remove what this jet can never find again: records of older kernels, kernels that no record names, folders of
/// damaged stores; and write the store anew where it wastes space. Pinned records stay.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet-tune gc --dry-run
  jet-tune gc --hours 0

Exit codes: 0 ok, 1 the store cannot be written, 2 usage.")]
pub(crate) struct GcArgs {
    /// Only say what would go.
    #[arg(long)]
    dry_run: bool,
    /// Files that no record names stay until they are this old: another process may be about to name them.
    #[arg(long, default_value_t = 1, value_name = "HOURS")]
    hours: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &GcArgs) -> Result<ExitCode> {
    let folder = schedules_folder()?;
    let mut overlay = Overlay::open(&folder, env!("CARGO_PKG_VERSION"))?;
    let older_than = Duration::from_secs(args.hours.saturating_mul(3600));
    let cpu = device::open("cpu", 1)?;
    let obsolete = |fields: &TaskFields| obsolete(fields, &*cpu);
    let swept = overlay.sweep(&Sweep { obsolete: &obsolete, older_than, dry_run: args.dry_run })?;
    match args.json {
        true => output::json(&swept)?,
        false => output::print(&shown(&swept, args.dry_run))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Why no look-up of this jet can find a record with these fields. Of other devices only schema and protocol are known
/// here: the store may be shared by a fleet.
fn obsolete(fields: &TaskFields, cpu: &dyn Device) -> Option<String> {
    let differs = |what: &str, there: &dyn std::fmt::Display, here: &dyn std::fmt::Display| {
        Some(format!("its {what} is {there}, this jet has {here}"))
    };
    if fields.schema != KEY_SCHEMA {
        return differs("key schema", &fields.schema, &KEY_SCHEMA);
    }
    if fields.protocol != MEASURING_PROTOCOL {
        return differs("measuring protocol", &fields.protocol, &MEASURING_PROTOCOL);
    }
    if fields.device.kind != cpu.name() {
        return None;
    }
    if fields.code != KERNELS {
        return differs("code", &fields.code, &KERNELS);
    }
    match cpu.family(&fields.family) {
        None => Some(format!("this jet has no kernel family {}", fields.family)),
        Some(family) if family.version() == fields.family_version => None,
        Some(family) => differs("family version", &fields.family_version, &family.version()),
    }
}

fn shown(swept: &Swept, dry: bool) -> String {
    let mut out = String::new();
    if !swept.entries.is_empty() {
        let mut table = Table::new(&["task", "why it goes"]);
        swept.entries.iter().for_each(|(task, why)| table.row([task, why]));
        out += &format!("{table}\n");
    }
    swept.leftovers.iter().for_each(|path| out += &format!("{}\n", path.display()));
    let (entries, trials, failures) = (swept.entries.len(), swept.trials, swept.failures);
    let (cubins, leftovers) = (swept.cubins.len(), swept.leftovers.len());
    let counts = format!(
        "{entries} entries, {trials} side records, {failures} failures, {cubins} kernels, {leftovers} leftovers"
    );
    match dry {
        true => out + &format!("would go: {counts}\n"),
        false => {
            out + &format!("gone: {counts}; {} bytes before, {} now\n", swept.bytes_before, swept.bytes_after)
        }
    }
}

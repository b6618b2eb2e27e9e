//! `jet-tune doctor`: the state of the machine and of the local store.

use crate::command::doctor::{Finding, Verdict, machine, shown};
use crate::common::exit::DEGRADED;
use crate::common::output;
use anyhow::Result;
use clap::Args;
use jet_cache::folders::{Layout, schedules_folder};
use jet_cache::{CubinStore, Overlay, Pack};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Look at this machine and at the local store: who holds it, whether every record and kernel is whole, what was set
/// aside; say what is amiss and what to do.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet-tune doctor
  jet-tune doctor --json

Exit codes: 0 all is well, 1 failure, 2 usage, 3 something is amiss that jet can work without.")]
pub(crate) struct DoctorArgs {
    /// Worker threads that schedules are looked up for; 0 is one for each physical core.
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let mut findings = machine(args.threads);
    if let Ok(folder) = schedules_folder() {
        findings.extend(of_store(&folder));
    }
    let amiss = findings.iter().any(|f| f.verdict == Verdict::Amiss);
    match args.json {
        true => output::json(&findings)?,
        false => output::print(&shown(&findings, amiss))?,
    }
    Ok(if amiss { ExitCode::from(DEGRADED) } else { ExitCode::SUCCESS })
}

fn of_store(folder: &Path) -> Vec<Finding> {
    let layout = Layout::of(folder);
    if !layout.lock.exists() {
        return vec![
            Finding::new("local store", Verdict::Note, "not made yet")
                .advice("tune a model: jet-tune run TARGET"),
        ];
    }
    vec![store(folder), snapshot(&layout), cubins(&layout), aside(folder)]
}

/// Opens the store, which mends what can be mended.
fn store(folder: &Path) -> Finding {
    let what = "local store";
    match Overlay::open_within(folder, env!("CARGO_PKG_VERSION"), Duration::ZERO) {
        Ok(overlay) if overlay.notices().is_empty() => {
            Finding::new(what, Verdict::Ok, format!("{} records, all whole", overlay.entries().len()))
        }
        Ok(overlay) => {
            let found = format!("{} records; {}", overlay.entries().len(), overlay.notices().join("; "));
            Finding::new(what, Verdict::Amiss, found)
                .advice("it was mended just now; ask again, and tune what is missing")
        }
        Err(busy @ jet_cache::CacheError::Busy { .. }) => Finding::new(what, Verdict::Note, busy.to_string()),
        Err(e) => Finding::new(what, Verdict::Amiss, e.to_string()),
    }
}

/// What sessions read.
fn snapshot(layout: &Layout) -> Finding {
    let what = "snapshot for sessions";
    match Pack::load(&layout.snapshot) {
        Ok(None) => Finding::new(what, Verdict::Note, "none yet"),
        Ok(Some(pack)) => match pack.verify() {
            Ok(()) => {
                Finding::new(what, Verdict::Ok, format!("{} records, digest {}", pack.len(), pack.digest()))
            }
            Err(e) => Finding::new(what, Verdict::Amiss, e.to_string())
                .advice("the next jet-tune run writes it anew"),
        },
        Err(e) => {
            Finding::new(what, Verdict::Amiss, e.to_string()).advice("the next jet-tune run writes it anew")
        }
    }
}

/// Whether each kernel that a record names is there with the bytes it should have.
fn cubins(layout: &Layout) -> Finding {
    let what = "compiled kernels";
    let store = CubinStore::at(&layout.cubins);
    let pack = Pack::load(&layout.snapshot).ok().flatten();
    let entries: Vec<_> = pack.iter().flat_map(Pack::entries).flatten().collect();
    let named: BTreeSet<_> = entries.iter().flat_map(|e| e.cubins.iter().map(|c| c.digest)).collect();
    let listed: BTreeSet<_> = store.list().into_iter().map(|(digest, _)| digest).collect();
    let damaged = listed.iter().filter(|digest| store.get(digest).is_err()).count();
    let (missing, stray) = (named.difference(&listed).count(), listed.difference(&named).count());
    let found =
        format!("{} stored, {missing} missing, {damaged} damaged, {stray} without a record", listed.len());
    match (missing + damaged, stray) {
        (0, 0) => Finding::new(what, Verdict::Ok, found),
        (0, _) => {
            Finding::new(what, Verdict::Note, found).advice("jet-tune gc removes those without a record")
        }
        _ => Finding::new(what, Verdict::Amiss, found)
            .advice("they are compiled when they are needed; jet-tune run stores them"),
    }
}

/// Damaged stores that were kept for a look.
fn aside(folder: &Path) -> Finding {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    let kept: Vec<String> = names.filter(|name| name.contains(".corrupt-")).collect();
    match kept.len() {
        0 => Finding::new("damaged stores", Verdict::Ok, "none"),
        _ => {
            Finding::new("damaged stores", Verdict::Note, kept.join(", ")).advice("jet-tune gc removes them")
        }
    }
}

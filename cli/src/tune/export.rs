//! `jet-tune export PACK`: the local store as one file to ship.

mod kernels;

use crate::common::output;
use anyhow::{Result, anyhow};
use clap::Args;
use jet_cache::folders::{Layout, schedules_folder};
use jet_cache::{Contents, CubinStore, Manifest, Overlay, Pack, names};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Write the stored schedules as a pack: one read-only file that programs load or embed.
///
/// The kernels of GPU tasks come with their schedules; those that this machine has not compiled yet are compiled now, for which
/// no GPU is needed. Without `--all` the store is not locked, so this works beside a running tuner.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet-tune export model.jetpack
  jet-tune export small.jetpack --no-cubins --only 'on cuda'
  jet-tune export backup.jetpack --all

Exit codes: 0 ok, 1 nothing to export, or it cannot be read or written, 2 usage, 3 a kernel is missing.")]
pub(crate) struct ExportArgs {
    /// The file to write.
    pack: PathBuf,
    /// Leave the kernels of GPUs out: they are compiled where the pack is used, which a frozen session refuses to do.
    #[arg(long)]
    no_cubins: bool,
    /// Take the side records and the failed candidates along, for a backup or for other tuners.
    #[arg(long)]
    all: bool,
    /// Only tasks whose short id begins so, or whose label contains this; recipes whose label contains it.
    #[arg(long, value_name = "TASK")]
    only: Option<String>,
    /// A note for whoever reads the pack.
    #[arg(long, default_value = "", value_name = "TEXT")]
    note: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Exported {
    pack: String,
    digest: String,
    bytes: usize,
    entries: usize,
    trials: usize,
    failures: usize,
    recipes: usize,
    cubins: usize,
    missing_cubins: Vec<jet_cache::Digest>,
    /// Tasks without their kernel, each with the reason.
    uncompiled: Vec<String>,
    devices: Vec<String>,
}

pub(crate) fn run(args: &ExportArgs) -> Result<ExitCode> {
    let folder = schedules_folder()?;
    let mut all = if args.all {
        let mut overlay = Overlay::open(&folder, env!("CARGO_PKG_VERSION"))?;
        let contents = overlay.contents();
        overlay.notices().iter().for_each(|notice| output::complain(&format!("note: {notice}")));
        contents
    } else {
        let snapshot = Pack::load(&Layout::of(&folder).snapshot)?;
        snapshot.map_or_else(|| Ok(Contents::default()), |pack| Contents::of_pack(&pack))?
    };
    if let Some(wanted) = &args.only {
        all.entries.retain(|_, entry| names::is_named(entry, wanted));
        let kept = &all.entries;
        all.recipes.retain(|_, recipe| recipe.to_string().contains(wanted.as_str()));
        all.trials.retain(|_, trials| kept.contains_key(trials.key.store_key()));
    }
    if all.entries.is_empty() && all.recipes.is_empty() {
        return Err(anyhow!(
            "there is nothing to export in {}; tune a model: jet-tune run TARGET",
            folder.display()
        ));
    }
    let uncompiled = match args.no_cubins {
        true => {
            all.cubins.clear();
            all.entries.values_mut().for_each(|entry| entry.cubins.clear());
            Vec::new()
        }
        false => {
            stored_cubins(&mut all, &Layout::of(&folder))?;
            kernels::bind(&mut all, jet_runtime::gpu::store().as_ref())
        }
    };
    let missing = all.bind_cubins();
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let manifest = Manifest::describe(all.entries.values(), env!("CARGO_PKG_VERSION"), created);
    let manifest = Manifest { note: args.note.clone(), ..manifest };
    let bytes = all.encode(&manifest)?;
    jet_cache::files::write_atomically(&args.pack, &bytes)?;
    let exported = Exported {
        pack: args.pack.display().to_string(),
        bytes: bytes.len(),
        digest: Pack::from_bytes(bytes, "the pack")?.digest().to_string(),
        entries: all.entries.len(),
        trials: all.trials.len(),
        failures: all.failures.len(),
        recipes: all.recipes.len(),
        cubins: all.cubins.len(),
        missing_cubins: missing,
        uncompiled,
        devices: manifest.devices,
    };
    match args.json {
        true => output::json(&exported)?,
        false => output::print(&shown(&exported))?,
    }
    let degraded = !exported.missing_cubins.is_empty() || !exported.uncompiled.is_empty();
    Ok(if degraded { ExitCode::from(crate::common::exit::DEGRADED) } else { ExitCode::SUCCESS })
}

/// Adds the kernels that the entries name already: those that came with imported packs.
fn stored_cubins(all: &mut Contents, layout: &Layout) -> Result<()> {
    let store = CubinStore::at(&layout.cubins);
    for digest in all.bind_cubins() {
        if let Some(bytes) = store.get(&digest)? {
            all.cubins.insert(digest, bytes);
        }
    }
    Ok(())
}

fn shown(e: &Exported) -> String {
    let mut out = format!("{}: {} entries, {} kernels, {} bytes\n", e.pack, e.entries, e.cubins, e.bytes);
    if e.trials + e.failures > 0 {
        out += &format!("{} side records, {} failed candidates\n", e.trials, e.failures);
    }
    e.uncompiled.iter().for_each(|task| out += &format!("without its kernel: {task}\n"));
    if e.recipes > 0 {
        out += &format!("{} recipes of precisions\n", e.recipes);
    }
    e.devices.iter().for_each(|device| out += &format!("for {device}\n"));
    let missing = e.missing_cubins.iter();
    missing.for_each(|digest| {
        out += &format!("missing kernel {digest}: it is compiled where the pack is used\n")
    });
    out + &format!("digest {}\n", e.digest)
}

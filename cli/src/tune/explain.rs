//! `jet-tune explain TASK`: a task's key, what is stored for it and why, and which other records come near.

use super::source::Source;
use crate::common::output;
use crate::common::table::Table;
use anyhow::Result;
use clap::Args;
use jet_autotune::report::time;
use jet_cache::entry::schedule_text;
use jet_cache::nearest::nearest;
use jet_cache::{Entry, NamedIntegers, TaskFields, TaskKey, names};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Explain one task: every field of its key, the evidence for its schedule, and the nearest other records with the
/// first field in which each differs.
///
/// TASK is a short id or a part of a label, as `jet-tune show` prints them. A task that is not stored can be given as
/// JSON, in the form that `key` has in `jet-tune show --json`: then the answer is why it misses.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet-tune explain dd3ff421
  jet-tune explain 'gemm[k=576 n=1536 tokens=64] q4_1/int8 on cpu'
  jet-tune show --json | jq '.[0].key | .code = \"kernels-2\"' | jet-tune explain \"$(cat)\"

Exit codes: 0 the task is stored, 1 nothing has that name, 2 usage, 3 a task given as JSON is not stored.")]
pub(crate) struct ExplainArgs {
    /// The task.
    task: String,
    /// Look into this pack instead of the local store.
    #[arg(long, value_name = "FILE")]
    pack: Option<PathBuf>,
    /// How many other records to compare with.
    #[arg(long, default_value_t = 3, value_name = "N")]
    nearest: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Other {
    id: String,
    task: String,
    schedule: NamedIntegers,
    first_difference: String,
}

#[derive(Serialize)]
struct Explained<'a> {
    id: String,
    task: String,
    key: &'a TaskFields,
    digest: String,
    stored: Option<&'a Entry>,
    nearest: Vec<Other>,
}

pub(crate) fn run(args: &ExplainArgs) -> Result<ExitCode> {
    let Source { entries, place } = Source::open(args.pack.as_deref())?;
    let key: TaskKey = if args.task.trim_start().starts_with('{') {
        serde_json::from_str(&args.task)
            .map_err(|e| crate::common::exit::Usage(format!("the task is no key in JSON: {e}")))?
    } else {
        names::the_one(entries.iter().cloned(), &args.task)?.key.clone()
    };
    let (own, others): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|e| e.key.store_key() == key.store_key());
    let stored = own.first().map(|e| &**e);
    let near = nearest(&key, others, args.nearest);
    let others = near.into_iter().map(|near| Other {
        id: near.entry.key.short_id(),
        task: near.entry.key.label(),
        schedule: near.entry.schedule.clone(),
        first_difference: near.difference.unwrap_or_default(),
    });
    let explained = Explained {
        id: key.short_id(),
        task: key.label(),
        key: key.fields(),
        digest: key.digest().iter().map(|byte| format!("{byte:02x}")).collect(),
        stored,
        nearest: others.collect(),
    };
    if args.json {
        output::json(&explained)?;
    } else {
        output::print(&shown(&explained, &place))?;
    }
    Ok(if stored.is_some() { ExitCode::SUCCESS } else { ExitCode::from(crate::common::exit::DEGRADED) })
}

fn shown(e: &Explained<'_>, place: &str) -> String {
    let mut out = format!("{}  {}\n\n", e.id, e.task);
    let mut key = Table::new(&["hard field", "value"]);
    let facts = e.key.device.facts.iter().map(|(name, value)| (format!("device.{name}"), value.clone()));
    let dims = e.key.dims.iter().map(|(name, value)| (format!("dims.{name}"), value.to_string()));
    let row = |name: &str, value: &dyn ToString| (name.to_owned(), value.to_string());
    let fields =
        [row("schema", &e.key.schema), row("protocol", &e.key.protocol), row("device", &e.key.device.kind)];
    let middle = [
        row("family", &e.key.family),
        row("family_version", &e.key.family_version),
        row("format", &e.key.format),
        row("code", &e.key.code),
    ];
    for (name, value) in fields.into_iter().chain(facts).chain(middle).chain(dims) {
        key.row([name, value]);
    }
    out += &format!("{key}\n");
    match e.stored {
        None => out += &format!("not stored in {place}\n"),
        Some(entry) => out += &format!("{}\n", record(entry)),
    }
    if !e.nearest.is_empty() {
        let mut near = Table::new(&["nearest", "task", "schedule", "first difference"]);
        for other in &e.nearest {
            let schedule = schedule_text(&other.schedule);
            near.row([&other.id, &other.task, &schedule, &other.first_difference]);
        }
        out += &format!("\n{near}");
    }
    out
}

/// What stands behind a record, as a table of names and values.
fn record(entry: &Entry) -> Table {
    let mut table = Table::new(&["stored", ""]);
    let pinned = if entry.pinned { ", pinned" } else { "" };
    table.row(["schedule".to_owned(), schedule_text(&entry.schedule)]);
    table.row(["status".to_owned(), format!("{}, {}, {}{pinned}", entry.status, entry.grade, entry.origin)]);
    if let Some(t) = &entry.timing {
        let range = format!("{} to {}, {} samples", time(t.p10_ns), time(t.p90_ns), t.samples);
        table.row(["time".to_owned(), format!("{} ({range})", time(t.median_ns))]);
        table.row(["default".to_owned(), format!("{} ({:.2}x)", time(t.default_ns), entry.speedup())]);
        if let Some(r) = &t.runner_up {
            table.row([
                "runner-up".to_owned(),
                format!("{}, {}", time(r.median_ns), schedule_text(&r.schedule)),
            ]);
        }
        if let Some(bound) = t.bound_ns.filter(|bound| *bound > 0.0) {
            table
                .row(["bound".to_owned(), format!("{} ({:.1}x above it)", time(bound), t.median_ns / bound)]);
        }
        for (name, value) in &t.conditions {
            table.row([name.clone(), value.clone()]);
        }
    }
    if let Some(e) = &entry.evidence {
        let error = format!("rms {:.1e} of {:.1e} allowed, max {:.1e}", e.rel_rms, e.tolerance, e.max_abs);
        table.row(["error".to_owned(), format!("{error}, against {}", e.reference)]);
    }
    let s = &entry.search;
    let end = if s.complete { "complete" } else { "cut short" };
    let tried =
        format!("{}: {} of {} timed, {} rejected, {end}", s.effort, s.timed, s.candidates, s.rejected);
    table.row(["search".to_owned(), tried]);
    for cubin in &entry.cubins {
        table.row([format!("kernel {}", cubin.kernel), format!("{} {}", cubin.arch, cubin.digest)]);
    }
    for (name, value) in &entry.soft {
        table.row([format!("soft {name}"), value.clone()]);
    }
    if !entry.provenance.reason.is_empty() {
        table.row(["reason".to_owned(), entry.provenance.reason.clone()]);
    }
    table.row(["made by".to_owned(), format!("jet {}: {}", entry.provenance.jet, entry.provenance.command)]);
    table
}

//! What is printed.

use std::fmt::Write as _;
use std::time::Duration;

use super::options::{Check, Options};
use crate::count::listing::{self, Table, grouped};
use crate::exec::{Finding, Report, Severity};
use crate::isa::Program;

/// The summary of a launch.
pub(super) fn text(options: &Options, program: &Program, report: &Report, took: Duration) -> String {
    let mut out = String::new();
    let target = program.target.map_or_else(String::new, |t| format!(", {t}"));
    let _ = writeln!(out, "kernel    {} ({}{target})", program.name, options.file.display());
    let cluster = options.cluster.map_or_else(String::new, |c| format!(", clusters {c}"));
    let checks = match options.check {
        Check::All => "all",
        Check::Strict => "strict",
        Check::None => "none",
    };
    let (grid, block, smem, seed) = (options.grid, options.block, options.smem, options.seed);
    let _ = writeln!(
        out,
        "launch    grid {grid}{cluster}, CTA {block}, {} B dynamic shared memory",
        grouped(smem.into())
    );
    let _ = writeln!(out, "run       seed {seed}, checks {checks}");
    let _ = writeln!(out, "result    {}", result(report, took));
    if !report.output.is_empty() {
        let _ = writeln!(out, "\nprinted");
        report.output.lines().for_each(|l| {
            let _ = writeln!(out, "  {l}");
        });
    }
    findings(&mut out, &report.findings);
    if let Some(counters) = &report.counters {
        let _ = write!(out, "\n{}", listing::summary(counters));
    }
    out
}

fn result(report: &Report, took: Duration) -> String {
    let worse = report.findings.iter().filter(|f| f.severity != Severity::Note).count();
    let how = match (report.completed, worse) {
        (false, _) => "ended by a fault; tensors are as they were at that moment".to_owned(),
        (true, 0) => "clean".to_owned(),
        (true, 1) => "completed with 1 finding".to_owned(),
        (true, n) => format!("completed with {n} findings"),
    };
    // The machine's own steps among the instructions are not counted by the counters.
    let executed = report.counters.as_ref().map_or(report.warp_instructions, |c| c.instructions.warp);
    format!("{how}; {} warp instructions in {:.3} s", grouped(executed), took.as_secs_f64())
}

fn findings(out: &mut String, list: &[Finding]) {
    if list.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nfindings");
    let titles = ["", "severity", "kind", "times", "place", "CTA", "thread", "address", "buffer"];
    let mut table = Table::new(&titles, &[1, 2, 4, 5, 6, 8]);
    for (i, f) in list.iter().enumerate() {
        let dims = |d: [u32; 3]| format!("{},{},{}", d[0], d[1], d[2]);
        table.row([
            (i + 1).to_string(),
            word(f.severity),
            word(f.kind),
            grouped(f.count),
            format!("{}:{}", f.place.function, f.place.line),
            f.thread.map_or_else(String::new, |t| dims(t.cta)),
            f.thread.map_or_else(String::new, |t| dims(t.thread)),
            f.address.map_or_else(String::new, |a| format!("{a:#x}")),
            f.buffer.clone().unwrap_or_default(),
        ]);
    }
    let _ = writeln!(out, "{table}");
    for (i, f) in list.iter().enumerate() {
        let _ = writeln!(out, "  {}  {}", i + 1, f.message);
        let mut place = format!("at `{}`", f.place.instruction);
        if let Some((file, line, _)) = &f.place.source {
            let _ = write!(place, ", {file}:{line}");
        }
        if let Some(o) = &f.other {
            let _ = write!(place, "; the other at {}:{} `{}`", o.function, o.line, o.instruction);
        }
        let _ = writeln!(out, "     {place}");
    }
}

/// A kind or severity as the report file names it.
fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

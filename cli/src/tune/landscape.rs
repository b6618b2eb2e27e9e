//! `jet-tune landscape PROBLEM…`: every legal candidate of a task, measured and written down.

use crate::common::exit::{FAILURE, INTERRUPTED, Usage};
use crate::common::output;
use crate::common::signal::Graceful;
use crate::common::table::Table;
use anyhow::Result;
use clap::Args;
use jet_autotune::DeviceBench;
use jet_autotune::clock::SystemClock;
use jet_autotune::landscape::{Landscape, record};
use jet_autotune::report::time;
use jet_codegen::schedule::Problem;
use jet_runtime::device;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measure every legal schedule of the given tasks, whatever it takes, and write the samples of each task into a file:
/// what the tuner's search strategies are compared on (`cargo xtask bench regret`).
///
/// A task is written as in `jet-tune run TARGET --dry-run`, without what comes after its format.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet-tune landscape 'ssd[d_head=64 d_state=128 groups=1 heads=8 tokens=64] f32' --out landscapes
  jet-tune landscape 'gemm[k=576 n=1536 tokens=64] q4_0/int8' --rounds 40 --threads 1 --json

Exit codes: 0 all tasks were recorded, 1 a task cannot be set up, 2 usage, 130 stopped.")]
pub(crate) struct LandscapeArgs {
    /// The tasks.
    #[arg(required = true, value_name = "PROBLEM")]
    problems: Vec<String>,
    /// The device.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Worker threads; 0 is one for each physical core.
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
    /// Samples of each candidate, one in each interleaved round.
    #[arg(long, default_value_t = 40, value_name = "N")]
    rounds: usize,
    /// The folder to write into.
    #[arg(long, default_value = "landscapes", value_name = "FOLDER")]
    out: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Recorded {
    task: String,
    file: String,
    candidates: usize,
    rejected: usize,
    default_ns: f64,
    best_ns: f64,
    best: String,
}

impl Recorded {
    fn of(landscape: &Landscape, file: String) -> Self {
        let best = landscape.best().unwrap_or(&landscape.rows[0]);
        Self {
            task: landscape.header.problem.clone(),
            file,
            candidates: landscape.rows.len(),
            rejected: landscape.rows.iter().filter(|row| row.rejected.is_some()).count(),
            default_ns: landscape.rows[0].seconds() * 1e9,
            best_ns: best.seconds() * 1e9,
            best: best.values.to_string(),
        }
    }
}

pub(crate) fn run(args: &LandscapeArgs, notes: bool) -> Result<ExitCode> {
    let parse = |text: &String| text.parse::<Problem>().map_err(|e| Usage(e.to_string()));
    let problems = args.problems.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let device = device::open(&args.device, args.threads)?;
    let (bench, clock, stop) = (DeviceBench(&*device), SystemClock::default(), Graceful::new());
    let (mut all, mut failed) = (Vec::new(), false);
    for problem in problems {
        match record(&bench, &problem, &device.describe(), args.rounds, &clock, stop.flag()) {
            Ok(Some(landscape)) => {
                let file = landscape.save(&args.out)?.display().to_string();
                if notes {
                    output::complain(&format!("{problem}: {} candidates, {file}", landscape.rows.len()));
                }
                all.push(Recorded::of(&landscape, file));
            }
            Ok(None) => return Ok(ExitCode::from(INTERRUPTED)),
            Err(reason) => {
                output::complain(&format!("{problem}: {reason}"));
                failed = true;
            }
        }
    }
    if args.json {
        output::json(&all)?;
    } else {
        let mut table =
            Table::new(&["task", ">candidates", ">rejected", ">default", ">best", "best schedule"]);
        for r in &all {
            let [candidates, rejected] = [r.candidates, r.rejected].map(|n| n.to_string());
            let (default, best) = (time(r.default_ns), time(r.best_ns));
            table.row([r.task.clone(), candidates, rejected, default, best, r.best.clone()]);
        }
        output::print(&table.to_string())?;
    }
    Ok(if failed { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS })
}

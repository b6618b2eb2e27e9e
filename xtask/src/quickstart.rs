//! `cargo xtask quickstart`: from a clean checkout to a tuned model that answers.

use crate::jet::{self, Measured, Workload, median};
use crate::process::{run as run_command, show};
use crate::{fetch, jet::binary};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Arguments of `quickstart`.
#[derive(Args)]
pub(crate) struct QuickstartArgs {
    /// What to ask the model.
    #[arg(long, default_value = "What is a compiler? Answer in two sentences.")]
    prompt: String,
    /// The most time that tuning may take.
    #[arg(long, default_value = "150s")]
    budget: String,
}

/// Exit code of `jet-tune` where it stored what it found and some tasks were not reached.
const OUT_OF_TIME: i32 = 3;

/// Rounds of the closing comparison; each measures default and tuned schedules once.
const ROUNDS: usize = 3;

pub(crate) fn run(args: &QuickstartArgs) -> Result<ExitCode> {
    step("1/5", "building jet (release)");
    jet::build()?;
    step("2/5", "getting a model");
    let model = fetch::model()?;
    println!("{}", model.display());
    step("3/5", "tuning it for this machine");
    let mut tune = Command::new(binary("jet-tune"));
    tune.arg("run").arg(&model).args(["--device", "cpu", "--budget", &args.budget]);
    let status = tune.status().with_context(|| format!("cannot run `{}`", show(&tune)))?;
    match status.code() {
        Some(0) => {}
        Some(OUT_OF_TIME) => {
            println!("the time was up before every task was reached; the others run with their defaults")
        }
        _ => bail!("`{}` failed ({status})", show(&tune)),
    }
    step("4/5", "asking it");
    println!("> {}", args.prompt);
    let mut ask = Command::new(binary("jet"));
    ask.arg("run").arg(&model).args(["--chat", "--max-tokens", "80", "--prompt", &args.prompt]);
    run_command(&mut ask)?;
    step("5/5", "default schedules against tuned ones");
    compare(&model)?;
    Ok(ExitCode::SUCCESS)
}

fn step(number: &str, what: &str) {
    println!("\n== {number} {what}");
}

/// Measures both in turns, so that a change of the machine's clock meets both.
fn compare(model: &Path) -> Result<()> {
    let workload =
        |defaults| Workload { model, prefill: 512, decode: 64, runs: 2, threads: 0, defaults, ids: None };
    let (mut default, mut tuned) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        default.push(jet::bench(&workload(true))?.0);
        tuned.push(jet::bench(&workload(false))?.0);
    }
    let of = |all: &[Measured], f: fn(&Measured) -> f64| {
        median(&all.iter().map(f).collect::<Vec<_>>()).context("nothing was measured")
    };
    println!("{:<28}{:>12}{:>12}{:>9}", "", "default", "tuned", "gain");
    type Row = (&'static str, fn(&Measured) -> f64, f64);
    let rows: [Row; 3] = [
        ("prefill of 512, tokens/s", |m| m.prefill, 1.0),
        ("decode after it, tokens/s", |m| m.decode, 1.0),
        ("peak memory, MiB", |m| m.peak_kib, 1.0 / 1024.0),
    ];
    for (name, get, unit) in rows {
        let (a, b) = (of(&default, get)?, of(&tuned, get)?);
        println!("{name:<28}{:>12.1}{:>12.1}{:>8.2}x", a * unit, b * unit, b / a);
    }
    println!("medians of {ROUNDS} interleaved rounds of 2 runs each");
    Ok(())
}

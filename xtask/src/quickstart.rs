//! `cargo xtask quickstart`: from a clean checkout to a tuned model that answers.

use crate::jet::{self, Measured, Workload, median};
use crate::process::run as run_command;
use crate::{fetch, jet::binary};
use anyhow::{Context, Result};
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
    run_command(&mut tune)?;
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
    let rows: [(&str, fn(&Measured) -> f64, f64); 3] = [
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

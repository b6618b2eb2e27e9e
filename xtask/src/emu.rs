//! `cargo xtask bench emu`: how fast the PTX emulator is, against its bars.

use crate::process::{cargo, run as run_command};
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;

/// Arguments of `bench emu`.
#[derive(Args)]
pub(crate) struct EmuArgs {
    /// Launches of each kernel, of which the median counts.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Only this kernel.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &EmuArgs) -> Result<ExitCode> {
    let mut bench = cargo(["bench", "--quiet", "-p", "jet-emu", "--bench", "speed", "--"]);
    bench.args(["--rounds", &args.rounds.to_string()]);
    if let Some(name) = &args.only {
        bench.args(["--only", name]);
    }
    if args.json {
        bench.arg("--json");
    }
    run_command(&mut bench)?;
    Ok(ExitCode::SUCCESS)
}

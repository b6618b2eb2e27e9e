//! `cargo xtask bench cold`: how long a model's GPU kernels take to compile, and to load when they are compiled.

use crate::process::{cargo, run as run_command};
use crate::{jet, target, toolchain};
use anyhow::Result;
use clap::Args;
use std::fs;
use std::process::{Command, ExitCode};

/// Arguments of `bench cold`.
#[derive(Args)]
pub(crate) struct ColdArgs {
    /// A preset.
    #[arg(long, default_value = "jet-nemotron-2b")]
    target: String,
    /// The architecture.
    #[arg(long, default_value = "sm_90a")]
    arch: String,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ColdArgs) -> Result<ExitCode> {
    toolchain::ensure_or_say();
    run_command(&mut cargo(["build", "--release", "--package", "jet-gpu", "--bins"]))?;
    let store = target().join("cold-kernels");
    if store.exists() {
        fs::remove_dir_all(&store)?;
    }
    let mut cold = Command::new(jet::binary("jet-gpu"));
    // A device that runs nothing: what is timed ends where a launch would begin.
    cold.args(["cold", "--target", &args.target, "--arch", &args.arch]).env("JET_EMULATED_CUBINS", "only");
    cold.arg("--store").arg(store);
    if args.json {
        cold.arg("--json");
    }
    run_command(&mut cold)?;
    Ok(ExitCode::SUCCESS)
}

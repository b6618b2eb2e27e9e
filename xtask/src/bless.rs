//! `cargo xtask bless`: the present output becomes the golden one. Look at the diff before you commit it.

use crate::process::{cargo, run as run_command};
use anyhow::Result;
use std::process::ExitCode;

pub(crate) fn run() -> Result<ExitCode> {
    // trybuild rewrites the `.stderr` files itself; the expansions are rewritten by their own test.
    run_command(cargo(["test", "--package", "jet-tests", "--test", "ui"]).env("TRYBUILD", "overwrite"))?;
    run_command(cargo(["test", "--package", "jet-macros"]).env("JET_BLESS", "1"))?;
    let kernels = ["test", "--package", "jet-codegen", "--features", "nvrtc", "--test", "kernels", "golden"];
    run_command(cargo(kernels).env("JET_BLESS", "1"))?;
    println!("now look at `git diff`");
    Ok(ExitCode::SUCCESS)
}

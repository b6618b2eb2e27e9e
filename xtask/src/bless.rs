//! `cargo xtask bless`: the present output becomes the golden one. Look at the diff before you commit it.

use crate::process::{cargo, run as run_command};
use crate::target;
use anyhow::{Context, Result};
use std::fs;
use std::process::ExitCode;

pub(crate) fn run() -> Result<ExitCode> {
    // trybuild rewrites the `.stderr` files itself; the expansions are rewritten by their own test.
    run_command(cargo(["test", "--package", "jet-tests", "--test", "ui"]).env("TRYBUILD", "overwrite"))?;
    run_command(cargo(["test", "--package", "jet-macros"]).env("JET_BLESS", "1"))?;
    let kernels = ["test", "--package", "jet-codegen", "--features", "nvrtc", "--test", "kernels", "golden"];
    run_command(cargo(kernels).env("JET_BLESS", "1"))?;
    deployment()?;
    println!("now look at `git diff`");
    Ok(ExitCode::SUCCESS)
}

/// The pack that the deployment example embeds: it names kernels by their source, so it follows every change of one.
fn deployment() -> Result<()> {
    let folder = target().join("xtask").join("deployment");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    let tune = |words: &[&str]| {
        let mut command = cargo(["run", "--quiet", "--package", "jet-cli", "--bin", "jet-tune", "--"]);
        run_command(command.args(words).env("JET_CACHE_DIR", &folder))
    };
    let model = "examples/deployment/src/model.rs";
    tune(&["run", model, "--device", "emulated:sm_80", "--tokens", "1,8", "--effort", "none"])?;
    tune(&["export", "examples/deployment/model.jetpack"])
}

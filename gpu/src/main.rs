//! What runs on a machine with a GPU, in one command: parity of every kernel and golden folder, the emulator's fixtures
//! on the driver, and a first timing of every kernel against its floor. `cargo xtask gpu` packs it.
//!
//! On an emulated device the same commands are a rehearsal: nothing is measured, and what is written says so.
#![forbid(unsafe_code)]

mod all;
mod cold;
mod fixtures;
mod kernels;
mod on_driver;
mod programs;
mod report;
mod time;

// The cases of the kernel tests, and the fixtures' descriptions and references, are the tests' own.
include!(concat!(env!("OUT_DIR"), "/families.rs"));
#[path = "../../emu/tests/common/mod.rs"]
mod common;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use jet_codegen::nvrtc::{CubinStore, Nvrtc};
use std::path::PathBuf;
use std::process::ExitCode;

/// Checks and timings on a GPU.
#[derive(Parser)]
#[command(name = "jet-gpu", about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Random cases of every kernel family against their references.
    Kernels(kernels::KernelsArgs),
    /// The emulator's fixtures on the driver and on the emulator, compared bit by bit.
    Fixtures(fixtures::FixturesArgs),
    /// Every kernel of the large models' layers against its floor.
    Time(time::TimeArgs),
    /// How long a model's kernels take to compile, and to load when they are compiled.
    Cold(cold::ColdArgs),
    /// All of it and the golden folders, each step under its own deadline.
    All(all::AllArgs),
    /// Say in a folder of compiled kernels that the compiler of this machine made them.
    Seal {
        /// The folder.
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was wrong.
fn run(command: Command) -> Result<bool> {
    match command {
        Command::Kernels(args) => kernels::run(&args),
        Command::Fixtures(args) => fixtures::run(&args),
        Command::Time(args) => time::run(&args),
        Command::Cold(args) => cold::run(&args),
        Command::All(args) => all::run(&args),
        Command::Seal { folder } => {
            let version = Nvrtc::get()?.version();
            CubinStore::new(&folder).seal(&version).with_context(|| folder.display().to_string())?;
            Ok(true)
        }
    }
}

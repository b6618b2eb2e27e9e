//! The developer commands: `cargo xtask test`, `quickstart`, `bench peers` and the rest.
//!
//! This crate knows no jet crate: it runs cargo, the built binaries and Python, and reads what they print.
#![forbid(unsafe_code)]

mod bless;
mod ci;
mod cold;
mod count;
mod counters;
mod emu;
mod fetch;
mod gpu;
mod jet;
mod peers;
mod process;
mod quickstart;
mod setup;
mod suites;
mod toolchain;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Developer commands of jet.
#[derive(Parser)]
#[command(name = "cargo xtask", about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Look whether this machine has what the other commands need, and fetch NVRTC into `target/toolchain`.
    Setup,
    /// Run every test; the last line is `N passed, N failed, N skipped`.
    Test(suites::TestArgs),
    /// Formatting, lints and every test: what `.ci/run` runs.
    Ci,
    /// Build, fetch a real model, tune it for this machine, let it answer, and compare.
    Quickstart(quickstart::QuickstartArgs),
    /// Put the model that tests and benches use into jet's cache folder.
    FetchModel,
    /// Accept the present output as the golden one: compiler messages and expansions.
    Bless,
    /// Pack what a GPU machine without Rust or network needs, with the one command there; or rehearse that here.
    Gpu(gpu::GpuArgs),
    /// Comparisons with other programs.
    #[command(subcommand)]
    Bench(BenchCommand),
}

#[derive(Subcommand)]
enum BenchCommand {
    /// jet against llama.cpp on one model, interleaved.
    Peers(peers::PeersArgs),
    /// The PTX emulator: instructions and FLOPs a second of one core, with the checks off and on.
    Emu(emu::EmuArgs),
    /// How long a model's GPU kernels take to compile, and to load when they are compiled.
    Cold(cold::ColdArgs),
    /// jet's GPU kernels against Triton's and fla-core's, by what they do on the emulator.
    Counters(counters::CountersArgs),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup => setup::run(),
        Command::Test(args) => suites::run(&args),
        Command::Ci => ci::run(),
        Command::Quickstart(args) => quickstart::run(&args),
        Command::FetchModel => {
            println!("{}", fetch::model()?.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Bless => bless::run(),
        Command::Gpu(args) => gpu::run_gpu(&args),
        Command::Bench(BenchCommand::Peers(args)) => peers::run(&args),
        Command::Bench(BenchCommand::Emu(args)) => emu::run(&args),
        Command::Bench(BenchCommand::Cold(args)) => cold::run(&args),
        Command::Bench(BenchCommand::Counters(args)) => counters::run(&args),
    }
}

/// The repository's root.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask/ lies in the root").to_owned()
}

/// Where cargo builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

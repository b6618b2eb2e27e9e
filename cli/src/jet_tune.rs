//! The command line of `jet-tune`.

use crate::command::completions;
use crate::common::exit::{self, HELP};
use crate::common::log::Verbosity;
use crate::common::signal;
use crate::tune::{
    coverage, diff, doctor, explain, export, gc, import, landscape, merge, pin, plan, precision, run, show,
    verify, worker,
};
use anyhow::Result;
use clap::{CommandFactory as _, Parser, Subcommand};
use std::process::ExitCode;

/// Finds the fastest schedules for a model on this machine, and keeps them.
#[derive(Debug, Parser)]
#[command(name = "jet-tune", version, arg_required_else_help = true, after_help = HELP, max_term_width = 110)]
struct JetTune {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    verbosity: Verbosity,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::RunArgs>),
    Verify(Box<verify::VerifyArgs>),
    Plan(Box<plan::PlanArgs>),
    Precision(Box<precision::PrecisionArgs>),
    Coverage(Box<coverage::CoverageArgs>),
    Show(show::ShowArgs),
    Explain(explain::ExplainArgs),
    Diff(diff::DiffArgs),
    Merge(merge::MergeArgs),
    Export(export::ExportArgs),
    Import(import::ImportArgs),
    Pin(pin::PinArgs),
    Gc(gc::GcArgs),
    Landscape(landscape::LandscapeArgs),
    Doctor(doctor::DoctorArgs),
    Completions(completions::CompletionsArgs),
    #[command(hide = true)]
    Worker(worker::WorkerArgs),
}

/// Runs `jet-tune` with the arguments of this process and gives its exit code.
pub fn main() -> ExitCode {
    let tune = JetTune::parse();
    // A tuner tries what does not work, and its report says so; warnings of that would only break the bars.
    tune.verbosity.install("error");
    signal::install();
    exit::finish(dispatch(tune))
}

fn dispatch(tune: JetTune) -> Result<ExitCode> {
    let notes = tune.verbosity.notes();
    match tune.command {
        Command::Run(args) => run::run(&args, notes),
        Command::Verify(args) => verify::run(&args, notes),
        Command::Plan(args) => plan::run(&args, notes),
        Command::Precision(args) => precision::run(&args, notes),
        Command::Coverage(args) => coverage::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Pin(args) => pin::run(&args),
        Command::Gc(args) => gc::run(&args),
        Command::Landscape(args) => landscape::run(&args, notes),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::run(&args, JetTune::command()),
        Command::Worker(args) => worker::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        JetTune::command().debug_assert();
    }
}

//! The command line of `jet`.

use crate::check;
use crate::command::{bench, chat, completions, doctor, emit, plan, run, spec};
use crate::common::exit::{self, HELP};
use crate::common::log::Verbosity;
use crate::common::signal;
use anyhow::Result;
use clap::{CommandFactory as _, Parser, Subcommand};
use std::process::ExitCode;

/// Runs, measures and explains hybrid language models.
#[derive(Debug, Parser)]
#[command(name = "jet", version, arg_required_else_help = true, after_help = HELP, max_term_width = 110)]
struct Jet {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    verbosity: Verbosity,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::RunArgs>),
    Chat(Box<chat::ChatArgs>),
    Spec(spec::SpecArgs),
    Plan(plan::PlanArgs),
    Emit(emit::EmitArgs),
    Check(check::CheckArgs),
    Bench(Box<bench::BenchArgs>),
    Doctor(doctor::DoctorArgs),
    Completions(completions::CompletionsArgs),
}

/// Runs `jet` with the arguments of this process and gives its exit code.
pub fn main() -> ExitCode {
    let jet = Jet::parse();
    jet.verbosity.install("warn");
    signal::install();
    exit::finish(dispatch(jet))
}

fn dispatch(jet: Jet) -> Result<ExitCode> {
    let notes = jet.verbosity.notes();
    match jet.command {
        Command::Run(args) => run::run(&args, notes),
        Command::Chat(args) => chat::run(&args, notes),
        Command::Spec(args) => spec::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Emit(args) => emit::run(&args),
        Command::Check(args) => check::run(args),
        Command::Bench(args) => bench::run(&args, notes),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::run(&args, Jet::command()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Jet::command().debug_assert();
    }
}

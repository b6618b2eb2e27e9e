//! `jet-tune worker`: the process that measures for `jet-tune run` and `jet-tune verify`. Hidden: it is of no use to a person.

use anyhow::Result;
use clap::Args;
use jet_autotune::worker::{DeviceHost, Host, serve};
use std::io::{self, BufReader};
use std::process::ExitCode;

/// Measure for another `jet-tune`: questions on stdin, answers on stdout, a JSON object a line.
#[derive(Clone, Debug, Args)]
pub(crate) struct WorkerArgs {}

pub(crate) fn run(_args: &WorkerArgs) -> Result<ExitCode> {
    serve(BufReader::new(io::stdin()), io::stdout(), &|name, threads| {
        DeviceHost::open(name, threads).map(|host| Box::new(host) as Box<dyn Host>)
    })?;
    Ok(ExitCode::SUCCESS)
}

//! The device that is tuned, in a worker process or in this one.

use anyhow::{Result, anyhow};
use clap::Args;
use jet_autotune::subject::Workbench;
use jet_autotune::worker::{Deadlines, Description, DeviceHost, Host, Launcher, PlanAsk, WorkerBench};
use jet_autotune::{DeviceBench, Task, parse_budget};
use jet_codegen::schedule::Family;
use jet_codegen::{arch, kernel};
use jet_runtime::device::{self, Device};
use jet_runtime::{cpu, cuda, emulated};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// How candidates are kept from doing harm.
#[derive(Clone, Debug, Args)]
pub(crate) struct IsolationArgs {
    /// Measure in this process: a candidate that crashes or hangs then takes the whole run with it.
    #[arg(long)]
    pub(crate) no_worker: bool,
    /// Longest time for setting a problem up, its reference included.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    setup_timeout: Duration,
    /// Longest time for compiling and loading one candidate.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration)]
    compile_timeout: Duration,
    /// Longest time for one launch.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    launch_timeout: Duration,
    /// Longest time without a sign of life from the worker.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    silence_timeout: Duration,
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_budget(text).map_err(|e| e.to_string())
}

/// A device that can be worked on.
pub(super) enum Machine {
    /// In a process of its own.
    Worker(Box<WorkerBench>),
    /// In this one.
    Here(Arc<dyn Device>, Box<Description>),
}

impl Machine {
    /// Opens the device called `name`, where `isolation` says.
    pub(super) fn open(name: &str, threads: usize, isolation: &IsolationArgs) -> Result<Self> {
        if isolation.no_worker {
            let device = device::open(name, threads)?;
            let description = DeviceHost::of(Arc::clone(&device)).describe();
            return Ok(Self::Here(device, Box::new(description)));
        }
        let program = std::env::current_exe()?;
        let launcher = Launcher {
            command: Box::new(move || {
                let mut command = Command::new(&program);
                command.arg("worker");
                command
            }),
            device: name.to_owned(),
            threads,
            deadlines: Deadlines {
                setup: isolation.setup_timeout,
                compile: isolation.compile_timeout,
                launch: isolation.launch_timeout,
                silence: isolation.silence_timeout,
                ..Deadlines::default()
            },
        };
        Ok(Self::Worker(Box::new(WorkerBench::start(launcher, &families)?)))
    }

    /// What it is.
    pub(super) fn description(&self) -> &Description {
        match self {
            Self::Worker(bench) => bench.description(),
            Self::Here(_, description) => description,
        }
    }

    /// The tasks of a model on it.
    pub(super) fn plan(&self, ask: &PlanAsk) -> Result<Vec<Task>> {
        match self {
            Self::Worker(bench) => Ok(bench.plan(ask)?),
            Self::Here(device, _) => DeviceHost::of(Arc::clone(device)).plan(ask).map_err(|e| anyhow!(e)),
        }
    }

    /// Lets `work` work on it.
    pub(super) fn work<R>(&self, work: impl FnOnce(&dyn Workbench) -> R) -> R {
        match self {
            Self::Worker(bench) => work(&**bench),
            Self::Here(device, _) => work(&DeviceBench(&**device)),
        }
    }
}

/// The kernel families of a device, known without opening it.
fn families(device: &Description) -> Vec<&'static dyn Family> {
    let gpu = device.name.starts_with(emulated::PREFIX) || device.name.starts_with(cuda::PREFIX);
    let arch = device.hard.get("arch").filter(|_| gpu).and_then(|arch| arch::parse(arch).ok());
    arch.map_or_else(|| cpu::FAMILIES.to_vec(), |arch| kernel::families(arch).to_vec())
}

//! `jet check`: a device against reference values.
//!
//! Cases say what they are (see [`discover`]); each op has a file in [`op`], whole models are in [`checkpoint`].
//! Everything runs through [`jet_runtime::device::Device`], in every form in which a sequence can be fed, with
//! every value of every schedule parameter the device offers for it. The worst error counts.

pub mod case;
pub mod checkpoint;
pub mod discover;
pub mod expect;
pub mod forms;
pub mod op;
pub mod program;
pub mod report;
pub mod rig;
pub mod schedules;
pub mod tally;
pub mod weights;

use crate::common::output;
use anyhow::{Context as _, Result, anyhow, bail};
use case::CaseFile;
use clap::{Args, ValueEnum};
use discover::Found;
use jet_runtime::device::{Device, Precision, open};
use report::{CaseReport, Report};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tally::Tallies;

/// Arithmetic that can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CheckPrecision {
    /// float32 throughout; judged by `tol_abs` and `tol_rms`.
    #[default]
    F32,
    /// bfloat16 activations and caches; logits judged by `tol_bf16_rel_rms`.
    Bf16,
}

impl From<CheckPrecision> for Precision {
    fn from(p: CheckPrecision) -> Self {
        match p {
            CheckPrecision::F32 => Precision::F32,
            CheckPrecision::Bf16 => Precision::Bf16,
        }
    }
}

/// Compare a device with reference values and print the errors per tensor.
///
/// Exit code 0: everything is within its tolerance. 1: something is not, or a case cannot be read. 3: nothing is
/// wrong, but some case is of an op this version does not know, or needs --model.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Case files, checkpoint folders with an expected.safetensors, or folders with either inside.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// The device to check.
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Its arithmetic.
    #[arg(long, value_enum, default_value_t)]
    pub precision: CheckPrecision,
    /// The GGUF file that the cases of one are about.
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Worker threads; 0 is as many as the machine has cores.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What a check works with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The device.
    pub device: &'a dyn Device,
    /// Its arithmetic.
    pub precision: Precision,
    /// The GGUF file, where one was given.
    pub model: Option<&'a Path>,
}

/// Tokens of greedy continuations that agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Greedy {
    /// Equal ones.
    pub agree: usize,
    /// All.
    pub total: usize,
}

/// Runs the command.
pub fn run(args: CheckArgs) -> Result<ExitCode> {
    let device = open(&args.device, args.threads)?;
    let cx = Context { device: &*device, precision: args.precision.into(), model: args.model.as_deref() };
    if let Some(model) = cx.model
        && !model.is_file()
    {
        bail!("--model {}: there is no such file", model.display());
    }
    // An error is told in one line, so its causes go into that line.
    let report = check(&cx, &args.paths).map_err(|e| anyhow!("{e:#}"))?;
    if args.json {
        output::json(&report)?;
    } else {
        output::print(&report.to_string())?;
    }
    Ok(report.exit_code())
}

/// Checks everything under `paths`. A case that cannot be read is a failed case of the report.
///
/// # Errors
/// Where the paths do not hold cases and nothing but cases: see [`discover::discover`].
pub fn check(cx: &Context<'_>, paths: &[PathBuf]) -> Result<Report> {
    let mut found = Vec::new();
    for path in paths {
        found.extend(discover::discover(path)?);
    }
    found.dedup();
    let cases = found.iter().map(|f| check_one(cx, f)).collect();
    Ok(Report::new(cx, cases))
}

fn check_one(cx: &Context<'_>, found: &Found) -> CaseReport {
    let mut report = CaseReport::new(found);
    let mut tallies = Tallies::default();
    let outcome = match found {
        Found::Checkpoint(folder) => checkpoint::run(cx, folder, &mut tallies),
        Found::Op(path) => run_op(cx, path, &mut report, &mut tallies),
    };
    match outcome {
        Ok(greedy) => {
            report.greedy = greedy;
            report.rows = tallies.finish();
        }
        Err(e) => report.error = Some(format!("{e:#}")),
    }
    report
}

fn run_op(
    cx: &Context<'_>,
    path: &Path,
    report: &mut CaseReport,
    tallies: &mut Tallies,
) -> Result<Option<Greedy>> {
    let case = CaseFile::open(path)?;
    report.op = case.op().context("the metadata names no `op`")?.to_owned();
    let Some(check) = op::find(&report.op) else {
        report.not_checked = true;
        let known: Vec<&str> = op::ALL.iter().map(|c| c.op).collect();
        bail!("the op `{}` is not known to this version; it knows {}", report.op, known.join(", "));
    };
    if check.needs_model && cx.model.is_none() {
        report.not_checked = true;
        let file = case.param_or_none("source").unwrap_or("the GGUF file it is about");
        bail!("this case needs --model FILE, with {file}");
    }
    let greedy = (check.run)(cx, &case, tallies)?;
    for name in case.unread() {
        tallies.not_exposed(&name, "no check reads this tensor");
    }
    Ok(greedy)
}

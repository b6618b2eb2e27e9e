//! `jet-tune precision TARGET`: which arithmetic each block gets, under a bound on the answers.

use crate::common::args::{RandomArgs, TARGET};
use crate::common::exit::{INTERRUPTED, Usage};
use crate::common::output;
use crate::common::signal::Graceful;
use crate::common::table::Table;
use anyhow::{Context as _, Result};
use clap::Args;
use jet_autotune::clock::{Clock as _, SystemClock};
use jet_autotune::options::host_hash;
use jet_autotune::precision::calibration::{Calibration, POSITIONS, TEXT};
use jet_autotune::precision::cost::Parts;
use jet_autotune::precision::judge::Judge;
use jet_autotune::precision::{PrecisionOptions, PrecisionReport, find};
use jet_autotune::report::time;
use jet_autotune::{DeviceBench, TuneError};
use jet_cache::folders::schedules_folder;
use jet_cache::{Overlay, Provenance};
use jet_codegen::{LowerOptions, lower};
use jet_models::session::{DeviceWeights, Schedules, recipe_key};
use jet_models::target::Target;
use jet_runtime::device;
use jet_runtime::recipe::Part;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Choose the precision of each block, of the head and of the KV caches: the fastest whose next-token distributions
/// stay near those of float32. What is chosen is stored; sessions take it with `--precision tuned`.
///
/// Times are those of `jet-tune run` where it has tuned the kernels in question, so run it before with each precision that is
/// to be weighed (`--precision f32`, `bf16`, `native`); other kernels are measured with their default schedules. A target
/// without weights gets random weights, whose recipe says nothing about trained ones.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet-tune precision model.gguf
  jet-tune precision model.gguf --max-kl 0.0005 --calibration my-domain.txt
  jet run model.gguf --precision tuned --prompt Hello

Exit codes: 0 a recipe is stored, 1 failure, 2 usage, 130 stopped.")]
pub(crate) struct PrecisionArgs {
    #[arg(help = TARGET)]
    target: String,
    /// The device.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Worker threads; 0 is one for each physical core.
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
    #[command(flatten)]
    random: RandomArgs,
    /// Mean KL divergence that the whole recipe may have from the float32 reference, in nats for each next-token
    /// distribution. The default is about what storing weights in 8 bits costs.
    #[arg(long, default_value_t = PrecisionOptions::default().max_kl, value_name = "NATS", value_parser = bound)]
    max_kl: f64,
    /// Relative error that a single kernel may have. The default admits all that are within their own tolerance.
    #[arg(long, default_value_t = PrecisionOptions::default().max_rel_err, value_name = "ERROR", value_parser = bound)]
    max_rel_err: f64,
    /// The text on which distributions are compared; the default is a built-in one.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Tokens of the text that are compared.
    #[arg(long, default_value_t = POSITIONS, value_name = "N")]
    positions: usize,
    /// Tokens of the run whose time is to be saved; 1 is a decode step.
    #[arg(long, default_value_t = 1, value_name = "N")]
    tokens: usize,
    /// Store nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn bound(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    number
        .filter(|n| n.is_finite() && *n >= 0.0)
        .ok_or_else(|| "expected a number from 0 on, as in 0.002".to_owned())
}

#[derive(Serialize)]
struct Found<'a> {
    model: &'a str,
    weights: &'a str,
    random_seed: Option<u64>,
    device: String,
    grade: &'static str,
    stored: bool,
    #[serde(flatten)]
    report: &'a PrecisionReport,
}

pub(crate) fn run(args: &PrecisionArgs, notes: bool) -> Result<ExitCode> {
    for (what, size) in [("--positions", args.positions), ("--tokens", args.tokens)] {
        if size == 0 {
            return Err(Usage(format!("{what} is 0; it must be at least 1")).into());
        }
    }
    let target = Target::resolve(&args.target)?;
    let device = device::open(&args.device, args.threads)?;
    let weights = target.weights(args.random.or_where_none_are(&target))?;
    let described =
        weights.seed().map_or_else(|| weights.describe(), |seed| format!("random weights (seed {seed})"));
    // Before the long part: what cannot be stored should not be looked for.
    let key = recipe_key(&*device, &*weights)?;
    let mut overlay = match args.dry_run {
        true => None,
        false => Some(Overlay::open(&schedules_folder()?, env!("CARGO_PKG_VERSION"))?),
    };
    let calibration = calibration(args, &target)?;
    if notes {
        output::complain(&format!("{}, {described}, on {}", target.spec().name, device.describe()));
        output::complain(&format!("calibration: {}", calibration.origin));
    }
    let program = lower(target.spec(), LowerOptions::default());
    let dtype = |id| weights.info(id).ok().map(|info| info.dtype);
    let parts = Parts::new(&*device, &program, &dtype, args.tokens);
    let schedules = Schedules::default().open();
    let source = DeviceWeights::new(&*weights);
    let mut judge = Judge::new(&*device, program.clone(), &source, &schedules, &calibration);
    let options =
        PrecisionOptions { max_kl: args.max_kl, max_rel_err: args.max_rel_err, tokens: args.tokens };
    let stop = Graceful::new();
    let mut tell = |line: &str| {
        if notes {
            output::complain(line);
        }
    };
    let bench = DeviceBench(&*device);
    let report = match find(&mut judge, &parts, &bench, &options, stop.flag(), &mut tell) {
        Err(stopped @ TuneError::Stopped) => {
            output::complain(&stopped.to_string());
            return Ok(ExitCode::from(INTERRUPTED));
        }
        other => other?,
    };
    if let Some(overlay) = &mut overlay {
        overlay.keep_recipe(report.record(key, &target.spec().name, provenance()))?;
        overlay.notices().iter().for_each(|notice| output::complain(&format!("note: {notice}")));
    }
    let found = Found {
        model: &target.spec().name,
        weights: &described,
        random_seed: weights.seed(),
        device: device.describe(),
        grade: "measured",
        stored: overlay.is_some(),
        report: &report,
    };
    match args.json {
        true => output::json(&found)?,
        false => output::print(&shown(&found))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn calibration(args: &PrecisionArgs, target: &Target) -> Result<Calibration> {
    let own = args.calibration.as_ref();
    let read = own.map(|path| {
        std::fs::read_to_string(path)
            .with_context(|| format!("the calibration {} cannot be read", path.display()))
    });
    let text = read.transpose()?;
    let origin = own.map_or_else(|| "the built-in text".to_owned(), |path| path.display().to_string());
    Ok(Calibration::of_text(target, text.as_deref().unwrap_or(TEXT), &origin, args.positions)?)
}

fn provenance() -> Provenance {
    Provenance {
        jet: env!("CARGO_PKG_VERSION").to_owned(),
        command: super::run::command_line(),
        time: SystemClock::default().date(),
        host: host_hash(),
        reason: String::new(),
    }
}

fn shown(found: &Found<'_>) -> String {
    let r = found.report;
    let ns = |seconds: f64| time(seconds * 1e9);
    let mut out = format!("{}, {}, measured on {}\n\n", found.model, found.weights, found.device);
    let mut parts = Table::new(&["part", "precision", ">divergence", ">time", ">in f32", ">error", ""]);
    for p in &r.parts {
        let note = match (p.chosen, p.admitted) {
            (true, _) => "chosen",
            (false, false) => "error beyond the bound",
            (false, true) if p.seconds >= p.reference_seconds => "not faster",
            (false, true) => "",
        };
        let name = match p.part {
            Part::Layer(layer) => format!("layer {layer}"),
            other => other.to_string(),
        };
        parts.row([
            name,
            p.precision.name().to_owned(),
            format!("{:.2e}", p.kl),
            ns(p.seconds),
            ns(p.reference_seconds),
            format!("{:.1e}", p.rel_err),
            note.to_owned(),
        ]);
    }
    let mut front = Table::new(&[">divergence", ">time", ">speedup", "recipe", ""]);
    for p in &r.front {
        let speedup = r.reference_seconds / p.seconds.max(f64::MIN_POSITIVE);
        let chosen = if p.chosen { "chosen" } else { "" };
        front.row([
            format!("{:.2e}", p.kl),
            ns(p.seconds),
            format!("{speedup:.2}x"),
            p.recipe.to_string(),
            chosen.to_owned(),
        ]);
    }
    out += &format!(
        "{parts}\nPareto front (time of the kernels that precision changes, {} tokens):\n{front}\n",
        r.tokens
    );
    out += &format!("recipe: {}\n", r.recipe);
    out += &format!("divergence {:.2e} of at most {:.2e}, over {}\n", r.kl, r.max_kl, r.calibration);
    out += &format!(
        "decode step {} instead of {} ({:.2}x)\n",
        ns(r.step_seconds),
        ns(r.reference_step_seconds),
        r.reference_step_seconds / r.step_seconds
    );
    out + match found.stored {
        true => "stored; use it with --precision tuned\n",
        false => "not stored\n",
    }
}

//! `jet bench`: how fast prefill and decode are.

use super::generation::{self, ScheduleCounts};
use crate::common::args::{LoadArgs, TARGET};
use crate::common::exit::{INTERRUPTED, Usage};
use crate::common::signal::Graceful;
use crate::common::table::Table;
use crate::common::units::median;
use crate::common::{memory, output};
use anyhow::Result;
use clap::Args;
use jet_models::session::Session;
use jet_models::target::Target;
use jet_runtime::bytes;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Measure tokens per second: of a prompt, and of the tokens after it, one at a time.
///
/// Each run opens a new sequence, feeds the prompt, and decodes greedily behind it. The first run warms up and is not
/// counted. Medians are given. The prompt is a fixed series of token ids unless --ids gives others.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    #[arg(help = TARGET)]
    target: String,
    /// Tokens of the prompt.
    #[arg(long, default_value_t = 512, value_name = "N")]
    prefill: usize,
    /// Tokens decoded behind it.
    #[arg(long, default_value_t = 64, value_name = "N")]
    decode: usize,
    /// Runs that count.
    #[arg(long, default_value_t = 5, value_name = "N")]
    runs: usize,
    /// A file with the prompt's token ids, separated by commas or spaces; the first --prefill of them are taken.
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    #[command(flatten)]
    load: LoadArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Seconds of one run.
#[derive(Clone, Copy, Debug)]
struct Sample {
    prefill: f64,
    decode: f64,
}

/// Tokens a second over all runs.
#[derive(Debug, Serialize)]
struct Rate {
    tokens: usize,
    median: f64,
    min: f64,
    max: f64,
    samples: Vec<f64>,
}

impl Rate {
    fn of(tokens: usize, seconds: impl Iterator<Item = f64>) -> Self {
        let samples: Vec<f64> = seconds.map(|s| if s > 0.0 { tokens as f64 / s } else { 0.0 }).collect();
        let (min, max) = samples.iter().fold((f64::INFINITY, 0.0f64), |(lo, hi), s| (lo.min(*s), hi.max(*s)));
        Self {
            tokens,
            median: median(&samples),
            min: if samples.is_empty() { 0.0 } else { min },
            max,
            samples,
        }
    }
}

#[derive(Serialize)]
struct Bench<'a> {
    model: &'a str,
    weights: &'a str,
    random_seed: Option<u64>,
    device: String,
    precision: String,
    grade: &'static str,
    runs: usize,
    prefill_tokens_per_second: f64,
    decode_tokens_per_second: f64,
    prefill: Rate,
    decode: Rate,
    load_seconds: f64,
    peak_memory_bytes: Option<u64>,
    model_memory_bytes: u64,
    schedules: ScheduleCounts,
    /// The tokens decoded in the last run: the same prompt gives the same ones.
    decoded: Vec<u32>,
}

pub(crate) fn run(args: &BenchArgs, notes: bool) -> Result<ExitCode> {
    if args.runs == 0 || args.prefill == 0 {
        return Err(Usage("--runs and --prefill must be at least 1".to_owned()).into());
    }
    let given = args.ids.as_deref().map(|path| {
        let text = std::fs::read_to_string(path)
            .map_err(|e| anyhow::anyhow!("{}: cannot read it: {e}", path.display()))?;
        super::run::parse_ids(text.trim().trim_matches(['[', ']']))
    });
    let given = given.transpose()?;
    let target = Target::resolve(&args.target)?;
    let room = args.prefill.saturating_add(args.decode);
    let mut options = args.load.options();
    // Enough room for the whole run, where the model allows it.
    let longest = target.spec().max_context as usize;
    options.context = options.context.or(Some(room.clamp(1, longest)));
    let begun = Instant::now();
    let mut session = generation::load(&target, &options, notes)?;
    let load_seconds = begun.elapsed().as_secs_f64();
    let prompt = prompt(given, args.prefill, session.spec().vocab)?;
    let stop = Graceful::new();
    let mut samples = Vec::with_capacity(args.runs);
    let mut decoded = Vec::new();
    for run in 0..=args.runs {
        if stop.stopped() {
            return Ok(ExitCode::from(INTERRUPTED));
        }
        let (sample, ids) = measure(&mut session, &prompt, args.decode)?;
        if run > 0 {
            samples.push(sample);
        }
        decoded = ids;
    }
    let prefill = Rate::of(prompt.len(), samples.iter().map(|s| s.prefill));
    let decode = Rate::of(args.decode, samples.iter().map(|s| s.decode));
    let bench = Bench {
        model: &session.spec().name,
        weights: &session.origin().weights,
        random_seed: session.origin().seed,
        device: session.device().describe(),
        precision: session.recipe().to_string(),
        grade: "measured",
        runs: args.runs,
        prefill_tokens_per_second: prefill.median,
        decode_tokens_per_second: decode.median,
        prefill,
        decode,
        load_seconds,
        peak_memory_bytes: memory::peak(),
        model_memory_bytes: session.footprint().total(),
        schedules: ScheduleCounts::of(&session),
        decoded,
    };
    if args.json {
        output::json(&bench)?;
    } else {
        output::print(&shown(&bench, &session))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The prompt: given ids, or a series that visits the whole vocabulary and is the same everywhere.
fn prompt(given: Option<Vec<u32>>, length: usize, vocab: u32) -> Result<Vec<u32>> {
    let Some(mut ids) = given else {
        let step = |i: usize| (i as u64).wrapping_mul(2_654_435_761).wrapping_add(12_345);
        return Ok((0..length).map(|i| (step(i) % u64::from(vocab)) as u32).collect());
    };
    if ids.len() < length {
        let message = format!("--ids has {} token ids and --prefill asks for {length}", ids.len());
        return Err(Usage(message).into());
    }
    ids.truncate(length);
    Ok(ids)
}

fn measure(session: &mut Session, prompt: &[u32], decode: usize) -> Result<(Sample, Vec<u32>)> {
    let sequence = session.open()?;
    let begun = Instant::now();
    let mut next = best(session.prefill(sequence, prompt)?);
    let prefill = begun.elapsed().as_secs_f64();
    let mut decoded = Vec::with_capacity(decode);
    let begun = Instant::now();
    for _ in 0..decode {
        decoded.push(next);
        next = best(session.step(sequence, next)?);
    }
    let decode = begun.elapsed().as_secs_f64();
    session.close(sequence);
    Ok((Sample { prefill, decode }, decoded))
}

/// The most likely token: the lowest id among equals.
fn best(logits: &[f32]) -> u32 {
    let better = |best: (usize, f32), (i, v): (usize, &f32)| if *v > best.1 { (i, *v) } else { best };
    logits.iter().enumerate().fold((0, f32::NEG_INFINITY), better).0 as u32
}

fn shown(bench: &Bench<'_>, session: &Session) -> String {
    let mut out = format!("{}, {}\n", bench.model, bench.weights);
    out += &format!("{}, precision {}\n\n", bench.device, bench.precision);
    let mut table = Table::new(&["", ">tokens", ">tokens/s", ">min", ">max"]);
    for (name, rate) in [("prefill", &bench.prefill), ("decode", &bench.decode)] {
        let number = |x: f64| format!("{x:.1}");
        table.row([
            name.to_owned(),
            rate.tokens.to_string(),
            number(rate.median),
            number(rate.min),
            number(rate.max),
        ]);
    }
    out += &table.to_string();
    let word = if bench.runs == 1 { "run" } else { "runs" };
    out += &format!("\nmedians of {} {word}, measured; loaded in {:.2} s\n", bench.runs, bench.load_seconds);
    out += &format!("model memory {}", bytes(bench.model_memory_bytes));
    if let Some(peak) = bench.peak_memory_bytes {
        out += &format!(", peak of the process {}", bytes(peak));
    }
    out += &format!("\nschedules: {}\n", session.selection().summary());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_the_same_each_time_and_inside_the_vocabulary() {
        let ids = prompt(None, 300, 100).unwrap();
        assert_eq!(ids, prompt(None, 300, 100).unwrap());
        assert!(ids.iter().all(|id| *id < 100));
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert!(unique.len() > 50);
        assert_eq!(prompt(Some(vec![5, 6, 7]), 2, 100).unwrap(), [5, 6]);
        assert!(prompt(Some(vec![5]), 2, 100).unwrap_err().to_string().contains("1 token ids"));
    }

    #[test]
    fn rates_are_medians_of_tokens_over_seconds() {
        let rate = Rate::of(10, [1.0, 2.0, 5.0].into_iter());
        assert_eq!((rate.median, rate.min, rate.max), (5.0, 2.0, 10.0));
        assert_eq!(Rate::of(0, std::iter::empty()).min, 0.0);
    }

    #[test]
    fn the_best_token_is_the_first_of_the_largest() {
        assert_eq!(best(&[0.0, 3.0, 3.0, -1.0]), 1);
    }
}

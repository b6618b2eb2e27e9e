//! `cargo xtask bench peers`: jet and llama.cpp on the same model with the same tokens, in turns.

use crate::jet::{self, Workload, median, number};
use crate::process::{json, run as run_command};
use crate::{fetch, root};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const PACKAGE: &str = "llama-cpp-python==0.3.36";

/// Arguments of `bench peers`.
#[derive(Args)]
pub(crate) struct PeersArgs {
    /// Threads of each contestant.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Tokens of the prompt.
    #[arg(long, default_value_t = 512)]
    prefill: usize,
    /// Tokens decoded after it.
    #[arg(long, default_value_t = 64)]
    decode: usize,
    /// Rounds; in each every contestant is started once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measured runs of a contestant each time it is started, after one to warm up.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Figures of one contestant, one value for each run or start.
#[derive(Debug, Default)]
struct Figures {
    prefill: Vec<f64>,
    decode: Vec<f64>,
    peak_kib: Vec<f64>,
}

impl Figures {
    fn median(&self, get: fn(&Self) -> &Vec<f64>) -> Result<f64> {
        median(get(self)).context("nothing was measured")
    }
}

pub(crate) fn run(args: &PeersArgs) -> Result<ExitCode> {
    if args.prefill == 0 || args.decode == 0 || args.rounds == 0 || args.runs == 0 || args.threads == 0 {
        bail!("--prefill, --decode, --rounds, --runs and --threads must be at least 1");
    }
    let python = environment()?;
    let model = fetch::model()?;
    jet::build()?;
    let ids = IdsFile::new(args.prefill)?;
    let (mut jet, mut plain, mut flash) = (Figures::default(), Figures::default(), Figures::default());
    let (mut jet_report, mut peer_report) = (Value::Null, Value::Null);
    for round in 0..args.rounds {
        eprintln!("round {} of {}", round + 1, args.rounds);
        let (threads, runs) = (args.threads, args.runs);
        let (prefill, decode) = (args.prefill, args.decode);
        let workload =
            Workload { model: &model, prefill, decode, runs, threads, defaults: false, ids: Some(&ids.path) };
        let (measured, report) = jet::bench(&workload)?;
        jet.prefill.push(measured.prefill);
        jet.decode.push(measured.decode);
        jet.peak_kib.push(measured.peak_kib);
        // jet decodes greedily behind the prompt; llama.cpp is fed the very tokens that came of it.
        ids.then(&report["decoded"])?;
        jet_report = report;
        for (figures, with_flash) in [(&mut plain, false), (&mut flash, true)] {
            peer_report = llama(&python, args, &model, &ids.path, with_flash)?;
            figures.prefill.extend(median(&numbers(&peer_report, "prefill_tokens_per_second")?));
            figures.decode.extend(median(&numbers(&peer_report, "decode_tokens_per_second")?));
            figures.peak_kib.push(number(&peer_report, "/peak_kib")?);
        }
    }
    report(
        args,
        &[("jet", &jet), ("llama.cpp", &plain), ("llama.cpp, flash", &flash)],
        &jet_report,
        &peer_report,
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The folder with llama-cpp-python; made, and the package compiled for this very machine, if it is not there.
fn environment() -> Result<PathBuf> {
    let folder = root().join("bench/peers/.venv");
    let python = folder.join("bin/python");
    let installed = || {
        let mut c = Command::new(&python);
        c.args(["-c", "import llama_cpp; print(llama_cpp.__version__)"]);
        python.is_file() && c.output().is_ok_and(|o| o.status.success())
    };
    if installed() {
        return Ok(python);
    }
    eprintln!("installing {PACKAGE} into {}; it is compiled, which takes many minutes", folder.display());
    let mut venv = Command::new("python3");
    run_command(venv.args(["-m", "venv"]).arg(&folder))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-binary", "llama-cpp-python", PACKAGE]);
    run_command(pip.env("CMAKE_ARGS", "-DGGML_NATIVE=ON"))?;
    if !installed() {
        bail!("{PACKAGE} was installed and cannot be imported");
    }
    Ok(python)
}

/// A file with the token ids that every contestant is fed; removed when it is not needed any more.
struct IdsFile {
    path: PathBuf,
    prompt: Vec<usize>,
}

impl IdsFile {
    /// A prompt that is spread over the vocabulary and the same each time.
    fn new(prefill: usize) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("jet-peers-{}.json", std::process::id()));
        let ids = Self { path, prompt: (0..prefill).map(|i| (i * 7919 + 13) % 49_000).collect() };
        ids.write(&ids.prompt)?;
        Ok(ids)
    }

    /// The prompt, and then the tokens that were decoded behind it.
    fn then(&self, decoded: &Value) -> Result<()> {
        let decoded = decoded.as_array().context("the report of jet has no list `decoded`")?;
        let decoded = decoded.iter().filter_map(Value::as_u64).map(|id| id as usize);
        self.write(&self.prompt.iter().copied().chain(decoded).collect::<Vec<_>>())
    }

    fn write(&self, ids: &[usize]) -> Result<()> {
        std::fs::write(&self.path, serde_json::to_string(ids)?)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Drop for IdsFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn llama(python: &Path, args: &PeersArgs, model: &Path, ids: &Path, flash: bool) -> Result<Value> {
    let mut c = Command::new(python);
    c.arg(root().join("bench/peers/llama.py")).arg("--model").arg(model).arg("--ids").arg(ids);
    for (flag, n) in [
        ("--prefill", args.prefill),
        ("--decode", args.decode),
        ("--threads", args.threads),
        ("--runs", args.runs),
    ] {
        c.arg(flag).arg(n.to_string());
    }
    if flash {
        c.arg("--flash");
    }
    json(&mut c)
}

fn numbers(report: &Value, key: &str) -> Result<Vec<f64>> {
    let list =
        report.get(key).and_then(Value::as_array).with_context(|| format!("the report has no `{key}`"))?;
    Ok(list.iter().filter_map(Value::as_f64).collect())
}

/// Prints the table, or the same as JSON. Of llama.cpp's two ways the better one counts, for each figure.
fn report(args: &PeersArgs, all: &[(&str, &Figures); 3], jet_report: &Value, peer: &Value) -> Result<()> {
    let machine = machine();
    let mut rows = Vec::new();
    for (name, figures) in all {
        rows.push((
            *name,
            figures.median(|f| &f.prefill)?,
            figures.median(|f| &f.decode)?,
            figures.median(|f| &f.peak_kib)? / 1024.0,
        ));
    }
    let best = |a: f64, b: f64| a.max(b);
    let prefill = rows[0].1 / best(rows[1].1, rows[2].1);
    let decode = rows[0].2 / best(rows[1].2, rows[2].2);
    let memory = rows[0].3 / rows[1].3.min(rows[2].3);
    let info = peer["system_info"].as_str().unwrap_or_default();
    if args.json {
        let contestants: Vec<Value> = rows
            .iter()
            .zip(all)
            .map(|((name, p, d, m), (_, f))| {
                json!({
                    "name": name,
                    "prefill_tokens_per_second": p,
                    "decode_tokens_per_second": d,
                    "peak_mib": m,
                    "prefill_rounds": f.prefill,
                    "decode_rounds": f.decode,
                })
            })
            .collect();
        let report = json!({
            "machine": machine,
            "threads": args.threads,
            "prefill": args.prefill,
            "decode": args.decode,
            "rounds": args.rounds,
            "runs": args.runs,
            "contestants": contestants,
            "ratio": { "prefill": prefill, "decode": decode, "peak_memory": memory },
            "llama_cpp": { "version": peer["version"], "system_info": info,
                           "peak_mib_without_model": number(peer, "/peak_without_model_kib")? / 1024.0 },
            "jet": jet_report,
        });
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    println!("machine: {machine}");
    println!("llama-cpp-python {}: {info}", peer["version"].as_str().unwrap_or("?"));
    println!(
        "SmolLM2-135M Q4_1, {} threads, prefill of {} tokens, then {} decoded; medians of {} interleaved rounds of {} runs",
        args.threads, args.prefill, args.decode, args.rounds, args.runs
    );
    println!("{:<20}{:>16}{:>16}{:>16}", "", "prefill tok/s", "decode tok/s", "peak MiB");
    for (name, p, d, m) in &rows {
        println!("{name:<20}{p:>16.1}{d:>16.1}{m:>16.1}");
    }
    println!("{:<20}{prefill:>15.2}x{decode:>15.2}x{memory:>15.2}x", "jet / the better");
    println!(
        "llama.cpp's peak contains Python and its library, {:.1} MiB",
        number(peer, "/peak_without_model_kib")? / 1024.0
    );
    Ok(())
}

/// The processor's name and the number of cores.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name")).and_then(|l| l.split(':').nth(1));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{}, {cores} cores", model.map_or("unknown processor", str::trim))
}

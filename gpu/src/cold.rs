//! How long a model's kernels take to compile on a machine that has none of them, and to load on one that has all.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use jet_codegen::arch::{self, Arch};
use jet_codegen::kernel::find;
use jet_codegen::launch::{Numbers, plan};
use jet_codegen::nvrtc::{Compiler, CubinStore, Job, Output};
use jet_codegen::{LowerOptions, lower};
use jet_models::presets;
use jet_runtime::gpu::backend;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Arguments of the command.
#[derive(Args)]
pub(crate) struct ColdArgs {
    /// A preset.
    #[arg(long, default_value = "jet-nemotron-2b")]
    target: String,
    /// The architecture.
    #[arg(long, default_value = "sm_90a")]
    arch: String,
    /// Tokens of a prefill; decode is one token.
    #[arg(long, default_value_t = 512)]
    tokens: usize,
    /// Threads that compile.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// A folder for compiled kernels, which must not exist.
    #[arg(long)]
    store: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// A family's sources.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Share {
    sources: usize,
    /// Sum over its sources, each on one thread.
    seconds: f64,
    cubin_bytes: usize,
}

/// What is reported.
#[derive(Debug, Serialize)]
struct Cold {
    target: String,
    arch: &'static str,
    tokens: usize,
    threads: usize,
    families: BTreeMap<String, Share>,
    /// From the program to all cubins.
    cold_seconds: f64,
    /// From the program to all of them found in the store, ready to be loaded.
    found_seconds: f64,
    /// The same and loaded onto the device.
    loaded_seconds: f64,
}

/// Runs the command.
pub(crate) fn run(args: &ColdArgs) -> Result<bool> {
    let arch = arch::parse(&args.arch)?;
    if args.store.exists() {
        bail!("{} exists; a cold start wants a folder that does not", args.store.display());
    }
    let begun = Instant::now();
    let jobs = jobs(args, arch)?;
    let families = compile(&jobs, args.threads.max(1), &args.store)?;
    let cold_seconds = begun.elapsed().as_secs_f64();
    let (found_seconds, loaded_seconds) = warm(args, arch)?;
    std::fs::remove_dir_all(&args.store).with_context(|| args.store.display().to_string())?;
    let (target, arch, tokens, threads) = (args.target.clone(), arch.name, args.tokens, args.threads);
    let cold = Cold { target, arch, tokens, threads, families, cold_seconds, found_seconds, loaded_seconds };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&cold)?);
    } else {
        print!("{}", table(&cold));
    }
    Ok(true)
}

/// Every distinct source that the model needs in one prefill and in decode, by family, with default schedules.
fn jobs(args: &ColdArgs, arch: &'static Arch) -> Result<Vec<(String, Job)>> {
    let preset = presets::find(&args.target).with_context(|| format!("`{}` is no preset", args.target))?;
    let plan = plan(&lower(&(preset.spec)(), LowerOptions::default()), Numbers::Bf16);
    let mut jobs: Vec<(String, Job)> = Vec::new();
    let mut seen = HashSet::new();
    let problems = [args.tokens, 1].into_iter().flat_map(|tokens| plan.problems(tokens));
    for problem in problems.filter(|p| seen.insert(p.clone())) {
        let kernel = find(&problem.family).with_context(|| format!("no family `{}`", problem.family))?;
        let emitted = kernel.default_for(&problem, arch).and_then(|v| kernel.emit(&problem, &v, arch));
        let source = emitted.map_err(|why| anyhow::anyhow!("{problem}: {why}"))?;
        let job = Job { source: Arc::from(source.text.as_str()), arch, output: Output::Cubin };
        if jobs.iter().all(|(_, known)| known.source != job.source) {
            jobs.push((problem.family, job));
        }
    }
    Ok(jobs)
}

/// Compiles all of them into a new store.
fn compile(jobs: &[(String, Job)], threads: usize, store: &Path) -> Result<BTreeMap<String, Share>> {
    let compiler = Compiler::find(Some(&CubinStore::new(store)))?;
    let (next, shares) = (AtomicUsize::new(0), Mutex::new(BTreeMap::<String, Share>::new()));
    let work = || -> Result<()> {
        while let Some((family, job)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let begun = Instant::now();
            let compiled = compiler.compile(job).with_context(|| family.clone())?;
            let mut shares = shares.lock().expect("nobody panicked with it");
            let share = shares.entry(family.clone()).or_default();
            share.sources += 1;
            share.seconds += begun.elapsed().as_secs_f64();
            share.cubin_bytes += compiled.cubin.len();
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|w| w.join().expect("a worker does not panic"))
    })?;
    Ok(shares.into_inner().expect("nobody panicked with it"))
}

/// Seconds from the program to all cubins at hand, and until they are loaded.
fn warm(args: &ColdArgs, arch: &'static Arch) -> Result<(f64, f64)> {
    let begun = Instant::now();
    let compiler = Compiler::find(Some(&CubinStore::new(&args.store)))?;
    let jobs = jobs(args, arch)?;
    let compiled: Vec<_> = jobs.iter().map(|(_, job)| compiler.compile(job)).collect::<Result<_, _>>()?;
    let found = begun.elapsed().as_secs_f64();
    let mut machine = backend(&format!("emulated:{arch}"))?;
    compiled.iter().try_for_each(|c| machine.load(c).map(drop))?;
    Ok((found, begun.elapsed().as_secs_f64()))
}

fn table(cold: &Cold) -> String {
    let mut out = format!(
        "{} for {}, {} tokens and one, {} threads (grade: compiled)\n{:<18} {:>8} {:>9} {:>10}\n",
        cold.target, cold.arch, cold.tokens, cold.threads, "family", "sources", "seconds", "KiB"
    );
    let mut line = |name: &str, share: Share| {
        let kib = share.cubin_bytes as f64 / 1024.0;
        out += &format!("{name:<18} {:>8} {:>9.2} {kib:>10.1}\n", share.sources, share.seconds);
    };
    cold.families.iter().for_each(|(name, share)| line(name, *share));
    let sum = cold.families.values().fold(Share::default(), |a, b| Share {
        sources: a.sources + b.sources,
        seconds: a.seconds + b.seconds,
        cubin_bytes: a.cubin_bytes + b.cubin_bytes,
    });
    line("all", sum);
    out += &format!(
        "cold start {:.1} s, compiled kernels found in {:.0} ms, found and loaded in {:.0} ms\n",
        cold.cold_seconds,
        cold.found_seconds * 1e3,
        cold.loaded_seconds * 1e3
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(target: &str) -> ColdArgs {
        let store = std::env::temp_dir().join(format!("jet-cold-{}", std::process::id()));
        ColdArgs { target: target.into(), arch: "sm_80".into(), tokens: 64, threads: 1, store, json: false }
    }

    #[test]
    fn each_source_is_counted_once_and_an_unknown_target_is_named() {
        let arch = arch::parse("sm_80").unwrap();
        let jobs = jobs(&args("tiny-hybrid"), arch).unwrap();
        let texts: std::collections::HashSet<_> = jobs.iter().map(|(_, j)| &j.source).collect();
        assert!(jobs.len() > 10 && texts.len() == jobs.len());
        assert!(super::jobs(&args("no-such"), arch).err().unwrap().to_string().contains("no-such"));
    }
}

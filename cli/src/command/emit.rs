//! `jet emit`: the source of a GPU kernel, as a person reads it.

use crate::common::args::TARGET;
use crate::common::exit::Usage;
use crate::common::output;
use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use jet_codegen::arch::{self, Arch};
use jet_codegen::kernel::{self, Kernel, Source};
use jet_codegen::launch::{Numbers, plan};
use jet_codegen::nvrtc::{Nvrtc, Output};
use jet_codegen::schedule::{Problem, Values};
use jet_codegen::{LowerOptions, lower};
use jet_models::target::Target;
use serde_json::json;
use std::process::ExitCode;

/// Arithmetic of the kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum EmitPrecision {
    /// float32 throughout.
    F32,
    /// bfloat16 matrices and activations.
    #[default]
    Bf16,
}

/// What is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Show {
    /// CUDA C++.
    #[default]
    Source,
    /// What NVRTC makes of it.
    Ptx,
    /// Registers, spills and shared memory as the assembler reports them, occupancy, floor, launch.
    Resources,
    /// What the kernel does on the emulated device, run and judged against the CPU: instructions, bytes, bank conflicts.
    Counters,
}

/// Print the CUDA source that a GPU would run for an op, with its schedule and how to get it again.
///
/// Without --op, the problems of the target are listed; each can be given as a target itself, in quotes.
#[derive(Clone, Debug, Args)]
pub(crate) struct EmitArgs {
    #[arg(help = format!("{TARGET}; or a problem, as in 'gemm[k=64 n=32 …] bf16'"))]
    target: String,
    /// The op, as in `jet plan` (linear, rms_norm, …), or the kernel family.
    #[arg(long)]
    op: Option<String>,
    /// The architecture.
    #[arg(long, default_value = "sm_90a")]
    arch: String,
    /// Tokens of the batch: the default schedule depends on them.
    #[arg(long, default_value_t = 512, value_name = "N")]
    tokens: usize,
    /// Arithmetic.
    #[arg(long, value_enum, default_value_t)]
    precision: EmitPrecision,
    /// The schedule, as in 'tile_m=64 stages=3'; parameters that are not named keep their default.
    #[arg(long, value_name = "VALUES")]
    schedule: Option<String>,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    show: Show,
    /// Print counters as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &EmitArgs) -> Result<ExitCode> {
    let arch = arch::parse(&args.arch).map_err(|e| Usage(e.to_string()))?;
    let problems = problems(args)?;
    if args.op.is_none() && problems.len() > 1 {
        let lines = problems.iter().map(|(op, p)| format!("{op:<14} {p}\n"));
        output::print(&lines.collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some((_, problem)) = problems.first() else {
        let op = args.op.as_deref().unwrap_or_default();
        return Err(
            Usage(format!("`{}` has no op `{op}`; leave out --op to see what it has", args.target)).into()
        );
    };
    for (_, other) in &problems[1..] {
        output::complain(&format!("also: '{other}'"));
    }
    let kernel = kernel::find(&problem.family)
        .ok_or_else(|| Usage(format!("there is no kernel family `{}`", problem.family)))?;
    let values = schedule(args, kernel, problem, arch)?;
    let source = kernel.emit(problem, &values, arch).map_err(|why| Usage(why.0))?;
    let text = match args.show {
        Show::Source => source.text.clone(),
        Show::Ptx => Nvrtc::get()?.compile(&source.text, arch, Output::Ptx)?.ptx,
        Show::Resources => resources(kernel, problem, &values, arch, &source)?,
        Show::Counters => counters(args, problem, &values, arch)?,
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The distinct problems that are asked for, each with its op.
fn problems(args: &EmitArgs) -> Result<Vec<(&'static str, Problem)>> {
    if args.target.contains('[') && args.target.contains(']') {
        let mut problem: Problem = args.target.parse().map_err(|e| Usage(format!("{e}")))?;
        problem.dims.entry("tokens".to_owned()).or_insert(args.tokens as i64);
        return Ok(vec![("problem", problem)]);
    }
    let target = Target::resolve(&args.target)?;
    let numbers = match args.precision {
        EmitPrecision::F32 => Numbers::F32,
        EmitPrecision::Bf16 => Numbers::Bf16,
    };
    let plan = plan(&lower(target.spec(), LowerOptions::default()), numbers);
    let mut all: Vec<(&'static str, Problem)> = Vec::new();
    for step in &plan.steps {
        let op = plan.op(step).name();
        for choice in &step.choices {
            let problem = choice.call.problem(args.tokens);
            let wanted = args.op.as_ref().is_none_or(|o| o == op || *o == problem.family);
            if wanted && all.iter().all(|(_, p)| *p != problem) {
                all.push((op, problem));
            }
        }
    }
    Ok(all)
}

fn schedule(args: &EmitArgs, kernel: &dyn Kernel, problem: &Problem, arch: &Arch) -> Result<Values> {
    let mut values = kernel.default_for(problem, arch).map_err(|why| Usage(why.0))?;
    if let Some(text) = &args.schedule {
        let given: Values = text.parse().map_err(|e| Usage(format!("--schedule: {e}")))?;
        values.0.extend(given.0);
        kernel.legal(problem, &values, arch).map_err(|why| Usage(format!("--schedule {values}: {why}")))?;
    }
    Ok(values)
}

fn resources(
    kernel: &dyn Kernel,
    problem: &Problem,
    values: &Values,
    arch: &Arch,
    source: &Source,
) -> Result<String> {
    let compiled = Nvrtc::get()?.compile(&source.text, arch, Output::Cubin)?;
    let floor = kernel.floor(problem);
    let mut out =
        format!("{problem}\n{values}\ngrade compiled, {arch}, cubin {} bytes\n", compiled.cubin.len());
    out += &format!("floor {} bytes, {} FLOPs\n", floor.bytes, floor.flops);
    for entry in &source.entries {
        let Some(r) = compiled.resources_of(&entry.name) else { continue };
        let smem = entry.smem + r.static_smem;
        out += &format!(
            "{}: {} threads, {} registers, {} + {} bytes spilled, {smem} bytes of shared memory, {} CTAs on an SM\n",
            entry.name,
            entry.block,
            r.registers,
            r.spill_stores,
            r.spill_loads,
            arch.occupancy(entry.block, r.registers, smem)
        );
    }
    compiled.notices().iter().for_each(|n| out += &format!("{}\n", n.text));
    Ok(out)
}

/// Runs the problem alone on the emulated device.
fn counters(args: &EmitArgs, problem: &Problem, values: &Values, arch: &Arch) -> Result<String> {
    let device = jet_runtime::device::open(&format!("emulated:{arch}"), 1)?;
    let mut bench = device.bench(problem)?;
    bench.prepare(values)?;
    let errors = bench.validate()?;
    let (floor_bytes, floor_flops) = bench.floor();
    let c = bench.counted()?.context("the emulated device counts")?;
    if args.json {
        let all = json!({"problem": problem.to_string(), "schedule": values.to_string(), "arch": arch.name,
            "grade": "emulated", "counters": c, "floor_bytes": floor_bytes, "floor_flops": floor_flops,
            "rel_rms": errors.rel_rms, "allowed": errors.allowed});
        return Ok(format!("{all:#}\n"));
    }
    let ratio = |a: u64, b: u64| if b == 0 { "-".to_owned() } else { format!("{:.2}", a as f64 / b as f64) };
    let rows = [
        ("launches", c.launches.to_string(), String::new()),
        ("warp instructions", c.warp_instructions.to_string(), String::new()),
        (
            "tensor FLOPs",
            c.tensor_flops.to_string(),
            format!("{} of the floor", ratio(c.tensor_flops, floor_flops)),
        ),
        (
            "sector bytes",
            c.sector_bytes.to_string(),
            format!("{} of the floor", ratio(c.sector_bytes, floor_bytes)),
        ),
        (
            "unique bytes",
            c.unique_bytes.to_string(),
            format!("{} of the floor", ratio(c.unique_bytes, floor_bytes)),
        ),
        (
            "wavefronts",
            c.wavefronts.to_string(),
            format!("{} of ideal", ratio(c.wavefronts, c.ideal_wavefronts)),
        ),
        ("time, modelled", format!("{:.2} us", c.seconds * 1e6), format!("for {}", arch.peaks.device)),
        ("error", format!("{:.1e}", errors.rel_rms), format!("{:.0e} is allowed", errors.allowed)),
    ];
    let mut out = format!("{problem}\n{values}\ngrade emulated, {arch}\n");
    for (name, value, note) in rows {
        out += format!("{name:<18} {value:>16}  {note}").trim_end();
        out += "\n";
    }
    Ok(out)
}

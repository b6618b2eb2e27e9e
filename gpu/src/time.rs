//! Every kernel of the large models' layers against its floor.

use crate::programs::{Layer, layers, weights};
use crate::report::{Report, grade};
use anyhow::Result;
use clap::Args;
use jet_codegen::arch::Arch;
use jet_codegen::kernel::Elem;
use jet_runtime::Error;
use jet_runtime::device::{
    Device, Executable, KernelTime, Limits, LoadRequest, Outputs, Precision, Segment, open,
};
use jet_runtime::gpu::backend;
use jet_runtime::select::NoSchedules;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

/// Arguments of the command.
#[derive(Args)]
pub(crate) struct TimeArgs {
    /// The device.
    #[arg(long, default_value = "cuda:0")]
    device: String,
    /// The file to write.
    #[arg(long)]
    out: PathBuf,
    /// A tiny model in few tokens, for a rehearsal.
    #[arg(long)]
    toy: bool,
}

/// A kernel in one phase of one layer.
#[derive(Serialize)]
struct Row<'a> {
    layer: &'a str,
    phase: &'static str,
    op: &'static str,
    problem: String,
    schedule: String,
    bytes: u64,
    flops: u64,
    /// The larger of bytes over bandwidth and FLOPs over the peak of the format, by the architecture's row; modelled.
    floor_seconds: f64,
    /// Median of the runs; nothing where the device has no clock.
    seconds: Option<f64>,
    /// How many floors it took.
    floors: Option<f64>,
}

/// How many tokens and runs.
#[derive(Clone, Copy)]
struct Plan {
    prefill: usize,
    prefills: usize,
    steps: usize,
}

const FULL: Plan = Plan { prefill: 2048, prefills: 5, steps: 12 };
const TOY: Plan = Plan { prefill: 12, prefills: 2, steps: 2 };

/// Runs the command.
pub(crate) fn run(args: &TimeArgs) -> Result<bool> {
    let device = open(&args.device, 0)?;
    let arch = backend(&args.device)?.arch();
    let head = json!({"what": "kernels against their floors", "device": device.describe(),
        "grade": grade(&args.device), "floors": format!("modelled for {}", arch.peaks.device),
        "times": "event to event within a run, caches cold; launch gaps count where the host is slower"});
    let mut report = Report::new(&args.out, head)?;
    let plan = if args.toy { TOY } else { FULL };
    let mut wrong = 0;
    for layer in layers(args.toy) {
        match time(&*device, arch, &layer, plan, &mut report) {
            Ok(()) => {}
            // A kernel that is not written yet is no fault of those that are.
            Err(Failure::Run(e @ Error::Unsupported { .. })) => {
                println!("{}: open: {e}", layer.name);
                report.push(&json!({"layer": layer.name, "open": e.to_string()}))?;
            }
            Err(Failure::Run(e)) => {
                wrong += 1;
                println!("{}: WRONG: {e}", layer.name);
                report.push(&json!({"layer": layer.name, "wrong": e.to_string()}))?;
            }
            Err(Failure::Report(e)) => return Err(e),
        }
    }
    report.finish()?;
    Ok(wrong == 0)
}

enum Failure {
    Run(Error),
    Report(anyhow::Error),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Failure::Run(e)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(e: anyhow::Error) -> Self {
        Failure::Report(e)
    }
}

/// Times one layer in one long prompt and in single steps behind it.
fn time(
    device: &dyn Device,
    arch: &Arch,
    layer: &Layer,
    plan: Plan,
    report: &mut Report,
) -> Result<(), Failure> {
    let weights = weights(&layer.program);
    let request = LoadRequest {
        program: layer.program.clone(),
        weights: &weights,
        schedules: &NoSchedules,
        recipe: Precision::Bf16.into(),
        limits: Limits {
            max_tokens: plan.prefill,
            max_outputs: 1,
            max_sequences: 1,
            context: plan.prefill + plan.steps + 1,
        },
    };
    let mut exe = device.load(request)?;
    let tokens: Vec<u32> = (0..plan.prefill).map(|i| (i * 7 % 509 % layer.program.vocab) as u32).collect();
    let mut phase = |phase, runs: Vec<Vec<KernelTime>>| -> Result<(), Failure> {
        for row in rows(&layer.name, phase, arch, &runs) {
            println!("{}", line(&row));
            report.push(&row)?;
        }
        Ok(())
    };
    let mut prefills = Vec::new();
    for _ in 0..plan.prefills {
        let slot = exe.open_sequence(0)?;
        prefills.push(exe.profile(&[Segment { slot, tokens: &tokens, outputs: Outputs::Last }])?);
        exe.close_sequence(slot);
    }
    phase("prefill", prefills)?;
    phase("decode", steps(&mut *exe, &tokens, plan.steps)?)
}

/// Single tokens behind a prompt.
fn steps(exe: &mut dyn Executable, tokens: &[u32], steps: usize) -> Result<Vec<Vec<KernelTime>>, Error> {
    let slot = exe.open_sequence(0)?;
    exe.run(&[Segment { slot, tokens, outputs: Outputs::None }])?;
    let runs = (0..steps)
        .map(|_| exe.profile(&[Segment { slot, tokens: &tokens[..1], outputs: Outputs::Last }]))
        .collect();
    exe.close_sequence(slot);
    runs
}

/// The kernels of several runs with their medians; the first run, which loads and warms, does not count if there are
/// others.
fn rows<'a>(layer: &'a str, phase: &'static str, arch: &Arch, runs: &[Vec<KernelTime>]) -> Vec<Row<'a>> {
    let counted = &runs[usize::from(runs.len() > 1)..];
    let Some(first) = counted.first() else { return vec![] };
    let row = |(i, k): (usize, &KernelTime)| {
        let times: Option<Vec<f64>> = counted.iter().map(|r| r[i].seconds).collect();
        let seconds = times.map(|mut t| {
            t.sort_by(f64::total_cmp);
            t[t.len() / 2]
        });
        let floor_seconds = floor(arch, k);
        Row {
            layer,
            phase,
            op: k.op,
            problem: k.problem.to_string(),
            schedule: k.values.to_string(),
            bytes: k.bytes,
            flops: k.flops,
            floor_seconds,
            seconds,
            floors: seconds.map(|s| s / floor_seconds),
        }
    };
    first.iter().enumerate().map(row).collect()
}

/// The least time of a kernel on an architecture.
fn floor(arch: &Arch, k: &KernelTime) -> f64 {
    let peaks = &arch.peaks;
    let is = |elem: Elem| k.problem.format.split(' ').next() == Some(&elem.to_string());
    let peak = if is(Elem::F32) {
        peaks.f32
    } else if is(Elem::E4m3) {
        peaks.fp8
    } else {
        peaks.bf16
    };
    (k.bytes as f64 / peaks.bandwidth).max(k.flops as f64 / peak)
}

fn line(row: &Row<'_>) -> String {
    let micro = |s: f64| format!("{:.2} us", s * 1e6);
    let took = match (row.seconds, row.floors) {
        (Some(s), Some(f)) => format!("{} = {f:.2} floors", micro(s)),
        _ => "not measured".to_owned(),
    };
    format!("{} {} {}: {took}, floor {}", row.layer, row.phase, row.problem, micro(row.floor_seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jet_codegen::arch;
    use jet_codegen::schedule::{Problem, Values};

    fn kernel(seconds: Option<f64>, precision: &str) -> KernelTime {
        let (problem, values) = (Problem::new("gemm", precision, &[("n", 8)]), Values::default());
        KernelTime { op: "linear", problem, values, bytes: 4_300_000, flops: 79_000_000_000, seconds }
    }

    #[test]
    fn medians_leave_the_first_run_out_and_floors_are_the_larger_of_two() {
        let arch = arch::parse("sm_90a").unwrap();
        let run = |s| vec![kernel(Some(s), "bf16 out=f32")];
        let runs = [run(9.0), run(3e-4), run(1e-4), run(2e-4)];
        let rows = rows("l", "prefill", arch, &runs);
        assert_eq!(rows[0].seconds, Some(2e-4));
        assert!((rows[0].floor_seconds - 1e-4).abs() < 1e-9, "{}", rows[0].floor_seconds);
        assert!((rows[0].floors.unwrap() - 2.0).abs() < 1e-4);
        assert!(floor(arch, &kernel(None, "f32")) > 1e-3);
    }

    #[test]
    fn a_device_without_a_clock_gives_no_times() {
        let arch = arch::parse("sm_80").unwrap();
        let rows = rows("l", "decode", arch, &[vec![kernel(None, "bf16")]]);
        assert_eq!((rows[0].seconds, rows[0].floors), (None, None));
        assert!(line(&rows[0]).contains("not measured"));
    }
}

//! The emulator's fixtures on the driver and on the emulator, whose sums are made as the device's tensor cores make
//! theirs: bits that agree, distances in units of the last place, errors against the f64 references.
//!
//! A fixture runs in a process of its own: a fault of a kernel is the end of its process' context.

use crate::common::description::{Case, Loaded, Ptx, load_from};
use crate::common::run::{complaints, options, reference_error, run as emulate, wrong_outputs};
use crate::common::tensor::{Dtype, Tensor, Tensors};
use crate::on_driver;
use crate::report::{Report, grade};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use jet_codegen::arch;
use jet_emu::exec::{Accumulation, Checks, EmulatorOptions};
use jet_runtime::emulated::PREFIX;
use jet_runtime::gpu::backend;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Seconds for one fixture.
const DEADLINE: u64 = 20;
/// Targets and cases of a rehearsal at toy size: each of these once.
const TOY: [&str; 4] = ["gemm_wgmma", "reduction", "gemm_mma", "cluster_sum"];

/// Arguments of the command.
#[derive(Args)]
pub(crate) struct FixturesArgs {
    /// The device; on an emulated one the emulator is compared with itself.
    #[arg(long, default_value = "cuda:0")]
    device: String,
    /// The folder with the descriptions and their PTX.
    #[arg(long)]
    folder: PathBuf,
    /// The file to write; without it lines go to standard output.
    #[arg(long)]
    out: Option<PathBuf>,
    /// One fixture, in this process.
    #[arg(long)]
    only: Option<String>,
    /// A few small ones.
    #[arg(long)]
    toy: bool,
}

/// A tensor of a case, from both.
#[derive(Debug, Serialize)]
struct Compared {
    tensor: String,
    elements: usize,
    identical: usize,
    /// The largest distance in units of the last place; of bytes and integers, the largest difference.
    ulps: u64,
    /// Largest |got - wanted| of the device and of the emulator against the f64 reference, where there is one.
    device_error: Option<f64>,
    emulator_error: Option<f64>,
}

/// A text in one case.
#[derive(Debug, Serialize)]
struct Outcome {
    ptx: String,
    case: String,
    /// `identical`, `differs`, `wrong`, `refused` by the driver, or `skipped`.
    verdict: &'static str,
    why: Option<String>,
    tensors: Vec<Compared>,
}

/// Runs the command.
pub(crate) fn run(args: &FixturesArgs) -> Result<bool> {
    let mut all = load_from(&args.folder);
    if all.is_empty() {
        bail!("{} has no descriptions", args.folder.display());
    }
    if let Some(only) = &args.only {
        let fixture = all.iter().find(|f| f.name == *only).with_context(|| format!("no fixture `{only}`"))?;
        return alone(&args.device, fixture);
    }
    if args.toy {
        all.retain(|f| TOY.contains(&f.name.as_str()));
    }
    let out = args.out.as_ref().context("--out FILE says where the results go")?;
    let head = json!({"what": "fixtures on the device and on the emulator", "device": args.device,
        "grade": grade(&args.device)});
    let mut report = Report::new(out, head)?;
    let mut wrong = 0;
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for fixture in all {
        let rows = apart(args, &fixture.name)?;
        for row in rows {
            let verdict = row["verdict"].as_str().unwrap_or("wrong").to_owned();
            wrong += usize::from(verdict == "wrong");
            if verdict != "identical" && verdict != "skipped" {
                println!("{verdict}: {} {}: {}", row["ptx"], row["case"], row["why"]);
            }
            *counts.entry(verdict).or_default() += 1;
            report.push(&row)?;
        }
    }
    report.finish()?;
    println!("fixtures on {}: {counts:?}", args.device);
    Ok(wrong == 0)
}

/// One fixture in a process of its own: its rows, and one more where the process did not end as it should.
fn apart(args: &FixturesArgs, name: &str) -> Result<Vec<Value>> {
    let mut child = Command::new(std::env::current_exe()?);
    child.args(["fixtures", "--device", &args.device, "--only", name, "--folder"]).arg(&args.folder);
    let file = std::env::temp_dir().join(format!("jet-fixture-{}-{name}", std::process::id()));
    child.stdin(Stdio::null()).stdout(std::fs::File::create(&file)?);
    let mut child = child.spawn()?;
    // An emulated device takes its time.
    let seconds = if args.device.starts_with(PREFIX) { 30 * DEADLINE } else { DEADLINE };
    let end = Instant::now() + Duration::from_secs(seconds);
    let why = loop {
        match child.try_wait()? {
            Some(status) if status.success() => break None,
            Some(status) => break Some(format!("its process ended with {status}")),
            None if Instant::now() >= end => {
                let _ = child.kill();
                child.wait()?;
                break Some(format!("it was stopped after {seconds} s"));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let text = std::fs::read_to_string(&file)?;
    std::fs::remove_file(&file)?;
    let mut rows: Vec<Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let told = rows.iter().any(|r| r["verdict"] == "wrong");
    if let Some(why) = why.filter(|_| !told) {
        rows.push(json!({"ptx": name, "case": "", "verdict": "wrong", "why": why, "tensors": []}));
    }
    Ok(rows)
}

/// One fixture in this process, a line for each text and case.
fn alone(device: &str, fixture: &Loaded) -> Result<bool> {
    let arch = backend(device)?.arch();
    let mut context = match device.strip_prefix(PREFIX) {
        Some(_) => None,
        None => {
            let ordinal = device.rsplit(':').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            Some(jet_runtime::cuda::context(ordinal).map_err(|e| anyhow::anyhow!("{device}: {e}"))?)
        }
    };
    let mut fine = true;
    for ptx in &fixture.ptx {
        for case in &fixture.description.cases {
            let outcome = match skipped(fixture, ptx, case, arch.sm) {
                Some(why) => Outcome::told(ptx, case, "skipped", why),
                None => compare(ptx, case, arch.sm, &mut |ptx, case| match &mut context {
                    Some(context) => on_driver::run(context, ptx, case),
                    None => emulated(ptx, case, arch.sm, 1),
                }),
            };
            fine &= outcome.verdict != "wrong";
            println!("{}", serde_json::to_string(&outcome)?);
        }
    }
    Ok(fine)
}

/// Why a text is not run on a device of architecture `sm`.
fn skipped(fixture: &Loaded, ptx: &Ptx, case: &Case, sm: u32) -> Option<String> {
    let target = arch::parse(&ptx.target).map(|a| (a.sm, a.name.ends_with('a') && ptx.target.ends_with('a')));
    match target {
        Err(e) => Some(e.to_string()),
        Ok((own, true)) if own != sm => Some(format!("made for {} alone", ptx.target)),
        Ok((own, _)) if own > sm => Some(format!("made for {} and later", ptx.target)),
        _ if fixture.description.refused.contains_key(&ptx.target) => {
            Some("the emulator does not run this text".to_owned())
        }
        _ if case.fails.is_some() => Some("its kernel fails by intention".to_owned()),
        _ => None,
    }
}

/// How the tensor cores of `sm` add.
fn accumulation(sm: u32) -> Accumulation {
    match sm {
        ..=88 => Accumulation::Sm80,
        89 => Accumulation::Sm89,
        90 => Accumulation::Sm90,
        _ => Accumulation::Sm100,
    }
}

fn emulated(ptx: &Ptx, case: &Case, sm: u32, seed: u64) -> Result<Tensors, String> {
    let accumulation = accumulation(sm);
    let options = EmulatorOptions { accumulation, checks: Checks::NONE, ..options(seed) };
    let outcome = emulate(ptx, case, options)?;
    match complaints(&outcome).as_slice() {
        [] => Ok(outcome.tensors),
        some => Err(some.join("; ")),
    }
}

impl Outcome {
    fn told(ptx: &Ptx, case: &Case, verdict: &'static str, why: String) -> Self {
        Self { ptx: ptx.name.clone(), case: case.name.clone(), verdict, why: Some(why), tensors: vec![] }
    }
}

/// Runs a case on both and compares.
fn compare(
    ptx: &Ptx,
    case: &Case,
    sm: u32,
    device: &mut dyn FnMut(&Ptx, &Case) -> Result<Tensors, String>,
) -> Outcome {
    let told = |verdict, why| Outcome::told(ptx, case, verdict, why);
    let got = match device(ptx, case) {
        Ok(tensors) => tensors,
        // A text of a newer compiler than the driver: nothing was run.
        Err(why) if why.contains("cuModuleLoadDataEx") => return told("refused", why),
        Err(why) => return told("wrong", why),
    };
    let here = match emulated(ptx, case, sm, 0) {
        Ok(tensors) => tensors,
        Err(why) => return told("wrong", format!("on the emulator: {why}")),
    };
    let tensors: Vec<Compared> = got
        .iter()
        .map(|(name, tensor)| {
            let error = |tensors| {
                case.expect.iter().find(|o| o.tensor == *name).map(|o| reference_error(case, o, tensors))
            };
            let (device_error, emulator_error) = (error(&got), error(&here));
            Compared { device_error, emulator_error, ..compared(name, tensor, &here[name]) }
        })
        .collect();
    let wrong = wrong_outputs(case, &got, false);
    let differs = tensors.iter().filter(|t| t.identical < t.elements).map(|t| {
        format!(
            "`{}` differs in {} of {}, by up to {} ulps",
            t.tensor,
            t.elements - t.identical,
            t.elements,
            t.ulps
        )
    });
    let differs: Vec<String> = differs.collect();
    let (verdict, why) = match (wrong.is_empty(), differs.is_empty()) {
        (false, _) => ("wrong", Some(wrong.join("; "))),
        (true, false) => ("differs", Some(differs.join("; "))),
        (true, true) => ("identical", None),
    };
    Outcome { ptx: ptx.name.clone(), case: case.name.clone(), verdict, why, tensors }
}

/// The bits of two tensors.
fn compared(name: &str, a: &Tensor, b: &Tensor) -> Compared {
    let size = a.dtype.size();
    let ordered =
        |t: &Tensor| -> Vec<i128> { t.bytes.chunks_exact(size).map(|c| order(t.dtype, c)).collect() };
    let (x, y) = (ordered(a), ordered(b));
    let identical =
        a.bytes.chunks_exact(size).zip(b.bytes.chunks_exact(size)).filter(|(a, b)| a == b).count();
    let ulps = x.iter().zip(&y).map(|(x, y)| x.abs_diff(*y)).max().unwrap_or(0);
    Compared {
        tensor: name.to_owned(),
        elements: x.len().max(y.len()),
        identical,
        ulps: u64::try_from(ulps).unwrap_or(u64::MAX),
        device_error: None,
        emulator_error: None,
    }
}

/// A number's place among its neighbours: neighbours differ by one, whatever their sign.
fn order(dtype: Dtype, bytes: &[u8]) -> i128 {
    let word = bytes.iter().rev().fold(0u64, |w, b| w << 8 | u64::from(*b));
    let bits = 8 * bytes.len() as u32;
    let (sign, size) = (word >> (bits - 1) & 1 == 1, i128::from(word & !(1 << (bits - 1))));
    match dtype {
        Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::Bf16 => {
            if sign {
                -size
            } else {
                size
            }
        }
        Dtype::U64 | Dtype::U32 | Dtype::U8 => i128::from(word),
        Dtype::I64 | Dtype::I32 | Dtype::I8 => size - if sign { 1 << (bits - 1) } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(values: &[f32]) -> Tensor {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor { dtype: Dtype::F32, shape: vec![values.len()], bytes, defined: true }
    }

    #[test]
    fn distances_are_counted_in_neighbours_across_zero_too() {
        let next = f32::from_bits(1.0f32.to_bits() + 3);
        let c = compared("x", &floats(&[1.0, 2.0, -0.0]), &floats(&[next, 2.0, f32::from_bits(1)]));
        assert_eq!((c.elements, c.identical, c.ulps), (3, 1, 3));
        assert_eq!(order(Dtype::I8, &[0xff]), -1);
        assert_eq!(order(Dtype::U8, &[0xff]), 255);
        assert_eq!(order(Dtype::Bf16, &[0x80, 0xbf]), -0x3f80);
    }

    fn fixture(name: &str) -> Loaded {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../emu/tests/fixtures");
        load_from(&folder).into_iter().find(|f| f.name == name).unwrap()
    }

    #[test]
    fn texts_for_other_architectures_are_skipped_and_the_reason_is_said() {
        let f = fixture("gemm_mma");
        let case = &f.description.cases[0];
        let why = |target: &str, sm| {
            let ptx = f.ptx.iter().find(|p| p.target == target).unwrap();
            skipped(&f, ptx, case, sm)
        };
        assert_eq!(why("sm_80", 90), None);
        assert_eq!(why("sm_90a", 90), None);
        assert!(why("sm_100a", 90).unwrap().contains("alone"));
        assert!(why("sm_90a", 80).unwrap().contains("alone"));
    }

    #[test]
    fn equal_results_are_identical_and_a_changed_bit_or_a_wrong_value_is_told() {
        let f = fixture("reduction");
        let (ptx, case) = (&f.ptx[0], &f.description.cases[0]);
        let run = |change: &dyn Fn(&mut Tensors)| {
            compare(ptx, case, 80, &mut |p, c| {
                let mut t = emulated(p, c, 80, 1)?;
                change(&mut t);
                Ok(t)
            })
        };
        assert_eq!(run(&|_| ()).verdict, "identical");
        let output = case.expect[0].tensor.clone();
        let flipped = run(&|t| t.get_mut(&output).unwrap().bytes[0] ^= 1);
        assert_eq!(flipped.verdict, "differs", "{flipped:?}");
        let t = flipped.tensors.iter().find(|t| t.tensor == output).unwrap();
        assert_eq!((t.elements - t.identical, t.ulps), (1, 1));
        let spoiled = run(&|t| t.get_mut(&output).unwrap().bytes.fill(0x7f));
        assert_eq!(spoiled.verdict, "wrong");
        let refused = compare(ptx, case, 80, &mut |_, _| Err("cuModuleLoadDataEx failed: old".into()));
        assert_eq!(refused.verdict, "refused");
        assert_eq!(compare(ptx, case, 80, &mut |_, _| Err("illegal address".into())).verdict, "wrong");
    }
}

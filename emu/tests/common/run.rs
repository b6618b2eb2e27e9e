//! Runs a case of a description on the emulator and judges what came out.

use super::description::{Arg, Case, Launch, Output, Ptx, Step};
use super::reference::reference;
use super::tensor::{Tensor, Tensors};
use jet_emu::exec::{self, BufferId, Emulator, EmulatorOptions, LaunchConfig, ModuleId, Report};
use std::collections::BTreeMap;

/// What a run gave.
pub struct Outcome {
    /// One for each launch; the last one may not have completed.
    pub reports: Vec<Report>,
    /// Every buffer that was not freed.
    pub tensors: Tensors,
}

struct Device {
    emulator: Emulator,
    module: ModuleId,
    buffers: BTreeMap<String, BufferId>,
    tensors: Tensors,
}

/// Options for tests: small limits, one thread.
pub fn options(seed: u64) -> EmulatorOptions {
    EmulatorOptions { threads: 1, seed, instruction_limit: 3_000_000, ..EmulatorOptions::default() }
}

/// Runs all steps; stops after a launch that did not complete. The error is what the emulator refused.
pub fn run(ptx: &Ptx, case: &Case, options: EmulatorOptions) -> Result<Outcome, String> {
    let mut emulator = Emulator::new(options);
    let module = emulator.load(&ptx.text).map_err(|e| refusal(&e.to_string()))?;
    let mut device = Device { emulator, module, buffers: BTreeMap::new(), tensors: Tensors::new() };
    for (name, input) in &case.inputs {
        device.put(name, input.tensor())?;
    }
    let mut reports = Vec::new();
    for step in &case.steps {
        match step {
            Step::Free { free } => {
                device.emulator.free(device.buffers[free]).map_err(|e| e.to_string())?;
                device.buffers.remove(free);
            }
            Step::Launch(launch) => {
                reports.push(device.launch(launch, &ptx.target)?);
                if reports.last().is_some_and(|r| !r.completed) {
                    break;
                }
            }
        }
    }
    Ok(Outcome { reports, tensors: device.results()? })
}

/// The first lines of an error that may name every instruction of a text.
fn refusal(error: &str) -> String {
    let lines: Vec<&str> = error.lines().collect();
    let more = lines.len().saturating_sub(3);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{more}", lines[..lines.len().min(3)].join("; "))
}

impl Device {
    fn put(&mut self, name: &str, tensor: Tensor) -> Result<BufferId, String> {
        let made = if tensor.defined {
            self.emulator.alloc_bytes(name, &tensor.bytes)
        } else {
            self.emulator.alloc(name, tensor.bytes.len() as u64)
        };
        let id = made.map_err(|e| e.to_string())?;
        self.buffers.insert(name.to_owned(), id);
        self.tensors.insert(name.to_owned(), tensor);
        Ok(id)
    }

    fn launch(&mut self, launch: &Launch, target: &str) -> Result<Report, String> {
        let config = LaunchConfig {
            kernel: launch.kernel.clone(),
            grid: launch.grid,
            block: launch.block,
            cluster: launch.cluster,
            dynamic_shared: launch.shared.of(target),
        };
        let args = launch.args.iter().map(|a| self.argument(a)).collect::<Result<Vec<_>, _>>()?;
        self.emulator.launch(self.module, &config, &args).map_err(|e| e.to_string())
    }

    fn argument(&mut self, arg: &Arg) -> Result<exec::Arg, String> {
        Ok(match arg {
            Arg::Tensor(name) => exec::Arg::Buffer(self.buffers[name]),
            Arg::Zeros { zeros, dtype, shape } => {
                exec::Arg::Buffer(self.put(zeros, Tensor::zeros(*dtype, shape))?)
            }
            Arg::U32(x) => exec::Arg::U32(*x),
            Arg::I32(x) => exec::Arg::I32(*x),
            Arg::U64(x) => exec::Arg::U64(*x),
            Arg::F32(x) => exec::Arg::F32(*x),
            Arg::F64(x) => exec::Arg::F64(*x),
            Arg::Null(_) => exec::Arg::Null,
            Arg::TensorMap(map) => {
                let base = self.emulator.address(self.buffers[&map.tensor]).map_err(|e| e.to_string())?;
                exec::Arg::Bytes(map.build(base).map_err(|e| e.to_string())?.encode().to_vec())
            }
        })
    }

    fn results(mut self) -> Result<Tensors, String> {
        for (name, id) in &self.buffers {
            let bytes = self.emulator.read(*id).map_err(|e| e.to_string())?;
            self.tensors.get_mut(name).unwrap().bytes = bytes;
        }
        let buffers = self.buffers;
        self.tensors.retain(|name, _| buffers.contains_key(name));
        Ok(self.tensors)
    }
}

/// What is wrong with the outputs of a run; nothing if all are as their references say.
pub fn wrong_outputs(case: &Case, tensors: &Tensors, exact_sums: bool) -> Vec<String> {
    let inputs: Tensors = case.inputs.iter().map(|(n, i)| (n.clone(), i.tensor())).collect();
    let judge = |o: &Output| {
        let abs = o.abs_of_hardware.filter(|_| !exact_sums).unwrap_or(o.abs);
        wrong_output(o, abs, &inputs, &tensors[&o.tensor])
    };
    case.expect.iter().filter_map(judge).collect()
}

fn wrong_output(output: &Output, abs: f64, inputs: &Tensors, got: &Tensor) -> Option<String> {
    let of: Vec<&Tensor> = output.of.iter().map(|n| &inputs[n]).collect();
    let wanted = reference(&output.reference, &output.params, &of);
    let got = got.values();
    if got.len() != wanted.len() {
        return Some(format!(
            "`{}` has {} elements, its reference {}",
            output.tensor,
            got.len(),
            wanted.len()
        ));
    }
    // Written so that a number that is none is wrong.
    let right = |(g, w): (&f64, &f64)| (g - w).abs() <= abs + output.rel * w.abs();
    let wrong: Vec<usize> = (0..got.len()).filter(|&i| !right((&got[i], &wanted[i]))).collect();
    let first = *wrong.first()?;
    Some(format!(
        "`{}`: {} of {} elements are wrong; number {first} is {}, expected {}",
        output.tensor,
        wrong.len(),
        got.len(),
        got[first],
        wanted[first]
    ))
}

/// The largest distance of an output from its reference.
pub fn reference_error(case: &Case, output: &Output, tensors: &Tensors) -> f64 {
    let of: Vec<Tensor> = output.of.iter().map(|n| case.inputs[n].tensor()).collect();
    let wanted = reference(&output.reference, &output.params, &of.iter().collect::<Vec<_>>());
    let got = tensors[&output.tensor].values();
    let worst = |worst: f64, (g, w): (&f64, &f64)| if (g - w).abs() <= worst { worst } else { (g - w).abs() };
    got.iter().zip(&wanted).fold(0.0, worst)
}

/// Findings that are worse than a note, as lines.
pub fn complaints(outcome: &Outcome) -> Vec<String> {
    let reports = outcome.reports.iter();
    let mut lines: Vec<String> = reports
        .clone()
        .flat_map(|r| &r.findings)
        .filter(|f| f.severity > exec::Severity::Note)
        .map(|f| f.to_string())
        .collect();
    if lines.is_empty() && reports.clone().any(|r| !r.completed) {
        lines.push("a launch did not complete, and nothing says why".to_owned());
    }
    lines
}

/// A finding's kind as the descriptions write it.
pub fn kind_name(kind: exec::FindingKind) -> String {
    serde_json::to_value(kind).unwrap().as_str().unwrap().to_owned()
}

//! Random cases of every kernel family on a device, against the f64 references of the kernel tests.

use crate::FAMILIES;
use crate::case::{Case, Content, Operand};
use crate::dice::Dice;
use crate::report::{Report, grade};
use crate::rig::{bytes, close, count, element, length};
use anyhow::Result;
use clap::Args;
use jet_codegen::kernel::{self, Arg, Entry, Kernel, Source, Table};
use jet_codegen::nvrtc::{Compiler, Job};
use jet_codegen::schedule::Values;
use jet_runtime::gpu::{Backend, LaunchSpec, Memory, Place, Value, backend, store};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What lies in memory that the kernel must write, and between rows: not-a-number in every format.
const POISON: u8 = 0xff;

/// Arguments of the command.
#[derive(Args)]
pub(crate) struct KernelsArgs {
    /// The device.
    #[arg(long, default_value = "cuda:0")]
    device: String,
    /// The file to write.
    #[arg(long)]
    out: PathBuf,
    /// Cases of each family.
    #[arg(long, default_value_t = 12)]
    cases: usize,
    /// Seed of the cases.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A case's outcome.
#[derive(Serialize)]
struct Outcome {
    family: &'static str,
    case: usize,
    problem: String,
    form: &'static str,
    schedule: Values,
    seconds: f64,
    wrong: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: &KernelsArgs) -> Result<bool> {
    let head = json!({"what": "parity of kernels", "device": args.device, "grade": grade(&args.device),
        "seed": args.seed});
    let mut report = Report::new(&args.out, head)?;
    // Keeps the device open: a context takes longer to make than a case to run.
    let first = backend(&args.device)?;
    let (mut ran, mut wrong) = (0, 0);
    for kernel in kernel::ALL {
        let Some(family) = FAMILIES.iter().find(|f| f.name() == kernel.name()) else {
            report.push(&json!({"family": kernel.name(), "wrong": "it has no cases"}))?;
            wrong += 1;
            continue;
        };
        let mut dice = Dice::new(args.seed);
        for n in 0..args.cases {
            let outcome = one(*kernel, &family.random(&mut dice), n, &mut dice, &args.device, &*first);
            ran += 1;
            if let Some(why) = &outcome.wrong {
                wrong += 1;
                println!(
                    "WRONG {} case {n}: {} with {}: {why}",
                    outcome.family, outcome.problem, outcome.schedule
                );
            }
            report.push(&outcome)?;
        }
        println!("{}: {} cases done", kernel.name(), args.cases);
    }
    report.finish()?;
    println!("{ran} cases of {} families on {}, {wrong} wrong", kernel::ALL.len(), args.device);
    Ok(wrong == 0)
}

/// One case with a random legal schedule, forms by turns.
fn one(
    kernel: &dyn Kernel,
    case: &Case,
    n: usize,
    dice: &mut Dice,
    device: &str,
    first: &dyn Backend,
) -> Outcome {
    let arch = first.arch();
    let mut legal = kernel.candidates(&case.problem, arch);
    let form = (n % kernel.forms().len()) as i64;
    if legal.iter().any(|v| v.get("form").unwrap_or(0) == form) {
        legal.retain(|v| v.get("form").unwrap_or(0) == form);
    }
    let values = if legal.is_empty() { Values::default() } else { dice.of(&legal) };
    let start = Instant::now();
    let run = || {
        let source = kernel.emit(&case.problem, &values, arch).map_err(|e| e.to_string())?;
        let mut machine = backend(device).map_err(|e| e.to_string())?;
        Rig::run(&mut *machine, case, &source)
    };
    let wrong = run().err();
    Outcome {
        family: kernel.name(),
        case: n,
        problem: case.problem.to_string(),
        form: kernel.form(&values).map_or("none", |f| f.name()),
        schedule: values,
        seconds: start.elapsed().as_secs_f64(),
        wrong,
    }
}

/// A case on a machine.
struct Rig<'a> {
    machine: &'a mut dyn Backend,
    case: &'a Case,
    operands: BTreeMap<&'a str, (Memory, &'a Operand)>,
    tables: BTreeMap<&'static str, Memory>,
    scratch: BTreeMap<&'a str, Memory>,
}

fn at(memory: Memory, offset: usize) -> Place {
    Place { memory, offset: offset as u64 }
}

impl<'a> Rig<'a> {
    fn run(machine: &'a mut dyn Backend, case: &'a Case, source: &'a Source) -> Result<(), String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let compiler = Compiler::find(store().as_ref()).map_err(|e| text(&e))?;
        let job = Job { source: Arc::from(&*source.text), arch: machine.arch(), output: machine.image() };
        let compiled = compiler.compile_all(&[job], 1, Duration::from_secs(120)).pop().expect("one job");
        let module = machine.load(&compiled.map_err(|e| text(&e))?).map_err(|e| text(&e))?;
        let (operands, tables, scratch) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut rig = Rig { machine, case, operands, tables, scratch };
        rig.fill(source).map_err(|e| text(&e))?;
        for entry in &source.entries {
            let grid = [0, 1, 2].map(|d| entry.grid[d].value(|s| case.size(s)) as u32);
            if grid.contains(&0) {
                continue;
            }
            let args: Vec<Value> =
                entry.args.iter().map(|a| rig.argument(a, entry)).collect::<Result<_, _>>()?;
            let (block, cluster, smem) = (entry.block, entry.cluster, entry.smem);
            let spec = LaunchSpec { module, entry: &entry.name, grid, block, cluster, smem, args: &args };
            rig.machine.launch(&spec).map_err(|e| text(&e))?;
        }
        rig.judge()
    }

    /// Memory with everything that the case says.
    fn fill(&mut self, source: &'a Source) -> Result<(), jet_runtime::Error> {
        for o in &self.case.operands {
            let content = match &o.content {
                Content::Values(v) => bytes(o, v),
                Content::Bytes(b) => b.clone(),
                Content::Unwritten => vec![POISON; (o.lead + length(o)) * o.elem.bytes()],
            };
            let memory = self.machine.alloc(o.role, content.len() as u64)?;
            // An emulated device knows what nobody wrote, and says so.
            if !(matches!(o.content, Content::Unwritten) && self.machine.separate_buffers()) {
                self.machine.upload(at(memory, 0), &content)?;
            }
            self.operands.insert(o.role, (memory, o));
        }
        for (name, table) in Table::ALL {
            let data: Vec<u8> = self.case.table(table).iter().flat_map(|v| v.to_le_bytes()).collect();
            let memory = self.machine.alloc(name, data.len() as u64)?;
            self.machine.upload(at(memory, 0), &data)?;
            self.tables.insert(name, memory);
        }
        for s in &source.scratch {
            let len = s.bytes.value(|size| self.case.size(size));
            let memory = self.machine.alloc(&s.role, len)?;
            if s.zeroed {
                self.machine.zero(at(memory, 0), len)?;
            } else if !self.machine.separate_buffers() {
                self.machine.upload(at(memory, 0), &vec![POISON; len as usize])?;
            }
            self.scratch.insert(&s.role, memory);
        }
        Ok(())
    }

    fn operand(&self, role: &str) -> Result<(Memory, &'a Operand), String> {
        self.operands.get(role).copied().ok_or_else(|| format!("the case has no operand `{role}`"))
    }

    fn argument(&self, arg: &Arg, entry: &Entry) -> Result<Value, String> {
        Ok(match arg {
            Arg::Pointer(role) => match (self.scratch.get(role.as_str()), self.operands.get(role.as_str())) {
                (Some(memory), _) => Value::Address(at(*memory, 0)),
                (None, Some((memory, o))) => Value::Address(at(*memory, o.lead * o.elem.bytes())),
                (None, None) => Value::Null,
            },
            Arg::Stride(role) => Value::Int(self.operand(role)?.1.stride as i32),
            Arg::Rows(role) => Value::Int(self.case.rows_of(self.operand(role)?.1) as i32),
            Arg::Slot(role) => Value::Long(self.operand(role)?.1.slots.map_or(0, |(slot, _)| slot as i64)),
            Arg::Size(size) => Value::Int(self.case.size(*size) as i32),
            Arg::Table(table) => {
                let name = Table::ALL.iter().find(|(_, t)| t == table).map_or("", |(n, _)| *n);
                Value::Address(at(self.tables[name], 0))
            }
            Arg::Scalar(name) => {
                let found = self.case.scalars.iter().find(|(n, _)| n == name);
                Value::Float(found.ok_or_else(|| format!("the case has no scalar `{name}`"))?.1)
            }
            Arg::Map(role) => {
                let (memory, o) = self.operand(role)?;
                let map = entry.maps.iter().find(|m| m.role == *role);
                let map = map.ok_or_else(|| format!("{} declares no map of `{role}`", entry.name))?;
                Value::Map {
                    base: at(memory, o.lead * o.elem.bytes()),
                    elem: o.elem,
                    shape: [o.rows, o.cols],
                    stride: o.stride,
                    tile: [map.box_rows, map.box_cols],
                    swizzle: map.swizzle,
                }
            }
        })
    }

    /// Compares every operand with what it must hold; what lies between the rows must be as it was.
    fn judge(&mut self) -> Result<(), String> {
        let emulated = self.machine.separate_buffers();
        for (role, (memory, o)) in &self.operands {
            let before = match &o.content {
                Content::Values(v) => bytes(o, v),
                Content::Bytes(b) => b.clone(),
                // The emulator gives zeros for what nobody wrote.
                Content::Unwritten => {
                    vec![if emulated { 0 } else { POISON }; (o.lead + length(o)) * o.elem.bytes()]
                }
            };
            let mut got = vec![0; before.len()];
            self.machine.download(at(*memory, 0), &mut got).map_err(|e| e.to_string())?;
            match self.case.expected.iter().find(|(r, _)| r == role) {
                Some((_, want)) => close(o, &got, want, self.case.tolerance)?,
                None if matches!(o.content, Content::Values(_)) && got != before => {
                    return Err(format!("`{role}` is no output and was changed"));
                }
                None => {}
            }
            if !matches!(o.content, Content::Bytes(_)) {
                let mut between = vec![true; got.len()];
                for i in 0..count(o) {
                    let first = element(o, i) * o.elem.bytes();
                    between[first..first + o.elem.bytes()].fill(false);
                }
                if let Some(i) = (0..got.len()).find(|i| between[*i] && got[*i] != before[*i]) {
                    return Err(format!("byte {i} of `{role}`, between the rows, was written"));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_cases_here() {
        let names: Vec<_> = kernel::ALL.iter().map(|k| k.name()).collect();
        let missing: Vec<_> = names
            .iter()
            .filter(|n| FAMILIES.iter().all(|f: &&dyn crate::case::Family| f.name() != **n))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

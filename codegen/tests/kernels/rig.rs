//! A case on the emulator: operands in buffers of their own, arguments by role.

use crate::case::{Case, Content, Operand, decode, encode};
use crate::sass;
use jet_codegen::arch::Arch;
use jet_codegen::kernel::{Arg, Elem, Size, Source, Table};
use jet_codegen::nvrtc::{Nvrtc, Output};
use jet_emu::exec::{self, BufferId, Checks, Emulator, EmulatorOptions, LaunchConfig, Report};
use jet_emu::tensor::{MapElement, SwizzleMode, TensorMapSpec};
use std::collections::{BTreeMap, BTreeSet};

/// What lies between the rows.
const POISON: u8 = 0xff;

/// The buffers of a case.
struct Device<'a> {
    emulator: Emulator,
    case: &'a Case,
    operands: BTreeMap<&'a str, (BufferId, &'a Operand)>,
    tables: BTreeMap<&'static str, BufferId>,
    scratch: BTreeMap<&'a str, BufferId>,
}

/// Runs `source` and gives what is wrong, if anything.
pub fn run(nvrtc: &Nvrtc, case: &Case, source: &Source, arch: &Arch, seed: u64) -> Result<(), String> {
    run_with(nvrtc, case, source, arch, EmulatorOptions { seed, ..EmulatorOptions::default() }).map(|_| ())
}

/// What all entries of a source did.
#[derive(Default)]
pub struct Counted {
    pub warp_instructions: u64,
    /// Bytes of the sectors of global memory that accesses touched, each time anew.
    pub sector_bytes: u64,
    /// Bytes of buffers that were read and written, each once an entry: what passes the L2 cache where it holds what
    /// the CTAs of an entry share.
    pub distinct_bytes: u64,
    pub wavefronts: u64,
    pub ideal_wavefronts: u64,
    /// Wavefronts of accesses in loops, and how many they would be without conflicts.
    pub looped: [u64; 2],
    pub tensor_flops: u64,
    /// Instructions of warps on tensor cores.
    pub tensor_instructions: u64,
    /// Passes too many through shared memory, by instruction.
    pub conflicts: Vec<(u64, String)>,
    /// Sectors of global memory, by instruction.
    pub traffic: Vec<(u64, String)>,
    /// Bytes read and written of each buffer: in all, and different ones.
    pub buffers: BTreeMap<String, (u64, u64)>,
}

impl Counted {
    fn add(&mut self, report: &Report, loops: &BTreeSet<usize>) {
        let Some(counters) = &report.counters else { return };
        for b in &counters.buffers {
            let distinct = b.unique_read_bytes + b.unique_written_bytes;
            let at = self.buffers.entry(b.name.clone()).or_default();
            at.0 += b.read_bytes + b.written_bytes;
            at.1 += distinct;
            self.distinct_bytes += distinct;
        }
        for c in &counters.lines {
            let looped = loops.contains(&(c.line as usize));
            let place = if looped { ", in a loop" } else { "" };
            let what = || format!("{}: {} in line {}{place}", report.kernel, c.instruction, c.line);
            self.warp_instructions += c.warp;
            self.tensor_flops += c.tensor_flops;
            self.tensor_instructions += if c.tensor_flops > 0 { c.warp } else { 0 };
            if let Some(global) = c.global.as_ref().filter(|g| g.sectors > 0) {
                self.sector_bytes += 32 * global.sectors;
                self.traffic.push((global.sectors, what()));
            }
            let Some(shared) = &c.shared else { continue };
            self.wavefronts += shared.wavefronts;
            self.ideal_wavefronts += shared.ideal_wavefronts;
            if looped {
                self.looped[0] += shared.wavefronts;
                self.looped[1] += shared.ideal_wavefronts;
            }
            if shared.wavefronts > shared.ideal_wavefronts {
                self.conflicts.push((shared.wavefronts - shared.ideal_wavefronts, what()));
            }
        }
    }
}

/// Runs `source` with counters, and without the checks that parity runs with.
pub fn counted(nvrtc: &Nvrtc, case: &Case, source: &Source, arch: &Arch) -> Result<Counted, String> {
    let options = EmulatorOptions { counters: true, checks: Checks::NONE, ..EmulatorOptions::default() };
    run_with(nvrtc, case, source, arch, options)
}

fn run_with(
    nvrtc: &Nvrtc,
    case: &Case,
    source: &Source,
    arch: &Arch,
    options: EmulatorOptions,
) -> Result<Counted, String> {
    let compiled = nvrtc.compile(&source.text, arch, Output::Ptx).map_err(|e| e.to_string())?;
    let mut device = Device::new(case, source, options)?;
    let mut counted = Counted::default();
    let loops = sass::ptx_loops(&compiled.ptx);
    let module = device.emulator.load(&compiled.ptx).map_err(|e| e.to_string())?;
    for entry in &source.entries {
        let grid = [0, 1, 2].map(|d| entry.grid[d].value(|s| case.size(s)) as u32);
        if grid.contains(&0) {
            continue;
        }
        let config = LaunchConfig {
            kernel: entry.name.clone(),
            grid,
            block: [entry.block, 1, 1],
            cluster: (entry.cluster != [1; 3]).then_some(entry.cluster),
            dynamic_shared: entry.smem,
        };
        let args: Vec<exec::Arg> =
            entry.args.iter().map(|a| device.argument(a, entry)).collect::<Result<_, _>>()?;
        let report = device.emulator.launch(module, &config, &args).map_err(|e| e.to_string())?;
        if !report.clean() {
            let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
            return Err(format!("{} completed: {}\n{}", entry.name, report.completed, findings.join("\n")));
        }
        counted.add(&report, &loops);
    }
    device.judge().map(|()| counted)
}

impl Case {
    /// A size of the run.
    pub fn size(&self, size: Size) -> u64 {
        let longest =
            |f: fn(&crate::case::Segment) -> usize| self.batch.segments.iter().map(f).max().unwrap_or(0);
        let n = match size {
            Size::Rows => self.rows,
            Size::Sequences => self.batch.segments.len(),
            Size::Longest => longest(|s| s.len),
            Size::LongestTotal => longest(|s| s.past + s.len),
        };
        n as u64
    }

    pub fn table(&self, table: Table) -> Vec<i32> {
        let b = &self.batch;
        let rows = || b.segments.iter().enumerate().flat_map(|(i, s)| (0..s.len).map(move |t| (i, s, t)));
        let int = |n: usize| n as i32;
        match table {
            Table::TokenIds => b.token_ids.iter().copied().map(int).collect(),
            Table::OutRows => b.out_rows.iter().copied().map(int).collect(),
            Table::Positions => rows().map(|(_, s, t)| int(s.first + s.past + t)).collect(),
            Table::RowSegments => rows().map(|(i, ..)| int(i)).collect(),
            Table::Segments => {
                let each = b.segments.iter().zip(b.starts());
                each.flat_map(|(s, start)| {
                    [int(s.slot), int(start), int(s.len), int(s.past), int(s.first), 0, 0, 0]
                })
                .collect()
            }
        }
    }
}

fn map_element(elem: Elem) -> MapElement {
    match elem {
        Elem::F32 => MapElement::F32,
        Elem::Bf16 => MapElement::Bf16,
        Elem::F16 => MapElement::F16,
        Elem::E4m3 => MapElement::U8,
    }
}

/// The bytes of an operand: the lead, then rows with poison between them.
pub fn bytes(o: &Operand, values: &[f64]) -> Vec<u8> {
    let size = o.elem.bytes();
    let mut out = vec![POISON; (o.lead + length(o)) * size];
    for (i, v) in values.iter().enumerate() {
        let at = element(o, i) * size;
        out[at..at + size].copy_from_slice(&encode(o.elem, *v));
    }
    out
}

/// Elements from the first to the last.
pub fn length(o: &Operand) -> usize {
    let part = (o.rows.max(1) - 1) * o.stride + o.cols;
    o.slots.map_or(part, |(slot, n)| (n - 1) * slot + part)
}

/// Where value `i` lies.
pub fn element(o: &Operand, i: usize) -> usize {
    let (per_slot, at) = (o.rows * o.cols, |i: usize| i / o.cols * o.stride + i % o.cols);
    let slot = o.slots.map_or(0, |(slot, _)| i / per_slot * slot);
    o.lead + slot + at(i % per_slot)
}

/// Number of values.
pub fn count(o: &Operand) -> usize {
    o.rows * o.cols * o.slots.map_or(1, |(_, n)| n)
}

impl<'a> Device<'a> {
    fn new(case: &'a Case, source: &'a Source, options: EmulatorOptions) -> Result<Self, String> {
        let mut emulator = Emulator::new(options);
        let (mut operands, mut tables, mut scratch) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for o in &case.operands {
            let id = match &o.content {
                Content::Values(v) => emulator.alloc_bytes(o.role, &bytes(o, v)),
                Content::Bytes(b) => emulator.alloc_bytes(o.role, b),
                Content::Unwritten => emulator.alloc(o.role, ((o.lead + length(o)) * o.elem.bytes()) as u64),
            };
            operands.insert(o.role, (id.map_err(|e| e.to_string())?, o));
        }
        for (name, table) in Table::ALL {
            let data: Vec<u8> = case.table(table).iter().flat_map(|v| v.to_le_bytes()).collect();
            tables.insert(name, emulator.alloc_bytes(name, &data).map_err(|e| e.to_string())?);
        }
        for s in &source.scratch {
            let len = s.bytes.value(|size| case.size(size));
            let id =
                if s.zeroed { emulator.alloc_zeroed(&s.role, len) } else { emulator.alloc(&s.role, len) };
            scratch.insert(s.role.as_str(), id.map_err(|e| e.to_string())?);
        }
        Ok(Self { emulator, case, operands, tables, scratch })
    }

    fn operand(&self, role: &str) -> Result<(BufferId, &'a Operand), String> {
        self.operands.get(role).copied().ok_or_else(|| format!("the case has no operand `{role}`"))
    }

    fn argument(&self, arg: &Arg, entry: &jet_codegen::kernel::Entry) -> Result<exec::Arg, String> {
        Ok(match arg {
            Arg::Pointer(role) => match (self.scratch.get(role.as_str()), self.operands.get(role.as_str())) {
                (Some(id), _) => exec::Arg::Buffer(*id),
                (None, Some((id, o))) => exec::Arg::BufferAt(*id, (o.lead * o.elem.bytes()) as u64),
                // An optional operand that the problem does not have; touching it is a fault.
                (None, None) => exec::Arg::Null,
            },
            Arg::Stride(role) => exec::Arg::I32(self.operand(role)?.1.stride as i32),
            Arg::Rows(role) => exec::Arg::I32(self.case.rows_of(self.operand(role)?.1) as i32),
            Arg::Slot(role) => exec::Arg::I64(self.operand(role)?.1.slots.map_or(0, |(slot, _)| slot as i64)),
            Arg::Size(size) => exec::Arg::I32(self.case.size(*size) as i32),
            Arg::Table(table) => {
                let name = Table::ALL.iter().find(|(_, t)| t == table).map_or("", |(n, _)| *n);
                exec::Arg::Buffer(self.tables[name])
            }
            Arg::Scalar(name) => {
                let found = self.case.scalars.iter().find(|(n, _)| n == name);
                exec::Arg::F32(found.ok_or_else(|| format!("the case has no scalar `{name}`"))?.1)
            }
            Arg::Map(role) => {
                let (id, o) = self.operand(role)?;
                let map = entry.maps.iter().find(|m| m.role == *role);
                let map = map.ok_or_else(|| format!("{} declares no map of `{role}`", entry.name))?;
                let mut spec = TensorMapSpec {
                    tensor: role.clone(),
                    offset: (o.lead * o.elem.bytes()) as u64,
                    dtype: map_element(o.elem),
                    dims: vec![o.cols as u64, o.rows as u64],
                    strides: Some(vec![(o.stride * o.elem.bytes()) as u64]),
                    box_dims: vec![map.box_cols, map.box_rows],
                    element_strides: None,
                    swizzle: Default::default(),
                    fill: Default::default(),
                    interleave: Default::default(),
                    l2_promotion: Default::default(),
                };
                spec.swizzle.mode = match map.swizzle {
                    32 => SwizzleMode::B32,
                    64 => SwizzleMode::B64,
                    128 => SwizzleMode::B128,
                    _ => SwizzleMode::None,
                };
                let address = self.emulator.address(id).map_err(|e| e.to_string())?;
                exec::Arg::Bytes(spec.build(address).map_err(|e| e.to_string())?.encode().to_vec())
            }
        })
    }

    /// Compares every operand with what it must hold.
    fn judge(&self) -> Result<(), String> {
        for (role, (id, o)) in &self.operands {
            let got = self.emulator.read(*id).map_err(|e| e.to_string())?;
            let expected = self.case.expected.iter().find(|(r, _)| r == role).map(|(_, v)| v);
            match (expected, &o.content) {
                (Some(want), _) => close(o, &got, want, self.case.tolerance)?,
                (None, Content::Values(v)) if got != bytes(o, v) => {
                    return Err(format!("`{role}` is no output and was changed"));
                }
                _ => {}
            }
            if !matches!(o.content, Content::Bytes(_)) {
                let blank = if matches!(o.content, Content::Unwritten) { 0 } else { POISON };
                let mut between = vec![true; got.len()];
                for i in 0..count(o) {
                    let at = element(o, i) * o.elem.bytes();
                    between[at..at + o.elem.bytes()].fill(false);
                }
                if let Some(at) = (0..got.len()).find(|i| between[*i] && got[*i] != blank) {
                    return Err(format!("byte {at} of `{role}`, between the rows, was written"));
                }
            }
        }
        Ok(())
    }
}

pub fn close(o: &Operand, got: &[u8], want: &[f64], tolerance: f64) -> Result<(), String> {
    assert_eq!(want.len(), count(o), "the reference of `{}` is whole", o.role);
    let size = o.elem.bytes();
    let value = |i: usize| decode(o.elem, &got[element(o, i) * size..][..size]);
    let (mut error, mut norm, mut worst) = (0.0, 0.0, (0.0, 0));
    for (i, w) in want.iter().enumerate() {
        let d = value(i) - w;
        if !d.is_finite() {
            return Err(format!(
                "`{}` row {} column {}: {} is not {w}",
                o.role,
                i / o.cols,
                i % o.cols,
                value(i)
            ));
        }
        (error, norm) = (error + d * d, norm + w * w);
        if d.abs() > worst.0 {
            worst = (d.abs(), i);
        }
    }
    let relative = (error / norm.max(f64::MIN_POSITIVE)).sqrt();
    if relative > tolerance {
        let i = worst.1;
        return Err(format!(
            "`{}` is off by {relative:.2e}, allowed is {tolerance:.2e}; worst in row {} column {}: {} is not {}",
            o.role,
            i / o.cols,
            i % o.cols,
            value(i),
            want[i]
        ));
    }
    Ok(())
}

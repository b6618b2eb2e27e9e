//! What was counted, in a form that serialises.

use std::collections::BTreeMap;

use serde::Serialize;

use super::collect::{Counting, Site};
use super::words::{barrier_kind, copy_mechanism, is_branch, tensor_types};
use crate::isa::Program;

/// Counters of a launch.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Counters {
    /// Instructions in sum.
    pub instructions: Instructions,
    /// Branches.
    pub branches: Branches,
    /// Work of tensor instructions, by type.
    pub tensor: Vec<TensorCounters>,
    /// Global memory.
    pub global: GlobalCounters,
    /// Global memory by buffer; buffers that nobody touched are left out.
    pub buffers: Vec<BufferCounters>,
    /// Shared memory.
    pub shared: SharedCounters,
    /// Local memory.
    pub local: LocalCounters,
    /// Asynchronous copies, by mechanism.
    pub copies: Vec<CopyCounters>,
    /// Barrier instructions, by kind.
    pub barriers: Vec<BarrierCounters>,
    /// By line of the source, where the text has `.loc`; most executed first.
    pub source_lines: Vec<SourceCounters>,
    /// By instruction of the text that was executed, in the order of the text.
    pub lines: Vec<InstructionCounters>,
}

/// Instructions in sum.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Instructions {
    /// Instructions that warps, or parts of them, came to; those whose guard held for no lane included.
    pub warp: u64,
    /// Instructions that threads executed: those whose guard held.
    pub thread: u64,
    /// Lanes that stood at an instruction on average.
    pub average_lanes: f64,
    /// By class, most executed first.
    pub classes: Vec<ClassCounters>,
}

/// Instructions of a class.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ClassCounters {
    /// Which, as on the coverage page.
    pub class: String,
    /// Instructions of warps.
    pub warp: u64,
    /// Instructions of threads.
    pub thread: u64,
}

/// Branches.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Branches {
    /// Branches of warps, taken or not.
    pub executed: u64,
    /// Branches whose lanes parted.
    pub divergent: u64,
}

/// Work of tensor instructions of a type.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TensorCounters {
    /// Element types of A and B: `bf16`, or `s8 x u8` where they differ.
    pub inputs: String,
    /// Element type of the sum.
    pub accumulator: String,
    /// Instructions of warps.
    pub warp: u64,
    /// Multiplications and additions.
    pub flops: u64,
}

/// Global memory: requests of warps and asynchronous copies.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct GlobalCounters {
    /// Requests.
    pub requests: u64,
    /// Bytes that were asked for to be read.
    pub read_bytes: u64,
    /// Bytes that were asked for to be written.
    pub written_bytes: u64,
    /// Sectors of 32 bytes that requests touched.
    pub sectors: u64,
    /// Sectors that would have done if the distinct bytes of each request lay side by side.
    pub ideal_sectors: u64,
    /// Sectors of a request on average.
    pub sectors_per_request: f64,
}

/// Traffic of a buffer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct BufferCounters {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub len: u64,
    /// Bytes read in all.
    pub read_bytes: u64,
    /// Different bytes that were read.
    pub unique_read_bytes: u64,
    /// Bytes written in all.
    pub written_bytes: u64,
    /// Different bytes that were written.
    pub unique_written_bytes: u64,
}

/// Shared memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SharedCounters {
    /// Requests.
    pub requests: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes of those that were in shared memory of another CTA of the cluster.
    pub cluster_bytes: u64,
    /// Passes through the banks.
    pub wavefronts: u64,
    /// Passes without bank conflicts.
    pub ideal_wavefronts: u64,
}

/// Local memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LocalCounters {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
}

/// Asynchronous copies of a mechanism.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CopyCounters {
    /// Which.
    pub mechanism: String,
    /// Instructions of warps.
    pub warp: u64,
    /// Bytes moved.
    pub bytes: u64,
}

/// Barrier instructions of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct BarrierCounters {
    /// Which.
    pub kind: String,
    /// Times that a warp executed one.
    pub warp: u64,
}

/// A line of the source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SourceCounters {
    /// File.
    pub file: String,
    /// Line.
    pub line: u32,
    /// Instructions of warps.
    pub warp: u64,
    /// Instructions of threads.
    pub thread: u64,
    /// Work of tensor instructions.
    pub tensor_flops: u64,
    /// Bytes of global memory.
    pub global_bytes: u64,
    /// Passes through the banks of shared memory that conflicts cost.
    pub bank_conflicts: u64,
}

/// An instruction of the text.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct InstructionCounters {
    /// Function.
    pub function: String,
    /// Line in the PTX, from 1.
    pub line: u32,
    /// Opcode and modifiers.
    pub instruction: String,
    /// Class, as on the coverage page.
    pub class: String,
    /// File and line of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<(String, u32)>,
    /// Times that a warp, or a part of one, came to it.
    pub warp: u64,
    /// Times that a thread executed it.
    pub thread: u64,
    /// Lanes that stood at it, summed over `warp`.
    pub lanes: u64,
    /// Times that its lanes parted.
    #[serde(skip_serializing_if = "is_zero")]
    pub divergent: u64,
    /// Multiplications and additions of a tensor instruction.
    #[serde(skip_serializing_if = "is_zero")]
    pub tensor_flops: u64,
    /// Its global requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global: Option<GlobalCounters>,
    /// Its shared requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedCounters>,
    /// Its local traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalCounters>,
    /// Bytes that it copied asynchronously.
    #[serde(skip_serializing_if = "is_zero")]
    pub copied_bytes: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A quotient, 0 for nothing by nothing.
pub(super) fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

fn global_of(s: &Site) -> GlobalCounters {
    GlobalCounters {
        requests: s.global_requests,
        read_bytes: s.global.read,
        written_bytes: s.global.written,
        sectors: s.sectors,
        ideal_sectors: s.ideal_sectors,
        sectors_per_request: ratio(s.sectors, s.global_requests),
    }
}

fn shared_of(s: &Site) -> SharedCounters {
    SharedCounters {
        requests: s.shared_requests,
        read_bytes: s.shared.read,
        written_bytes: s.shared.written,
        cluster_bytes: s.cluster_bytes,
        wavefronts: s.wavefronts,
        ideal_wavefronts: s.ideal_wavefronts,
    }
}

fn local_of(s: &Site) -> LocalCounters {
    LocalCounters { read_bytes: s.local.read, written_bytes: s.local.written }
}

fn instruction_of(program: &Program, index: usize, s: &Site) -> InstructionCounters {
    let at = &program.sites[index];
    InstructionCounters {
        function: program.functions.get(at.function as usize).map_or_else(String::new, |f| f.name.clone()),
        line: at.line,
        instruction: at.text.clone(),
        class: at.class.to_owned(),
        source: at.loc.as_ref().map(|(file, line, _)| (file.clone(), *line)),
        warp: s.issued,
        thread: s.threads,
        lanes: s.lanes,
        divergent: s.divergent,
        tensor_flops: s.tensor_flops,
        global: (s.global_requests > 0).then(|| global_of(s)),
        shared: (s.shared_requests > 0).then(|| shared_of(s)),
        local: (s.local.read + s.local.written > 0).then(|| local_of(s)),
        copied_bytes: s.copied,
    }
}

impl Counting {
    /// The result, with what the program's text says.
    pub fn finish(self, program: &Program) -> Counters {
        let mut sum = Site::default();
        self.sites.iter().for_each(|s| sum.merge(s));
        let used = || self.sites.iter().enumerate().filter(|(i, s)| s.issued > 0 && *i < program.sites.len());
        let lines: Vec<_> = used().map(|(i, s)| instruction_of(program, i, s)).collect();
        let branches = lines.iter().filter(|l| is_branch(&l.instruction));
        let (executed, divergent) = branches.fold((0, 0), |(e, d), l| (e + l.warp, d + l.divergent));
        let mut lines_in_order = lines;
        lines_in_order.sort_by_key(|l| l.line);
        Counters {
            instructions: Instructions {
                warp: sum.issued,
                thread: sum.threads,
                average_lanes: ratio(sum.lanes, sum.issued),
                classes: classes(&lines_in_order),
            },
            branches: Branches { executed, divergent },
            tensor: tensor(used().map(|(i, s)| (program.sites[i].text.as_str(), s))),
            global: global_of(&sum),
            buffers: self
                .buffers
                .iter()
                .map(buffer_of)
                .filter(|b| b.read_bytes + b.written_bytes > 0)
                .collect(),
            shared: shared_of(&sum),
            local: local_of(&sum),
            copies: copies(&lines_in_order),
            barriers: barriers(&lines_in_order),
            source_lines: source_lines(&lines_in_order),
            lines: lines_in_order,
        }
    }
}

fn buffer_of(traffic: &super::collect::Traffic) -> BufferCounters {
    BufferCounters {
        name: traffic.name.clone(),
        len: traffic.len,
        read_bytes: traffic.moved.read,
        unique_read_bytes: traffic.read.count(),
        written_bytes: traffic.moved.written,
        unique_written_bytes: traffic.written.count(),
    }
}

fn classes(lines: &[InstructionCounters]) -> Vec<ClassCounters> {
    let mut map: BTreeMap<&str, ClassCounters> = BTreeMap::new();
    for l in lines {
        let c = map.entry(&l.class).or_default();
        c.class.clone_from(&l.class);
        c.warp += l.warp;
        c.thread += l.thread;
    }
    let mut list: Vec<_> = map.into_values().collect();
    list.sort_by_key(|c| std::cmp::Reverse(c.thread));
    list
}

fn tensor<'a>(sites: impl Iterator<Item = (&'a str, &'a Site)>) -> Vec<TensorCounters> {
    let mut map: BTreeMap<(String, &str), (u64, u64)> = BTreeMap::new();
    for (text, s) in sites.filter(|(_, s)| s.tensor > 0) {
        let sum = map.entry(tensor_types(text)).or_default();
        sum.0 += s.tensor;
        sum.1 += s.tensor_flops;
    }
    let one = |((inputs, sum), (warp, flops)): ((String, &str), (u64, u64))| TensorCounters {
        inputs,
        accumulator: sum.to_owned(),
        warp,
        flops,
    };
    map.into_iter().map(one).collect()
}

fn copies(lines: &[InstructionCounters]) -> Vec<CopyCounters> {
    let mut map: BTreeMap<&str, CopyCounters> = BTreeMap::new();
    for l in lines.iter().filter(|l| l.copied_bytes > 0) {
        let mechanism = copy_mechanism(&l.instruction);
        let c = map.entry(mechanism).or_default();
        mechanism.clone_into(&mut c.mechanism);
        c.warp += l.warp;
        c.bytes += l.copied_bytes;
    }
    map.into_values().collect()
}

fn barriers(lines: &[InstructionCounters]) -> Vec<BarrierCounters> {
    let mut map: BTreeMap<&str, u64> = BTreeMap::new();
    for l in lines {
        if let Some(kind) = barrier_kind(&l.instruction) {
            *map.entry(kind).or_default() += l.warp;
        }
    }
    map.into_iter().map(|(kind, warp)| BarrierCounters { kind: kind.to_owned(), warp }).collect()
}

fn source_lines(lines: &[InstructionCounters]) -> Vec<SourceCounters> {
    let mut map: BTreeMap<(&str, u32), SourceCounters> = BTreeMap::new();
    for l in lines {
        let Some((file, line)) = &l.source else { continue };
        let c = map.entry((file, *line)).or_default();
        c.file.clone_from(file);
        c.line = *line;
        c.warp += l.warp;
        c.thread += l.thread;
        c.tensor_flops += l.tensor_flops;
        c.global_bytes += l.global.as_ref().map_or(0, |g| g.read_bytes + g.written_bytes);
        c.bank_conflicts += l.shared.as_ref().map_or(0, SharedCounters::conflicts);
    }
    let mut list: Vec<_> = map.into_values().collect();
    list.sort_by_key(|c| std::cmp::Reverse(c.warp));
    list
}

impl SharedCounters {
    /// Passes that bank conflicts cost.
    pub fn conflicts(&self) -> u64 {
        self.wavefronts.saturating_sub(self.ideal_wavefronts)
    }
}

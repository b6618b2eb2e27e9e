//! What a launch found, in a form that serialises.

use std::collections::HashMap;

use serde::Serialize;

/// What sort of mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingKind {
    /// An address in no buffer, or beyond the end of one.
    OutOfBounds,
    /// An address that is no multiple of the access's size.
    Misaligned,
    /// An address in a buffer that was freed.
    UseAfterFree,
    /// A store to constant memory or kernel parameters.
    ReadOnlyWrite,
    /// An address of another state space than the instruction's, or of another thread's local memory.
    WrongSpace,
    /// A value that nobody wrote reached an address, a predicate, a store, a matrix or a barrier.
    Uninitialised,
    /// Two accesses of shared memory that nothing orders.
    SharedRace,
    /// Two accesses of global memory that nothing orders.
    GlobalRace,
    /// Two unordered writes of the same value.
    BenignRace,
    /// A read through the read-only path of bytes that the grid writes.
    ReadOnlyPath,
    /// A barrier reached by part of a warp, or by warps that disagree about it.
    BarrierMisuse,
    /// An `.aligned` instruction, or one with a member mask, without all its lanes.
    MissingLanes,
    /// A shuffle, vote or the like that reads what it must not.
    WarpMisuse,
    /// An mbarrier used against its rules.
    MbarrierMisuse,
    /// An asynchronous operation used against its rules.
    AsyncMisuse,
    /// A missing proxy fence.
    MissingProxyFence,
    /// A register that a wgmma still reads or writes was touched.
    RegisterInFlight,
    /// Distributed shared memory before its CTA's start or after its end.
    ClusterLifetime,
    /// Nobody can go on.
    Deadlock,
    /// The launch ran longer than it was allowed to.
    InstructionLimit,
    /// `trap` or a failed assertion.
    Trap,
    /// `brkpt`.
    Breakpoint,
    /// Something that the ISA leaves undefined: a division by zero, a branch table's index, …
    Undefined,
    /// The seed may change the result: a split `activemask`, a float atomic's order.
    SeedDependent,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Likely wrong.
    Warning,
    /// Wrong.
    Error,
}

/// Where in the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourcePlace {
    /// Function.
    pub function: String,
    /// Line in the PTX, from 1.
    pub line: u32,
    /// Source file, line and column, where the PTX says.
    pub source: Option<(String, u32, u32)>,
    /// The instruction.
    pub instruction: String,
}

/// A thread of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ThreadId {
    /// `%ctaid`.
    pub cta: [u32; 3],
    /// `%tid`.
    pub thread: [u32; 3],
}

/// One mistake; repeats at the same place are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What sort.
    pub kind: FindingKind,
    /// How bad.
    pub severity: Severity,
    /// In words.
    pub message: String,
    /// Where.
    pub place: SourcePlace,
    /// The other access, where two are involved.
    pub other: Option<SourcePlace>,
    /// The first thread that it happened to.
    pub thread: Option<ThreadId>,
    /// The address.
    pub address: Option<u64>,
    /// The buffer or variable.
    pub buffer: Option<String>,
    /// How often.
    pub count: u64,
}

/// What a launch gives.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The kernel.
    pub kernel: String,
    /// Whether all threads ended by themselves.
    pub completed: bool,
    /// Mistakes in the order they were first seen.
    pub findings: Vec<Finding>,
    /// What `vprintf` wrote.
    pub output: String,
    /// Warp instructions executed.
    pub warp_instructions: u64,
    /// Counters, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counters: Option<crate::count::Counters>,
}

impl Report {
    /// Whether nothing worse than a note was found.
    pub fn clean(&self) -> bool {
        self.completed && self.findings.iter().all(|f| f.severity == Severity::Note)
    }

    /// Findings of a kind.
    pub fn of(&self, kind: FindingKind) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |f| f.kind == kind)
    }
}

/// Findings of a run, one for each kind and place.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    index: HashMap<(FindingKind, Severity, String, u32), usize>,
}

impl Findings {
    pub(crate) fn add(&mut self, finding: Finding) {
        let key = (finding.kind, finding.severity, finding.place.function.clone(), finding.place.line);
        match self.index.get(&key) {
            Some(&i) => self.list[i].count += finding.count,
            None => {
                self.index.insert(key, self.list.len());
                self.list.push(finding);
            }
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Finding> {
        self.index.clear();
        std::mem::take(&mut self.list)
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?}: {} at {}:{} `{}`",
            self.kind, self.message, self.place.function, self.place.line, self.place.instruction
        )?;
        if let Some((file, line, _)) = &self.place.source {
            write!(f, " ({file}:{line})")?;
        }
        if let Some(t) = self.thread {
            write!(f, ", thread {:?} of CTA {:?}", t.thread, t.cta)?;
        }
        if let Some(a) = self.address {
            write!(f, ", address {a:#x}")?;
        }
        if let Some(b) = &self.buffer {
            write!(f, ", in `{b}`")?;
        }
        if let Some(o) = &self.other {
            write!(f, "; the other is at {}:{} `{}`", o.function, o.line, o.instruction)?;
        }
        if self.count > 1 {
            write!(f, " ({} times)", self.count)?;
        }
        Ok(())
    }
}

//! What the machine tells the detector, and what it gets back.

/// A memory that the detector shadows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// Global memory; addresses are generic addresses.
    Global,
    /// Shared memory of the accessing CTA's cluster; addresses are `rank << 24 | offset`.
    Shared,
}

/// Bits of a shared address that are the offset in its CTA.
pub const SHARED_BITS: u32 = 24;

/// The set of threads that a strong operation reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The CTA.
    Cta,
    /// The cluster.
    Cluster,
    /// The device.
    Gpu,
    /// Everything.
    Sys,
}

/// What an access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Loads.
    Read,
    /// Stores.
    Write,
    /// Reads and writes in one step, and gives what it read (`atom`; a `cas` that fails is one as well).
    Atomic,
    /// Reads and writes in one step without a result (`red`): never part of an acquire (ptx.md 4.1).
    Reduce,
}

impl Kind {
    /// Whether it writes.
    pub fn writes(self) -> bool {
        self != Kind::Read
    }
}

/// How strong an access is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Strength {
    /// Without a qualifier.
    Weak,
    /// `relaxed`, `acquire`, `release`, `volatile` (= relaxed at system scope), all `atom` and `red`.
    Strong {
        /// Who it reaches.
        scope: Scope,
        /// Acquires (by itself, without a fence).
        acquire: bool,
        /// Releases (by itself, without a fence).
        release: bool,
    },
}

impl Strength {
    /// Strong without order of its own.
    pub fn relaxed(scope: Scope) -> Self {
        Strength::Strong { scope, acquire: false, release: false }
    }

    /// Strong, acquires.
    pub fn acquire(scope: Scope) -> Self {
        Strength::Strong { scope, acquire: true, release: false }
    }

    /// Strong, releases.
    pub fn release(scope: Scope) -> Self {
        Strength::Strong { scope, acquire: false, release: true }
    }

    /// Strong, acquires and releases.
    pub fn acq_rel(scope: Scope) -> Self {
        Strength::Strong { scope, acquire: true, release: true }
    }
}

/// The way to memory that an access takes (ptx.md 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Proxy {
    /// Ordinary accesses, `cp.async` and `st.async` among them.
    Generic,
    /// Bulk copies, and what wgmma and tcgen05 read.
    Async,
    /// Reads of a tensor map by bulk tensor operations.
    TensorMap,
    /// `ld.global.nc`: outside the memory model.
    NonCoherent,
}

/// A CTA that was started; made by [`super::Detector::start_cta`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CtaId {
    /// The caller's number of it in the grid.
    pub index: u32,
    /// Where the detector keeps it.
    pub(super) slot: u32,
}

impl CtaId {
    /// One of its warps.
    pub fn warp(self, warp: u32) -> WarpId {
        WarpId { cta: self, warp }
    }
}

impl WarpId {
    /// Some of its lanes.
    pub fn lanes(self, mask: u32) -> Lanes {
        Lanes { warp: self, mask }
    }
}

/// A warp of a CTA that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WarpId {
    /// Its CTA.
    pub cta: CtaId,
    /// Its number in the CTA, below 32.
    pub warp: u32,
}

/// Lanes of a warp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lanes {
    /// The warp.
    pub warp: WarpId,
    /// Which of its lanes.
    pub mask: u32,
}

/// Where threads meet in generations: release on arrival, acquire on leaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BarrierRef {
    /// A named barrier (0..16) of the CTA of who uses it.
    Cta(u32),
    /// The barrier of the cluster of who uses it.
    Cluster,
}

/// An asynchronous operation; made by [`super::Detector::fork`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AsyncId(pub(super) u32);

/// What the lanes of an asynchronous operation are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AsyncKind {
    /// One operation a lane, each joined by its own lane (`cp.async`).
    PerLane,
    /// One operation in all, complete for everybody who is ordered after any join of it (bulk copies, wgmma).
    Whole,
}

/// A part of an asynchronous operation that completes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AsyncPart {
    /// Only its reads (`wait_group.read`).
    Reads,
    /// Reads and writes.
    All,
}

/// What all lanes of an access have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The caller's name of the instruction.
    pub site: u32,
    /// Bytes of a lane, a vector's in all.
    pub size: u32,
    /// Bytes of one scalar of it: what counts as the access's size among strong accesses.
    pub piece: u32,
    /// What it does.
    pub kind: Kind,
    /// How strong it is.
    pub strength: Strength,
    /// How it goes to memory.
    pub proxy: Proxy,
    /// Lanes that write what memory holds already.
    pub same_value: u32,
    /// Lanes that write the value that every other lane of the instruction writes to the same bytes.
    pub agreed: u32,
}

impl Access {
    /// A weak access through the generic proxy of one scalar of `size` bytes a lane.
    pub fn weak(site: u32, kind: Kind, size: u32) -> Self {
        Access {
            site,
            size,
            piece: size,
            kind,
            strength: Strength::Weak,
            proxy: Proxy::Generic,
            same_value: 0,
            agreed: 0,
        }
    }

    /// A strong access through the generic proxy.
    pub fn strong(site: u32, kind: Kind, size: u32, strength: Strength) -> Self {
        Access { strength, ..Access::weak(site, kind, size) }
    }

    /// The same through another proxy.
    pub fn via(self, proxy: Proxy) -> Self {
        Access { proxy, ..self }
    }
}

/// What is wrong with two accesses (or, for the last three, with one).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Class {
    /// Two writes that nothing orders.
    WriteWrite,
    /// A read and a write that nothing orders.
    ReadWrite,
    /// Two writes that nothing orders, the second of the value that was there already.
    SameValue,
    /// Two lanes of one instruction write one byte.
    SameInstruction,
    /// The same, of one value: which lane wins does not matter.
    Agreed,
    /// Two strong accesses that nothing orders, of different sizes.
    MixedSize,
    /// Two accesses that a wider scope, of theirs or of what should order them, would make right.
    ScopeTooNarrow,
    /// A read through the non-coherent path of bytes that the grid writes.
    NonCoherent,
    /// Ordered, but without the proxy fence between a generic write and an access of the async proxy.
    MissingProxyFence,
    /// Ordered, but without the proxy fence between a generic read and a write of the async proxy (strict only).
    MissingProxyFenceAfterRead,
    /// Ordered, but without the tensormap proxy's fences between a map's write and its use.
    MissingTensorMapFence,
    /// An mbarrier used by another thread before anything orders its initialisation.
    MbarrierInit,
    /// An mbarrier used by another CTA or by a copy, its initialisation ordered but not fenced.
    MbarrierInitFence,
    /// Access of another CTA's shared memory that nothing orders after that CTA's start.
    PeerNotStarted,
    /// Access of shared memory that nothing orders before the exit of the CTA it belongs to.
    PeerExited,
}

impl Class {
    /// Whether it is about a fence rather than about order.
    pub fn is_proxy(self) -> bool {
        matches!(
            self,
            Class::MissingProxyFence
                | Class::MissingProxyFenceAfterRead
                | Class::MissingTensorMapFence
                | Class::MbarrierInitFence
        )
    }
}

/// A thread, by the caller's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Who {
    /// [`CtaId::index`].
    pub cta: u32,
    /// Warp in the CTA.
    pub warp: u32,
    /// Lane in the warp.
    pub lane: u32,
}

/// One of the two accesses of a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Party {
    /// The thread; of an asynchronous operation the one that issued it.
    pub who: Who,
    /// Whether it was an asynchronous operation.
    pub asynchronous: bool,
    /// The caller's name of the instruction.
    pub site: u32,
    /// What it did.
    pub kind: Kind,
    /// How it went to memory.
    pub proxy: Proxy,
    /// Bytes of its lane.
    pub size: u32,
}

/// A race; repeats with the same class and sites are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Race {
    /// What is wrong.
    pub class: Class,
    /// Where.
    pub space: Space,
    /// The first byte that both touch. Of shared memory, `rank << 24 | offset`.
    pub address: u64,
    /// The earlier access; `None` where there is only one.
    pub first: Option<Party>,
    /// The later access: the one that was told when the race was found. For [`Class::PeerExited`] found at a CTA's
    /// end, the access itself.
    pub second: Party,
    /// How often.
    pub count: u64,
}

/// What the detector looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Also report a generic read before an async write without a proxy fence.
    pub strict: bool,
    /// Distinct races that are kept.
    pub max_races: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { strict: false, max_races: 1000 }
    }
}

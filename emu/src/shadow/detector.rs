//! What the machine calls.

use super::types::*;

/// Lanes of a warp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lanes {
    /// The warp.
    pub warp: WarpId,
    /// Which of its lanes.
    pub mask: u32,
}

/// Where threads meet in generations: release on arrival, acquire on leaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BarrierRef {
    /// A named barrier of the CTA of who uses it.
    Cta(u32),
    /// The barrier of the cluster of who uses it.
    Cluster,
}

/// Finds data races and missing proxy fences of one grid after the other.
#[derive(Debug, Default)]
pub struct Detector {}

#[allow(unused_variables)]
impl Detector {
    /// A detector that knows no grid yet.
    pub fn new(options: Options) -> Self { Detector {} }

    // ---- grids and CTAs

    /// Begins a grid: everything before is ordered before everything in it. CTA numbers start anew.
    pub fn start_grid(&mut self) {}
    /// Starts a CTA of `warps` warps with `shared_bytes` bytes of shared memory (offsets 0..shared_bytes); `index` is
    /// its number in the grid, `cluster` its cluster's, `rank` its rank there.
    pub fn start_cta(&mut self, index: u32, cluster: u32, rank: u32, warps: u32, shared_bytes: u32) -> CtaId { CtaId { index, slot: 0 } }
    /// Ends a CTA, after its last warp: checks that others' accesses of its shared memory came before.
    pub fn end_cta(&mut self, cta: CtaId) {}

    // ---- accesses; each is checked and then remembered. Sync effects of `Strong` accesses happen inside.

    /// Lane `i` of `mask` accesses `size` bytes at `base + i * stride` (any stride, 0 = one address for all).
    pub fn access_affine(&mut self, who: Lanes, space: Space, base: u64, stride: i64, access: &Access) {}
    /// Lane `i` of `mask` accesses `size` bytes at `addresses[i]`.
    pub fn access(&mut self, who: Lanes, space: Space, addresses: &[u64; 32], access: &Access) {}
    /// An asynchronous operation as a whole accesses a range (`access.size` is ignored but for reports).
    pub fn access_async(&mut self, id: AsyncId, space: Space, start: u64, len: u64, access: &Access) {}
    /// Lanes of a `PerLane` operation access `size` bytes at `addresses[i]`.
    pub fn access_async_lanes(&mut self, id: AsyncId, mask: u32, space: Space, addresses: &[u64; 32], access: &Access) {}
    /// Forgets what is known of a range (memory that is freed and given out again).
    pub fn forget(&mut self, space: Space, start: u64, len: u64) {}

    // ---- order

    /// `bar.warp.sync` (not shuffles and votes): call once, when all of `mask` are there.
    pub fn warp_sync(&mut self, who: Lanes) {}
    /// Arrives at a barrier in a generation; `release` is false for `barrier.cluster.arrive.relaxed`.
    pub fn barrier_arrive(&mut self, who: Lanes, barrier: BarrierRef, generation: u64, release: bool) {}
    /// Leaves a barrier whose generation has completed.
    pub fn barrier_leave(&mut self, who: Lanes, barrier: BarrierRef, generation: u64) {}
    /// `fence.acq_rel` (or `.sc` with `sc`), `membar`.
    pub fn fence(&mut self, who: Lanes, scope: Scope, sc: bool) {}

    // ---- proxies

    /// `fence.proxy.async` in any of its forms.
    pub fn fence_async(&mut self, who: Lanes) {}
    /// `fence.mbarrier_init.release.cluster`.
    pub fn fence_mbarrier_init(&mut self, who: Lanes) {}
    /// `fence.proxy.tensormap::generic.release`, the release half of `tensormap.cp_fenceproxy`.
    pub fn fence_tensormap_release(&mut self, who: Lanes) {}
    /// `fence.proxy.tensormap::generic.acquire`.
    pub fn fence_tensormap_acquire(&mut self, who: Lanes) {}

    // ---- mbarriers; addresses are shared addresses with the rank of their CTA

    /// `mbarrier.init`; counts as the generic write of its 8 bytes.
    pub fn mbarrier_init(&mut self, who: Lanes, address: u64, site: u32) {}
    /// `mbarrier.inval`.
    pub fn mbarrier_inval(&mut self, who: Lanes, address: u64, site: u32) {}
    /// An arrive (or expect_tx, with `release` false), not by a copy. `remote` through `.shared::cluster`.
    pub fn mbarrier_arrive(&mut self, who: Lanes, address: u64, scope: Scope, release: bool, site: u32) {}
    /// The current phase is complete; call at once when it happens, before any wait sees it.
    pub fn mbarrier_complete(&mut self, cluster_of: CtaId, address: u64) {}
    /// A wait or test that returned true.
    pub fn mbarrier_wait(&mut self, who: Lanes, address: u64, scope: Scope, acquire: bool, site: u32) {}

    // ---- asynchronous operations

    /// Issues one; it comes after what its issuers did, and nothing comes after it until it is joined.
    pub fn fork(&mut self, issuers: &[Lanes], kind: AsyncKind) -> AsyncId { AsyncId(0) }
    /// It is to complete on an mbarrier: checks that the barrier's initialisation is visible to the async proxy.
    pub fn mbarrier_use(&mut self, id: AsyncId, address: u64, site: u32) {}
    /// Lanes waited for it (`wait_group`): what it did comes before what they do from now on.
    pub fn join_lanes(&mut self, id: AsyncId, part: AsyncPart, who: Lanes) {}
    /// It completes (for the lanes `mask`) in an mbarrier's current phase: whoever acquires that phase comes after it.
    pub fn join_mbarrier(&mut self, id: AsyncId, part: AsyncPart, mask: u32, address: u64) {}

    // ---- what was found

    /// Whether there are races that [`Detector::take`] has not given out.
    pub fn any(&self) -> bool { false }
    /// New races since the last call; later repeats are only counted.
    pub fn take(&mut self) -> Vec<Race> { Vec::new() }
    /// Repeats of races already given out: class, first site, second site, how often.
    pub fn take_repeats(&mut self) -> Vec<(Class, Option<u32>, u32, u64)> { Vec::new() }
}

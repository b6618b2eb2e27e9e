//! What a launch is made of: the run as a whole, its clusters, their CTAs.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};

use super::async_ops::AsyncOps;
use super::barrier::Barrier;
use super::global::GlobalMemory;
use super::options::{Checks, EmulatorOptions};
use super::report::{Finding, Findings};
use super::rng::Rng;
use super::warp::Warp;
use crate::count::Counting;
use crate::isa::Program;

/// What all workers of a launch share.
#[derive(Debug)]
pub struct Run<'m> {
    /// The kernel.
    pub program: Arc<Program>,
    /// Global memory.
    pub global: &'m GlobalMemory,
    /// Constant memory.
    pub consts: &'m [u32],
    /// Kernel parameters.
    pub params: Vec<u32>,
    /// CTAs.
    pub grid: [u32; 3],
    /// Threads of a CTA.
    pub block: [u32; 3],
    /// CTAs of a cluster.
    pub cluster: [u32; 3],
    /// Whether the launch or the kernel asked for clusters.
    pub explicit_cluster: bool,
    /// Bytes of dynamic shared memory.
    pub dynamic_shared: u32,
    /// Bytes of shared memory in all, counted from address 0.
    pub shared_bytes: u32,
    /// How it is run.
    pub options: &'m EmulatorOptions,
    /// What is checked.
    pub checks: Checks,
    /// The heap of `malloc`, where the module declares it.
    pub heap: Option<super::heap::Heap>,
    /// What was found.
    pub(crate) findings: Mutex<Findings>,
    /// What was printed.
    pub output: Mutex<Vec<u8>>,
    /// Set when the launch is to end.
    pub stop: AtomicBool,
    /// Warp instructions that were executed.
    pub executed: AtomicU64,
    /// Locks of atomic operations wider than a word, by address.
    pub locks: Vec<Mutex<()>>,
    /// Race detection and definedness of global memory.
    pub watch: Mutex<super::watch::Watch>,
}

impl Run<'_> {
    /// Records a finding.
    pub fn add(&self, finding: Finding) {
        self.findings.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(finding);
    }

    /// Threads of a CTA.
    pub fn threads(&self) -> u32 {
        self.block.iter().product()
    }

    /// Warps of a CTA.
    pub fn warps(&self) -> u32 {
        self.threads().div_ceil(32)
    }

    /// CTAs of a cluster.
    pub fn cluster_size(&self) -> u32 {
        self.cluster.iter().product()
    }

    /// The lock of an address.
    pub fn lock(&self, address: u64) -> std::sync::MutexGuard<'_, ()> {
        let index = (address >> 4) as usize % self.locks.len();
        self.locks[index].lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A CTA.
#[derive(Debug, Default)]
pub struct Cta {
    /// `%ctaid`.
    pub id: [u32; 3],
    /// `%cluster_ctarank`.
    pub rank: u32,
    /// Shared memory from address 0.
    pub shared: Vec<u32>,
    /// Bytes of shared memory that were written.
    pub shared_defined: crate::shadow::Defined,
    /// Its name to the race detector, where there is one.
    pub watched: Option<crate::shadow::CtaId>,
    /// Its barriers.
    pub barriers: Vec<Barrier>,
    /// Warps that have not ended.
    pub live_warps: u32,
}

/// CTAs that run together on one host thread.
#[derive(Debug)]
pub struct Cluster {
    /// Its number in the grid.
    pub index: u64,
    /// CTAs by rank.
    pub ctas: Vec<Cta>,
    /// Warps of all CTAs.
    pub warps: Vec<Warp>,
    /// What was issued and has not taken effect.
    pub pending: AsyncOps,
    /// Choices.
    pub rng: Rng,
    /// Warp instructions executed by the cluster.
    pub clock: u64,
    /// The slot that it occupies on the device, `%smid`.
    pub slot: u32,
    /// Where the next turn starts.
    pub turn: u32,
    /// Counters, while the cluster runs.
    pub counting: Option<Counting>,
    /// Rounds in which nobody could go on.
    pub stuck: u32,
    /// State of families that need more (mbarriers, cluster barriers).
    pub extra: super::extra::Extra,
}

impl Cluster {
    /// An empty cluster, to be reset.
    pub fn new(slot: u32) -> Self {
        Cluster {
            index: 0,
            ctas: Vec::new(),
            warps: Vec::new(),
            pending: AsyncOps::default(),
            rng: Rng::new(0, 0),
            clock: 0,
            slot,
            turn: 0,
            counting: None,
            stuck: 0,
            extra: super::extra::Extra::default(),
        }
    }

    /// Makes it the given cluster of the grid, at its beginning.
    pub fn reset(&mut self, run: &Run<'_>, index: u64) {
        self.index = index;
        self.rng = Rng::new(run.options.seed, index);
        self.clock = 0;
        self.turn = 0;
        self.stuck = 0;
        self.pending = AsyncOps::default();
        self.extra = super::extra::Extra::default();
        let size = run.cluster_size();
        let per = run.warps();
        self.ctas.resize_with(size as usize, Cta::default);
        self.warps.resize_with((size * per) as usize, Warp::default);
        let clusters = [0, 1, 2].map(|d| u64::from(run.grid[d] / run.cluster[d].max(1)).max(1));
        let at = [index % clusters[0], index / clusters[0] % clusters[1], index / clusters[0] / clusters[1]];
        for rank in 0..size {
            let inner = split_index(rank, run.cluster);
            let cta = &mut self.ctas[rank as usize];
            cta.id = [0, 1, 2].map(|d| at[d] as u32 * run.cluster[d] + inner[d]);
            cta.rank = rank;
            cta.shared.clear();
            cta.shared.resize((run.shared_bytes as usize).div_ceil(4), 0);
            cta.shared_defined.reset(if run.checks.definedness { run.shared_bytes.into() } else { 0 });
            let linear = cta.id[0] + run.grid[0] * (cta.id[1] + run.grid[1] * cta.id[2]);
            cta.watched =
                run.checks.races.then(|| run.watch().detector.start_cta(linear, index as u32, rank, per));
            cta.barriers.clear();
            cta.barriers.resize(16, Barrier::default());
            cta.live_warps = per;
            for w in 0..per {
                let threads = (run.threads() - w * 32).min(32);
                let present = if threads == 32 { u32::MAX } else { (1 << threads) - 1 };
                self.warps[(rank * per + w) as usize].reset(
                    rank as usize,
                    w,
                    present,
                    &run.program.functions[0],
                );
            }
        }
    }

    /// Whether all threads ended.
    pub fn ended(&self) -> bool {
        self.ctas.iter().all(|c| c.live_warps == 0)
    }
}

/// Coordinates of a linear index, x fastest.
pub fn split_index(index: u32, dims: [u32; 3]) -> [u32; 3] {
    let (x, y) = (dims[0].max(1), dims[1].max(1));
    [index % x, index / x % y, index / x / y]
}

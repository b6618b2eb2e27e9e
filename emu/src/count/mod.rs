//! Counters: what a profiler would say of a launch.
//!
//! The machine calls a [`Counting`] of its worker, one a host thread, where a launch asked for counters; they are added
//! up at the end. Where nobody asked, the machine's loop is compiled without the calls.

use serde::Serialize;

/// What one instruction of the text did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SiteCounters {
    /// Executions by a warp (or a part of one).
    pub warps: u64,
    /// Executions by a thread.
    pub threads: u64,
    /// Branches that split their lanes.
    pub divergent: u64,
    /// Bytes that threads asked global memory for.
    pub global_bytes: u64,
    /// 32-byte sectors of those requests.
    pub sectors: u64,
    /// Passes through the banks of shared memory.
    pub wavefronts: u64,
    /// Passes without conflicts.
    pub ideal_wavefronts: u64,
    /// Multiplications and additions in tensor cores.
    pub tensor_flops: u64,
}

/// Counters of a launch, by instruction.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// By index of [`crate::isa::Program::sites`].
    pub sites: Vec<SiteCounters>,
}

/// Collects on one host thread.
#[derive(Debug, Default)]
pub struct Counting {
    counters: Counters,
}

impl Counting {
    /// Counters for a program's instructions.
    pub fn new(sites: usize) -> Self {
        Counting { counters: Counters { sites: vec![SiteCounters::default(); sites] } }
    }

    fn site(&mut self, site: u32) -> &mut SiteCounters {
        &mut self.counters.sites[site as usize]
    }

    /// An instruction was executed by the lanes of a mask.
    #[inline]
    pub fn executed(&mut self, site: u32, mask: u32) {
        let s = self.site(site);
        s.warps += 1;
        s.threads += u64::from(mask.count_ones());
    }

    /// A branch split its lanes.
    pub fn divergent(&mut self, site: u32) {
        self.site(site).divergent += 1;
    }

    /// Lanes asked for `bytes` each at global addresses.
    pub fn global(&mut self, site: u32, addresses: &[u64; 32], mask: u32, bytes: u32) {
        let mut sectors: Vec<u64> = Vec::with_capacity(32);
        for lane in crate::exec::lanes(mask) {
            let first = addresses[lane] / 32;
            let last = (addresses[lane] + u64::from(bytes.max(1)) - 1) / 32;
            sectors.extend(first..=last);
        }
        sectors.sort_unstable();
        sectors.dedup();
        let s = self.site(site);
        s.global_bytes += u64::from(bytes) * u64::from(mask.count_ones());
        s.sectors += sectors.len() as u64;
    }

    /// Lanes accessed `bytes` each at shared addresses: 32 banks of four bytes, wide accesses in phases of as many
    /// lanes as fill 128 bytes.
    pub fn shared(&mut self, site: u32, addresses: &[u64; 32], mask: u32, bytes: u32) {
        let phase = (128 / bytes.max(4)).clamp(1, 32) as usize;
        let (mut passes, mut ideal) = (0, 0);
        for first in (0..32).step_by(phase) {
            let mut words: Vec<u64> = Vec::with_capacity(32);
            for lane in (first..first + phase).filter(|l| mask >> l & 1 == 1) {
                let from = addresses[lane] / 4;
                words.extend(from..from + u64::from(bytes.max(4)) / 4);
            }
            words.sort_unstable();
            words.dedup();
            let mut banks = [0u32; 32];
            words.iter().for_each(|w| banks[(w % 32) as usize] += 1);
            passes += u64::from(banks.iter().copied().max().unwrap_or(0));
            ideal += words.len().div_ceil(32) as u64;
        }
        let s = self.site(site);
        s.wavefronts += passes;
        s.ideal_wavefronts += ideal;
    }

    /// A tensor instruction did that many multiplications and additions.
    pub fn tensor(&mut self, site: u32, flops: u64) {
        self.site(site).tensor_flops += flops;
    }

    /// Adds another thread's.
    pub fn merge(&mut self, other: &Counting) {
        for (a, b) in self.counters.sites.iter_mut().zip(&other.counters.sites) {
            a.warps += b.warps;
            a.threads += b.threads;
            a.divergent += b.divergent;
            a.global_bytes += b.global_bytes;
            a.sectors += b.sectors;
            a.wavefronts += b.wavefronts;
            a.ideal_wavefronts += b.ideal_wavefronts;
            a.tensor_flops += b.tensor_flops;
        }
    }

    /// The result.
    pub fn finish(self) -> Counters {
        self.counters
    }
}

//! What the machine calls while it runs.

use super::memory::{self, Wavefronts};
use super::touched::Touched;
use crate::exec::lanes;

/// What an access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Reads and writes in one step.
    Atomic,
}

impl Access {
    fn reads(self) -> bool {
        self != Access::Write
    }
    fn writes(self) -> bool {
        self != Access::Read
    }
}

/// Bytes that were moved, reads and writes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Moved {
    pub(super) read: u64,
    pub(super) written: u64,
}

impl Moved {
    fn add(&mut self, access: Access, bytes: u64) {
        self.read += if access.reads() { bytes } else { 0 };
        self.written += if access.writes() { bytes } else { 0 };
    }

    pub(super) fn merge(&mut self, other: Moved) {
        self.read += other.read;
        self.written += other.written;
    }
}

/// Raw counts of one instruction of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Site {
    /// Times that a warp, or a part of one, came to it.
    pub(super) issued: u64,
    /// Lanes that came to it.
    pub(super) lanes: u64,
    /// Lanes whose guard held.
    pub(super) threads: u64,
    /// Times that its lanes parted.
    pub(super) divergent: u64,
    pub(super) global_requests: u64,
    pub(super) global: Moved,
    pub(super) sectors: u64,
    pub(super) ideal_sectors: u64,
    pub(super) shared_requests: u64,
    pub(super) shared: Moved,
    pub(super) wavefronts: u64,
    pub(super) ideal_wavefronts: u64,
    /// Bytes in shared memory of other CTAs.
    pub(super) cluster_bytes: u64,
    pub(super) local: Moved,
    /// Bytes that asynchronous operations moved.
    pub(super) copied: u64,
    /// Executions of a tensor instruction, and its multiplications and additions.
    pub(super) tensor: u64,
    pub(super) tensor_flops: u64,
}

impl Site {
    pub(super) fn merge(&mut self, other: &Site) {
        self.issued += other.issued;
        self.lanes += other.lanes;
        self.threads += other.threads;
        self.divergent += other.divergent;
        self.global_requests += other.global_requests;
        self.global.merge(other.global);
        self.sectors += other.sectors;
        self.ideal_sectors += other.ideal_sectors;
        self.shared_requests += other.shared_requests;
        self.shared.merge(other.shared);
        self.wavefronts += other.wavefronts;
        self.ideal_wavefronts += other.ideal_wavefronts;
        self.cluster_bytes += other.cluster_bytes;
        self.local.merge(other.local);
        self.copied += other.copied;
        self.tensor += other.tensor;
        self.tensor_flops += other.tensor_flops;
    }
}

/// Traffic of a buffer.
#[derive(Debug, Clone)]
pub(super) struct Traffic {
    pub(super) name: String,
    pub(super) base: u64,
    pub(super) len: u64,
    pub(super) moved: Moved,
    pub(super) read: Touched,
    pub(super) written: Touched,
}

impl Traffic {
    fn touch(&mut self, access: Access, offset: u64, bytes: u64) {
        self.moved.add(access, bytes);
        if access.reads() {
            self.read.mark(offset, bytes);
        }
        if access.writes() {
            self.written.mark(offset, bytes);
        }
    }
}

/// Collects on one host thread.
#[derive(Debug, Default)]
pub struct Counting {
    pub(super) sites: Vec<Site>,
    /// In the order of their addresses.
    pub(super) buffers: Vec<Traffic>,
    /// The buffer of the last request: most requests are for the same.
    last: usize,
}

impl Counting {
    /// Counters for a program of so many instructions, and the buffers there are: name, first address, bytes.
    pub fn new<'n>(sites: usize, buffers: impl Iterator<Item = (&'n str, u64, u64)>) -> Self {
        let one = |(name, base, len): (&str, u64, u64)| Traffic {
            name: name.to_owned(),
            base,
            len,
            moved: Moved::default(),
            read: Touched::new(len),
            written: Touched::new(len),
        };
        let mut buffers: Vec<Traffic> = buffers.map(one).collect();
        buffers.sort_by_key(|b| b.base);
        Counting { sites: vec![Site::default(); sites], buffers, last: 0 }
    }

    #[inline]
    fn site(&mut self, site: u32) -> &mut Site {
        &mut self.sites[site as usize]
    }

    /// Lanes of a warp came to an instruction; it was executed for those of `mask`.
    #[inline]
    pub fn executed(&mut self, site: u32, active: u32, mask: u32) {
        let s = self.site(site);
        s.issued += 1;
        s.lanes += u64::from(active.count_ones());
        s.threads += u64::from(mask.count_ones());
    }

    /// Lanes parted at an instruction.
    pub fn divergent(&mut self, site: u32) {
        self.site(site).divergent += 1;
    }

    /// Lanes of a mask accessed `bytes` each at global addresses.
    pub fn global(&mut self, site: u32, access: Access, addresses: &[u64; 32], mask: u32, bytes: u32) {
        if mask == 0 {
            return;
        }
        let cost = memory::sectors(addresses, mask, bytes);
        let s = self.site(site);
        s.global_requests += 1;
        s.global.add(access, u64::from(bytes) * u64::from(mask.count_ones()));
        s.sectors += cost.touched;
        s.ideal_sectors += cost.ideal;
        let width = u64::from(bytes);
        let first = addresses[0];
        let in_a_row =
            mask == u32::MAX && (1..32).all(|l| addresses[l] == first.wrapping_add(l as u64 * width));
        if in_a_row {
            return self.touch(access, first, 32 * width);
        }
        lanes(mask).for_each(|l| self.touch(access, addresses[l], width));
    }

    /// An asynchronous operation accessed a run of global bytes.
    pub fn global_range(&mut self, site: u32, access: Access, address: u64, bytes: u64) {
        let cost = memory::sectors_of_range(address, bytes);
        let s = self.site(site);
        s.global_requests += 1;
        s.global.add(access, bytes);
        s.sectors += cost.touched;
        s.ideal_sectors += cost.ideal;
        self.touch(access, address, bytes);
    }

    fn touch(&mut self, access: Access, address: u64, bytes: u64) {
        let holds = |b: &Traffic| address >= b.base && address - b.base < b.len;
        if !self.buffers.get(self.last).is_some_and(holds) {
            let after = self.buffers.partition_point(|b| b.base <= address);
            match after.checked_sub(1).filter(|i| holds(&self.buffers[*i])) {
                Some(i) => self.last = i,
                None => return,
            }
        }
        let buffer = &mut self.buffers[self.last];
        buffer.touch(access, address - buffer.base, bytes);
    }

    fn shared_cost(&mut self, site: u32, access: Access, bytes: u64, cost: Wavefronts) {
        let s = self.site(site);
        s.shared_requests += 1;
        s.shared.add(access, bytes);
        s.wavefronts += cost.passes;
        s.ideal_wavefronts += cost.ideal;
    }

    /// Lanes of a mask accessed `bytes` each at shared addresses (`rank << 24 | offset`); `rank` is the own CTA's.
    /// `ldmatrix` and `stmatrix` are accesses of 16 bytes by the lanes that give addresses of rows.
    pub fn shared(
        &mut self,
        site: u32,
        access: Access,
        addresses: &[u64; 32],
        mask: u32,
        bytes: u32,
        rank: u32,
    ) {
        if mask == 0 {
            return;
        }
        let cost = match access {
            Access::Atomic => memory::atomic_wavefronts(addresses, mask, bytes),
            _ => memory::wavefronts(addresses, mask, bytes),
        };
        self.shared_cost(site, access, u64::from(bytes) * u64::from(mask.count_ones()), cost);
        let own = u64::from(rank);
        let away = |l: &usize| (addresses[*l] & 0xffff_ffff) >> crate::exec::space::SHARED_BITS != own;
        let away = lanes(mask).filter(away).count() as u64;
        self.site(site).cluster_bytes += away * u64::from(bytes);
    }

    /// An asynchronous operation accessed a run of shared bytes, which are in as many banks as there are; `away`: of
    /// another CTA.
    pub fn shared_range(&mut self, site: u32, access: Access, bytes: u64, away: bool) {
        let passes = bytes.div_ceil(4 * memory::BANKS as u64);
        self.shared_cost(site, access, bytes, Wavefronts { passes, ideal: passes });
        self.site(site).cluster_bytes += if away { bytes } else { 0 };
    }

    /// Lanes of a mask accessed `bytes` each of their local memory.
    pub fn local(&mut self, site: u32, access: Access, mask: u32, bytes: u32) {
        self.site(site).local.add(access, u64::from(bytes) * u64::from(mask.count_ones()));
    }

    /// An asynchronous operation moved bytes.
    pub fn copied(&mut self, site: u32, bytes: u64) {
        self.site(site).copied += bytes;
    }

    /// A warp executed a tensor instruction, of which its part is so many multiplications and additions.
    pub fn tensor(&mut self, site: u32, flops: u64) {
        let s = self.site(site);
        s.tensor += 1;
        s.tensor_flops += flops;
    }

    /// Adds another thread's.
    pub fn merge(&mut self, other: &Counting) {
        self.sites.iter_mut().zip(&other.sites).for_each(|(a, b)| a.merge(b));
        for (a, b) in self.buffers.iter_mut().zip(&other.buffers) {
            a.moved.merge(b.moved);
            a.read.merge(&b.read);
            a.written.merge(&b.written);
        }
    }
}

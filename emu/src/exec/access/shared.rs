//! Shared memory, of the own CTA and of others of the cluster, as lanes access it.

use super::{Fault, Request, Rows, agreed, check_aligned, gather, scatter};
use crate::exec::cx::{Cx, lanes};
use crate::exec::mbarrier::Mbarriers;
use crate::exec::report::FindingKind;
use crate::exec::space::{SHARED_BITS, SHARED_FIRST};
use crate::isa::Inst;
use crate::shadow;

impl Cx<'_> {
    pub(super) fn load_shared(
        &mut self,
        i: &Inst,
        request: &Request,
        addresses: &[u64; 32],
        mask: u32,
        rows: &mut Rows,
    ) -> Result<u32, Fault> {
        self.check_shared(request.bytes, addresses, mask)?;
        self.watch_shared(i, request.bytes, addresses, mask);
        self.count_shared(i, request, addresses, mask);
        let mut left = mask;
        while left != 0 {
            let (rank, part, offsets) = of_one_cta(addresses, left);
            gather(&self.cluster.ctas[rank].shared[..], &offsets, part, request.bytes, rows);
            left &= !part;
        }
        let mut defined = u32::MAX;
        if self.run.checks.definedness {
            for lane in lanes(mask) {
                let (rank, offset) = split_shared(addresses[lane]);
                let shadow = &self.cluster.ctas[rank].shared_defined;
                if !shadow.all(offset, request.bytes) {
                    defined &= !(1 << lane);
                    self.warp.byte_definedness[lane] = shadow.bits(offset, request.bytes);
                }
            }
        }
        self.watch_races(shadow::Space::Shared, request, addresses, mask);
        Ok(defined)
    }

    pub(super) fn count_shared(&mut self, i: &Inst, request: &Request, addresses: &[u64; 32], mask: u32) {
        let rank = self.rank();
        self.count(|c| c.shared(i.site, request.access.kind.into(), addresses, mask, request.bytes, rank));
    }

    pub(super) fn store_shared(
        &mut self,
        i: &Inst,
        request: &Request,
        addresses: &[u64; 32],
        mask: u32,
        rows: &Rows,
        defined: u32,
    ) -> Result<(), Fault> {
        self.check_shared(request.bytes, addresses, mask)?;
        self.watch_shared(i, request.bytes, addresses, mask);
        self.count_shared(i, request, addresses, mask);
        let mut request = *request;
        if self.run.checks.races {
            request.access.same_value = self.same_shared_value(request.bytes, addresses, mask, rows);
            request.access.agreed = agreed(addresses, mask, request.bytes, rows);
        }
        self.watch_races(shadow::Space::Shared, &request, addresses, mask);
        let mut left = mask;
        while left != 0 {
            let (rank, part, offsets) = of_one_cta(addresses, left);
            scatter(&mut self.cluster.ctas[rank].shared[..], &offsets, part, request.bytes, rows);
            left &= !part;
        }
        if self.run.checks.definedness {
            for lane in lanes(mask) {
                let (rank, offset) = split_shared(addresses[lane]);
                let shadow = &mut self.cluster.ctas[rank].shared_defined;
                if defined >> lane & 1 == 1 {
                    shadow.define(offset, request.bytes);
                } else {
                    shadow.set_bits(offset, request.bytes, self.warp.byte_definedness[lane]);
                }
            }
        }
        Ok(())
    }

    /// Lanes that write what is there already, as warps do that hold copies of one value.
    fn same_shared_value(&self, bytes: u32, addresses: &[u64; 32], mask: u32, rows: &Rows) -> u32 {
        let mut there = [[0; 32]; 4];
        let mut left = mask;
        while left != 0 {
            let (rank, part, offsets) = of_one_cta(addresses, left);
            gather(&self.cluster.ctas[rank].shared[..], &offsets, part, bytes, &mut there);
            left &= !part;
        }
        let low = if bytes < 4 { (1 << (8 * bytes)) - 1 } else { u32::MAX };
        let words = (bytes as usize).div_ceil(4);
        let mut different = [0; 32];
        for (was, is) in there.iter().zip(rows).take(words) {
            different.iter_mut().zip(was.iter().zip(is)).for_each(|(d, (a, b))| *d |= (a ^ b) & low);
        }
        different.iter().enumerate().fold(0, |m, (lane, d)| m | u32::from(*d == 0) << lane) & mask
    }

    /// Reports what is wrong with shared addresses that are inside: another CTA that has ended, the bytes of an mbarrier.
    pub(super) fn watch_shared(&mut self, i: &Inst, bytes: u32, addresses: &[u64; 32], mask: u32) {
        if self.cluster.ctas.len() > 1 {
            let ended = |a: u64| {
                let rank = split_shared(a).0;
                rank != self.warp.cta && self.cluster.ctas[rank].live_warps == 0
            };
            if let Some(lane) = lanes(mask).find(|l| ended(addresses[*l])) {
                let rank = split_shared(addresses[lane]).0;
                let message = format!("shared memory of CTA {rank} of the cluster, which has ended");
                self.complain(i, FindingKind::ClusterLifetime, lane, message, addresses[lane]);
            }
        }
        if self.run.checks.any()
            && let Some(barriers) = self.cluster.extra.peek::<Mbarriers>()
        {
            let hit = |a: u64| barriers.overlapping(a & 0xffff_ffff, bytes.into());
            if let Some((lane, at)) = lanes(mask).find_map(|l| Some((l, hit(addresses[l])?))) {
                let message = "an ordinary access of the bytes of a live mbarrier".to_owned();
                self.complain(i, FindingKind::MbarrierMisuse, lane, message, at);
            }
        }
    }

    /// Checks shared addresses: alignment, the CTA, the bytes that there are.
    pub(super) fn check_shared(&mut self, bytes: u32, addresses: &[u64; 32], mask: u32) -> Result<(), Fault> {
        let (limit, ctas) = (u64::from(self.run.shared_bytes), self.cluster.ctas.len() as u64);
        let low = u64::from(bytes) - 1;
        // All lanes without a branch; the first bad one is looked for only if there is one.
        let mut bad = 0u32;
        for lane in 0..32 {
            let a = addresses[lane] & 0xffff_ffff;
            let (rank, offset) = (a >> SHARED_BITS, a & ((1 << SHARED_BITS) - 1));
            let good = (a & low == 0)
                & (rank < ctas)
                & (offset >= u64::from(SHARED_FIRST))
                & (offset + u64::from(bytes) <= limit);
            bad |= u32::from(!good) << lane;
        }
        match lanes(bad & mask).next() {
            None => Ok(()),
            Some(lane) => Err(self.shared_fault(addresses[lane], bytes, lane)),
        }
    }

    #[cold]
    pub(super) fn shared_fault(&self, address: u64, bytes: u32, lane: usize) -> Fault {
        if let Err(fault) = check_aligned(address, bytes, lane) {
            return fault;
        }
        let (rank, offset) = split_shared(address);
        let (first, limit) = (SHARED_FIRST, self.run.shared_bytes);
        let buffer = self.program.shared_name(offset as u32).map(str::to_owned);
        let message = if rank >= self.cluster.ctas.len() {
            format!("a shared address of CTA {rank} in a cluster of {}", self.cluster.ctas.len())
        } else {
            format!("{bytes} bytes at shared offset {offset}; the CTA has offsets {first} to {limit}")
        };
        Fault { kind: FindingKind::OutOfBounds, message, lane, address, buffer }
    }
}

/// Rank of the CTA and offset of a shared address.
pub fn split_shared(address: u64) -> (usize, u64) {
    let address = address & 0xffff_ffff;
    ((address >> SHARED_BITS) as usize, address & ((1 << SHARED_BITS) - 1))
}

/// The lanes whose addresses are in the same CTA as the first one's, with their offsets.
fn of_one_cta(addresses: &[u64; 32], mask: u32) -> (usize, u32, [u64; 32]) {
    let rank = split_shared(addresses[mask.trailing_zeros() as usize % 32]).0;
    let offsets = addresses.map(|a| split_shared(a).1);
    let mut same = 0;
    for lane in 0..32 {
        same |= u32::from(split_shared(addresses[lane]).0 == rank) << lane;
    }
    (rank, mask & same, offsets)
}

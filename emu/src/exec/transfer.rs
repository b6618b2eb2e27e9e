//! Bytes that asynchronous operations move, and the shared addresses that they and mbarriers are given.
//!
//! All asynchronous accesses of memory by ranges go through the four `read_…` and `write_…` functions here.

use super::access::split_shared;
use super::async_ops::AsyncCx;
use super::cx::Cx;
use super::mbarrier::{Mbarriers, Misuse};
use super::report::{Finding, FindingKind, Severity};
use super::space::{MemSpace, SHARED_BITS, SHARED_FIRST, classify};
use super::words::{Words, WordsMut};
use crate::isa::{Flow, Inst};
use crate::shadow::{AsyncId, AsyncPart, Detector};

/// What a shared address that an instruction names must be.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// [`MemSpace::Shared`], or generic.
    pub space: MemSpace,
    /// Bytes.
    pub bytes: u64,
    /// Alignment in bytes.
    pub align: u64,
    /// Whether it may be in another CTA.
    pub remote: bool,
    /// What it is, in words.
    pub what: &'static str,
}

impl Cx<'_> {
    /// The shared address (`rank << 24 | offset`) that a lane gave, checked; `Err` if it faulted.
    pub fn shared_target(
        &mut self,
        i: &Inst,
        wanted: &Wanted,
        address: u64,
        lane: usize,
    ) -> Result<u64, Flow> {
        let inner = match wanted.space {
            MemSpace::Generic => match classify(address) {
                (MemSpace::Shared, inner) => inner,
                (other, _) => {
                    let message = format!("{} is at an address of {} memory", wanted.what, other.name());
                    return Err(self.bad_address(i, FindingKind::WrongSpace, lane, message, address));
                }
            },
            _ => address & 0xffff_ffff,
        };
        if !inner.is_multiple_of(wanted.align) {
            let message =
                format!("{} is at {inner:#x}, which is no multiple of {}", wanted.what, wanted.align);
            return Err(self.bad_address(i, FindingKind::Misaligned, lane, message, inner));
        }
        let (rank, offset) = split_shared(inner);
        if rank >= self.cluster.ctas.len() {
            let ctas = self.cluster.ctas.len();
            let message = format!("{} is in CTA {rank} of a cluster of {ctas}", wanted.what);
            return Err(self.bad_address(i, FindingKind::OutOfBounds, lane, message, inner));
        }
        if !wanted.remote && rank as u32 != self.rank() {
            let message =
                format!("{} is in CTA {rank} of the cluster, and must be in the own one", wanted.what);
            return Err(self.bad_address(i, FindingKind::WrongSpace, lane, message, inner));
        }
        let limit = u64::from(self.run.shared_bytes);
        if offset < u64::from(SHARED_FIRST) || offset.saturating_add(wanted.bytes) > limit {
            let message = format!(
                "{}: {} bytes at shared offset {offset}; the CTA has offsets {SHARED_FIRST} to {limit}",
                wanted.what, wanted.bytes
            );
            return Err(self.bad_address(i, FindingKind::OutOfBounds, lane, message, inner));
        }
        if rank as u32 != self.rank() && self.cluster.ctas[rank].live_warps == 0 {
            let message = format!("{} is in CTA {rank} of the cluster, which has ended", wanted.what);
            self.complain(i, FindingKind::ClusterLifetime, lane, message, inner);
        }
        Ok(inner)
    }

    /// Reports a mistake about something in shared memory, after which the kernel goes on.
    pub fn complain(&mut self, i: &Inst, kind: FindingKind, lane: usize, message: String, address: u64) {
        let buffer = self.program.shared_name(split_shared(address).1 as u32).map(str::to_owned);
        self.report_at(i.site, kind, Severity::Error, lane, message, Some(address), buffer);
    }

    /// Reports a misuse of an mbarrier.
    pub fn mbarrier_misuse(&mut self, i: &Inst, lane: usize, address: u64, misuse: &Misuse) {
        let name = self.program.shared_name(split_shared(address).1 as u32);
        let message = match name {
            Some(name) => format!("the mbarrier `{name}` at {address:#x}: {misuse}"),
            None => format!("the mbarrier at {address:#x}: {misuse}"),
        };
        self.complain(i, FindingKind::MbarrierMisuse, lane, message, address);
    }

    /// The mbarriers of the cluster.
    pub fn mbarriers(&mut self) -> &mut Mbarriers {
        self.cluster.extra.get()
    }
}

impl AsyncCx<'_> {
    /// Tells the detector something.
    pub fn tell(&self, f: impl FnOnce(&mut Detector)) {
        if self.run.checks.races {
            let mut watch = self.run.watch();
            f(&mut watch.detector);
            if watch.detector.any() {
                self.run.drain(&mut watch);
            }
        }
    }

    /// Reads global memory; says whether all bytes have values, or `None` if they are in no buffer any more.
    pub fn read_global(&mut self, lane: usize, address: u64, into: &mut [u8]) -> Option<bool> {
        let Some((id, buffer, offset)) = self.run.global.find(address, into.len() as u64) else {
            self.gone(lane, address);
            return None;
        };
        copy_out(&buffer.words(), offset, into);
        if !self.run.checks.definedness || buffer.initialised {
            return Some(true);
        }
        let watch = self.run.watch();
        let shadow = watch.defined.get(&id.0);
        Some(shadow.is_some_and(|s| s.first_undefined(offset, into.len() as u64).is_none()))
    }

    /// Writes global memory; `false` if the bytes are in no buffer any more.
    pub fn write_global(&mut self, lane: usize, address: u64, from: &[u8]) -> bool {
        let Some((id, buffer, offset)) = self.run.global.find(address, from.len() as u64) else {
            self.gone(lane, address);
            return false;
        };
        copy_in(&mut buffer.words(), offset, from);
        if self.run.checks.definedness && !buffer.initialised {
            let mut watch = self.run.watch();
            let fresh = || crate::shadow::Defined::new(buffer.len);
            watch.defined.entry(id.0).or_insert_with(fresh).define_range(offset, from.len() as u64);
        }
        true
    }

    fn gone(&mut self, lane: usize, address: u64) {
        let message =
            "the memory of an asynchronous operation is in no buffer when it takes effect".to_owned();
        self.report(FindingKind::UseAfterFree, lane, message, Some(address), None);
    }

    /// Reads shared memory of a CTA; says whether all bytes have values.
    pub fn read_shared(&mut self, lane: usize, rank: usize, offset: u64, into: &mut [u8]) -> bool {
        self.alive(lane, rank, offset);
        let cta = &self.ctas[rank];
        copy_out(&cta.shared[..], offset, into);
        let checked = self.run.checks.definedness;
        !checked || cta.shared_defined.first_undefined(offset, into.len() as u64).is_none()
    }

    /// Writes shared memory of a CTA.
    pub fn write_shared(&mut self, lane: usize, rank: usize, offset: u64, from: &[u8], defined: bool) {
        self.alive(lane, rank, offset);
        let len = from.len() as u64;
        let start = (rank as u64) << SHARED_BITS | offset;
        if self.run.checks.any()
            && let Some(hit) = self.extra.get::<Mbarriers>().overlapping(start, len)
        {
            let message = format!("{len} bytes at {start:#x} overwrite the live mbarrier at {hit:#x}");
            self.report(FindingKind::MbarrierMisuse, lane, message, Some(hit), self.shared_name(hit));
        }
        let cta = &mut self.ctas[rank];
        copy_in(&mut cta.shared[..], offset, from);
        if self.run.checks.definedness {
            if defined {
                cta.shared_defined.define_range(offset, len);
            } else {
                cta.shared_defined.undefine_range(offset, len);
            }
        }
    }

    /// Reports shared memory of a CTA that has ended.
    fn alive(&mut self, lane: usize, rank: usize, offset: u64) {
        if self.ctas[rank].live_warps == 0 {
            let message = format!("CTA {rank} of the cluster has ended when this reaches its shared memory");
            let address = (rank as u64) << SHARED_BITS | offset;
            self.report(
                FindingKind::ClusterLifetime,
                lane,
                message,
                Some(address),
                self.shared_name(address),
            );
        }
    }

    fn shared_name(&self, address: u64) -> Option<String> {
        self.program.shared_name(split_shared(address).1 as u32).map(str::to_owned)
    }

    /// Bytes have landed: counts them on an mbarrier, whose phase may end by it.
    pub fn complete_tx(&mut self, lane: usize, watched: Option<AsyncId>, address: u64, bytes: u32) {
        let (rank, offset) = split_shared(address);
        self.alive(lane, rank, offset);
        if let Some(id) = watched {
            self.tell(|detector| detector.join_mbarrier(id, AsyncPart::All, 1 << lane, address));
        }
        let done = self.extra.get::<Mbarriers>().get_mut(address).and_then(|b| b.complete_tx(bytes));
        self.ended(lane, address, done);
    }

    /// Arrives at an mbarrier for a lane whose earlier copies are done.
    pub fn arrive(&mut self, lane: usize, address: u64) {
        let how = super::mbarrier::Arrival { count: 1, ..Default::default() };
        let done = self.extra.get::<Mbarriers>().get_mut(address).and_then(|b| b.arrive(how));
        self.ended(lane, address, done.map(|(_, ended)| ended));
    }

    fn ended(&mut self, lane: usize, address: u64, done: Result<bool, Misuse>) {
        match done {
            Ok(false) => {}
            Ok(true) => {
                if let Some(cta) = self.ctas[0].watched {
                    self.tell(|detector| detector.mbarrier_complete(cta, address));
                }
            }
            Err(misuse) => {
                let message = format!("the mbarrier at {address:#x}: {misuse}");
                self.report(
                    FindingKind::MbarrierMisuse,
                    lane,
                    message,
                    Some(address),
                    self.shared_name(address),
                );
            }
        }
    }
}

/// Copies bytes out of memory, by words where they lie so.
pub(crate) fn copy_out<M: Words + ?Sized>(memory: &M, offset: u64, into: &mut [u8]) {
    if !offset.is_multiple_of(4) {
        return memory.bytes(offset, into);
    }
    let first = (offset / 4) as usize;
    for (k, chunk) in into.chunks_mut(4).enumerate() {
        chunk.copy_from_slice(&memory.word(first + k).to_le_bytes()[..chunk.len()]);
    }
}

/// Copies bytes into memory, by words where they lie so.
pub(crate) fn copy_in<M: WordsMut + ?Sized>(memory: &mut M, offset: u64, from: &[u8]) {
    if !offset.is_multiple_of(4) {
        return memory.set_bytes(offset, from);
    }
    let (whole, tail) = from.as_chunks::<4>();
    for (k, chunk) in whole.iter().enumerate() {
        memory.set_word((offset / 4) as usize + k, u32::from_le_bytes(*chunk));
    }
    memory.set_bytes(offset + whole.len() as u64 * 4, tail);
}

/// Reports what a CTA leaves under way at its end: copies that may still read its shared memory.
pub(crate) fn cta_ended(cx: &mut Cx<'_>) {
    let rank = cx.rank();
    let reads = |p: &&super::async_ops::Pending| p.rank == rank && p.kind == super::async_ops::Kind::BulkRead;
    let left: Vec<(u32, u32, u32)> =
        cx.cluster.pending.iter().filter(reads).map(|p| (p.site, p.warp, p.mask)).collect();
    for (site, warp, mask) in left {
        let lane = mask.trailing_zeros() as usize % 32;
        let cta = &cx.cluster.ctas[rank as usize];
        cx.run.add(Finding {
            kind: FindingKind::AsyncMisuse,
            severity: Severity::Error,
            message: "the CTA ends while this may still read its shared memory: nobody waited for it"
                .to_owned(),
            place: cx.place(site),
            other: None,
            thread: Some(super::cx::thread_of(cx.run, cta, warp, lane)),
            address: None,
            buffer: None,
            count: 1,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_and_come_at_any_offset() {
        let from: Vec<u8> = (1..=23).collect();
        for offset in 0..8 {
            let mut memory = [0u32; 10];
            copy_in(&mut memory[..], offset, &from);
            let mut back = [0; 23];
            copy_out(&memory[..], offset, &mut back);
            assert_eq!(back[..], from[..]);
            let all: Vec<u8> = memory.iter().flat_map(|w| w.to_le_bytes()).collect();
            assert_eq!(all[offset as usize..offset as usize + 23], from[..]);
        }
    }
}

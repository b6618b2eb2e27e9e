//! Bulk copies under way: what happens when their bytes are read and when they land.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, PoisonError};

use super::inst::{Flow, Inst};
use crate::count;
use crate::exec::access::split_shared;
use crate::exec::async_ops::{AsyncCx, Kind, Operation};
use crate::exec::report::FindingKind;
use crate::exec::space::SHARED_BITS;
use crate::exec::words::WordsMut;
use crate::exec::{Cx, lanes};
use crate::num::atomic::Update;
use crate::shadow::{self, Access, AsyncId, AsyncKind, Detector, Proxy};
use crate::tensor::{MapElement, Run};

/// A combination of what a copy brings with what is there, by words of 32 or 64 bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reduce {
    /// 4 or 8 bytes; 16-bit elements go in pairs.
    pub(super) bytes: u32,
    /// The function.
    pub(super) update: Update,
}

impl Reduce {
    /// Combines bytes with a buffer's, one element at a time, each atomically.
    fn on_global(self, cx: &AsyncCx<'_>, address: u64, from: &[u8]) {
        let Some((_, buffer, offset)) = cx.run.global.find(address, from.len() as u64) else { return };
        for (k, chunk) in from.chunks_exact(self.bytes as usize).enumerate() {
            let at = offset + k as u64 * u64::from(self.bytes);
            let mut value = [0; 8];
            value[..chunk.len()].copy_from_slice(chunk);
            let value = u64::from_le_bytes(value);
            if self.bytes == 8 {
                let _whole = cx.run.lock(buffer.base + at);
                self.on_words(&mut buffer.words(), at, value);
            } else if let Some(word) = buffer.atomic(at) {
                let change = |w: u32| Some((self.update)(u64::from(w), value) as u32);
                let _ = word.fetch_update(SeqCst, SeqCst, change);
            }
        }
    }

    /// Combines bytes, one element at a time.
    pub(super) fn combine(self, old: &[u8], new: &[u8]) -> Vec<u8> {
        let mut words: Vec<u32> = old.as_chunks::<4>().0.iter().map(|c| u32::from_le_bytes(*c)).collect();
        for (k, chunk) in new.chunks_exact(self.bytes as usize).enumerate() {
            let mut value = [0; 8];
            value[..chunk.len()].copy_from_slice(chunk);
            self.on_words(&mut words[..], k as u64 * u64::from(self.bytes), u64::from_le_bytes(value));
        }
        words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    fn on_words<M: WordsMut + ?Sized>(self, memory: &mut M, offset: u64, value: u64) {
        let at = (offset / 4) as usize;
        if self.bytes == 4 {
            let new = (self.update)(u64::from(memory.word(at)), value);
            return memory.set_word(at, new as u32);
        }
        let new = (self.update)(memory.long(offset), value);
        memory.set_word(at, new as u32);
        memory.set_word(at + 1, (new >> 32) as u32);
    }
}

/// A load of one thread into one CTA.
pub(super) struct Load {
    /// What goes where; the shared addresses are offsets in the CTA.
    pub(super) runs: Arc<[Run]>,
    /// Conversion on the way, and the element that fills what lies outside of the tensor.
    pub(super) element: MapElement,
    /// That element.
    pub(super) fill: u64,
    /// Bytes at both ends that the copy leaves without a value.
    pub(super) ignored: (u32, u32),
    /// The CTA.
    pub(super) rank: usize,
    /// The mbarrier's shared address.
    pub(super) barrier: u64,
    /// Bytes that it counts.
    pub(super) bytes: u32,
    /// Its name to the detector.
    pub(super) watched: Option<AsyncId>,
}

impl Operation for Load {
    fn perform(&self, cx: &mut AsyncCx<'_>, mask: u32) -> bool {
        let lane = mask.trailing_zeros() as usize % 32;
        let mut bytes = Vec::new();
        for run in self.runs.iter() {
            bytes.clear();
            bytes.resize(run.bytes as usize, 0);
            let mut defined = true;
            match run.global {
                Some(address) => {
                    let Some(all) = cx.read_global(lane, address, &mut bytes) else { return false };
                    defined = all;
                    self.element.convert(&mut bytes);
                }
                None => fill(self.element, self.fill, &mut bytes),
            }
            cx.write_shared(lane, self.rank, run.shared.into(), &bytes, defined);
        }
        self.leave_ends(cx);
        cx.complete_tx(lane, self.watched, self.barrier, self.bytes);
        true
    }
}

impl Load {
    /// Bytes that `.ignore_oob` names have no value afterwards.
    fn leave_ends(&self, cx: &mut AsyncCx<'_>) {
        let (left, right) = self.ignored;
        if let (Some(first), Some(last)) = (self.runs.first(), self.runs.last())
            && cx.run.checks.definedness
        {
            let shadow = &mut cx.ctas[self.rank].shared_defined;
            shadow.undefine_range(first.shared.into(), left.into());
            shadow.undefine_range(u64::from(last.shared + last.bytes - right), right.into());
        }
    }
}

fn fill(element: MapElement, value: u64, bytes: &mut [u8]) {
    if value == 0 {
        return;
    }
    let size = element.bytes().unwrap_or(1) as usize;
    let pattern = value.to_le_bytes();
    bytes.iter_mut().enumerate().for_each(|(k, byte)| *byte = pattern[k % size]);
}

/// A copy from the own CTA's shared memory to another's, or a reduction on it.
pub(super) struct Between {
    /// Offset in the own CTA.
    pub(super) from: u64,
    /// The other CTA and the offset there.
    pub(super) to: (usize, u64),
    /// The mbarrier's shared address.
    pub(super) barrier: u64,
    /// Bytes.
    pub(super) bytes: u32,
    /// How it combines, if it does.
    pub(super) reduce: Option<Reduce>,
    /// Its name to the detector.
    pub(super) watched: Option<AsyncId>,
}

impl Operation for Between {
    fn perform(&self, cx: &mut AsyncCx<'_>, mask: u32) -> bool {
        let lane = mask.trailing_zeros() as usize % 32;
        let mut bytes = vec![0; self.bytes as usize];
        let own = cx.rank as usize;
        let mut defined = cx.read_shared(lane, own, self.from, &mut bytes);
        let (rank, offset) = self.to;
        if let Some(reduce) = self.reduce {
            let mut old = vec![0; bytes.len()];
            defined &= cx.read_shared(lane, rank, offset, &mut old);
            bytes = reduce.combine(&old, &bytes);
        }
        cx.write_shared(lane, rank, offset, &bytes, defined);
        cx.complete_tx(lane, self.watched, self.barrier, self.bytes);
        true
    }
}

/// A store of one thread from its CTA to global memory, in two steps: the source is read, the bytes land.
pub(super) struct Store {
    /// What goes where; the shared addresses are offsets in the CTA.
    pub(super) runs: Vec<Run>,
    /// How it combines, if it does.
    pub(super) reduce: Option<Reduce>,
    /// Which bytes of each 16 are copied.
    pub(super) bytes_of_16: u16,
    /// What was read; empty before.
    pub(super) taken: Mutex<Option<Vec<u8>>>,
}

impl Store {
    fn read(&self, cx: &mut AsyncCx<'_>, lane: usize) -> Vec<u8> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = &*taken {
            return bytes.clone();
        }
        let total = self.runs.iter().map(|r| r.bytes as usize).sum();
        let mut bytes = vec![0; total];
        let mut at = 0;
        let rank = cx.rank as usize;
        for run in &self.runs {
            let part = &mut bytes[at..at + run.bytes as usize];
            let defined = cx.read_shared(lane, rank, run.shared.into(), part);
            if !defined && run.global.is_some() {
                self.undefined(cx, lane, rank, run);
            }
            at += run.bytes as usize;
        }
        *taken = Some(bytes.clone());
        bytes
    }

    fn undefined(&self, cx: &mut AsyncCx<'_>, lane: usize, rank: usize, run: &Run) {
        let shadow = &cx.ctas[rank].shared_defined;
        let first = shadow.first_undefined(run.shared.into(), run.bytes.into()).unwrap_or(run.shared.into());
        let name = cx.program.shared_name(first as u32).map(str::to_owned);
        let message = format!("shared offset {first} goes to global memory and was never written");
        cx.report(
            FindingKind::Uninitialised,
            lane,
            message,
            Some((rank as u64) << SHARED_BITS | first),
            name,
        );
    }
}

impl Operation for Store {
    fn perform(&self, cx: &mut AsyncCx<'_>, mask: u32) -> bool {
        let lane = mask.trailing_zeros() as usize % 32;
        let bytes = self.read(cx, lane);
        let mut at = 0;
        for run in &self.runs {
            let part = &bytes[at..at + run.bytes as usize];
            at += run.bytes as usize;
            let Some(address) = run.global else { continue };
            let done = match self.reduce {
                Some(reduce) => {
                    reduce.on_global(cx, address, part);
                    true
                }
                None if self.bytes_of_16 == u16::MAX => cx.write_global(lane, address, part),
                None => part
                    .iter()
                    .enumerate()
                    .filter(|(k, _)| self.bytes_of_16 >> (k % 16) & 1 == 1)
                    .all(|(k, byte)| cx.write_global(lane, address + k as u64, &[*byte])),
            };
            if !done {
                return false;
            }
        }
        true
    }
}

/// The first step of a store, for `wait_group.read`.
struct Reading(Arc<Store>);

impl Operation for Reading {
    fn perform(&self, cx: &mut AsyncCx<'_>, mask: u32) -> bool {
        self.0.read(cx, mask.trailing_zeros() as usize % 32);
        true
    }
}

/// What the detector is told of an asynchronous access.
fn told(site: u32, kind: shadow::Kind, bytes: u32) -> Access {
    Access::weak(site, kind, bytes).via(Proxy::Async)
}

/// Ranges of global memory, adjacent ones joined.
fn global_ranges(runs: &[Run]) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for run in runs {
        let Some(address) = run.global else { continue };
        match ranges.last_mut() {
            Some((start, len)) if *start + *len == address => *len += u64::from(run.bytes),
            _ => ranges.push((address, run.bytes.into())),
        }
    }
    ranges
}

/// Tells the detector what a copy reads and writes: global memory by `kind`, shared memory by the opposite.
pub(super) struct Told<'a> {
    pub(super) site: u32,
    pub(super) runs: &'a [Run],
    /// Shared address and bytes of the whole.
    pub(super) shared: (u64, u64),
    /// Global address of the tensor map, if it lies there.
    pub(super) map: Option<u64>,
}

impl Told<'_> {
    pub(super) fn load(&self, detector: &mut Detector, id: AsyncId, barrier: u64) {
        detector.mbarrier_use(id, barrier, self.site);
        self.global(detector, id, shadow::Kind::Read);
        let access = told(self.site, shadow::Kind::Write, self.shared.1 as u32);
        detector.access_async(id, shadow::Space::Shared, self.shared.0, self.shared.1, &access);
    }

    pub(super) fn store(&self, detector: &mut Detector, id: AsyncId, reduce: bool) {
        let access = told(self.site, shadow::Kind::Read, self.shared.1 as u32);
        detector.access_async(id, shadow::Space::Shared, self.shared.0, self.shared.1, &access);
        self.global(detector, id, if reduce { shadow::Kind::Reduce } else { shadow::Kind::Write });
    }

    fn global(&self, detector: &mut Detector, id: AsyncId, kind: shadow::Kind) {
        if let Some(map) = self.map {
            let access = Access::weak(self.site, shadow::Kind::Read, 128).via(Proxy::TensorMap);
            detector.access_async(id, shadow::Space::Global, map, 128, &access);
        }
        for (start, len) in global_ranges(self.runs) {
            let mut access = told(self.site, kind, len as u32);
            if kind == shadow::Kind::Reduce {
                access.strength = shadow::Strength::relaxed(shadow::Scope::Gpu);
            }
            detector.access_async(id, shadow::Space::Global, start, len, &access);
        }
    }
}

/// Counts a copy between global memory and the shared memory of CTAs.
fn count(
    cx: &mut Cx<'_>,
    site: u32,
    runs: &[Run],
    global: count::Access,
    ranks: impl Iterator<Item = usize>,
) {
    let own = cx.warp.cta;
    let shared = if global == count::Access::Read { count::Access::Write } else { count::Access::Read };
    cx.count(|c| {
        for (address, bytes) in global_ranges(runs) {
            c.global_range(site, global, address, bytes);
        }
        let bytes = runs.iter().map(|r| u64::from(r.bytes)).sum();
        for rank in ranks {
            c.shared_range(site, shared, bytes, rank != own);
            c.copied(site, bytes);
        }
    });
}

/// A load's facts that are the same for all CTAs that it goes to.
pub(super) struct LoadPlan {
    pub(super) runs: Arc<[Run]>,
    pub(super) element: MapElement,
    pub(super) fill: u64,
    pub(super) ignored: (u32, u32),
    /// Offset of the destination in each CTA, and bytes.
    pub(super) offset: u64,
    pub(super) bytes: u32,
    /// Global address of the tensor map, if it lies there.
    pub(super) map: Option<u64>,
}

/// Puts a load of a lane under way, once for each CTA; `barriers` are the mbarriers of the CTAs.
pub(super) fn issue_load(
    cx: &mut Cx<'_>,
    i: &Inst,
    lane: usize,
    plan: &LoadPlan,
    barriers: &[(usize, u64)],
) -> Flow {
    count(cx, i.site, &plan.runs, count::Access::Read, barriers.iter().map(|b| b.0));
    for &(rank, barrier) in barriers {
        let shared = ((rank as u64) << SHARED_BITS | plan.offset, u64::from(plan.bytes));
        let told = Told { site: i.site, runs: &plan.runs, shared, map: plan.map };
        let watched = cx.fork(1 << lane, AsyncKind::Whole, |detector, id| told.load(detector, id, barrier));
        let load = Load {
            runs: plan.runs.clone(),
            element: plan.element,
            fill: plan.fill,
            ignored: plan.ignored,
            rank,
            barrier,
            bytes: plan.bytes,
            watched,
        };
        cx.issue(i, Kind::Mbarrier, 1 << lane, Arc::new(load), watched, false);
    }
    Flow::Next
}

/// Puts a store of a lane under way. `shared` is the source's shared address and the bytes of the whole.
pub(super) fn issue_store(
    cx: &mut Cx<'_>,
    i: &Inst,
    lane: usize,
    store: Store,
    shared: (u64, u64),
    map: Option<u64>,
) -> Flow {
    let told = Told { site: i.site, runs: &store.runs, shared, map };
    let reduce = store.reduce.is_some();
    let access = if reduce { count::Access::Atomic } else { count::Access::Write };
    count(cx, i.site, &store.runs, access, std::iter::once(cx.warp.cta));
    let watched = cx.fork(1 << lane, AsyncKind::Whole, |detector, id| told.store(detector, id, reduce));
    let store = Arc::new(store);
    cx.issue(i, Kind::BulkRead, 1 << lane, Arc::new(Reading(store.clone())), watched, false);
    cx.issue(i, Kind::Bulk, 1 << lane, store, watched, false);
    Flow::Next
}

/// The mbarriers that a load signals: the one of its destination's CTA, or, by a multicast mask, that at the same
/// offset in each CTA of the mask.
pub(super) fn signalled(
    cx: &mut Cx<'_>,
    i: &Inst,
    lane: usize,
    destination: u64,
    barrier: u64,
    multicast: Option<u32>,
) -> Result<Vec<(usize, u64)>, Flow> {
    let Some(mask) = multicast else { return Ok(vec![(split_shared(destination).0, barrier)]) };
    let size = cx.run.cluster_size();
    let mask = mask & 0xffff;
    if mask == 0 || u64::from(mask) >> size != 0 {
        let message = format!("the multicast mask {mask:#06x} in a cluster of {size} CTAs");
        return Err(cx.abort(i, FindingKind::AsyncMisuse, lane, message));
    }
    let offset = split_shared(barrier).1;
    let all: Vec<(usize, u64)> = lanes(mask).map(|r| (r, (r as u64) << SHARED_BITS | offset)).collect();
    for (rank, address) in &all {
        if *rank as u32 != cx.rank() && cx.cluster.ctas[*rank].live_warps == 0 {
            let message = format!("a multicast to CTA {rank} of the cluster, which has ended");
            cx.complain(i, FindingKind::ClusterLifetime, lane, message, *address);
        }
    }
    Ok(all)
}

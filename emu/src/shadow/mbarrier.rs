//! Mbarriers as carriers of order.
//!
//! Arrivals release into the phase that is going on, a wait acquires all phases that are complete. A copy that
//! completes on a phase gives nothing but itself: a clock counts phases, and the copy is known to whoever knows that
//! many of its mbarrier (ptx.md 4.2, 5.2).

use super::asyncs::Join;
use super::detector::Detector;
use super::location::{Location, Place};
use super::order::{give, take};
use super::reach::{self, Where};
use super::types::*;

/// An mbarrier.
#[derive(Debug, Default)]
pub(super) struct Mbarrier {
    /// Its number among those of its CTA.
    index: u32,
    /// Phases that are complete.
    phase: u32,
    pending: Location,
    done: Location,
}

impl Detector {
    /// `mbarrier.init`: a write of its 8 bytes. `address` is a shared address with its CTA's rank, in all of these.
    pub fn mbarrier_init(&mut self, who: Lanes, address: u64, site: u32) {
        let place = Where::Affine { base: address, stride: 0 };
        self.record(who, Space::Shared, place, &Access::weak(site, Kind::Write, 8), true);
        let Some((slot, offset)) = self.owner(who.warp.cta, address) else { return };
        let Some(state) = self.ctas[slot].as_mut() else { return };
        let next = state.mbarrier_count;
        let barrier =
            state.mbarriers.entry(offset).or_insert_with(|| Mbarrier { index: next, ..Mbarrier::default() });
        if barrier.index == next {
            state.mbarrier_count += 1;
        }
        barrier.pending.clear();
        barrier.done.clear();
    }

    /// `mbarrier.inval`: its bytes are ordinary memory again.
    pub fn mbarrier_inval(&mut self, who: Lanes, address: u64, site: u32) {
        let place = Where::Affine { base: address, stride: 0 };
        self.record(who, Space::Shared, place, &Access::weak(site, Kind::Write, 8), false);
        if let Some((slot, offset)) = self.owner(who.warp.cta, address)
            && let Some(barrier) = self.ctas[slot].as_mut().and_then(|s| s.mbarriers.get_mut(&offset))
        {
            barrier.pending.clear();
            barrier.done.clear();
        }
    }

    /// An arrive of threads (not of a copy), or with `release` false a relaxed one or an `expect_tx`.
    pub fn mbarrier_arrive(&mut self, who: Lanes, address: u64, scope: Scope, release: bool, site: u32) {
        self.mbarrier_touch(who, address, Kind::Atomic, site);
        let Some((slot, offset)) = self.owner(who.warp.cta, address) else { return };
        let Some(here) = self.place(who.warp.cta) else { return };
        // The arriving warp may belong to another CTA than the barrier.
        let mut given = Location::default();
        if let Some(warp) = self.warp_mut(who.warp) {
            give(&mut given, warp, who.mask, here, scope, release);
            if release {
                warp.advance();
            }
        }
        if let Some(barrier) = self.ctas[slot].as_mut().and_then(|s| s.mbarriers.get_mut(&offset)) {
            barrier.pending.join(&given);
        }
    }

    /// The phase that was going on is complete. To be told when it happens, after the arrive or
    /// [`Detector::join_mbarrier`] that completed it and before any wait that sees it. `cta` is any of the cluster.
    pub fn mbarrier_complete(&mut self, cta: CtaId, address: u64) {
        if let Some((slot, offset)) = self.owner(cta, address)
            && let Some(barrier) = self.ctas[slot].as_mut().and_then(|s| s.mbarriers.get_mut(&offset))
        {
            barrier.phase = barrier.phase.saturating_add(1);
            let arrived = std::mem::take(&mut barrier.pending);
            barrier.done.join(&arrived);
        }
    }

    /// A wait or a test that was true.
    pub fn mbarrier_wait(&mut self, who: Lanes, address: u64, scope: Scope, acquire: bool, site: u32) {
        self.mbarrier_touch(who, address, Kind::Read, site);
        let Some((slot, offset)) = self.owner(who.warp.cta, address) else { return };
        let Some(here) = self.place(who.warp.cta) else { return };
        let Some(owner) = self.ctas[slot].as_ref() else { return };
        let Some(barrier) = owner.mbarriers.get(&offset) else { return };
        let mut seen = barrier.done.observe(here, scope);
        seen.learn_phase(owner.place.cta, barrier.index, barrier.phase);
        if let Some(warp) = self.warp_mut(who.warp) {
            take(warp, who.mask, &seen, scope, acquire);
        }
    }

    /// An operation is to complete on an mbarrier. To be told when it is issued: checks that the async proxy sees the
    /// barrier's initialisation.
    pub fn mbarrier_use(&mut self, id: AsyncId, address: u64, site: u32) {
        let place = Where::Range { start: address, len: 8 };
        let access = Access::strong(site, Kind::Atomic, 8, Strength::relaxed(Scope::Sys)).via(Proxy::Async);
        let Some(lanes) = self.asyncs.get(id).map(|op| op.lanes) else { return };
        self.record_async(id, 1 << (lanes.trailing_zeros() & 31), Space::Shared, place, &access);
    }

    /// An operation completes, for lanes `mask`, in the phase that is going on: whoever acquires that phase comes after
    /// it. After the operation's accesses.
    pub fn join_mbarrier(&mut self, id: AsyncId, part: AsyncPart, mask: u32, address: u64) {
        let Some(cluster) = self.asyncs.get(id).map(|op| op.issuer.1) else { return };
        let rank = (address >> SHARED_BITS) as u32;
        let Ok(slot) = reach::peer(&self.clusters, cluster, rank) else { return };
        let Some(state) = self.ctas.get(slot as usize).and_then(Option::as_ref) else { return };
        let Some(barrier) = state.mbarriers.get(&(address as u32)) else { return };
        let (cta, index, phase) = (state.place.cta, barrier.index, barrier.phase.saturating_add(1));
        self.asyncs.join(id, part, Join::Phase { cta, index, phase, lanes: mask });
    }

    fn mbarrier_touch(&mut self, who: Lanes, address: u64, kind: Kind, site: u32) {
        let place = Where::Affine { base: address, stride: 0 };
        let access = Access::strong(site, kind, 8, Strength::relaxed(Scope::Sys));
        self.record(who, Space::Shared, place, &access, false);
    }

    /// Slot of an address's CTA, and the key in its table.
    fn owner(&self, cta: CtaId, address: u64) -> Option<(usize, u32)> {
        let state = self.ctas.get(cta.slot as usize)?.as_ref()?;
        let rank = (address >> SHARED_BITS) as u32;
        let slot = if rank == state.rank {
            cta.slot
        } else {
            reach::peer(&self.clusters, state.place.cluster, rank).ok()?
        };
        Some((slot as usize, address as u32))
    }

    fn place(&self, cta: CtaId) -> Option<Place> {
        Some(self.ctas.get(cta.slot as usize)?.as_ref()?.place)
    }
}

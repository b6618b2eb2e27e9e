//! What orders accesses: barriers, fences, strong accesses, asynchronous completion.

use super::asyncs::{self, Join, Origin};
use super::clock::View;
use super::detector::{CtaState, Detector};
use super::location::{Generations, Location, Observed, Place};
use super::reach::{EARLIER_GRIDS, Where};
use super::types::*;
use super::warp::{LaneGroup, WarpState};

/// Global locations that are kept apart; what was released at others counts for all of them.
const MOST_LOCATIONS: usize = 1 << 16;

/// Barriers and fences.
impl Detector {
    /// All lanes of `who` met in `bar.warp.sync`: call once, when they are all there. (Shuffles, votes and the like order
    /// nothing.)
    pub fn warp_sync(&mut self, who: Lanes) {
        if let Some(warp) = self.warp_mut(who.warp) {
            warp.sync(who.mask);
        }
    }

    /// Arrives at a barrier in a generation. `release` is false for `barrier.cluster.arrive.relaxed`.
    pub fn barrier_arrive(&mut self, who: Lanes, barrier: BarrierRef, generation: u64, release: bool) {
        let Some(warp) = self.warp_mut(who.warp) else { return };
        let view = if release {
            let view = warp.publish(who.mask);
            warp.advance();
            view
        } else {
            warp.publish_relaxed(who.mask)
        };
        if let Some(generations) = self.generations(who.warp.cta, barrier) {
            generations.arrive(generation, &view);
        }
    }

    /// Leaves a barrier after a generation is complete (`sync`, `red`, `barrier.cluster.wait`).
    pub fn barrier_leave(&mut self, who: Lanes, barrier: BarrierRef, generation: u64) {
        let view = self.generations(who.warp.cta, barrier).map(|g| g.get(generation).clone());
        if let (Some(view), Some(warp)) = (view, self.warp_mut(who.warp)) {
            warp.learn(who.mask, &view);
        }
    }

    fn generations(&mut self, cta: CtaId, barrier: BarrierRef) -> Option<&mut Generations> {
        let state = self.ctas.get_mut(cta.slot as usize)?.as_mut()?;
        match barrier {
            BarrierRef::Cta(id) => {
                let index = id.min(255) as usize;
                if state.barriers.len() <= index {
                    state.barriers.resize_with(index + 1, Generations::default);
                }
                state.barriers.get_mut(index)
            }
            BarrierRef::Cluster => {
                let cluster = state.place.cluster;
                self.clusters.get_mut(&cluster).map(|c| &mut c.barrier)
            }
        }
    }

    /// `fence.acq_rel`, or with `sc` `fence.sc` and `membar`.
    pub fn fence(&mut self, who: Lanes, scope: Scope, sc: bool) {
        let Some(state) = self.ctas.get_mut(who.warp.cta.slot as usize).and_then(Option::as_mut) else {
            return;
        };
        let place = state.place;
        let Some(warp) = state.warps.get_mut(who.warp.warp as usize) else { return };
        warp.fence_acquire(who.mask, scope);
        if sc {
            let before = self.sc.acquire(place, scope);
            warp.learn(who.mask, &before);
            self.sc.release(place, scope, &warp.publish(who.mask));
        }
        warp.fence_release(who.mask, scope);
    }

    /// `fence.proxy.async` in any of its forms.
    pub fn fence_async(&mut self, who: Lanes) {
        if let Some(warp) = self.warp_mut(who.warp) {
            warp.fence_async(who.mask);
        }
    }

    /// `fence.mbarrier_init.release.cluster`.
    pub fn fence_mbarrier_init(&mut self, who: Lanes) {
        if let Some(warp) = self.warp_mut(who.warp) {
            warp.fence_init(who.mask);
        }
    }

    /// `fence.proxy.tensormap::generic.release`, and what `tensormap.cp_fenceproxy` does after its copy. For the order
    /// itself, [`Detector::fence`] or a release is still needed.
    pub fn fence_tensormap_release(&mut self, who: Lanes) {
        if let Some(warp) = self.warp_mut(who.warp) {
            warp.release_map(who.mask);
        }
    }

    /// `fence.proxy.tensormap::generic.acquire`.
    pub fn fence_tensormap_acquire(&mut self, who: Lanes) {
        if let Some(warp) = self.warp_mut(who.warp) {
            warp.acquire_map(who.mask);
            warp.change(who.mask, |view| view.rare_mut().map_acquired.raise(EARLIER_GRIDS, 0, u32::MAX, 1));
        }
    }
}

/// Asynchronous operations.
impl Detector {
    /// Issues an operation: it comes after what its issuers did so far, and nothing comes after it before it is joined.
    /// Its accesses are to be told before its joins. One that writes to several CTAs is one for each of them.
    pub fn fork(&mut self, issuers: &[Lanes], kind: AsyncKind) -> AsyncId {
        let mut issuer = (0, 0, 0);
        let mut lanes = 0;
        let mut views = Vec::new();
        let mut origin = None;
        for who in issuers {
            let slot = who.warp.cta.slot as usize;
            let Some(state) = self.ctas.get_mut(slot).and_then(Option::as_mut) else { continue };
            let Some(warp) = state.warps.get_mut(who.warp.warp as usize) else { continue };
            if lanes == 0 {
                issuer = (state.place.cta, state.place.cluster, who.warp.warp);
                lanes = who.mask;
            }
            match kind {
                AsyncKind::Whole => views.push(warp.publish(who.mask)),
                AsyncKind::PerLane => {
                    let hit = warp.groups.iter().filter(|g| g.lanes & who.mask != 0);
                    let groups: Vec<LaneGroup> = hit.cloned().collect();
                    origin = Some(Origin { groups, own: Some(warp.own.clone()) });
                }
            }
            warp.advance();
        }
        let origin = origin.unwrap_or_else(|| asyncs::whole_origin(views.into_iter()));
        self.asyncs.add(kind, issuer, lanes, origin)
    }

    /// Lanes waited for an operation (`wait_group`): it comes before what they do from now on. Of one of kind
    /// [`AsyncKind::PerLane`] each lane joins its own part.
    pub fn join_lanes(&mut self, id: AsyncId, part: AsyncPart, who: Lanes) {
        let Some(warp) = self.warp_mut(who.warp) else { return };
        warp.advance();
        let (cta, tick) = (warp.own.cta, warp.own.tick);
        self.asyncs.join(id, part, Join::Lanes { cta, warp: who.warp.warp, lanes: who.mask, tick });
    }

    /// Lanes waited for several operations.
    pub fn join_lanes_all(&mut self, ids: impl IntoIterator<Item = AsyncId>, part: AsyncPart, who: Lanes) {
        let Some(warp) = self.warp_mut(who.warp) else { return };
        warp.advance();
        let (cta, tick) = (warp.own.cta, warp.own.tick);
        for id in ids {
            self.asyncs.join(id, part, Join::Lanes { cta, warp: who.warp.warp, lanes: who.mask, tick });
        }
    }
}

/// The effect of strong accesses on order.
impl Detector {
    pub(super) fn synchronise(&mut self, who: Lanes, space: Space, place: Where<'_>, access: &Access) {
        let Strength::Strong { scope, acquire, release } = access.strength else { return };
        let Some(state) = self.ctas.get_mut(who.warp.cta.slot as usize).and_then(Option::as_mut) else {
            return;
        };
        let here = state.place;
        let CtaState { warps, .. } = state;
        let Some(warp) = warps.get_mut(who.warp.warp as usize) else { return };
        let locations = match space {
            Space::Global => &mut self.locations,
            Space::Shared => match self.clusters.get_mut(&here.cluster) {
                Some(cluster) => &mut cluster.locations,
                None => return,
            },
        };
        let gives = access.kind.writes() && (release || warp.has_fence(who.mask));
        if locations.is_empty() && !gives && self.spilled.is_none() {
            return;
        }
        let mut left = who.mask;
        while left != 0 {
            let lane = left.trailing_zeros();
            let address = place.address(lane);
            let mut lanes = 1 << lane;
            if access.kind == Kind::Read {
                lanes = (0..32)
                    .filter(|&l| left >> l & 1 == 1 && place.address(l) == address)
                    .fold(0, |m, l| m | 1 << l);
            }
            left &= !lanes;
            if matches!(access.kind, Kind::Read | Kind::Atomic) {
                match locations.get(&address) {
                    Some(location) if acquire => warp.learn(lanes, &location.acquire(here, scope)),
                    Some(location) => warp.observe(lanes, &location.observe(here, scope)),
                    None => {
                        if let Some(all) = &self.spilled {
                            warp.learn(lanes, all);
                        }
                    }
                }
            }
            if access.kind == Kind::Write {
                locations.remove(&address);
            }
            if gives {
                if locations.len() >= MOST_LOCATIONS {
                    let spilled = self.spilled.get_or_insert_default();
                    locations.drain().for_each(|(_, l)| spilled.join(&l.everything()));
                }
                give(locations.entry(address).or_default(), warp, lanes, here, scope, release);
            }
        }
        if gives && release {
            warp.advance();
        }
    }
}

/// What a strong write gives away: all of what its lanes know, or what they knew at fences.
pub(super) fn give(
    location: &mut Location,
    warp: &WarpState,
    lanes: u32,
    here: Place,
    scope: Scope,
    release: bool,
) {
    if release {
        location.release(here, scope, &warp.publish(lanes));
    } else {
        for (scope, view) in warp.fenced_before(lanes, scope) {
            location.release(here, scope, &view);
        }
    }
}

/// Lanes learn what they saw, or keep it for a fence.
pub(super) fn take(warp: &mut WarpState, lanes: u32, seen: &Observed, scope: Scope, acquire: bool) {
    if acquire {
        let view: View = seen.up_to(scope);
        warp.learn(lanes, &view);
    } else {
        warp.observe(lanes, seen);
    }
}

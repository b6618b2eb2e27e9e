//! The detector: grids, CTAs, and accesses.

use std::collections::HashMap;

use super::asyncs::Asyncs;
use super::clock::View;
use super::event::{Event, Known};
use super::location::{Generations, Location, Place};
use super::mbarrier::Mbarrier;
use super::memory::{Forget, Memory};
use super::races::Races;
use super::reach::{self, Touch, Where};
use super::types::*;
use super::warp::WarpState;

/// What is kept of a CTA, but for its memory.
#[derive(Debug)]
pub(super) struct CtaState {
    pub(super) place: Place,
    pub(super) rank: u32,
    pub(super) warps: Vec<WarpState>,
    pub(super) barriers: Vec<Generations>,
    pub(super) mbarriers: HashMap<u32, Mbarrier>,
    /// Mbarriers so far.
    pub(super) mbarrier_count: u32,
}

/// A CTA of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    NotStarted,
    /// Its slot.
    Alive(u32),
    Ended,
}

/// What is kept of a cluster.
#[derive(Debug, Default)]
pub(super) struct ClusterState {
    pub(super) members: Vec<Member>,
    pub(super) barrier: Generations,
    /// Shared locations that were released.
    pub(super) locations: HashMap<u64, Location>,
}

/// Finds data races and missing proxy fences.
///
/// It is told everything in the order of execution. Strong accesses have their effect on order inside
/// [`Detector::access`]; the other calls are for what is no access.
#[derive(Debug)]
pub struct Detector {
    options: Options,
    pub(super) ctas: Vec<Option<CtaState>>,
    free: Vec<u32>,
    /// Shadow of each CTA's shared memory, by slot.
    pub(super) shared: Vec<Memory>,
    pub(super) clusters: HashMap<u32, ClusterState>,
    pub(super) global: Memory,
    pub(super) asyncs: Asyncs,
    /// Global locations that were released.
    pub(super) locations: HashMap<u64, Location>,
    /// What was released at locations that are no longer kept.
    pub(super) spilled: Option<View>,
    /// Where `fence.sc` meet.
    pub(super) sc: Location,
    pub(super) races: Races,
    /// 16-byte pieces that earlier grids wrote, by page of 4 KiB.
    earlier: HashMap<u64, [u64; 4]>,
}

impl Default for Detector {
    fn default() -> Self {
        Detector::new(Options::default())
    }
}

/// Grids and CTAs.
impl Detector {
    /// A detector that has seen nothing; it is ready for the first grid.
    pub fn new(options: Options) -> Self {
        Detector {
            options,
            ctas: Vec::new(),
            free: Vec::new(),
            shared: Vec::new(),
            clusters: HashMap::new(),
            global: Memory::default(),
            asyncs: Asyncs::default(),
            locations: HashMap::new(),
            spilled: None,
            sc: Location::default(),
            races: Races::new(options.max_races),
            earlier: HashMap::new(),
        }
    }

    /// Begins the next grid: everything before is ordered before everything in it, and CTAs are numbered anew. Only the
    /// tensormap proxy does not see what earlier grids wrote without its own fence.
    pub fn start_grid(&mut self) {
        let earlier = &mut self.earlier;
        self.global.for_each(|log, cell, address| {
            let generic = |id| log.event(id).proxy == Proxy::Generic;
            if log.ids(cell.writes).any(generic) {
                let bit = address % 4096 / 16;
                earlier.entry(address / 4096).or_default()[(bit / 64) as usize] |= 1 << (bit % 64);
            }
        });
        self.global.clear();
        self.ctas.clear();
        self.free.clear();
        self.shared.iter_mut().for_each(Memory::clear);
        self.clusters.clear();
        self.asyncs.clear();
        self.locations.clear();
        self.spilled = None;
        self.sc.clear();
    }

    /// Starts a CTA of `warps` warps (32 at most). `index` is its number in the grid, `cluster` its cluster's number,
    /// `rank` its rank in there: shared addresses are `rank << 24 | offset`.
    pub fn start_cta(&mut self, index: u32, cluster: u32, rank: u32, warps: u32) -> CtaId {
        let place = Place { cta: index, cluster };
        let state = CtaState {
            place,
            rank,
            warps: (0..warps.min(32)).map(|w| WarpState::new(index, w)).collect(),
            barriers: Vec::new(),
            mbarriers: HashMap::new(),
            mbarrier_count: 0,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.ctas[slot as usize] = Some(state);
                slot
            }
            None => {
                self.ctas.push(Some(state));
                self.ctas.len() as u32 - 1
            }
        };
        if self.shared.len() <= slot as usize {
            self.shared.resize_with(slot as usize + 1, Memory::default);
        }
        let members = &mut self.clusters.entry(cluster).or_default().members;
        let rank = rank.min(0xff) as usize;
        if members.len() <= rank {
            members.resize(rank + 1, Member::NotStarted);
        }
        members[rank] = Member::Alive(slot);
        CtaId { index, slot }
    }

    /// Ends a CTA after its last thread. Reports accesses of its shared memory by others, and by asynchronous operations,
    /// that do not come before its end.
    pub fn end_cta(&mut self, cta: CtaId) {
        let Some(state) = self.ctas.get_mut(cta.slot as usize).and_then(Option::take) else { return };
        let memory = &mut self.shared[cta.slot as usize];
        if memory.foreign {
            reach::check_exit(&state, memory, &self.asyncs, &mut self.races);
        }
        memory.clear();
        self.free.push(cta.slot);
        if let Some(cluster) = self.clusters.get_mut(&state.place.cluster) {
            if let Some(member) = cluster.members.get_mut(state.rank as usize) {
                *member = Member::Ended;
            }
            if !cluster.members.iter().any(|m| matches!(m, Member::Alive(_))) {
                self.clusters.remove(&state.place.cluster);
            }
        }
    }

    pub(super) fn warp_mut(&mut self, warp: WarpId) -> Option<&mut WarpState> {
        self.ctas.get_mut(warp.cta.slot as usize)?.as_mut()?.warps.get_mut(warp.warp as usize)
    }
}

/// Accesses. Each is checked against what is remembered, and remembered.
impl Detector {
    /// Lane `i` accesses `access.size` bytes at `base + i * stride`, for each lane of `who`. Any stride will do; 0 is one
    /// address for all.
    pub fn access_affine(&mut self, who: Lanes, space: Space, base: u64, stride: i64, access: &Access) {
        let place = match i32::try_from(stride) {
            Ok(stride) if stride.unsigned_abs() < 1 << 26 => Where::Affine { base, stride },
            _ => return self.access(who, space, &Where::spread(base, stride), access),
        };
        self.record(who, space, place, access, false);
        if let Strength::Strong { .. } = access.strength {
            self.synchronise(who, space, place, access);
        }
    }

    /// Lane `i` accesses `access.size` bytes at `addresses[i]`, for each lane of `who`.
    pub fn access(&mut self, who: Lanes, space: Space, addresses: &[u64; 32], access: &Access) {
        let place = Where::find(addresses, who.mask);
        self.record(who, space, place, access, false);
        if let Strength::Strong { .. } = access.strength {
            self.synchronise(who, space, place, access);
        }
    }

    /// An asynchronous operation accesses `len` bytes as a whole; of `access`, the size only shows in reports.
    pub fn access_async(&mut self, id: AsyncId, space: Space, start: u64, len: u64, access: &Access) {
        let Some(op) = self.asyncs.get(id) else { return };
        let lane = 1 << (op.lanes.trailing_zeros() & 31);
        self.record_async(id, lane, space, Where::Range { start, len }, access);
    }

    /// Lanes of an operation of kind [`AsyncKind::PerLane`] access `access.size` bytes at `addresses[i]`.
    pub fn access_async_lanes(
        &mut self,
        id: AsyncId,
        mask: u32,
        space: Space,
        addresses: &[u64; 32],
        access: &Access,
    ) {
        self.record_async(id, mask, space, Where::find(addresses, mask), access);
    }

    /// Forgets all accesses of a range of global memory: it was freed, or given out anew.
    pub fn forget(&mut self, start: u64, len: u64) {
        self.global.visit_present(start, len, &mut Forget);
    }

    /// Remembers an access of a warp, without its effect on order.
    pub(super) fn record(&mut self, who: Lanes, space: Space, place: Where<'_>, access: &Access, init: bool) {
        let Some(state) = self.ctas.get(who.warp.cta.slot as usize).and_then(Option::as_ref) else { return };
        let Some(warp) = state.warps.get(who.warp.warp as usize) else { return };
        let mut event = Event::new(access, state.place, who.warp.warp, warp.own.tick);
        event.init = init;
        let mut left = who.mask;
        while left != 0 {
            let mut mask = left;
            let mut slot = who.warp.cta.slot;
            if space == Space::Shared {
                let rank = place.rank(left);
                mask = place.of_rank(left, rank);
                if rank != state.rank {
                    match reach::peer(&self.clusters, state.place.cluster, rank) {
                        Ok(peer) => slot = peer,
                        Err(class) => {
                            reach::report_peer(&mut self.races, class, &event, place, mask);
                            left &= !mask;
                            continue;
                        }
                    }
                    if let Some(owner) = self.ctas[slot as usize].as_ref() {
                        reach::check_started(&mut self.races, warp, owner.place.cta, &event, place, mask);
                    }
                    self.shared[slot as usize].foreign = true;
                }
            }
            left &= !mask;
            let memory = match space {
                Space::Global => &mut self.global,
                Space::Shared => &mut self.shared[slot as usize],
            };
            let known = Known { view: &warp.groups[0].view, own: Some(&warp.own), asyncs: &self.asyncs };
            let (strict, earlier) = (self.options.strict, &self.earlier);
            let (same_value, agreed) = (access.same_value, access.agreed);
            let touch = Touch { groups: &warp.groups, known, space, strict, same_value, agreed, earlier };
            touch.run(memory, &mut self.races, event, mask, place);
        }
    }

    pub(super) fn record_async(
        &mut self,
        id: AsyncId,
        mut left: u32,
        space: Space,
        place: Where<'_>,
        access: &Access,
    ) {
        let Some(op) = self.asyncs.get(id) else { return };
        let Some(origin) = op.origin.as_deref() else { return };
        let (cta, cluster, warp) = op.issuer;
        let mut event = Event::new(access, Place { cta, cluster }, warp, 0);
        event.op = Some(id);
        let Some(first) = origin.groups.first() else { return };
        while left != 0 {
            let mut mask = left;
            let mut memory = &mut self.global;
            if space == Space::Shared {
                let rank = place.rank(left);
                mask = place.of_rank(left, rank);
                match reach::peer(&self.clusters, cluster, rank) {
                    Ok(slot) => memory = &mut self.shared[slot as usize],
                    Err(class) => {
                        reach::report_peer(&mut self.races, class, &event, place, mask);
                        left &= !mask;
                        continue;
                    }
                }
                memory.foreign = true;
            }
            left &= !mask;
            let known = Known { view: &first.view, own: origin.own.as_ref(), asyncs: &self.asyncs };
            let (strict, earlier) = (self.options.strict, &self.earlier);
            let (same_value, agreed) = (access.same_value, access.agreed);
            let touch = Touch { groups: &origin.groups, known, space, strict, same_value, agreed, earlier };
            touch.run(memory, &mut self.races, event, mask, place);
        }
    }
}

/// What was found.
impl Detector {
    /// Whether there are races that [`Detector::take`] has not given out.
    #[inline]
    pub fn any(&self) -> bool {
        self.races.any()
    }

    /// Races that were not given out before, each pair of instructions and class once.
    pub fn take(&mut self) -> Vec<Race> {
        self.races.take()
    }

    /// Repeats of races that were given out, since the last call: class, first site, second site, how often.
    pub fn take_repeats(&mut self) -> Vec<(Class, Option<u32>, u32, u64)> {
        self.races.take_repeats()
    }
}

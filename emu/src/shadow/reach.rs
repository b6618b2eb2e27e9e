//! Which bytes an access reaches, and whose they are.

use std::collections::HashMap;

use super::asyncs::Asyncs;
use super::check::Pass;
use super::clock::View;
use super::detector::{ClusterState, CtaState, Member};
use super::event::{Event, Known, Shape, Which};
use super::memory::Memory;
use super::races::Races;
use super::types::{Class, Race, SHARED_BITS, Space};
use super::warp::{LaneGroup, WarpState};

/// Where the lanes of an access go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Where<'a> {
    /// Lane `i` to `base + i * stride`; |stride| < 2^26.
    Affine { base: u64, stride: i32 },
    /// Each lane to its own address.
    Table(&'a [u64; 32]),
    /// All together to a range.
    Range { start: u64, len: u64 },
}

impl<'a> Where<'a> {
    /// Addresses, as a rule where they follow one.
    pub(super) fn find(addresses: &'a [u64; 32], mask: u32) -> Self {
        let first = mask.trailing_zeros();
        let rest = mask & mask.wrapping_sub(1);
        if mask == 0 || rest == 0 {
            return Where::Affine { base: addresses[first as usize & 31], stride: 0 };
        }
        let second = rest.trailing_zeros();
        let step = addresses[second as usize].wrapping_sub(addresses[first as usize]) as i64;
        let stride = step / i64::from(second - first);
        if stride * i64::from(second - first) != step || stride.unsigned_abs() >= 1 << 26 {
            return Where::Table(addresses);
        }
        let base = addresses[first as usize].wrapping_sub((stride * i64::from(first)) as u64);
        let follows = |i: usize| addresses[i] == base.wrapping_add_signed(stride * i as i64);
        if (0..32).all(|i| mask >> i & 1 == 0 || follows(i)) {
            Where::Affine { base, stride: stride as i32 }
        } else {
            Where::Table(addresses)
        }
    }

    /// The addresses that a rule gives.
    pub(super) fn spread(base: u64, stride: i64) -> [u64; 32] {
        std::array::from_fn(|i| base.wrapping_add_signed(stride.wrapping_mul(i as i64)))
    }

    /// A lane's address.
    pub(super) fn address(&self, lane: u32) -> u64 {
        match *self {
            Where::Affine { base, stride } => base.wrapping_add_signed(i64::from(stride) * i64::from(lane)),
            Where::Table(addresses) => addresses[lane as usize & 31],
            Where::Range { start, .. } => start,
        }
    }

    /// The rank in the shared address of the first of some lanes.
    pub(super) fn rank(&self, mask: u32) -> u32 {
        (self.address(mask.trailing_zeros() & 31) >> SHARED_BITS) as u32
    }

    /// Those of some lanes that go to a rank.
    pub(super) fn of_rank(&self, mask: u32, rank: u32) -> u32 {
        let hit = |lane: u32| (self.address(lane) >> SHARED_BITS) as u32 == rank;
        match self {
            Where::Range { .. } => mask,
            Where::Affine { .. }
                if hit(mask.trailing_zeros() & 31) && hit(31 - mask.leading_zeros().min(31)) =>
            {
                mask
            }
            _ => (0..32).filter(|&l| mask >> l & 1 == 1 && hit(l)).fold(0, |m, l| m | 1 << l),
        }
    }

    fn shape(&self, memory: &mut Memory) -> Shape {
        match *self {
            Where::Affine { base, stride } => Shape::Affine { base: base as u32, stride },
            Where::Table(addresses) => memory.log.add_table(addresses.map(|a| a as u32)),
            Where::Range { .. } => Shape::Every,
        }
    }

    /// The ranges that lanes touch, neighbours in one; a range twice only where `twice` asks for it.
    fn ranges(&self, mask: u32, size: u32, twice: bool, mut each: impl FnMut(u64, u64)) {
        let size = u64::from(size);
        match *self {
            Where::Range { start, len } => each(start, len),
            Where::Affine { stride: 0, base } => {
                each(base, size);
                if twice && !mask.is_power_of_two() {
                    each(base, size);
                }
            }
            Where::Affine { stride, .. } if stride > 0 && stride as u64 == size && is_run(mask) => {
                each(self.address(mask.trailing_zeros()), size * u64::from(mask.count_ones()));
            }
            _ => {
                let mut range: Option<(u64, u64)> = None;
                for lane in (0..32).filter(|l| mask >> l & 1 == 1) {
                    let at = self.address(lane);
                    range = Some(match range {
                        Some((start, len)) if start.wrapping_add(len) == at => (start, len + size),
                        Some((start, len)) if !twice && start.wrapping_add(len - size) == at => (start, len),
                        Some((start, len)) => {
                            each(start, len);
                            (at, size)
                        }
                        None => (at, size),
                    });
                }
                if let Some((start, len)) = range {
                    each(start, len);
                }
            }
        }
    }
}

/// Whether the lanes of a mask are neighbours.
fn is_run(mask: u32) -> bool {
    let low = mask >> (mask.trailing_zeros() & 31);
    low & low.wrapping_add(1) == 0
}

/// What an access by lanes that may know different things needs.
pub(super) struct Touch<'a> {
    /// Who knows what.
    pub(super) groups: &'a [LaneGroup],
    /// What they all know, with the view of any of them.
    pub(super) known: Known<'a>,
    pub(super) space: Space,
    pub(super) strict: bool,
    pub(super) same_value: u32,
    pub(super) agreed: u32,
    /// What earlier grids wrote.
    pub(super) earlier: &'a HashMap<u64, [u64; 4]>,
}

impl Touch<'_> {
    /// Checks an access of a memory, and remembers it.
    pub(super) fn run(
        &self,
        memory: &mut Memory,
        races: &mut Races,
        event: Event,
        mask: u32,
        place: Where<'_>,
    ) {
        memory.collect_if_due();
        let first_id = memory.log.next_id();
        let shape = place.shape(memory);
        let twice = event.kind.writes() && event.scope.is_none() && event.op.is_none();
        for group in self.groups {
            let lanes = group.lanes & mask;
            if lanes == 0 {
                continue;
            }
            let event = event.of(lanes, shape);
            let id = memory.log.add(event);
            let known = Known { view: &group.view, own: self.known.own, asyncs: self.known.asyncs };
            let names = (event, id, first_id);
            let mut pass = Pass::new(names, known, races, self.space, self.strict);
            (pass.same_value, pass.agreed) = (self.same_value, self.agreed);
            place.ranges(lanes, event.size.into(), twice, |start, len| memory.visit(start, len, &mut pass));
            if event.proxy == super::types::Proxy::TensorMap && self.space == Space::Global {
                place.ranges(lanes, event.size.into(), false, |start, len| {
                    self.check_earlier(races, &event, &group.view, start, len);
                });
            }
        }
    }

    /// A tensor map that an earlier grid wrote needs an acquire of its proxy.
    fn check_earlier(&self, races: &mut Races, event: &Event, view: &View, start: u64, len: u64) {
        if view.rare.as_ref().is_some_and(|r| r.map_acquired.part(EARLIER_GRIDS).is_some()) {
            return;
        }
        let mut at = start & !15;
        while at < start.saturating_add(len) {
            let bit = at % 4096 / 16;
            if self.earlier.get(&(at / 4096)).is_some_and(|b| b[(bit / 64) as usize] >> (bit % 64) & 1 == 1) {
                let second = event.party(event.lanes.trailing_zeros() & 31);
                let class = Class::MissingTensorMapFence;
                races.add(Race {
                    class,
                    space: self.space,
                    address: at.max(start),
                    first: None,
                    second,
                    count: 1,
                });
                return;
            }
            at = at.saturating_add(16);
        }
    }
}

/// In the clock of the tensormap proxy: all that earlier grids did.
pub(super) const EARLIER_GRIDS: u32 = u32::MAX;

/// The slot of a CTA of a cluster.
pub(super) fn peer(clusters: &HashMap<u32, ClusterState>, cluster: u32, rank: u32) -> Result<u32, Class> {
    match clusters.get(&cluster).and_then(|c| c.members.get(rank as usize)) {
        Some(Member::Alive(slot)) => Ok(*slot),
        Some(Member::Ended) => Err(Class::PeerExited),
        Some(Member::NotStarted) | None => Err(Class::PeerNotStarted),
    }
}

/// Reports an access of a CTA's memory that does not exist.
pub(super) fn report_peer(races: &mut Races, class: Class, event: &Event, place: Where<'_>, mask: u32) {
    let lane = mask.trailing_zeros() & 31;
    let (address, second) = (place.address(lane), event.party(lane));
    races.add(Race { class, space: Space::Shared, address, first: None, second, count: 1 });
}

/// An access of a peer's memory comes after the peer's start if anything of the peer is known at all.
pub(super) fn check_started(
    races: &mut Races,
    warp: &WarpState,
    owner: u32,
    event: &Event,
    place: Where<'_>,
    mask: u32,
) {
    for group in warp.groups.iter().filter(|g| g.lanes & mask != 0) {
        let order = &group.view.order;
        let init = group.view.rare.as_ref().is_some_and(|r| r.init.part(owner).is_some());
        if order.part(owner).is_none() && !init {
            report_peer(races, Class::PeerNotStarted, event, place, group.lanes & mask);
        }
    }
}

/// At a CTA's end: accesses of its memory that do not come before.
pub(super) fn check_exit(state: &CtaState, memory: &Memory, asyncs: &Asyncs, races: &mut Races) {
    let mut view = View::default();
    state.warps.iter().for_each(|w| view.join(&w.publish(u32::MAX)));
    let known = Known { view: &view, own: None, asyncs };
    let nobody = Event::nobody();
    let mut seen = HashMap::new();
    memory.for_each(|log, cell, address| {
        for id in log.ids(cell.writes).chain(log.ids(cell.reads)) {
            let event = log.event(id);
            if event.op.is_none() && event.cta == state.place.cta {
                continue;
            }
            let late = *seen.entry(id).or_insert_with(|| {
                let lanes = (0..32).filter(|&l| event.lanes >> l & 1 == 1);
                let mut here =
                    lanes.filter(|&l| event.rank_of(&log.tables, l).is_none_or(|r| r == state.rank));
                here.find(|&l| !known.one(event, l, &nobody, l, Which::Order))
            });
            if let Some(lane) = late {
                let second = event.party(lane);
                let (class, space) = (Class::PeerExited, Space::Shared);
                races.add(Race { class, space, address, first: None, second, count: 1 });
            }
        }
    });
}

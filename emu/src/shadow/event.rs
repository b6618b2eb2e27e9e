//! Accesses as they are remembered.

use super::asyncs::Asyncs;
use super::clock::{Clock, View};
use super::location::Place;
use super::types::{Access, AsyncId, AsyncKind, Kind, Party, Proxy, Scope, Strength, Who};
use super::warp::Own;

/// An access of several lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    /// CTA and warp; of an asynchronous operation its issuer's.
    pub(super) cta: u32,
    pub(super) cluster: u32,
    pub(super) warp: u8,
    pub(super) kind: Kind,
    pub(super) proxy: Proxy,
    /// `None` for a weak access.
    pub(super) scope: Option<Scope>,
    /// Bytes of one scalar.
    pub(super) piece: u16,
    /// Bytes of a lane.
    pub(super) size: u16,
    /// It made an mbarrier.
    pub(super) init: bool,
    /// No two of its lanes touch one byte.
    pub(super) single: bool,
    /// The operation, for an asynchronous one.
    pub(super) op: Option<AsyncId>,
    pub(super) tick: u32,
    pub(super) site: u32,
    pub(super) lanes: u32,
    pub(super) shape: Shape,
}

/// Which lane touched which bytes. Addresses are kept modulo 2^32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// All lanes all bytes that remember the event.
    Every,
    /// Lane `i` the bytes from `base + i * stride`.
    Affine { base: u32, stride: i32 },
    /// Lane `i` the bytes from entry `i` of a table.
    Table(u32),
}

impl Event {
    /// What number 0 stands for.
    pub(super) fn nobody() -> Self {
        let place = Place { cta: u32::MAX, cluster: u32::MAX };
        Event::new(&Access::weak(u32::MAX, Kind::Read, 0), place, 0, 0)
    }

    /// An access by no lane yet.
    pub(super) fn new(access: &Access, place: Place, warp: u32, tick: u32) -> Self {
        Event {
            cta: place.cta,
            cluster: place.cluster,
            warp: warp as u8,
            kind: access.kind,
            proxy: access.proxy,
            scope: match access.strength {
                Strength::Weak => None,
                Strength::Strong { scope, .. } => Some(scope),
            },
            piece: access.piece.min(u16::MAX.into()) as u16,
            size: access.size.min(u16::MAX.into()) as u16,
            init: false,
            single: false,
            op: None,
            tick,
            site: access.site,
            lanes: 0,
            shape: Shape::Every,
        }
    }

    /// The same by some lanes.
    pub(super) fn of(self, lanes: u32, shape: Shape) -> Self {
        let event = Event { lanes, shape, ..self };
        Event { single: event.is_spread() || lanes.is_power_of_two(), ..event }
    }

    /// Whether no two of its lanes touch one byte.
    fn is_single(&self, tables: &[[u32; 32]]) -> bool {
        self.single
            || match self.shape {
                Shape::Table(index) => {
                    tables.get(index as usize).is_some_and(|t| apart(t, self.lanes, self.size.into()))
                }
                _ => false,
            }
    }

    /// Whether a byte's address alone says which lane touched it.
    fn is_spread(&self) -> bool {
        matches!(self.shape, Shape::Affine { stride, .. } if stride.unsigned_abs() >= self.size.into() && stride != 0)
    }

    pub(super) fn place(&self) -> Place {
        Place { cta: self.cta, cluster: self.cluster }
    }

    /// Whether it is outside the memory model.
    pub(super) fn non_coherent(&self) -> bool {
        self.proxy == Proxy::NonCoherent
    }

    /// Whether both are made by the same lanes of one warp, or of one asynchronous operation.
    #[inline]
    pub(super) fn same_warp(&self, other: &Event) -> bool {
        self.cta == other.cta && self.warp == other.warp && self.op == other.op
    }

    /// The lanes that touched a byte.
    pub(super) fn lanes_at(&self, tables: &[[u32; 32]], address: u32) -> u32 {
        let size = u32::from(self.size);
        match self.shape {
            Shape::Every => self.lanes,
            Shape::Affine { stride: 0, .. } => self.lanes,
            Shape::Affine { base, stride } if stride.unsigned_abs() >= size => {
                let step = stride.unsigned_abs();
                let lane = match stride > 0 {
                    true => address.wrapping_sub(base) / step,
                    false => (u64::from(base.wrapping_sub(address)) + u64::from(step) - 1) as u32 / step,
                };
                if lane < 32 { self.lanes & 1 << lane } else { 0 }
            }
            Shape::Affine { base, stride } => self.lanes_where(|lane| {
                address.wrapping_sub(base.wrapping_add_signed(stride.wrapping_mul(lane))) < size
            }),
            Shape::Table(index) => {
                let table = tables.get(index as usize);
                self.lanes_where(|lane| table.is_some_and(|t| address.wrapping_sub(t[lane as usize]) < size))
            }
        }
    }

    /// The rank in the shared address of a lane, if each lane has an address of its own.
    pub(super) fn rank_of(&self, tables: &[[u32; 32]], lane: u32) -> Option<u32> {
        let address = match self.shape {
            Shape::Every => return None,
            Shape::Affine { base, stride } => base.wrapping_add_signed(stride.wrapping_mul(lane as i32)),
            Shape::Table(index) => tables.get(index as usize)?[lane as usize & 31],
        };
        Some(address >> super::types::SHARED_BITS)
    }

    fn lanes_where(&self, touches: impl Fn(i32) -> bool) -> u32 {
        (0..32).filter(|&i| self.lanes >> i & 1 == 1 && touches(i)).fold(0, |m, i| m | 1 << i)
    }

    /// Whether the lanes that touched each byte are the same in both.
    pub(super) fn same_shape(&self, other: &Event, tables: &[[u32; 32]]) -> bool {
        self.size == other.size
            && match (self.shape, other.shape) {
                (Shape::Table(a), Shape::Table(b)) => {
                    a == b || tables.get(a as usize) == tables.get(b as usize)
                }
                (a, b) => a == b,
            }
    }

    /// In the words of a report; `lane` is one that touched the byte.
    pub(super) fn party(&self, lane: u32) -> Party {
        Party {
            who: Who { cta: self.cta, warp: self.warp.into(), lane },
            asynchronous: self.op.is_some(),
            site: self.site,
            kind: self.kind,
            proxy: self.proxy,
            size: self.size.into(),
        }
    }

    /// Whether two strong accesses reach each other.
    pub(super) fn covers(&self, other: &Event) -> bool {
        let reach = self.place().reach(other.place());
        self.scope.is_some_and(|s| s >= reach) && other.scope.is_some_and(|s| s >= reach)
    }
}

/// Whether the accesses of lanes do not overlap.
fn apart(table: &[u32; 32], lanes: u32, size: u32) -> bool {
    let all = || (0..32).filter(|&i| lanes >> i & 1 == 1).map(|i| table[i]);
    let (low, high) = all().fold((u32::MAX, 0), |(low, high), a| (low.min(a), high.max(a)));
    let unaligned = all().fold(0, |bits, a| bits | a) & size.wrapping_sub(1);
    let shift = size.trailing_zeros();
    if size.is_power_of_two() && unaligned == 0 && high.saturating_sub(low) >> shift < 4096 {
        // Aligned and near each other: a bit for each place.
        let mut taken = [0u64; 64];
        return all().fold(true, |apart, a| {
            let place = (a - low) >> shift;
            let (word, bit) = (&mut taken[place as usize / 64], 1u64 << (place % 64));
            let free = *word & bit == 0;
            *word |= bit;
            apart & free
        });
    }
    all().all(|a| all().filter(|b| b.wrapping_sub(a) < size).count() == 1)
}

/// What an access comes after: the clocks of its lanes.
pub(super) struct Known<'a> {
    pub(super) view: &'a View,
    /// What each of its lanes did itself, for lanes of a warp (for `PerLane` operations, up to their issue).
    pub(super) own: Option<&'a Own>,
    pub(super) asyncs: &'a Asyncs,
}

/// One of the clocks of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Order,
    Fenced,
    Init,
    MapAcquired,
    Wide,
}

/// An answer for all bytes of an event at once, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    Depends,
}

impl Known<'_> {
    fn clock(&self, which: Which) -> Option<&Clock> {
        let rare = self.view.rare.as_deref();
        match which {
            Which::Order => Some(&self.view.order),
            Which::Fenced => Some(&self.view.fenced),
            Which::Init => rare.map(|r| &*r.init),
            Which::MapAcquired => rare.map(|r| &*r.map_acquired),
            Which::Wide => rare.map(|r| &*r.wide),
        }
    }

    /// Up to which tick a lane's own accesses are in a clock.
    fn own_tick(own: &Own, which: Which, lane: u32) -> u32 {
        match which {
            Which::Order | Which::Wide => own.tick,
            Which::Fenced => own.fenced.get(lane),
            Which::Init => own.init.get(lane),
            Which::MapAcquired => own.map_acquired.get(lane),
        }
    }

    /// Whether a clock of all lanes of access `now` covers all lanes of event `past`.
    #[inline]
    pub(super) fn all(&self, past: &Event, now: &Event, which: Which, tables: &[[u32; 32]]) -> Answer {
        if let Some(id) = past.op {
            return self.all_of_async(id, past, now, which);
        }
        let clock = self.clock(which);
        let (low, high) = match clock.and_then(|c| c.part(past.cta)).and_then(|p| p.warp(past.warp.into())) {
            Some(ticks) => (ticks.low(), ticks.high()),
            None => (0, 0),
        };
        if past.tick <= low {
            return Answer::Yes;
        }
        let same = self.own.filter(|o| o.cta == past.cta && o.warp == u32::from(past.warp));
        let Some(own) = same else { return if past.tick > high { Answer::No } else { Answer::Depends } };
        let certain = match which {
            Which::Order | Which::Wide => own.tick >= past.tick,
            Which::Fenced => own.fenced.low() >= past.tick,
            _ => false,
        };
        let same_lanes = past.lanes == now.lanes || past.is_spread();
        if certain
            && same_lanes
            && past.same_shape(now, tables)
            && past.is_single(tables)
            && now.is_single(tables)
        {
            Answer::Yes
        } else {
            Answer::Depends
        }
    }

    fn all_of_async(&self, id: AsyncId, past: &Event, now: &Event, which: Which) -> Answer {
        let Some(op) = self.asyncs.get(id) else { return Answer::Yes };
        if which == Which::Order && now.op == past.op {
            return if op.kind == AsyncKind::Whole { Answer::Yes } else { Answer::Depends };
        }
        match self.clock(which) {
            Some(clock) if op.known_at_once(past.kind == Kind::Read, past.lanes, clock) => Answer::Yes,
            _ => Answer::Depends,
        }
    }

    /// Whether a clock of lane `lane` of access `now` covers lane `past_lane` of event `past`.
    pub(super) fn one(&self, past: &Event, past_lane: u32, now: &Event, lane: u32, which: Which) -> bool {
        let clock = self.clock(which);
        let knows = |cta: u32, warp: u32, of: u32, tick: u32| {
            let itself = self.own.filter(|o| (o.cta, o.warp, lane) == (cta, warp, of));
            itself.is_some_and(|o| Self::own_tick(o, which, lane) >= tick)
                || clock
                    .and_then(|c| c.part(cta))
                    .and_then(|p| p.warp(warp))
                    .is_some_and(|t| t.get(of) >= tick)
        };
        let Some(id) = past.op else { return knows(past.cta, past.warp.into(), past_lane, past.tick) };
        let Some(op) = self.asyncs.get(id) else { return true };
        if which == Which::Order && now.op == past.op {
            return op.kind == AsyncKind::Whole || past_lane == lane;
        }
        let phase = |cta: u32, index: u32| clock.and_then(|c| c.part(cta)).map_or(0, |p| p.phase(index));
        op.known(past.kind == Kind::Read, past_lane, knows, phase)
    }
}

//! One access against what a memory remembers.

use super::event::{Answer, Event, Known, Shape, Which};
use super::memory::{Cell, Log, Visit};
use super::races::Races;
use super::types::{Class, Kind, Proxy, Race, Space};

/// Accesses that a cell remembers in each of its lists.
const MOST: usize = 64;
/// Reads of a cell from where on those of one warp are told as one.
const MANY: usize = 4;
/// Reads of a cell from where on those that others stand for are dropped.
const TIDY: usize = 12;

/// An access on its way through memory.
pub(super) struct Pass<'a> {
    pub(super) event: Event,
    pub(super) id: u32,
    /// The number of the first event of the same instruction.
    pub(super) first_id: u32,
    pub(super) known: Known<'a>,
    pub(super) races: &'a mut Races,
    pub(super) space: Space,
    pub(super) strict: bool,
    pub(super) same_value: u32,
    pub(super) agreed: u32,
    /// What is known of cells: from, to.
    memo: [(Cell, Cell); 4],
    memos: usize,
    /// The lanes that touch an address, the last that was asked for.
    here: std::cell::Cell<(u64, u32)>,
    /// Classes and earlier instructions of what was reported.
    told: Vec<(Class, u32)>,
}

/// What an event of a list means for an access.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Nothing: it stays.
    Keep,
    /// The access stands for it from now on.
    Drop,
    /// It stands for the access already.
    Redundant,
}

/// A pair of lanes at an address for which something does not hold.
#[derive(Clone, Copy)]
struct Spot {
    address: u64,
    past: u32,
    now: u32,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        (event, id, first_id): (Event, u32, u32),
        known: Known<'a>,
        races: &'a mut Races,
        space: Space,
        strict: bool,
    ) -> Self {
        // No cell holds all ones, so nothing is known at first.
        let nothing = Cell { writes: u32::MAX, reads: u32::MAX };
        let memo = [(nothing, nothing); 4];
        let here = std::cell::Cell::new((u64::MAX, 0));
        Pass {
            event,
            id,
            first_id,
            known,
            races,
            space,
            strict,
            same_value: 0,
            agreed: 0,
            memo,
            memos: 0,
            here,
            told: Vec::new(),
        }
    }

    /// What an event of one of the lists means, and whether that is so for all cells with the event.
    fn judge(&mut self, log: &Log, id: u32, address: u64, len: u32) -> (Verdict, bool) {
        let past = log.event(id);
        if id == self.id {
            return self.judge_itself(log, address, len);
        }
        if !past.kind.writes() && !self.event.kind.writes() {
            return self.judge_reads(log, past, address, len);
        }
        if past.non_coherent() || self.event.non_coherent() {
            let spot = self.any_spot(log, past, address);
            self.report(Class::NonCoherent, past, spot);
            return (Verdict::Keep, false);
        }
        if self.event.covers(past) && self.event.piece == past.piece {
            return self.judge_strong(log, past, address, len);
        }
        let (mut answer, mut spot) = self.ask(log, past, Which::Order, address, len);
        if answer == Answer::No && past.init {
            (answer, spot) = self.ask(log, past, Which::Init, address, len);
        }
        if answer == Answer::No {
            let spot = spot.unwrap_or_else(|| self.any_spot(log, past, address));
            let class = self.classify(log, past, id, spot, address, len);
            self.report(class, past, spot);
            return (Verdict::Drop, false);
        }
        let sure = answer != Answer::Depends;
        let fenced = self.judge_proxy(log, past, address, len);
        let verdict = if self.stands_for(past) { Verdict::Drop } else { Verdict::Keep };
        (verdict, sure && fenced)
    }

    /// The access meets itself: two of its lanes touch the same bytes.
    fn judge_itself(&mut self, log: &Log, address: u64, len: u32) -> (Verdict, bool) {
        let event = self.event;
        if event.kind.writes() && event.scope.is_none() && event.op.is_none() && !event.single {
            for at in 0..len {
                let lanes = event.lanes_at(&log.tables, (address + u64::from(at)) as u32);
                if lanes.count_ones() > 1 {
                    let now = 31 - lanes.leading_zeros();
                    let spot = Spot { address: address + u64::from(at), past: lanes.trailing_zeros(), now };
                    let agreed = self.agreed & lanes == lanes;
                    self.report(if agreed { Class::Agreed } else { Class::SameInstruction }, &event, spot);
                    break;
                }
            }
        }
        (Verdict::Redundant, false)
    }

    fn judge_reads(&mut self, log: &Log, past: &Event, address: u64, len: u32) -> (Verdict, bool) {
        let now = &self.event;
        let alike = past.proxy == now.proxy && past.scope == now.scope && past.piece == now.piece;
        if past.same_warp(now) && past.tick == now.tick && alike {
            if past.same_shape(now, &log.tables) {
                let verdict =
                    match (past.lanes & now.lanes == now.lanes, past.lanes & now.lanes == past.lanes) {
                        (true, _) => Verdict::Redundant,
                        (_, true) => Verdict::Drop,
                        _ => Verdict::Keep,
                    };
                return (verdict, true);
            }
            let within = self.within(log, past, address, len);
            return (if within { Verdict::Redundant } else { Verdict::Keep }, false);
        }
        let stands = self.stands_for(past);
        if stands && self.known.all(past, now, Which::Order, &log.tables) == Answer::Yes {
            return (Verdict::Drop, true);
        }
        // The same lanes read the same bytes again, later.
        let again = stands && past.same_warp(now) && past.op.is_none() && past.same_shape(now, &log.tables);
        (if again && past.lanes & now.lanes == past.lanes { Verdict::Drop } else { Verdict::Keep }, true)
    }

    /// Two strong accesses that reach each other: no race, whatever their order.
    fn judge_strong(&mut self, log: &Log, past: &Event, address: u64, len: u32) -> (Verdict, bool) {
        let now = self.event;
        let ordered = self.known.all(past, &now, Which::Order, &log.tables) == Answer::Yes;
        let fenced = !ordered || self.judge_proxy(log, past, address, len);
        let mine = past.same_warp(&now) && past.op.is_none();
        if self.stands_for(past) {
            let again = mine && past.lanes & now.lanes == past.lanes && past.same_shape(&now, &log.tables);
            if ordered || again {
                return (Verdict::Drop, fenced);
            }
        }
        let alike = past.scope == now.scope && past.piece == now.piece && past.kind == now.kind;
        if mine && past.tick == now.tick && alike && self.within(log, past, address, len) {
            return (Verdict::Redundant, false);
        }
        (Verdict::Keep, fenced)
    }

    /// Whether all lanes of the access at each byte are lanes of a past one.
    fn within(&self, log: &Log, past: &Event, address: u64, len: u32) -> bool {
        let step = step_of(past, &self.event, address, len);
        (0..len).step_by(step as usize).all(|at| {
            let at = address + u64::from(at);
            self.lanes_at(log, at) & !past.lanes_at(&log.tables, at as u32) == 0
        })
    }

    /// The lanes of the access that touch an address.
    fn lanes_at(&self, log: &Log, address: u64) -> u32 {
        if self.here.get().0 != address {
            self.here.set((address, self.event.lanes_at(&log.tables, address as u32)));
        }
        self.here.get().1
    }

    /// Whether a clock covers an event; where it does not, or only for some bytes, with a pair of lanes.
    fn ask(&self, log: &Log, past: &Event, which: Which, address: u64, len: u32) -> (Answer, Option<Spot>) {
        match self.known.all(past, &self.event, which, &log.tables) {
            Answer::Depends => match self.find_uncovered(log, past, which, address, len) {
                Some(spot) => (Answer::No, Some(spot)),
                None => (Answer::Depends, None),
            },
            certain => (certain, None),
        }
    }

    fn find_uncovered(&self, log: &Log, past: &Event, which: Which, address: u64, len: u32) -> Option<Spot> {
        let step = step_of(past, &self.event, address, len);
        for at in (0..len).step_by(step as usize) {
            let address = address + u64::from(at);
            let then = past.lanes_at(&log.tables, address as u32);
            let now = self.lanes_at(log, address);
            for past_lane in bits(then) {
                for lane in bits(now) {
                    if !self.known.one(past, past_lane, &self.event, lane, which) {
                        return Some(Spot { address, past: past_lane, now: lane });
                    }
                }
            }
        }
        None
    }

    /// A pair of lanes that touch an address, different threads if possible.
    fn any_spot(&self, log: &Log, past: &Event, address: u64) -> Spot {
        let then = past.lanes_at(&log.tables, address as u32);
        let now = self.lanes_at(log, address);
        let past_lane = then.trailing_zeros() & 31;
        let others = if past.same_warp(&self.event) { now & !(1 << past_lane) } else { now };
        let lane = if others != 0 { others } else { now }.trailing_zeros() & 31;
        Spot { address, past: past_lane, now: lane }
    }

    fn classify(&self, log: &Log, past: &Event, id: u32, spot: Spot, address: u64, len: u32) -> Class {
        let now = &self.event;
        let both_write = past.kind.writes() && now.kind.writes();
        let same = self.same_value >> spot.now & 1 == 1;
        if past.init {
            return Class::MbarrierInit;
        }
        if id >= self.first_id && past.same_warp(now) && past.op.is_none() && both_write {
            let agreed = self.agreed >> spot.now & 1 == 1;
            return if agreed { Class::Agreed } else { Class::SameInstruction };
        }
        if past.scope.is_some() && now.scope.is_some() {
            return if now.covers(past) { Class::MixedSize } else { Class::ScopeTooNarrow };
        }
        if self.ask(log, past, Which::Wide, address, len).0 != Answer::No {
            return Class::ScopeTooNarrow;
        }
        match (both_write, same) {
            (true, true) => Class::SameValue,
            (true, false) => Class::WriteWrite,
            (false, _) => Class::ReadWrite,
        }
    }

    /// Whether no proxy fence is missing after an event that is ordered before, for all of its bytes.
    fn judge_proxy(&mut self, log: &Log, past: &Event, address: u64, len: u32) -> bool {
        let now = &self.event;
        if past.proxy != Proxy::Generic {
            return true;
        }
        // Operations on an mbarrier's object, by threads and by copies, need no fence among themselves: only its
        // initialisation does.
        if !past.init && past.kind == Kind::Atomic && now.kind == Kind::Atomic {
            return true;
        }
        let (class, which) = match now.proxy {
            _ if past.init && (now.proxy == Proxy::Async || now.cta != past.cta) => {
                (Class::MbarrierInitFence, [Which::Fenced, Which::Init])
            }
            Proxy::Async if past.kind.writes() => (Class::MissingProxyFence, [Which::Fenced; 2]),
            Proxy::Async if self.strict && now.kind.writes() => {
                (Class::MissingProxyFenceAfterRead, [Which::Fenced; 2])
            }
            Proxy::TensorMap if past.kind.writes() => (Class::MissingTensorMapFence, [Which::MapAcquired; 2]),
            _ => return true,
        };
        let (answer, mut spot) = self.ask(log, past, which[0], address, len);
        let answer = match answer {
            Answer::No if which[1] != which[0] => {
                let (answer, other) = self.ask(log, past, which[1], address, len);
                spot = other;
                answer
            }
            answer => answer,
        };
        match answer {
            Answer::Yes => true,
            Answer::Depends => false,
            Answer::No => {
                let spot = spot.unwrap_or_else(|| self.any_spot(log, past, address));
                self.report(class, past, spot);
                false
            }
        }
    }

    /// Whether what races with a past event that is ordered before would race with the access as well.
    fn stands_for(&self, past: &Event) -> bool {
        let now = &self.event;
        if past.non_coherent() || now.non_coherent() {
            return past.non_coherent() && now.non_coherent();
        }
        if self.strict && past.proxy == Proxy::Generic && now.proxy != Proxy::Generic {
            return false;
        }
        match (past.scope, now.scope) {
            (_, None) => true,
            (Some(then), Some(scope)) => past.cta == now.cta && scope <= then && past.piece == now.piece,
            (None, Some(_)) => false,
        }
    }

    /// Reports a race, once for an access and an earlier instruction.
    fn report(&mut self, class: Class, past: &Event, spot: Spot) {
        if self.told.contains(&(class, past.site)) {
            return;
        }
        self.told.push((class, past.site));
        let first = Some(past.party(spot.past));
        let second = self.event.party(spot.now);
        self.races.add(Race { class, space: self.space, address: spot.address, first, second, count: 1 });
    }

    /// One event for the lanes of this access and of a past one of the same warp, in one cell.
    fn union(&self, log: &Log, past: &Event, address: u64, len: u32) -> Option<Event> {
        let now = &self.event;
        let alike = past.scope == now.scope && past.piece == now.piece && past.proxy == now.proxy;
        if !(past.same_warp(now) && past.tick == now.tick && past.kind == now.kind && alike) {
            return None;
        }
        let lanes_at = |at: u32| {
            let at = address + u64::from(at);
            past.lanes_at(&log.tables, at as u32) | self.lanes_at(log, at)
        };
        let lanes = lanes_at(0);
        let step = step_of(past, now, address, len);
        let uniform = (0..len).step_by(step as usize).all(|at| lanes_at(at) == lanes);
        uniform.then(|| Event { lanes, shape: Shape::Every, single: lanes.is_power_of_two(), ..*now })
    }

    /// Whether a list holds accesses of the same lanes' warp since it last gave away what it knows.
    fn may_merge(&self, log: &Log, kept: &[u32]) -> bool {
        let now = &self.event;
        let mine = |past: &Event| past.same_warp(now) && past.tick == now.tick;
        now.op.is_none() && kept.iter().any(|&id| mine(log.event(id)))
    }

    /// A list after the access joined what is left of it.
    fn with_itself(&self, log: &mut Log, mut kept: Vec<u32>, merge: bool, address: u64, len: u32) -> u32 {
        if merge {
            for i in 0..kept.len() {
                if let Some(both) = self.union(log, &log.event(kept[i]).clone(), address, len) {
                    kept.remove(i);
                    kept.insert(0, log.add(both));
                    return log.list(&kept);
                }
            }
        }
        kept.truncate(MOST - 1);
        let rest = log.list(&kept);
        log.prepend(self.id, rest)
    }

    /// Lets the access join the writes of a cell.
    fn join_writes(
        &mut self,
        log: &mut Log,
        cell: Cell,
        writes: Judged,
        reads: Judged,
        sure: &mut bool,
        (address, len): (u64, u32),
    ) -> Cell {
        if self.event.scope.is_none() {
            return Cell { writes: self.id, reads: 0 };
        }
        let reads = log.list(&reads.kept);
        if writes.redundant {
            return Cell { writes: cell.writes, reads };
        }
        let merge = self.may_merge(log, &writes.kept);
        *sure &= !merge;
        Cell { writes: self.with_itself(log, writes.kept, merge, address, len), reads }
    }

    /// Lets the access join the reads of a cell. Reads do not mind each other, so the list is only tidied when it grows
    /// long; but a warp's reads since it last gave away what it knows are told once.
    fn join_reads(&mut self, log: &mut Log, list: u32, address: u64, len: u32) -> (u32, bool) {
        let now = self.event;
        let mut mine = 0;
        let mut sure = true;
        for id in log.ids(list) {
            let past = log.event(id);
            if id == self.id {
                return (list, false);
            }
            if past.same_warp(&now) && past.tick == now.tick {
                let (verdict, certain) = self.judge_reads(log, past, address, len);
                sure &= certain;
                mine += 1;
                if verdict == Verdict::Redundant {
                    return (list, certain);
                }
            }
        }
        let count = log.count(list) as usize;
        if count < MANY || mine == 0 && count < TIDY {
            return (log.prepend(self.id, list), sure);
        }
        let judged = self.judge_list(log, list, address, len);
        let merge = judged.kept.len() >= MANY && self.may_merge(log, &judged.kept);
        (self.with_itself(log, judged.kept, merge, address, len), judged.sure && !merge)
    }

    /// Judges a list: what is left of it, whether that holds for all cells with it, whether it stays as it is.
    fn judge_list(&mut self, log: &Log, list: u32, address: u64, len: u32) -> Judged {
        let mut judged = Judged { kept: Vec::new(), sure: true, redundant: false };
        for id in log.ids(list) {
            let (verdict, sure) = self.judge(log, id, address, len);
            judged.sure &= sure;
            match verdict {
                Verdict::Keep => judged.kept.push(id),
                Verdict::Drop => {}
                // Whatever else is in the list met that one, or was met by it.
                Verdict::Redundant => return Judged { kept: vec![id], sure, redundant: true },
            }
        }
        judged
    }
}

struct Judged {
    kept: Vec<u32>,
    sure: bool,
    redundant: bool,
}

impl Visit for Pass<'_> {
    fn leaf(&mut self, log: &mut Log, cell: Cell, address: u64, len: u32) -> Cell {
        let writes = self.judge_list(log, cell.writes, address, len);
        let mut sure = writes.sure;
        let new = if self.event.kind == Kind::Read {
            let (reads, certain) = self.join_reads(log, cell.reads, address, len);
            sure &= certain;
            Cell { writes: cell.writes, reads }
        } else {
            let reads = self.judge_list(log, cell.reads, address, len);
            sure &= reads.sure;
            self.join_writes(log, cell, writes, reads, &mut sure, (address, len))
        };
        if sure {
            self.memo[self.memos % 4] = (cell, new);
            self.memos += 1;
        }
        new
    }

    #[inline]
    fn shortcut(&self, cell: Cell) -> Option<Cell> {
        self.memo.iter().find(|m| m.0 == cell).map(|m| m.1)
    }

    #[inline]
    fn latest(&self) -> (Cell, Cell) {
        self.memo[self.memos.wrapping_sub(1) % 4]
    }
}

/// Bytes over which the lanes of two events do not change, for aligned accesses.
fn step_of(past: &Event, now: &Event, address: u64, len: u32) -> u32 {
    let sizes = u32::from(past.size) | u32::from(now.size) | address as u32 | len | 16;
    1 << sizes.trailing_zeros()
}

fn bits(mut mask: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let lane = (mask != 0).then(|| mask.trailing_zeros());
        mask &= mask.wrapping_sub(1);
        lane
    })
}

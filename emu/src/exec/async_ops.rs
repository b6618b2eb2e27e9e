//! Operations that take effect later than they are issued.
//!
//! A handler issues an [`Operation`] with the lanes it is for. The operation takes effect at a time that the seed
//! draws: at once, a little later, much later, or not before it must. It must
//! - when a wait of its thread covers it ([`AsyncOps::wait`], called by the `wait_group` forms);
//! - when nobody in the cluster can go on without it (a phase of an mbarrier that its bytes complete), at which point
//!   the scheduler takes one after another ([`AsyncOps::take_one`]);
//! - when the cluster ends.
//!
//! Order: operations of one kind and thread are put in groups by [`AsyncOps::commit`], and a group takes effect only
//! after all earlier groups; within a group, and between kinds or threads, there is no order. An operation that must
//! follow all that its thread issued before it (the arrive of `cp.async.mbarrier.arrive`) is issued as `ordered`.
//!
//! What an operation reads from memory it reads when it takes effect, and registers when it is issued; results for
//! registers (wgmma) are kept in the operation until the waiting handler fetches them. A family keeps such things in
//! [`super::extra::Extra`] of the cluster, which [`AsyncCx`] has at hand.

use std::sync::Arc;

use super::extra::Extra;
use super::report::{Finding, FindingKind, Severity};
use super::rng::Rng;
use super::state::{Cta, Run};
use crate::isa::Program;
use crate::shadow::AsyncId;

/// Which of the mechanisms that have groups of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `cp.async`.
    Copy,
    /// `cp.async.bulk` that completes by bulk groups.
    Bulk,
    /// The reading of the source of such a copy, where it is waited for by itself. It never takes effect unasked, so
    /// that what nobody waited for is there to see when the CTA ends.
    BulkRead,
    /// Whatever completes on an mbarrier.
    Mbarrier,
    /// `wgmma`.
    Wgmma,
    /// Stores whose effect is only ordered by something else.
    Store,
}

/// What happens when an operation takes effect.
pub trait Operation: Send + Sync {
    /// Takes effect for the lanes of a mask. `false` ends the launch (a fault that it has reported).
    fn perform(&self, cx: &mut AsyncCx<'_>, mask: u32) -> bool;
}

/// What an operation can reach.
pub struct AsyncCx<'a> {
    /// The launch.
    pub run: &'a Run<'a>,
    /// The kernel.
    pub program: &'a Program,
    /// CTAs of the cluster.
    pub ctas: &'a mut [Cta],
    /// State of families.
    pub extra: &'a mut Extra,
    /// Choices.
    pub rng: &'a mut Rng,
    /// The instruction that issued it.
    pub site: u32,
    /// Rank of the issuing CTA.
    pub rank: u32,
    /// The issuing warp in its CTA.
    pub warp: u32,
}

impl AsyncCx<'_> {
    /// Records a mistake of the issuing instruction.
    pub fn report(
        &mut self,
        kind: FindingKind,
        lane: usize,
        message: String,
        address: Option<u64>,
        buffer: Option<String>,
    ) {
        let thread = super::cx::thread_of(self.run, &self.ctas[self.rank as usize], self.warp, lane);
        self.run.add(Finding {
            kind,
            severity: Severity::Error,
            message,
            place: super::cx::place_of(self.program, self.site),
            other: None,
            thread: Some(thread),
            address,
            buffer,
            count: 1,
        });
    }
}

/// An operation that has not taken effect, or lanes of one.
#[derive(Clone)]
pub struct Pending {
    /// What it is.
    pub op: Arc<dyn Operation>,
    /// Its mechanism.
    pub kind: Kind,
    /// The instruction.
    pub site: u32,
    /// Rank of the issuing CTA.
    pub rank: u32,
    /// The issuing warp in its CTA.
    pub warp: u32,
    /// Lanes it is for that have not waited for it.
    pub mask: u32,
    /// Lanes for which it has not taken effect.
    pub todo: u32,
    /// Its name to the race detector.
    pub watched: Option<AsyncId>,
    group: Option<u64>,
    due: u64,
    sequence: u64,
    ordered: bool,
}

#[derive(Debug, Clone)]
struct Groups {
    kind: Kind,
    rank: u32,
    warp: u32,
    committed: [u64; 32],
}

/// All that is under way in a cluster.
#[derive(Default)]
pub struct AsyncOps {
    list: Vec<Pending>,
    groups: Vec<Groups>,
    sequence: u64,
    earliest: u64,
}

impl std::fmt::Debug for AsyncOps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AsyncOps({} pending)", self.list.len())
    }
}

/// Who issues.
#[derive(Debug, Clone, Copy)]
pub struct Issuer {
    /// Mechanism.
    pub kind: Kind,
    /// The instruction.
    pub site: u32,
    /// Rank of the CTA.
    pub rank: u32,
    /// Warp in the CTA.
    pub warp: u32,
    /// Lanes.
    pub mask: u32,
}

impl AsyncOps {
    /// Puts an operation under way.
    pub fn issue(
        &mut self,
        who: Issuer,
        op: Arc<dyn Operation>,
        watched: Option<AsyncId>,
        ordered: bool,
        clock: u64,
        rng: &mut Rng,
    ) {
        let due = match rng.below(4) {
            0 => clock,
            1 => clock + rng.below(256),
            2 => clock + rng.below(8192),
            // Late, but not for ever: who polls memory instead of waiting must see it in the end.
            _ => clock + (1 << 14) + rng.below(1 << 16),
        };
        let Issuer { kind, site, rank, warp, mask } = who;
        let due = if kind == Kind::BulkRead { u64::MAX } else { due };
        let sequence = self.sequence;
        self.sequence += 1;
        self.earliest = if self.is_empty() { due } else { self.earliest.min(due) };
        let todo = mask;
        self.list.push(Pending {
            op,
            kind,
            site,
            rank,
            warp,
            mask,
            todo,
            watched,
            group: None,
            due,
            sequence,
            ordered,
        });
    }

    /// Whether everything has taken effect that does so by itself.
    pub fn is_empty(&self) -> bool {
        self.list.iter().all(|p| p.todo == 0 || p.kind == Kind::BulkRead)
    }

    /// Forgets what has taken effect for lanes and was not put into a group.
    pub fn forget_done(&mut self, kind: Kind, rank: u32, warp: u32, mask: u32) {
        let own = |p: &&mut Pending| p.kind == kind && p.rank == rank && p.warp == warp && p.group.is_none();
        self.list.iter_mut().filter(own).for_each(|p| p.mask &= !mask | p.todo);
        self.list.retain(|p| p.mask != 0);
    }

    /// What has not taken effect or was not waited for.
    pub fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.list.iter()
    }

    fn groups(&mut self, kind: Kind, rank: u32, warp: u32) -> &mut Groups {
        let found = self.groups.iter().position(|g| g.kind == kind && g.rank == rank && g.warp == warp);
        let index = found.unwrap_or_else(|| {
            self.groups.push(Groups { kind, rank, warp, committed: [0; 32] });
            self.groups.len() - 1
        });
        &mut self.groups[index]
    }

    /// Closes a group, for each lane its own, over what the lane issued since its last one.
    pub fn commit(&mut self, kind: Kind, rank: u32, warp: u32, mask: u32) {
        let groups = self.groups(kind, rank, warp);
        let numbers = groups.committed;
        super::lanes(mask).for_each(|lane| groups.committed[lane] += 1);
        let mut parts = Vec::new();
        for p in self.list.iter_mut().filter(|p| p.kind == kind && p.rank == rank && p.warp == warp) {
            if p.group.is_some() || p.mask & mask == 0 {
                continue;
            }
            let mut closing = p.mask & mask;
            p.mask &= !mask;
            // Lanes that committed more often than others are in groups of other numbers.
            while closing != 0 {
                let number = numbers[closing.trailing_zeros() as usize];
                let same = super::lanes(closing).filter(|l| numbers[*l] == number).fold(0, |m, l| m | 1 << l);
                closing &= !same;
                parts.push(Pending { mask: same, todo: p.todo & same, group: Some(number), ..p.clone() });
                p.todo &= !same;
            }
        }
        self.list.retain(|p| p.mask != 0);
        self.list.extend(parts);
        self.list.sort_by_key(|p| p.sequence);
    }

    /// Takes out what lanes must see done when at most `allowed` of their latest groups may be under way.
    pub fn wait(&mut self, kind: Kind, rank: u32, warp: u32, mask: u32, allowed: u64) -> Vec<Pending> {
        let committed = self.groups(kind, rank, warp).committed;
        self.take(|p| {
            if p.kind != kind || p.rank != rank || p.warp != warp {
                return 0;
            }
            let Some(group) = p.group else { return 0 };
            super::lanes(p.mask & mask).filter(|l| group + allowed < committed[*l]).fold(0, |m, l| m | 1 << l)
        })
    }

    /// Takes out all of a kind that lanes issued.
    pub fn wait_all(&mut self, kind: Kind, rank: u32, warp: u32, mask: u32) -> Vec<Pending> {
        self.take(|p| if p.kind == kind && p.rank == rank && p.warp == warp { p.mask & mask } else { 0 })
    }

    fn take(&mut self, lanes: impl Fn(&Pending) -> u32) -> Vec<Pending> {
        let mut taken = Vec::new();
        for p in &mut self.list {
            let mask = lanes(p);
            if mask != 0 {
                taken.push(Pending { mask, todo: p.todo & mask, ..p.clone() });
                p.mask &= !mask;
                p.todo &= !mask;
            }
        }
        self.list.retain(|p| p.mask != 0);
        taken
    }

    /// Takes out what is due, each after what must come before it.
    pub fn take_due(&mut self, clock: u64) -> Vec<Pending> {
        if self.list.is_empty() || clock < self.earliest {
            return Vec::new();
        }
        let mut taken = Vec::new();
        while let Some(i) = self.list.iter().position(|p| p.todo != 0 && p.due <= clock) {
            self.take_with_earlier(i, &mut taken);
        }
        self.tidy();
        self.earliest = self.list.iter().filter(|p| p.todo != 0).map(|p| p.due).min().unwrap_or(u64::MAX);
        taken
    }

    /// Takes out one that the seed draws, after what must come before it.
    pub fn take_one(&mut self, rng: &mut Rng) -> Vec<Pending> {
        let mut taken = Vec::new();
        let open = |p: &Pending| p.todo != 0 && p.kind != Kind::BulkRead;
        let open: Vec<usize> = (0..self.list.len()).filter(|i| open(&self.list[*i])).collect();
        if !open.is_empty() {
            self.take_with_earlier(open[rng.below(open.len() as u64) as usize], &mut taken);
            self.tidy();
        }
        taken
    }

    fn take_with_earlier(&mut self, index: usize, taken: &mut Vec<Pending>) {
        let p = self.list[index].clone();
        self.list[index].todo = 0;
        let before = |q: &Pending| {
            let lanes = q.kind == p.kind && q.rank == p.rank && q.warp == p.warp && q.todo & p.mask != 0;
            lanes
                && match (q.group, p.group) {
                    _ if p.ordered || q.ordered => q.sequence < p.sequence,
                    (Some(q), Some(p)) => q < p,
                    (Some(_), None) => true,
                    _ => false,
                }
        };
        while let Some(i) = self.list.iter().position(before) {
            self.take_with_earlier(i, taken);
        }
        taken.push(p);
    }

    /// Forgets what nobody waits for by groups.
    fn tidy(&mut self) {
        self.list.retain(|p| p.todo != 0 || !matches!(p.kind, Kind::Mbarrier | Kind::Store));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;
    impl Operation for Nothing {
        fn perform(&self, _: &mut AsyncCx<'_>, _: u32) -> bool {
            true
        }
    }

    fn issue(ops: &mut AsyncOps, rng: &mut Rng, site: u32, mask: u32) {
        let who = Issuer { kind: Kind::Copy, site, rank: 0, warp: 0, mask };
        ops.issue(who, Arc::new(Nothing), None, false, 0, rng);
    }

    #[test]
    fn a_wait_covers_all_but_the_latest_groups_of_its_lanes() {
        let (mut ops, mut rng) = (AsyncOps::default(), Rng::new(1, 1));
        for site in 0..3 {
            issue(&mut ops, &mut rng, site, u32::MAX);
            ops.commit(Kind::Copy, 0, 0, u32::MAX);
        }
        issue(&mut ops, &mut rng, 3, u32::MAX);
        let done: Vec<(u32, u32)> =
            ops.wait(Kind::Copy, 0, 0, 0xff, 1).iter().map(|p| (p.site, p.mask)).collect();
        assert_eq!(done, [(0, 0xff), (1, 0xff)]);
        let done: Vec<(u32, u32)> =
            ops.wait(Kind::Copy, 0, 0, u32::MAX, 0).iter().map(|p| (p.site, p.mask)).collect();
        assert_eq!(done, [(0, !0xff), (1, !0xff), (2, u32::MAX)]);
        assert_eq!(ops.iter().count(), 1);
    }

    #[test]
    fn groups_take_effect_in_order_under_every_seed() {
        for seed in 0..50 {
            let (mut ops, mut rng) = (AsyncOps::default(), Rng::new(seed, 0));
            for site in 0..4 {
                issue(&mut ops, &mut rng, site, 1);
                ops.commit(Kind::Copy, 0, 0, 1);
            }
            let mut order = Vec::new();
            while !ops.is_empty() {
                order.extend(ops.take_one(&mut rng).iter().map(|p| p.site));
            }
            assert_eq!(order, [0, 1, 2, 3]);
        }
    }
}

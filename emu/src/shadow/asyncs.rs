//! Asynchronous operations: what they came after, and what came to know that they are complete.

use std::collections::VecDeque;

use super::clock::{Clock, View};
use super::types::{AsyncId, AsyncKind, AsyncPart};
use super::warp::{LaneGroup, Own};

/// Operations that are remembered; what older ones did counts as ordered.
const MOST: usize = 1 << 20;

/// How a part of an operation became known to be complete.
#[derive(Debug, Clone, Copy)]
pub(super) enum Join {
    /// By lanes of a warp, at a tick of it.
    Lanes { cta: u32, warp: u32, lanes: u32, tick: u32 },
    /// By a phase of an mbarrier, for these lanes' operations.
    Phase { cta: u32, index: u32, phase: u32, lanes: u32 },
}

/// What an operation came after.
#[derive(Debug)]
pub(super) struct Origin {
    /// What its issuers knew.
    pub(super) groups: Vec<LaneGroup>,
    /// What its lanes did themselves; `None` where `groups` says that as well.
    pub(super) own: Option<Own>,
}

/// An operation.
#[derive(Debug)]
pub(super) struct AsyncOp {
    pub(super) kind: AsyncKind,
    /// CTA, cluster and warp of the (first) issuer.
    pub(super) issuer: (u32, u32, u32),
    /// Lanes that issued it.
    pub(super) lanes: u32,
    /// Dropped when it is complete.
    pub(super) origin: Option<Box<Origin>>,
    /// Joins of its reads only.
    reads: Vec<Join>,
    /// Joins of all it did.
    all: Vec<Join>,
}

impl AsyncOp {
    fn joins(&self, reads: bool) -> impl Iterator<Item = &Join> {
        self.all.iter().chain(self.reads.iter().filter(move |_| reads))
    }

    /// Whether somebody knows that it is complete for a lane: `knows` says whether he knows a lane of a warp of a CTA
    /// up to a tick, `phase` how many phases of a CTA's mbarrier.
    pub(super) fn known(
        &self,
        reads: bool,
        lane: u32,
        knows: impl Fn(u32, u32, u32, u32) -> bool,
        phase: impl Fn(u32, u32) -> u32,
    ) -> bool {
        let whole = self.kind == AsyncKind::Whole;
        self.joins(reads).any(|join| match *join {
            Join::Lanes { cta, warp, lanes, tick } if whole => {
                (0..32).any(|l| lanes >> l & 1 == 1 && knows(cta, warp, l, tick))
            }
            Join::Lanes { cta, warp, lanes, tick } => lanes >> lane & 1 == 1 && knows(cta, warp, lane, tick),
            Join::Phase { cta, index, phase: done, lanes } => {
                (whole || lanes >> lane & 1 == 1) && phase(cta, index) >= done
            }
        })
    }

    /// Whether whoever knows `clock` knows without further ado that it is complete for all of some lanes.
    pub(super) fn known_at_once(&self, reads: bool, lanes: u32, clock: &Clock) -> bool {
        let whole = self.kind == AsyncKind::Whole;
        let mut left = lanes;
        for join in self.joins(reads) {
            let (hit, known) = match *join {
                Join::Lanes { cta, warp, lanes, tick } => {
                    let ticks = clock.part(cta).and_then(|p| p.warp(warp));
                    (lanes, ticks.is_some_and(|t| t.low() >= tick || whole && t.reaches(lanes, tick)))
                }
                Join::Phase { cta, index, phase, lanes } => {
                    (lanes, clock.part(cta).is_some_and(|p| p.phase(index) >= phase))
                }
            };
            if known {
                left = if whole { 0 } else { left & !hit };
            }
        }
        left == 0
    }
}

/// All operations of a grid, by number.
#[derive(Debug, Default)]
pub(super) struct Asyncs {
    first: u32,
    list: VecDeque<AsyncOp>,
}

impl Asyncs {
    pub(super) fn add(
        &mut self,
        kind: AsyncKind,
        issuer: (u32, u32, u32),
        lanes: u32,
        origin: Origin,
    ) -> AsyncId {
        if self.list.len() >= MOST {
            self.list.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        let id = self.first.wrapping_add(self.list.len() as u32);
        let origin = Some(Box::new(origin));
        self.list.push_back(AsyncOp { kind, issuer, lanes, origin, reads: Vec::new(), all: Vec::new() });
        AsyncId(id)
    }

    /// An operation that is still remembered.
    pub(super) fn get(&self, id: AsyncId) -> Option<&AsyncOp> {
        self.list.get(id.0.wrapping_sub(self.first) as usize)
    }

    /// Notes a join.
    pub(super) fn join(&mut self, id: AsyncId, part: AsyncPart, join: Join) {
        let Some(op) = self.list.get_mut(id.0.wrapping_sub(self.first) as usize) else { return };
        let list = match part {
            AsyncPart::Reads => &mut op.reads,
            AsyncPart::All => &mut op.all,
        };
        list.push(join);
        let joined = op.all.iter().fold(0, |m, j| m | join_lanes(j));
        if part == AsyncPart::All && (op.kind == AsyncKind::Whole || joined & op.lanes == op.lanes) {
            op.origin = None;
        }
    }

    pub(super) fn clear(&mut self) {
        self.first = self.first.wrapping_add(self.list.len() as u32);
        self.list.clear();
    }
}

fn join_lanes(join: &Join) -> u32 {
    match *join {
        Join::Lanes { lanes, .. } | Join::Phase { lanes, .. } => lanes,
    }
}

/// What an operation's issuers knew, all together, what they did included.
pub(super) fn whole_origin(views: impl Iterator<Item = View>) -> Origin {
    let mut all = View::default();
    views.for_each(|v| all.join(&v));
    Origin { groups: vec![LaneGroup { lanes: u32::MAX, view: all }], own: None }
}

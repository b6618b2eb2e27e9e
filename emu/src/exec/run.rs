//! Steps a group of lanes through the instructions.

use std::sync::atomic::Ordering::Relaxed;

use super::async_ops::{AsyncCx, Issuer, Kind, Operation, Pending};
use super::cx::Cx;
use super::group::{Exchange, Group, State, Ticket};
use super::report::{FindingKind, Severity};
use super::warp::Join;
use crate::isa::{Flow, Inst, NO_GUARD, Program};
use crate::shadow::{AsyncId, AsyncPart};

/// Why a group stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It has used up its turn.
    Quantum,
    /// It stands at a join.
    Parked,
    /// It stands at an instruction that could not go on.
    Waiting,
    /// It has no lanes left.
    Ended,
    /// The launch is over.
    Abort,
}

pub(crate) fn is_wgmma(program: &Program, inst: &Inst) -> bool {
    program.sites.get(inst.site as usize).is_some_and(|s| s.text.starts_with("wgmma"))
}

/// Runs the group for at most `budget` instructions, and says how many it was.
pub(crate) fn run_group<const CHECK: bool, const COUNT: bool>(cx: &mut Cx<'_>, budget: u32) -> (Stop, u32) {
    let mut left = budget;
    let stop = loop {
        if let Some(stop) = stretch::<CHECK, COUNT>(cx, &mut left) {
            break stop;
        }
    };
    (stop, budget - left)
}

/// Runs until the group changes.
fn stretch<const CHECK: bool, const COUNT: bool>(cx: &mut Cx<'_>, left: &mut u32) -> Option<Stop> {
    let program = cx.program;
    let code: &[Inst] = &program.functions[cx.frame.function as usize].insts;
    let all = cx.group.mask;
    if all == 0 {
        return Some(Stop::Ended);
    }
    let join = cx.join_pc();
    let mut pc = cx.group.pc;
    loop {
        if pc == join {
            cx.group.pc = pc;
            return Some(Stop::Parked);
        }
        if *left == 0 {
            cx.group.pc = pc;
            return Some(Stop::Quantum);
        }
        *left -= 1;
        let Some(inst) = code.get(pc as usize) else {
            // Every function ends in a return of the decoder's, so this is not reached.
            return Some(Stop::Ended);
        };
        let mask = if inst.guard == NO_GUARD { all } else { cx.guard::<CHECK>(inst, all) };
        if mask == 0 && !inst.flags.always {
            if COUNT && !inst.flags.internal {
                cx.count(|c| c.executed(inst.site, all, 0));
            }
            pc += 1;
            continue;
        }
        if CHECK {
            cx.track(inst, mask);
        }
        cx.group.pc = pc;
        let flow = (inst.run)(cx, inst, mask);
        if COUNT && !inst.flags.internal && !matches!(flow, Flow::Wait | Flow::Again) {
            cx.count(|c| c.executed(inst.site, all, mask));
        }
        match flow {
            Flow::Next => pc += 1,
            Flow::Jump(to) => pc = to,
            Flow::Reload | Flow::Again => return None,
            Flow::Yield => {
                cx.group.pc = pc + 1;
                return Some(Stop::Quantum);
            }
            Flow::Wait => {
                *left += 1;
                return Some(Stop::Waiting);
            }
            Flow::Ended => return Some(Stop::Ended),
            Flow::Abort => return Some(Stop::Abort),
        }
    }
}

impl<'a> Cx<'a> {
    /// Lanes for which a guard holds.
    #[inline]
    fn guard<const CHECK: bool>(&mut self, inst: &Inst, all: u32) -> u32 {
        if CHECK {
            let defined = self.defined(crate::isa::Class::Pred, inst.guard);
            if defined & all != all {
                let reg =
                    crate::isa::Reg { class: crate::isa::Class::Pred, slot: inst.guard, critical: true };
                self.undefined(inst, reg, all & !defined);
            }
        }
        self.pred(inst.guard) & all
    }

    /// The instruction at which the group is to be parked, if it is in the current frame.
    fn join_pc(&self) -> u32 {
        match self.group.joins.last().map(|j| self.warp.joins[*j as usize]) {
            Some(join) if join.frame == self.group.frame => join.pc,
            _ => u32::MAX,
        }
    }

    /// Parts the lanes: each part goes on at its own instruction, and they meet at `join`, an instruction of this
    /// function, or, for [`u32::MAX`], where the function returns to.
    pub fn split(&mut self, inst: &Inst, parts: &[(u32, u32)], join: u32) -> Flow {
        self.count(|c| c.divergent(inst.site));
        let place = if join == u32::MAX { self.frame.caller } else { Some((self.group.frame, join)) };
        if let Some((frame, pc)) = place {
            let top = self.group.joins.last().map(|j| self.warp.joins[*j as usize]);
            if top.is_none_or(|t| (t.frame, t.pc) != (frame, pc)) {
                let join = Join { frame, pc, lanes: self.group.mask, arrived: 0 };
                let index = self.warp.new_join(join);
                self.group.joins.push(index);
            }
        }
        let first = self.cluster.rng.below(parts.len() as u64) as usize;
        for (i, &(mask, pc)) in parts.iter().enumerate() {
            if i == first {
                continue;
            }
            let group =
                Group { mask, pc, state: State::Ready, ticket: Ticket::None, tried: 0, ..self.group.clone() };
            self.warp.groups.push(group);
        }
        (self.group.mask, self.group.pc) = parts[first];
        Flow::Reload
    }

    /// Brings the lanes of `needed` together at this instruction, all in one group: `None` if the group has them all,
    /// else what to answer. For instructions that all lanes must execute at the same place.
    pub fn gather(&mut self, inst: &Inst, needed: u32, mask: u32) -> Option<Flow> {
        if needed & !mask == 0 {
            return None;
        }
        let (pc, frame) = (self.group.pc, self.group.frame);
        let mut changed = false;
        loop {
            let other = self.warp.groups.iter().position(|g| {
                g.pc == pc
                    && g.frame == frame
                    && g.mask & needed != 0
                    && g.ticket == Ticket::None
                    && g.state != State::Parked
            });
            let Some(i) = other else { break };
            let other = self.warp.groups.swap_remove(i);
            self.warp.merge(&mut self.group, other);
            changed = true;
        }
        let _ = inst;
        Some(if changed { Flow::Again } else { Flow::Wait })
    }

    /// Takes into the group what waits at the same instruction for lanes of `wanted`.
    pub fn join_here(&mut self, wanted: u32) -> Option<Flow> {
        let (pc, frame) = (self.group.pc, self.group.frame);
        let mut changed = None;
        let open = |t: &Ticket| match t {
            Ticket::None => true,
            Ticket::Exchange(e) => !e.complete,
            _ => false,
        };
        while let Some(i) = self.warp.groups.iter().position(|g| {
            g.pc == pc
                && g.frame == frame
                && g.mask & wanted != 0
                && open(&g.ticket)
                && g.state != State::Parked
        }) {
            let other = self.warp.groups.swap_remove(i);
            self.warp.merge(&mut self.group, other);
            changed = Some(Flow::Reload);
        }
        changed
    }

    /// Exchanges values between lanes that may stand at different instructions: each lane of `members` that has not
    /// ended must bring a value under the same key. `None` while lanes are missing.
    pub fn exchange(&mut self, key: u64, members: u32, mask: u32, values: &[u64; 32]) -> Option<Exchange> {
        if let Ticket::Exchange(e) = &self.group.ticket
            && e.complete
        {
            let done = (**e).clone();
            self.group.ticket = Ticket::None;
            return Some(done);
        }
        let mut mine = Exchange { key, members, lanes: mask, values: *values, complete: false };
        let needed = members & self.warp.live();
        let same = |g: &Group| matches!(&g.ticket, Ticket::Exchange(e) if e.key == key && e.members == members && !e.complete);
        for group in self.warp.groups.iter().filter(|g| same(g)) {
            if let Ticket::Exchange(e) = &group.ticket {
                super::lanes(e.lanes).for_each(|l| mine.values[l] = e.values[l]);
                mine.lanes |= e.lanes;
            }
        }
        if needed & !mine.lanes != 0 {
            let own = Exchange { lanes: mask, values: *values, ..mine };
            self.group.ticket = Ticket::Exchange(Box::new(own));
            return None;
        }
        mine.complete = true;
        for group in self.warp.groups.iter_mut() {
            if same(group) {
                group.ticket = Ticket::Exchange(Box::new(mine.clone()));
            }
        }
        self.group.ticket = Ticket::None;
        Some(mine)
    }

    /// Ends the lanes of a mask.
    pub fn exit(&mut self, mask: u32) -> Flow {
        self.warp.exit(&mut self.group, mask);
        self.frame.lanes &= !mask;
        if self.warp.live() == 0 {
            let rank = self.warp.cta;
            let cta = &mut self.cluster.ctas[rank];
            cta.live_warps -= 1;
            let expected = cta.live_warps * 32;
            cta.barriers.iter_mut().for_each(|b| b.warp_ended(expected));
            crate::isa::warp_ended(self);
            if expected == 0 {
                self.cta_ended();
            }
        }
        if self.group.mask == 0 {
            return Flow::Ended;
        }
        self.group.pc += 1;
        Flow::Reload
    }

    /// The CTA is over: what it left under way is looked at, and the detector forgets its threads.
    fn cta_ended(&mut self) {
        super::transfer::cta_ended(self);
        if let Some(watched) = self.cluster.ctas[self.warp.cta].watched {
            let mut watch = self.run.watch();
            watch.detector.end_cta(watched);
            if watch.detector.any() {
                self.run.drain(&mut watch);
            }
        }
    }

    /// Puts an operation under way for lanes of the running group.
    pub fn issue(
        &mut self,
        inst: &Inst,
        kind: Kind,
        mask: u32,
        op: std::sync::Arc<dyn Operation>,
        watched: Option<AsyncId>,
        ordered: bool,
    ) {
        let who = Issuer { kind, site: inst.site, rank: self.rank(), warp: self.warp.id, mask };
        let cluster = &mut *self.cluster;
        cluster.pending.issue(who, op, watched, ordered, cluster.clock, &mut cluster.rng);
        // What the seed wants at once happens before the next instruction; a fault in it ends the launch by itself.
        let due = cluster.pending.take_due(cluster.clock);
        perform(self.run, self.program, cluster, due);
    }

    /// Closes a group of asynchronous operations for lanes of the running group.
    pub fn commit(&mut self, kind: Kind, mask: u32) {
        let (rank, warp) = (self.rank(), self.warp.id);
        self.cluster.pending.commit(kind, rank, warp, mask);
    }

    /// Lets all but the latest `allowed` groups of the lanes take effect now.
    pub fn wait_groups(&mut self, kind: Kind, mask: u32, allowed: u64) -> Flow {
        let (rank, warp) = (self.rank(), self.warp.id);
        let done = self.cluster.pending.wait(kind, rank, warp, mask, allowed);
        self.waited(done)
    }

    /// Lets all operations of a kind that the lanes issued take effect now.
    pub fn wait_all(&mut self, kind: Kind, mask: u32) -> Flow {
        let (rank, warp) = (self.rank(), self.warp.id);
        let done = self.cluster.pending.wait_all(kind, rank, warp, mask);
        self.waited(done)
    }

    fn waited(&mut self, done: Vec<Pending>) -> Flow {
        let part = |p: &Pending| if p.kind == Kind::BulkRead { AsyncPart::Reads } else { AsyncPart::All };
        let joined: Vec<(AsyncId, u32, AsyncPart)> =
            done.iter().filter_map(|p| Some((p.watched?, p.mask, part(p)))).collect();
        if !perform(self.run, self.program, self.cluster, done) {
            return Flow::Abort;
        }
        for (id, lanes, part) in joined {
            self.tell(lanes, |detector, who| detector.join_lanes(id, part, who));
        }
        Flow::Next
    }

    /// Brings all lanes of the warp together where all 32 must take part; says so where lanes have ended.
    pub fn whole_warp(&mut self, inst: &Inst, mask: u32) -> Option<Flow> {
        let live = self.warp.live();
        let flow = self.gather(inst, live, mask);
        if flow.is_none() && live != u32::MAX {
            self.missing(inst, !live, mask);
        }
        flow
    }

    /// Says once that lanes are missing where all must take part.
    pub fn missing(&mut self, inst: &Inst, lanes: u32, mask: u32) {
        let lane = mask.trailing_zeros() as usize % 32;
        let message =
            format!("lanes {lanes:#010x} of the warp have ended, and all lanes must execute this together");
        self.report(inst.site, FindingKind::MissingLanes, Severity::Error, lane, message);
    }
}

/// Lets operations take effect; `false` if the launch is over.
pub(crate) fn perform(
    run: &super::Run<'_>,
    program: &Program,
    cluster: &mut super::Cluster,
    list: Vec<Pending>,
) -> bool {
    for pending in list.into_iter().filter(|p| p.todo != 0) {
        let mut cx = AsyncCx {
            run,
            program,
            ctas: &mut cluster.ctas,
            extra: &mut cluster.extra,
            rng: &mut cluster.rng,
            site: pending.site,
            rank: pending.rank,
            warp: pending.warp,
        };
        if !pending.op.perform(&mut cx, pending.todo) {
            run.stop.store(true, Relaxed);
            return false;
        }
    }
    true
}

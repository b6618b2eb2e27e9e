//! A warp: its lanes in groups, each with a program counter of its own, and the frames of the functions they are in.
//!
//! Lanes that part at a branch meet again at its immediate post-dominator: a [`Join`] says which lanes are expected
//! there, and a group that arrives is parked until they are all there, or left, or the others have run for so long
//! that they may be waiting for it (ptx.md 2.1).

use super::group::{Group, State};

/// Registers and local memory of an activation of a function.
#[derive(Debug, Default)]
pub struct Frame {
    /// Index into [`crate::isa::Program::functions`].
    pub function: u32,
    /// 32-bit registers.
    pub words: Vec<[u32; 32]>,
    /// 64-bit registers.
    pub longs: Vec<[u64; 32]>,
    /// Predicates.
    pub preds: Vec<u32>,
    /// Which lanes of each register hold a value.
    pub defined: Defined,
    /// Registers that a wgmma has in flight; critical ones are accumulators.
    pub busy: Vec<crate::isa::Reg>,
    /// Steps of the checks, by which writes of registers and wgmma fences are ordered.
    pub tick: u32,
    /// The step of the latest `wgmma.fence`; 0 before the first.
    pub fenced: u32,
    /// The step of the latest write of each 32-bit register after the first fence.
    pub written: Vec<u32>,
    /// Lanes that have not returned.
    pub lanes: u32,
    /// The caller's frame and where it goes on; `None` for the kernel.
    pub caller: Option<(u32, u32)>,
    /// First byte of its local memory.
    pub local_base: u32,
    /// Where the caller wants what is returned.
    pub results: Vec<crate::isa::Carrier>,
}

/// Definedness by lanes.
#[derive(Debug, Default)]
pub struct Defined {
    /// Of the 32-bit registers.
    pub words: Vec<u32>,
    /// Of the 64-bit registers.
    pub longs: Vec<u32>,
    /// Of the predicates.
    pub preds: Vec<u32>,
}

impl Frame {
    /// Makes it a fresh activation of a function.
    pub fn reset(&mut self, function: u32, code: &crate::isa::Code, lanes: u32) {
        self.function = function;
        fill(&mut self.words, code.words, [0; 32]);
        fill(&mut self.longs, code.longs, [0; 32]);
        fill(&mut self.preds, code.preds, 0);
        fill(&mut self.defined.words, code.words, 0);
        fill(&mut self.defined.longs, code.longs, 0);
        fill(&mut self.defined.preds, code.preds, 0);
        self.busy.clear();
        (self.tick, self.fenced) = (0, 0);
        self.written.clear();
        self.results.clear();
        self.lanes = lanes;
        self.caller = None;
        self.local_base = 0;
    }
}

fn fill<T: Clone>(list: &mut Vec<T>, len: usize, value: T) {
    list.clear();
    list.resize(len, value);
}

/// A place where lanes that parted meet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Join {
    /// Frame that the place is in.
    pub frame: u32,
    /// The instruction.
    pub pc: u32,
    /// Lanes expected.
    pub lanes: u32,
    /// Lanes there.
    pub arrived: u32,
}

/// A warp.
#[derive(Debug, Default)]
pub struct Warp {
    /// Rank of its CTA in the cluster.
    pub cta: usize,
    /// Its number in the CTA.
    pub id: u32,
    /// Lanes that exist.
    pub present: u32,
    /// Lanes that ended.
    pub exited: u32,
    /// Groups that are not running at the moment.
    pub groups: Vec<Group>,
    /// Frames by number.
    pub frames: Vec<Frame>,
    free_frames: Vec<u32>,
    /// Joins by number.
    pub joins: Vec<Join>,
    free_joins: Vec<u32>,
    /// Carry flag by lane.
    pub carry: u32,
    /// Local memory by lane.
    pub local: Vec<Vec<u32>>,
    /// Top of local memory by lane.
    pub local_top: Vec<u32>,
    /// Written bits of local memory by lane, one a byte; only kept where definedness is checked.
    pub local_defined: Vec<crate::shadow::Defined>,
    /// Scratch room for what lanes load and store.
    pub rows: Vec<[u32; 32]>,
    /// Of an access with checks: which of its bytes hold a value, a bit a byte, for lanes of which not all do.
    pub byte_definedness: [u32; 32],
    /// Instructions executed.
    pub clock: u64,
    /// Turns it had.
    pub turns: u64,
}

impl Warp {
    /// Makes it a warp at the beginning of a kernel.
    pub fn reset(&mut self, cta: usize, id: u32, present: u32, code: &crate::isa::Code) {
        self.cta = cta;
        self.id = id;
        self.present = present;
        self.exited = 0;
        self.groups.clear();
        self.joins.clear();
        self.free_joins.clear();
        self.free_frames = (1..self.frames.len() as u32).collect();
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        self.frames[0].reset(0, code, present);
        self.frames[0].local_base = super::space::LOCAL_FIRST;
        self.carry = 0;
        self.local.resize_with(32, Vec::new);
        self.local.iter_mut().for_each(Vec::clear);
        self.local_defined.resize_with(32, Default::default);
        self.local_defined.iter_mut().for_each(|d| d.reset(0));
        self.local_top.clear();
        self.local_top.resize(32, super::space::LOCAL_FIRST + code.local_bytes);
        self.clock = 0;
        self.turns = 0;
        self.groups.push(Group { mask: present, ..Group::default() });
    }

    /// Lanes that have not ended.
    pub fn live(&self) -> u32 {
        self.present & !self.exited
    }

    /// A frame's number that is free.
    pub fn new_frame(&mut self) -> u32 {
        self.free_frames.pop().unwrap_or_else(|| {
            self.frames.push(Frame::default());
            self.frames.len() as u32 - 1
        })
    }

    /// Gives a frame back.
    pub fn free_frame(&mut self, frame: u32) {
        self.free_frames.push(frame);
    }

    /// A new join.
    pub fn new_join(&mut self, join: Join) -> u32 {
        match self.free_joins.pop() {
            Some(i) => {
                self.joins[i as usize] = join;
                i
            }
            None => {
                self.joins.push(join);
                self.joins.len() as u32 - 1
            }
        }
    }

    /// Takes lanes out of a join, and lets the others go on if they were waiting only for those.
    pub fn leave_join(&mut self, index: u32, lanes: u32) {
        let join = &mut self.joins[index as usize];
        join.lanes &= !lanes;
        join.arrived &= !lanes;
        self.settle(index);
    }

    /// Lets a join's lanes go on together if they are all there.
    pub fn settle(&mut self, index: u32) {
        let join = self.joins[index as usize];
        if join.lanes == 0 {
            if !self.free_joins.contains(&index) {
                self.free_joins.push(index);
            }
            return;
        }
        if join.arrived != join.lanes {
            return;
        }
        let parked = |g: &Group| g.state == State::Parked && g.joins.last() == Some(&index);
        let Some(first) = self.groups.iter().position(parked) else { return };
        let mut merged = self.groups.swap_remove(first);
        while let Some(i) = self.groups.iter().position(parked) {
            merged.mask |= self.groups.swap_remove(i).mask;
        }
        merged.joins.pop();
        merged.state = State::Ready;
        merged.tried = 0;
        self.joins[index as usize].lanes = 0;
        self.free_joins.push(index);
        self.groups.push(merged);
    }

    /// Lets parked groups go on without the lanes that they wait for.
    pub fn release(&mut self, which: impl Fn(&Group) -> bool) -> bool {
        let mut any = false;
        while let Some(i) = self.groups.iter().position(|g| g.state == State::Parked && which(g)) {
            let mut group = self.groups.swap_remove(i);
            group.state = State::Ready;
            let join = group.joins.pop();
            let mask = group.mask;
            self.groups.push(group);
            if let Some(join) = join {
                self.leave_join(join, mask);
            }
            any = true;
        }
        any
    }

    /// Ends lanes, and lets go on who waited for them.
    pub fn exit(&mut self, group: &mut Group, lanes: u32) {
        self.exited |= lanes;
        group.mask &= !lanes;
        for join in group.joins.clone() {
            self.leave_join(join, lanes);
        }
    }

    /// Merges another group, which stands at the same instruction of the same frame, into this one.
    pub fn merge(&mut self, into: &mut Group, other: Group) {
        let common = into.joins.iter().zip(&other.joins).take_while(|(a, b)| a == b).count();
        for join in into.joins.split_off(common) {
            self.leave_join(join, into.mask);
        }
        for join in &other.joins[common..] {
            self.leave_join(*join, other.mask);
        }
        into.mask |= other.mask;
    }
}

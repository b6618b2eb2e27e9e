//! The compact form of an instruction: what the machine steps through.

use crate::exec::Cx;

/// Where an operand lies: an index into the registers of its class, or, with [`CONST`] set, into the constants of the
/// program. The class (predicate, 32-bit, 64-bit) is known by the handler. 16- and 8-bit registers take a 32-bit slot;
/// a 128-bit register takes two 64-bit slots in a row.
pub type Slot = u32;

/// Marks a slot as a constant of the program.
pub const CONST: Slot = 1 << 31;
/// Marks a predicate slot as negated.
pub const NEGATED: Slot = 1 << 30;
/// "No guard."
pub const NO_GUARD: Slot = u32::MAX;

/// The constant predicate `true`; `false` is its negation.
pub const PRED_TRUE: Slot = CONST;
/// The constant predicate `false`.
pub const PRED_FALSE: Slot = CONST | NEGATED;

/// The register class of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// One bit a lane.
    Pred,
    /// Up to 32 bits a lane.
    Word,
    /// 64 bits a lane.
    Long,
}

/// A register with its class, for the lists of what an instruction reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reg {
    /// Its class.
    pub class: Class,
    /// Its index, without marks.
    pub slot: Slot,
    /// An undefined value here is a mistake in itself: an address, a guard, a barrier's operand.
    pub critical: bool,
}

/// What a handler says about the way on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// To the next instruction.
    Next,
    /// To that instruction of the same function, with the same lanes.
    Jump(u32),
    /// The group of lanes changed (split, merged, called, returned): its program counter stands in the group.
    Reload,
    /// As [`Flow::Reload`], but the instruction itself was not executed yet.
    Again,
    /// Nothing happened; try the same instruction again later.
    Wait,
    /// Done, but let others run first.
    Yield,
    /// No lane of the group is left.
    Ended,
    /// The launch is over: [`Cx`] has said why.
    Abort,
}

/// Executes an instruction for the lanes of a mask.
pub type Handler = for<'a> fn(&mut Cx<'a>, &'a Inst, u32) -> Flow;

/// One step of a decoded function.
#[derive(Clone, Copy)]
pub struct Inst {
    /// What executes it.
    pub run: Handler,
    /// Predicate slot of the guard (may be [`NEGATED`]), or [`NO_GUARD`].
    pub guard: Slot,
    /// Index into [`super::Program::sites`].
    pub site: u32,
    /// Destination.
    pub d: Slot,
    /// Second destination or fourth source.
    pub e: Slot,
    /// First source.
    pub a: Slot,
    /// Second source.
    pub b: Slot,
    /// Third source.
    pub c: Slot,
    /// Immediate: an address offset, a table, …
    pub imm: u64,
    /// Small facts packed by the family.
    pub x: u32,
    /// Operands that do not fit above: range in [`super::Program::lists`].
    pub list: (u32, u32),
    /// Registers read: range in [`super::Program::regs`].
    pub uses: (u32, u32),
    /// Registers written: range in [`super::Program::regs`].
    pub defs: (u32, u32),
    /// What else there is to know.
    pub flags: Flags,
}

/// Facts that the machine's loop needs about an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// A helper step of the instruction whose last step is elsewhere: not counted.
    pub internal: bool,
    /// The handler sets the definedness of what it writes (loads, shuffles, selects).
    pub own_definedness: bool,
    /// Runs even when the guard is false for every lane.
    pub always: bool,
    /// A branch whose targets are resolved at the end of decoding.
    pub branch: bool,
}

impl Inst {
    /// An instruction with nothing in it but its handler.
    pub fn new(run: Handler) -> Self {
        Inst {
            run,
            guard: NO_GUARD,
            site: 0,
            d: 0,
            e: 0,
            a: 0,
            b: 0,
            c: 0,
            imm: 0,
            x: 0,
            list: (0, 0),
            uses: (0, 0),
            defs: (0, 0),
            flags: Flags::default(),
        }
    }
}

impl std::fmt::Debug for Inst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inst")
            .field("site", &self.site)
            .field("d", &self.d)
            .field("a", &self.a)
            .finish_non_exhaustive()
    }
}

//! What a handler sees: the running group's registers, and everything around it.

use super::group::Group;
use super::report::{Finding, FindingKind, Severity, SourcePlace, ThreadId};
use super::state::{Cluster, Cta, Run, split_index};
use super::warp::{Frame, Warp};
use crate::isa::{CONST, Class, Flow, Inst, NEGATED, Program, Reg, Slot};

/// The running group and its surroundings.
pub struct Cx<'a> {
    /// The launch.
    pub run: &'a Run<'a>,
    /// The kernel.
    pub program: &'a Program,
    /// The cluster; the running warp is taken out of it.
    pub cluster: &'a mut Cluster,
    /// The running warp.
    pub warp: &'a mut Warp,
    /// The running group's frame, taken out of the warp.
    pub frame: Frame,
    /// The running group, taken out of the warp.
    pub group: Group,
}

/// Lanes of a mask in order.
pub fn lanes(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if mask == 0 {
            return None;
        }
        let lane = mask.trailing_zeros();
        mask &= mask - 1;
        Some(lane as usize)
    })
}

#[inline]
fn blend<T: Copy>(into: &mut [T; 32], from: &[T; 32], mask: u32) {
    if mask == u32::MAX {
        *into = *from;
    } else {
        for lane in 0..32 {
            into[lane] = if mask >> lane & 1 == 1 { from[lane] } else { into[lane] };
        }
    }
}

impl<'a> Cx<'a> {
    /// A 32-bit operand.
    #[inline]
    pub fn word(&self, slot: Slot) -> [u32; 32] {
        if slot & CONST != 0 {
            self.program.words[(slot & !CONST) as usize]
        } else {
            self.frame.words[slot as usize]
        }
    }

    /// A 64-bit operand.
    #[inline]
    pub fn long(&self, slot: Slot) -> [u64; 32] {
        if slot & CONST != 0 {
            self.program.longs[(slot & !CONST) as usize]
        } else {
            self.frame.longs[slot as usize]
        }
    }

    /// A predicate operand, by lane.
    #[inline]
    pub fn pred(&self, slot: Slot) -> u32 {
        let negated = if slot & NEGATED != 0 { u32::MAX } else { 0 };
        let value = if slot & CONST != 0 { u32::MAX } else { self.frame.preds[(slot & !NEGATED) as usize] };
        value ^ negated
    }

    /// Writes a 32-bit register.
    #[inline]
    pub fn set_word(&mut self, slot: Slot, value: &[u32; 32], mask: u32) {
        blend(&mut self.frame.words[slot as usize], value, mask);
    }

    /// Writes a 64-bit register.
    #[inline]
    pub fn set_long(&mut self, slot: Slot, value: &[u64; 32], mask: u32) {
        blend(&mut self.frame.longs[slot as usize], value, mask);
    }

    /// Writes a predicate.
    #[inline]
    pub fn set_pred(&mut self, slot: Slot, value: u32, mask: u32) {
        let p = &mut self.frame.preds[slot as usize];
        *p = (*p & !mask) | (value & mask);
    }

    /// Lanes in which a register holds a value; all for a constant.
    pub fn defined(&self, class: Class, slot: Slot) -> u32 {
        if slot & CONST != 0 {
            return u32::MAX;
        }
        let i = (slot & !NEGATED) as usize;
        let defined = &self.frame.defined;
        match class {
            Class::Pred => defined.preds[i],
            Class::Word => defined.words[i],
            Class::Long => defined.longs[i],
        }
    }

    /// Says in which lanes of a mask a register now holds a value.
    pub fn set_defined(&mut self, class: Class, slot: Slot, value: u32, mask: u32) {
        let i = (slot & !NEGATED) as usize;
        let defined = &mut self.frame.defined;
        let d = match class {
            Class::Pred => &mut defined.preds[i],
            Class::Word => &mut defined.words[i],
            Class::Long => &mut defined.longs[i],
        };
        *d = (*d & !mask) | (value & mask);
    }

    /// Whether values that nobody wrote are looked for.
    #[inline]
    pub fn checks_definedness(&self) -> bool {
        self.run.checks.definedness
    }

    /// The own CTA.
    #[inline]
    pub fn cta(&mut self) -> &mut Cta {
        &mut self.cluster.ctas[self.warp.cta]
    }

    /// Rank of the own CTA in its cluster.
    pub fn rank(&self) -> u32 {
        self.warp.cta as u32
    }

    /// The own CTA's shared address 0, as seen from the cluster.
    pub fn shared_base(&self) -> u32 {
        (self.warp.cta as u32) << super::space::SHARED_BITS
    }

    /// Threads that barriers of the own CTA wait for where no count is given.
    pub fn expected_threads(&self) -> u32 {
        self.cluster.ctas[self.warp.cta].live_warps * 32
    }

    /// The thread of a lane.
    pub fn thread(&self, lane: usize) -> ThreadId {
        thread_of(self.run, &self.cluster.ctas[self.warp.cta], self.warp.id, lane)
    }

    /// Number of a lane's thread in its cluster.
    pub fn thread_index(&self, lane: usize) -> u32 {
        self.rank() * self.run.threads() + self.warp.id * 32 + lane as u32
    }

    /// Where an instruction stands.
    pub fn place(&self, site: u32) -> SourcePlace {
        place_of(self.program, site)
    }

    /// Records a mistake.
    pub fn report(&mut self, site: u32, kind: FindingKind, severity: Severity, lane: usize, message: String) {
        self.report_at(site, kind, severity, lane, message, None, None);
    }

    /// Records a mistake at an address.
    #[allow(clippy::too_many_arguments)]
    pub fn report_at(
        &mut self,
        site: u32,
        kind: FindingKind,
        severity: Severity,
        lane: usize,
        message: String,
        address: Option<u64>,
        buffer: Option<String>,
    ) {
        self.run.add(Finding {
            kind,
            severity,
            message,
            place: self.place(site),
            other: None,
            thread: Some(self.thread(lane)),
            address,
            buffer,
            count: 1,
        });
    }

    /// Records a mistake after which nothing can go on.
    pub fn abort(&mut self, inst: &Inst, kind: FindingKind, lane: usize, message: String) -> Flow {
        self.report(inst.site, kind, Severity::Error, lane, message);
        self.run.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        Flow::Abort
    }

    /// Before an instruction, where definedness is checked: reports registers that hold nothing, and hands definedness
    /// on from what is read to what is written.
    pub fn track(&mut self, inst: &Inst, mask: u32) {
        let program = self.program;
        let mut defined = u32::MAX;
        for reg in program.reg_list(inst.uses) {
            let d = self.defined(reg.class, reg.slot);
            if reg.critical && d & mask != mask {
                self.undefined(inst, *reg, mask & !d);
            }
            defined &= d;
        }
        if !self.frame.busy.is_empty() {
            self.in_flight(inst, mask);
        }
        if self.frame.fenced != 0 {
            self.note_writes(inst);
        }
        if !inst.flags.own_definedness {
            for reg in program.reg_list(inst.defs) {
                self.set_defined(reg.class, reg.slot, defined, mask);
            }
        }
    }

    /// Reports lanes of a register that hold nothing, and takes them as defined from here on: one report is enough.
    #[cold]
    pub fn undefined(&mut self, inst: &Inst, reg: Reg, lanes: u32) {
        let name = self.register_name(reg);
        let lane = lanes.trailing_zeros() as usize % 32;
        let message = format!("`{name}` holds a value that nobody wrote");
        self.report(inst.site, FindingKind::Uninitialised, Severity::Error, lane, message);
        if reg.slot & CONST == 0 {
            self.set_defined(reg.class, reg.slot, u32::MAX, lanes);
        }
    }

    /// A register's name in the text.
    pub fn register_name(&self, reg: Reg) -> String {
        let names = &self.program.functions[self.frame.function as usize].names;
        let found = names.iter().find(|(r, _)| r.class == reg.class && r.slot == reg.slot & !NEGATED);
        found.map_or_else(|| "a value".to_owned(), |(_, name)| name.clone())
    }

    #[cold]
    fn in_flight(&mut self, inst: &Inst, mask: u32) {
        let program = self.program;
        let touched = program.reg_list(inst.uses).iter().chain(program.reg_list(inst.defs));
        let same = |r: &Reg| self.frame.busy.iter().copied().find(|b| b.class == r.class && b.slot == r.slot);
        if let Some(reg) = touched.copied().find_map(|r| same(&r))
            && !super::run::is_wgmma(program, inst)
        {
            let name = self.register_name(reg);
            let lane = mask.trailing_zeros() as usize % 32;
            let severity = if reg.critical { Severity::Error } else { Severity::Warning };
            let message = format!("`{name}` belongs to a wgmma that has not been waited for");
            self.report(inst.site, FindingKind::RegisterInFlight, severity, lane, message);
        }
    }

    /// Keeps when registers were written: a wgmma may only use what was written before its fence.
    fn note_writes(&mut self, inst: &Inst) {
        let program = self.program;
        let frame = &mut self.frame;
        frame.tick += 1;
        if frame.written.len() < frame.words.len() {
            frame.written.resize(frame.words.len(), 0);
        }
        if !super::run::is_wgmma(program, inst) {
            let words = program.reg_list(inst.defs).iter().filter(|r| r.class == Class::Word);
            words.for_each(|r| frame.written[r.slot as usize] = frame.tick);
        }
    }
}

/// The thread of a lane.
pub(crate) fn thread_of(run: &Run<'_>, cta: &Cta, warp: u32, lane: usize) -> ThreadId {
    ThreadId { cta: cta.id, thread: split_index(warp * 32 + lane as u32, run.block) }
}

/// Where an instruction stands.
pub(crate) fn place_of(program: &Program, site: u32) -> SourcePlace {
    match program.sites.get(site as usize) {
        Some(s) => SourcePlace {
            function: program.functions.get(s.function as usize).map_or_else(String::new, |f| f.name.clone()),
            line: s.line,
            source: s.loc.clone(),
            instruction: s.text.clone(),
        },
        None => SourcePlace { function: String::new(), line: 0, source: None, instruction: String::new() },
    }
}

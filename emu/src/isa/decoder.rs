//! What a family's decode function works with: the words and operands of one instruction, and where steps go.

use std::any::Any;
use std::collections::HashMap;

use super::form::Form;
use super::inst::{CONST, Class, Flags, Handler, Inst, NEGATED, NO_GUARD, PRED_FALSE, PRED_TRUE, Reg, Slot};
use super::layout::{Layout, Place};
use super::program::{Code, Program};
use super::{mov, sreg};
use crate::ptx::{self, AddressBase, Function, FunctionId, Module, Operand, RegId, Space, SymbolId, Type};

/// What is wrong with an instruction, without its line.
pub type Refusal = String;

/// Where an address starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// A 64-bit register.
    Long,
    /// A 32-bit register, zero-extended.
    Word,
    /// Nothing.
    Absolute,
    /// The activation's local frame.
    Frame,
    /// The own CTA's shared window.
    Cta,
}

/// A decoded address.
#[derive(Debug, Clone, Copy)]
pub struct Address {
    /// Where it starts.
    pub base: Base,
    /// The register, where it starts at one.
    pub slot: Slot,
    /// Bytes added.
    pub offset: u64,
    /// The state space of a variable named in it.
    pub named: Option<Place>,
}

/// Constants shared by all functions of a program.
#[derive(Default)]
pub(crate) struct Pools {
    words: HashMap<u32, Slot>,
    longs: HashMap<u64, Slot>,
}

/// Registers of a function: where each went, and how many there are.
#[derive(Default)]
pub(crate) struct Registers {
    slots: Vec<Slot>,
    pub(crate) preds: u32,
    pub(crate) words: u32,
    pub(crate) longs: u32,
}

impl Registers {
    pub(crate) fn of(function: &Function) -> Self {
        let mut r = Registers::default();
        for register in &function.registers {
            let slot = match register.ty.bits() {
                1 => bump(&mut r.preds, 1),
                64 => bump(&mut r.longs, 1),
                128 => bump(&mut r.longs, 2),
                _ => bump(&mut r.words, 1),
            };
            r.slots.push(slot);
        }
        r
    }

    pub(crate) fn slot(&self, register: RegId) -> Option<Slot> {
        self.slots.get(register.0 as usize).copied()
    }

    pub(crate) fn temp(&mut self, class: Class) -> Slot {
        match class {
            Class::Pred => bump(&mut self.preds, 1),
            Class::Word => bump(&mut self.words, 1),
            Class::Long => bump(&mut self.longs, 1),
        }
    }
}

fn bump(counter: &mut u32, by: u32) -> Slot {
    let old = *counter;
    *counter += by;
    old
}

/// The class of values of a type.
pub(crate) fn class_of(ty: Type) -> Class {
    match ty.bits() {
        1 => Class::Pred,
        64 | 128 => Class::Long,
        _ => Class::Word,
    }
}

/// Decodes one instruction.
pub struct Dec<'a> {
    pub(crate) module: &'a Module,
    pub(crate) function: &'a Function,
    pub(crate) id: FunctionId,
    pub(crate) layout: &'a Layout,
    pub(crate) inst: &'a ptx::Instruction,
    pub(crate) form: &'static Form,
    pub(crate) program: &'a mut Program,
    pub(crate) code: &'a mut Code,
    pub(crate) regs: &'a mut Registers,
    pub(crate) pools: &'a mut Pools,
    pub(crate) site: u32,
    pub(crate) uses: Vec<Reg>,
    pub(crate) defs: Vec<Reg>,
}

impl<'a> Dec<'a> {
    // Words.

    /// Whether the instruction has a modifier.
    pub fn has(&self, word: &str) -> bool {
        self.inst.modifiers.iter().any(|m| m == word)
    }

    /// The first of these modifiers that the instruction has, as its position in the list.
    pub fn which(&self, words: &[&str]) -> Option<usize> {
        words.iter().position(|w| self.has(w))
    }

    /// The modifier among the words that begin so.
    pub fn with_prefix(&self, prefix: &str) -> Option<&'a str> {
        self.inst.modifiers.iter().find(|m| m.starts_with(prefix)).map(String::as_str)
    }

    /// The types among the modifiers, in order.
    pub fn types(&self) -> Vec<Type> {
        self.inst.modifiers.iter().filter_map(|m| type_word(m)).collect()
    }

    /// The last type among the modifiers.
    pub fn ty(&self) -> Result<Type, Refusal> {
        self.types().last().copied().ok_or_else(|| "no type among the modifiers".to_owned())
    }

    /// The opcode.
    pub fn opcode(&self) -> &'a str {
        &self.inst.opcode
    }

    /// Whether the module's target has at least that number.
    pub fn target_at_least(&self, number: u32) -> bool {
        self.program.target.is_some_and(|t| t.number >= number)
    }

    /// The form that matched.
    pub fn form(&self) -> &'static Form {
        self.form
    }

    // Operands.

    /// How many operands there are.
    pub fn count(&self) -> usize {
        self.inst.operands.len()
    }

    /// The operand itself.
    pub fn operand(&self, i: usize) -> Result<&'a Operand, Refusal> {
        self.inst.operands.get(i).ok_or_else(|| format!("operand {} is missing", i + 1))
    }

    /// Refuses unless the number of operands lies in a range.
    pub fn expect(&self, min: usize, max: usize) -> Result<(), Refusal> {
        let n = self.count();
        if n < min || n > max {
            let wanted = if min == max { min.to_string() } else { format!("{min} to {max}") };
            return Err(format!("{n} operands where the form has {wanted}"));
        }
        Ok(())
    }

    fn register(&self, id: RegId) -> Result<(Type, Slot, &'a str), Refusal> {
        let register = self.function.registers.get(id.0 as usize).ok_or("a register that is not declared")?;
        let slot = self.regs.slots.get(id.0 as usize).copied().ok_or("a register that is not declared")?;
        Ok((register.ty, slot, &register.name))
    }

    /// Declared width of a register operand.
    pub fn register_bits(&self, op: &Operand) -> Option<u32> {
        match op {
            Operand::Register(r) | Operand::Not(r) => self.register(*r).ok().map(|(t, _, _)| t.bits()),
            _ => None,
        }
    }

    /// A source of exactly that type's width.
    pub fn src(&mut self, i: usize, ty: Type) -> Result<Slot, Refusal> {
        let op = self.operand(i)?;
        self.source(op, ty, false)
    }

    /// A source that may be wider than the type (ld, st, cvt): its low bits count.
    pub fn src_wide(&mut self, i: usize, ty: Type) -> Result<Slot, Refusal> {
        let op = self.operand(i)?;
        self.source(op, ty, true)
    }

    /// A source whose undefined lanes are a mistake in themselves.
    pub fn critical(&mut self, i: usize, ty: Type) -> Result<Slot, Refusal> {
        let from = self.uses.len();
        let slot = self.src(i, ty)?;
        self.uses[from..].iter_mut().for_each(|r| r.critical = true);
        Ok(slot)
    }

    /// Any operand as a source.
    pub fn source(&mut self, op: &'a Operand, ty: Type, wide: bool) -> Result<Slot, Refusal> {
        match op {
            Operand::Register(id) => self.source_register(*id, ty, wide),
            Operand::Not(id) => {
                let (declared, slot, name) = self.register(*id)?;
                if declared != Type::Pred || ty != Type::Pred {
                    return Err(format!("`!{name}`: only a predicate can be negated here"));
                }
                self.note_use(Class::Pred, slot);
                Ok(slot | NEGATED)
            }
            Operand::Integer(v) => Ok(self.constant(ty, *v)),
            Operand::F32(bits) if ty == Type::F(64) => {
                Ok(self.long_constant(f64::from(f32::from_bits(*bits)).to_bits()))
            }
            Operand::F32(bits) => Ok(self.constant(ty, u64::from(*bits))),
            Operand::F64(bits) if ty.bits() == 64 => Ok(self.long_constant(*bits)),
            // A decimal float of a narrower instruction is rounded to its type.
            Operand::F64(bits) if ty.bits() == 32 => {
                Ok(self.word_constant((f64::from_bits(*bits) as f32).to_bits()))
            }
            Operand::Special(name) => sreg::as_operand(self, name, ty),
            Operand::Symbol(symbol, offset) => {
                let place = self.place(*symbol)?;
                mov::symbol_operand(self, place, *offset, ty)
            }
            Operand::Function(id) => Ok(self.constant(ty, Layout::function_handle(*id))),
            Operand::Sink => Err("`_` cannot be read".to_owned()),
            other => Err(format!("{} where a value is read", describe(other))),
        }
    }

    fn source_register(&mut self, id: RegId, ty: Type, wide: bool) -> Result<Slot, Refusal> {
        let (declared, slot, name) = self.register(id)?;
        let (have, want) = (declared.bits(), ty.bits());
        let class = class_of(declared);
        let fits = have == want || (wide && have > want);
        if !fits {
            return Err(format!("`{name}` has {have} bits, the instruction reads {want}"));
        }
        self.note_use(class, slot);
        if have == 128 {
            self.note_use(class, slot + 1);
        }
        if class == Class::Long && class_of(ty) == Class::Word {
            let d = self.regs.temp(Class::Word);
            let mut step = Inst::new(mov::narrow);
            (step.d, step.a) = (d, slot);
            self.emit_internal(step, &[(Class::Long, slot)], &[(Class::Word, d)]);
            self.uses.pop();
            self.note_use(Class::Word, d);
            return Ok(d);
        }
        Ok(slot)
    }

    /// A destination of exactly that type's width; `_` goes to a slot that nobody reads.
    pub fn dst(&mut self, i: usize, ty: Type) -> Result<Slot, Refusal> {
        let op = self.operand(i)?;
        self.destination(op, ty)
    }

    /// Any operand as a destination.
    pub fn destination(&mut self, op: &Operand, ty: Type) -> Result<Slot, Refusal> {
        match op {
            Operand::Register(id) => {
                let (declared, slot, name) = self.register(*id)?;
                if declared.bits() != ty.bits() {
                    return Err(format!(
                        "`{name}` has {} bits, the instruction writes {}",
                        declared.bits(),
                        ty.bits()
                    ));
                }
                self.note_def(class_of(declared), slot);
                if declared.bits() == 128 {
                    self.note_def(Class::Long, slot + 1);
                }
                Ok(slot)
            }
            Operand::Sink => {
                let class = class_of(ty);
                let slot = self.regs.temp(class);
                if ty.bits() == 128 {
                    self.regs.temp(class);
                }
                Ok(slot)
            }
            other => Err(format!("{} where a register is written", describe(other))),
        }
    }

    /// A destination that may be wider than the value: gives the slot and the register's width.
    pub fn dst_wide(&mut self, op: &Operand, ty: Type) -> Result<(Slot, u32), Refusal> {
        let bits = self.register_bits(op).unwrap_or(ty.bits());
        if bits < ty.bits() {
            return Err(format!("the register has {bits} bits, the instruction writes {}", ty.bits()));
        }
        let slot = self.destination(op, Type::B(bits as u8))?;
        Ok((slot, bits))
    }

    /// An integer constant.
    pub fn immediate(&self, i: usize) -> Result<u64, Refusal> {
        match self.operand(i)? {
            Operand::Integer(v) => Ok(*v),
            other => Err(format!("operand {} must be a constant, not {}", i + 1, describe(other))),
        }
    }

    /// The elements of a vector operand; a lone operand is a vector of one.
    pub fn elements(&self, i: usize) -> Result<&'a [Operand], Refusal> {
        Ok(match self.operand(i)? {
            Operand::Vector(v) => v,
            op => std::slice::from_ref(op),
        })
    }

    /// Sources in braces.
    pub fn src_vector(&mut self, i: usize, ty: Type) -> Result<Vec<Slot>, Refusal> {
        self.elements(i)?.iter().map(|op| self.source(op, ty, false)).collect()
    }

    /// Destinations in braces.
    pub fn dst_vector(&mut self, i: usize, ty: Type) -> Result<Vec<Slot>, Refusal> {
        self.elements(i)?.iter().map(|op| self.destination(op, ty)).collect()
    }

    /// Where a variable lies.
    pub fn place(&self, symbol: SymbolId) -> Result<Place, Refusal> {
        self.layout
            .place(symbol, self.id)
            .ok_or_else(|| format!("`{}` has no place in memory here", self.variable_name(symbol)))
    }

    fn variable_name(&self, symbol: SymbolId) -> &str {
        self.module.variables.get(symbol.0 as usize).map_or("?", |v| v.name.as_str())
    }

    /// An operand in brackets. Its register must be defined in every lane that uses it.
    pub fn address(&mut self, i: usize) -> Result<Address, Refusal> {
        let op = self.operand(i)?;
        self.address_of(op)
    }

    /// Any operand as an address.
    pub fn address_of(&mut self, op: &Operand) -> Result<Address, Refusal> {
        let Operand::Address(base, offset) = op else {
            return Err(format!("{} where an address is needed", describe(op)));
        };
        let offset = *offset as u64;
        match base {
            AddressBase::Register(id) => {
                let (declared, slot, name) = self.register(*id)?;
                let base = match declared.bits() {
                    64 => Base::Long,
                    32 => Base::Word,
                    bits => return Err(format!("`{name}` has {bits} bits, an address needs 32 or 64")),
                };
                self.note_use(class_of(declared), slot);
                self.uses.last_mut().expect("just pushed").critical = true;
                Ok(Address { base, slot, offset, named: None })
            }
            AddressBase::Absolute => Ok(Address { base: Base::Absolute, slot: 0, offset, named: None }),
            AddressBase::Symbol(symbol) => {
                let place = self.place(*symbol)?;
                let base = match place.space {
                    Space::Shared => Base::Cta,
                    Space::Local => Base::Frame,
                    _ => Base::Absolute,
                };
                Ok(Address { base, slot: 0, offset: place.address.wrapping_add(offset), named: Some(place) })
            }
        }
    }

    // Constants.

    /// A constant of a type's class; the value's low bits count.
    pub fn constant(&mut self, ty: Type, value: u64) -> Slot {
        match ty.bits() {
            1 => [PRED_FALSE, PRED_TRUE][usize::from(value != 0)],
            8 => self.word_constant(value as u32 & 0xff),
            16 => self.word_constant(value as u32 & 0xffff),
            64 | 128 => self.long_constant(value),
            _ => self.word_constant(value as u32),
        }
    }

    /// A constant of 32 bits.
    pub fn word_constant(&mut self, value: u32) -> Slot {
        let program = &mut *self.program;
        *self.pools.words.entry(value).or_insert_with(|| {
            program.words.push([value; 32]);
            (program.words.len() - 1) as u32 | CONST
        })
    }

    /// A constant of 64 bits.
    pub fn long_constant(&mut self, value: u64) -> Slot {
        let program = &mut *self.program;
        *self.pools.longs.entry(value).or_insert_with(|| {
            program.longs.push([value; 32]);
            (program.longs.len() - 1) as u32 | CONST
        })
    }

    // Steps.

    /// A register of the emulator's own.
    pub fn temp(&mut self, class: Class) -> Slot {
        self.regs.temp(class)
    }

    /// Says that the step to come reads a register.
    pub fn note_use(&mut self, class: Class, slot: Slot) {
        self.uses.push(Reg { class, slot: slot & !NEGATED, critical: false });
    }

    /// Says that the step to come writes a register.
    pub fn note_def(&mut self, class: Class, slot: Slot) {
        self.defs.push(Reg { class, slot, critical: false });
    }

    /// Marks everything read so far as values that must be defined.
    pub fn all_critical(&mut self) {
        self.uses.iter_mut().for_each(|r| r.critical = true);
    }

    /// Stores an operand list.
    pub fn list(&mut self, slots: &[Slot]) -> (u32, u32) {
        let from = self.program.lists.len() as u32;
        self.program.lists.extend_from_slice(slots);
        (from, self.program.lists.len() as u32)
    }

    /// Stores what a handler needs beside the step.
    pub fn data<T: Any + Send + Sync>(&mut self, value: T) -> u32 {
        self.program.data.push(Box::new(value));
        (self.program.data.len() - 1) as u32
    }

    /// Puts the instruction's step at the end, with all reads and writes noted so far.
    pub fn emit(&mut self, mut step: Inst) {
        let (uses, defs) = (std::mem::take(&mut self.uses), std::mem::take(&mut self.defs));
        step.uses = self.reg_list(&uses);
        step.defs = self.reg_list(&defs);
        self.push(step);
    }

    /// Puts a helper step before it.
    pub fn emit_internal(&mut self, mut step: Inst, uses: &[(Class, Slot)], defs: &[(Class, Slot)]) {
        let reg = |&(class, slot): &(Class, Slot)| Reg { class, slot, critical: false };
        let (uses, defs): (Vec<Reg>, Vec<Reg>) =
            (uses.iter().map(reg).collect(), defs.iter().map(reg).collect());
        step.uses = self.reg_list(&uses);
        step.defs = self.reg_list(&defs);
        step.flags = Flags { internal: true, ..step.flags };
        self.push(step);
    }

    fn reg_list(&mut self, regs: &[Reg]) -> (u32, u32) {
        let from = self.program.regs.len() as u32;
        self.program.regs.extend(regs.iter().filter(|r| r.slot & CONST == 0));
        (from, self.program.regs.len() as u32)
    }

    fn push(&mut self, mut step: Inst) {
        step.site = self.site;
        step.guard = NO_GUARD;
        if let Some(guard) = self.inst.guard
            && let Ok((_, slot, _)) = self.register(guard.register)
        {
            step.guard = if guard.negated { slot | NEGATED } else { slot };
        }
        self.code.insts.push(step);
    }

    /// A step with the given handler and up to three sources, the common shape `op d, a, b, c`.
    pub fn plain(&mut self, run: Handler, to: Type, from: &[Type]) -> Result<(), Refusal> {
        self.expect(from.len() + 1, from.len() + 1)?;
        let mut step = Inst::new(run);
        let slots: Vec<Slot> =
            from.iter().enumerate().map(|(i, ty)| self.src(i + 1, *ty)).collect::<Result<_, _>>()?;
        let at = |i: usize| slots.get(i).copied().unwrap_or(0);
        (step.a, step.b, step.c, step.e) = (at(0), at(1), at(2), at(3));
        step.d = self.dst(0, to)?;
        self.emit(step);
        Ok(())
    }

    /// As [`Dec::plain`], with facts for the handler.
    pub fn plain_x(&mut self, run: Handler, x: u32, to: Type, from: &[Type]) -> Result<(), Refusal> {
        self.plain(run, to, from)?;
        if let Some(step) = self.code.insts.last_mut() {
            step.x = x;
        }
        Ok(())
    }
}

/// A type among modifiers; formats of tensor and conversion instructions are not types of registers.
pub(super) fn type_word(word: &str) -> Option<Type> {
    Some(match word {
        "pred" => Type::Pred,
        "b8" => Type::B(8),
        "b16" => Type::B(16),
        "b32" => Type::B(32),
        "b64" => Type::B(64),
        "b128" => Type::B(128),
        "u8" => Type::U(8),
        "u16" => Type::U(16),
        "u32" => Type::U(32),
        "u64" => Type::U(64),
        "s8" => Type::S(8),
        "s16" => Type::S(16),
        "s32" => Type::S(32),
        "s64" => Type::S(64),
        "f16" => Type::F(16),
        "f32" => Type::F(32),
        "f64" => Type::F(64),
        "f16x2" => Type::F16x2,
        "bf16" => Type::Bf16,
        "bf16x2" => Type::Bf16x2,
        _ => return None,
    })
}

/// What an operand is, in words.
pub(crate) fn describe(op: &Operand) -> &'static str {
    match op {
        Operand::Register(_) => "a register",
        Operand::Not(_) => "a negated predicate",
        Operand::Sink => "`_`",
        Operand::Pair(..) => "a pair `a|b`",
        Operand::Integer(_) => "an integer constant",
        Operand::F32(_) | Operand::F64(_) => "a floating-point constant",
        Operand::Special(_) => "a special register",
        Operand::Symbol(..) => "a variable's name",
        Operand::Function(_) => "a function's name",
        Operand::Address(..) | Operand::AddressList(_) => "an address",
        Operand::Vector(_) => "a vector",
        Operand::List(_) => "a list of a call",
        Operand::Label(_) => "a label",
        Operand::BranchTargets(_) => "a list of branch targets",
        Operand::Prototype(_) => "a prototype",
    }
}

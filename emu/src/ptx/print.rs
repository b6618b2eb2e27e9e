//! Instructions as PTX text in one normal form: one line, one blank between operands, numbers in one notation.

use std::fmt::Write;

use super::ast::{AddressBase, Function, FunctionId, Instruction, Module, Operand, RegId, SymbolId};

/// One instruction as PTX text, with its semicolon. Read again where the same names are declared, it is the same
/// instruction. What only has an index is named by it: `targets_0`, `prototype_0`, and `L12` where no label stands.
pub fn print_instruction(module: &Module, function: &Function, instruction: &Instruction) -> String {
    let mut printer = Printer { module, function, text: String::new() };
    if let Some(guard) = instruction.guard {
        printer.text.push_str(if guard.negated { "@!" } else { "@" });
        printer.register(guard.register);
        printer.text.push(' ');
    }
    printer.text.push_str(&instruction.opcode);
    for modifier in &instruction.modifiers {
        printer.text.push('.');
        printer.text.push_str(modifier);
    }
    match instruction.operands.as_slice() {
        [] => {}
        [Operand::List(returns), rest @ ..] if returns.is_empty() => printer.operands(" ", rest),
        operands => printer.operands(" ", operands),
    }
    printer.text.push(';');
    printer.text
}

struct Printer<'a> {
    module: &'a Module,
    function: &'a Function,
    text: String,
}

impl Printer<'_> {
    fn write(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.text.write_fmt(arguments);
    }

    fn operands(&mut self, before: &str, operands: &[Operand]) {
        for (index, operand) in operands.iter().enumerate() {
            self.text.push_str(if index == 0 { before } else { ", " });
            self.operand(operand);
        }
    }

    fn list(&mut self, open: char, operands: &[Operand], close: char) {
        self.text.push(open);
        self.operands("", operands);
        self.text.push(close);
    }

    fn operand(&mut self, operand: &Operand) {
        match operand {
            Operand::Register(id) => self.register(*id),
            Operand::Not(id) => {
                self.text.push('!');
                self.register(*id);
            }
            Operand::Sink => self.text.push('_'),
            Operand::Pair(first, second) => {
                self.operand(first);
                self.text.push('|');
                self.operand(second);
            }
            Operand::Integer(bits) => self.write(format_args!("{}", *bits as i64)),
            Operand::F32(bits) => self.write(format_args!("0f{bits:08X}")),
            Operand::F64(bits) => self.write(format_args!("0d{bits:016X}")),
            Operand::Special(name) if name == "WARP_SZ" => self.text.push_str(name),
            Operand::Special(name) => self.write(format_args!("%{name}")),
            Operand::Symbol(id, offset) => {
                self.symbol(*id);
                self.offset(*offset);
            }
            Operand::Function(id) => self.function(*id),
            Operand::Address(base, offset) => {
                self.text.push('[');
                self.address(*base, *offset);
                self.text.push(']');
            }
            Operand::AddressList(parts) => self.address_list(parts),
            Operand::Vector(elements) => self.list('{', elements, '}'),
            Operand::List(elements) => self.list('(', elements, ')'),
            Operand::Label(index) => self.label(*index),
            Operand::BranchTargets(index) => self.write(format_args!("targets_{index}")),
            Operand::Prototype(index) => self.write(format_args!("prototype_{index}")),
        }
    }

    /// The map stands without brackets of its own.
    fn address_list(&mut self, parts: &[Operand]) {
        self.text.push('[');
        match parts {
            [Operand::Address(base, offset), rest @ ..] => {
                self.address(*base, *offset);
                if !rest.is_empty() {
                    self.operands(", ", rest);
                }
            }
            parts => self.operands("", parts),
        }
        self.text.push(']');
    }

    fn address(&mut self, base: AddressBase, offset: i64) {
        match base {
            AddressBase::Register(id) => self.register(id),
            AddressBase::Symbol(id) => self.symbol(id),
            AddressBase::Absolute => return self.write(format_args!("{offset}")),
        }
        self.offset(offset);
    }

    fn offset(&mut self, offset: i64) {
        if offset != 0 {
            self.write(format_args!("+{offset}"));
        }
    }

    fn register(&mut self, id: RegId) {
        let name = self.function.registers.get(id.0 as usize).map(|register| register.name.as_str());
        self.text.push_str(name.unwrap_or("%?"));
    }

    fn symbol(&mut self, id: SymbolId) {
        let name = self.module.variables.get(id.0 as usize).map(|variable| variable.name.as_str());
        self.text.push_str(name.unwrap_or("?"));
    }

    fn function(&mut self, id: FunctionId) {
        let name = self.module.functions.get(id.0 as usize).map(|function| function.name.as_str());
        self.text.push_str(name.unwrap_or("?"));
    }

    fn label(&mut self, index: usize) {
        // Labels are listed in the order of their places.
        let labels = &self.function.labels;
        let first = labels.partition_point(|(_, at)| *at < index);
        match labels.get(first) {
            Some((name, at)) if *at == index => self.text.push_str(name),
            _ => self.write(format_args!("L{index}")),
        }
    }
}

//! What is printed is read again as the same instruction.

use std::collections::BTreeSet;
use std::fmt::Write;

use jet_emu::ptx::{
    AddressBase, Function, Instruction, Module, Operand, RegId, Space, Type, parse, print_instruction,
};

use super::{fixtures, show};

/// An instruction with names in the place of indices, so that two modules can be compared; not by the printer.
fn named(module: &Module, function: &Function, instruction: &Instruction) -> String {
    let guard = instruction.guard.map(|guard| (guard.negated, register(function, guard.register).0));
    let operands: Vec<String> =
        instruction.operands.iter().map(|operand| spell(module, function, operand)).collect();
    format!("{guard:?} {} {:?} {operands:?}", instruction.opcode, instruction.modifiers)
}

fn register(function: &Function, id: RegId) -> (&str, Type) {
    let register = &function.registers[id.0 as usize];
    (&register.name, register.ty)
}

fn spell(module: &Module, function: &Function, operand: &Operand) -> String {
    let list = |operands: &[Operand]| -> Vec<String> {
        operands.iter().map(|o| spell(module, function, o)).collect()
    };
    match operand {
        Operand::Register(id) => format!("register {}", register(function, *id).0),
        Operand::Not(id) => format!("not {}", register(function, *id).0),
        Operand::Pair(a, b) => format!("pair {} {}", spell(module, function, a), spell(module, function, b)),
        Operand::Symbol(id, offset) => format!("symbol {} {offset}", module.variables[id.0 as usize].name),
        Operand::Function(id) => format!("function {}", module.functions[id.0 as usize].name),
        Operand::Address(AddressBase::Register(id), offset) => {
            format!("at {} {offset}", register(function, *id).0)
        }
        Operand::Address(AddressBase::Symbol(id), offset) => {
            format!("at {} {offset}", module.variables[id.0 as usize].name)
        }
        Operand::AddressList(operands) => format!("list {:?}", list(operands)),
        Operand::Vector(operands) => format!("vector {:?}", list(operands)),
        Operand::List(operands) => format!("arguments {:?}", list(operands)),
        Operand::Label(index) => {
            let (name, _) = function.labels.iter().find(|(_, at)| at == index).expect("a label stands there");
            format!("label {name}")
        }
        other => format!("{other:?}"),
    }
}

/// Names that an instruction needs declared.
#[derive(Default)]
struct Needs {
    registers: BTreeSet<(String, String)>,
    symbols: BTreeSet<String>,
    functions: BTreeSet<String>,
    labels: BTreeSet<String>,
    prototype: Option<usize>,
    targets: Option<usize>,
}

impl Needs {
    fn register(&mut self, function: &Function, id: RegId) {
        let (name, ty) = register(function, id);
        let ty = if ty == Type::Pred { "pred".to_owned() } else { format!("b{}", ty.bits()) };
        // A component is declared by its vector.
        match name.split_once('.') {
            Some((vector, _)) => self.registers.insert((vector.to_owned(), format!("v4 .{ty}"))),
            None => self.registers.insert((name.to_owned(), ty)),
        };
    }

    fn operand(&mut self, module: &Module, function: &Function, operand: &Operand) {
        match operand {
            Operand::Register(id) | Operand::Not(id) | Operand::Address(AddressBase::Register(id), _) => {
                self.register(function, *id);
            }
            Operand::Pair(a, b) => {
                self.operand(module, function, a);
                self.operand(module, function, b);
            }
            Operand::Symbol(id, _) | Operand::Address(AddressBase::Symbol(id), _) => {
                self.symbols.insert(module.variables[id.0 as usize].name.clone());
            }
            Operand::Function(id) => {
                self.functions.insert(module.functions[id.0 as usize].name.clone());
            }
            Operand::AddressList(list) | Operand::Vector(list) | Operand::List(list) => {
                list.iter().for_each(|operand| self.operand(module, function, operand));
            }
            Operand::Label(index) => {
                let (name, _) =
                    function.labels.iter().find(|(_, at)| at == index).expect("a label stands there");
                self.labels.insert(name.clone());
            }
            Operand::Prototype(index) => self.prototype = Some(*index),
            Operand::BranchTargets(index) => self.targets = Some(*index),
            _ => {}
        }
    }

    /// A text in which the instruction stands alone.
    fn text(&self, instruction: &str) -> String {
        let mut text = ".version 8.8\n.target sm_90a\n".to_owned();
        for name in &self.symbols {
            let _ = writeln!(text, ".extern .global .b8 {name}[];");
        }
        for name in &self.functions {
            let _ = writeln!(text, ".extern .func {name}();");
        }
        text.push_str(".func round_trip() {\n");
        for (name, ty) in &self.registers {
            let _ = writeln!(text, ".reg .{ty} {name};");
        }
        // Names of what only has an index are given by it; what stands before takes the lower ones.
        for index in 0..=self.prototype.map_or(-1, |index| index as i64) {
            let _ = writeln!(text, "prototype_{index}: .callprototype _ ();");
        }
        for index in 0..=self.targets.map_or(-1, |index| index as i64) {
            let _ = writeln!(text, "targets_{index}: .branchtargets end_of_text;");
        }
        let _ = writeln!(text, "{instruction}");
        for name in &self.labels {
            let _ = writeln!(text, "{name}: nop;");
        }
        text.push_str("end_of_text: }\n");
        text
    }
}

fn check(module: &Module, function: &Function, instruction: &Instruction) {
    let mut needs = Needs::default();
    if let Some(guard) = instruction.guard {
        needs.register(function, guard.register);
    }
    instruction.operands.iter().for_each(|operand| needs.operand(module, function, operand));
    let printed = print_instruction(module, function, instruction);
    let text = needs.text(&printed);
    let again = parse(&text).unwrap_or_else(|errors| panic!("{}", show(&errors, &text)));
    let read = again.functions.iter().find(|f| f.name == "round_trip").expect("it was read");
    let first = &read.body.as_ref().expect("a body")[0];
    assert_eq!(named(&again, read, first), named(module, function, instruction), "{printed}");
    assert_eq!(print_instruction(&again, read, first), printed);
}

/// All different instructions of the fixtures.
#[test]
fn printed_instructions_are_read_as_they_were() {
    let mut seen = BTreeSet::new();
    for (_, text) in fixtures::all() {
        let module = parse(&text).expect("a fixture is PTX");
        for function in &module.functions {
            for instruction in function.body.iter().flatten() {
                if seen.insert(print_instruction(&module, function, instruction)) {
                    check(&module, function, instruction);
                }
            }
        }
    }
    assert!(seen.len() > 1000, "{}", seen.len());
}

#[test]
fn forms_that_no_fixture_has_are_read_as_they_were() {
    let body = ".reg .v4 .f32 %v; mov.f32 %v.x, %v.w; ld.v4.f32 %v, [%v.y+-8]; ld.b32 %r1, [-16]; mov.b64 %rd1, s+-4; \
                mov.b64 %rd1, -9223372036854775808; mov.f64 %rd1, -0.0; @!%p1 setp.eq.s32 %p1|%p2, %r1, WARP_SZ, !%p3; \
                ts: .branchtargets A; brx.idx %r1, ts; A: match.all.sync.b32 _|%p1, %r1, -1; \
                cp.x [s+8, {%r1, 5}, {%rs1, _}], [%rd1]; call f; mov.v4.u32 {%r1, %r2, %r3, _}, %tid;";
    let module = super::read(".shared .b8 s[16]; .extern .func f();", body);
    let kernel = super::last(&module);
    let body = kernel.body.as_ref().expect("a body");
    assert_eq!(body.len(), 12);
    assert_eq!(module.variables.iter().filter(|v| v.space == Space::Shared).count(), 1);
    body.iter().for_each(|instruction| check(&module, kernel, instruction));
}

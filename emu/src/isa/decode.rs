//! Decoding of a kernel and all functions that it reaches.

use std::collections::HashMap;

use thiserror::Error;

use super::cfg;
use super::control;
use super::decoder::{Dec, Pools, Registers, class_of};
use super::form::{self, Target};
use super::inst::{Inst, Reg};
use super::layout::{Layout, reached};
use super::program::{Carrier, Code, KernelParam, Program, Site};
use super::{FAMILIES, Refusal};
use crate::ptx::{self, FunctionId, Module, Param, ParamStorage, SymbolId};

/// An instruction that cannot be executed.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("line {line}: `{instruction}`: {message}")]
pub struct DecodeError {
    /// Line in the PTX text.
    pub line: u32,
    /// Opcode and modifiers.
    pub instruction: String,
    /// What is wrong.
    pub message: String,
}

/// Decodes a kernel; `fixed` has the addresses of global and constant variables.
pub fn decode(
    module: &Module,
    kernel: FunctionId,
    fixed: &HashMap<SymbolId, u64>,
) -> Result<Program, Vec<DecodeError>> {
    let function = &module.functions[kernel.0 as usize];
    let Some(target) = module.target.first().and_then(|t| Target::parse(t)) else {
        let message = format!("the target {:?} is not an architecture", module.target);
        return Err(vec![DecodeError { line: function.line, instruction: function.name.clone(), message }]);
    };
    let reached = reached(module, kernel);
    let layout = Layout::new(module, kernel, &reached, fixed);
    let mut program = Program {
        name: function.name.clone(),
        target: Some(target),
        bounds: function.bounds.clone(),
        params: kernel_params(module, function, kernel, &layout),
        param_bytes: layout.param_bytes,
        shared_end: layout.shared_end,
        dynamic_start: layout.dynamic_start,
        shared: layout.shared.clone(),
        ..Program::default()
    };
    program.index = reached.iter().enumerate().map(|(i, id)| (*id, i as u32)).collect();
    let mut errors = Vec::new();
    let mut pools = Pools::default();
    for (index, id) in reached.iter().enumerate() {
        let mut unit = Unit { module, target, layout: &layout, program: &mut program, pools: &mut pools };
        let code = unit.function(*id, index as u32, &mut errors);
        program.functions.push(code);
    }
    if errors.is_empty() { Ok(program) } else { Err(errors) }
}

fn kernel_params(
    module: &Module,
    function: &ptx::Function,
    id: FunctionId,
    layout: &Layout,
) -> Vec<KernelParam> {
    let one = |param: &Param| {
        let ParamStorage::Memory(symbol) = param.storage else { return None };
        let variable = module.variables.get(symbol.0 as usize)?;
        let offset = layout.place(symbol, id)?.address;
        let name = variable.name.clone();
        Some(KernelParam { name, offset, size: variable.size, align: variable.align, ty: variable.ty })
    };
    function.params.iter().filter_map(one).collect()
}

struct Unit<'a> {
    module: &'a Module,
    target: Target,
    layout: &'a Layout,
    program: &'a mut Program,
    pools: &'a mut Pools,
}

impl Unit<'_> {
    fn function(&mut self, id: FunctionId, index: u32, errors: &mut Vec<DecodeError>) -> Code {
        let module = self.module;
        let function = &module.functions[id.0 as usize];
        let body = function.body.as_deref().unwrap_or(&[]);
        let mut regs = Registers::of(function);
        let mut code = Code {
            name: function.name.clone(),
            local_bytes: self.layout.frames.get(&id).copied().unwrap_or(0),
            params: function.params.iter().filter_map(|p| self.carrier(id, function, &regs, p)).collect(),
            returns: function.returns.iter().filter_map(|p| self.carrier(id, function, &regs, p)).collect(),
            ..Code::default()
        };
        let mut starts = Vec::with_capacity(body.len() + 1);
        for inst in body {
            starts.push(code.insts.len() as u32);
            if let Err(message) = self.instruction(id, index, function, inst, &mut code, &mut regs) {
                errors.push(DecodeError { line: inst.line, instruction: full_name(inst), message });
            }
        }
        starts.push(code.insts.len() as u32);
        self.end(index, function, &mut code);
        if errors.is_empty() {
            control::resolve(&mut code, self.program, &starts, &cfg::post_dominators(function));
        }
        code.names = names(function, &regs);
        (code.preds, code.words, code.longs) =
            (regs.preds as usize, regs.words as usize, regs.longs as usize);
        code
    }

    fn carrier(
        &self,
        id: FunctionId,
        function: &ptx::Function,
        regs: &Registers,
        param: &Param,
    ) -> Option<Carrier> {
        match param.storage {
            ParamStorage::Memory(symbol) => {
                let place = self.layout.place(symbol, id)?;
                let size = self.module.variables.get(symbol.0 as usize)?.size;
                Some(Carrier::Frame(place.address as u32, size as u32))
            }
            ParamStorage::Register(r) => {
                let class = class_of(function.registers.get(r.0 as usize)?.ty);
                Some(Carrier::Register(Reg { class, slot: regs.slot(r)?, critical: false }))
            }
        }
    }

    fn instruction(
        &mut self,
        id: FunctionId,
        index: u32,
        function: &ptx::Function,
        inst: &ptx::Instruction,
        code: &mut Code,
        regs: &mut Registers,
    ) -> Result<(), Refusal> {
        let words: Vec<&str> = inst.modifiers.iter().map(String::as_str).collect();
        let (form, family) = form::find(&inst.opcode, &words, self.target)?;
        let loc = inst.loc.map(|(file, line, column)| {
            let name = self.module.files.iter().find(|(f, _)| *f == file).map_or("?", |(_, n)| n.as_str());
            (name.to_owned(), line, column)
        });
        let class = FAMILIES[family].name;
        self.program.sites.push(Site { function: index, line: inst.line, loc, text: full_name(inst), class });
        let mut dec = Dec {
            module: self.module,
            function,
            id,
            layout: self.layout,
            inst,
            form,
            site: self.program.sites.len() as u32 - 1,
            program: self.program,
            code,
            regs,
            pools: self.pools,
            uses: Vec::new(),
            defs: Vec::new(),
        };
        (FAMILIES[family].decode)(&mut dec)
    }

    /// Every function ends in a return, whether the text says so or not.
    fn end(&mut self, index: u32, function: &ptx::Function, code: &mut Code) {
        let line = function.body.iter().flatten().last().map_or(function.line, |i| i.line);
        let text = "ret".to_owned();
        self.program.sites.push(Site {
            function: index,
            line,
            loc: None,
            text,
            class: "Control flow and calls",
        });
        let mut step = Inst::new(control::ret);
        step.site = self.program.sites.len() as u32 - 1;
        code.insts.push(step);
    }
}

fn full_name(inst: &ptx::Instruction) -> String {
    let mut name = inst.opcode.clone();
    for word in &inst.modifiers {
        name.push('.');
        name.push_str(word);
    }
    name
}

fn names(function: &ptx::Function, regs: &Registers) -> Vec<(Reg, String)> {
    let one = |(i, r): (usize, &ptx::Register)| {
        let slot = regs.slot(ptx::RegId(i as u32))?;
        Some((Reg { class: class_of(r.ty), slot, critical: false }, r.name.clone()))
    };
    function.registers.iter().enumerate().filter_map(one).collect()
}

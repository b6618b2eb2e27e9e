//! Where variables lie: known before decoding, so that addresses become constants.

use std::collections::{HashMap, HashSet};

use super::program::SharedSymbol;
use crate::exec::space::{FUNCTION_BASE, SHARED_FIRST};
use crate::ptx::{FunctionId, Module, Operand, ParamStorage, Space, SymbolId};

/// A variable's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The space of the address: parameters of device functions and of calls lie in the frame, hence `Local`.
    pub space: Space,
    /// Address in that space; an offset into the frame for `Local`, into the parameter buffer for `Param`.
    pub address: u64,
}

/// Places of all variables as one kernel sees them.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    places: HashMap<SymbolId, Place>,
    /// Bytes of local memory that an activation of a function takes.
    pub frames: HashMap<FunctionId, u32>,
    /// Shared variables.
    pub shared: Vec<SharedSymbol>,
    /// End of static shared memory.
    pub shared_end: u32,
    /// Where dynamic shared memory starts.
    pub dynamic_start: u32,
    /// Bytes of the kernel's parameters.
    pub param_bytes: u64,
}

pub(crate) fn round_up(value: u64, align: u64) -> u64 {
    value.div_ceil(align.max(1)).saturating_mul(align.max(1))
}

impl Layout {
    /// Lays out what a kernel and the functions that it reaches need; `fixed` has the addresses of global and constant
    /// variables.
    pub fn new(
        module: &Module,
        kernel: FunctionId,
        reached: &[FunctionId],
        fixed: &HashMap<SymbolId, u64>,
    ) -> Self {
        let mut layout = Layout::default();
        for (&symbol, &address) in fixed {
            let space = module.variables[symbol.0 as usize].space;
            layout.places.insert(symbol, Place { space, address });
        }
        layout.place_parameters(module, kernel);
        let named = named_symbols(module, reached);
        layout.place_shared(module, &named);
        for &function in reached {
            layout.place_frame(module, function, kernel);
        }
        layout
    }

    fn place_parameters(&mut self, module: &Module, kernel: FunctionId) {
        let mut at = 0;
        for param in &module.functions[kernel.0 as usize].params {
            if let ParamStorage::Memory(symbol) = param.storage {
                let variable = &module.variables[symbol.0 as usize];
                at = round_up(at, u64::from(variable.align));
                self.places.insert(symbol, Place { space: Space::Param, address: at });
                at += variable.size;
            }
        }
        self.param_bytes = at;
    }

    fn place_shared(&mut self, module: &Module, named: &HashSet<SymbolId>) {
        let mut at = u64::from(SHARED_FIRST);
        let shared = |external: bool| {
            module.variables.iter().enumerate().filter(move |(i, v)| {
                v.space == Space::Shared
                    && (v.external || v.size == 0) == external
                    && named.contains(&SymbolId(*i as u32))
            })
        };
        for (i, variable) in shared(false) {
            at = round_up(at, u64::from(variable.align));
            self.add_shared(i, &variable.name, at, variable.size);
            at += variable.size;
        }
        self.shared_end = at.min(u64::from(u32::MAX)) as u32;
        let align = shared(true).map(|(_, v)| u64::from(v.align)).max().unwrap_or(16).max(16);
        let start = round_up(at, align);
        self.dynamic_start = start.min(u64::from(u32::MAX)) as u32;
        for (i, variable) in shared(true) {
            self.add_shared(i, &variable.name, start, 0);
        }
    }

    fn add_shared(&mut self, index: usize, name: &str, at: u64, size: u64) {
        self.places.insert(SymbolId(index as u32), Place { space: Space::Shared, address: at });
        let (offset, size) = (at.min(1 << 30) as u32, size.min(1 << 30) as u32);
        self.shared.push(SharedSymbol { name: name.to_owned(), offset, size });
    }

    fn place_frame(&mut self, module: &Module, function: FunctionId, kernel: FunctionId) {
        let declared = &module.functions[function.0 as usize];
        let own = declared.params.iter().chain(&declared.returns).filter_map(|p| match p.storage {
            ParamStorage::Memory(symbol) if function != kernel => Some(symbol),
            _ => None,
        });
        let inside = module.variables.iter().enumerate().filter_map(|(i, v)| {
            let local = matches!(v.space, Space::Local | Space::Param) && v.function == Some(function);
            local.then_some(SymbolId(i as u32))
        });
        let module_local = module.variables.iter().enumerate().filter_map(|(i, v)| {
            (v.space == Space::Local && v.function.is_none()).then_some(SymbolId(i as u32))
        });
        let mut at = 0;
        let symbols: Vec<SymbolId> = own.chain(inside).chain(module_local).collect();
        for symbol in symbols {
            if self.places.contains_key(&symbol) {
                continue;
            }
            let variable = &module.variables[symbol.0 as usize];
            at = round_up(at, u64::from(variable.align));
            self.places.insert(symbol, Place { space: Space::Local, address: at });
            at += variable.size;
        }
        self.frames.insert(function, round_up(at, 16).min(1 << 24) as u32);
    }

    /// Where a variable lies as seen from a function.
    pub fn place(&self, symbol: SymbolId, _from: FunctionId) -> Option<Place> {
        self.places.get(&symbol).copied()
    }

    /// The value of a function's name: an address in a range where nothing can be loaded or stored.
    pub fn function_handle(id: FunctionId) -> u64 {
        FUNCTION_BASE + u64::from(id.0) * 16
    }

    /// The function of a handle.
    pub fn function_of(handle: u64) -> Option<FunctionId> {
        let offset = handle.checked_sub(FUNCTION_BASE)?;
        (offset % 16 == 0 && offset / 16 < 1 << 20).then_some(FunctionId((offset / 16) as u32))
    }
}

/// Functions that a kernel reaches: by call, by name, and, where it calls through a register, all that have a body.
pub(super) fn reached(module: &Module, kernel: FunctionId) -> Vec<FunctionId> {
    let mut seen = vec![kernel];
    let mut next = 0;
    while next < seen.len() {
        let id = seen[next];
        next += 1;
        let Some(body) = module.functions.get(id.0 as usize).and_then(|f| f.body.as_ref()) else { continue };
        for inst in body {
            let mut found = Vec::new();
            inst.operands.iter().for_each(|op| functions_in(op, &mut found));
            let indirect =
                inst.opcode == "call" && inst.operands.iter().any(|o| matches!(o, Operand::Register(_)));
            if indirect {
                let all = module.functions.iter().enumerate().filter(|(_, f)| !f.entry && f.body.is_some());
                found.extend(all.map(|(i, _)| FunctionId(i as u32)));
            }
            for id in found {
                if !seen.contains(&id) {
                    seen.push(id);
                }
            }
        }
    }
    seen.retain(|id| module.functions.get(id.0 as usize).is_some_and(|f| f.body.is_some()));
    seen
}

fn functions_in(op: &Operand, found: &mut Vec<FunctionId>) {
    match op {
        Operand::Function(id) => found.push(*id),
        Operand::Vector(v) | Operand::List(v) | Operand::AddressList(v) => {
            v.iter().for_each(|o| functions_in(o, found))
        }
        Operand::Pair(a, b) => {
            functions_in(a, found);
            functions_in(b, found);
        }
        _ => {}
    }
}

fn named_symbols(module: &Module, reached: &[FunctionId]) -> HashSet<SymbolId> {
    let mut named = HashSet::new();
    for id in reached {
        for inst in module.functions[id.0 as usize].body.iter().flatten() {
            inst.operands.iter().for_each(|op| symbols_in(op, &mut named));
        }
    }
    named
}

fn symbols_in(op: &Operand, named: &mut HashSet<SymbolId>) {
    match op {
        Operand::Symbol(id, _) | Operand::Address(crate::ptx::AddressBase::Symbol(id), _) => {
            named.insert(*id);
        }
        Operand::Vector(v) | Operand::List(v) | Operand::AddressList(v) => {
            v.iter().for_each(|o| symbols_in(o, named))
        }
        Operand::Pair(a, b) => {
            symbols_in(a, named);
            symbols_in(b, named);
        }
        _ => {}
    }
}

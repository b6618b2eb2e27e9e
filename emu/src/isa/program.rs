//! A decoded kernel with the device functions that it can reach.

use std::any::Any;
use std::collections::HashMap;

use super::form::Target;
use super::inst::{Inst, Reg, Slot};
use crate::ptx::{Bounds, FunctionId, Type};

/// Where an instruction stands in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Index into [`Program::functions`].
    pub function: u32,
    /// Line in the PTX text, from 1.
    pub line: u32,
    /// File (name), line and column of the source, where `.loc` says so.
    pub loc: Option<(String, u32, u32)>,
    /// Opcode and modifiers as written.
    pub text: String,
    /// What sort of instruction, for counters.
    pub class: &'static str,
}

/// A kernel parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelParam {
    /// Its name.
    pub name: String,
    /// Byte offset in the parameter buffer.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Alignment.
    pub align: u32,
    /// Element type as declared.
    pub ty: Type,
}

/// Where a value of a device function travels: bytes of its frame, or a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Offset and size in the frame's local memory.
    Frame(u32, u32),
    /// A register.
    Register(Reg),
}

/// A decoded function.
#[derive(Debug, Default)]
pub struct Code {
    /// Its name.
    pub name: String,
    /// The steps.
    pub insts: Vec<Inst>,
    /// Predicates a frame needs.
    pub preds: usize,
    /// 32-bit registers a frame needs.
    pub words: usize,
    /// 64-bit registers a frame needs.
    pub longs: usize,
    /// Bytes of local memory of an activation: local variables and the parameters of calls.
    pub local_bytes: u32,
    /// Parameters, as the callee sees them.
    pub params: Vec<Carrier>,
    /// Values returned.
    pub returns: Vec<Carrier>,
    /// Registers whose values cannot be told from garbage at entry need no clearing; this names them all for reports.
    pub names: Vec<(Reg, String)>,
}

/// A shared variable's place, for reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedSymbol {
    /// Its name.
    pub name: String,
    /// Offset of its first byte.
    pub offset: u32,
    /// Bytes; 0 for dynamic.
    pub size: u32,
}

/// A kernel ready to run.
#[derive(Default)]
pub struct Program {
    /// The kernel's name.
    pub name: String,
    /// `.target`.
    pub target: Option<Target>,
    /// Functions; the kernel is the first.
    pub functions: Vec<Code>,
    /// Where a function of the module went.
    pub index: HashMap<FunctionId, u32>,
    /// One for each instruction of the text that was decoded.
    pub sites: Vec<Site>,
    /// Constants of 32 bits, one value for all lanes.
    pub words: Vec<[u32; 32]>,
    /// Constants of 64 bits.
    pub longs: Vec<[u64; 32]>,
    /// Operand lists.
    pub lists: Vec<Slot>,
    /// Registers read and written.
    pub regs: Vec<Reg>,
    /// What a family decoded and its handler needs.
    pub data: Vec<Box<dyn Any + Send + Sync>>,
    /// Kernel parameters.
    pub params: Vec<KernelParam>,
    /// Bytes of the parameter buffer.
    pub param_bytes: u64,
    /// Bounds of the kernel.
    pub bounds: Bounds,
    /// End of the static shared variables, as an offset (they begin at [`crate::exec::SHARED_FIRST`]).
    pub shared_end: u32,
    /// Offset where dynamic shared memory begins.
    pub dynamic_start: u32,
    /// Shared variables.
    pub shared: Vec<SharedSymbol>,
}

impl Program {
    /// An operand list.
    pub fn list(&self, range: (u32, u32)) -> &[Slot] {
        self.lists.get(range.0 as usize..range.1 as usize).unwrap_or(&[])
    }

    /// A register list.
    pub fn reg_list(&self, range: (u32, u32)) -> &[Reg] {
        self.regs.get(range.0 as usize..range.1 as usize).unwrap_or(&[])
    }

    /// A family's data.
    ///
    /// # Panics
    /// If the index or type is not what the family's decoder stored: a mistake in the table.
    pub fn data<T: 'static>(&self, index: u32) -> &T {
        self.data[index as usize].downcast_ref().expect("a handler is stored together with its own data")
    }

    /// The shared variable that holds an offset.
    pub fn shared_name(&self, offset: u32) -> Option<&str> {
        self.shared
            .iter()
            .filter(|s| offset >= s.offset && (s.size == 0 || offset < s.offset + s.size))
            .max_by_key(|s| s.offset)
            .map(|s| s.name.as_str())
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("name", &self.name).field("functions", &self.functions.len()).finish()
    }
}

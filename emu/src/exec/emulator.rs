//! An emulated device: its memory and the modules loaded into it.

use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;

use super::global::{Buffer, BufferId, GlobalMemory};
use super::options::EmulatorOptions;
use super::space::{CONST_FIRST, CONST_WINDOW, SHARED_WINDOW};
use super::words::WordsMut;
use crate::isa::{self, DecodeError, Layout, Program};
use crate::ptx::{Module, RelocationTarget, Space, SymbolId};

/// Constant memory of a device.
const CONST_LIMIT: u64 = 1 << 26;

/// A loaded module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModuleId(pub(crate) usize);

/// Why a module cannot be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The text cannot be read.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Read(Vec<crate::ptx::ReadError>),
    /// It has instructions that cannot be executed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Decode(Vec<DecodeError>),
    /// Its variables do not fit.
    #[error("the variable `{name}` of {size} bytes does not fit into memory")]
    Memory {
        /// Which.
        name: String,
        /// Bytes.
        size: u64,
    },
    /// An initialiser names what has no address.
    #[error("the initialiser of `{name}` names something that has no address")]
    Initialiser {
        /// Which variable.
        name: String,
    },
}

/// A buffer that cannot be made, read or written.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BufferError {
    /// No room.
    #[error("no room for the buffer `{name}` of {len} bytes")]
    NoRoom {
        /// Its name.
        name: String,
        /// Bytes asked for.
        len: u64,
    },
    /// It was freed, or never made.
    #[error("the buffer does not exist or was freed")]
    Gone,
    /// The range is not inside.
    #[error("bytes {offset} to {end} are not inside the buffer `{name}` of {len} bytes")]
    Range {
        /// Its name.
        name: String,
        /// Its bytes.
        len: u64,
        /// First byte asked for.
        offset: u64,
        /// One past the last.
        end: u64,
    },
}

pub(crate) struct Loaded {
    pub(crate) module: Module,
    pub(crate) kernels: Vec<Arc<Program>>,
    /// Buffers of global variables.
    pub(crate) globals: HashMap<String, BufferId>,
}

/// A device without a device: buffers by name, modules, launches.
///
/// ```
/// use jet_emu::exec::{Arg, Emulator, EmulatorOptions, LaunchConfig};
///
/// let text = "
/// .version 8.0
/// .target sm_80
/// .address_size 64
/// .visible .entry twice(.param .u64 p) {
///   .reg .b64 %rd<4>;
///   .reg .b32 %r<3>;
///   ld.param.u64 %rd1, [p];
///   mov.u32 %r1, %tid.x;
///   mul.wide.u32 %rd2, %r1, 4;
///   add.s64 %rd3, %rd1, %rd2;
///   ld.global.u32 %r2, [%rd3];
///   shl.b32 %r2, %r2, 1;
///   st.global.u32 [%rd3], %r2;
///   ret;
/// }";
/// let mut emu = Emulator::new(EmulatorOptions::default());
/// let module = emu.load(text)?;
/// let data: Vec<u8> = (0..64u32).flat_map(u32::to_le_bytes).collect();
/// let buffer = emu.alloc_bytes("data", &data)?;
/// let report = emu.launch(module, &LaunchConfig::new("twice", 1, 64), &[Arg::Buffer(buffer)])?;
/// assert!(report.clean());
/// assert_eq!(emu.read(buffer)?[4..8], 2u32.to_le_bytes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Emulator {
    pub(crate) options: EmulatorOptions,
    pub(crate) global: GlobalMemory,
    pub(crate) consts: Vec<u32>,
    const_end: u64,
    pub(crate) modules: Vec<Loaded>,
    pub(crate) heap: Option<BufferId>,
    /// Written bytes of buffers that began without values.
    pub(crate) written: HashMap<u32, crate::shadow::Defined>,
}

impl Emulator {
    /// An empty device.
    pub fn new(options: EmulatorOptions) -> Self {
        Emulator {
            options,
            global: GlobalMemory::default(),
            consts: Vec::new(),
            const_end: CONST_FIRST,
            modules: Vec::new(),
            heap: None,
            written: HashMap::new(),
        }
    }

    /// Its options; they may be changed between launches.
    pub fn options_mut(&mut self) -> &mut EmulatorOptions {
        &mut self.options
    }

    /// Its options.
    pub fn options(&self) -> &EmulatorOptions {
        &self.options
    }

    /// Reads PTX, places its variables and decodes all kernels; whatever cannot be executed is refused here.
    pub fn load(&mut self, text: &str) -> Result<ModuleId, LoadError> {
        let module = crate::ptx::parse(text).map_err(LoadError::Read)?;
        let (fixed, globals) = self.place_variables(&module)?;
        self.relocate(&module, &fixed, &globals)?;
        let mut kernels = Vec::new();
        let mut errors = Vec::new();
        for (i, function) in module.functions.iter().enumerate() {
            if function.entry && function.body.is_some() {
                match isa::decode(&module, crate::ptx::FunctionId(i as u32), &fixed) {
                    Ok(program) => kernels.push(Arc::new(program)),
                    Err(more) => errors.extend(more),
                }
            }
        }
        if !errors.is_empty() {
            errors.sort_by_key(|e: &DecodeError| e.line);
            errors.dedup();
            return Err(LoadError::Decode(errors));
        }
        let wants_heap = module.functions.iter().any(|f| f.name == "malloc" && f.body.is_none());
        if wants_heap && self.heap.is_none() {
            let len = self.options.heap_bytes;
            let none = LoadError::Memory { name: "the heap".to_owned(), size: len };
            self.heap = Some(self.global.alloc("heap", len, false).ok_or(none)?);
        }
        self.modules.push(Loaded { module, kernels, globals });
        Ok(ModuleId(self.modules.len() - 1))
    }

    #[allow(clippy::type_complexity)]
    fn place_variables(
        &mut self,
        module: &Module,
    ) -> Result<(HashMap<SymbolId, u64>, HashMap<String, BufferId>), LoadError> {
        let (mut fixed, mut globals) = (HashMap::new(), HashMap::new());
        for (i, variable) in module.variables.iter().enumerate() {
            let none = || LoadError::Memory { name: variable.name.clone(), size: variable.size };
            let address = match variable.space {
                Space::Global => {
                    let id = self.global.alloc(&variable.name, variable.size, true).ok_or_else(none)?;
                    self.global.write(
                        id,
                        0,
                        &variable.init[..variable.init.len().min(variable.size as usize)],
                    );
                    globals.insert(variable.name.clone(), id);
                    self.global.buffer(id).map_or(0, |b| b.base)
                }
                Space::Const => {
                    let at = isa::round_up(self.const_end, u64::from(variable.align));
                    let end = at.checked_add(variable.size).filter(|e| *e <= CONST_LIMIT).ok_or_else(none)?;
                    self.const_end = end;
                    self.consts.resize((end as usize).div_ceil(4), 0);
                    self.consts
                        .set_bytes(at, &variable.init[..variable.init.len().min(variable.size as usize)]);
                    at
                }
                _ => continue,
            };
            fixed.insert(SymbolId(i as u32), address);
        }
        Ok((fixed, globals))
    }

    fn relocate(
        &mut self,
        module: &Module,
        fixed: &HashMap<SymbolId, u64>,
        globals: &HashMap<String, BufferId>,
    ) -> Result<(), LoadError> {
        for (i, variable) in module.variables.iter().enumerate() {
            let Some(&address) = fixed.get(&SymbolId(i as u32)) else { continue };
            for relocation in &variable.relocations {
                let value = match relocation.target {
                    RelocationTarget::Function(id) => Layout::function_handle(id),
                    RelocationTarget::Symbol(id) => {
                        let base = fixed.get(&id).copied();
                        let base =
                            base.ok_or_else(|| LoadError::Initialiser { name: variable.name.clone() })?;
                        let window = match module.variables[id.0 as usize].space {
                            Space::Const if relocation.generic => CONST_WINDOW,
                            Space::Shared if relocation.generic => SHARED_WINDOW,
                            _ => 0,
                        };
                        base + window
                    }
                };
                let value = value.wrapping_add(relocation.addend as u64);
                let value = match relocation.mask {
                    0 => value,
                    mask => (value & mask) >> mask.trailing_zeros(),
                };
                let bytes = &value.to_le_bytes()[..usize::from(relocation.width.clamp(1, 8))];
                match globals.get(&variable.name) {
                    Some(id) if variable.space == Space::Global => {
                        self.global.write(*id, relocation.at, bytes);
                    }
                    _ => self.consts.set_bytes(address + relocation.at, bytes),
                }
            }
        }
        Ok(())
    }

    /// Names of a module's kernels.
    pub fn kernels(&self, module: ModuleId) -> Vec<&str> {
        self.modules
            .get(module.0)
            .map_or_else(Vec::new, |m| m.kernels.iter().map(|p| p.name.as_str()).collect())
    }

    /// A decoded kernel.
    pub fn program(&self, module: ModuleId, kernel: &str) -> Option<Arc<Program>> {
        self.modules.get(module.0)?.kernels.iter().find(|p| p.name == kernel).cloned()
    }

    /// The module as it was read.
    pub fn module(&self, module: ModuleId) -> Option<&Module> {
        self.modules.get(module.0).map(|m| &m.module)
    }

    /// The buffer of a `.global` variable.
    pub fn global_variable(&self, module: ModuleId, name: &str) -> Option<BufferId> {
        self.modules.get(module.0)?.globals.get(name).copied()
    }

    /// A buffer of zeros whose bytes nobody has written: reading them before a write is a finding.
    pub fn alloc(&mut self, name: &str, len: u64) -> Result<BufferId, BufferError> {
        self.global.alloc(name, len, false).ok_or_else(|| BufferError::NoRoom { name: name.to_owned(), len })
    }

    /// A buffer with these bytes.
    pub fn alloc_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<BufferId, BufferError> {
        let id = self.alloc(name, bytes.len() as u64)?;
        self.global.write(id, 0, bytes);
        self.global.set_initialised(id);
        Ok(id)
    }

    /// A buffer of zeros that count as written.
    pub fn alloc_zeroed(&mut self, name: &str, len: u64) -> Result<BufferId, BufferError> {
        let id = self.alloc(name, len)?;
        self.global.set_initialised(id);
        Ok(id)
    }

    fn check_range(&self, id: BufferId, offset: u64, len: u64) -> Result<&Buffer, BufferError> {
        let buffer = self.global.buffer(id).ok_or(BufferError::Gone)?;
        let end = offset.saturating_add(len);
        if end > buffer.len {
            return Err(BufferError::Range { name: buffer.name.clone(), len: buffer.len, offset, end });
        }
        Ok(buffer)
    }

    /// All bytes of a buffer.
    pub fn read(&self, id: BufferId) -> Result<Vec<u8>, BufferError> {
        let len = self.check_range(id, 0, 0)?.len;
        let mut bytes = vec![0; len as usize];
        self.global.read(id, 0, &mut bytes);
        Ok(bytes)
    }

    /// Writes bytes of a buffer, which then counts as written as a whole.
    pub fn write(&mut self, id: BufferId, offset: u64, bytes: &[u8]) -> Result<(), BufferError> {
        self.check_range(id, offset, bytes.len() as u64)?;
        self.global.write(id, offset, bytes);
        self.global.set_initialised(id);
        Ok(())
    }

    /// Ends a buffer's life. Its addresses are not given out again: a later access is a use after free.
    pub fn free(&mut self, id: BufferId) -> Result<(), BufferError> {
        if self.global.free(id) { Ok(()) } else { Err(BufferError::Gone) }
    }

    /// A buffer's address on the device.
    pub fn address(&self, id: BufferId) -> Result<u64, BufferError> {
        Ok(self.check_range(id, 0, 0)?.base)
    }
}

impl std::fmt::Debug for Emulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emulator").field("modules", &self.modules.len()).finish_non_exhaustive()
    }
}

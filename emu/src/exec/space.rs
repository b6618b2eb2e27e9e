//! The address map: state spaces as windows of the generic space (ptx.md 1.1).
//!
//! Shared addresses are `rank << 24 | offset` in every CTA of a cluster, the own one included; the first user byte is
//! at 1024, so that a null pointer is never valid. A generic pointer to local memory holds the thread that owns it.

/// First byte of shared memory that a kernel may use.
pub const SHARED_FIRST: u32 = 1024;
/// Bits of a shared address that are the offset in its CTA.
pub const SHARED_BITS: u32 = 24;
/// Generic address of shared address 0.
pub const SHARED_WINDOW: u64 = 0x7e00_0000_0000;
/// Generic address of local address 0 of thread 0.
pub const LOCAL_WINDOW: u64 = 0x7d00_0000_0000;
/// Bits of a local address within its thread.
pub const LOCAL_BITS: u32 = 24;
/// First byte of a thread's local memory that is used.
pub const LOCAL_FIRST: u32 = 256;
/// Generic address of constant address 0.
pub const CONST_WINDOW: u64 = 0x7c00_0000_0000;
/// First constant address that is used.
pub const CONST_FIRST: u64 = 256;
/// Generic address of kernel-parameter address 0; for `isspacep` it lies inside global.
pub const PARAM_WINDOW: u64 = 0x7b00_0000_0000;
/// Where the handles of functions begin; nothing can be loaded or stored there.
pub const FUNCTION_BASE: u64 = 0x7a00_0000_0000;
/// Where global memory begins.
pub const GLOBAL_BASE: u64 = 0x0001_0000_0000;
const WINDOW_BITS: u32 = 40;

/// A state space at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MemSpace {
    /// Global memory.
    Global,
    /// Shared memory, by `rank << 24 | offset`.
    Shared,
    /// Local memory of the thread.
    Local,
    /// Constant memory.
    Const,
    /// Kernel parameters.
    Param,
    /// To be found from the address.
    Generic,
}

impl MemSpace {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            MemSpace::Global => "global",
            MemSpace::Shared => "shared",
            MemSpace::Local => "local",
            MemSpace::Const => "const",
            MemSpace::Param => "param",
            MemSpace::Generic => "generic",
        }
    }

    /// The generic address of address 0 of the space; local addresses add the thread.
    pub fn window(self) -> u64 {
        match self {
            MemSpace::Global | MemSpace::Generic => 0,
            MemSpace::Shared => SHARED_WINDOW,
            MemSpace::Local => LOCAL_WINDOW,
            MemSpace::Const => CONST_WINDOW,
            MemSpace::Param => PARAM_WINDOW,
        }
    }
}

/// The space of a generic address and the address within it.
pub fn classify(address: u64) -> (MemSpace, u64) {
    let within = |window: u64| address >> WINDOW_BITS == window >> WINDOW_BITS;
    let inner = address & ((1 << WINDOW_BITS) - 1);
    if within(SHARED_WINDOW) {
        (MemSpace::Shared, inner)
    } else if within(LOCAL_WINDOW) {
        (MemSpace::Local, inner)
    } else if within(CONST_WINDOW) {
        (MemSpace::Const, inner)
    } else if within(PARAM_WINDOW) {
        (MemSpace::Param, inner)
    } else {
        (MemSpace::Global, address)
    }
}

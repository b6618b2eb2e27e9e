//! The little that a GPU-like device must be able to do.

use crate::Error;
use crate::device::Counted;
use jet_codegen::arch::Arch;
use jet_codegen::kernel::Elem;
use jet_codegen::nvrtc::{Compiled, Output};

/// An allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Memory(pub usize);

/// A byte of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The allocation.
    pub memory: Memory,
    /// Offset in it.
    pub offset: u64,
}

impl Place {
    /// This many bytes further.
    pub fn after(self, bytes: usize) -> Self {
        Self { offset: self.offset + bytes as u64, ..self }
    }
}

/// A point in the order of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark(pub usize);

/// A loaded module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Module(pub usize);

/// An argument of a launch.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An address.
    Address(Place),
    /// No address: an operand that the problem does not have.
    Null,
    /// `int`.
    Int(i32),
    /// `long long`.
    Long(i64),
    /// `float`.
    Float(f32),
    /// A tensor map over rows of an operand.
    Map {
        /// First element.
        base: Place,
        /// Format.
        elem: Elem,
        /// Rows and columns.
        shape: [usize; 2],
        /// Elements from row to row.
        stride: usize,
        /// Rows and columns of a box.
        tile: [u32; 2],
        /// Bytes of the swizzle's span; 0 for none.
        swizzle: u32,
    },
}

/// What to launch.
#[derive(Clone, Debug)]
pub struct LaunchSpec<'a> {
    /// The module.
    pub module: Module,
    /// The function in it.
    pub entry: &'a str,
    /// CTAs; none is zero.
    pub grid: [u32; 3],
    /// Threads of a CTA.
    pub block: u32,
    /// CTAs of a cluster.
    pub cluster: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub smem: u32,
    /// Arguments in order.
    pub args: &'a [Value],
}

/// A GPU, or what behaves like one. Work is done in the order it is given.
pub trait Backend: Send {
    /// Its architecture.
    fn arch(&self) -> &'static Arch;
    /// What it loads.
    fn image(&self) -> Output;
    /// Whether each buffer has an allocation of its own, so that stray accesses are seen, rather than a part of one.
    fn separate_buffers(&self) -> bool;
    /// Whether launches are run as a whole. Where they are not, they are only counted, and their results are none.
    fn computes(&self) -> bool {
        true
    }
    /// Memory whose content is undefined.
    fn alloc(&mut self, name: &str, bytes: u64) -> Result<Memory, Error>;
    /// From host to device.
    fn upload(&mut self, to: Place, bytes: &[u8]) -> Result<(), Error>;
    /// From device to host, after all work before.
    fn download(&mut self, from: Place, into: &mut [u8]) -> Result<(), Error>;
    /// Zeros.
    fn zero(&mut self, at: Place, bytes: u64) -> Result<(), Error>;
    /// Loads what was compiled.
    fn load(&mut self, compiled: &Compiled) -> Result<Module, Error>;
    /// Launches.
    fn launch(&mut self, spec: &LaunchSpec<'_>) -> Result<(), Error>;
    /// A point in the order of work, where the device has a clock.
    fn mark(&mut self) -> Result<Option<Mark>, Error> {
        Ok(None)
    }
    /// Seconds between two points. Only asked of a device that gives marks.
    fn seconds(&mut self, _from: Mark, _to: Mark) -> Result<f64, Error> {
        Ok(f64::NAN)
    }
    /// Counts what launches do from now on, or no longer, on a device that can.
    fn count(&mut self, _on: bool) {}
    /// What was counted since the last call; nothing on a device that does not count.
    fn counted(&mut self) -> Option<Counted> {
        None
    }
    /// Gives the device some other work, so that the host is ahead of it and its caches hold nothing of ours: what comes
    /// then is timed without the host's pauses.
    fn get_ahead(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

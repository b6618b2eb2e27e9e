//! An interpreter for PTX: it runs what NVRTC, nvcc, clang or Triton produced, on a CPU, exactly.
//!
//! It knows nothing of jet's kernels and shares no code with what it judges; it depends on no jet crate, and it has
//! its own number formats.
//!
//! ```text
//!  text ── ptx ──► Module ── isa ──► decoded kernel ── exec ──► memory, Report
//!                                        num, tensor: what one instruction computes
//!                                        shadow: races, uninitialised bytes     count: what a profiler would say
//! ```
#![forbid(unsafe_code)]

pub mod cli;
pub mod count;
pub mod exec;
pub mod isa;
pub mod num;
pub mod ptx;
pub mod shadow;
pub mod tensor;

pub use exec::{
    Accumulation, Arg, BufferId, Checks, Emulator, EmulatorOptions, Finding, FindingKind, LaunchConfig,
    LaunchError, LoadError, ModuleId, Report, Severity,
};

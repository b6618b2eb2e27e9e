//! The machine: memory, warps, divergence, barriers, scheduling, asynchronous operations, and the way in.
//!
//! ```text
//!  emulator, launch   buffers, modules, arguments, Report
//!  schedule           whose turn: clusters of a host thread, warps of a cluster, groups of a warp
//!  run, cx            one group's steps; what a handler of `isa` sees
//!  warp, group        frames, lanes that part and meet
//!  barrier, async_ops what warps wait for, and what takes effect later
//!  global, words, space  bytes and addresses
//! ```

pub mod access;
pub mod async_ops;
pub mod barrier;
pub mod cx;
pub mod emulator;
pub mod extra;
pub mod global;
pub mod group;
pub mod heap;
pub mod launch;
pub mod maps;
pub mod mbarrier;
pub mod options;
pub mod report;
pub mod rng;
mod run;
mod schedule;
pub mod space;
pub mod state;
pub mod transfer;
pub mod warp;
pub mod watch;
pub mod words;

pub use cx::{Cx, lanes};
pub use emulator::{Emulator, LoadError, ModuleId};
pub use global::BufferId;
pub use launch::{Arg, LaunchConfig, LaunchError};
pub use options::{Accumulation, Checks, EmulatorOptions};
pub use report::{Finding, FindingKind, Report, Severity};
pub use space::SHARED_FIRST;
pub use state::{Cluster, Cta, Run};

#[cfg(test)]
mod tests;

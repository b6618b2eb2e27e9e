//! Counters: what a profiler would say of a launch.
//!
//! The machine calls a [`Counting`] of its worker, one a host thread, where a launch asked for counters; they are added
//! up at the end, and [`Counting::finish`] makes the [`Counters`] of them, by instruction, line, buffer and in sum.
//! Where nobody asked, the machine's loop is compiled without the calls.
//!
//! ```text
//!  memory    sectors and bank conflicts of one request      words     what the text of an instruction says by itself
//!  touched   bytes of a buffer that were touched            counters  what is counted, in a form that serialises
//!  collect   what the machine calls                         listing   the annotated text, tables for people
//! ```
//!
//! What is not modelled: caches, so a sector is counted each time that a request touches it; and the bank conflicts of
//! operands that wgmma reads from shared memory.

mod collect;
mod counters;
mod hooks;
pub mod listing;
pub mod memory;
mod touched;
mod words;

pub use collect::{Access, Counting};
pub use counters::{
    BarrierCounters, Branches, BufferCounters, ClassCounters, CopyCounters, Counters, GlobalCounters,
    InstructionCounters, Instructions, LocalCounters, SharedCounters, SourceCounters, TensorCounters,
};

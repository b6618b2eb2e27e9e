//! What can go wrong between a program and its output.

use jet_dsl::weight::WeightRef;
use thiserror::Error;

/// Errors of loading and running a program.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No such device.
    #[error("unknown device `{found}`; this build has: {}", known.join(", "))]
    UnknownDevice {
        /// What was asked for.
        found: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The model does not fit.
    #[error(
        "{what} needs {} and {} is available; use a smaller model, context or batch", bytes(*needed), bytes(*available)
    )]
    OutOfMemory {
        /// What is too large.
        what: String,
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// A weight could not be had.
    #[error("weight {id:?}: {reason}")]
    Weight {
        /// Which.
        id: WeightRef,
        /// Why.
        reason: String,
    },
    /// A batch that the executable was not built for, or that makes no sense.
    #[error("{0}")]
    Batch(String),
    /// The context is full.
    #[error("the sequence has {position} tokens and {new} more were given, beyond the context of {context}")]
    ContextFull {
        /// Tokens already there.
        position: usize,
        /// Tokens given.
        new: usize,
        /// Room.
        context: usize,
    },
    /// A token id outside the vocabulary.
    #[error("token id {id} is outside the vocabulary of {vocab}")]
    Token {
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// An op that this device does not run in the asked form.
    #[error("{device} cannot run {op}: {reason}")]
    Unsupported {
        /// The device.
        device: String,
        /// The op.
        op: &'static str,
        /// Why.
        reason: String,
    },
    /// The device, or what it needs, failed.
    #[error("{device}: {reason}")]
    Device {
        /// The device.
        device: String,
        /// What happened.
        reason: String,
    },
    /// A buffer or state that the program does not have, or data of the wrong size for it.
    #[error("{0}")]
    Data(String),
    /// In mode `frozen`, a task without an entry.
    #[error(
        "no tuned schedule for {task}, and the schedule cache is frozen; tune it first: jet-tune run TARGET"
    )]
    Frozen {
        /// The task.
        task: String,
    },
    /// In mode `frozen`, a task whose schedule is stored without its compiled kernel.
    #[error(
        "no compiled kernel for {task}, and the schedule cache is frozen; ship the kernels with the schedules: \
         jet-tune run TARGET, then jet-tune export"
    )]
    FrozenKernel {
        /// The task.
        task: String,
    },
}

/// Bytes for people.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut x = n as f64;
    let mut unit = 0;
    while x >= 1024.0 && unit + 1 < UNITS.len() {
        x /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{x:.2} {}", UNITS[unit]) }
}

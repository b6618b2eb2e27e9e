//! What all GPU devices share: a program's launch plan ([`jet_codegen::launch`]) loaded onto a [`Backend`] and run on
//! batches. A backend has memory, modules and launches; it knows neither programs nor kernels.

mod backend;
mod build;
mod device;
mod exec;
mod place;
mod state;

pub use backend::{Backend, LaunchSpec, Memory, Module, Place, Value};
pub use device::{Driver, GpuDevice};

use crate::Error;
use crate::device::Precision;
use jet_codegen::launch::Numbers;

/// The arithmetic of a precision on a GPU. What weights are stored as plays no part: they are widened at load.
pub(crate) fn numbers(precision: Precision) -> Numbers {
    match precision {
        Precision::F32 => Numbers::F32,
        Precision::Bf16 | Precision::Native => Numbers::Bf16,
    }
}

/// A fault of the device.
pub(crate) fn fault(device: &str, what: impl std::fmt::Display) -> Error {
    Error::Device { device: device.to_owned(), reason: what.to_string() }
}

//! Runs programs on devices.
//!
//! A [`device::Device`] loads a [`jet_codegen::program::Program`] with weights and schedules into an
//! [`device::Executable`], which runs batches of ragged segments and keeps each sequence's state. The CPU device is
//! native code ([`cpu`]); its kernels are usable on their own.
//!
//! What is not here: files, text, the search for schedules. A device takes a schedule from its
//! [`select::ScheduleSource`] or the family's default, and never looks for a better one.
#![deny(unsafe_code)]

mod batch;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "cuda_absent.rs"]
pub mod cuda;
pub mod device;
#[cfg(feature = "emulated")]
pub mod emulated;
mod error;
pub mod events;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod recipe;
pub mod schedule_key;
pub mod select;
pub mod weights;

pub use error::{Error, bytes};

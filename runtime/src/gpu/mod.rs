//! What all GPU devices share: a program's launch plan ([`jet_codegen::launch`]) loaded onto a [`Backend`] and run on
//! batches. A backend has memory, modules and launches; it knows neither programs nor kernels.

mod backend;
mod bench;
mod build;
mod device;
mod exec;
mod kernels;
mod place;
mod shipping;
mod state;

pub use backend::{Backend, LaunchSpec, Mark, Memory, Module, Place, Value};
pub use device::{Driver, GpuDevice};
pub use shipping::{Shippable, Shipping};

use crate::Error;
use crate::device::Precision;
use jet_codegen::arch::Arch;
use jet_codegen::launch::Numbers;
use jet_codegen::nvrtc::CubinStore;
use std::collections::BTreeMap;

/// The variable that names a folder of compiled kernels, in place of the one in jet's cache folder.
const CUBINS: &str = "JET_CUBINS";

/// Where compiled kernels stay: where the variable says, else in jet's cache folder, if there is one.
pub fn store() -> Option<CubinStore> {
    let named = std::env::var_os(CUBINS).filter(|f| !f.is_empty()).map(CubinStore::new);
    named.or_else(|| jet_cache::folders::jet_folder().ok().map(|f| CubinStore::new(f.join("kernels"))))
}

/// The machine of the device called `name`, for launches of one's own.
///
/// # Errors
/// It is no GPU, or there is none.
pub fn backend(name: &str) -> Result<Box<dyn Backend>, Error> {
    #[cfg(feature = "emulated")]
    if let Some(machine) = crate::emulated::Emulated::backend(name) {
        return machine;
    }
    crate::cuda::backend(name).unwrap_or_else(|| {
        Err(Error::UnknownDevice { found: name.to_owned(), known: crate::device::device_names() })
    })
}

/// The hard facts of a GPU: its schedules are found by them.
pub(crate) fn identity(arch: &Arch, gpu: &str, sms: u32) -> BTreeMap<String, String> {
    let facts = [("device", "cuda"), ("arch", arch.name), ("gpu", gpu), ("sms", &sms.to_string())];
    facts.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

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

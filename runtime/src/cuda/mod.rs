//! `cuda:N`: an NVIDIA GPU through the driver, which is loaded at run time. The same binary starts where there is none
//! and says so when it is asked for one.
//!
//! [`ffi`] holds the calls, and all that is unsafe; [`machine`] is the [`Backend`] over them; what is computed before a
//! call (descriptors of tensor maps, arguments, launch geometry, the choice of an image) are functions of their own.

#[allow(unsafe_code, reason = "the driver's calls")]
mod ffi;
pub mod image;
pub mod launch;
pub mod machine;
pub mod map;
#[cfg(test)]
mod mock;

pub use ffi::Context;

use crate::Error;
use crate::device::{Device, Fingerprint, Grade};
use crate::gpu::{Backend, Driver, GpuDevice, fault, identity, store};
use jet_codegen::arch::{self, Arch};
use machine::Machine;
use std::fmt;
use std::sync::Arc;

/// What such a device's name begins with.
pub const PREFIX: &str = "cuda:";
/// The oldest driver interface that has every call used here: sizes of a kernel's parameters came with it.
pub const NEEDED: Version = Version(12_040);

/// A version of the driver's interface, as the driver gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub i32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 1000, self.0 % 1000 / 10)
    }
}

/// A call that the driver refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The function.
    pub call: &'static str,
    /// Its code.
    pub code: u32,
    /// What the driver says about the code, and what its log says.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {} ({})", self.call, self.reason, self.code)
    }
}

/// Why there is no GPU to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No library.
    Driver,
    /// A library of an interface that lacks calls.
    Old(Version),
    /// No such device among so many.
    Device(usize),
    /// A device that no kernel is made for.
    Arch {
        /// Its name.
        name: String,
        /// Its compute capability.
        capability: [u32; 2],
    },
    /// The driver refused.
    Fault(Fault),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Driver => f.write_str(
                "no NVIDIA driver is installed (libcuda was not found); install one, or use --device cpu",
            ),
            Missing::Old(found) => write!(
                f,
                "the NVIDIA driver is too old: it speaks CUDA {found} and {NEEDED} is needed; update the driver"
            ),
            Missing::Device(0) => f.write_str("the driver finds no GPU"),
            Missing::Device(count) => {
                write!(f, "there is no such GPU; the driver finds {count}: cuda:0 to cuda:{}", count - 1)
            }
            Missing::Arch { name, capability: [major, minor] } => write!(
                f,
                "the GPU is a {name} of compute capability {major}.{minor}, and kernels are made for {}",
                arch::names().join(", ")
            ),
            Missing::Fault(fault) => fault.fmt(f),
        }
    }
}

/// What the driver tells of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Model.
    pub name: String,
    /// Compute capability.
    pub capability: [u32; 2],
    /// Streaming multiprocessors.
    pub sms: u32,
    /// Bytes of the L2 cache.
    pub l2: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// The driver's interface.
    pub version: Version,
}

/// The architecture whose kernels run on a GPU of this compute capability. Those of rows that end in `a` run on that
/// very one; others also on later ones of the same major number.
fn arch_of([major, minor]: [u32; 2]) -> Option<&'static Arch> {
    let sm = 10 * major + minor;
    let exact = arch::ALL.iter().find(|a| a.sm == sm);
    let older = || arch::ALL.iter().rfind(|a| a.sm / 10 == major && a.sm < sm && !a.name.ends_with('a'));
    exact.or_else(older)
}

/// A GPU.
pub struct Cuda {
    ordinal: usize,
    facts: Facts,
    arch: &'static Arch,
}

impl Cuda {
    fn find(ordinal: usize) -> Result<Cuda, Missing> {
        let facts = facts(ordinal)?;
        let (name, capability) = (facts.name.clone(), facts.capability);
        let arch = arch_of(capability).ok_or(Missing::Arch { name, capability })?;
        Ok(Cuda { ordinal, facts, arch })
    }
}

/// The number in a device's name; `None` where the name is none of a GPU.
fn ordinal(name: &str) -> Option<Result<usize, Error>> {
    if name == "cuda" {
        return Some(Ok(0));
    }
    let number = name.strip_prefix(PREFIX)?;
    Some(number.parse().map_err(|_| fault(name, format!("`{number}` is no number; the first GPU is cuda:0"))))
}

/// Opens `cuda:N` (`cuda` is the first); `None` where the name begins otherwise.
pub fn open(name: &str) -> Option<Result<Arc<dyn Device>, Error>> {
    let open = |ordinal: usize| {
        let cuda = Cuda::find(ordinal).map_err(|e| fault(name, e))?;
        Ok(Arc::new(GpuDevice::new(cuda, store())) as Arc<dyn Device>)
    };
    Some(ordinal(name)?.and_then(open))
}

/// The machine behind `cuda:N`, without programs; `None` where the name begins otherwise.
pub fn backend(name: &str) -> Option<Result<Box<dyn Backend>, Error>> {
    let open = |ordinal: usize| Cuda::find(ordinal).map_err(|e| fault(name, e))?.open();
    Some(ordinal(name)?.and_then(open))
}

/// Names of the GPUs of this machine.
pub fn names() -> Vec<String> {
    (0..count().unwrap_or(0)).map(|i| format!("{PREFIX}{i}")).collect()
}

/// How many GPUs there are, or why the driver cannot be asked.
pub fn count() -> Result<usize, Missing> {
    version()?;
    ffi::count().map_err(Missing::Fault)
}

/// The driver's interface, where there is a driver that has all that is used here.
pub fn version() -> Result<Version, Missing> {
    if !ffi::present() {
        return Err(Missing::Driver);
    }
    let found = Version(ffi::version().map_err(Missing::Fault)?);
    if found < NEEDED { Err(Missing::Old(found)) } else { Ok(found) }
}

/// What is known of GPU `ordinal`.
pub fn facts(ordinal: usize) -> Result<Facts, Missing> {
    let version = version()?;
    let count = count()?;
    if ordinal >= count {
        return Err(Missing::Device(count));
    }
    ffi::facts(ordinal, version).map_err(Missing::Fault)
}

/// Opens GPU `ordinal` for calls of one's own, without programs or kernels.
pub fn context(ordinal: usize) -> Result<Context, Missing> {
    facts(ordinal)?;
    Context::new(ordinal).map_err(Missing::Fault)
}

impl Driver for Cuda {
    fn name(&self) -> String {
        format!("{PREFIX}{}", self.ordinal)
    }

    fn describe(&self) -> String {
        let f = &self.facts;
        format!(
            "{}, {} SMs, {} of memory, {}, driver for CUDA {}",
            f.name,
            f.sms,
            crate::bytes(f.memory),
            self.arch,
            f.version
        )
    }

    fn arch(&self) -> &'static Arch {
        self.arch
    }

    fn grade(&self) -> Grade {
        Grade::Measured
    }

    fn fingerprint(&self) -> Fingerprint {
        let f = &self.facts;
        let soft = [("driver", f.version.to_string()), ("memory", f.memory.to_string())];
        Fingerprint {
            hard: identity(self.arch, &f.name, f.sms),
            soft: soft.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    }

    fn memory_available(&self) -> Option<u64> {
        let mut context = Context::new(self.ordinal).ok()?;
        machine::Api::memory(&mut context).ok().map(|[free, _]| free)
    }

    fn open(&self) -> Result<Box<dyn Backend>, Error> {
        let context = Context::new(self.ordinal).map_err(|e| fault(&self.name(), e))?;
        Ok(Box::new(Machine::new(self.name(), self.arch, context)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        let said = |m: Missing| m.to_string();
        assert!(said(Missing::Driver).contains("--device cpu"));
        let old = said(Missing::Old(Version(11_080)));
        assert!(old.contains("11.8") && old.contains("12.4"), "{old}");
        assert!(said(Missing::Device(0)).contains("no GPU"));
        assert!(said(Missing::Device(2)).contains("cuda:0 to cuda:1"));
        let arch = said(Missing::Arch { name: "Tesla T4".into(), capability: [7, 5] });
        assert!(arch.contains("7.5") && arch.contains("sm_80"), "{arch}");
    }

    #[test]
    fn kernels_of_an_architecture_run_on_its_own_capability_and_plain_ones_on_later_ones() {
        let name = |c| arch_of(c).map(|a| a.name);
        assert_eq!(name([8, 0]), Some("sm_80"));
        assert_eq!(name([8, 7]), Some("sm_86"));
        assert_eq!(name([9, 0]), Some("sm_90a"));
        assert_eq!(name([12, 1]), Some("sm_121a"));
        assert_eq!(name([7, 5]), None);
        assert_eq!(name([10, 1]), None, "kernels of sm_100a run on 10.0 alone");
    }

    #[test]
    fn names_are_of_gpus_or_of_others() {
        assert!(ordinal("cpu").is_none() && ordinal("emulated:sm_80").is_none());
        assert_eq!(ordinal("cuda").unwrap().unwrap(), 0);
        assert_eq!(ordinal("cuda:3").unwrap().unwrap(), 3);
        let why = ordinal("cuda:x").unwrap().unwrap_err().to_string();
        assert!(why.contains("`x`") && why.contains("cuda:0"), "{why}");
    }

    /// On a machine without a driver this is the path that every user of it meets; with one, devices are listed.
    #[test]
    fn a_gpu_that_is_not_there_is_an_error_and_never_a_panic() {
        match count() {
            Ok(n) => {
                let beyond = open(&format!("{PREFIX}{n}")).unwrap().err().unwrap().to_string();
                assert!(beyond.contains("GPU"), "{beyond}");
                assert_eq!(names().len(), n);
            }
            Err(missing) => {
                let why = open("cuda:0").unwrap().err().unwrap().to_string();
                assert_eq!(why, format!("cuda:0: {missing}"));
                assert!(names().is_empty());
                assert_eq!(context(0).err(), Some(missing));
            }
        }
    }
}

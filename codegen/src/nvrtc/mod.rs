//! From generated source to PTX and cubins, through NVRTC, which is loaded at run time and needs neither a GPU nor a
//! driver. The one impure part of this crate, behind the feature `nvrtc`.

#![allow(unsafe_code, reason = "a library loaded at run time")]

mod api;
mod compiler;
mod find;
mod log;
mod pool;
mod store;

pub use compiler::Compiler;
pub use find::{NotFound, Tried};
pub use log::{Notice, Resources};
pub use pool::{Job, compile_all};
pub use store::{CubinStore, StoreError, digest, source_name};

use crate::arch::Arch;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

/// What can go wrong between source and cubin.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum NvrtcError {
    /// There is no NVRTC here.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// The library is there and refuses a call.
    #[error("NVRTC: {call} failed: {reason}")]
    Call {
        /// The function.
        call: &'static str,
        /// Its error string.
        reason: String,
    },
    /// The source does not compile.
    #[error("the source does not compile for {target}:\n{log}")]
    Rejected {
        /// The architecture.
        target: String,
        /// The compiler's log.
        log: String,
    },
    /// A compilation took longer than it was given.
    #[error("the compilation was not done after {seconds:.1} s")]
    Deadline {
        /// Seconds given.
        seconds: f64,
    },
    /// A packed store lacks a source, and there is no compiler.
    #[error("a kernel is not among the compiled ones in {folder}, and it cannot be compiled here: {missing}")]
    NotPacked {
        /// The store's folder.
        folder: String,
        /// Why there is no compiler.
        missing: String,
    },
    /// The compiling thread ended without a result.
    #[error("the compiler ended without a result")]
    Lost,
}

static COMPILATIONS: AtomicU64 = AtomicU64::new(0);

/// How many sources this process has given to the compiler. A session whose kernels were shipped leaves it where it was.
pub fn compilations() -> u64 {
    COMPILATIONS.load(Ordering::Relaxed)
}

/// What is asked of a compilation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Output {
    /// PTX only: for the emulator, and quicker.
    Ptx,
    /// Cubin, PTX and the assembler's report.
    Cubin,
}

/// A compiled source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// Machine code, where it was asked for.
    pub cubin: Vec<u8>,
    /// PTX.
    pub ptx: String,
    /// What the compiler and the assembler said.
    pub log: String,
    /// What each entry takes, by name, where a cubin was asked for.
    pub resources: Vec<(String, Resources)>,
}

impl Compiled {
    /// As it is kept in files and in packs: checksummed, and read back by [`Compiled::from_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        store::encode(self)
    }

    /// What [`Compiled::to_bytes`] wrote; nothing where a byte is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        store::decode(bytes)
    }

    /// What `entry` takes.
    pub fn resources_of(&self, entry: &str) -> Option<&Resources> {
        self.resources.iter().find(|(name, _)| name == entry).map(|(_, r)| r)
    }

    /// Remarks of the assembler that a kernel must not have, such as serialised matrix instructions.
    pub fn notices(&self) -> Vec<Notice> {
        log::notices(&self.log)
    }
}

/// A loaded NVRTC.
pub struct Nvrtc {
    api: api::Api,
    version: (i32, i32),
    place: String,
}

impl Nvrtc {
    /// The NVRTC of this machine, found once per process; the error says what was tried.
    pub fn get() -> Result<&'static Nvrtc, NvrtcError> {
        static FOUND: OnceLock<Result<Nvrtc, NotFound>> = OnceLock::new();
        FOUND.get_or_init(Self::load).as_ref().map_err(|e| NvrtcError::NotFound(e.clone()))
    }

    fn load() -> Result<Nvrtc, NotFound> {
        let (api, place) = find::load()?;
        let version = api.version();
        Ok(Nvrtc { api, version, place })
    }

    /// Its version, as in `13.5`.
    pub fn version(&self) -> String {
        format!("{}.{}", self.version.0, self.version.1)
    }

    /// Where it was found.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The options of a compilation for `arch`. They are part of what identifies a cubin.
    pub fn options(arch: &Arch, output: Output) -> Vec<String> {
        let mut options = vec![
            format!("--gpu-architecture={}", arch.name),
            "--std=c++17".to_owned(),
            "--device-as-default-execution-space".to_owned(),
            "--split-compile=1".to_owned(),
        ];
        match output {
            // A virtual target stops before the assembler.
            Output::Ptx => {
                options[0] = format!("--gpu-architecture={}", arch.name.replace("sm_", "compute_"))
            }
            Output::Cubin => options.push("--ptxas-options=-v".to_owned()),
        }
        options
    }

    /// Compiles `source` for `arch`.
    pub fn compile(&self, source: &str, arch: &Arch, output: Output) -> Result<Compiled, NvrtcError> {
        COMPILATIONS.fetch_add(1, Ordering::Relaxed);
        let options = Self::options(arch, output);
        let program = self.api.program(source)?;
        let fine = program.compile(&options)?;
        let log = program.log()?;
        if !fine {
            return Err(NvrtcError::Rejected { target: arch.name.to_owned(), log });
        }
        let ptx = program.ptx()?;
        let (cubin, resources) = match output {
            Output::Ptx => (Vec::new(), Vec::new()),
            Output::Cubin => (program.cubin()?, log::resources(&log)),
        };
        Ok(Compiled { cubin, ptx, log, resources })
    }
}

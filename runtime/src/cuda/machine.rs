//! The backend over the driver: memory, modules and launches of [`crate::gpu`] as calls of an [`Api`].

use super::Fault;
use super::image::{Image, images};
use super::launch::{Geometry, Packed};
use super::map::{BYTES, Fields};
use crate::Error;
use crate::gpu::{Backend, LaunchSpec, Mark, Memory, Module, Place, Value, fault};
use jet_codegen::arch::Arch;
use jet_codegen::nvrtc::{Compiled, Output};
use std::collections::HashMap;

/// The code of a refused allocation.
const OUT_OF_MEMORY: u32 = 2;
/// The variable that makes each launch be waited for, so that a fault is told of the kernel that made it.
const SYNC: &str = "JET_CUDA_SYNC";
/// Bytes that are filled in front of what is timed.
const AHEAD: u64 = 1 << 30;
/// How often: about a millisecond on the fastest memory there is.
const TIMES: usize = 4;

/// A function of a loaded module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its number.
    pub id: usize,
    /// Bytes of each parameter.
    pub parameters: Vec<usize>,
}

/// What is asked of the driver. [`super::Context`] is the driver itself; tests put a record in its place.
pub trait Api: Send {
    /// Memory with undefined content: its address.
    fn alloc(&mut self, bytes: u64) -> Result<u64, Fault>;
    /// Gives an allocation back.
    fn free(&mut self, address: u64) -> Result<(), Fault>;
    /// Bytes free and in all.
    fn memory(&mut self) -> Result<[u64; 2], Fault>;
    /// From host to device.
    fn upload(&mut self, to: u64, bytes: &[u8]) -> Result<(), Fault>;
    /// From device to host, after all work before.
    fn download(&mut self, from: u64, into: &mut [u8]) -> Result<(), Fault>;
    /// Sets bytes.
    fn fill(&mut self, at: u64, byte: u8, bytes: u64) -> Result<(), Fault>;
    /// Loads a module: its number.
    fn load(&mut self, image: &Image) -> Result<usize, Fault>;
    /// A function of it.
    fn function(&mut self, module: usize, entry: &str) -> Result<Function, Fault>;
    /// Lets a function have the shared memory and the clusters of `geometry`.
    fn allow(&mut self, function: usize, geometry: &Geometry) -> Result<(), Fault>;
    /// Launches.
    fn launch(&mut self, function: usize, geometry: &Geometry, arguments: &Packed) -> Result<(), Fault>;
    /// The bytes of a tensor map over a tensor at `address`.
    fn encode(&mut self, map: &Fields, address: u64) -> Result<[u8; BYTES], Fault>;
    /// A point in the order of work: its number.
    fn mark(&mut self) -> Result<usize, Fault>;
    /// Seconds between two points, after the later one.
    fn seconds(&mut self, from: usize, to: usize) -> Result<f64, Fault>;
    /// Waits for all work.
    fn synchronize(&mut self) -> Result<(), Fault>;
}

/// A GPU with what is loaded on it.
pub struct Machine<A> {
    name: String,
    arch: &'static Arch,
    api: A,
    /// Address and bytes.
    buffers: Vec<(u64, u64)>,
    modules: Vec<usize>,
    functions: HashMap<(usize, String), Function>,
    /// The most shared memory that a function was allowed, and whether clusters were seen to.
    allowed: HashMap<usize, (u32, u32)>,
    /// What is filled in front of what is timed.
    ahead: Option<(u64, u64)>,
    waits: bool,
}

impl<A: Api> Machine<A> {
    /// The GPU behind `api`.
    pub fn new(name: String, arch: &'static Arch, api: A) -> Self {
        let waits = std::env::var(SYNC).is_ok_and(|v| v != "0");
        Self {
            name,
            arch,
            api,
            buffers: vec![],
            modules: vec![],
            functions: HashMap::new(),
            allowed: HashMap::new(),
            ahead: None,
            waits,
        }
    }

    fn fault(&self, what: impl std::fmt::Display) -> Error {
        fault(&self.name, what)
    }

    /// The address of `bytes` at a place.
    fn address(&self, place: Place, bytes: u64) -> Result<u64, Error> {
        let (base, len) = self.buffers[place.memory.0];
        match place.offset.checked_add(bytes) {
            Some(end) if end <= len => Ok(base + place.offset),
            _ => {
                let at = place.offset;
                Err(self.fault(format!("{bytes} bytes at {at} of an allocation of {len}")))
            }
        }
    }

    fn pack(&mut self, values: &[Value]) -> Result<Packed, Error> {
        let mut packed = Packed::default();
        for value in values {
            match value {
                Value::Address(place) => packed.push(&self.address(*place, 0)?.to_le_bytes()),
                Value::Null => packed.push(&0u64.to_le_bytes()),
                Value::Int(n) => packed.push(&n.to_le_bytes()),
                Value::Long(n) => packed.push(&n.to_le_bytes()),
                Value::Float(x) => packed.push(&x.to_le_bytes()),
                Value::Map { base, .. } => {
                    let fields = Fields::of(value).expect("it is a map").map_err(|e| self.fault(e))?;
                    let address = self.address(*base, 0)?;
                    packed.push(&self.api.encode(&fields, address).map_err(|e| self.fault(e))?);
                }
            }
        }
        Ok(packed)
    }

    fn function(&mut self, module: usize, entry: &str) -> Result<Function, Error> {
        let key = (module, entry.to_owned());
        if let Some(found) = self.functions.get(&key) {
            return Ok(found.clone());
        }
        let found = self.api.function(module, entry).map_err(|e| self.fault(e))?;
        self.functions.insert(key, found.clone());
        Ok(found)
    }

    /// Allows a function what it has not been allowed yet.
    fn allow(&mut self, function: usize, geometry: &Geometry) -> Result<(), Error> {
        let (smem, cluster) = self.allowed.get(&function).copied().unwrap_or_default();
        if geometry.smem <= smem && geometry.cluster_size() <= cluster {
            return Ok(());
        }
        // The attribute is the most that any launch may have, so it never shrinks.
        let most = Geometry { smem: geometry.smem.max(smem), ..*geometry };
        self.api.allow(function, &most).map_err(|e| self.fault(e))?;
        self.allowed.insert(function, (most.smem, geometry.cluster_size().max(cluster)));
        Ok(())
    }
}

impl<A: Api> Backend for Machine<A> {
    fn arch(&self) -> &'static Arch {
        self.arch
    }

    fn image(&self) -> Output {
        Output::Cubin
    }

    fn separate_buffers(&self) -> bool {
        false
    }

    fn alloc(&mut self, name: &str, bytes: u64) -> Result<Memory, Error> {
        let bytes = bytes.max(1);
        let address = match self.api.alloc(bytes) {
            Ok(address) => address,
            Err(f) if f.code == OUT_OF_MEMORY => {
                let available = self.api.memory().map_or(0, |[free, _]| free);
                let what = format!("`{name}` on {}", self.name);
                return Err(Error::OutOfMemory { what, needed: bytes, available });
            }
            Err(f) => return Err(self.fault(f)),
        };
        self.buffers.push((address, bytes));
        Ok(Memory(self.buffers.len() - 1))
    }

    fn upload(&mut self, to: Place, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let address = self.address(to, bytes.len() as u64)?;
        self.api.upload(address, bytes).map_err(|e| self.fault(e))
    }

    fn download(&mut self, from: Place, into: &mut [u8]) -> Result<(), Error> {
        if into.is_empty() {
            return Ok(());
        }
        let address = self.address(from, into.len() as u64)?;
        self.api.download(address, into).map_err(|e| {
            // Work is done behind the host's back: what fails here may be a kernel before.
            self.fault(format!("{e}, in this or in a kernel before; {SYNC}=1 says which"))
        })
    }

    fn zero(&mut self, at: Place, bytes: u64) -> Result<(), Error> {
        let address = self.address(at, bytes)?;
        self.api.fill(address, 0, bytes).map_err(|e| self.fault(e))
    }

    fn load(&mut self, compiled: &Compiled) -> Result<Module, Error> {
        let mut refusals = Vec::new();
        for image in images(&compiled.cubin, &compiled.ptx).map_err(|e| self.fault(e))? {
            match self.api.load(&image) {
                Ok(id) => {
                    if let Some(why) = refusals.first() {
                        tracing::warn!(device = self.name, why, "a cubin was refused; its PTX was loaded");
                    }
                    self.modules.push(id);
                    return Ok(Module(self.modules.len() - 1));
                }
                Err(f) => refusals.push(match image {
                    Image::Cubin(_) => format!("the cubin for {}: {f}", self.arch),
                    Image::Ptx(_) => format!("the PTX: {f}"),
                }),
            }
        }
        Err(self.fault(refusals.join("; ")))
    }

    fn launch(&mut self, spec: &LaunchSpec<'_>) -> Result<(), Error> {
        let geometry = Geometry {
            grid: spec.grid,
            block: [spec.block, 1, 1],
            cluster: (spec.cluster != [1; 3]).then_some(spec.cluster),
            smem: spec.smem,
        };
        let told = |e: String| format!("`{}`: {e}", spec.entry);
        geometry.check().map_err(|e| self.fault(told(e)))?;
        let arguments = self.pack(spec.args)?;
        let function = self.function(self.modules[spec.module.0], spec.entry)?;
        arguments.check(spec.entry, &function.parameters).map_err(|e| self.fault(e))?;
        self.allow(function.id, &geometry)?;
        let launched = self.api.launch(function.id, &geometry, &arguments);
        let done = launched.and_then(|()| if self.waits { self.api.synchronize() } else { Ok(()) });
        done.map_err(|e| self.fault(told(e.to_string())))
    }

    fn mark(&mut self) -> Result<Option<Mark>, Error> {
        self.api.mark().map(|n| Some(Mark(n))).map_err(|e| self.fault(e))
    }

    fn seconds(&mut self, from: Mark, to: Mark) -> Result<f64, Error> {
        self.api.seconds(from.0, to.0).map_err(|e| self.fault(e))
    }

    fn get_ahead(&mut self) -> Result<(), Error> {
        let (at, bytes) = match self.ahead {
            Some(known) => known,
            None => {
                let [free, _] = self.api.memory().map_err(|e| self.fault(e))?;
                let bytes = AHEAD.min(free / 4);
                (self.api.alloc(bytes).map_err(|e| self.fault(e))?, bytes)
            }
        };
        self.ahead = Some((at, bytes));
        for _ in 0..TIMES {
            self.api.fill(at, 0, bytes).map_err(|e| self.fault(e))?;
        }
        Ok(())
    }
}

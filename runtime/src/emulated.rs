//! `emulated:ARCH`: the PTX interpreter as a GPU. It runs the very kernels that ship, slowly, with every access
//! checked: a stray access, a value that nobody wrote, a race or a misused barrier is an error of the run.

mod absent;
mod model;

pub use absent::AbsentGpu;

use crate::Error;
use crate::cpu::CpuDevice;
use crate::device::{Counted, Device as _, Fingerprint, Grade};
use crate::gpu::{Backend, Driver, GpuDevice, LaunchSpec, Memory, Module, Place, Value, fault, store};
use jet_codegen::arch::{self, Arch, Peaks};
use jet_codegen::kernel::Elem;
use jet_codegen::nvrtc::{Compiled, CubinStore, Output, Resources};
use jet_emu::exec::{Arg, BufferId, Emulator, EmulatorOptions, LaunchConfig, ModuleId};
use jet_emu::tensor::{MapElement, SwizzleMode, TensorMapSpec};
use std::collections::BTreeMap;

/// What such a device's name begins with.
pub const PREFIX: &str = "emulated:";
/// The variable that names the seed of the machine's free choices.
const SEED: &str = "JET_EMULATED_SEED";
/// The variable that switches the checks off where it is `0`.
const CHECKS: &str = "JET_EMULATED_CHECKS";
/// The variable that has cubins made beside the PTX where it is `1`: what a rehearsal compiles, a GPU finds compiled.
/// Where it is `only`, nothing is run: memory holds nothing and launches do nothing.
const CUBINS: &str = "JET_EMULATED_CUBINS";

/// The emulated GPU of an architecture.
pub struct Emulated {
    arch: &'static Arch,
}

impl Emulated {
    /// The device called `emulated:ARCH`; `None` where the name begins otherwise. Compiled kernels stay in the folder of all
    /// GPU devices.
    pub fn open(name: &str) -> Option<Result<GpuDevice<Emulated>, Error>> {
        Self::open_with(name, store())
    }

    /// [`Emulated::open`] with compiled kernels kept in `store`, or nowhere.
    pub fn open_with(name: &str, store: Option<CubinStore>) -> Option<Result<GpuDevice<Emulated>, Error>> {
        let arch = arch::parse(name.strip_prefix(PREFIX)?).map_err(|e| fault(name, e));
        Some(arch.map(|arch| GpuDevice::new(Emulated { arch }, store)))
    }

    /// The machine called `emulated:ARCH`, without programs.
    pub(crate) fn backend(name: &str) -> Option<Result<Box<dyn Backend>, Error>> {
        let arch = arch::parse(name.strip_prefix(PREFIX)?).map_err(|e| fault(name, e));
        Some(arch.and_then(|arch| Emulated { arch }.open()))
    }

    /// The names of all of them.
    pub fn names() -> impl Iterator<Item = String> {
        arch::names().into_iter().map(|a| format!("{PREFIX}{a}"))
    }
}

impl Driver for Emulated {
    fn name(&self) -> String {
        format!("{PREFIX}{}", self.arch)
    }

    fn describe(&self) -> String {
        format!("emulated {}: the PTX interpreter, no GPU, no timings", self.arch)
    }

    fn arch(&self) -> &'static Arch {
        self.arch
    }

    fn grade(&self) -> Grade {
        Grade::Emulated
    }

    fn fingerprint(&self) -> Fingerprint {
        let hard = [("device", "emulated"), ("arch", self.arch.name)];
        let own = |(k, v): (&str, &str)| (k.to_owned(), v.to_owned());
        Fingerprint { hard: hard.map(own).into(), soft: BTreeMap::new() }
    }

    fn memory_available(&self) -> Option<u64> {
        // Its memory is the host's.
        CpuDevice::new(1).memory_available()
    }

    fn open(&self) -> Result<Box<dyn Backend>, Error> {
        let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
        let mut options = EmulatorOptions { seed: number(SEED).unwrap_or(0), ..EmulatorOptions::default() };
        if number(CHECKS) == Some(0) {
            options.checks = jet_emu::exec::Checks::NONE;
        }
        let emulator = Emulator::new(options);
        let cubins = std::env::var(CUBINS).unwrap_or_default();
        Ok(Box::new(Machine {
            cubins: cubins == "1" || cubins == "only",
            runs: cubins != "only",
            ..Machine::new(self.name(), self.arch, self.arch.peaks, emulator)
        }))
    }
}

struct Machine {
    name: String,
    arch: &'static Arch,
    /// Of the GPU whose times are modelled.
    peaks: Peaks,
    emulator: Emulator,
    /// Whether cubins are compiled too.
    cubins: bool,
    /// Whether anything is run.
    runs: bool,
    buffers: Vec<BufferId>,
    modules: Vec<(ModuleId, Vec<(String, Resources)>)>,
    /// What was counted since somebody asked.
    counted: Option<Counted>,
}

impl Machine {
    fn new(name: String, arch: &'static Arch, peaks: Peaks, emulator: Emulator) -> Self {
        let (buffers, modules) = (Vec::new(), Vec::new());
        Self { name, arch, peaks, emulator, cubins: false, runs: true, buffers, modules, counted: None }
    }

    /// The shape of a launch, or why it cannot be.
    fn shape(&self, spec: &LaunchSpec<'_>) -> Result<model::Shape, Error> {
        let ctas: u64 = spec.grid.iter().map(|n| u64::from(*n)).product();
        let cluster: u64 = spec.cluster.iter().map(|n| u64::from(*n)).product();
        let ran = self.emulator.options().sample.map_or(ctas, |most| ctas.min(most.max(1) * cluster));
        let of = |(name, resources): &(String, Resources)| (name == spec.entry).then_some(*resources);
        let resources = self.modules[spec.module.0].1.iter().find_map(of);
        let shape = model::Shape { ctas, ran, threads: spec.block, smem: spec.smem, resources };
        if let Some(r) = resources.filter(|_| shape.resident(self.arch) == 0) {
            return Err(self.fault(format!(
                "`{}` does not fit: an SM of {} has no room for {} threads of {} registers and {} bytes of shared memory",
                spec.entry, self.arch, spec.block, r.registers, spec.smem + r.static_smem
            )));
        }
        Ok(shape)
    }

    fn buffer(&self, place: Place) -> BufferId {
        self.buffers[place.memory.0]
    }

    fn fault(&self, what: impl std::fmt::Display) -> Error {
        fault(&self.name, what)
    }

    fn argument(&self, value: &Value) -> Result<Arg, Error> {
        Ok(match value {
            Value::Address(place) => Arg::BufferAt(self.buffer(*place), place.offset),
            Value::Null => Arg::Null,
            Value::Int(n) => Arg::I32(*n),
            Value::Long(n) => Arg::I64(*n),
            Value::Float(x) => Arg::F32(*x),
            Value::Map { base, elem, shape, stride, tile, swizzle } => {
                let address = self.emulator.address(self.buffer(*base)).map_err(|e| self.fault(e))?;
                let mode = match swizzle {
                    32 => SwizzleMode::B32,
                    64 => SwizzleMode::B64,
                    128 => SwizzleMode::B128,
                    _ => SwizzleMode::None,
                };
                let mut spec = TensorMapSpec {
                    tensor: String::new(),
                    offset: base.offset,
                    dtype: element(*elem),
                    dims: vec![shape[1] as u64, shape[0] as u64],
                    strides: Some(vec![(stride * elem.bytes()) as u64]),
                    box_dims: vec![tile[1], tile[0]],
                    element_strides: None,
                    swizzle: Default::default(),
                    fill: Default::default(),
                    interleave: Default::default(),
                    l2_promotion: Default::default(),
                };
                spec.swizzle.mode = mode;
                Arg::Bytes(spec.build(address).map_err(|e| self.fault(e))?.encode().to_vec())
            }
        })
    }
}

fn element(elem: Elem) -> MapElement {
    match elem {
        Elem::F32 => MapElement::F32,
        Elem::Bf16 => MapElement::Bf16,
        Elem::F16 => MapElement::F16,
        Elem::E4m3 => MapElement::U8,
    }
}

impl Backend for Machine {
    fn arch(&self) -> &'static Arch {
        self.arch
    }

    fn image(&self) -> Output {
        if self.cubins { Output::Cubin } else { Output::Ptx }
    }

    fn separate_buffers(&self) -> bool {
        true
    }

    fn computes(&self) -> bool {
        self.emulator.options().sample.is_none()
    }

    fn alloc(&mut self, name: &str, bytes: u64) -> Result<Memory, Error> {
        let bytes = if self.runs { bytes } else { 1 };
        let id = self.emulator.alloc(name, bytes).map_err(|e| self.fault(e))?;
        self.buffers.push(id);
        Ok(Memory(self.buffers.len() - 1))
    }

    fn upload(&mut self, to: Place, bytes: &[u8]) -> Result<(), Error> {
        if !self.runs {
            return Ok(());
        }
        self.emulator.write(self.buffer(to), to.offset, bytes).map_err(|e| self.fault(e))
    }

    fn download(&mut self, from: Place, into: &mut [u8]) -> Result<(), Error> {
        if !self.runs {
            into.fill(0);
            return Ok(());
        }
        let all = self.emulator.read(self.buffer(from)).map_err(|e| self.fault(e))?;
        let start = from.offset as usize;
        let part = all.get(start..start + into.len()).ok_or_else(|| self.fault("a read beyond a buffer"))?;
        into.copy_from_slice(part);
        Ok(())
    }

    fn zero(&mut self, at: Place, bytes: u64) -> Result<(), Error> {
        self.upload(at, &vec![0; bytes as usize])
    }

    fn load(&mut self, compiled: &Compiled) -> Result<Module, Error> {
        if !self.runs {
            return Ok(Module(0));
        }
        let id = self.emulator.load(&compiled.ptx).map_err(|e| self.fault(e))?;
        self.modules.push((id, compiled.resources.clone()));
        Ok(Module(self.modules.len() - 1))
    }

    fn launch(&mut self, spec: &LaunchSpec<'_>) -> Result<(), Error> {
        if !self.runs {
            return Ok(());
        }
        let args: Vec<Arg> = spec.args.iter().map(|a| self.argument(a)).collect::<Result<_, _>>()?;
        let config = LaunchConfig {
            kernel: spec.entry.to_owned(),
            grid: spec.grid,
            block: [spec.block, 1, 1],
            cluster: (spec.cluster != [1; 3]).then_some(spec.cluster),
            dynamic_shared: spec.smem,
        };
        let shape = self.shape(spec)?;
        let module = self.modules[spec.module.0].0;
        let report = self.emulator.launch(module, &config, &args).map_err(|e| self.fault(e))?;
        if let Some(counters) = &report.counters {
            model::add(self.counted.get_or_insert_default(), self.arch, &self.peaks, shape, counters);
        }
        if report.clean() {
            return Ok(());
        }
        let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        Err(self.fault(format!("`{}`: {}", spec.entry, findings.join("\n"))))
    }

    fn count(&mut self, on: bool) {
        self.emulator.options_mut().counters = on;
    }

    fn counted(&mut self) -> Option<Counted> {
        self.counted.take()
    }
}

//! A GPU as a [`Device`], whatever its backend.

use super::exec::GpuExecutable;
use super::place::{StateLayout, arena};
use super::{Backend, numbers};
use crate::Error;
use crate::device::{Bench, Device, Executable, Fingerprint, Footprint, Grade, LoadRequest, Precision};
use crate::recipe::Recipe;
use jet_codegen::arch::Arch;
use jet_codegen::kernel::families;
use jet_codegen::launch::{self, Operand, Plan};
use jet_codegen::nvrtc::{Compiler, CubinStore};
use jet_codegen::program::Program;
use jet_codegen::schedule::{Family, Problem};
use jet_dsl::weight::WeightRef;
use jet_numerics::DType;
use std::collections::HashSet;

/// Opens backends: what differs between one kind of GPU device and another.
pub trait Driver: Send + Sync {
    /// As on the command line.
    fn name(&self) -> String;
    /// One line for people.
    fn describe(&self) -> String;
    /// Its architecture.
    fn arch(&self) -> &'static Arch;
    /// What its results and times are worth.
    fn grade(&self) -> Grade;
    /// Its identity for schedules.
    fn fingerprint(&self) -> Fingerprint;
    /// Bytes free on the device, where it knows.
    fn memory_available(&self) -> Option<u64>;
    /// A backend with memory of its own.
    fn open(&self) -> Result<Box<dyn Backend>, Error>;
}

/// A GPU.
pub struct GpuDevice<D> {
    driver: D,
    store: Option<CubinStore>,
}

impl<D: Driver> GpuDevice<D> {
    /// The device of `driver`; compiled kernels are kept in `store`.
    pub fn new(driver: D, store: Option<CubinStore>) -> Self {
        Self { driver, store }
    }

    fn measure(&self, plan: &Plan, request: &LoadRequest<'_>) -> Footprint {
        let mut counted = HashSet::new();
        let calls = plan.steps.iter().flat_map(|s| &s.choices).flat_map(|c| &c.call.operands);
        let weights = calls.filter_map(|(_, o)| match o {
            Operand::Weight(w) if counted.insert(w.clone()) => Some(w.bytes() as u64),
            _ => None,
        });
        let weights = weights.sum();
        let limits = request.limits;
        let state = |s: &jet_codegen::program::State| {
            StateLayout::of(plan, s.shape, limits.context).slot_bytes() as u64
        };
        Footprint {
            weights,
            activations: arena(plan, limits).elements as u64,
            states: plan.program.states.iter().map(state).sum::<u64>() * limits.max_sequences as u64,
        }
    }
}

impl<D: Driver> GpuDevice<D> {
    /// The precision of a whole program: its kernels are planned for one kind of numbers.
    fn one_precision(&self, recipe: &Recipe) -> Result<Precision, Error> {
        self.accepts(recipe).map(|()| recipe.default_precision())
    }
}

impl<D: Driver> Device for GpuDevice<D> {
    fn name(&self) -> String {
        self.driver.name()
    }

    fn describe(&self) -> String {
        self.driver.describe()
    }

    fn grade(&self) -> Grade {
        self.driver.grade()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.driver.fingerprint()
    }

    fn toolchain(&self) -> String {
        let compiler = Compiler::find(self.store.as_ref());
        compiler.map_or_else(|_| String::new(), |compiler| format!("nvrtc {}", compiler.version()))
    }

    fn memory_available(&self) -> Option<u64> {
        self.driver.memory_available()
    }

    fn families(&self) -> &'static [&'static dyn Family] {
        families(self.driver.arch())
    }

    fn problems(
        &self,
        program: &Program,
        _dtype: &dyn Fn(WeightRef) -> Option<DType>,
        recipe: &Recipe,
        tokens: &[usize],
    ) -> Vec<Problem> {
        let Some(precision) = recipe.uniform() else { return vec![] };
        let plan = launch::plan(program, numbers(precision));
        let mut seen = HashSet::new();
        tokens.iter().flat_map(|t| plan.problems(*t)).filter(|p| seen.insert(p.clone())).collect()
    }

    fn footprint(&self, request: &LoadRequest<'_>) -> Result<Footprint, Error> {
        let numbers = numbers(self.one_precision(&request.recipe)?);
        Ok(self.measure(&launch::plan(&request.program, numbers), request))
    }

    fn load(&self, request: LoadRequest<'_>) -> Result<Box<dyn Executable>, Error> {
        let plan = launch::plan(&request.program, numbers(self.one_precision(&request.recipe)?));
        let footprint = self.measure(&plan, &request);
        if let Some(available) = self.memory_available()
            && footprint.total() > available
        {
            let what = format!("`{}` on {}", request.program.name, self.name());
            return Err(Error::OutOfMemory { what, needed: footprint.total(), available });
        }
        let backend = self.driver.open()?;
        let store = self.store.as_ref();
        Ok(Box::new(GpuExecutable::load(self.name(), backend, plan, footprint, request, store)?))
    }

    fn bench(&self, problem: &Problem) -> Result<Box<dyn Bench>, Error> {
        crate::events::bench_opened();
        super::bench::open(&self.name(), self.driver.open()?, self.store.as_ref(), problem)
    }
}

//! The CPU as a [`Device`].

use super::bench;
use super::exec::{self, CpuExecutable, PackedWeights};
use super::kv_cache::KvType;
use super::machine::Machine;
use super::pool::Pool;
use super::simd::{Features, Isa};
use crate::Error;
use crate::device::{Bench, Device, Executable, Fingerprint, Footprint, LoadRequest, Precision};
use crate::recipe::{Part, Recipe};
use jet_codegen::memory;
use jet_codegen::program::{Program, StateShape};
use jet_codegen::schedule::{Family, Problem};
use jet_dsl::weight::WeightRef;
use jet_numerics::DType;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// The kernel families of the CPU that have something to tune.
pub const FAMILIES: &[&dyn Family] = exec::FAMILIES;

/// The native CPU: a pool of workers and the best instruction set of the machine.
pub struct CpuDevice {
    pool: Arc<Pool>,
    features: Features,
    machine: Machine,
}

impl CpuDevice {
    /// A device with `threads` workers; 0 takes one per physical core that the process may use.
    pub fn new(threads: usize) -> Self {
        Self::with_isa(threads, Isa::detect())
    }

    /// The same with a chosen instruction set, for tests and comparisons.
    pub fn with_isa(threads: usize, isa: Isa) -> Self {
        Self { pool: Arc::new(Pool::new(threads)), features: Features::of(isa), machine: Machine::read() }
    }

    /// Loads a program with all that its own executable can do.
    pub(crate) fn load_own(
        &self,
        footprint: Footprint,
        request: LoadRequest<'_>,
    ) -> Result<CpuExecutable, Error> {
        let (pool, packed) = (Arc::clone(&self.pool), &mut PackedWeights::default());
        CpuExecutable::load(pool, self.features, footprint, request, packed)
    }
}

/// The format of KV caches at a precision.
pub(super) fn kv_type(precision: Precision) -> KvType {
    match precision {
        Precision::F32 => KvType::F32,
        Precision::Bf16 => KvType::Bf16,
        Precision::Native => KvType::F16,
    }
}

impl Device for CpuDevice {
    fn name(&self) -> String {
        "cpu".to_owned()
    }

    fn describe(&self) -> String {
        format!("{}, {} workers, {}", self.machine.model, self.pool.workers(), self.features.isa.name())
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut hard = BTreeMap::from([
            ("device".to_owned(), "cpu".to_owned()),
            ("model".to_owned(), self.machine.model.clone()),
            ("isa".to_owned(), self.features.isa.name().to_owned()),
            ("features".to_owned(), self.machine.features.join("+")),
            ("workers".to_owned(), self.pool.workers().to_string()),
        ]);
        for (name, size) in &self.machine.caches {
            hard.insert(name.clone(), size.clone());
        }
        let soft = BTreeMap::from([
            ("os".to_owned(), std::env::consts::OS.to_owned()),
            ("kernel".to_owned(), self.machine.kernel.clone()),
        ]);
        Fingerprint { hard, soft }
    }

    fn memory_available(&self) -> Option<u64> {
        Machine::memory_available()
    }

    fn families(&self) -> &'static [&'static dyn Family] {
        FAMILIES
    }

    fn problems(
        &self,
        program: &Program,
        dtype: &dyn Fn(WeightRef) -> Option<DType>,
        recipe: &Recipe,
        tokens: &[usize],
    ) -> Vec<Problem> {
        let mut seen = HashSet::new();
        let of = |t: &usize| exec::problems(program, dtype, recipe, *t);
        tokens.iter().flat_map(of).filter(|p| seen.insert(p.clone())).collect()
    }

    fn accepts(&self, _recipe: &Recipe) -> Result<(), Error> {
        Ok(())
    }

    fn footprint(&self, request: &LoadRequest<'_>) -> Result<Footprint, Error> {
        let limits = request.limits;
        let program = &request.program;
        let plan = memory::plan(program, limits.max_tokens, limits.max_outputs);
        let mut counted = HashSet::new();
        let weights = program
            .steps
            .iter()
            .flat_map(|s| s.op.weight_elements())
            .filter(|(id, _)| counted.insert(*id))
            .map(|(id, n)| {
                let dtype = request.weights.dtype(id).unwrap_or(DType::F32);
                (n as u64).div_ceil(dtype.block_len() as u64) * dtype.block_bytes() as u64
            })
            .sum();
        let kv = kv_type(request.recipe.of(Part::Caches)).bytes();
        let state = |s: StateShape| match s {
            StateShape::Kv { kv_heads, d_head, window } => {
                2 * kv_heads * d_head * kv * window.map_or(limits.context, |w| w.min(limits.context))
            }
            StateShape::Conv { channels, columns } => 4 * channels * columns,
            StateShape::Recurrent { heads, rows, cols } => 4 * heads * rows * cols,
        };
        let states = program.states.iter().map(|s| state(s.shape) as u64).sum::<u64>();
        Ok(Footprint {
            weights,
            activations: plan.elements as u64 * 4,
            states: states * limits.max_sequences as u64,
        })
    }

    fn load(&self, request: LoadRequest<'_>) -> Result<Box<dyn Executable>, Error> {
        let footprint = self.footprint(&request)?;
        if let Some(available) = self.memory_available()
            && footprint.total() > available
        {
            let what = format!("`{}` on the CPU", request.program.name);
            return Err(Error::OutOfMemory { what, needed: footprint.total(), available });
        }
        Ok(Box::new(self.load_own(footprint, request)?))
    }

    fn bench(&self, problem: &Problem) -> Result<Box<dyn Bench>, Error> {
        crate::events::bench_opened();
        bench::open(Arc::clone(&self.pool), self.features, problem)
    }
}

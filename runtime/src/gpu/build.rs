//! Loading: schedules chosen, sources emitted and compiled, weights uploaded, operands bound.

use super::backend::{Backend, Memory, Module, Place};
use super::kernels::{Kernels, Needed};
use super::place::{Storage, largest};
use crate::Error;
use crate::device::{Limits, token_buckets};
use crate::select::{ScheduleSource, Selection};
use crate::weights::WeightSource;
use half::{bf16, f16};
use jet_codegen::kernel::{ArchFamily, Elem, Source, families, find};
use jet_codegen::launch::{Call, Operand, Plan, Weight, When, row_stride};
use jet_codegen::nvrtc::{Compiled, CubinStore};
use jet_codegen::op::View;
use jet_codegen::program::Rows;
use jet_codegen::schedule::{Problem, Values};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// An operand in its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) place: Place,
    pub(super) elem: Elem,
    /// Elements from row to row.
    pub(super) stride: usize,
    /// Rows; those of an activation are the run's.
    pub(super) rows: Option<usize>,
    pub(super) cols: usize,
    /// Elements from one sequence's part to the next.
    pub(super) slot: usize,
}

/// A source on the device.
pub(super) struct Ready {
    pub(super) source: Source,
    pub(super) module: Module,
}

/// A call with everything resolved.
pub(super) struct LoadedCall {
    pub(super) when: When,
    pub(super) rows: Rows,
    pub(super) operands: Vec<(&'static str, Bound)>,
    pub(super) scalars: Vec<(&'static str, f32)>,
    /// Without its `tokens`.
    pub(super) problem: Problem,
    /// Sources by the largest number of rows they are for, ascending.
    pub(super) buckets: Vec<Bucket>,
}

/// The source of a call for runs of up to some number of rows.
pub(super) struct Bucket {
    most: usize,
    pub(super) ready: Arc<Ready>,
    pub(super) values: Values,
}

impl LoadedCall {
    /// What serves a run of `rows` rows.
    pub(super) fn bucket(&self, rows: usize) -> &Bucket {
        let fits = self.buckets.iter().find(|b| rows <= b.most);
        fits.or(self.buckets.last()).expect("a call has a source")
    }

    pub(super) fn operand(&self, role: &str) -> Option<&Bound> {
        self.operands.iter().find(|(r, _)| *r == role).map(|(_, b)| b)
    }
}

/// A program on the device.
pub(super) struct Loaded {
    /// The choices of each step.
    pub(super) steps: Vec<Vec<LoadedCall>>,
    scratch: BTreeMap<String, Scratch>,
    pub(super) selection: Selection,
}

/// Memory that kernels of one name share.
struct Scratch {
    bytes: u64,
    /// Nothing until it is allocated.
    memory: Option<Memory>,
}

impl Loaded {
    /// The scratch called `name`.
    pub(super) fn scratch(&self, name: &str) -> Option<Memory> {
        self.scratch.get(name).and_then(|s| s.memory)
    }
}

/// A source that a call wants: call, bucket, index of the source.
struct Wanted {
    step: usize,
    choice: usize,
    most: usize,
    values: Values,
    source: usize,
}

pub(super) struct Builder<'a> {
    pub(super) device: &'a str,
    pub(super) backend: &'a mut dyn Backend,
    pub(super) schedules: &'a dyn ScheduleSource,
    pub(super) limits: Limits,
    pub(super) plan: &'a Plan,
    pub(super) storage: &'a Storage,
    pub(super) store: Option<&'a CubinStore>,
}

/// What schedules were found, which sources they give, and who wants them.
struct Chosen {
    selection: Selection,
    sources: Vec<Needed>,
    wanted: Vec<Wanted>,
}

impl Builder<'_> {
    pub(super) fn load(mut self, weights: &dyn WeightSource) -> Result<Loaded, Error> {
        // First, for what may be refused is refused before anything is uploaded.
        let chosen = self.choose()?;
        let steps = self.bind_all(weights)?;
        let mut loaded = Loaded { steps, scratch: BTreeMap::new(), selection: Selection::default() };
        self.equip(&mut loaded, chosen)?;
        Ok(loaded)
    }

    /// Gives a loaded program other schedules; operands stay where they are.
    pub(super) fn reschedule(mut self, loaded: &mut Loaded) -> Result<(), Error> {
        let chosen = self.choose()?;
        self.equip(loaded, chosen)
    }

    /// Compiles what was chosen and gives it to the calls.
    fn equip(&mut self, loaded: &mut Loaded, chosen: Chosen) -> Result<(), Error> {
        self.scratch(&chosen.sources, &mut loaded.scratch)?;
        let ready = self.ready(chosen.sources)?;
        loaded.steps.iter_mut().flatten().for_each(|call| call.buckets.clear());
        for w in chosen.wanted {
            let (most, ready, values) = (w.most, Arc::clone(&ready[w.source]), w.values);
            loaded.steps[w.step][w.choice].buckets.push(Bucket { most, ready, values });
        }
        loaded.selection = chosen.selection;
        Ok(())
    }

    /// The calls of all steps with their operands, without sources.
    fn bind_all(&mut self, source: &dyn WeightSource) -> Result<Vec<Vec<LoadedCall>>, Error> {
        let (mut weights, mut constants) = (HashMap::new(), HashMap::new());
        let mut steps: Vec<Vec<LoadedCall>> = Vec::new();
        for step in &self.plan.steps {
            let mut calls = Vec::new();
            for choice in &step.choices {
                let call = &choice.call;
                let mut operands = Vec::new();
                for (role, operand) in &call.operands {
                    operands.push((*role, self.bind(operand, source, &mut weights, &mut constants)?));
                }
                let (when, rows, scalars) = (choice.when, call.rows, call.scalars.clone());
                let problem = call.problem.clone();
                calls.push(LoadedCall { when, rows, operands, scalars, problem, buckets: Vec::new() });
            }
            steps.push(calls);
        }
        Ok(steps)
    }

    /// Every distinct source with the rows it counts by, and which calls want it.
    fn choose(&self) -> Result<Chosen, Error> {
        let arch = self.backend.arch();
        let mut selection = Selection::default();
        let mut sources: Vec<Needed> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut solved: HashMap<Problem, (Values, usize)> = HashMap::new();
        let mut wanted = Vec::new();
        for (s, step) in self.plan.steps.iter().enumerate() {
            let refused = |reason: String| Error::Unsupported {
                device: self.device.to_owned(),
                op: self.plan.op(step).name(),
                reason,
            };
            for (c, choice) in step.choices.iter().enumerate() {
                let call = &choice.call;
                let kernel =
                    find(&call.problem.family).ok_or_else(|| refused("no such family".to_owned()))?;
                let family = families(arch)
                    .iter()
                    .find(|f| f.name() == kernel.name())
                    .expect("every architecture has every family");
                for most in self.buckets(call, choice.when) {
                    let problem = call.problem(most);
                    // Layers of one kind have the same problems.
                    if let Some((values, source)) = solved.get(&problem) {
                        let (values, source) = (Values::clone(values), *source);
                        wanted.push(Wanted { step: s, choice: c, most, values, source });
                        continue;
                    }
                    // Asked first, for its reason: a family's default may be refused.
                    kernel.default_for(&problem, arch).map_err(|why| refused(why.0))?;
                    let values = selection.choose(*family, &problem, self.schedules)?;
                    let source = ArchFamily { kernel, arch }
                        .kernel
                        .emit(&problem, &values, arch)
                        .map_err(|why| refused(why.0))?;
                    let source = *known.entry(source.text.clone()).or_insert_with(|| {
                        sources.push(Needed { source, rows: call.rows, problem: problem.clone() });
                        sources.len() - 1
                    });
                    solved.insert(problem, (values.clone(), source));
                    wanted.push(Wanted { step: s, choice: c, most, values, source });
                }
            }
        }
        Ok(Chosen { selection, sources, wanted })
    }

    /// Row counts that a call gets schedules for.
    fn buckets(&self, call: &Call, when: When) -> Vec<usize> {
        let limits = self.limits;
        let most = match call.rows {
            Rows::Tokens => limits.max_tokens,
            Rows::Outputs => limits.max_outputs,
        };
        let most = match when {
            When::Always => most,
            When::Steps => most.min(limits.max_sequences),
            When::RowsAtMost(n) => most.min(n),
        };
        token_buckets(most.max(1))
    }

    /// One allocation per name, as large as the hungriest source wants it; what is there and large enough stays.
    fn scratch(&mut self, sources: &[Needed], known: &mut BTreeMap<String, Scratch>) -> Result<(), Error> {
        for needed in sources {
            for s in &needed.source.scratch {
                let bytes = s.bytes.value(|size| largest(self.limits, needed.rows, size)).max(1);
                let wanted = known.entry(s.role.clone()).or_insert(Scratch { bytes, memory: None });
                if wanted.bytes < bytes {
                    *wanted = Scratch { bytes, memory: None };
                }
            }
        }
        for (name, scratch) in known.iter_mut().filter(|(_, s)| s.memory.is_none()) {
            scratch.memory = Some(self.backend.alloc(name, scratch.bytes)?);
        }
        Ok(())
    }

    /// The sources on the device.
    fn ready(&mut self, sources: Vec<Needed>) -> Result<Vec<Arc<Ready>>, Error> {
        let kernels = Kernels {
            device: self.device,
            arch: self.backend.arch(),
            image: self.backend.image(),
            store: self.store,
            schedules: self.schedules,
        };
        let compiled = kernels.all(&sources)?;
        let load = |(needed, compiled): (Needed, Compiled)| {
            Ok(Arc::new(Ready { source: needed.source, module: self.backend.load(&compiled)? }))
        };
        sources.into_iter().zip(compiled).map(load).collect()
    }

    fn bind(
        &mut self,
        operand: &Operand,
        source: &dyn WeightSource,
        weights: &mut HashMap<Weight, Place>,
        constants: &mut HashMap<Arc<[u8]>, Place>,
    ) -> Result<Bound, Error> {
        match operand {
            Operand::View(v) => Ok(self.view(*v)),
            Operand::Weight(w) => {
                let place = match weights.get(w) {
                    Some(place) => *place,
                    None => {
                        let bytes = weight_bytes(source, w)?;
                        let place = self.keep(&format!("weight {:?}", w.parts[0].0), &bytes)?;
                        weights.insert(w.clone(), place);
                        place
                    }
                };
                let (elem, stride, cols) = (w.elem, w.stride, w.cols);
                Ok(Bound { place, elem, stride, rows: Some(w.rows()), cols, slot: 0 })
            }
            Operand::State(id) | Operand::Keys(id) | Operand::Values(id) => {
                let (layout, memories) = &self.storage.states[id.0 as usize];
                let part = usize::from(matches!(operand, Operand::Values(_)));
                let place = Place { memory: memories[part], offset: 0 };
                let elem = if layout.parts == 2 { self.plan.numbers.elem() } else { Elem::F32 };
                let (stride, rows, cols) = (layout.cols, Some(layout.rows), layout.cols);
                Ok(Bound { place, elem, stride, rows, cols, slot: layout.slot })
            }
            Operand::Constant(bytes) => {
                let place = match constants.get(bytes) {
                    Some(place) => *place,
                    None => {
                        let place = self.keep("constant", bytes)?;
                        constants.insert(Arc::clone(bytes), place);
                        place
                    }
                };
                Ok(Bound { place, elem: Elem::F32, stride: 0, rows: None, cols: 0, slot: 0 })
            }
        }
    }

    fn view(&self, v: View) -> Bound {
        let buffer = v.buf.0 as usize;
        let elem = self.plan.elems[buffer];
        let place = self.storage.buffers[buffer].after(v.col * elem.bytes());
        let stride = row_stride(self.plan.program.buf(v.buf).width);
        Bound { place, elem, stride, rows: None, cols: v.width, slot: 0 }
    }

    fn keep(&mut self, name: &str, bytes: &[u8]) -> Result<Place, Error> {
        let memory = self.backend.alloc(name, bytes.len().max(1) as u64)?;
        let place = Place { memory, offset: 0 };
        self.backend.upload(place, bytes)?;
        Ok(place)
    }
}

/// The bytes of a weight as kernels read it.
fn weight_bytes(source: &dyn WeightSource, w: &Weight) -> Result<Vec<u8>, Error> {
    let mut out = vec![0; w.bytes()];
    let mut row = 0;
    for (id, rows) in &w.parts {
        if let Some(id) = id {
            let weight = source.weight(*id)?;
            let values = weight.to_f32().map_err(|reason| Error::Weight { id: *id, reason })?;
            if values.len() != rows * w.cols {
                let reason = format!("has {} values, expected {rows} by {}", values.len(), w.cols);
                return Err(Error::Weight { id: *id, reason });
            }
            let pitch = w.stride * w.elem.bytes();
            for (r, values) in values.chunks(w.cols.max(1)).enumerate() {
                encode(w.elem, values, &mut out[(row + r) * pitch..]);
            }
        }
        row += rows;
    }
    Ok(out)
}

/// Rounds `values` to `elem`, one after the other from the start of `out`.
pub(super) fn encode(elem: Elem, values: &[f32], out: &mut [u8]) {
    match elem {
        Elem::F32 => put(values, out, |v| v.to_le_bytes()),
        Elem::Bf16 => put(values, out, |v| bf16::from_f32(v).to_le_bytes()),
        Elem::F16 => put(values, out, |v| f16::from_f32(v).to_le_bytes()),
        Elem::E4m3 => unreachable!("a plan of this version keeps nothing in e4m3"),
    }
}

fn put<const N: usize>(values: &[f32], out: &mut [u8], bytes: impl Fn(f32) -> [u8; N]) {
    for (v, out) in values.iter().zip(out.as_chunks_mut::<N>().0) {
        *out = bytes(*v);
    }
}

/// Widens values of `elem`.
pub(super) fn decode(elem: Elem, bytes: &[u8]) -> Vec<f32> {
    match elem {
        Elem::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Elem::Bf16 => bytes.as_chunks::<2>().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        Elem::F16 => bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Elem::E4m3 => unreachable!("a plan of this version keeps nothing in e4m3"),
    }
}

//! Loading: schedules chosen, sources emitted and compiled, weights uploaded, operands bound.

use super::backend::{Backend, Memory, Module, Place};
use super::fault;
use super::place::{Storage, largest};
use crate::Error;
use crate::device::{LoadRequest, token_buckets};
use crate::select::Selection;
use half::{bf16, f16};
use jet_codegen::kernel::{ArchFamily, Elem, Source, families, find};
use jet_codegen::launch::{Call, Operand, Plan, Weight, When, row_stride};
use jet_codegen::nvrtc::{Compiler, CubinStore, Job};
use jet_codegen::op::View;
use jet_codegen::program::Rows;
use jet_codegen::schedule::{Problem, Values};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Longest time that one source may take to compile.
const DEADLINE: Duration = Duration::from_secs(300);

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
    pub(super) scratch: BTreeMap<String, Memory>,
    pub(super) selection: Selection,
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
    pub(super) request: &'a LoadRequest<'a>,
    pub(super) plan: &'a Plan,
    pub(super) storage: &'a Storage,
    pub(super) store: Option<&'a CubinStore>,
}

impl Builder<'_> {
    pub(super) fn load(mut self) -> Result<Loaded, Error> {
        let mut selection = Selection::default();
        let (sources, wanted) = self.sources(&mut selection)?;
        let scratch = self.scratch(&sources)?;
        let ready = self.compile(sources.into_iter().map(|(s, _)| s).collect())?;
        let (mut weights, mut constants) = (HashMap::new(), HashMap::new());
        let mut steps: Vec<Vec<LoadedCall>> = Vec::new();
        for step in &self.plan.steps {
            let mut calls = Vec::new();
            for choice in &step.choices {
                let call = &choice.call;
                let mut operands = Vec::new();
                for (role, operand) in &call.operands {
                    operands.push((*role, self.bind(operand, &mut weights, &mut constants)?));
                }
                let (when, rows, scalars) = (choice.when, call.rows, call.scalars.clone());
                let problem = call.problem.clone();
                calls.push(LoadedCall { when, rows, operands, scalars, problem, buckets: Vec::new() });
            }
            steps.push(calls);
        }
        for w in wanted {
            let (most, ready, values) = (w.most, Arc::clone(&ready[w.source]), w.values);
            steps[w.step][w.choice].buckets.push(Bucket { most, ready, values });
        }
        Ok(Loaded { steps, scratch, selection })
    }

    /// Every distinct source with the rows it counts by, and which calls want it.
    #[allow(clippy::type_complexity, reason = "a list of sources and a list of who wants them")]
    fn sources(&self, selection: &mut Selection) -> Result<(Vec<(Source, Rows)>, Vec<Wanted>), Error> {
        let arch = self.backend.arch();
        let mut sources: Vec<(Source, Rows)> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
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
                    // Asked first, for its reason: a family's default may be refused.
                    kernel.default_for(&problem, arch).map_err(|why| refused(why.0))?;
                    let values = selection.choose(*family, &problem, self.request.schedules)?;
                    let source = ArchFamily { kernel, arch }
                        .kernel
                        .emit(&problem, &values, arch)
                        .map_err(|why| refused(why.0))?;
                    let source = *known.entry(source.text.clone()).or_insert_with(|| {
                        sources.push((source, call.rows));
                        sources.len() - 1
                    });
                    wanted.push(Wanted { step: s, choice: c, most, values, source });
                }
            }
        }
        Ok((sources, wanted))
    }

    /// Row counts that a call gets schedules for.
    fn buckets(&self, call: &Call, when: When) -> Vec<usize> {
        let limits = self.request.limits;
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

    /// One allocation per name, as large as the hungriest source wants it.
    fn scratch(&mut self, sources: &[(Source, Rows)]) -> Result<BTreeMap<String, Memory>, Error> {
        let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
        for (source, rows) in sources {
            for s in &source.scratch {
                let bytes = s.bytes.value(|size| largest(self.request.limits, *rows, size));
                let most = sizes.entry(s.role.clone()).or_default();
                *most = bytes.max(*most);
            }
        }
        let alloc = |(name, bytes): (String, u64)| {
            let memory = self.backend.alloc(&name, bytes.max(1))?;
            Ok((name, memory))
        };
        sizes.into_iter().map(alloc).collect()
    }

    fn compile(&mut self, sources: Vec<Source>) -> Result<Vec<Arc<Ready>>, Error> {
        let compiler = Compiler::find(self.store).map_err(|e| fault(self.device, e))?;
        let (arch, output) = (self.backend.arch(), self.backend.image());
        let job = |s: &Source| Job { source: Arc::from(s.text.as_str()), arch, output };
        let jobs: Vec<Job> = sources.iter().map(job).collect();
        let compiled = compiler.compile_all(&jobs, 0, DEADLINE);
        let mut ready = Vec::new();
        for (source, compiled) in sources.into_iter().zip(compiled) {
            let compiled = compiled.map_err(|e| {
                let first = source.text.lines().next().unwrap_or_default();
                fault(self.device, format!("{first}: {e}"))
            })?;
            let module = self.backend.load(&compiled)?;
            ready.push(Arc::new(Ready { source, module }));
        }
        Ok(ready)
    }

    fn bind(
        &mut self,
        operand: &Operand,
        weights: &mut HashMap<Weight, Place>,
        constants: &mut HashMap<Arc<[u8]>, Place>,
    ) -> Result<Bound, Error> {
        match operand {
            Operand::View(v) => Ok(self.view(*v)),
            Operand::Weight(w) => {
                let place = match weights.get(w) {
                    Some(place) => *place,
                    None => {
                        let bytes = self.weight(w)?;
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

    /// The bytes of a weight as kernels read it.
    fn weight(&self, w: &Weight) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; w.bytes()];
        let mut row = 0;
        for (id, rows) in &w.parts {
            if let Some(id) = id {
                let weight = self.request.weights.weight(*id)?;
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

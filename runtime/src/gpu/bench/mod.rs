//! Kernels alone, for the tuner: a problem becomes a program of one op on seeded inputs, loaded and launched like any
//! other. What must come out is what the CPU device computes in float32 from the same numbers.

mod case;
mod products;
mod rows;
mod sequences;

use super::Backend;
use super::exec::GpuExecutable;
use crate::Error;
use crate::cpu::CpuDevice;
use crate::device::{
    Bench, Counted, ErrorStats, Executable, Footprint, Limits, LoadRequest, Outputs, Precision, Segment,
    SlotId,
};
use crate::select::{Hit, NoSchedules, ScheduleSource};
use case::{Case, Maker, random, round};
use jet_codegen::kernel::{Elem, find};
use jet_codegen::launch;
use jet_codegen::nvrtc::CubinStore;
use jet_codegen::op::StateId;
use jet_codegen::program::StateShape;
use jet_codegen::schedule::{Family, Problem, Values};

/// Sets up a problem of one family, or says what is wrong with it.
type Make = fn(Maker<'_>) -> Result<Case, String>;

/// The families' cases: a line for each.
const CASES: &[(&str, Make)] = &[
    ("norm", rows::norm),
    ("elementwise", rows::elementwise),
    ("gemm", products::gemm),
    ("route", products::route),
    ("experts", products::experts),
    ("kv_append", sequences::attention),
    ("attention", sequences::attention),
    ("attention_decode", sequences::attention),
    ("conv", sequences::conv),
    ("dynamic_conv", sequences::dynamic_conv),
    ("ssd", sequences::ssd),
    ("gated_delta", sequences::gated_delta),
];

/// Tokens before those of a validated decode step.
const PAST: usize = 45;
/// Tokens before those of a timed one, on a device that is fast enough, or that only counts.
const LONG_PAST: usize = 2048;
/// Bytes that the keys and values of a device that only counts may take: they are the host's memory.
const ROOM: usize = 512 << 20;

/// The schedule under test for its own problem, the default for any other.
struct Forced<'a> {
    problem: &'a Problem,
    values: &'a Values,
}

impl ScheduleSource for Forced<'_> {
    fn lookup(&self, _family: &dyn Family, problem: &Problem) -> Option<(Values, Hit)> {
        // Every token bucket of the program gets the same where it is legal there.
        but_for_tokens(self.problem, problem).then(|| (self.values.clone(), Hit::Exact))
    }
}

/// Whether two problems differ in their number of tokens at most.
fn but_for_tokens(a: &Problem, b: &Problem) -> bool {
    let rest = |p: &Problem| -> Vec<(String, i64)> {
        p.dims.iter().filter(|(name, _)| *name != "tokens").map(|(n, v)| (n.clone(), *v)).collect()
    };
    a.family == b.family && a.format == b.format && rest(a) == rest(b)
}

/// A problem on a GPU.
pub(super) struct GpuBench {
    problem: Problem,
    case: Case,
    exe: GpuExecutable,
    slots: Vec<SlotId>,
    store: Option<CubinStore>,
    /// The step under test.
    step: usize,
    /// Tokens before those of a timed run.
    past: usize,
    /// What each output and each state of each sequence must be; nothing where nothing is computed.
    expected: Option<Vec<Vec<f32>>>,
    /// What the present schedule was counted to do.
    counted: Option<Counted>,
}

/// Sets up `problem` on a machine of its own.
pub(super) fn open(
    device: &str,
    backend: Box<dyn Backend>,
    store: Option<&CubinStore>,
    problem: &Problem,
) -> Result<Box<dyn Bench>, Error> {
    let wrong = |reason: String| Error::Data(format!("cannot set up {problem} on {device}: {reason}"));
    let make = CASES.iter().find(|(family, _)| *family == problem.family);
    let (_, make) = make.ok_or_else(|| wrong("no program has such a kernel".into()))?;
    let computes = backend.computes();
    let case = Maker::new(problem, !computes).and_then(make).map_err(wrong)?;
    let mut program = case.program.clone();
    // Results are read in the format that they have.
    program.buffers.iter_mut().for_each(|b| b.output = false);
    let plan = launch::plan_as(program.clone(), case.elems.clone(), case.numbers);
    let past = match (computes, backend.separate_buffers()) {
        (false, _) => long_past_within(&case, ROOM),
        (true, true) => PAST,
        (true, false) => LONG_PAST,
    };
    let limits = limits(&case, past);
    let request = LoadRequest {
        program,
        weights: &case.weights,
        schedules: &NoSchedules,
        recipe: Precision::F32.into(),
        limits,
    };
    let mut exe =
        GpuExecutable::load(device.to_owned(), backend, plan, Footprint::default(), request, store)?;
    let step = exe
        .step_of(problem, case.tokens)
        .ok_or_else(|| wrong("its sizes and formats are none that a program of this version gives".into()))?;
    let count = limits.max_sequences;
    let slots = (0..count).map(|_| exe.open_sequence(0)).collect::<Result<_, _>>()?;
    let expected = if computes { Some(reference(&case, limits)?) } else { None };
    let (problem, store) = (problem.clone(), store.cloned());
    Ok(Box::new(GpuBench { problem, case, exe, slots, store, step, past, expected, counted: None }))
}

fn limits(case: &Case, past: usize) -> Limits {
    let max_sequences = if case.steps { case.tokens } else { 1 };
    let context = case.tokens + if case.cached { past } else { 0 };
    Limits { max_tokens: case.tokens, max_outputs: case.tokens, max_sequences, context }
}

/// As many tokens before the run as a timed one has, but no more than have room in `bytes`.
fn long_past_within(case: &Case, bytes: usize) -> usize {
    let of_token = |shape: &StateShape| match shape {
        StateShape::Kv { kv_heads, d_head, .. } => 2 * kv_heads * d_head * case.numbers.elem().bytes(),
        _ => 0,
    };
    let of_token: usize = case.program.states.iter().map(|s| of_token(&s.shape)).sum();
    LONG_PAST.min(bytes / (of_token * case.tokens).max(1)).max(PAST)
}

/// Tokens that lie before those of the run.
fn past(case: &Case) -> usize {
    let window = case.program.states.iter().find_map(|s| match s.shape {
        StateShape::Kv { window, .. } => window,
        _ => None,
    });
    // A ring that wrapped is the business of the parity tests; here it is full at most.
    if case.cached { window.map_or(PAST, |w| w.min(PAST)) } else { 0 }
}

/// What a state holds in front of a run, in its declared layout; nothing for an empty one.
fn start(case: &Case, state: usize, slot: usize) -> Vec<f32> {
    let stream = 1000 + (state * 4096 + slot) as u32;
    match case.program.states[state].shape {
        StateShape::Kv { kv_heads, d_head, .. } => {
            let mut values = random(stream, 2 * past(case) * kv_heads * d_head);
            if case.numbers.elem() == Elem::Bf16 {
                round(&mut values);
            }
            values
        }
        StateShape::Conv { channels, columns } => random(stream, channels * columns),
        StateShape::Recurrent { heads, rows, cols } => random(stream, heads * rows * cols),
    }
}

/// Runs the case on any executable: sequences, then one batch.
fn segments<'a>(case: &Case, slots: &[SlotId], tokens: &'a [u32]) -> Vec<Segment<'a>> {
    let one = |(i, slot): (usize, &SlotId)| Segment {
        slot: *slot,
        tokens: if case.steps { &tokens[i..=i] } else { tokens },
        outputs: Outputs::All,
    };
    slots.iter().enumerate().map(one).collect()
}

/// Ids of the tokens, for a look-up.
fn ids(case: &Case) -> Vec<u32> {
    (0..case.tokens).map(|i| (i * 31 % case.program.vocab.max(1)) as u32).collect()
}

/// The columns of each output that the op writes, from whole rows of its buffer.
fn columns(case: &Case, output: usize, rows: &[f32]) -> Vec<f32> {
    let view = case.outputs[output];
    let width = case.program.buf(view.buf).width;
    rows.chunks(width).flat_map(|r| &r[view.col..view.col + view.width]).copied().collect()
}

/// Outputs, then states sequence by sequence, by the CPU device in float32.
fn reference(case: &Case, limits: Limits) -> Result<Vec<Vec<f32>>, Error> {
    let request = LoadRequest {
        program: case.program.clone(),
        weights: &case.weights,
        schedules: &NoSchedules,
        recipe: Precision::F32.into(),
        limits,
    };
    let mut exe = CpuDevice::new(0).load_own(Footprint::default(), request)?;
    let slots: Vec<SlotId> =
        (0..limits.max_sequences).map(|_| exe.open_sequence(0)).collect::<Result<_, _>>()?;
    for (i, slot) in slots.iter().enumerate() {
        for state in 0..case.program.states.len() {
            exe.write_state(*slot, StateId(state as u32), &start(case, state, i))?;
        }
        exe.set_length(*slot, past(case));
    }
    for (buffer, values) in &case.inputs {
        exe.write(*buffer, values)?;
    }
    exe.run(&segments(case, &slots, &ids(case)))?;
    let mut all: Vec<Vec<f32>> =
        (0..case.outputs.len()).map(|o| columns(case, o, exe.read(case.outputs[o].buf))).collect();
    for slot in slots {
        all.extend((0..case.program.states.len()).map(|s| exe.read_state(slot, StateId(s as u32))));
    }
    Ok(all)
}

impl GpuBench {
    /// Puts states, inputs and lengths back.
    fn rewind(&mut self) -> Result<(), Error> {
        for (buffer, values) in &self.case.inputs {
            self.exe.put_rows(*buffer, values)?;
        }
        if self.expected.is_none() {
            let past = if self.case.cached { self.past } else { 0 };
            self.slots.iter().for_each(|slot| self.exe.set_length(*slot, past));
            return Ok(());
        }
        for (i, slot) in self.slots.iter().enumerate() {
            self.exe.set_length(*slot, past(&self.case));
            for state in 0..self.case.program.states.len() {
                self.exe.write_state(*slot, StateId(state as u32), &start(&self.case, state, i))?;
            }
        }
        Ok(())
    }

    /// Makes what a kernel leaves out visible.
    fn poison(&mut self) -> Result<(), Error> {
        for view in self.case.outputs.clone() {
            let b = self.case.program.buf(view.buf);
            if !b.input {
                let poison = vec![f32::NAN; self.case.tokens * b.width];
                self.exe.put_rows(view.buf, &poison)?;
            }
        }
        Ok(())
    }

    /// Seconds of so many runs, by the device's clock or else by what it counts.
    fn try_time(&mut self, times: usize) -> Result<f64, Error> {
        if self.exe.is_checked() {
            return match self.counted()? {
                Some(counted) => Ok(counted.seconds * times as f64),
                None => Err(Error::Data("this device has neither a clock nor counters".into())),
            };
        }
        if self.case.cached {
            self.slots.iter().for_each(|slot| self.exe.set_length(*slot, self.past));
        }
        let tokens = ids(&self.case);
        let batch = segments(&self.case, &self.slots, &tokens);
        let seconds = self.exe.time_step(self.step, &batch, times)?;
        seconds.ok_or_else(|| Error::Data("this device has no clock".into()))
    }
}

impl Bench for GpuBench {
    fn prepare(&mut self, values: &Values) -> Result<(), Error> {
        self.counted = None;
        let forced = Forced { problem: &self.problem, values };
        self.exe.reschedule(&forced, self.store.as_ref())?;
        // The largest bucket is the one that runs.
        let tasks = self.exe.selection().tasks.iter().filter(|t| but_for_tokens(&t.problem, &self.problem));
        if tasks.max_by_key(|t| t.problem.dim("tokens")).is_none_or(|t| t.values != *values) {
            return Err(Error::Data(format!("{} cannot be solved with {values}", self.problem)));
        }
        self.rewind()
    }

    fn validate(&mut self) -> Result<ErrorStats, Error> {
        if self.expected.is_none() {
            return Err(Error::Data("this device computes nothing that could be compared".into()));
        }
        self.rewind()?;
        self.poison()?;
        let tokens = ids(&self.case);
        self.exe.run(&segments(&self.case, &self.slots, &tokens))?;
        let mut got = Vec::new();
        for o in 0..self.case.outputs.len() {
            let rows = self.exe.rows_of(self.case.outputs[o].buf, self.case.tokens)?;
            got.push(columns(&self.case, o, &rows));
        }
        for slot in self.slots.clone() {
            for state in 0..self.case.program.states.len() {
                got.push(self.exe.read_state(slot, StateId(state as u32)));
            }
        }
        let allowed = self.case.allowed;
        let worst = |a: ErrorStats, b: ErrorStats| ErrorStats {
            max_abs: a.max_abs.max(b.max_abs),
            rel_rms: a.rel_rms.max(b.rel_rms),
            allowed,
            mean_abs: a.mean_abs.max(b.mean_abs),
            max_ulp: a.max_ulp.max(b.max_ulp),
        };
        let expected = self.expected.as_deref().unwrap_or_default();
        let each = got.iter().zip(expected).map(|(got, want)| ErrorStats::of(got, want, allowed));
        let stats = each.fold(ErrorStats { allowed, ..ErrorStats::default() }, worst);
        self.rewind()?;
        Ok(stats)
    }

    fn time(&mut self, times: usize) -> f64 {
        self.try_time(times).unwrap_or(f64::INFINITY)
    }

    fn counted(&mut self) -> Result<Option<Counted>, Error> {
        if self.counted.is_none() {
            let tokens = ids(&self.case);
            let batch = segments(&self.case, &self.slots, &tokens);
            self.counted = self.exe.count_step(self.step, &batch)?;
        }
        Ok(self.counted)
    }

    fn floor(&self) -> (u64, u64) {
        let floor = find(&self.problem.family).map(|k| k.floor(&self.problem)).unwrap_or_default();
        (floor.bytes, floor.flops)
    }

    fn inputs_seed(&self) -> Option<u64> {
        Some(case::SEED)
    }
}

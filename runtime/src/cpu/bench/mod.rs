//! Kernels alone, for the tuner: each family sets up its problem as a program of one op, on seeded inputs, and knows
//! the reference's answer. The program is loaded and run like any other, so what is timed is what is deployed.

mod attention;
mod conv;
mod matmul;
mod scans;

use super::exec::{CpuExecutable, PackedWeights};
use super::pool::Pool;
use super::simd::Features;
use crate::Error;
use crate::device::{
    Bench, ErrorStats, Executable, Footprint, Limits, LoadRequest, Outputs, Precision, Segment, SlotId,
};
use crate::select::{Hit, ScheduleSource};
use crate::weights::MemoryWeights;
use jet_codegen::op::{BufId, StateId};
use jet_codegen::program::Program;
use jet_codegen::schedule::{Family, Problem, Values};
use jet_dsl::weight::{Role, WeightRef};
use jet_numerics::DType;
use jet_numerics::philox::{Stream, Tag};
use std::sync::Arc;
use std::time::Instant;

/// A problem as a program with everything it needs.
struct Case {
    program: Program,
    weights: MemoryWeights,
    precision: Precision,
    tokens: usize,
    inputs: Vec<(BufId, Vec<f32>)>,
    /// States in front of each validation, in the declared layout.
    states: Vec<(StateId, Vec<f32>)>,
    /// Tokens that the states stand for.
    past: usize,
    output: BufId,
    /// What the output must be.
    reference: Vec<f32>,
    /// Largest relative error (root mean square) that the arithmetic explains.
    allowed: f64,
    /// Ops of the program that are the same work on other data: the time of a run is divided by it.
    copies: usize,
    /// Bytes and FLOPs of one copy at least.
    floor: (u64, u64),
}

/// Sets up a problem of one family, or says what is wrong with it.
type Maker = fn(&Problem) -> Result<Case, String>;

/// The families' cases: a line for each.
const CASES: &[(&str, Maker)] = &[
    ("gemm", matmul::case),
    ("gemv", matmul::case),
    ("attention", attention::case),
    ("attention_decode", attention::case),
    ("causal_conv", conv::causal),
    ("dynamic_conv", conv::dynamic),
    ("ssd", scans::ssd),
    ("gated_delta", scans::gated_delta),
];

/// Sets up `problem`.
pub(super) fn open(pool: Arc<Pool>, features: Features, problem: &Problem) -> Result<Box<dyn Bench>, Error> {
    let unsupported = |reason: String| Error::Data(format!("cannot set up {problem}: {reason}"));
    let (_, make) = CASES
        .iter()
        .find(|(family, _)| *family == problem.family)
        .ok_or_else(|| unsupported("this device has no such kernel family".into()))?;
    let case = make(problem).map_err(unsupported)?;
    Ok(Box::new(KernelBench {
        pool,
        features,
        problem: problem.clone(),
        case,
        packed: PackedWeights::default(),
        loaded: None,
    }))
}

struct KernelBench {
    pool: Arc<Pool>,
    features: Features,
    problem: Problem,
    case: Case,
    /// Kept from one candidate to the next: packing the matrices would take longer than the samples.
    packed: PackedWeights,
    loaded: Option<(CpuExecutable, SlotId)>,
}

/// Tokens a decode benchmark may append before its state is put back.
const ROOM: usize = 256;

/// The schedule under test for its own problem, the default for any other.
struct Forced<'a> {
    problem: &'a Problem,
    values: &'a Values,
}

impl ScheduleSource for Forced<'_> {
    fn lookup(&self, _family: &dyn Family, problem: &Problem) -> Option<(Values, Hit)> {
        // A run takes the schedule of its own token bucket; the other buckets get the same where it is legal there.
        (problem.family == self.problem.family).then(|| (self.values.clone(), Hit::Exact))
    }
}

impl KernelBench {
    /// An empty sequence.
    fn reopen(&mut self) -> Result<(), Error> {
        let Some((exe, slot)) = &mut self.loaded else { return Err(not_prepared()) };
        exe.close_sequence(*slot);
        *slot = exe.open_sequence(0)?;
        Ok(())
    }

    /// Puts states, inputs and position back.
    fn rewind(&mut self) -> Result<(), Error> {
        self.reopen()?;
        let Some((exe, slot)) = &mut self.loaded else { return Err(not_prepared()) };
        for (state, values) in &self.case.states {
            exe.write_state(*slot, *state, values)?;
        }
        exe.set_length(*slot, self.case.past);
        for (buffer, values) in &self.case.inputs {
            exe.write(*buffer, values)?;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Error> {
        let Some((exe, slot)) = &mut self.loaded else { return Err(not_prepared()) };
        let tokens = vec![0; self.case.tokens];
        exe.run(&[Segment { slot: *slot, tokens: &tokens, outputs: Outputs::None }])
    }
}

fn not_prepared() -> Error {
    Error::Data("a benchmark is prepared with a schedule before it runs".into())
}

impl Bench for KernelBench {
    fn prepare(&mut self, values: &Values) -> Result<(), Error> {
        let case = &self.case;
        let context = case.past + case.tokens.max(ROOM);
        let limits = Limits { max_tokens: case.tokens, max_outputs: 1, max_sequences: 1, context };
        let request = LoadRequest {
            program: case.program.clone(),
            weights: &case.weights,
            schedules: &Forced { problem: &self.problem, values },
            recipe: case.precision.into(),
            limits,
        };
        let mut exe = CpuExecutable::load(
            Arc::clone(&self.pool),
            self.features,
            Footprint::default(),
            request,
            &mut self.packed,
        )?;
        let slot = exe.open_sequence(0)?;
        self.loaded = Some((exe, slot));
        self.rewind()
    }

    fn validate(&mut self) -> Result<ErrorStats, Error> {
        self.rewind()?;
        let output = self.case.output;
        if let Some((exe, _)) = &mut self.loaded {
            exe.poison(output, self.case.reference.len());
        }
        self.run()?;
        let Some((exe, _)) = &self.loaded else { return Err(not_prepared()) };
        let stats = ErrorStats::of(exe.read(output), &self.case.reference, self.case.allowed);
        self.rewind()?;
        Ok(stats)
    }

    fn time(&mut self, times: usize) -> f64 {
        let mut total = 0.0;
        for done in 0..times {
            // A prompt starts from nothing each time; a decode step may follow the one before for a while.
            let fresh = if self.case.past == 0 { self.reopen() } else { Ok(()) };
            let back = if self.case.past > 0 && done % ROOM == 0 { self.rewind() } else { Ok(()) };
            if fresh.and(back).is_err() {
                return f64::INFINITY;
            }
            let start = Instant::now();
            if self.run().is_err() {
                return f64::INFINITY;
            }
            total += start.elapsed().as_secs_f64();
        }
        total / self.case.copies as f64
    }

    fn floor(&self) -> (u64, u64) {
        self.case.floor
    }

    fn inputs_seed(&self) -> Option<u64> {
        Some(SEED)
    }
}

/// Inputs are the same for every candidate and every machine.
const SEED: u64 = 0x6a65_7462;

/// Seeded values in -1..1.
fn random(stream: u32, n: usize) -> Vec<f32> {
    let stream = Stream::new(SEED, Tag::Data, 0, stream);
    (0..n as u64).map(|e| stream.uniform(e) * 2.0 - 1.0).collect()
}

/// A weight of copy `layer`.
fn weight(layer: usize, role: Role) -> WeightRef {
    WeightRef { layer: Some(layer as u32), role }
}

/// The sizes of `problem` with these names, all above zero.
fn sizes<const N: usize>(problem: &Problem, names: [&str; N]) -> Result<[usize; N], String> {
    let found = names.map(|n| problem.dim(n));
    match names.iter().zip(found).find(|(_, v)| *v == 0) {
        Some((name, _)) => Err(format!("it has no size `{name}`")),
        None => Ok(found),
    }
}

/// The element type called `name`.
fn dtype(name: &str) -> Result<DType, String> {
    DType::ALL.into_iter().find(|d| d.name() == name).ok_or_else(|| format!("unknown element type `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::FAMILIES;

    /// One problem per family whose sizes are no multiple of anything.
    fn problems() -> Vec<Problem> {
        let attention = [("heads", 6), ("kv_heads", 2), ("d_head", 24)];
        let with = |more: &[(&'static str, usize)]| attention.iter().chain(more).copied().collect::<Vec<_>>();
        let ssd = [("tokens", 77), ("heads", 6), ("d_head", 20), ("groups", 3), ("d_state", 24)];
        let matrix = |tokens| [("tokens", tokens), ("n", 83), ("k", 256)];
        let matrices = ["q4_1/int8", "q6_k/int8", "q8_0/f32", "bf16/bf16", "f16/f32", "f32/f32"];
        let mut all: Vec<Problem> = matrices
            .iter()
            .flat_map(|f| [Problem::new("gemv", f, &matrix(1)), Problem::new("gemm", f, &matrix(67))])
            .collect();
        all.extend([
            Problem::new("attention", "f32", &with(&[("tokens", 70), ("context", 70)])),
            Problem::new("attention", "f16", &with(&[("tokens", 33), ("context", 33), ("window", 9)])),
            Problem::new("attention_decode", "f32", &with(&[("tokens", 1), ("context", 300)])),
            Problem::new(
                "attention_decode",
                "bf16",
                &with(&[("tokens", 1), ("context", 300), ("window", 77)]),
            ),
            Problem::new("causal_conv", "f32", &[("tokens", 19), ("channels", 50), ("taps", 4)]),
            Problem::new(
                "dynamic_conv",
                "f32",
                &[("tokens", 19), ("channels", 50), ("taps", 4), ("hidden", 12)],
            ),
            Problem::new(
                "dynamic_conv",
                "bf16",
                &[("tokens", 3), ("channels", 50), ("taps", 3), ("hidden", 12)],
            ),
            Problem::new("ssd", "f32", &ssd),
            Problem::new(
                "gated_delta",
                "f32",
                &[("tokens", 77), ("heads", 3), ("d_key", 20), ("d_value", 40)],
            ),
        ]);
        all
    }

    #[test]
    fn every_legal_schedule_of_every_family_gives_the_reference_answer() {
        let pool = Arc::new(Pool::new(2));
        for isa in Features::all_available() {
            for problem in problems() {
                let family = FAMILIES.iter().find(|f| f.name() == problem.family).expect("a known family");
                let mut bench = open(Arc::clone(&pool), isa, &problem).expect("it can be set up");
                for values in family.candidates(&problem) {
                    bench.prepare(&values).expect("a legal schedule loads");
                    let stats = bench.validate().expect("it runs");
                    assert!(stats.acceptable(), "{isa:?} {problem}: {values}: {stats:?}");
                }
                assert!(bench.time(2) > 0.0);
            }
        }
    }

    #[test]
    fn an_output_that_was_not_written_is_not_acceptable() {
        assert!(!ErrorStats::of(&[1.0, f32::NAN], &[1.0, 2.0], 1.0).acceptable());
        assert!(!ErrorStats::of(&[1.0], &[1.0, 2.0], 1.0).acceptable());
        assert!(ErrorStats::of(&[1.0, 2.0], &[1.0, 2.0], 0.0).acceptable());
    }

    #[test]
    fn errors_are_told_as_mean_and_in_units_of_the_last_place() {
        // Above one a float32 has steps of 2^-23, above four of 2^-21.
        let stats =
            ErrorStats::of(&[1.0 + 3.0 / 8_388_608.0, 4.0, -4.0 - 2.0 / 2_097_152.0], &[1.0, 4.0, -4.0], 1.0);
        assert!((stats.max_ulp - 3.0).abs() < 1e-9, "{stats:?}");
        let mean = (3.0 / 8_388_608.0 + 2.0 / 2_097_152.0) / 3.0;
        assert!((stats.mean_abs - mean).abs() < 1e-12, "{stats:?}");
    }
}

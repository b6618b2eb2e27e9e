//! What a device is: it loads programs, runs them on batches, and can run each of its kernels alone for the tuner.

use crate::Error;
use crate::recipe::Recipe;
use crate::select::{ScheduleSource, Selection};
use crate::weights::WeightSource;
use jet_codegen::op::{BufId, StateId};
use jet_codegen::program::Program;
use jet_codegen::schedule::{Family, Problem, Values};
use jet_dsl::weight::WeightRef;
use jet_numerics::DType;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What makes two devices the same for a schedule (`hard`), and what is only worth knowing (`soft`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fingerprint {
    /// A difference is a miss.
    pub hard: BTreeMap<String, String>,
    /// A difference is noted.
    pub soft: BTreeMap<String, String>,
}

/// The arithmetic of a program's matrices and the format of its KV caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Weights widened to float32, float32 throughout.
    F32,
    /// Activations rounded to bfloat16 in front of a matrix, bfloat16 caches.
    Bf16,
    /// What the weights' format is best served with: int8 blocks for quantised weights, bfloat16 for 16-bit ones,
    /// float32 for float32; float16 caches.
    #[default]
    Native,
}

impl Precision {
    /// Every precision with its name on the command line.
    pub const ALL: &[(&'static str, Precision)] =
        &[("f32", Precision::F32), ("bf16", Precision::Bf16), ("native", Precision::Native)];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Native => "native",
        }
    }

    /// The precision called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(n, _)| *n == name).map(|(_, precision)| *precision)
    }
}

/// What an executable must have room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Tokens in one run, over all sequences.
    pub max_tokens: usize,
    /// Rows of logits in one run.
    pub max_outputs: usize,
    /// Sequences open at a time.
    pub max_sequences: usize,
    /// Tokens in one sequence.
    pub context: usize,
}

/// A program to load, with all it needs.
pub struct LoadRequest<'a> {
    /// What to run.
    pub program: Program,
    /// Its weights.
    pub weights: &'a dyn WeightSource,
    /// Tuned schedules.
    pub schedules: &'a dyn ScheduleSource,
    /// Arithmetic, part by part.
    pub recipe: Recipe,
    /// Room.
    pub limits: Limits,
}

/// Rows of output a segment asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// None: the tokens only enter the state.
    None,
    /// The last token's.
    Last,
    /// Every token's.
    All,
}

/// An open sequence of an executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId(pub usize);

/// New tokens of one sequence. A batch is one or more of them, of any lengths; a sequence comes once in a batch.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The sequence.
    pub slot: SlotId,
    /// Token ids; for a program without an embedding only their number counts.
    pub tokens: &'a [u32],
    /// Rows wanted.
    pub outputs: Outputs,
}

/// What a device's results and times are worth. No grade is ever shown as a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Results and times of the named hardware.
    Measured,
    /// Results of the very kernels, by an interpreter. It has no clock; what a [`Bench`] of it calls a time is modelled
    /// from its counters.
    Emulated,
}

/// A device.
pub trait Device: Send + Sync {
    /// As on the command line.
    fn name(&self) -> String;
    /// One line for people: the model of the machine and what it can do.
    fn describe(&self) -> String;
    /// What its results and times are worth.
    fn grade(&self) -> Grade {
        Grade::Measured
    }
    /// Its identity for schedules.
    fn fingerprint(&self) -> Fingerprint;
    /// Compiler and version behind its kernels, as in `nvrtc 12.9`; empty where the kernels are part of the program, or
    /// no compiler is found.
    fn toolchain(&self) -> String {
        String::new()
    }
    /// Bytes a model may take, where the device knows.
    fn memory_available(&self) -> Option<u64>;
    /// The kernel families that have something to tune.
    fn families(&self) -> &'static [&'static dyn Family];
    /// The family called `name`.
    fn family(&self, name: &str) -> Option<&'static dyn Family> {
        self.families().iter().copied().find(|f| f.name() == name)
    }
    /// The tuning problems of `program` at the token counts `tokens`, identical ones once, in program order.
    fn problems(
        &self,
        program: &Program,
        dtype: &dyn Fn(WeightRef) -> Option<DType>,
        recipe: &Recipe,
        tokens: &[usize],
    ) -> Vec<Problem>;
    /// Whether it runs programs whose parts have different precisions.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a recipe of several precisions on a device that has one for the whole program.
    fn accepts(&self, recipe: &Recipe) -> Result<(), Error> {
        match recipe.uniform() {
            Some(_) => Ok(()),
            None => Err(Error::Unsupported {
                device: self.name(),
                op: "a recipe",
                reason: format!(
                    "its programs have one precision throughout, and this one is {recipe}; choose one of {}",
                    Precision::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
                ),
            }),
        }
    }
    /// Bytes that loading `request` will take, by part.
    fn footprint(&self, request: &LoadRequest<'_>) -> Result<Footprint, Error>;
    /// Loads a program.
    fn load(&self, request: LoadRequest<'_>) -> Result<Box<dyn Executable>, Error>;
    /// Sets up `problem` alone, on inputs of its own.
    fn bench(&self, problem: &Problem) -> Result<Box<dyn Bench>, Error>;
}

/// Memory by what it is for, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Footprint {
    /// Weights in the device's layout.
    pub weights: u64,
    /// Activations and scratch.
    pub activations: u64,
    /// States of all sequences at full context.
    pub states: u64,
}

impl Footprint {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.activations + self.states
    }
}

/// A kernel's share of a run.
#[derive(Clone, Debug, Serialize)]
pub struct KernelTime {
    /// The op it belongs to.
    pub op: &'static str,
    /// What was solved.
    pub problem: Problem,
    /// The schedule it was solved with.
    pub values: Values,
    /// Bytes it must move at least.
    pub bytes: u64,
    /// FLOPs it must do at least.
    pub flops: u64,
    /// What it took; `None` on a device whose times mean nothing.
    pub seconds: Option<f64>,
}

/// A loaded program and its open sequences.
pub trait Executable: Send {
    /// What it runs.
    fn program(&self) -> &Program;
    /// How its schedules were found.
    fn selection(&self) -> &Selection;
    /// Memory it holds.
    fn footprint(&self) -> Footprint;
    /// Opens a sequence whose first token has position `position`.
    fn open_sequence(&mut self, position: usize) -> Result<SlotId, Error>;
    /// Closes it; its slot may be given out again.
    fn close_sequence(&mut self, slot: SlotId);
    /// Position of the sequence's next token.
    fn position(&self, slot: SlotId) -> usize;
    /// Runs a batch. On an error nothing has changed.
    fn run(&mut self, batch: &[Segment<'_>]) -> Result<(), Error>;
    /// Fills an input buffer for the next run: `rows × width` values.
    fn write(&mut self, buffer: BufId, values: &[f32]) -> Result<(), Error>;
    /// Runs a batch as [`Executable::run`] does and gives what each kernel of it took, in order.
    fn profile(&mut self, _batch: &[Segment<'_>]) -> Result<Vec<KernelTime>, Error> {
        let (device, reason) =
            (self.program().name.clone(), "its kernels are not timed one by one".to_owned());
        Err(Error::Unsupported { device, op: "profile", reason })
    }
    /// An output buffer after a run: one row per token or per asked output.
    fn read(&self, buffer: BufId) -> &[f32];
    /// A sequence's state in its declared layout (a KV cache: keys then values, `[tokens, kv_heads, d_head]` each).
    fn read_state(&mut self, slot: SlotId, state: StateId) -> Vec<f32>;
    /// Sets a recurrent or convolution state.
    fn write_state(&mut self, slot: SlotId, state: StateId, values: &[f32]) -> Result<(), Error>;
}

/// How far a kernel's output is from its reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ErrorStats {
    /// Largest absolute difference.
    pub max_abs: f64,
    /// Root mean square difference over the reference's root mean square.
    pub rel_rms: f64,
    /// The largest `rel_rms` this kernel's arithmetic allows.
    pub allowed: f64,
    /// Mean absolute difference.
    pub mean_abs: f64,
    /// Largest difference in units of the last place of the expected value, as a float32 has it. Where values cancel
    /// to nearly nothing this is large without anything being wrong.
    pub max_ulp: f64,
}

impl ErrorStats {
    /// The difference of `got` from `expected`; anything that is not a number makes it infinite.
    pub fn of(got: &[f32], expected: &[f32], allowed: f64) -> Self {
        if got.len() != expected.len() {
            let infinite = f64::INFINITY;
            return Self {
                max_abs: infinite,
                rel_rms: infinite,
                allowed,
                mean_abs: infinite,
                max_ulp: infinite,
            };
        }
        let (mut max_abs, mut sum, mut max_ulp) = (0.0f64, 0.0f64, 0.0f64);
        let (mut square, mut reference) = (0.0f64, 0.0f64);
        for (g, e) in got.iter().zip(expected) {
            let d = (f64::from(*g) - f64::from(*e)).abs();
            let d = if d.is_nan() { f64::INFINITY } else { d };
            max_abs = max_abs.max(d);
            sum += d;
            let last_place = f64::from(e.abs().next_up()) - f64::from(e.abs());
            max_ulp = max_ulp.max(d / last_place);
            square += d * d;
            reference += f64::from(*e) * f64::from(*e);
        }
        Self {
            max_abs,
            rel_rms: (square / reference.max(f64::MIN_POSITIVE)).sqrt(),
            allowed,
            mean_abs: sum / got.len().max(1) as f64,
            max_ulp,
        }
    }

    /// Whether the output is as right as its arithmetic allows. Not-a-number is not.
    pub fn acceptable(&self) -> bool {
        self.rel_rms <= self.allowed
    }
}

/// Seconds that the resources of a machine are busy with a run, by a model of the hardware.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Roofs {
    /// Device memory, or the L2 cache where that takes longer.
    pub memory: f64,
    /// Tensor cores.
    pub tensor: f64,
    /// The schedulers, which issue instructions.
    pub issue: f64,
    /// Shared memory.
    pub shared: f64,
}

impl Roofs {
    /// Each with its name.
    pub fn all(&self) -> [(&'static str, f64); 4] {
        let names = ["memory", "tensor cores", "instructions", "shared memory"];
        let seconds = [self.memory, self.tensor, self.issue, self.shared];
        std::array::from_fn(|i| (names[i], seconds[i]))
    }

    /// The one that takes longest.
    pub fn highest(&self) -> (&'static str, f64) {
        let [first, rest @ ..] = self.all();
        rest.into_iter().fold(first, |most, roof| if roof.1 > most.1 { roof } else { most })
    }

    /// Both, one after the other.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            memory: self.memory + other.memory,
            tensor: self.tensor + other.tensor,
            issue: self.issue + other.issue,
            shared: self.shared + other.shared,
        }
    }
}

/// What an emulated device counted in the launches of one run. Graded as emulated, but for `seconds` and `roofs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Counted {
    /// Launches.
    pub launches: u64,
    /// CTAs of all launches.
    pub ctas: u64,
    /// CTAs that were run. Where it is fewer, the counts below are those of these CTAs times the quotient.
    pub ran: u64,
    /// CTAs that an SM holds at a time, in the launch that allows fewest.
    pub resident: u32,
    /// Registers of a thread, in the launch that takes most; 0 where no assembler was asked.
    pub registers: u32,
    /// Bytes that a thread stores and loads because registers ran out, by the text.
    pub spilled_bytes: u64,
    /// Instructions of warps.
    pub warp_instructions: u64,
    /// Multiplications and additions of tensor instructions.
    pub tensor_flops: u64,
    /// Bytes of the 32-byte sectors of global memory that requests and copies touched.
    pub sector_bytes: u64,
    /// Different bytes of global memory that were read, and that were written, launch by launch.
    pub unique_bytes: u64,
    /// Passes through the banks of shared memory.
    pub wavefronts: u64,
    /// Passes that would have done without bank conflicts.
    pub ideal_wavefronts: u64,
    /// What each resource of the hardware takes; modelled.
    pub roofs: Roofs,
    /// Seconds on the hardware that stands for the architecture, by a roofline over these counts; modelled.
    pub seconds: f64,
}

/// One problem set up alone, for validation and timing.
pub trait Bench {
    /// Makes `values` the schedule of the next runs; untimed.
    fn prepare(&mut self, values: &Values) -> Result<(), Error>;
    /// Poisons the output, runs once, and compares all of it with the reference.
    fn validate(&mut self) -> Result<ErrorStats, Error>;
    /// Runs `times` times and gives the seconds of all of them; on a device without a clock what a model of the hardware
    /// makes of its counters.
    fn time(&mut self, times: usize) -> f64;
    /// What one run does, on a device that counts.
    fn counted(&mut self) -> Result<Option<Counted>, Error> {
        Ok(None)
    }
    /// Bytes one run must move and FLOPs it must do at least.
    fn floor(&self) -> (u64, u64);
    /// Seed of its inputs, where they are made from one.
    fn inputs_seed(&self) -> Option<u64> {
        None
    }
}

/// Token counts that schedules are tuned for, each standing for the counts down to the one before: those an executable
/// of at most `max_tokens` tokens a run can meet, the last one whole.
pub fn token_buckets(max_tokens: usize) -> Vec<usize> {
    const BUCKETS: [usize; 5] = [1, 8, 64, 256, 512];
    let last = BUCKETS.iter().position(|b| *b >= max_tokens).unwrap_or(BUCKETS.len() - 1);
    BUCKETS[..=last].to_vec()
}

/// Opens the device called `name` with `threads` workers (0: as many as there are).
pub fn open(name: &str, threads: usize) -> Result<Arc<dyn Device>, Error> {
    #[cfg(feature = "emulated")]
    if let Some(device) = crate::emulated::Emulated::open(name) {
        return Ok(Arc::new(device?));
    }
    if let Some(device) = crate::cuda::open(name) {
        return device;
    }
    match name {
        "cpu" => Ok(Arc::new(crate::cpu::CpuDevice::new(threads))),
        _ => Err(Error::UnknownDevice { found: name.to_owned(), known: device_names() }),
    }
}

/// Names that [`open`] accepts.
pub fn device_names() -> Vec<String> {
    let mut names = vec!["cpu".to_owned()];
    #[cfg(feature = "emulated")]
    names.extend(crate::emulated::Emulated::names());
    names.extend(crate::cuda::names());
    names
}

//! A problem as a program of one op, with the formats that the problem says and inputs from a seed.

use crate::weights::MemoryWeights;
use half::bf16;
use jet_codegen::kernel::{Elem, Formats};
use jet_codegen::launch::Numbers;
use jet_codegen::op::{BufId, Op, StateId, View};
use jet_codegen::program::{Program, Rows, StateShape};
use jet_codegen::schedule::Problem;
use jet_dsl::weight::{Role, WeightRef};
use jet_numerics::philox::{Stream, Tag};

/// Inputs are the same for every candidate and every machine.
pub(super) const SEED: u64 = 0x6a65_7467;

/// A program of one op that has the problem among its own, with everything it needs.
pub(super) struct Case {
    pub(super) program: Program,
    /// The format of each buffer.
    pub(super) elems: Vec<Elem>,
    pub(super) numbers: Numbers,
    pub(super) weights: MemoryWeights,
    /// Values in front of each run, whole rows; representable in the buffer's format.
    pub(super) inputs: Vec<(BufId, Vec<f32>)>,
    /// Tokens of the problem.
    pub(super) tokens: usize,
    /// Whether each is a sequence of its own.
    pub(super) steps: bool,
    /// Whether keys and values of earlier tokens are looked at.
    pub(super) cached: bool,
    /// What the op leaves in its buffers.
    pub(super) outputs: Vec<View>,
    /// Largest relative error (root mean square) that the arithmetic explains.
    pub(super) allowed: f64,
}

/// Puts a [`Case`] together.
pub(super) struct Maker<'a> {
    pub(super) problem: &'a Problem,
    formats: Formats,
    pub(super) program: Program,
    elems: Vec<Elem>,
    weights: MemoryWeights,
    inputs: Vec<(BufId, Vec<f32>)>,
    outputs: Vec<View>,
    numbers: Numbers,
    /// Whether values are zeros, for a device that computes nothing.
    blank: bool,
    stream: u32,
    /// Sizes that were asked for; another one is of a problem that this file does not know.
    asked: Vec<String>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(problem: &'a Problem, blank: bool) -> Result<Self, String> {
        let formats = Formats::of(problem).map_err(|e| e.0)?;
        let numbers = match formats.default {
            Elem::F32 => Numbers::F32,
            Elem::Bf16 => Numbers::Bf16,
            other => return Err(format!("no program computes in {other} yet")),
        };
        Ok(Self {
            problem,
            formats,
            program: Program::new(&problem.family),
            elems: Vec::new(),
            weights: MemoryWeights::default(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            numbers,
            blank,
            stream: 0,
            asked: vec!["tokens".to_owned()],
        })
    }

    /// The format of an operand.
    pub(super) fn elem(&self, role: &str) -> Elem {
        self.formats.get(role)
    }

    /// The format of matrices.
    pub(super) fn main(&self) -> Elem {
        self.formats.default
    }

    /// A size that may be zero or absent.
    pub(super) fn flag(&mut self, name: &str) -> usize {
        self.asked.push(name.to_owned());
        self.problem.dim(name)
    }

    /// A size above zero.
    pub(super) fn size(&mut self, name: &str) -> Result<usize, String> {
        match self.flag(name) {
            0 => Err(format!("it has no size `{name}`")),
            n => Ok(n),
        }
    }

    /// Several of them.
    pub(super) fn sizes<const N: usize>(&mut self, names: [&str; N]) -> Result<[usize; N], String> {
        let mut all = [0; N];
        for (out, name) in all.iter_mut().zip(names) {
            *out = self.size(name)?;
        }
        Ok(all)
    }

    /// Tokens.
    pub(super) fn tokens(&self) -> usize {
        self.problem.dim("tokens").max(1)
    }

    /// A buffer for the operand `role`, aligned to `align` elements and no better.
    fn place(&mut self, role: &str, width: usize, align: usize, rows: Rows) -> View {
        let lead = if align.is_power_of_two() && align < 8 { align } else { 0 };
        let whole = self.program.buffer(role, lead + width, rows);
        self.elems.push(self.elem(role));
        whole.slice(lead, width)
    }

    /// An operand that the op reads, with random values.
    pub(super) fn input(&mut self, role: &str, width: usize, align: usize) -> View {
        let v = self.place(role, width, align, Rows::Tokens);
        let n = self.tokens() * self.program.buf(v.buf).width;
        let values = self.random(n);
        self.fill(v, values);
        v
    }

    /// Gives an operand its values, which are rounded to its format.
    pub(super) fn fill(&mut self, v: View, mut values: Vec<f32>) {
        self.program.buffers[v.buf.0 as usize].input = true;
        if self.elems[v.buf.0 as usize] == Elem::Bf16 {
            round(&mut values);
        }
        self.inputs.retain(|(b, _)| *b != v.buf);
        self.inputs.push((v.buf, values));
    }

    /// An operand that the op writes.
    pub(super) fn output(&mut self, role: &str, width: usize, align: usize, rows: Rows) -> View {
        let v = self.place(role, width, align, rows);
        self.observe(v);
        v
    }

    /// An operand of `whole` columns that the op writes, of which the first `results` are what comes out.
    pub(super) fn wide_output(&mut self, role: &str, (whole, results): (usize, usize), align: usize) -> View {
        let v = self.place(role, whole, align, Rows::Tokens);
        self.observe(v.slice(0, results));
        v
    }

    /// An operand that it reads and writes.
    pub(super) fn in_place(&mut self, role: &str, width: usize, align: usize) -> View {
        let v = self.input(role, width, align);
        self.observe(v);
        v
    }

    fn observe(&mut self, v: View) {
        self.program.mark_output(v);
        self.outputs.push(v);
    }

    /// A weight of `shape`, matrices scaled so that products stay near one.
    pub(super) fn weight(&mut self, role: Role, shape: &[usize]) -> WeightRef {
        let id = WeightRef { layer: Some(0), role };
        let scale = if let [_, cols] = shape { (3.0 / *cols as f32).sqrt() } else { 1.0 };
        let mut values: Vec<f32> =
            self.random(shape.iter().product()).into_iter().map(|v| v * scale).collect();
        if self.main() == Elem::Bf16 {
            round(&mut values);
        }
        self.weights.insert(id, shape, values);
        id
    }

    /// A state.
    pub(super) fn state(&mut self, shape: StateShape) -> StateId {
        self.program.state("state", 0, shape)
    }

    /// Seeded values between -1 and 1.
    pub(super) fn random(&mut self, n: usize) -> Vec<f32> {
        if self.blank {
            return vec![0.0; n];
        }
        self.stream += 1;
        random(self.stream, n)
    }

    /// The case of `op`. `steps` says whether every token is a sequence of its own.
    pub(super) fn finish(mut self, op: Op, steps: bool, allowed: f64) -> Result<Case, String> {
        let unknown = self.problem.dims.keys().find(|name| !self.asked.contains(name));
        if let Some(name) = unknown {
            return Err(format!("its size `{name}` is unknown here"));
        }
        let cached = matches!(op, Op::Attention(_)) && steps;
        self.program.push(Some(0), op);
        let tokens = self.tokens();
        Ok(Case {
            program: self.program,
            elems: self.elems,
            numbers: self.numbers,
            weights: self.weights,
            inputs: self.inputs,
            tokens,
            steps,
            cached,
            outputs: self.outputs,
            allowed,
        })
    }
}

/// Seeded values between -1 and 1.
pub(super) fn random(stream: u32, n: usize) -> Vec<f32> {
    let stream = Stream::new(SEED, Tag::Data, 0, stream);
    (0..n as u64).map(|e| stream.uniform(e) * 2.0 - 1.0).collect()
}

/// Rounds to bfloat16, so that both sides start from the same numbers.
pub(super) fn round(values: &mut [f32]) {
    values.iter_mut().for_each(|v| *v = bf16::from_f32(*v).to_f32());
}

//! A program as launches: which problems a GPU is given, in which order, on which operands.
//!
//! [`plan`] first decides how every buffer is stored ([`typing`]), then lowers each op ([`ops`]) to steps. It knows no
//! device: neither schedules nor addresses. A device looks up a schedule for each step's problem, emits and compiles
//! the source, and binds the operands by the names in its signature.

pub mod ops;
pub mod typing;

use crate::kernel::Elem;
use crate::op::{Linear, Op, StateId, View};
use crate::program::{Program, Rows};
use crate::schedule::Problem;
use jet_dsl::weight::WeightRef;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

pub use typing::Numbers;

/// Rows of buffers and of weights begin at multiples of this many elements, so that every row is aligned for the widest
/// access and for tensor copies.
pub const ROW_ALIGN: usize = 16;

/// Elements from one row of `width` columns to the next.
pub fn row_stride(width: usize) -> usize {
    width.next_multiple_of(ROW_ALIGN)
}

/// A program as launches.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program with its buffers' formats made good: copies where an op needs another format than its operand has.
    pub program: Program,
    /// The format of each buffer.
    pub elems: Vec<Elem>,
    /// The arithmetic.
    pub numbers: Numbers,
    /// In order.
    pub steps: Vec<Step>,
}

/// One thing to launch, in the form that suits the run.
#[derive(Clone, Debug)]
pub struct Step {
    /// Index of the op in the plan's program.
    pub op: usize,
    /// The first that suits is taken; the last one suits always.
    pub choices: Vec<Choice>,
}

/// A call and the runs it is for.
#[derive(Clone, Debug)]
pub struct Choice {
    /// When it suits.
    pub when: When,
    /// What is launched.
    pub call: Call,
}

/// Which runs a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum When {
    /// All.
    Always,
    /// Those in which every sequence has one new token.
    Steps,
    /// Those of at most so many rows.
    RowsAtMost(usize),
}

/// A problem with its operands.
#[derive(Clone, Debug)]
pub struct Call {
    /// Without its `tokens`, which differ from run to run.
    pub problem: Problem,
    /// What its rows are.
    pub rows: Rows,
    /// Operands by role.
    pub operands: Vec<(&'static str, Operand)>,
    /// Scalars by name.
    pub scalars: Vec<(&'static str, f32)>,
}

/// What a role is bound to.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// Columns of a buffer.
    View(View),
    /// A weight, or several on top of each other.
    Weight(Weight),
    /// A recurrent or convolution state of all sequences.
    State(StateId),
    /// The keys of a KV cache of all sequences.
    Keys(StateId),
    /// Its values.
    Values(StateId),
    /// A table that depends on the program only.
    Constant(Arc<[u8]>),
}

/// Weights as a kernel reads them: rows of `cols` values, `stride` apart, what lies between zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Weight {
    /// The parts on top of each other, each with its rows; zeros where there is none (a bias that only some have).
    pub parts: Vec<(Option<WeightRef>, usize)>,
    /// Values of a row.
    pub cols: usize,
    /// Elements from row to row.
    pub stride: usize,
    /// How they are stored.
    pub elem: Elem,
}

impl Weight {
    /// The matrix `id` of `rows` by `cols`, its rows [`row_stride`] apart.
    pub fn matrix(id: WeightRef, rows: usize, cols: usize, elem: Elem) -> Self {
        Self { parts: vec![(Some(id), rows)], cols, stride: row_stride(cols), elem }
    }

    /// The tensor `id` of `rows` by `cols` as it is, without gaps, in f32.
    pub fn dense(id: WeightRef, rows: usize, cols: usize) -> Self {
        Self { parts: vec![(Some(id), rows)], cols, stride: cols, elem: Elem::F32 }
    }

    /// The vector `id` of `len` values, in f32.
    pub fn vector(id: WeightRef, len: usize) -> Self {
        Self::dense(id, len, 1)
    }

    /// Rows of all parts.
    pub fn rows(&self) -> usize {
        self.parts.iter().map(|(_, n)| n).sum()
    }

    /// Bytes it takes on a device.
    pub fn bytes(&self) -> usize {
        self.rows() * self.stride * self.elem.bytes()
    }
}

/// Lowers `program` for a GPU.
pub fn plan(program: &Program, numbers: Numbers) -> Plan {
    let (program, elems) = typing::typed(&narrowed(program), numbers);
    plan_as(program, elems, numbers)
}

/// Lowers `program` with its buffers stored as `elems` say, one for each: it must hold that every op finds a format that
/// it takes, as [`typing::typed`] sees to.
pub fn plan_as(program: Program, elems: Vec<Elem>, numbers: Numbers) -> Plan {
    let mut steps = Vec::new();
    let cx = Cx { program: &program, elems: &elems, numbers };
    for (i, step) in program.steps.iter().enumerate() {
        for choices in ops::lower(&cx, &step.op) {
            debug_assert_eq!(choices.last().map(|c| c.when), Some(When::Always), "a step always has a call");
            steps.push(Step { op: i, choices });
        }
    }
    Plan { program, elems, numbers, steps }
}

/// The program without the halves of buffers that a gated projection uses where it has no epilogue: a GPU's kernels
/// write results only. The projections' outputs are then as narrow as their results.
fn narrowed(program: &Program) -> Program {
    let mut p = program.clone();
    for (i, step) in program.steps.iter().enumerate() {
        let Op::Linear(l) = &step.op else { continue };
        let (out, results) = (l.out, l.results());
        let whole = out.col == 0 && out.width == p.buf(out.buf).width && !p.buf(out.buf).output;
        let inside = |v: &View| v.buf != out.buf || v.col + v.width <= results.width;
        let mut others = program.steps.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, s)| &s.op);
        if results != out && whole && others.all(|op| op.reads().iter().chain(&op.writes()).all(inside)) {
            p.buffers[out.buf.0 as usize].width = results.width;
            p.steps[i].op = Op::Linear(Linear { out: results, ..l.clone() });
        }
    }
    p
}

/// What lowering an op works with.
pub struct Cx<'a> {
    /// The typed program.
    pub program: &'a Program,
    /// Formats of its buffers.
    pub elems: &'a [Elem],
    /// The arithmetic.
    pub numbers: Numbers,
}

impl Cx<'_> {
    /// The format of a view.
    pub fn elem(&self, v: View) -> Elem {
        self.elems[v.buf.0 as usize]
    }

    /// What the rows of a view are.
    pub fn rows(&self, v: View) -> Rows {
        self.program.buf(v.buf).rows
    }

    /// Elements to which the rows of all `views` are aligned, at most 8.
    pub fn align(&self, views: &[View]) -> usize {
        let of = |v: &View| 1 << v.col.trailing_zeros().min(3);
        views.iter().map(of).min().unwrap_or(8)
    }

    /// The format of matrices, KV caches and activations in front of a matrix.
    pub fn main(&self) -> Elem {
        self.numbers.elem()
    }
}

/// A call, put together by an op's file.
impl Call {
    /// A call of `family`, on the rows of `rows`. `formats` and sizes follow from the operands.
    pub fn new(problem: Problem, rows: Rows) -> Self {
        Self { problem, rows, operands: Vec::new(), scalars: Vec::new() }
    }

    /// With an operand.
    pub fn with(mut self, role: &'static str, operand: Operand) -> Self {
        self.operands.push((role, operand));
        self
    }

    /// With a view.
    pub fn view(self, role: &'static str, view: View) -> Self {
        self.with(role, Operand::View(view))
    }

    /// With a weight.
    pub fn weight(self, role: &'static str, weight: Weight) -> Self {
        self.with(role, Operand::Weight(weight))
    }

    /// With a scalar.
    pub fn scalar(mut self, name: &'static str, value: f64) -> Self {
        self.scalars.push((name, value as f32));
        self
    }

    /// The only choice.
    pub fn always(self) -> Vec<Choice> {
        vec![Choice { when: When::Always, call: self }]
    }

    /// The problem in runs of `tokens` rows.
    pub fn problem(&self, tokens: usize) -> Problem {
        let mut p = self.problem.clone();
        p.dims.insert("tokens".to_owned(), tokens as i64);
        p
    }

    /// The operand of `role`.
    pub fn operand(&self, role: &str) -> Option<&Operand> {
        self.operands.iter().find(|(r, _)| *r == role).map(|(_, o)| o)
    }
}

impl Plan {
    /// The problems of a run of `tokens` tokens, in order, those of one row per output at one row.
    pub fn problems(&self, tokens: usize) -> Vec<Problem> {
        let mut all = Vec::new();
        for choice in self.steps.iter().flat_map(|s| &s.choices) {
            match choice.call.rows {
                Rows::Tokens => all.push(choice.call.problem(tokens)),
                Rows::Outputs if tokens == 1 => all.push(choice.call.problem(1)),
                Rows::Outputs => {}
            }
        }
        all
    }

    /// The op of a step.
    pub fn op(&self, step: &Step) -> &Op {
        &self.program.steps[step.op].op
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            let layer = self.program.steps[step.op].layer.map_or("-".to_owned(), |l| l.to_string());
            for choice in &step.choices {
                let when = match choice.when {
                    When::Always => String::new(),
                    When::Steps => "  (one token each)".to_owned(),
                    When::RowsAtMost(n) => format!("  (up to {n} rows)"),
                };
                writeln!(
                    f,
                    "{i:>4}  layer {layer:>3}  {:<14} {}{when}",
                    self.op(step).name(),
                    choice.call.problem
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LowerOptions, lower};
    use jet_dsl::block::{Act, Block, Mlp};
    use jet_dsl::{Binding, ModelSpec, Naming};

    fn model(act: Act) -> ModelSpec {
        ModelSpec {
            name: "one".into(),
            vocab: 40,
            d_model: 24,
            norm_eps: 1e-5,
            tie_embeddings: true,
            max_context: 64,
            pattern: "--".into(),
            naming: Naming::NemotronH,
            precisions: vec![].into(),
            bindings: vec![Binding { symbol: '-', block: Block::Mlp(Mlp { hidden: 36, act, bias: true }) }]
                .into(),
        }
    }

    #[test]
    fn every_step_of_a_dense_model_is_a_problem_that_some_schedule_serves() {
        for act in [Act::Swiglu, Act::Relu2, Act::Geglu] {
            for numbers in [Numbers::F32, Numbers::Bf16] {
                let p = plan(&lower(&model(act), LowerOptions::default()), numbers);
                for tokens in [1, 7, 512] {
                    for problem in p.problems(tokens) {
                        let kernel = crate::kernel::find(&problem.family).unwrap();
                        for arch in crate::arch::ALL {
                            kernel.default_for(&problem, arch).unwrap();
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn an_activation_is_part_of_its_projection() {
        let problems = |act| {
            let p = plan(&lower(&model(act), LowerOptions::default()), Numbers::Bf16);
            let gemms = |q: &Problem| q.family == "gemm" && q.dim("n") == 36;
            let elementwise = |q: &Problem| q.family == "elementwise";
            let all = p.problems(512);
            (
                all.iter().find(|q| gemms(q)).cloned().unwrap(),
                all.iter().filter(|q| elementwise(q)).count(),
                p,
            )
        };
        let (gemm, relu2, p) = problems(Act::Relu2);
        assert_eq!((gemm.dim("act"), gemm.dim("glu")), (1, 0));
        assert!(p.program.buffers.iter().all(|b| b.width <= 40), "{}", p.program);
        let (gemm, swiglu, p) = problems(Act::Swiglu);
        assert_eq!((gemm.dim("act"), gemm.dim("glu"), swiglu), (0, 1, relu2));
        // Only results are stored.
        assert!(p.program.buffers.iter().all(|b| b.width <= 40), "{}", p.program);
        assert_eq!(problems(Act::Geglu).0.dim("glu"), 2);
    }

    #[test]
    fn the_residual_stream_and_the_logits_stay_float() {
        let p = plan(&lower(&model(Act::Swiglu), LowerOptions::default()), Numbers::Bf16);
        let elem = |name: &str| p.elems[p.program.find_buffer(name).unwrap().0 as usize];
        assert_eq!(elem("h"), Elem::F32);
        assert_eq!(elem(crate::LOGITS), Elem::F32);
        assert_eq!(elem("0.normed"), Elem::Bf16);
        let shown = p.to_string();
        assert!(shown.contains("gemm[") && shown.contains("bf16 out=f32"), "{shown}");
    }
}

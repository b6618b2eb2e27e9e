//! `jet_block`: a whole JetBlock, from its normed input to its output projection, with both its states.

use crate::check::case::{Array, CaseFile};
use crate::check::expect::{Expectations, Part};
use crate::check::forms::Form;
use crate::check::program::{buffer, expose, rewrite};
use crate::check::rig::{Rig, Stream};
use crate::check::tally::{Judge, Tallies};
use crate::check::{Context, Greedy};
use anyhow::{Result, anyhow, ensure};
use jet_codegen::op::{BufId, Op, StateId, View};
use jet_codegen::program::{Program, StateShape};
use jet_codegen::{LowerOptions, lower_plain};
use jet_dsl::block::{Block, JetBlock};
use jet_dsl::{Binding, ModelSpec, Naming};
use jet_runtime::select::NoSchedules;
use jet_runtime::weights::MemoryWeights;

/// Where the block's weights begin in [`Naming::NemotronH`].
const PREFIX: &str = "backbone.layers.0.mixer.";

pub(super) fn run(cx: &Context<'_>, case: &CaseFile, tallies: &mut Tallies) -> Result<Option<Greedy>> {
    let block = JetCase::read(cx, case)?;
    if case.param_or_none("T").is_some() {
        for t in case.list::<usize>("T")? {
            block.one_length(t, tallies)?;
        }
    } else if case.param_or_none("segments").is_some() {
        block.segments(&case.list("segments")?, tallies)?;
    } else if case.param_or_none("lens").is_some() {
        block.padded(&case.list("lens")?, tallies)?;
    } else {
        anyhow::bail!("the metadata has none of `T`, `segments` and `lens`");
    }
    Ok(None)
}

/// A case with its block, ready to run.
struct JetCase<'a> {
    cx: &'a Context<'a>,
    case: &'a CaseFile,
    spec: ModelSpec,
    block: JetBlock,
    weights: MemoryWeights,
    judge: Judge,
}

/// The block's program, without the model around it.
struct BlockProgram {
    program: Program,
    input: BufId,
    output: BufId,
    conv: StateId,
    delta: StateId,
}

/// Tensors that a case may show of a block's inside.
const INNER: [&str; 7] = ["q", "k", "v", "beta", "g", "gdr_out", "normed"];

impl<'a> JetCase<'a> {
    fn read(cx: &'a Context<'a>, case: &'a CaseFile) -> Result<Self> {
        let (n_heads, d_head): (u32, u32) = (case.number("num_heads")?, case.number("head_dim")?);
        let d_value: u32 = case.number("head_v_dim")?;
        let hidden: u32 = case.number("generator_hidden")?;
        let (d_model, values) = (case.number("hidden_size")?, n_heads.saturating_mul(d_value));
        ensure!(
            hidden > 0 && d_head > 0 && values > 0 && values.is_multiple_of(hidden),
            "{n_heads} heads of {d_value} values do not fit a generator of width {hidden}"
        );
        let block = JetBlock {
            n_heads,
            d_head,
            expand_v: f64::from(d_value) / f64::from(d_head),
            conv: case.number("conv_size")?,
            reduction: values / hidden,
            norm_eps: case.number("norm_eps")?,
        };
        let spec = ModelSpec {
            name: "jet_block".into(),
            vocab: 1,
            d_model,
            norm_eps: 1e-6,
            tie_embeddings: true,
            max_context: 1 << 20,
            pattern: "J".into(),
            bindings: vec![Binding { symbol: 'J', block: Block::JetBlock(block.clone()) }].into(),
            naming: Naming::NemotronH,
            precisions: vec![].into(),
        };
        let mut weights = MemoryWeights::default();
        for decl in spec.weights() {
            let Some(part) = decl.name.strip_prefix(PREFIX) else { continue };
            let shape: Vec<usize> = decl.shape.0.iter().map(|d| *d as usize).collect();
            let values = case.array_of_shape(&format!("weights.{part}"), &shape)?;
            weights.insert(decl.id, &shape, values.f32());
        }
        Ok(Self { cx, case, spec, block, weights, judge: cx.judge_outputs(case)? })
    }

    fn width(&self) -> usize {
        self.spec.d_model as usize
    }

    fn conv_size(&self) -> usize {
        (self.block.value_dim() * u64::from(self.block.conv)) as usize
    }

    fn delta_size(&self) -> usize {
        (self.block.key_dim() * self.block.d_value()) as usize
    }

    /// The states' tensors, with their sizes per sequence.
    fn states(&self, p: &BlockProgram) -> [(&'static str, StateId, usize); 2] {
        [("conv_state", p.conv, self.conv_size()), ("recurrent_state", p.delta, self.delta_size())]
    }

    /// Announces tensor `name`.
    fn expect(&self, name: &str, tallies: &mut Tallies) -> Result<Array> {
        let array = self.case.array(name)?;
        tallies.expect(name, array.clone(), self.judge);
        Ok(array)
    }

    fn input(&self, name: &str) -> Result<Array> {
        let array = self.case.array_of_rank(name, 3)?;
        ensure!(
            array.dim(2) == self.width(),
            "`{name}` is {:?}, expected rows of {}",
            array.shape,
            self.width()
        );
        Ok(array)
    }

    /// The block's steps, with the normed stream as input; `inner` adds copies of the tensors inside.
    fn program(&self, inner: bool) -> Result<BlockProgram> {
        let mut p = lower_plain(&self.spec, LowerOptions::default());
        p.vocab = 0;
        p.steps.retain(|s| s.layer == Some(0));
        let broken = || anyhow!("a lowered JetBlock does not begin with its norm and end with its residual");
        let Some(Op::RmsNorm { out: input, .. }) = p.steps.first().map(|s| s.op.clone()) else {
            return Err(broken());
        };
        let Some(Op::Add { x: output, .. }) = p.steps.last().map(|s| s.op.clone()) else {
            return Err(broken());
        };
        p.steps.remove(0);
        p.steps.pop();
        p.buffers[input.buf.0 as usize].input = true;
        p.mark_output(output);
        if inner {
            show_inner(&mut p);
        }
        let (input, output) = (p.buf(input.buf).name.clone(), p.buf(output.buf).name.clone());
        rewrite(&mut p)?;
        let state = |conv: bool| {
            let found = p.states.iter().position(|s| matches!(s.shape, StateShape::Conv { .. }) == conv);
            found.map(|i| StateId(i as u32)).ok_or_else(broken)
        };
        let (conv, delta) = (state(true)?, state(false)?);
        let (input, output) = (buffer(&p, &input)?, buffer(&p, &output)?);
        Ok(BlockProgram { program: p, input, output, conv, delta })
    }

    fn rig(&self, p: &BlockProgram, rows: &[Vec<f32>], expect: Expectations) -> Rig<'_> {
        let streams =
            rows.iter().map(|r| Stream::counted(r.len() / self.width()).input(p.input, r.clone())).collect();
        Rig {
            device: self.cx.device,
            program: p.program.clone(),
            weights: &self.weights,
            precision: self.cx.precision,
            streams,
            watch: vec![p.output],
            expect,
        }
    }

    /// Rows of equal length from an empty state.
    fn one_length(&self, tokens: usize, tallies: &mut Tallies) -> Result<()> {
        let name = |what: &str| format!("T{tokens}.{what}");
        let input = self.input(&name("input"))?;
        let rows: Vec<Vec<f32>> = (0..input.dim(0)).map(|b| input.row(b)).collect();
        let lengths = vec![tokens; rows.len()];
        let p = self.program(false)?;
        let mut expect = Expectations::default();
        self.expect(&name("output"), tallies)?;
        expect.batch(0, &name("output"), &lengths, self.width());
        for (what, state, size) in self.states(&p) {
            self.expect(&name(what), tallies)?;
            expect.final_states(state, &name(what), &lengths, size);
        }
        self.rig(&p, &rows, expect).check_all(tallies)?;
        if self.case.has(&name("inner.q")) {
            self.inner(&name("inner."), &rows, tallies)?;
        }
        Ok(())
    }

    /// The tensors inside, in one call.
    fn inner(&self, prefix: &str, rows: &[Vec<f32>], tallies: &mut Tallies) -> Result<()> {
        let p = self.program(true)?;
        let mut rig = self.rig(&p, rows, Expectations::default());
        let lengths = rig.lengths();
        for name in INNER {
            let tensor = format!("{prefix}{name}");
            if !self.case.has(&tensor) {
                continue;
            }
            self.expect(&tensor, tallies)?;
            let shown = buffer(&p.program, name)?;
            rig.expect.batch(rig.watch.len(), &tensor, &lengths, p.program.buf(shown).width);
            rig.watch.push(shown);
        }
        rig.check(&[Form::one_call(&lengths)], "", &NoSchedules, tallies)
    }

    /// One stream cut into segments, with the states after each.
    fn segments(&self, lengths: &[usize], tallies: &mut Tallies) -> Result<()> {
        let p = self.program(false)?;
        let mut expect = Expectations::default();
        let mut rows: Vec<Vec<f32>> = Vec::new();
        let mut first = 0;
        for (i, n) in lengths.iter().enumerate() {
            let name = |what: &str| format!("seg{i}.{what}");
            let input = self.input(&name("input"))?;
            ensure!(input.dim(1) == *n, "`{}` has {} tokens, expected {n}", name("input"), input.dim(1));
            rows.resize(input.dim(0).max(rows.len()), Vec::new());
            self.expect(&name("output"), tallies)?;
            for b in 0..input.dim(0) {
                rows[b].extend(input.row(b));
                expect.rows(b, 0, first, *n, &name("output"), b * n * self.width());
            }
            first += n;
            for (what, state, size) in self.states(&p) {
                self.expect(&name(what), tallies)?;
                for b in 0..input.dim(0) {
                    expect.state((b, first), state, Part::Whole, &name(what), b * size);
                }
            }
        }
        let rig = self.rig(&p, &rows, expect);
        let given = Form::of("the given segments", &rig.lengths(), |_| lengths.to_vec());
        rig.check(&[given], "", &NoSchedules, tallies)?;
        rig.check_all(tallies)
    }

    /// Left-padded rows, the same rows packed end to end, and one decode step after them.
    fn padded(&self, lengths: &[usize], tallies: &mut Tallies) -> Result<()> {
        let input = self.input("input")?;
        let (batch, padded, width) = (input.dim(0), input.dim(1), self.width());
        let (_, mask) = self.case.ints("attention_mask")?;
        ensure!(
            lengths.len() == batch && mask.len() == batch * padded && lengths.iter().all(|n| *n <= padded),
            "`lens` {lengths:?} and {} values of `attention_mask` do not fit an input of {:?}",
            mask.len(),
            input.shape
        );
        self.expect("output", tallies)?;
        let mut expect = Expectations::default();
        let mut rows = Vec::new();
        for (b, n) in lengths.iter().enumerate() {
            let real = mask[b * padded..(b + 1) * padded]
                .iter()
                .enumerate()
                .all(|(t, m)| (*m != 0) == (t + n >= padded));
            ensure!(real, "row {b} of `attention_mask` is not {n} real tokens behind padding");
            rows.push(input.row(b)[(padded - n) * width..].to_vec());
            tallies.excuse("output", b * padded * width, (padded - n) * width);
            expect.rows(b, 0, 0, *n, "output", (b * padded + padded - n) * width);
        }
        let p = self.program(false)?;
        for (what, state, size) in self.states(&p) {
            self.expect(what, tallies)?;
            for (b, n) in lengths.iter().enumerate() {
                expect.state((b, *n), state, Part::Whole, what, b * size);
            }
        }
        if self.case.has("packed.input") {
            self.packed(lengths, &rows, &mut expect, tallies)?;
        }
        let plain = self.rig(&p, &rows, expect.clone());
        plain.check_all(tallies)?;
        if self.case.has("step.input") {
            let step = self.input("step.input")?;
            self.expect("step.output", tallies)?;
            let mut longer = Vec::new();
            for (b, n) in lengths.iter().enumerate() {
                longer.push([&rows[b][..], &step.row(b)].concat());
                expect.rows(b, 0, *n, 1, "step.output", b * width);
            }
            for (what, state, size) in self.states(&p) {
                let tensor = format!("step.{what}");
                self.expect(&tensor, tallies)?;
                for (b, n) in lengths.iter().enumerate() {
                    expect.state((b, n + 1), state, Part::Whole, &tensor, b * size);
                }
            }
            let rig = self.rig(&p, &longer, expect);
            let given = Form::of("prefill, then one step", &rig.lengths(), |n| vec![n - 1, 1]);
            rig.check(&[given], "", &NoSchedules, tallies)?;
            rig.check_all(tallies)?;
        }
        Ok(())
    }

    /// The rows end to end, which is how a batch lies in memory here.
    fn packed(
        &self,
        lengths: &[usize],
        rows: &[Vec<f32>],
        expect: &mut Expectations,
        tallies: &mut Tallies,
    ) -> Result<()> {
        let (_, bounds) = self.case.ints("packed.cu_seqlens")?;
        let sums = lengths.iter().scan(0, |sum, n| {
            *sum += *n as i64;
            Some(*sum)
        });
        ensure!(
            bounds == std::iter::once(0).chain(sums).collect::<Vec<_>>(),
            "`packed.cu_seqlens` is {bounds:?}"
        );
        let same = self.input("packed.input")?.f32() == rows.concat();
        ensure!(same, "`packed.input` does not hold the rows of `input`");
        self.expect("packed.output", tallies)?;
        expect.batch(0, "packed.output", lengths, self.width());
        Ok(())
    }
}

/// Inserts copies of [`INNER`] around the ops that have them.
fn show_inner(p: &mut Program) {
    let mut at = 0;
    while at < p.steps.len() {
        let (before, after): (Vec<(View, &str)>, Vec<(View, &str)>) = match &p.steps[at].op {
            Op::GatedDelta(d) => (
                vec![(d.q, "q"), (d.k, "k"), (d.v, "v"), (d.g, "g"), (d.beta, "beta")],
                vec![(d.out, "gdr_out")],
            ),
            Op::GatedNorm { out, .. } => (vec![], vec![(*out, "normed")]),
            _ => (vec![], vec![]),
        };
        for (view, name) in before {
            expose(p, at, view, name);
            at += 1;
        }
        at += 1;
        for (view, name) in after {
            expose(p, at, view, name);
            at += 1;
        }
    }
}

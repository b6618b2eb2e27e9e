//! `gguf_dequant`: rows of a GGUF file in its block formats, decoded by the device.
//!
//! A row goes two ways through the device: as a row of an embedding, and as a row of a projection that is given
//! unit vectors. Both are exact in float32.

use crate::check::case::{Array, CaseFile};
use crate::check::expect::Expectations;
use crate::check::forms::Form;
use crate::check::rig::{Rig, Stream};
use crate::check::tally::{Judge, Tallies};
use crate::check::weights::RawWeights;
use crate::check::{Context, Greedy};
use anyhow::{Context as _, Result, anyhow, ensure};
use jet_codegen::op::{Linear, LinearPart, Op};
use jet_codegen::program::{Program, Rows};
use jet_dsl::weight::{Role, WeightRef};
use jet_models::Target;
use jet_models::weights::{Gguf, WeightSource as _};
use jet_numerics::DType;
use jet_runtime::select::NoSchedules;
use std::collections::BTreeMap;

const PERMUTATION: &str = "q_row_permutation.gguf_row_for_half_split_row";

pub(super) fn run(cx: &Context<'_>, case: &CaseFile, tallies: &mut Tallies) -> Result<Option<Greedy>> {
    let path = cx.model.context("no model was given")?;
    let file = Gguf::open(path)?;
    // Samples by tensor: `<tensor>[<row>].f32`, with the row's bytes beside it.
    let mut samples: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for name in case.names() {
        if let Some((tensor, row)) = name.strip_suffix("].f32").and_then(|n| n.rsplit_once('[')) {
            let row = row.parse().with_context(|| format!("`{name}` does not end in a row's number"))?;
            samples.entry(tensor.to_owned()).or_default().push(row);
        }
    }
    ensure!(!samples.is_empty(), "there is no tensor `<name>[<row>].f32`");
    for (tensor, rows) in &samples {
        Sample::read(case, &file, tensor, rows)?.check(cx, case, tallies)?;
    }
    if case.has(PERMUTATION) {
        permutation(case, path, tallies)?;
    }
    Ok(None)
}

/// Sampled rows of one tensor.
struct Sample {
    tensor: String,
    dtype: DType,
    cols: usize,
    rows: Vec<usize>,
    bytes: Vec<u8>,
}

impl Sample {
    fn read(case: &CaseFile, file: &Gguf, tensor: &str, rows: &[usize]) -> Result<Self> {
        let stored = file.tensor(tensor).ok_or_else(|| anyhow!("the GGUF file has no tensor `{tensor}`"))?;
        let mut bytes = Vec::new();
        for row in rows {
            let name = format!("{tensor}[{row}].raw");
            ensure!(
                *row < stored.row_count(),
                "`{tensor}` has {} rows, `{name}` is none",
                stored.row_count()
            );
            let raw = case.bytes(&name)?;
            ensure!(raw == stored.row(*row), "`{name}` holds other bytes than the GGUF file");
            bytes.extend(raw);
        }
        let (dtype, cols) = (stored.dtype, stored.cols());
        Ok(Self { tensor: tensor.to_owned(), dtype, cols, rows: rows.to_vec(), bytes })
    }

    fn check(&self, cx: &Context<'_>, case: &CaseFile, tallies: &mut Tallies) -> Result<()> {
        let judge = cx.judge_outputs(case)?;
        let name = |row: usize| format!("{}[{row}].f32", self.tensor);
        for row in &self.rows {
            tallies.expect(&name(*row), case.array_of_shape(&name(*row), &[self.cols])?, judge);
        }
        let id = WeightRef { layer: None, role: Role::Embedding };
        let shape = vec![self.rows.len(), self.cols];
        let weights = RawWeights(BTreeMap::from([(id, (self.dtype, shape, self.bytes.clone()))]));

        let mut p = Program::new("embedding");
        p.vocab = self.rows.len();
        let out = p.buffer("out", self.cols, Rows::Tokens);
        p.mark_output(out);
        let vocab = p.vocab;
        p.push(None, Op::Embed { table: id, vocab, out });
        let all = Stream { tokens: (0..self.rows.len() as u32).collect(), ..Stream::default() };
        let got = self.run(cx, p, &weights, all)?;
        for (i, row) in self.rows.iter().enumerate() {
            tallies.compare(&name(*row), "as an embedding", 0, &got[i * self.cols..(i + 1) * self.cols]);
        }

        let mut p = Program::new("projection");
        let x = p.input("x", self.cols);
        let out = p.buffer("out", self.rows.len(), Rows::Tokens);
        p.mark_output(out);
        let part = LinearPart { weight: id, bias: None, rows: self.rows.len() };
        p.push(
            None,
            Op::Linear(Linear { x, parts: vec![part], out, accumulate: false, exact: false, act: None }),
        );
        let units = (0..self.cols * self.cols).map(|i| f32::from(u8::from(i / self.cols == i % self.cols)));
        let units = Stream::counted(self.cols).input(x.buf, units.collect());
        let got = self.run(cx, p, &weights, units)?;
        for (i, row) in self.rows.iter().enumerate() {
            let column: Vec<f32> = got.iter().skip(i).step_by(self.rows.len()).copied().collect();
            tallies.compare(&name(*row), "as a projection", 0, &column);
        }
        Ok(())
    }

    /// Runs a program with one output buffer `out`.
    fn run(
        &self,
        cx: &Context<'_>,
        program: Program,
        weights: &RawWeights,
        stream: Stream,
    ) -> Result<Vec<f32>> {
        let out = crate::check::program::buffer(&program, "out")?;
        let rig = Rig {
            device: cx.device,
            program,
            weights,
            precision: cx.precision,
            streams: vec![stream],
            watch: vec![out],
            expect: Expectations::default(),
        };
        let mut lanes = rig.run(&[Form::one_call(&rig.lengths())], &NoSchedules)?.remove(0);
        Ok(lanes.remove(0).outputs.remove(0))
    }
}

/// Where the rows of the first query projection are found.
fn permutation(case: &CaseFile, path: &std::path::Path, tallies: &mut Tallies) -> Result<()> {
    let target = Target::resolve(&path.to_string_lossy())?;
    let stored = target.checkpoint()?.context("the GGUF file has no weights")?;
    let q = stored.get(WeightRef { layer: Some(0), role: Role::QProj })?;
    let expected: Array = case.array(PERMUTATION)?;
    ensure!(
        expected.values.len() == q.row_count(),
        "`{PERMUTATION}` has {} rows, the projection {}",
        expected.values.len(),
        q.row_count()
    );
    tallies.expect(PERMUTATION, expected, Judge::Equal);
    let rows: Vec<f64> = (0..q.row_count()).map(|r| q.rows.stored_row(r) as f64).collect();
    tallies.compare_f64(PERMUTATION, "as loaded", 0, &rows);
    Ok(())
}

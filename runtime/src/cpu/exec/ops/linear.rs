//! Projections, and the embedding look-up that shares its matrix with a tied head.

use super::{elementwise, rows_of};
use crate::Error;
use crate::cpu::exec::{Cx, Exec, Loader, Operand, PerBucket};
use crate::cpu::matmul::{
    self, Epilogue, FEW, GEMM, GEMV, Gemm, Gemv, Layout, NumberPath, PackedMatrix, Packer, Prepared, Tuning,
    WeightRows,
};
use crate::cpu::pool::Worker;
use crate::device::Precision;
use jet_codegen::op::{self, LinearPart, View};
use jet_codegen::program::{Program, Rows};
use jet_codegen::schedule::Problem;
use jet_dsl::weight::WeightRef;
use jet_numerics::DType;
use std::ops::Range;
use std::sync::Arc;

/// The arithmetic of a matrix stored as `dtype`. An `exact` one is float32 whatever the precision.
pub(super) fn number_path(dtype: DType, precision: Precision, exact: bool) -> NumberPath {
    match precision {
        _ if exact => NumberPath::F32,
        Precision::F32 => NumberPath::F32,
        Precision::Bf16 => NumberPath::Bf16,
        Precision::Native => matmul::paths_for(dtype).first().copied().unwrap_or(NumberPath::F32),
    }
}

/// Packs `parts` (weight and rows of each), all of one format, as one matrix of `k` columns.
pub(super) fn pack(
    l: &mut Loader<'_>,
    parts: &[(WeightRef, usize)],
    k: usize,
) -> Result<Arc<PackedMatrix>, Error> {
    let ids: Vec<WeightRef> = parts.iter().map(|(id, _)| *id).collect();
    l.matrix(&ids, |l| {
        let weights = ids.iter().map(|id| l.weight(*id)).collect::<Result<Vec<_>, _>>()?;
        for (w, (id, rows)) in weights.iter().zip(parts) {
            if (w.rows(), w.cols()) != (*rows, k) {
                let reason = format!("is {} by {}, expected {rows} by {k}", w.rows(), w.cols());
                return Err(Error::Weight { id: *id, reason });
            }
        }
        let rows: Vec<WeightRows<'_>> = weights
            .iter()
            .zip(parts)
            .map(|(w, (_, rows))| WeightRows {
                dtype: w.dtype,
                bytes: &w.bytes,
                rows: *rows,
                row_map: w.row_map.as_deref(),
            })
            .collect();
        let packer = Packer { arena: l.arena(), pool: Some(l.pool) };
        packer.pack(&rows, k).map_err(|e| Error::Weight { id: ids[0], reason: e.to_string() })
    })
}

/// Schedules of one matrix: a few tokens, and more.
pub(super) struct Schedules {
    few: Gemv,
    /// Absent where there are never more than a few.
    more: Option<PerBucket<Gemm>>,
}

impl Schedules {
    pub(super) fn choose(
        l: &mut Loader<'_>,
        (n, k): (usize, usize),
        rows_at_most: usize,
        dtype: DType,
        path: NumberPath,
    ) -> Result<Self, Error> {
        let few = l.choose(GEMV, &matmul::problem(n, k, 1, dtype, path))?;
        let of = |tokens| matmul::problem(n, k, tokens, dtype, path);
        let more =
            (rows_at_most > FEW).then(|| l.per_bucket(FEW + 1..=rows_at_most, GEMM, of)).transpose()?;
        Ok(Self { few, more })
    }

    pub(super) fn tuning(&self, tokens: usize) -> Tuning {
        match &self.more {
            Some(more) if tokens > FEW => (*more.get(tokens)).into(),
            _ => self.few.into(),
        }
    }

    /// Asks for what multiplying up to `tokens` tokens of `k` values by `path` needs.
    pub(super) fn reserve(&self, l: &mut Loader<'_>, tokens: usize, k: usize, path: NumberPath) {
        let more = self.more.iter().flat_map(PerBucket::all).map(|s| Tuning::from(*s));
        for tuning in more.chain([self.few.into()]) {
            let layout = Layout::new(tokens, k, path, tuning.mt, l.features);
            l.scratch(matmul::scratch_len(&layout, &tuning));
            l.prepared(layout.len());
        }
    }
}

/// Parts of one format next to each other, as one matrix.
struct Stack {
    parts: Range<usize>,
    rows: usize,
    dtype: DType,
}

fn stacks(parts: &[LinearPart], dtype: impl Fn(WeightRef) -> Option<DType>) -> Vec<Stack> {
    let mut stacks: Vec<Stack> = Vec::new();
    for (i, p) in parts.iter().enumerate() {
        let d = dtype(p.weight).unwrap_or(DType::F32);
        match stacks.last_mut() {
            Some(s) if s.dtype == d => {
                s.parts.end = i + 1;
                s.rows += p.rows;
            }
            _ => stacks.push(Stack { parts: i..i + 1, rows: p.rows, dtype: d }),
        }
    }
    stacks
}

/// The tuning problems of a projection in runs of `tokens` tokens. Where only the asked rows are projected, that is one
/// row however many tokens there are.
pub(super) fn problems(
    program: &Program,
    l: &op::Linear,
    dtype: &dyn Fn(WeightRef) -> Option<DType>,
    precision: Precision,
    tokens: usize,
) -> Vec<Problem> {
    if program.buf(l.x.buf).rows == Rows::Outputs && tokens > 1 {
        return vec![];
    }
    let of = |s: Stack| {
        matmul::problem(s.rows, l.x.width, tokens, s.dtype, number_path(s.dtype, precision, l.exact))
    };
    stacks(&l.parts, dtype).into_iter().map(of).collect()
}

/// One matrix of a projection, with its place in the output.
struct Matrix {
    packed: Arc<PackedMatrix>,
    path: NumberPath,
    /// First column of the output.
    col: usize,
    bias: Option<Vec<f32>>,
    schedules: Schedules,
}

/// `out (+)= x · Wᵀ + b`.
pub(super) struct Linear {
    x: Operand,
    out: Operand,
    matrices: Vec<Matrix>,
    accumulate: bool,
    act: Option<Box<dyn Exec>>,
}

impl Linear {
    pub(super) fn build(l: &mut Loader<'_>, o: &op::Linear) -> Result<Self, Error> {
        let (k, mut col, mut matrices) = (o.x.width, 0, Vec::new());
        let tokens = l.rows_at_most(o.x);
        for stack in stacks(&o.parts, |id| l.request.weights.dtype(id)) {
            let parts = &o.parts[stack.parts.clone()];
            let path = number_path(stack.dtype, l.precision(), o.exact);
            let sized: Vec<_> = parts.iter().map(|p| (p.weight, p.rows)).collect();
            let packed = pack(l, &sized, k)?;
            let schedules = Schedules::choose(l, (stack.rows, k), tokens, stack.dtype, path)?;
            schedules.reserve(l, tokens, k, path);
            matrices.push(Matrix { packed, path, col, bias: bias(l, parts)?, schedules });
            col += stack.rows;
        }
        let act = o.act.map(|act| elementwise::activation(l, act, o.out));
        Ok(Self { x: l.operand(o.x), out: l.operand(o.out), matrices, accumulate: o.accumulate, act })
    }
}

/// The stacked bias; zero for parts without one, nothing where none has one.
fn bias(l: &Loader<'_>, parts: &[LinearPart]) -> Result<Option<Vec<f32>>, Error> {
    if parts.iter().all(|p| p.bias.is_none()) {
        return Ok(None);
    }
    let mut all = Vec::new();
    for p in parts {
        match p.bias {
            Some(id) => all.extend(l.vector(id, p.rows)?),
            None => all.resize(all.len() + p.rows, 0.0),
        }
    }
    Ok(Some(all))
}

/// Brings the rows of `x` into the form that the kernels read: each worker some of them, then a barrier.
pub(super) fn prepare<'a>(cx: &'a Cx<'_>, w: &Worker<'_>, x: Operand, layout: Layout) -> Prepared<'a> {
    let groups = w.share(layout.groups(), 1);
    let words = layout.words_of(groups.clone());
    // SAFETY: nobody writes the input in this phase; each worker prepares groups of its own.
    unsafe { layout.prepare(cx.mat(x), groups, cx.prepared.write(words)) };
    w.barrier();
    // SAFETY: after the barrier the prepared rows are only read, until the next barrier at least.
    Prepared::new(layout, unsafe { cx.prepared.read(0..layout.len()) })
}

impl Exec for Linear {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let tokens = cx.rows(self.x);
        if tokens == 0 {
            return;
        }
        let mut ready: Option<Prepared<'_>> = None;
        for m in &self.matrices {
            let tuning = m.schedules.tuning(tokens);
            let layout = Layout::new(tokens, self.x.width, m.path, tuning.mt, cx.features);
            let x = match ready {
                Some(p) if p.layout == layout => p,
                _ => {
                    if ready.is_some() {
                        w.barrier();
                    }
                    prepare(cx, w, self.x, layout)
                }
            };
            ready = Some(x);
            let part = matmul::share(w, &m.packed, &layout);
            let (rows, cols) = (part.rows(&layout), part.cols(&m.packed));
            if rows.is_empty() || cols.is_empty() {
                continue;
            }
            // SAFETY: the parts of the workers are disjoint.
            let out = unsafe { cx.mat_mut(self.out, rows, m.col + cols.start..m.col + cols.end) };
            let epilogue = Epilogue { bias: m.bias.as_deref(), accumulate: self.accumulate };
            let scratch = cx.scratch(w, matmul::scratch_len(&layout, &tuning));
            matmul::matmul(&m.packed, x, part, out, epilogue, &tuning, scratch);
        }
        if let Some(act) = &self.act {
            // Its operands are other workers' results.
            w.barrier();
            act.run(cx, w);
        }
    }
}

/// Rows of the embedding.
pub(super) struct Embed {
    table: Arc<PackedMatrix>,
    out: Operand,
}

impl Embed {
    pub(super) fn build(
        l: &mut Loader<'_>,
        table: WeightRef,
        vocab: usize,
        out: View,
    ) -> Result<Self, Error> {
        Ok(Self { table: pack(l, &[(table, vocab)], out.width)?, out: l.operand(out) })
    }
}

impl Exec for Embed {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let rows = rows_of(cx, w, self.out);
        // SAFETY: each worker has rows of its own.
        let mut out = unsafe { cx.mat_mut(self.out, rows.clone(), 0..self.out.width) };
        for (i, r) in rows.enumerate() {
            self.table.row_f32(cx.layout.ids[r] as usize, out.row_mut(i));
        }
    }
}

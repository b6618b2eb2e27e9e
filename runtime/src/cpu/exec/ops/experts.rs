//! Mixture of experts: routing, and the routed experts.
//!
//! The pairs (token, chosen expert) are sorted by expert, so an expert's inputs are neighbouring rows and each expert is
//! one small matrix product. All experts go through a phase together: up (and gate), activation, down, and the
//! weighted sum per token.

use super::linear::{Schedules, number_path, pack};
use super::rows_of;
use crate::Error;
use crate::cpu::act;
use crate::cpu::exec::{Cx, Exec, Loader, Operand, Shared, SharedCell};
use crate::cpu::mat::{Mat, MatMut};
use crate::cpu::matmul::{self, Epilogue, Layout, NumberPath, PackedMatrix, Prepared};
use crate::cpu::moe::{self, Routing};
use crate::cpu::pool::Worker;
use crate::device::Precision;
use jet_codegen::op::{self, Op};
use jet_codegen::schedule::Problem;
use jet_dsl::block::Act;
use jet_dsl::weight::WeightRef;
use jet_numerics::DType;
use std::ops::Range;
use std::sync::Arc;

/// Chooses experts and their weights.
pub(super) struct Route {
    logits: Operand,
    ids: Operand,
    gates: Operand,
    bias: Vec<f32>,
    routing: Routing,
}

impl Route {
    pub(super) fn build(l: &mut Loader<'_>, op: &Op) -> Result<Self, Error> {
        let Op::Route { logits, bias, ids, gates, n_group, topk_group, normalise, scale } = op else {
            let reason = "it is no routing".to_owned();
            return Err(Error::Unsupported { device: "cpu".into(), op: op.name(), reason });
        };
        let routing = Routing {
            experts: logits.width,
            top_k: ids.width,
            n_group: *n_group,
            topk_group: *topk_group,
            normalise: *normalise,
            scale: *scale,
        };
        l.scratch(moe::route_scratch_len(&routing));
        let bias = l.vector(*bias, logits.width)?;
        Ok(Self { logits: l.operand(*logits), ids: l.operand(*ids), gates: l.operand(*gates), bias, routing })
    }
}

impl Exec for Route {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let rows = rows_of(cx, w, self.logits);
        // SAFETY: nobody writes the logits in this phase; each worker has rows of its own.
        let (logits, ids, gates) = unsafe {
            let ids = cx.mat_mut(self.ids, rows.clone(), 0..self.ids.width);
            (cx.mat(self.logits), ids, cx.mat_mut(self.gates, rows.clone(), 0..self.gates.width))
        };
        let scratch = cx.scratch(w, moe::route_scratch_len(&self.routing));
        moe::route(cx.isa, &self.routing, logits.rows_range(rows), &self.bias, ids, gates, scratch);
    }
}

/// The tuning problems of the experts in runs of `tokens` tokens. An expert may get any number of them.
pub(super) fn problems(
    e: &op::Experts,
    dtype: &dyn Fn(WeightRef) -> Option<DType>,
    precision: Precision,
    tokens: usize,
) -> Vec<Problem> {
    let of = |(n, k): (usize, usize), ids: &[WeightRef]| {
        let d = ids.first().and_then(|id| dtype(*id)).unwrap_or(DType::F32);
        matmul::problem(n, k, tokens, d, number_path(d, precision, false))
    };
    let inner = if e.gate.is_empty() { e.hidden } else { 2 * e.hidden };
    vec![of((inner, e.x.width), &e.up), of((e.x.width, e.hidden), &e.down)]
}

/// The matrices of one kind of all experts. They have one shape, and as a rule one format.
struct Bank {
    packed: Vec<Arc<PackedMatrix>>,
    schedules: Schedules,
    path: NumberPath,
    k: usize,
}

impl Bank {
    /// `ids[e]` are stacked to expert `e`'s matrix of `rows` rows each and `k` columns.
    fn build(l: &mut Loader<'_>, ids: &[Vec<WeightRef>], rows: usize, k: usize) -> Result<Self, Error> {
        let tokens = l.max_tokens();
        let mut packed = Vec::with_capacity(ids.len());
        for stack in ids {
            let parts: Vec<_> = stack.iter().map(|id| (*id, rows)).collect();
            packed.push(pack(l, &parts, k)?);
        }
        let dtype = packed.first().map_or(DType::F32, |p| p.format());
        let path = number_path(dtype, l.precision(), false);
        let n = rows * ids.first().map_or(1, Vec::len);
        let schedules = Schedules::choose(l, (n, k), tokens, dtype, path)?;
        schedules.reserve(l, tokens, k, path);
        Ok(Self { packed, schedules, path, k })
    }

    fn width(&self) -> usize {
        self.packed.first().map_or(0, |p| p.rows())
    }
}

/// The pairs of one run, sorted by expert.
struct Sorted {
    starts: Vec<u32>,
    sources: Vec<u32>,
    places: Vec<u32>,
}

/// The routed experts.
pub(super) struct Experts {
    x: Operand,
    ids: Operand,
    gates: Operand,
    out: Operand,
    accumulate: bool,
    up: Bank,
    down: Bank,
    act: Act,
    hidden: usize,
    top_k: usize,
    sorted: SharedCell<Sorted>,
    /// Prepared inputs of all experts, each expert's at its own place.
    words: Shared,
    /// Float32 words of one prepared row at most.
    row_words: usize,
    /// `[pairs, up width]`.
    inner: Shared,
    /// `[pairs, width]`.
    answers: Shared,
}

impl Experts {
    pub(super) fn build(l: &mut Loader<'_>, e: &op::Experts) -> Result<Self, Error> {
        let pairs = l.max_tokens() * e.top_k;
        let ups: Vec<Vec<WeightRef>> = (0..e.up.len())
            .map(|i| e.gate.get(i).into_iter().chain(e.up.get(i)).copied().collect())
            .collect();
        let downs: Vec<Vec<WeightRef>> = e.down.iter().map(|d| vec![*d]).collect();
        let up = Bank::build(l, &ups, e.hidden, e.x.width)?;
        let down = Bank::build(l, &downs, e.x.width, e.hidden)?;
        let row_words =
            [&up, &down].iter().map(|b| Layout::new(1, b.k, b.path, 1, l.features).len()).max().unwrap_or(0);
        let sorted =
            Sorted { starts: vec![0; e.up.len() + 1], sources: vec![0; pairs], places: vec![0; pairs] };
        Ok(Self {
            x: l.operand(e.x),
            ids: l.operand(e.ids),
            gates: l.operand(e.gates),
            out: l.operand(e.out),
            accumulate: e.accumulate,
            words: Shared::new(pairs * row_words),
            row_words,
            inner: Shared::new(pairs * up.width()),
            answers: Shared::new(pairs * e.x.width),
            up,
            down,
            act: e.act,
            hidden: e.hidden,
            top_k: e.top_k,
            sorted: SharedCell::new(sorted),
        })
    }

    /// The experts that have tokens, with their rows among the sorted pairs.
    fn active<'a>(&self, sorted: &'a Sorted) -> impl Iterator<Item = (usize, Range<usize>)> + use<'a> {
        let rows = sorted.starts.windows(2).map(|s| s[0] as usize..s[1] as usize);
        rows.enumerate().filter(|(_, r)| !r.is_empty())
    }

    fn layout(&self, cx: &Cx<'_>, bank: &Bank, tokens: usize) -> Layout {
        Layout::new(tokens, bank.k, bank.path, bank.schedules.tuning(tokens).mt, cx.features)
    }

    /// Prepares each active expert's rows: `fill` is given the layout, the expert's rows and where the words go.
    fn prepare(
        &self,
        cx: &Cx<'_>,
        w: &Worker<'_>,
        bank: &Bank,
        sorted: &Sorted,
        fill: impl Fn(&Layout, Range<usize>, Range<usize>, &mut [f32]),
    ) {
        for (_, rows) in self.active(sorted) {
            let layout = self.layout(cx, bank, rows.len());
            let groups = w.share(layout.groups(), 1);
            let words = layout.words_of(groups.clone());
            let base = rows.start * self.row_words;
            // SAFETY: each worker prepares groups of its own, each expert at its own place.
            let to = unsafe { self.words.write(base + words.start..base + words.end) };
            fill(&layout, rows, groups, to);
        }
        w.barrier();
    }

    /// Multiplies each active expert's prepared rows with its matrix of `bank`, into `out` `[pairs, bank width]`.
    fn multiply(&self, cx: &Cx<'_>, w: &Worker<'_>, bank: &Bank, sorted: &Sorted, out: &Shared) {
        let width = bank.width();
        for (e, rows) in self.active(sorted) {
            let layout = self.layout(cx, bank, rows.len());
            let tuning = bank.schedules.tuning(rows.len());
            let base = rows.start * self.row_words;
            let matrix = &bank.packed[e];
            let part = matmul::share(w, matrix, &layout);
            let (part_rows, cols) = (part.rows(&layout), part.cols(matrix));
            if part_rows.is_empty() || cols.is_empty() {
                continue;
            }
            // SAFETY: the words were prepared before the barrier; the parts of the workers are disjoint.
            let (x, to) = unsafe {
                let at = (rows.start + part_rows.start) * width + cols.start;
                let to = MatMut::from_raw(out.ptr(at), part_rows.len(), cols.len(), width);
                (Prepared::new(layout, self.words.read(base..base + layout.len())), to)
            };
            let scratch = cx.scratch(w, matmul::scratch_len(&layout, &tuning));
            matmul::matmul(matrix, x, part, to, Epilogue::default(), &tuning, scratch);
        }
        w.barrier();
    }

    /// The activation of this worker's rows of the inner layer, in place: its first `hidden` columns.
    fn activate(&self, cx: &Cx<'_>, w: &Worker<'_>, pairs: usize) {
        let width = self.up.width();
        let rows = w.share(pairs, 1);
        // SAFETY: each worker has rows of its own; gate and up are different columns.
        let (inner, up) = unsafe {
            let at = self.inner.ptr(rows.start * width);
            let up = if self.act.gated() { self.inner.ptr(rows.start * width + self.hidden) } else { at };
            let gated = usize::from(self.act.gated());
            (
                MatMut::from_raw(at, rows.len(), self.hidden, width),
                Mat::from_raw(up, rows.len() * gated, self.hidden, width),
            )
        };
        if self.act.gated() {
            act::glu_in_place(cx.isa, self.act, inner, up);
        } else {
            act::unary_in_place(cx.isa, op::Unary::Relu2, inner);
        }
        w.barrier();
    }
}

impl Exec for Experts {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let pairs = cx.rows(self.x) * self.top_k;
        if w.id() == 0 {
            // SAFETY: only this worker touches the sorted pairs before the barrier, and nobody writes the ids.
            let (sorted, ids) = unsafe { (self.sorted.write(), cx.mat(self.ids)) };
            let (sources, places) = (&mut sorted.sources[..pairs], &mut sorted.places[..pairs]);
            moe::sort_by_expert(ids, &mut sorted.starts, sources, places);
        }
        w.barrier();
        // SAFETY: the sorted pairs are only read from here on; so is the input.
        let (sorted, x) = unsafe { (self.sorted.read(), cx.mat(self.x)) };
        self.prepare(cx, w, &self.up, sorted, |layout, rows, groups, to| {
            layout.prepare_rows(x, &sorted.sources[rows], groups, to);
        });
        self.multiply(cx, w, &self.up, sorted, &self.inner);
        self.activate(cx, w, pairs);
        let width = self.up.width();
        self.prepare(cx, w, &self.down, sorted, |layout, rows, groups, to| {
            // SAFETY: the inner layer is only read in this phase.
            let inner =
                unsafe { Mat::from_raw(self.inner.ptr(rows.start * width), rows.len(), self.hidden, width) };
            layout.prepare(inner, groups, to);
        });
        self.multiply(cx, w, &self.down, sorted, &self.answers);
        let rows = rows_of(cx, w, self.out);
        let places = &sorted.places[rows.start * self.top_k..rows.end * self.top_k];
        // SAFETY: answers and gates are only read; each worker has rows of its own of the output.
        let (answers, gates, out) = unsafe {
            let answers = Mat::from_raw(self.answers.ptr(0), pairs, self.down.width(), self.down.width());
            let gates = cx.mat(self.gates).rows_range(rows.clone());
            (answers, gates, cx.mat_mut(self.out, rows, 0..self.out.width))
        };
        moe::combine(cx.isa, answers, gates, places, self.accumulate, out);
    }
}

//! Ops whose rows (or elements) are independent: norms, activations, sums, copies.

use super::rows_of;
use crate::Error;
use crate::cpu::exec::{Cx, Exec, Loader, Operand};
use crate::cpu::norm;
use crate::cpu::pool::Worker;
use crate::cpu::{act, mat::MatMut};
use jet_codegen::op::{self, Activation, GateOrder, View};
use jet_dsl::block::Act;
use jet_dsl::weight::WeightRef;
use std::ops::Range;

/// Elements below which sharing one row costs more than it saves.
const GRAIN: usize = 256;

/// This worker's part of `[rows, width]` for an elementwise op: whole rows, or columns where there is one row only.
fn part(w: &Worker<'_>, rows: usize, width: usize) -> (Range<usize>, Range<usize>) {
    if rows == 1 { (0..1, w.share(width, GRAIN)) } else { (w.share(rows, 1), 0..width) }
}

pub(super) struct RmsNorm {
    x: Operand,
    out: Operand,
    weight: Vec<f32>,
    eps: f32,
}

impl RmsNorm {
    pub(super) fn build(
        l: &mut Loader<'_>,
        x: View,
        weight: WeightRef,
        eps: f64,
        out: View,
    ) -> Result<Self, Error> {
        let weight = l.vector(weight, x.width)?;
        Ok(Self { x: l.operand(x), out: l.operand(out), weight, eps: eps as f32 })
    }
}

impl Exec for RmsNorm {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let rows = rows_of(cx, w, self.x);
        // SAFETY: nobody writes the input in this phase; each worker writes rows of its own.
        let (x, out) = unsafe { (cx.mat(self.x), cx.mat_mut(self.out, rows.clone(), 0..self.out.width)) };
        norm::rms_norm(cx.isa, x.rows_range(rows), &self.weight, self.eps, out);
    }
}

pub(super) struct HeadNorm {
    x: Operand,
    weight: Vec<f32>,
    eps: f32,
}

impl HeadNorm {
    pub(super) fn build(
        l: &mut Loader<'_>,
        x: View,
        heads: usize,
        weight: WeightRef,
        eps: f64,
    ) -> Result<Self, Error> {
        let weight = l.vector(weight, x.width / heads.max(1))?;
        Ok(Self { x: l.operand(x), weight, eps: eps as f32 })
    }
}

impl Exec for HeadNorm {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let rows = rows_of(cx, w, self.x);
        // SAFETY: each worker has rows of its own.
        let x = unsafe { cx.mat_mut(self.x, rows, 0..self.x.width) };
        norm::rms_norm_in_place(cx.isa, x, &self.weight, self.eps);
    }
}

pub(super) struct GatedNorm {
    x: Operand,
    z: Operand,
    out: Operand,
    weight: Vec<f32>,
    group: usize,
    eps: f32,
    order: GateOrder,
}

impl GatedNorm {
    pub(super) fn build(
        l: &mut Loader<'_>,
        (x, z, out): (View, View, View),
        weight: WeightRef,
        groups: usize,
        eps: f64,
        order: GateOrder,
    ) -> Result<Self, Error> {
        let group = x.width / groups.max(1);
        let len = match order {
            GateOrder::GateFirst => x.width,
            GateOrder::NormFirst => group,
        };
        let weight = l.vector(weight, len)?;
        let (x, z, out) = (l.operand(x), l.operand(z), l.operand(out));
        Ok(Self { x, z, out, weight, group, eps: eps as f32, order })
    }
}

impl Exec for GatedNorm {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let rows = rows_of(cx, w, self.x);
        // SAFETY: nobody writes the gate in this phase; each worker has rows of its own of the others.
        let (z, mut out) = unsafe { (cx.mat(self.z), cx.mat_mut(self.out, rows.clone(), 0..self.out.width)) };
        copy_in(cx, self.x, self.out, &rows, &mut out);
        norm::gated_rms_norm(cx.isa, self.order, out, z.rows_range(rows), self.group, &self.weight, self.eps);
    }
}

/// For kernels that work in place: brings `x` into `out` where the two are not one already.
fn copy_in(cx: &Cx<'_>, x: Operand, out: Operand, rows: &Range<usize>, to: &mut MatMut<'_>) {
    if !x.same_place(out) {
        // SAFETY: nobody writes `x` in this phase, since the verifier allows overlap only where the two are one.
        act::copy(unsafe { cx.mat(x) }.rows_range(rows.clone()), to.reborrow());
    }
}

pub(super) struct Unary {
    f: op::Unary,
    x: Operand,
    out: Operand,
}

impl Unary {
    pub(super) fn build(l: &mut Loader<'_>, f: op::Unary, x: View, out: View) -> Self {
        Self { f, x: l.operand(x), out: l.operand(out) }
    }
}

impl Exec for Unary {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let (rows, cols) = part(w, cx.rows(self.x), self.x.width);
        // SAFETY: each worker has a part of its own.
        let mut out = unsafe { cx.mat_mut(self.out, rows.clone(), cols.clone()) };
        if !self.x.same_place(self.out) {
            // SAFETY: nobody writes `x` in this phase.
            let x = unsafe { cx.mat(self.x) };
            act::copy(x.rows_range(rows).cols_range(cols), out.reborrow());
        }
        act::unary_in_place(cx.isa, self.f, out);
    }
}

pub(super) struct Glu {
    gate: Operand,
    up: Operand,
    out: Operand,
    act: Act,
}

impl Glu {
    pub(super) fn build(l: &mut Loader<'_>, gate: View, up: View, act: Act, out: View) -> Self {
        Self { gate: l.operand(gate), up: l.operand(up), out: l.operand(out), act }
    }
}

impl Exec for Glu {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let (rows, cols) = part(w, cx.rows(self.gate), self.gate.width);
        // SAFETY: nobody writes the up projection in this phase; each worker has a part of its own of the output.
        let (up, mut out) = unsafe { (cx.mat(self.up), cx.mat_mut(self.out, rows.clone(), cols.clone())) };
        if !self.gate.same_place(self.out) {
            // SAFETY: nobody writes the gate in this phase.
            let gate = unsafe { cx.mat(self.gate) };
            act::copy(gate.rows_range(rows.clone()).cols_range(cols.clone()), out.reborrow());
        }
        act::glu_in_place(cx.isa, self.act, out, up.rows_range(rows).cols_range(cols));
    }
}

/// What a projection's results pass last, in place of them.
pub(super) fn activation(l: &mut Loader<'_>, act: Activation, out: View) -> Box<dyn Exec> {
    match act {
        Activation::Unary(f) => Box::new(Unary::build(l, f, out, out)),
        Activation::Glu(act) => {
            let width = out.width / 2;
            let (gate, up) = (out.slice(0, width), out.slice(width, width));
            Box::new(Glu::build(l, gate, up, act, gate))
        }
    }
}

pub(super) struct Add {
    x: Operand,
    out: Operand,
}

impl Add {
    pub(super) fn build(l: &mut Loader<'_>, x: View, out: View) -> Self {
        Self { x: l.operand(x), out: l.operand(out) }
    }
}

impl Exec for Add {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let (rows, cols) = part(w, cx.rows(self.x), self.x.width);
        // SAFETY: nobody writes `x` in this phase; each worker has a part of its own of the sum.
        let (x, out) = unsafe { (cx.mat(self.x), cx.mat_mut(self.out, rows.clone(), cols.clone())) };
        act::add(cx.isa, x.rows_range(rows).cols_range(cols), out);
    }
}

pub(super) struct Copy {
    x: Operand,
    out: Operand,
}

impl Copy {
    pub(super) fn build(l: &mut Loader<'_>, x: View, out: View) -> Self {
        Self { x: l.operand(x), out: l.operand(out) }
    }
}

impl Exec for Copy {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let rows = rows_of(cx, w, self.x);
        // SAFETY: nobody writes `x` in this phase; each worker has rows of its own of the copy.
        let (x, out) = unsafe { (cx.mat(self.x), cx.mat_mut(self.out, rows.clone(), 0..self.out.width)) };
        act::copy(x.rows_range(rows), out);
    }
}

pub(super) struct Gather {
    x: Operand,
    out: Operand,
}

impl Gather {
    pub(super) fn build(l: &mut Loader<'_>, x: View, out: View) -> Self {
        Self { x: l.operand(x), out: l.operand(out) }
    }
}

impl Exec for Gather {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let rows = rows_of(cx, w, self.out);
        // SAFETY: nobody writes `x` in this phase; each worker has rows of its own of the copy.
        let (x, mut out) = unsafe { (cx.mat(self.x), cx.mat_mut(self.out, rows.clone(), 0..self.out.width)) };
        for (i, r) in rows.enumerate() {
            out.row_mut(i).copy_from_slice(x.row(cx.layout.out_rows[r]));
        }
    }
}

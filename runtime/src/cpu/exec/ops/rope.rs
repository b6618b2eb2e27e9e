//! Rotary embedding, and the angles that a run computes once.

use super::rows_of;
use crate::cpu::exec::build::Angles;
use crate::cpu::exec::{Cx, Exec, Loader, Operand};
use crate::cpu::pool::Worker;
use crate::cpu::rope::{self, RopeTable};
use jet_codegen::op::{RopeSpec, View};
use std::sync::Arc;

pub(super) struct Rope {
    x: Operand,
    angles: Arc<Angles>,
}

impl Rope {
    pub(super) fn build(l: &mut Loader<'_>, x: View, heads: usize, spec: &RopeSpec) -> Self {
        let table = RopeTable::new(spec.theta, x.width / heads.max(1), &spec.scaling);
        Self { x: l.operand(x), angles: l.angles(table) }
    }
}

impl Exec for Rope {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let rows = rows_of(cx, w, self.x);
        let d = self.angles.table.d_head();
        // SAFETY: the angles were written before the first step; each worker turns rows of its own.
        let (angles, x) = unsafe {
            (self.angles.values.read(rows.start * d..rows.end * d), cx.mat_mut(self.x, rows, 0..self.x.width))
        };
        rope::rotate(cx.isa, x, d, angles);
    }
}

/// The prologue of a run: all tables' angles at the positions of the batch.
pub(super) struct FillAngles(pub(super) Vec<Arc<Angles>>);

impl Exec for FillAngles {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let rows = w.share(cx.layout.tokens(), 1);
        for a in &self.0 {
            let d = a.table.d_head();
            for r in rows.clone() {
                // SAFETY: each worker fills rows of its own.
                let row = unsafe { a.values.write(r * d..(r + 1) * d) };
                a.table.angles(cx.layout.positions[r], row);
            }
        }
    }
}

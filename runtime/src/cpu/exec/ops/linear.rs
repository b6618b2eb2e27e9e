//! stand-in
use super::rows_of;
use crate::Error;
use crate::cpu::exec::{Cx, Exec, Loader, Operand};
use crate::cpu::matmul::{self, NumberPath, PackedMatrix, WeightRows};
use crate::cpu::pool::Worker;
use crate::device::Precision;
use jet_codegen::op::{self, View};
use jet_codegen::schedule::Problem;
use jet_dsl::weight::WeightRef;
use jet_numerics::DType;
use std::sync::Arc;
pub(super) fn problems(
    _: &op::Linear,
    _: &dyn Fn(WeightRef) -> Option<DType>,
    _: Precision,
    _: usize,
) -> Vec<Problem> {
    vec![]
}
pub(super) fn pack(
    l: &mut Loader<'_>,
    ids: &[(WeightRef, usize)],
    k: usize,
) -> Result<Arc<PackedMatrix>, Error> {
    let keys: Vec<_> = ids.iter().map(|(w, _)| *w).collect();
    l.matrix(&keys, |l| {
        let ws = ids.iter().map(|(w, _)| l.weight(*w)).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<_> = ws
            .iter()
            .zip(ids)
            .map(|(w, (_, rows))| WeightRows {
                dtype: w.dtype,
                bytes: &w.bytes,
                rows: *rows,
                row_map: w.row_map.as_deref(),
            })
            .collect();
        PackedMatrix::pack(&parts, k).map_err(|reason| Error::Weight { id: keys[0], reason })
    })
}
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
        let mut out = unsafe { cx.mat_mut(self.out, rows.clone(), 0..self.out.width) };
        for (i, r) in rows.enumerate() {
            self.table.row_f32(cx.layout.ids[r] as usize, out.row_mut(i));
        }
    }
}
pub(super) struct Linear {
    x: Operand,
    out: Operand,
    m: Arc<PackedMatrix>,
    bias: Option<Vec<f32>>,
    accumulate: bool,
}
impl Linear {
    pub(super) fn build(l: &mut Loader<'_>, o: &op::Linear) -> Result<Self, Error> {
        let ids: Vec<_> = o.parts.iter().map(|p| (p.weight, p.rows)).collect();
        let m = pack(l, &ids, o.x.width)?;
        let mut bias = vec![];
        let any = o.parts.iter().any(|p| p.bias.is_some());
        for p in &o.parts {
            bias.extend(match p.bias {
                Some(b) => l.vector(b, p.rows)?,
                None => vec![0.0; p.rows],
            });
        }
        Ok(Self {
            x: l.operand(o.x),
            out: l.operand(o.out),
            m,
            bias: any.then_some(bias),
            accumulate: o.accumulate,
        })
    }
}
impl Exec for Linear {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let cols = w.share(self.m.rows(), 16);
        let (x, out) = unsafe { (cx.mat(self.x), cx.mat_mut(self.out, 0..cx.rows(self.out), cols.clone())) };
        matmul::matmul(&self.m, x, cols, out, self.bias.as_deref(), self.accumulate);
    }
}

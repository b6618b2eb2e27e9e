//! stand-in
use super::mat::{Mat, MatMut};
use jet_codegen::schedule::{Family, Illegal, Param, Problem, Schedule, Values};
use jet_numerics::DType;
use std::ops::Range;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberPath {
    F32,
    Bf16,
    Int8,
}
pub struct WeightRows<'a> {
    pub dtype: DType,
    pub bytes: &'a [u8],
    pub rows: usize,
    pub row_map: Option<&'a [u32]>,
}
pub struct PackedMatrix {
    n: usize,
    k: usize,
    data: Vec<f32>,
}
impl PackedMatrix {
    pub fn pack(parts: &[WeightRows<'_>], k: usize) -> Result<Self, String> {
        let mut data = Vec::new();
        for p in parts {
            let rb = p.dtype.row_bytes(k).ok_or("bad row")?;
            for r in 0..p.rows {
                let s = p.row_map.map_or(r, |m| m[r] as usize);
                let mut row = vec![0.0; k];
                jet_numerics::dequantize_row(p.dtype, &p.bytes[s * rb..(s + 1) * rb], &mut row)
                    .map_err(|e| e.to_string())?;
                data.extend(row);
            }
        }
        Ok(Self { n: data.len() / k, k, data })
    }
    pub fn rows(&self) -> usize {
        self.n
    }
    pub fn row_f32(&self, r: usize, out: &mut [f32]) {
        out.copy_from_slice(&self.data[r * self.k..(r + 1) * self.k]);
    }
}
jet_codegen::schedule! {
    /// x
    pub struct Gemm = "gemm" v1 {
        /// x
        mt: [4, 8] = 4,
    }
}
jet_codegen::schedule! {
    /// x
    pub struct Gemv = "gemv" v1 {
        /// x
        rows: [1, 2] = 1,
    }
}
struct F<S>(std::marker::PhantomData<fn() -> S>);
impl<S: Schedule> Family for F<S> {
    fn name(&self) -> &'static str {
        S::FAMILY
    }
    fn version(&self) -> u32 {
        S::VERSION
    }
    fn params(&self) -> &'static [Param] {
        S::PARAMS
    }
    fn legal(&self, _: &Problem, v: &Values) -> Result<(), Illegal> {
        S::from_values(v).map(|_| ())
    }
}
pub static GEMM: &dyn Family = &F::<Gemm>(std::marker::PhantomData);
pub static GEMV: &dyn Family = &F::<Gemv>(std::marker::PhantomData);
pub fn problem(n: usize, k: usize, tokens: usize, dtype: DType, path: NumberPath) -> Problem {
    Problem::new(
        if tokens == 1 { "gemv" } else { "gemm" },
        &format!("{}/{path:?}", dtype.name()),
        &[("n", n), ("k", k), ("tokens", tokens)],
    )
}
pub fn matmul(
    w: &PackedMatrix,
    x: Mat<'_>,
    rows: Range<usize>,
    mut out: MatMut<'_>,
    bias: Option<&[f32]>,
    accumulate: bool,
) {
    for t in 0..x.rows() {
        for (i, r) in rows.clone().enumerate() {
            let mut acc = [0.0f32; 16];
            let (a, b) = (&w.data[r * w.k..(r + 1) * w.k], x.row(t));
            let mut tail = 0.0;
            for (a, b) in a.chunks_exact(16).zip(b.chunks_exact(16)) {
                for j in 0..16 {
                    acc[j] += a[j] * b[j];
                }
            }
            for j in w.k / 16 * 16..w.k {
                tail += a[j] * b[j];
            }
            let v = acc.iter().sum::<f32>() + tail + bias.map_or(0.0, |b| b[r]);
            let o = &mut out.row_mut(t)[i];
            *o = if accumulate { *o + v } else { v };
        }
    }
}

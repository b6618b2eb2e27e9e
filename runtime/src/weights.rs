//! Where a device gets weights from: a trait, so that checkpoints, seeded random weights and test cases are one.

use crate::Error;
use jet_dsl::weight::WeightRef;
use jet_numerics::DType;
use std::borrow::Cow;
use std::collections::HashMap;

/// One weight as it is stored.
#[derive(Clone, Debug)]
pub struct Weight<'a> {
    /// Format of the values.
    pub dtype: DType,
    /// Shape, slowest dimension first.
    pub shape: Vec<usize>,
    /// The values, row-major.
    pub bytes: Cow<'a, [u8]>,
    /// Where the rows are stored in another order: row `r` is at stored row `row_map[r]`.
    pub row_map: Option<Cow<'a, [u32]>>,
}

impl Weight<'_> {
    /// Rows of the matrix; a vector is one row.
    pub fn rows(&self) -> usize {
        if self.shape.len() < 2 { 1 } else { self.shape[0] }
    }

    /// Values in a row.
    pub fn cols(&self) -> usize {
        if self.shape.len() < 2 { self.shape.iter().product() } else { self.shape[1..].iter().product() }
    }

    /// All values as float32, rows in logical order.
    pub fn to_f32(&self) -> Result<Vec<f32>, String> {
        let (rows, cols) = (self.rows(), self.cols());
        let stride = self
            .dtype
            .row_bytes(cols)
            .ok_or_else(|| format!("rows of {cols} values are no whole blocks of {}", self.dtype))?;
        let mut out = vec![0.0; rows * cols];
        for (r, row) in out.chunks_mut(cols.max(1)).enumerate() {
            let stored = self.row_map.as_ref().map_or(r, |m| m[r] as usize);
            let bytes = self.bytes.get(stored * stride..(stored + 1) * stride).ok_or_else(|| {
                format!("row {stored} lies beyond the {} bytes of the tensor", self.bytes.len())
            })?;
            jet_numerics::dequantize_row(self.dtype, bytes, row).map_err(|e| e.to_string())?;
        }
        Ok(out)
    }
}

/// Gives weights by reference. Asked once per weight, at load; it may read or make them then.
pub trait WeightSource {
    /// The weight `id`.
    fn weight(&self, id: WeightRef) -> Result<Weight<'_>, Error>;
    /// The format of `id` without reading it, for plans and tasks.
    fn dtype(&self, id: WeightRef) -> Option<DType>;
}

/// Weights held in memory, for single ops and tests.
#[derive(Clone, Debug, Default)]
pub struct MemoryWeights {
    tensors: HashMap<WeightRef, Stored>,
}

#[derive(Clone, Debug)]
struct Stored {
    dtype: DType,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl MemoryWeights {
    /// Adds a float32 weight.
    pub fn insert(&mut self, id: WeightRef, shape: &[usize], values: Vec<f32>) {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        let bytes = bytemuck::cast_slice(&values).to_vec();
        self.tensors.insert(id, Stored { dtype: DType::F32, shape: shape.to_vec(), bytes });
    }

    /// Adds a weight stored as `dtype`, `shape` `[rows, cols]`; fails where a row is no whole number of blocks.
    pub fn insert_as(
        &mut self,
        id: WeightRef,
        dtype: DType,
        shape: &[usize; 2],
        values: &[f32],
    ) -> Result<(), String> {
        let [rows, cols] = *shape;
        let row =
            dtype.row_bytes(cols).ok_or_else(|| format!("rows of {cols} are no whole blocks of {dtype}"))?;
        let mut bytes = vec![0; rows * row];
        for (values, out) in values.chunks(cols.max(1)).zip(bytes.chunks_mut(row.max(1))) {
            jet_numerics::quantize_row(dtype, values, out).map_err(|e| e.to_string())?;
        }
        self.tensors.insert(id, Stored { dtype, shape: shape.to_vec(), bytes });
        Ok(())
    }

    /// Makes `to` a copy of `from`, if there is one.
    pub fn copy(&mut self, from: WeightRef, to: WeightRef) {
        if let Some(t) = self.tensors.get(&from).cloned() {
            self.tensors.insert(to, t);
        }
    }

    /// The values of a weight as they are stored.
    pub fn values(&self, id: WeightRef) -> Result<Vec<f32>, String> {
        self.weight(id).map_err(|e| e.to_string())?.to_f32()
    }
}

impl WeightSource for MemoryWeights {
    fn weight(&self, id: WeightRef) -> Result<Weight<'_>, Error> {
        let t = self.tensors.get(&id).ok_or_else(|| Error::Weight { id, reason: "was not given".into() })?;
        Ok(Weight { dtype: t.dtype, shape: t.shape.clone(), bytes: Cow::Borrowed(&t.bytes), row_map: None })
    }

    fn dtype(&self, id: WeightRef) -> Option<DType> {
        self.tensors.get(&id).map(|t| t.dtype)
    }
}

//! [`Tensor`]: a weight's values as they are stored, and the order of its rows.

use super::{Error, TensorEntry};
use jet_numerics::{DType, dequantize_row};
use std::borrow::Cow;

/// Type and shape of a weight, without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// How it is stored.
    pub dtype: DType,
    /// Row-major shape, slowest dimension first.
    pub shape: Vec<u64>,
}

impl TensorInfo {
    /// Bytes as stored.
    pub fn bytes(&self) -> u64 {
        super::table::tensor_bytes(self.dtype, &self.shape).map_or(u64::MAX, |b| b as u64)
    }
}

/// Which stored row holds which row of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// The same.
    AsStored,
    /// llama-architecture GGUF files keep the two elements of a rotation pair in adjacent rows: row
    /// `i + j·d_head/2` of a head (`i < d_head/2`, `j` 0 or 1) is stored as row `2i + j`.
    AdjacentPairs {
        /// Rows of a head.
        d_head: u32,
    },
}

impl RowOrder {
    /// The stored row that holds row `row` of the model.
    pub fn stored_row(self, row: usize) -> usize {
        match self {
            RowOrder::AsStored => row,
            RowOrder::AdjacentPairs { d_head } => {
                let d = (d_head as usize).max(2);
                let (head, r) = (row / d, row % d);
                head * d + 2 * (r % (d / 2)) + r / (d / 2)
            }
        }
    }
}

/// A weight: type, shape and bytes. The bytes borrow the mapped file, or are drawn on demand; multi-byte values
/// are little-endian and need not be aligned.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    /// The name in its file, or the usual one.
    pub name: &'a str,
    /// How the values are stored.
    pub dtype: DType,
    /// Row-major shape, slowest dimension first; a matrix is `[out, in]`.
    pub shape: Cow<'a, [u64]>,
    /// The stored rows, one after the other.
    pub bytes: Cow<'a, [u8]>,
    /// In which order they are.
    pub rows: RowOrder,
}

impl<'a> Tensor<'a> {
    pub(super) fn of_file(entry: &'a TensorEntry, file: &'a [u8]) -> Self {
        Self {
            name: &entry.name,
            dtype: entry.dtype,
            shape: Cow::Borrowed(&entry.shape),
            bytes: Cow::Borrowed(&file[entry.range.clone()]),
            rows: RowOrder::AsStored,
        }
    }

    /// Number of values.
    pub fn elements(&self) -> usize {
        self.shape.iter().product::<u64>() as usize
    }

    /// Values of a row: the last dimension.
    pub fn cols(&self) -> usize {
        self.shape.last().map_or(1, |&c| c as usize)
    }

    /// Number of rows: the product of all dimensions but the last.
    pub fn row_count(&self) -> usize {
        self.shape.split_last().map_or(1, |(_, r)| r.iter().product::<u64>() as usize)
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.dtype.row_bytes(self.cols()).expect("the reader checked that rows are whole blocks")
    }

    /// The bytes of row `row` of the model, wherever it is stored. Panics where there is no such row.
    pub fn row(&self, row: usize) -> &[u8] {
        let n = self.row_bytes();
        &self.bytes[self.rows.stored_row(row) * n..][..n]
    }

    /// The values of row `row` of the model. Panics where there is no such row or `out` is not `cols` long.
    pub fn row_to_f32(&self, row: usize, out: &mut [f32]) {
        dequantize_row(self.dtype, self.row(row), out).expect("a row of the tensor's own width");
    }

    /// All values in the model's order of rows, as float32.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.elements()];
        let cols = self.cols().max(1);
        for (row, out) in out.chunks_exact_mut(cols).enumerate() {
            self.row_to_f32(row, out);
        }
        out
    }

    /// All values of an integer tensor, in the stored order. Fails for any other type, and for u64 values that
    /// i64 cannot hold.
    pub fn to_i64(&self) -> Result<Vec<i64>, Error> {
        fn all<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> i64) -> Vec<i64> {
            bytes.as_chunks::<N>().0.iter().map(|&b| value(b)).collect()
        }
        let b = &self.bytes[..];
        Ok(match self.dtype {
            DType::I64 => all(b, i64::from_le_bytes),
            DType::I32 => all(b, |b| i32::from_le_bytes(b).into()),
            DType::I16 => all(b, |b| i16::from_le_bytes(b).into()),
            DType::I8 => all(b, |b| i8::from_le_bytes(b).into()),
            DType::U32 => all(b, |b| u32::from_le_bytes(b).into()),
            DType::U16 => all(b, |b| u16::from_le_bytes(b).into()),
            DType::U8 => all(b, |[b]| b.into()),
            DType::Bool => all(b, |[b]| i64::from(b != 0)),
            _ => return Err(self.unexpected("expected integers")),
        })
    }

    /// All values of a floating-point tensor as f64, in the stored order; exact for f64.
    pub fn to_f64(&self) -> Result<Vec<f64>, Error> {
        match self.dtype {
            DType::F64 => Ok(self.bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect()),
            d if d.is_weight() => Ok(self.to_f32().into_iter().map(f64::from).collect()),
            _ => Err(self.unexpected("expected floating-point values")),
        }
    }

    fn unexpected(&self, expected: &'static str) -> Error {
        Error::Type { name: self.name.to_owned(), dtype: self.dtype, shape: self.shape.to_vec(), expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_pairs_are_a_permutation_within_each_head() {
        for d_head in [2u32, 8, 64, 80] {
            let order = RowOrder::AdjacentPairs { d_head };
            let n = 3 * d_head as usize;
            let mut seen: Vec<usize> = (0..n).map(|r| order.stored_row(r)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..n).collect::<Vec<_>>());
        }
        let order = RowOrder::AdjacentPairs { d_head: 8 };
        assert_eq!((0..8).map(|r| order.stored_row(r)).collect::<Vec<_>>(), [0, 2, 4, 6, 1, 3, 5, 7]);
        assert_eq!(order.stored_row(8 + 5), 8 + 3);
    }

    #[test]
    fn rows_are_read_in_the_models_order() {
        let bytes: Vec<u8> =
            (0..4u8).flat_map(|r| [f32::from(r), 0.5].map(f32::to_le_bytes)).flatten().collect();
        let tensor = Tensor {
            name: "q",
            dtype: DType::F32,
            shape: Cow::Borrowed(&[4, 2]),
            bytes: Cow::Owned(bytes),
            rows: RowOrder::AdjacentPairs { d_head: 4 },
        };
        assert_eq!(tensor.to_f32(), [0.0, 0.5, 2.0, 0.5, 1.0, 0.5, 3.0, 0.5]);
        assert!(tensor.to_i64().unwrap_err().to_string().contains("f32[4, 2], expected integers"));
    }
}

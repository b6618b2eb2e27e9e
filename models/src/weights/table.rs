//! The list of tensors in a file, whatever its format.

use jet_numerics::DType;
use std::collections::HashMap;
use std::ops::Range;

/// A tensor in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name in the file.
    pub name: String,
    /// How it is stored.
    pub dtype: DType,
    /// Row-major shape, slowest dimension first; empty for a single value.
    pub shape: Vec<u64>,
    /// Where its bytes lie in the file.
    pub range: Range<usize>,
}

/// The tensors of a file, in the file's order, found by name.
#[derive(Clone, Debug, Default)]
pub struct TensorTable {
    entries: Vec<TensorEntry>,
    by_name: HashMap<String, usize>,
}

impl TensorTable {
    /// A table of `entries`; the first name that occurs twice is the error.
    pub(super) fn new(entries: Vec<TensorEntry>) -> Result<Self, String> {
        let mut by_name = HashMap::with_capacity(entries.len());
        for (i, entry) in entries.iter().enumerate() {
            if by_name.insert(entry.name.clone(), i).is_some() {
                return Err(entry.name.clone());
            }
        }
        Ok(Self { entries, by_name })
    }

    /// All tensors, in the file's order.
    pub fn entries(&self) -> &[TensorEntry] {
        &self.entries
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&TensorEntry> {
        self.by_name.get(name).map(|&i| &self.entries[i])
    }

    /// Two tensors that share bytes, if there are such.
    pub(super) fn overlap(&self) -> Option<(&TensorEntry, &TensorEntry)> {
        let mut order: Vec<&TensorEntry> = self.entries.iter().filter(|e| !e.range.is_empty()).collect();
        order.sort_by_key(|e| (e.range.start, e.range.end));
        order.windows(2).find(|w| w[1].range.start < w[0].range.end).map(|w| (w[0], w[1]))
    }
}

/// Bytes of a tensor; `None` where rows are no whole blocks or the size overflows.
pub(super) fn tensor_bytes(dtype: DType, shape: &[u64]) -> Option<usize> {
    let (cols, rows) = shape.split_last().map_or((1, &[][..]), |(c, r)| (*c, r));
    let rows = rows.iter().try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?))?;
    dtype.row_bytes(usize::try_from(cols).ok()?)?.checked_mul(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, range: Range<usize>) -> TensorEntry {
        TensorEntry { name: name.into(), dtype: DType::U8, shape: vec![range.len() as u64], range }
    }

    #[test]
    fn sizes_follow_the_rows() {
        assert_eq!(tensor_bytes(DType::F32, &[]), Some(4));
        assert_eq!(tensor_bytes(DType::F32, &[3, 5]), Some(60));
        assert_eq!(tensor_bytes(DType::Q4_1, &[3, 64]), Some(120));
        assert_eq!(tensor_bytes(DType::Q4_1, &[64, 3]), None);
        assert_eq!(tensor_bytes(DType::F32, &[u64::MAX, 2]), None);
        assert_eq!(tensor_bytes(DType::F32, &[0, 7]), Some(0));
    }

    #[test]
    fn finds_twins_and_overlaps() {
        assert_eq!(TensorTable::new(vec![entry("a", 0..1), entry("a", 1..2)]).unwrap_err(), "a");
        let apart = TensorTable::new(vec![entry("a", 4..8), entry("b", 0..4), entry("c", 4..4)]).unwrap();
        assert!(apart.overlap().is_none());
        let over = TensorTable::new(vec![entry("a", 3..8), entry("b", 0..4)]).unwrap();
        let (x, y) = over.overlap().unwrap();
        assert_eq!((x.name.as_str(), y.name.as_str()), ("b", "a"));
    }
}

//! What can be wrong with a row of numbers.

use crate::DType;

/// Errors of the row conversions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The number of values is no whole number of blocks.
    #[error(
        "a {dtype} row holds a multiple of {} values, not {values}; pad the row or store it in another format",
        dtype.block_len()
    )]
    RaggedRow {
        /// The format.
        dtype: DType,
        /// Values asked for.
        values: usize,
    },
    /// The byte slice does not hold exactly the row.
    #[error("a {dtype} row of {values} values is {expected} bytes, not {found}")]
    RowBytes {
        /// The format.
        dtype: DType,
        /// Values of the row.
        values: usize,
        /// Bytes such a row has.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A block format cannot hold infinities or NaN.
    #[error("value {index} of the row is {value}, which {dtype} cannot hold; quantise finite values only")]
    NotFinite {
        /// The format.
        dtype: DType,
        /// Index of the value in the row.
        index: usize,
        /// The value, as text.
        value: String,
    },
}

//! What can be wrong with a matrix that is to be packed.

use jet_numerics::DType;

/// Errors of packing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The matrix has no elements.
    #[error("a matrix of {rows} rows with {k} values has no elements; check the shape of the weight")]
    Empty {
        /// Rows of all parts.
        rows: usize,
        /// Values in a row.
        k: usize,
    },
    /// Rows are no whole number of blocks.
    #[error(
        "a {dtype} row holds a multiple of {} values, not {k}; store the weight in another format",
        dtype.block_len()
    )]
    RaggedRow {
        /// The format.
        dtype: DType,
        /// Values in a row.
        k: usize,
    },
    /// The bytes are not those of the rows.
    #[error("part {part}: {stored} {dtype} rows of {k} values are {expected} bytes, not {found}")]
    Bytes {
        /// Index of the part.
        part: usize,
        /// The format.
        dtype: DType,
        /// Rows that must be there.
        stored: usize,
        /// Values in a row.
        k: usize,
        /// Bytes they take.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A row map that does not fit the rows.
    #[error("part {part}: the row map has {found} entries for {rows} rows; give one stored row for each")]
    RowMap {
        /// Index of the part.
        part: usize,
        /// Rows of the part.
        rows: usize,
        /// Entries given.
        found: usize,
    },
    /// Stacked parts in different formats.
    #[error(
        "part {part} is {found} and the ones before it are {expected}; pack parts of different formats apart"
    )]
    MixedFormats {
        /// Index of the part.
        part: usize,
        /// Format of the parts before.
        expected: DType,
        /// Its format.
        found: DType,
    },
    /// A type that no matrix is stored in.
    #[error("a matrix of {dtype} values cannot be multiplied with; store it as a float or block format")]
    NotAWeight {
        /// The type.
        dtype: DType,
    },
    /// The system has no memory for it.
    #[error("no memory for a packed matrix of {bytes} bytes; use a smaller model or a smaller format")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
}

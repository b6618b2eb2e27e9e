//! What can be wrong with weights. Every message names the file and, where there is one, the tensor.

use super::gguf::GgufFault;
use super::safetensors::HeaderFault;
use jet_numerics::DType;
use std::path::PathBuf;

/// Errors of reading weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: cannot {doing}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, as in "open it".
        doing: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// A safetensors file is damaged.
    #[error("{}: {fault}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: HeaderFault,
    },
    /// A GGUF file is damaged, or of a kind jet does not read.
    #[error("{}: {fault}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: GgufFault,
    },
    /// The list of shards is damaged.
    #[error("{}: {what}", path.display())]
    Shards {
        /// The index file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// There are no weights where they were looked for.
    #[error("{}: {what}", path.display())]
    NoWeights {
        /// The folder or file.
        path: PathBuf,
        /// What was found and what was expected.
        what: String,
    },
    /// The weights are not those of the model: all faults together.
    #[error("{}", list(path, model, faults))]
    Mismatch {
        /// The folder or file.
        path: PathBuf,
        /// The model's name.
        model: String,
        /// All of them.
        faults: Vec<Fault>,
    },
    /// A tensor cannot be read in the type asked for.
    #[error("tensor `{name}` is {dtype}{shape:?}, {expected}")]
    Type {
        /// The tensor.
        name: String,
        /// How it is stored.
        dtype: DType,
        /// Its shape.
        shape: Vec<u64>,
        /// What was expected of it.
        expected: &'static str,
    },
    /// A weight was asked for that the model does not have.
    #[error("the model `{model}` has no weight {weight}")]
    Unknown {
        /// The model's name.
        model: String,
        /// What was asked for.
        weight: String,
    },
    /// A number format refused a row.
    #[error("tensor `{name}`: {source}")]
    Numbers {
        /// The tensor.
        name: String,
        /// Why.
        source: jet_numerics::Error,
    },
}

/// One way in which weights do not fit a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A weight the model needs is not there.
    #[error("`{name}` is missing; expected shape {shape:?}")]
    Missing {
        /// Its usual name.
        name: String,
        /// The expected shape.
        shape: Vec<u64>,
    },
    /// A tensor the model has no use for.
    #[error("{file}: `{name}` {shape:?} belongs to no weight of the model")]
    Extra {
        /// The file it is in.
        file: String,
        /// Its name.
        name: String,
        /// Its shape.
        shape: Vec<u64>,
    },
    /// A weight of another shape.
    #[error("{file}: `{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The file it is in.
        file: String,
        /// Its name.
        name: String,
        /// Its shape.
        found: Vec<u64>,
        /// The model's.
        expected: Vec<u64>,
    },
    /// A weight stored as something that is no floating-point number.
    #[error("{file}: `{name}` is stored as {found}, expected a floating-point or block format")]
    DType {
        /// The file it is in.
        file: String,
        /// Its name.
        name: String,
        /// How it is stored.
        found: DType,
    },
    /// The same weight twice, under two names or in two files.
    #[error("`{first}` in {first_file} and `{second}` in {second_file} are the same weight; remove one")]
    Twice {
        /// One name.
        first: String,
        /// Its file.
        first_file: String,
        /// The other name.
        second: String,
        /// Its file.
        second_file: String,
    },
    /// A separate output head where the model says that the embedding is the head.
    #[error(
        "{file}: `{name}` differs from the embedding, but the model ties its head to the embedding; \
         set tie_word_embeddings to false, or remove the tensor"
    )]
    Untied {
        /// The file it is in.
        file: String,
        /// Its name.
        name: String,
    },
    /// An infinity or NaN among the values.
    #[error("{file}: `{name}` holds an infinity or NaN, first at row {row}, column {column}")]
    NotFinite {
        /// The file it is in.
        file: String,
        /// Its name.
        name: String,
        /// Row of the first bad value, as stored.
        row: u64,
        /// Column of the first bad value; of a block format, the block's first column.
        column: u64,
    },
}

/// At most this many faults are printed; the rest are counted.
const SHOWN: usize = 20;

fn list(path: &std::path::Path, model: &str, faults: &[Fault]) -> String {
    let n = faults.len();
    let mut text =
        format!("{}: {n} fault{} for the model `{model}`:", path.display(), if n == 1 { "" } else { "s" });
    for fault in faults.iter().take(SHOWN) {
        text.push_str("\n  ");
        text.push_str(&fault.to_string());
    }
    if n > SHOWN {
        text.push_str(&format!("\n  and {} more", n - SHOWN));
    }
    text
}

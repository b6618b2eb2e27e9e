//! Weights: from safetensors, from GGUF, or drawn from a seed, always as they are stored.
//!
//! Everything goes through [`WeightSource`]: a weight is asked for by what it is ([`jet_dsl::weight::WeightRef`]),
//! never by a file's name for it. [`Checkpoint`] judges a whole folder or file against a
//! [`jet_dsl::ModelSpec`] before the first tensor is handed out and reports all faults together;
//! [`RandomWeights`] needs no file. Tensors borrow the mapped file; a format is kept as it is stored.

mod checkpoint;
mod error;
pub mod gguf;
mod mmap;
mod names;
mod random;
pub mod safetensors;
mod shards;
mod source;
mod table;
mod tensor;

pub use checkpoint::Checkpoint;
pub use error::{Error, Fault};
pub use gguf::Gguf;
pub use mmap::FileBytes;
pub use random::RandomWeights;
pub use safetensors::Safetensors;
pub use source::WeightSource;
pub use table::{TensorEntry, TensorTable};
pub use tensor::{RowOrder, Tensor, TensorInfo};

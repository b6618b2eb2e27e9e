//! safetensors: a JSON header of names, types, shapes and offsets, then the bytes.

mod header;
mod write;

pub use header::{Header, HeaderFault};
pub use write::{TensorData, to_bytes, write};

use super::{Error, FileBytes, Tensor, TensorTable};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// An open safetensors file.
#[derive(Debug)]
pub struct Safetensors {
    path: PathBuf,
    bytes: FileBytes,
    header: Header,
}

impl Safetensors {
    /// Opens a file and checks its whole header; values are mapped and not read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::from_bytes(path, FileBytes::open(path)?)
    }

    /// Reads bytes in place of a file; `path` is what errors call them.
    pub fn from_bytes(path: &Path, bytes: FileBytes) -> Result<Self, Error> {
        let header =
            Header::parse(&bytes).map_err(|fault| Error::Safetensors { path: path.to_owned(), fault })?;
        Ok(Self { path: path.to_owned(), bytes, header })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The header's own strings, by key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.header.metadata
    }

    /// The tensors, in the header's order.
    pub fn table(&self) -> &TensorTable {
        &self.header.table
    }

    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        self.header.table.get(name).map(|entry| Tensor::of_file(entry, &self.bytes))
    }

    pub(super) fn bytes(&self) -> &FileBytes {
        &self.bytes
    }
}

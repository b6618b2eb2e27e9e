//! GGUF: metadata, a list of tensors, and the tensors in their block formats.

mod fault;
mod read;
mod value;
mod write;

pub use fault::GgufFault;
pub use read::Contents;
pub use value::{Array, Value};
pub use write::Builder;

use super::{Error, FileBytes, Tensor, TensorTable};
use std::path::{Path, PathBuf};

/// An open GGUF file.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    bytes: FileBytes,
    contents: Contents,
}

impl Gguf {
    /// Opens a file and checks all of its metadata and its list of tensors; values are mapped and not read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::from_bytes(path, FileBytes::open(path)?)
    }

    /// Reads bytes in place of a file; `path` is what errors call them.
    pub fn from_bytes(path: &Path, bytes: FileBytes) -> Result<Self, Error> {
        let contents =
            Contents::parse(&bytes).map_err(|fault| Error::Gguf { path: path.to_owned(), fault })?;
        Ok(Self { path: path.to_owned(), bytes, contents })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The metadata value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.contents.get(key)
    }

    /// The metadata, in the file's order.
    pub fn metadata(&self) -> &[(String, Value)] {
        self.contents.metadata()
    }

    /// The tensors, in the file's order, with shapes slowest dimension first.
    pub fn table(&self) -> &TensorTable {
        &self.contents.table
    }

    /// The tensor called `name`, its rows as stored.
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        self.contents.table.get(name).map(|entry| Tensor::of_file(entry, &self.bytes))
    }

    pub(super) fn bytes(&self) -> &FileBytes {
        &self.bytes
    }
}

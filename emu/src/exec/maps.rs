//! Tensor maps that the host makes.

use thiserror::Error;

use super::emulator::Emulator;
use super::launch::Arg;
use crate::tensor::{TensorError, TensorMapSpec};

/// Why a tensor map cannot be made.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// No living buffer has that name.
    #[error("no buffer `{0}` for the tensor map")]
    NoBuffer(String),
    /// The description breaks a rule.
    #[error(transparent)]
    Map(#[from] TensorError),
}

impl Emulator {
    /// The argument that a description stands for: 128 bytes for a parameter `.align 64 .b8 map[128]`. The buffer is the
    /// latest one of its name.
    pub fn tensor_map(&self, description: &TensorMapSpec) -> Result<Arg, MapError> {
        let named = self.global.iter().filter(|(_, b)| b.name == description.tensor).last();
        let (_, buffer) = named.ok_or_else(|| MapError::NoBuffer(description.tensor.clone()))?;
        Ok(Arg::Bytes(description.build(buffer.base)?.encode().to_vec()))
    }
}

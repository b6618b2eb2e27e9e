//! `y = x · Wᵀ`: weights in any format, activations in three precisions, one token or many.
//!
//! Weights stay in their format ([`PackedMatrix`]), reordered into tiles of 16 rows. The workers first bring the
//! activations into the form that the kernels read ([`Layout::prepare`]), meet at a barrier, and then multiply
//! ([`matmul`]), each its share of the row tiles and token groups ([`share`]). Up to four tokens on the byte path
//! take the weights straight from their format, at the speed of the memory; otherwise a piece of the weights
//! is unpacked and used for a block of tokens.
//!
//! [`reference`] is the plain form that judges all others.

mod error;
mod format;
mod kernel;
mod packed;
mod prepared;
mod reference;
mod run;
mod schedule;

pub use error::PackError;
pub use packed::{PackedMatrix, Packer, WeightRows};
pub use prepared::{Form, Layout, Prepared};
pub use reference::reference;
pub use run::{Epilogue, Part, linear, matmul, scratch_len, share};
pub use schedule::{FEW, GEMM, GEMV, Gemm, Gemv, Tuning, problem};

use jet_numerics::DType;

/// The arithmetic of a multiplication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NumberPath {
    /// Weights widened to float32, float32 throughout.
    F32,
    /// Activations and weights rounded to bfloat16, sums in float32.
    Bf16,
    /// Activations rounded to bytes with a scale for every 32, integer products; for block formats.
    Int8,
}

impl NumberPath {
    /// Every path with its name in a problem's format, as in `q4_1/int8`.
    pub const ALL: &[(&'static str, NumberPath)] =
        &[("f32", NumberPath::F32), ("bf16", NumberPath::Bf16), ("int8", NumberPath::Int8)];

    /// The name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, p)| *p == self).expect("every path is listed").0
    }

    /// Root mean square error, relative to the output's, that the arithmetic allows on data without structure:
    /// twice to three times what it typically is.
    pub fn tolerance(self) -> f64 {
        match self {
            NumberPath::F32 => 2e-6,
            NumberPath::Bf16 => 6e-3,
            NumberPath::Int8 => 1.2e-2,
        }
    }
}

/// The paths that serve weights of `dtype`, the fastest first; none for types that are no weights.
pub fn paths_for(dtype: DType) -> &'static [NumberPath] {
    match dtype {
        d if !d.is_weight() => &[],
        d if d.is_quantized() => &[NumberPath::Int8, NumberPath::Bf16, NumberPath::F32],
        DType::F32 | DType::F64 => &[NumberPath::F32, NumberPath::Bf16],
        _ => &[NumberPath::Bf16, NumberPath::F32],
    }
}

#[cfg(test)]
mod tests;

//! Integer and bit operations (PTX ISA, Integer Arithmetic, Extended-Precision, Logic and Shift Instructions).
//!
//! [`b16`], [`b32`] and [`b64`] hold the same operations for each width, on unsigned patterns; `_s` and `_u` say how
//! the operands are read where it matters. [`bits`] has what exists for 32 bits only, [`dot`] the byte products,
//! [`pairs`] the 16-bit pairs.

pub mod b16;
pub mod b32;
pub mod b64;
pub mod bits;
pub mod dot;
pub mod pairs;
pub mod permute;
mod width;

/// The quotient or remainder that is stored where PTX leaves division by zero unspecified; the report says so.
pub const DIVISION_POISON: u64 = u64::MAX;

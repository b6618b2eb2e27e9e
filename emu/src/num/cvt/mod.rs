//! `cvt`: conversions among all types (PTX ISA, Data Movement and Conversion Instructions: cvt, cvt.pack).
//!
//! Three levels: [`fast`] has single functions for the frequent forms; a [`Conversion`] is the choice of one scalar
//! conversion, made once when an instruction is decoded and applied to each lane; [`packed`] puts scalar conversions
//! together to the forms with two or four elements, random bits and scales.

pub mod fast;
pub mod packed;
mod scalar;
mod types;

pub use scalar::{Conversion, stochastic};
pub use types::Type;

use super::mode::{IntRounding, Rounding};

/// The modifiers of `cvt`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// How a float result, or a float made from an integer, is rounded.
    pub rounding: Rounding,
    /// How a float is rounded to an integer, or to an integral float. PTX demands it for integers; absent, the
    /// fraction is cut off there.
    pub to_integer: Option<IntRounding>,
    /// `.ftz`: subnormal f32 operands and results become zeros of the same sign.
    pub ftz: bool,
    /// `.sat`: integers are clamped to the target's range, floats to [0, 1].
    pub sat: bool,
    /// `.satfinite`: beyond the largest number comes the largest number. Always so for 8 bits and fewer.
    pub satfinite: bool,
    /// `.relu`: after the conversion negative numbers become +0, NaN the canonical one.
    pub relu: bool,
}

/// One conversion. `bits` and the result lie in the low bits; what is above in `bits` is ignored, in the result zero.
#[must_use]
pub fn convert(from: Type, to: Type, options: Options, bits: u64) -> u64 {
    Conversion::new(from, to, options).apply(bits)
}

//! f64 arithmetic on bit patterns (PTX ISA, Floating Point Instructions).
//!
//! f64 keeps payloads: a NaN result is the first NaN operand, quieted; an invalid operation gives [`NAN`]. There is no
//! `.ftz`, and `.relu` and `.sat` of a [`Mode`] apply as for f32.

use super::exact;
use super::format::Format;
use super::mode::{Class, Compare, MinMax, Mode, Rounding};
use super::sign_magnitude::sign_magnitude;

/// The NaN of an invalid operation.
pub const NAN: u64 = 0xFFF8_0000_0000_0000;
/// 1.0.
pub const ONE: u64 = 0x3FF0_0000_0000_0000;
const QUIET: u64 = 0x0008_0000_0000_0000;

sign_magnitude!(u64, i64, 0x7FF0_0000_0000_0000, 0x0010_0000_0000_0000, first_nan, |a| a);

fn first_nan(a: u64, b: u64) -> u64 {
    (if is_nan(a) { a } else { b }) | QUIET
}

/// The result of an operation on `operands`, its NaN replaced by the right one.
#[inline]
fn settle(result: u64, operands: [u64; 3]) -> u64 {
    if !is_nan(result) {
        return result;
    }
    operands.into_iter().find(|&a| is_nan(a)).map_or(NAN, |a| a | QUIET)
}

/// `add.rn.f64`.
#[inline]
#[must_use]
pub fn add(a: u64, b: u64) -> u64 {
    settle((f64::from_bits(a) + f64::from_bits(b)).to_bits(), [a, b, 0])
}

/// `sub.rn.f64`.
#[inline]
#[must_use]
pub fn sub(a: u64, b: u64) -> u64 {
    settle((f64::from_bits(a) - f64::from_bits(b)).to_bits(), [a, b, 0])
}

/// `mul.rn.f64`.
#[inline]
#[must_use]
pub fn mul(a: u64, b: u64) -> u64 {
    settle((f64::from_bits(a) * f64::from_bits(b)).to_bits(), [a, b, 0])
}

/// `fma.rn.f64`, also `mad.rn.f64`.
#[inline]
#[must_use]
pub fn fma(a: u64, b: u64, c: u64) -> u64 {
    settle(f64::from_bits(a).mul_add(f64::from_bits(b), f64::from_bits(c)).to_bits(), [a, b, c])
}

/// `div.rn.f64`.
#[inline]
#[must_use]
pub fn div(a: u64, b: u64) -> u64 {
    settle((f64::from_bits(a) / f64::from_bits(b)).to_bits(), [a, b, 0])
}

/// `rcp.rn.f64`.
#[inline]
#[must_use]
pub fn rcp(a: u64) -> u64 {
    div(ONE, a)
}

/// `sqrt.rn.f64`.
#[inline]
#[must_use]
pub fn sqrt(a: u64) -> u64 {
    settle(f64::from_bits(a).sqrt().to_bits(), [a, 0, 0])
}

/// `add.f64` with any modifiers.
#[inline]
#[must_use]
pub fn add_mode(a: u64, b: u64, mode: Mode) -> u64 {
    let result = match mode.rounding {
        Rounding::Nearest => add(a, b),
        direction => settle(exact::add(&Format::F64, a, b, direction), [a, b, 0]),
    };
    leave(result, mode)
}

/// `sub.f64` with any modifiers.
#[inline]
#[must_use]
pub fn sub_mode(a: u64, b: u64, mode: Mode) -> u64 {
    let result = match mode.rounding {
        Rounding::Nearest => sub(a, b),
        direction => settle(exact::add(&Format::F64, a, b ^ SIGN, direction), [a, b, 0]),
    };
    leave(result, mode)
}

/// `mul.f64` with any modifiers.
#[inline]
#[must_use]
pub fn mul_mode(a: u64, b: u64, mode: Mode) -> u64 {
    let result = match mode.rounding {
        Rounding::Nearest => mul(a, b),
        direction => settle(exact::mul(&Format::F64, a, b, direction), [a, b, 0]),
    };
    leave(result, mode)
}

/// `fma.f64` with any modifiers.
#[inline]
#[must_use]
pub fn fma_mode(a: u64, b: u64, c: u64, mode: Mode) -> u64 {
    let result = match mode.rounding {
        Rounding::Nearest => fma(a, b, c),
        direction => settle(exact::fma(&Format::F64, a, b, c, direction), [a, b, c]),
    };
    leave(result, mode)
}

/// `div.f64` with any modifiers.
#[inline]
#[must_use]
pub fn div_mode(a: u64, b: u64, mode: Mode) -> u64 {
    let result = match mode.rounding {
        Rounding::Nearest => div(a, b),
        direction => settle(exact::div(&Format::F64, a, b, direction), [a, b, 0]),
    };
    leave(result, mode)
}

/// `rcp.f64` with any modifiers.
#[inline]
#[must_use]
pub fn rcp_mode(a: u64, mode: Mode) -> u64 {
    div_mode(ONE, a, mode)
}

/// `sqrt.f64` with any modifiers.
#[inline]
#[must_use]
pub fn sqrt_mode(a: u64, mode: Mode) -> u64 {
    let result = match mode.rounding {
        Rounding::Nearest => sqrt(a),
        direction => settle(exact::sqrt(&Format::F64, a, direction), [a, 0, 0]),
    };
    leave(result, mode)
}

#[inline]
fn leave(result: u64, mode: Mode) -> u64 {
    let result = if mode.relu { relu(result) } else { result };
    if mode.sat { saturate(result) } else { result }
}

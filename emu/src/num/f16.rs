//! f16 arithmetic on bit patterns (PTX ISA, Half Precision Floating Point Instructions). NaN results are [`NAN`].

use super::half::half_arithmetic;
use super::mode::{Class, Compare, MinMax, Mode};
use super::odd;
use super::sign_magnitude::sign_magnitude;

/// The canonical NaN.
pub const NAN: u16 = 0x7FFF;
/// 1.0.
pub const ONE: u16 = 0x3C00;

sign_magnitude!(u16, i16, 0x7C00, 0x0400, |_, _| NAN, |_| NAN);

// f32 has 24 = 2 * 11 + 2 bits, so rounding a sum of two 11-bit numbers to f32 first never changes the second
// rounding (S. Figueroa, "When is double rounding innocuous?", SIGNUM Newsletter 30 (1995)), and a sum that is
// subnormal in f16 is exact already. A product has 22 bits from 2^-48 up: exact in f32, so that `fma` has one
// inexact step, which is rounded to odd.
half_arithmetic!(|x: f32, y: f32| x + y, |x: f32, y: f32| x * y, |x: f32, y: f32, z: f32| odd::add_f32(
    x * y,
    z
));

/// The f32 of the same value; NaN stays some NaN.
#[inline]
#[must_use]
pub fn widen(a: u16) -> f32 {
    const SHIFTED_INFINITY: u32 = 0x7C00 << 13;
    const REBIAS: u32 = (127 - 15) << 23;
    let shifted = u32::from(a & MAGNITUDE) << 13;
    let exponent = shifted & SHIFTED_INFINITY;
    let normal = shifted + REBIAS;
    // A subnormal is read as 2^-14 * 1.mantissa, from which 2^-14 is taken away again, exactly.
    let subnormal = (f32::from_bits(normal + (1 << 23)) - f32::from_bits(REBIAS + (1 << 23))).to_bits();
    let finite = if exponent == 0 { subnormal } else { normal };
    let size = if exponent == SHIFTED_INFINITY { normal + REBIAS } else { finite };
    f32::from_bits(size | (u32::from(a & SIGN) << 16))
}

/// The pattern of the f32 of the same value, NaN canonical: `cvt.f32.f16`.
#[inline]
#[must_use]
pub fn to_f32(a: u16) -> u32 {
    super::f32::canonical(widen(a))
}

/// To nearest even, overflow to infinity, NaN canonical: `cvt.rn.f16.f32`.
#[inline]
#[must_use]
pub fn narrow(x: f32) -> u16 {
    const REBIAS: u32 = (127 - 15) << 23;
    const FIRST_INFINITE: u32 = (127 + 16) << 23;
    const FIRST_NORMAL: u32 = (127 - 14) << 23;
    // One unit of this number's last place is the smallest subnormal of f16.
    const ALIGN: u32 = (127 - 1) << 23;
    let bits = x.to_bits();
    let size = bits & 0x7FFF_FFFF;
    let tie = (size >> 13) & 1;
    let normal = size.wrapping_sub(REBIAS).wrapping_add(0xFFF + tie) >> 13;
    let subnormal = (f32::from_bits(size) + f32::from_bits(ALIGN)).to_bits().wrapping_sub(ALIGN);
    let finite = if size < FIRST_NORMAL { subnormal } else { normal };
    let code = if size >= FIRST_INFINITE { 0x7C00 } else { finite };
    if size > 0x7F80_0000 { NAN } else { code as u16 | (bits >> 16) as u16 & SIGN }
}

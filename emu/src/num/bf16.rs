//! bf16 arithmetic on bit patterns (PTX ISA, Half Precision Floating Point Instructions). NaN results are [`NAN`].

use super::half::half_arithmetic;
use super::mode::{Class, Compare, MinMax, Mode};
use super::odd;
use super::sign_magnitude::sign_magnitude;

/// The canonical NaN.
pub const NAN: u16 = 0x7FFF;
/// 1.0.
pub const ONE: u16 = 0x3F80;

sign_magnitude!(u16, i16, 0x7F80, 0x0080, |_, _| NAN, |_| NAN);

// f32 has 24 bits against 2 * 8 + 2, so a sum may be rounded to f32 first (S. Figueroa, 1995), and subnormal sums are
// exact. A product of 16 bits is exact in f32 unless it falls below 2^-149, where f32 would round it a first time
// to even; f64 holds it exactly, and rounding that to odd keeps it correct.
half_arithmetic!(
    |x: f32, y: f32| x + y,
    |x: f32, y: f32| odd::narrow(f64::from(x) * f64::from(y)),
    |x: f32, y: f32, z: f32| odd::narrow(odd::add(f64::from(x) * f64::from(y), f64::from(z)))
);

/// The f32 of the same value; NaN stays some NaN.
#[inline]
#[must_use]
pub fn widen(a: u16) -> f32 {
    f32::from_bits(u32::from(a) << 16)
}

/// The pattern of the f32 of the same value, NaN canonical: `cvt.f32.bf16`.
#[inline]
#[must_use]
pub fn to_f32(a: u16) -> u32 {
    super::f32::canonical(widen(a))
}

/// To nearest even, overflow to infinity, NaN canonical: `cvt.rn.bf16.f32`.
#[inline]
#[must_use]
pub fn narrow(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) >> 16;
    if bits & 0x7FFF_FFFF > 0x7F80_0000 { NAN } else { rounded as u16 }
}

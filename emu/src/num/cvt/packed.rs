//! Conversions of two and four elements in one register.
//!
//! The first source operand goes to the upper half; from packed to packed each element keeps its place. Widths of
//! elements are those of [`Type::lane_width`].

use super::scalar::Scale;
use super::{Conversion, Options, Type, stochastic};

/// `cvt ... d, a, b`: `a` to the upper element, `b` to the lower.
#[inline]
#[must_use]
pub fn pack2(conversion: &Conversion, a: u64, b: u64) -> u64 {
    conversion.apply(a) << conversion.to().lane_width() | conversion.apply(b)
}

/// From two packed elements to two packed elements.
#[inline]
#[must_use]
pub fn repack2(conversion: &Conversion, bits: u64) -> u64 {
    // The conversion ignores what is above its source's width.
    pack2(conversion, bits >> conversion.from().lane_width(), bits)
}

/// The upper and the lower element of a packed pair.
#[inline]
#[must_use]
pub const fn unpack2(element: Type, bits: u64) -> (u64, u64) {
    let mask = element.mask();
    (bits >> element.lane_width() & mask, bits & mask)
}

/// `.scaled::n2::ue8m0` from narrow elements to bf16 pairs: each is multiplied by its scale before the one rounding.
/// `scales` holds two codes, the upper for the upper element.
#[must_use]
pub fn repack2_scaled_up(conversion: &Conversion, bits: u64, scales: u16) -> u64 {
    let (high, low) = unpack2(conversion.from(), bits);
    let high = conversion.apply_scaled(high, (scales >> 8) as u8, Scale::Multiply);
    high << conversion.to().lane_width() | conversion.apply_scaled(low, scales as u8, Scale::Multiply)
}

/// `.scaled::n2::ue8m0` to narrow elements: `a` and `b` are divided by their scales before the one rounding.
#[must_use]
pub fn pack2_scaled_down(conversion: &Conversion, a: u64, b: u64, scales: u16) -> u64 {
    let high = conversion.apply_scaled(a, (scales >> 8) as u8, Scale::Divide);
    high << conversion.to().lane_width() | conversion.apply_scaled(b, scales as u8, Scale::Divide)
}

/// `cvt.rs.f16x2.f32` and `cvt.rs.bf16x2.f32 d, a, b, rbits`. f16 takes 13 bits for each element, bf16 16, the upper
/// ones for `a`.
#[must_use]
pub fn stochastic2(to: Type, options: Options, a: u32, b: u32, random: u32) -> u32 {
    let count = if to == Type::F16 { 13 } else { 16 };
    let high = stochastic(Type::F32, to, options, u64::from(a), random >> 16, count);
    let low = stochastic(Type::F32, to, options, u64::from(b), random, count);
    (high << 16 | low) as u32
}

/// `cvt.rs.satfinite...x4.f32 d, {a, b, e, f}, rbits`: `a` becomes the highest element.
///
/// For bytes `a` and `b` share the upper half of the random bits, `e` and `f` the lower; for e2m1 the first two share
/// bytes 3 and 1, the others bytes 2 and 0. How the 16 bits lie within a share is not written in the ISA's text: here
/// their top is just below the last place of the result.
#[must_use]
pub fn stochastic4(to: Type, options: Options, sources: [u32; 4], random: u32) -> u32 {
    let [upper, lower] = if to == Type::E2m1 {
        [random >> 16 & 0xFF00 | random >> 8 & 0xFF, random >> 8 & 0xFF00 | random & 0xFF]
    } else {
        [random >> 16, random & 0xFFFF]
    };
    let shares = [upper, upper, lower, lower];
    sources.into_iter().zip(shares).fold(0, |packed, (source, share)| {
        packed << to.lane_width() | stochastic(Type::F32, to, options, u64::from(source), share, 16) as u32
    })
}

/// The targets of `cvt.pack.sat`: a width in bits and a signedness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackTarget {
    /// 2, 4, 8 or 16.
    pub bits: u32,
    /// `.s` instead of `.u`.
    pub signed: bool,
}

/// `cvt.pack.sat.T.s32 d, a, b` and, for 8 bits and fewer, `d, a, b, c`: `a` above `b`, the low bits of `c` above both.
#[must_use]
pub fn pack_saturated(target: PackTarget, a: u32, b: u32, c: u32) -> u32 {
    let bits = target.bits.clamp(1, 16);
    let one = |x: u32| {
        let limited = match target.signed {
            true => i64::from(x as i32).clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
            false => i64::from(x as i32).clamp(0, (1 << bits) - 1),
        };
        limited as u32 & ((1 << bits) - 1)
    };
    let above = c.checked_shl(2 * bits).unwrap_or(0);
    above | one(a) << bits | one(b)
}

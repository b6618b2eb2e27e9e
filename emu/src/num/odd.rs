//! Rounding to odd: the way to round twice and still be right.
//!
//! A value is rounded to odd if it is cut towards zero and its last bit set whenever something was cut. Such a
//! value lies on the same side of every number and every midpoint of a format that is at least two bits narrower
//! (in precision and in the reach of its subnormals), so a second rounding in any direction gives what one rounding
//! of the exact value gives. (S. Boldo, G. Melquiond, "Emulation of FMA and correctly rounded sums: proved
//! algorithms using rounding to odd", IEEE Transactions on Computers 57 (2008).) f64 serves f32, f16 and bf16 so,
//! and f32 serves f16 and bf16: 24 bits against 11 and 8, subnormals to 2^-149 against 2^-24 and 2^-133.

use super::mode::Rounding;

/// `a + b`, rounded to odd. The operands are far from the ends of f64's range.
///
/// Knuth's two-sum gives the error of the nearest sum exactly. When it is not zero and the sum's last bit is even,
/// the odd neighbour on the error's side is the wanted one; an odd sum already is it.
#[inline]
#[must_use]
pub fn add(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let part = sum - a;
    let error = (a - (sum - part)) + (b - part);
    let bits = sum.to_bits();
    // Infinities and NaN have an error of NaN, which is neither above nor below.
    let inexact = u64::from((error > 0.0) | (error < 0.0));
    let inward = u64::from((error > 0.0) != (sum > 0.0));
    let even = !bits & 1;
    let step = inexact & even;
    // Outward one up, inward one down, as a pattern; minus twice the inward bit instead of a branch.
    f64::from_bits(bits.wrapping_add(step).wrapping_sub((step & inward) << 1))
}

/// `a + b` as [`add`] gives it, in f32.
#[inline]
#[must_use]
pub fn add_f32(a: f32, b: f32) -> f32 {
    let sum = a + b;
    let part = sum - a;
    let error = (a - (sum - part)) + (b - part);
    let bits = sum.to_bits();
    let inexact = u32::from((error > 0.0) | (error < 0.0));
    let inward = u32::from((error > 0.0) != (sum > 0.0));
    let step = inexact & !bits & 1;
    f32::from_bits(bits.wrapping_add(step).wrapping_sub((step & inward) << 1))
}

/// An f64 as the f32 rounded to odd.
#[inline]
#[must_use]
pub fn narrow(x: f64) -> f32 {
    let near = x as f32;
    let back = f64::from(near);
    let beyond = u32::from(back.abs() > x.abs());
    let inexact = u32::from((back < x) | (back > x));
    f32::from_bits(near.to_bits().wrapping_sub(beyond) | inexact)
}

/// An f64 that is exact or rounded to odd, as an f32 rounded in any direction. NaN gives some NaN.
#[inline]
#[must_use]
pub fn round_f32(x: f64, rounding: Rounding) -> f32 {
    let near = x as f32;
    if rounding == Rounding::Nearest {
        return near;
    }
    let back = f64::from(near).abs();
    let size = x.abs();
    let outward = match rounding {
        Rounding::Nearest => return near,
        Rounding::NearestAway => return away_from_tie(x, near),
        Rounding::Zero => false,
        Rounding::Down => x < 0.0,
        Rounding::Up => x > 0.0,
    };
    let bits = near.to_bits();
    // From infinity one step inward is the largest number, from zero one step outward the smallest.
    let step = if outward { u32::from(back < size) } else { 0 };
    let back_step = if outward { 0 } else { u32::from(back > size) };
    f32::from_bits(bits.wrapping_add(step).wrapping_sub(back_step))
}

/// Moves a tie that went to the even neighbour below to the one above.
fn away_from_tie(x: f64, near: f32) -> f32 {
    let above = f32::from_bits(near.to_bits().wrapping_add(1));
    let (low, size, high) = (f64::from(near).abs(), x.abs(), f64::from(above).abs());
    if low < size && size - low == high - size { above } else { near }
}

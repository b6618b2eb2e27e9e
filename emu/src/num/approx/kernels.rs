//! 2^x, log2 x and tanh x in f64 to about 2^-40, without branches or table look-ups, so that loops over lanes
//! vectorise. Coefficients are those of the Taylor series; the ranges are small enough for them.

use std::f64::consts::{LN_2, LOG2_E};

/// Adding it to |x| < 2^51 leaves the nearest integer in the low bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// ln(2)^k / k!
const EXP2: [f64; 11] = {
    let mut c = [1.0; 11];
    let mut k = 1;
    while k < 11 {
        c[k] = c[k - 1] * LN_2 / k as f64;
        k += 1;
    }
    c
};

/// 2^x. The exponent is limited to 200, beyond what f32 holds, so results stay far inside f64; not for NaN.
///
/// x = n + f with |f| <= 1/2; the eleventh term of the series of 2^f is below 2^-42.
#[inline]
pub(super) fn exp2(x: f64) -> f64 {
    let x = if x > 200.0 { 200.0 } else { x };
    let x = if x < -200.0 { -200.0 } else { x };
    let shifted = x + ROUNDER;
    let f = x - (shifted - ROUNDER);
    let mut p = EXP2[10];
    for k in (0..10).rev() {
        p = p * f + EXP2[k];
    }
    // The low bits of the shifted number are n; only 12 of them survive the shift.
    let scale = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    p * scale
}

/// log2 of a positive normal number; anything else gives something finite or NaN, which the caller replaces.
///
/// x = 2^e m with m in [sqrt(1/2), sqrt(2)), and log2 m = 2/ln 2 * artanh((m-1)/(m+1)); its argument is below 0.172, so
/// the tenth term is below 2^-49 of the first. Around 1 the exponent is 0 and the relative error stays small.
#[inline]
pub(super) fn log2(x: f64) -> f64 {
    const SQRT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
    const BIAS: u64 = 1023 << 52;
    const FIELD: u64 = 0xFFF0_0000_0000_0000;
    // 2^52 in which the low bits count ones.
    const COUNTER: u64 = 0x4330_0000_0000_0000;
    let bits = x.to_bits();
    let biased = bits.wrapping_sub(SQRT_HALF).wrapping_add(BIAS);
    let m = f64::from_bits(bits.wrapping_sub(biased & FIELD).wrapping_add(BIAS));
    let e = f64::from_bits(COUNTER | (biased >> 52)) - (4_503_599_627_370_496.0 + 1023.0);
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let mut p = 1.0 / 17.0;
    for odd in [15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        p = p * z + 1.0 / odd;
    }
    p * s * (2.0 * LOG2_E) + e
}

/// tanh x; not for NaN.
///
/// (e^2y - 1) / (e^2y + 1) of the magnitude loses six bits to cancellation at 2^-6; below, four terms of the series do.
#[inline]
pub(super) fn tanh(x: f64) -> f64 {
    let y = x.abs();
    let e = exp2(y * (2.0 * LOG2_E));
    let large = (e - 1.0) / (e + 1.0);
    let z = y * y;
    let small = y + y * z * (-1.0 / 3.0 + z * (2.0 / 15.0 - z * (17.0 / 315.0)));
    (if y < 0.015_625 { small } else { large }).copysign(x)
}

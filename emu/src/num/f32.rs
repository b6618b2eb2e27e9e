//! f32 arithmetic on bit patterns (PTX ISA, Floating Point Instructions).
//!
//! Results that are NaN are [`NAN`]. The plain functions round to nearest and keep subnormals, `_ftz` flush operands
//! and result, `_mode` take any [`Mode`].

use super::format::Format;
use super::mode::{Class, Compare, MinMax, Mode, Rounding};
use super::sign_magnitude::sign_magnitude;
use super::{exact, odd};

/// The canonical NaN.
pub const NAN: u32 = 0x7FFF_FFFF;
/// 1.0.
pub const ONE: u32 = 0x3F80_0000;

sign_magnitude!(u32, i32, 0x7F80_0000, 0x0080_0000, |_, _| NAN, |_| NAN);

/// The pattern of a result, NaN made canonical.
#[inline]
#[must_use]
pub fn canonical(x: f32) -> u32 {
    if x.is_nan() { NAN } else { x.to_bits() }
}

/// `add.rn.f32`.
#[inline]
#[must_use]
pub fn add(a: u32, b: u32) -> u32 {
    canonical(f32::from_bits(a) + f32::from_bits(b))
}

/// `sub.rn.f32`.
#[inline]
#[must_use]
pub fn sub(a: u32, b: u32) -> u32 {
    canonical(f32::from_bits(a) - f32::from_bits(b))
}

/// `mul.rn.f32`.
#[inline]
#[must_use]
pub fn mul(a: u32, b: u32) -> u32 {
    canonical(f32::from_bits(a) * f32::from_bits(b))
}

/// `fma.rn.f32`, also `mad.rn.f32`.
#[inline]
#[must_use]
pub fn fma(a: u32, b: u32, c: u32) -> u32 {
    // Without the instruction `mul_add` is a library call for each lane; two-sum in f64 is inlined and vectorises.
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        return canonical(f32::from_bits(a).mul_add(f32::from_bits(b), f32::from_bits(c)));
    }
    canonical(fma_odd(a, b, c) as f32)
}

/// [`fma`] on a whole warp. Without the instruction it is about three times as fast as lane by lane: an f64 sum may be
/// rounded a second time unless it sits on the midpoint of two f32 or below their normals, and only if a lane's does
/// all lanes take the slower way.
#[inline]
pub fn fma_lanes(a: &[u32; 32], b: &[u32; 32], c: &[u32; 32], d: &mut [u32; 32]) {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        fma_each(a, b, c, d);
        return;
    }
    // The 29 bits that f64 has below f32, and their pattern on a midpoint.
    const BELOW: u32 = (1 << 29) - 1;
    const MIDPOINT: u32 = 1 << 28;
    let mut doubtful = 0;
    for lane in 0..32 {
        let wide = |x: u32| f64::from(f32::from_bits(x));
        let sum = wide(a[lane]) * wide(b[lane]) + wide(c[lane]);
        let result = canonical(sum as f32);
        d[lane] = result;
        doubtful |=
            u32::from(sum.to_bits() as u32 & BELOW == MIDPOINT) | u32::from(result & MAGNITUDE < 0x0080_0000);
    }
    if doubtful != 0 {
        fma_each(a, b, c, d);
    }
}

fn fma_each(a: &[u32; 32], b: &[u32; 32], c: &[u32; 32], d: &mut [u32; 32]) {
    for lane in 0..32 {
        d[lane] = fma(a[lane], b[lane], c[lane]);
    }
}

/// `div.rn.f32`.
#[inline]
#[must_use]
pub fn div(a: u32, b: u32) -> u32 {
    canonical(f32::from_bits(a) / f32::from_bits(b))
}

/// `rcp.rn.f32`.
#[inline]
#[must_use]
pub fn rcp(a: u32) -> u32 {
    div(ONE, a)
}

/// `sqrt.rn.f32`.
#[inline]
#[must_use]
pub fn sqrt(a: u32) -> u32 {
    canonical(f32::from_bits(a).sqrt())
}

/// `add.rn.ftz.f32`.
#[inline]
#[must_use]
pub fn add_ftz(a: u32, b: u32) -> u32 {
    flush(add(flush(a), flush(b)))
}

/// `sub.rn.ftz.f32`.
#[inline]
#[must_use]
pub fn sub_ftz(a: u32, b: u32) -> u32 {
    flush(sub(flush(a), flush(b)))
}

/// `mul.rn.ftz.f32`.
#[inline]
#[must_use]
pub fn mul_ftz(a: u32, b: u32) -> u32 {
    flush(mul(flush(a), flush(b)))
}

/// `fma.rn.ftz.f32`.
#[inline]
#[must_use]
pub fn fma_ftz(a: u32, b: u32, c: u32) -> u32 {
    flush(fma(flush(a), flush(b), flush(c)))
}

/// `add.f32` with any modifiers.
#[inline]
#[must_use]
pub fn add_mode(a: u32, b: u32, mode: Mode) -> u32 {
    let (a, b) = (enter(a, mode), enter(b, mode));
    let result = if mode.rounding == Rounding::Nearest {
        add(a, b)
    } else {
        directed_sum(f64::from(f32::from_bits(a)), f64::from(f32::from_bits(b)), mode.rounding)
    };
    leave(result, mode)
}

/// `sub.f32` with any modifiers.
#[inline]
#[must_use]
pub fn sub_mode(a: u32, b: u32, mode: Mode) -> u32 {
    add_mode(a, b ^ SIGN, mode)
}

/// `mul.f32` with any modifiers.
#[inline]
#[must_use]
pub fn mul_mode(a: u32, b: u32, mode: Mode) -> u32 {
    let (a, b) = (enter(a, mode), enter(b, mode));
    // 24 bits times 24 bits from 2^-298 up are exact in f64.
    let product = f64::from(f32::from_bits(a)) * f64::from(f32::from_bits(b));
    leave(canonical(odd::round_f32(product, mode.rounding)), mode)
}

/// `fma.f32` with any modifiers.
#[inline]
#[must_use]
pub fn fma_mode(a: u32, b: u32, c: u32, mode: Mode) -> u32 {
    let (a, b, c) = (enter(a, mode), enter(b, mode), enter(c, mode));
    let result = if mode.rounding == Rounding::Nearest {
        fma(a, b, c)
    } else {
        let product = f64::from(f32::from_bits(a)) * f64::from(f32::from_bits(b));
        directed_sum(product, f64::from(f32::from_bits(c)), mode.rounding)
    };
    leave(result, mode)
}

/// `div.f32` with any modifiers, correctly rounded.
#[inline]
#[must_use]
pub fn div_mode(a: u32, b: u32, mode: Mode) -> u32 {
    let (a, b) = (enter(a, mode), enter(b, mode));
    let result = if mode.rounding == Rounding::Nearest {
        div(a, b)
    } else {
        exact::div(&Format::F32, u64::from(a), u64::from(b), mode.rounding) as u32
    };
    leave(result, mode)
}

/// `rcp.f32` with any modifiers, correctly rounded.
#[inline]
#[must_use]
pub fn rcp_mode(a: u32, mode: Mode) -> u32 {
    div_mode(ONE, a, mode)
}

/// `sqrt.f32` with any modifiers, correctly rounded.
#[inline]
#[must_use]
pub fn sqrt_mode(a: u32, mode: Mode) -> u32 {
    let a = enter(a, mode);
    let result = if mode.rounding == Rounding::Nearest {
        sqrt(a)
    } else {
        exact::sqrt(&Format::F32, u64::from(a), mode.rounding) as u32
    };
    leave(result, mode)
}

/// a * b + c in f64, rounded to odd: the product is exact, only the sum rounds.
#[inline]
fn fma_odd(a: u32, b: u32, c: u32) -> f64 {
    let product = f64::from(f32::from_bits(a)) * f64::from(f32::from_bits(b));
    odd::add(product, f64::from(f32::from_bits(c)))
}

/// The sum of two values that f64 holds exactly, in a direction. Towards minus infinity an exact zero is negative
/// unless both addends are +0.
#[inline]
fn directed_sum(a: f64, b: f64, rounding: Rounding) -> u32 {
    let sum = odd::add(a, b);
    if rounding == Rounding::Down && sum == 0.0 && (a.to_bits() | b.to_bits()) != 0 {
        return SIGN;
    }
    canonical(odd::round_f32(sum, rounding))
}

#[inline]
fn enter(a: u32, mode: Mode) -> u32 {
    if mode.ftz { flush(a) } else { a }
}

/// What happens to a rounded result, in the order that the modifiers apply.
#[inline]
pub(super) fn leave(result: u32, mode: Mode) -> u32 {
    let result = if mode.ftz { flush(result) } else { result };
    let result = if mode.relu { relu(result) } else { result };
    if mode.sat { saturate(result) } else { result }
}

//! The `.approx` and `.full` forms. The ISA states error bounds only; what is given here is an f64 evaluation rounded
//! to the format, which is inside every bound and, but for about one value in 2^16, the correctly rounded result.
//!
//! `_ftz` flushes subnormal operands and results to the zero of their sign.

mod kernels;

use super::{bf16, f16, f32, f64};
use std::primitive::f32 as Single;
use std::primitive::f64 as Double;

#[inline]
fn wide(a: u32) -> Double {
    Double::from(Single::from_bits(a))
}

#[inline]
fn settle(x: Double) -> u32 {
    f32::canonical(x as Single)
}

#[inline]
fn flushed(f: impl Fn(u32) -> u32, a: u32) -> u32 {
    f32::flush(f(f32::flush(a)))
}

/// `ex2.approx.f32`: 2^a, with subnormal results.
#[inline]
#[must_use]
pub fn ex2(a: u32) -> u32 {
    if f32::is_nan(a) { f32::NAN } else { settle(kernels::exp2(wide(a))) }
}

/// `ex2.approx.ftz.f32`.
#[inline]
#[must_use]
pub fn ex2_ftz(a: u32) -> u32 {
    flushed(ex2, a)
}

/// `lg2.approx.f32`: log2 a; zeros give minus infinity, negative numbers NaN.
#[inline]
#[must_use]
pub fn lg2(a: u32) -> u32 {
    let finite = settle(kernels::log2(wide(a)));
    let positive = if a >= INFINITY { a } else { finite };
    let size = a & MAGNITUDE;
    if size == 0 {
        SIGN | INFINITY
    } else if a > INFINITY {
        f32::NAN
    } else {
        positive
    }
}

/// `lg2.approx.ftz.f32`.
#[inline]
#[must_use]
pub fn lg2_ftz(a: u32) -> u32 {
    flushed(lg2, a)
}

/// `rcp.approx.f32`.
#[inline]
#[must_use]
pub fn rcp(a: u32) -> u32 {
    f32::rcp(a)
}

/// `rcp.approx.ftz.f32`.
#[inline]
#[must_use]
pub fn rcp_ftz(a: u32) -> u32 {
    flushed(rcp, a)
}

/// `sqrt.approx.f32`: minus zero stays, negative numbers give NaN.
#[inline]
#[must_use]
pub fn sqrt(a: u32) -> u32 {
    f32::sqrt(a)
}

/// `sqrt.approx.ftz.f32`.
#[inline]
#[must_use]
pub fn sqrt_ftz(a: u32) -> u32 {
    flushed(sqrt, a)
}

/// `rsqrt.approx.f32`: zeros give the infinity of their sign, negative numbers NaN.
#[inline]
#[must_use]
pub fn rsqrt(a: u32) -> u32 {
    settle(1.0 / wide(a).sqrt())
}

/// `rsqrt.approx.ftz.f32`.
#[inline]
#[must_use]
pub fn rsqrt_ftz(a: u32) -> u32 {
    flushed(rsqrt, a)
}

/// `sin.approx.f32`; infinities give NaN.
#[inline]
#[must_use]
pub fn sin(a: u32) -> u32 {
    settle(wide(a).sin())
}

/// `sin.approx.ftz.f32`.
#[inline]
#[must_use]
pub fn sin_ftz(a: u32) -> u32 {
    flushed(sin, a)
}

/// `cos.approx.f32`; infinities give NaN.
#[inline]
#[must_use]
pub fn cos(a: u32) -> u32 {
    settle(wide(a).cos())
}

/// `cos.approx.ftz.f32`.
#[inline]
#[must_use]
pub fn cos_ftz(a: u32) -> u32 {
    flushed(cos, a)
}

/// `tanh.approx.f32`; subnormals pass.
#[inline]
#[must_use]
pub fn tanh(a: u32) -> u32 {
    if f32::is_nan(a) { f32::NAN } else { settle(kernels::tanh(wide(a))) }
}

/// `div.approx.f32`. Divisors above 2^126 give zero, or NaN under an infinite dividend: their reciprocal is flushed.
#[inline]
#[must_use]
pub fn div(a: u32, b: u32) -> u32 {
    const LIMIT: u32 = (126 + 127) << 23;
    let size = b & MAGNITUDE;
    if size > LIMIT && size < INFINITY {
        // The dividend times a zero of the divisor's sign.
        return f32::mul(a, b & SIGN);
    }
    f32::div(a, b)
}

/// `div.approx.ftz.f32`.
#[inline]
#[must_use]
pub fn div_ftz(a: u32, b: u32) -> u32 {
    f32::flush(div(f32::flush(a), f32::flush(b)))
}

/// `div.full.f32`.
#[inline]
#[must_use]
pub fn div_full(a: u32, b: u32) -> u32 {
    f32::div(a, b)
}

/// `div.full.ftz.f32`.
#[inline]
#[must_use]
pub fn div_full_ftz(a: u32, b: u32) -> u32 {
    f32::flush(f32::div(f32::flush(a), f32::flush(b)))
}

/// `ex2.approx.f16`.
#[inline]
#[must_use]
pub fn ex2_f16(a: u16) -> u16 {
    if f16::is_nan(a) { f16::NAN } else { f16::from_f64(kernels::exp2(Double::from(f16::widen(a)))) }
}

/// `ex2.approx.ftz.f16`.
#[inline]
#[must_use]
pub fn ex2_ftz_f16(a: u16) -> u16 {
    f16::flush(ex2_f16(f16::flush(a)))
}

/// `ex2.approx.ftz.bf16`.
#[inline]
#[must_use]
pub fn ex2_ftz_bf16(a: u16) -> u16 {
    if bf16::is_nan(a) {
        bf16::NAN
    } else {
        bf16::flush(bf16::from_f64(kernels::exp2(Double::from(bf16::widen(bf16::flush(a))))))
    }
}

/// `tanh.approx.f16`.
#[inline]
#[must_use]
pub fn tanh_f16(a: u16) -> u16 {
    if f16::is_nan(a) { f16::NAN } else { f16::from_f64(kernels::tanh(Double::from(f16::widen(a)))) }
}

/// `tanh.approx.bf16`.
#[inline]
#[must_use]
pub fn tanh_bf16(a: u16) -> u16 {
    if bf16::is_nan(a) { bf16::NAN } else { bf16::from_f64(kernels::tanh(Double::from(bf16::widen(a)))) }
}

/// `rcp.approx.ftz.f64`: from the upper word of the operand to the upper word of the result, the lower one zero.
#[must_use]
pub fn rcp_f64(a: u64) -> u64 {
    upper_word(a, |x| 1.0 / x)
}

/// `rsqrt.approx.ftz.f64`: from the upper word of the operand to the upper word of the result, the lower one zero.
#[must_use]
pub fn rsqrt_f64(a: u64) -> u64 {
    upper_word(a, |x| 1.0 / x.sqrt())
}

fn upper_word(a: u64, f: impl Fn(Double) -> Double) -> u64 {
    const UPPER: u64 = 0xFFFF_FFFF_0000_0000;
    let result = f(Double::from_bits(f64::flush(a & UPPER))).to_bits();
    // A NaN may have had its payload in the lower word.
    if f64::is_nan(a) || f64::is_nan(result) {
        return 0x7FFF_FFFF_0000_0000;
    }
    // To nearest: a carry may reach infinity, never a NaN.
    f64::flush(result.wrapping_add(0x8000_0000) & UPPER)
}

const SIGN: u32 = 0x8000_0000;
const MAGNITUDE: u32 = 0x7FFF_FFFF;
const INFINITY: u32 = 0x7F80_0000;

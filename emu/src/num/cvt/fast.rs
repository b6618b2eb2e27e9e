//! The frequent conversions, each a few instructions that vectorise over lanes.

use crate::num::{bf16, f16, f32 as single};
use std::primitive::f32 as Single;

/// `cvt.rn.f32.s32`.
#[inline]
#[must_use]
pub const fn f32_from_s32(a: u32) -> u32 {
    (a as i32 as Single).to_bits()
}

/// `cvt.rn.f32.u32`.
#[inline]
#[must_use]
pub const fn f32_from_u32(a: u32) -> u32 {
    (a as Single).to_bits()
}

/// `cvt.rzi.s32.f32`: clamps, NaN gives 0.
#[inline]
#[must_use]
pub const fn s32_from_f32_zero(a: u32) -> u32 {
    Single::from_bits(a) as i32 as u32
}

/// `cvt.rzi.u32.f32`: clamps, NaN gives 0.
#[inline]
#[must_use]
pub const fn u32_from_f32_zero(a: u32) -> u32 {
    Single::from_bits(a) as u32
}

/// `cvt.rni.s32.f32`.
#[inline]
#[must_use]
pub fn s32_from_f32_nearest(a: u32) -> u32 {
    s32_from_f32_zero(integral_nearest(a))
}

/// `cvt.rmi.s32.f32`.
#[inline]
#[must_use]
pub fn s32_from_f32_down(a: u32) -> u32 {
    s32_from_f32_zero(integral_down(a))
}

/// `cvt.rpi.s32.f32`.
#[inline]
#[must_use]
pub fn s32_from_f32_up(a: u32) -> u32 {
    s32_from_f32_zero(integral_up(a))
}

/// `cvt.rni.f32.f32`. From 2^23 on every number is integral; below, adding 2^23 of the same sign rounds.
#[inline]
#[must_use]
pub fn integral_nearest(a: u32) -> u32 {
    const FIRST_INTEGRAL: u32 = (127 + 23) << 23;
    let x = Single::from_bits(a & 0x7FFF_FFFF);
    let rounded = (x + Single::from_bits(FIRST_INTEGRAL)) - Single::from_bits(FIRST_INTEGRAL);
    let small = rounded.to_bits() | (a & 0x8000_0000);
    let kept = if single::is_nan(a) { single::NAN } else { a };
    if a & 0x7FFF_FFFF < FIRST_INTEGRAL { small } else { kept }
}

/// `cvt.rmi.f32.f32`.
#[inline]
#[must_use]
pub fn integral_down(a: u32) -> u32 {
    step(a, |near, x| if near > x { -1.0 } else { 0.0 })
}

/// `cvt.rpi.f32.f32`.
#[inline]
#[must_use]
pub fn integral_up(a: u32) -> u32 {
    step(a, |near, x| if near < x { 1.0 } else { 0.0 })
}

/// `cvt.rzi.f32.f32`.
#[inline]
#[must_use]
pub fn integral_zero(a: u32) -> u32 {
    integral_down(a & 0x7FFF_FFFF) & 0x7FFF_FFFF | if single::is_nan(a) { 0 } else { a & 0x8000_0000 }
}

#[inline]
fn step(a: u32, correction: impl Fn(Single, Single) -> Single) -> u32 {
    let near = integral_nearest(a);
    let moved = Single::from_bits(near) + correction(Single::from_bits(near), Single::from_bits(a));
    // A result of zero keeps the operand's sign; NaN stays the canonical one.
    if single::is_nan(a) { single::NAN } else { moved.to_bits() & 0x7FFF_FFFF | a & 0x8000_0000 }
}

/// `cvt.rn.f16x2.f32 d, high, low`.
#[inline]
#[must_use]
pub fn f16x2_from_f32(high: u32, low: u32) -> u32 {
    u32::from(f16::narrow(Single::from_bits(high))) << 16 | u32::from(f16::narrow(Single::from_bits(low)))
}

/// `cvt.rn.bf16x2.f32 d, high, low`.
#[inline]
#[must_use]
pub fn bf16x2_from_f32(high: u32, low: u32) -> u32 {
    u32::from(bf16::narrow(Single::from_bits(high))) << 16 | u32::from(bf16::narrow(Single::from_bits(low)))
}

/// `cvt.rn.f16.f32`.
#[inline]
#[must_use]
pub fn f16_from_f32(a: u32) -> u16 {
    f16::narrow(Single::from_bits(a))
}

/// `cvt.rn.bf16.f32`.
#[inline]
#[must_use]
pub fn bf16_from_f32(a: u32) -> u16 {
    bf16::narrow(Single::from_bits(a))
}

/// `cvt.f32.f16`.
#[inline]
#[must_use]
pub fn f32_from_f16(a: u16) -> u32 {
    f16::to_f32(a)
}

/// `cvt.f32.bf16`.
#[inline]
#[must_use]
pub fn f32_from_bf16(a: u16) -> u32 {
    bf16::to_f32(a)
}

//! Mixed precision (sm_100): f32 results from f16 or bf16 operands, which are widened exactly, with one rounding.

use super::mode::Mode;
use super::{bf16, f16, f32};

/// `add.f32.f16 d, a, c`.
#[inline]
#[must_use]
pub fn add_f16(a: u16, c: u32, mode: Mode) -> u32 {
    f32::add_mode(f16::to_f32(a), c, mode)
}

/// `sub.f32.f16 d, a, c`: a - c.
#[inline]
#[must_use]
pub fn sub_f16(a: u16, c: u32, mode: Mode) -> u32 {
    f32::sub_mode(f16::to_f32(a), c, mode)
}

/// `fma.f32.f16 d, a, b, c`.
#[inline]
#[must_use]
pub fn fma_f16(a: u16, b: u16, c: u32, mode: Mode) -> u32 {
    f32::fma_mode(f16::to_f32(a), f16::to_f32(b), c, mode)
}

/// `add.f32.bf16 d, a, c`.
#[inline]
#[must_use]
pub fn add_bf16(a: u16, c: u32, mode: Mode) -> u32 {
    f32::add_mode(bf16::to_f32(a), c, mode)
}

/// `sub.f32.bf16 d, a, c`: a - c.
#[inline]
#[must_use]
pub fn sub_bf16(a: u16, c: u32, mode: Mode) -> u32 {
    f32::sub_mode(bf16::to_f32(a), c, mode)
}

/// `fma.f32.bf16 d, a, b, c`.
#[inline]
#[must_use]
pub fn fma_bf16(a: u16, b: u16, c: u32, mode: Mode) -> u32 {
    f32::fma_mode(bf16::to_f32(a), bf16::to_f32(b), c, mode)
}

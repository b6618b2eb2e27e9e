//! Pairs of 16-bit integers in one register (`.u16x2`, `.s16x2`, sm_90), each half by itself.

use super::b16;
use crate::num::packed::map2;

/// `add.u16x2`, `add.s16x2`.
#[inline]
#[must_use]
pub fn add(a: u32, b: u32) -> u32 {
    map2(b16::add, a, b)
}

/// `min.u16x2`.
#[inline]
#[must_use]
pub fn min_u(a: u32, b: u32) -> u32 {
    map2(b16::min_u, a, b)
}

/// `max.u16x2`.
#[inline]
#[must_use]
pub fn max_u(a: u32, b: u32) -> u32 {
    map2(b16::max_u, a, b)
}

/// `min.s16x2`.
#[inline]
#[must_use]
pub fn min_s(a: u32, b: u32) -> u32 {
    map2(b16::min_s, a, b)
}

/// `max.s16x2`.
#[inline]
#[must_use]
pub fn max_s(a: u32, b: u32) -> u32 {
    map2(b16::max_s, a, b)
}

/// `min.relu.s16x2`.
#[inline]
#[must_use]
pub fn min_relu_s(a: u32, b: u32) -> u32 {
    map2(|x, y| b16::relu(b16::min_s(x, y)), a, b)
}

/// `max.relu.s16x2`.
#[inline]
#[must_use]
pub fn max_relu_s(a: u32, b: u32) -> u32 {
    map2(|x, y| b16::relu(b16::max_s(x, y)), a, b)
}

//! `dp4a` and `dp2a`: short dot products of packed bytes, added to 32 bits, wrapping.

/// `dp4a`: four bytes of `a` times four bytes of `b`, plus `c`. Each operand has its own signedness.
#[inline]
#[must_use]
pub const fn dp4a(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool) -> u32 {
    let mut sum = c;
    let mut i = 0;
    while i < 4 {
        let product = byte(a, i, a_signed).wrapping_mul(byte(b, i, b_signed));
        sum = sum.wrapping_add(product as u32);
        i += 1;
    }
    sum
}

/// `dp2a`: two halves of `a` times two bytes of `b` (bytes 2 and 3 if `high`), plus `c`.
#[inline]
#[must_use]
pub const fn dp2a(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool, high: bool) -> u32 {
    let first = if high { 2 } else { 0 };
    let low = half(a, 0, a_signed).wrapping_mul(byte(b, first, b_signed));
    let top = half(a, 1, a_signed).wrapping_mul(byte(b, first + 1, b_signed));
    c.wrapping_add(low as u32).wrapping_add(top as u32)
}

#[inline]
const fn byte(a: u32, index: u32, signed: bool) -> i32 {
    let byte = (a >> (8 * index)) as u8;
    if signed { byte as i8 as i32 } else { byte as i32 }
}

#[inline]
const fn half(a: u32, index: u32, signed: bool) -> i32 {
    let half = (a >> (16 * index)) as u16;
    if signed { half as i16 as i32 } else { half as i32 }
}

//! Packed registers: two 16-bit elements in 32 bits, two f32 in 64 bits. The low half is element 0.

/// The high and the low half of a 32-bit register.
#[inline]
#[must_use]
pub const fn split(a: u32) -> (u16, u16) {
    ((a >> 16) as u16, a as u16)
}

/// A 32-bit register from its halves.
#[inline]
#[must_use]
pub const fn join(high: u16, low: u16) -> u32 {
    (high as u32) << 16 | low as u32
}

/// One operand, each half by itself: `abs.f16x2` and the like.
#[inline]
pub fn map1(f: impl Fn(u16) -> u16, a: u32) -> u32 {
    join(f((a >> 16) as u16), f(a as u16))
}

/// Two operands, each half by itself: `add.f16x2` and the like.
#[inline]
pub fn map2(f: impl Fn(u16, u16) -> u16, a: u32, b: u32) -> u32 {
    join(f((a >> 16) as u16, (b >> 16) as u16), f(a as u16, b as u16))
}

/// Three operands, each half by itself: `fma.f16x2` and the like.
#[inline]
pub fn map3(f: impl Fn(u16, u16, u16) -> u16, a: u32, b: u32, c: u32) -> u32 {
    join(f((a >> 16) as u16, (b >> 16) as u16, (c >> 16) as u16), f(a as u16, b as u16, c as u16))
}

/// A comparison of each half: element 0 first, as `setp.f16x2 p|q` wants them.
#[inline]
pub fn compare2(f: impl Fn(u16, u16) -> bool, a: u32, b: u32) -> (bool, bool) {
    (f(a as u16, b as u16), f((a >> 16) as u16, (b >> 16) as u16))
}

/// Two operands of two f32 each: `add.f32x2` and the like.
#[inline]
pub fn wide2(f: impl Fn(u32, u32) -> u32, a: u64, b: u64) -> u64 {
    u64::from(f((a >> 32) as u32, (b >> 32) as u32)) << 32 | u64::from(f(a as u32, b as u32))
}

/// Three operands of two f32 each: `fma.f32x2`.
#[inline]
pub fn wide3(f: impl Fn(u32, u32, u32) -> u32, a: u64, b: u64, c: u64) -> u64 {
    let high = f((a >> 32) as u32, (b >> 32) as u32, (c >> 32) as u32);
    u64::from(high) << 32 | u64::from(f(a as u32, b as u32, c as u32))
}

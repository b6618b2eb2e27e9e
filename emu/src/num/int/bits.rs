//! Operations that exist for 32 bits only: 24-bit products, funnel shifts, masks, `lop3`, `fns`.

use super::b32;

/// What an amount of 32 or more does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overrun {
    /// `.clamp`: counts as 32.
    Clamp,
    /// `.wrap`: counts modulo 32.
    Wrap,
}

const fn low24_u(a: u32) -> u64 {
    (a & 0xFF_FFFF) as u64
}

const fn low24_s(a: u32) -> i64 {
    ((a << 8) as i32 >> 8) as i64
}

/// `mul24.lo.u32`: the low 32 bits of the product of the operands' low 24 bits.
#[inline]
#[must_use]
pub const fn mul24_lo_u(a: u32, b: u32) -> u32 {
    (low24_u(a) * low24_u(b)) as u32
}

/// `mul24.lo.s32`: the operands' low 24 bits are signed.
#[inline]
#[must_use]
pub const fn mul24_lo_s(a: u32, b: u32) -> u32 {
    (low24_s(a) * low24_s(b)) as u32
}

/// `mul24.hi.u32`: bits 47 to 16 of the product.
#[inline]
#[must_use]
pub const fn mul24_hi_u(a: u32, b: u32) -> u32 {
    ((low24_u(a) * low24_u(b)) >> 16) as u32
}

/// `mul24.hi.s32`: bits 47 to 16 of the product.
#[inline]
#[must_use]
pub const fn mul24_hi_s(a: u32, b: u32) -> u32 {
    ((low24_s(a) * low24_s(b)) >> 16) as u32
}

/// `mad24.hi.sat.s32`: the sum saturates.
#[inline]
#[must_use]
pub const fn mad24_hi_sat_s(a: u32, b: u32, c: u32) -> u32 {
    b32::add_sat_s(mul24_hi_s(a, b), c)
}

/// `shf.l`: the high word of {b:a} shifted left.
#[inline]
#[must_use]
pub const fn shf_l(a: u32, b: u32, amount: u32, overrun: Overrun) -> u32 {
    let pair = (b as u64) << 32 | a as u64;
    ((pair << effective(amount, overrun)) >> 32) as u32
}

/// `shf.r`: the low word of {b:a} shifted right.
#[inline]
#[must_use]
pub const fn shf_r(a: u32, b: u32, amount: u32, overrun: Overrun) -> u32 {
    let pair = (b as u64) << 32 | a as u64;
    (pair >> effective(amount, overrun)) as u32
}

#[inline]
const fn effective(amount: u32, overrun: Overrun) -> u32 {
    match overrun {
        Overrun::Wrap => amount & 31,
        Overrun::Clamp if amount > 32 => 32,
        Overrun::Clamp => amount,
    }
}

/// `bmsk`: `b` ones from bit `a` upwards.
#[inline]
#[must_use]
pub const fn bmsk(a: u32, b: u32, overrun: Overrun) -> u32 {
    let (start, count) = match overrun {
        Overrun::Wrap => (a & 31, b & 31),
        Overrun::Clamp => (if a > 32 { 32 } else { a }, if b > 32 { 32 } else { b }),
    };
    let ones = (1u64 << count) - 1;
    (ones << start) as u32
}

/// `szext.u32`: the low `b` bits of `a`; all of it from 32 on with `.clamp`.
#[inline]
#[must_use]
pub const fn szext_u(a: u32, b: u32, overrun: Overrun) -> u32 {
    let kept = effective(b, overrun);
    (a as u64 & ((1 << kept) - 1)) as u32
}

/// `szext.s32`: the low `b` bits of `a`, sign-extended; no bits give 0.
#[inline]
#[must_use]
pub const fn szext_s(a: u32, b: u32, overrun: Overrun) -> u32 {
    let kept = effective(b, overrun);
    if kept == 0 {
        return 0;
    }
    (((a << (32 - kept)) as i32) >> (32 - kept)) as u32
}

/// `fns`: the position of the `offset`-th one of `mask` from `base`, upwards if positive, downwards if negative; for
/// offset 0 the base itself if its bit is set. All ones if there is none.
#[must_use]
pub const fn fns(mask: u32, base: u32, offset: i32) -> u32 {
    if base > 31 {
        return u32::MAX;
    }
    if offset == 0 {
        return if mask >> base & 1 == 1 { base } else { u32::MAX };
    }
    let mut wanted = offset.unsigned_abs();
    let mut position = base as i32;
    while position >= 0 && position < 32 {
        wanted -= mask >> position & 1;
        if wanted == 0 {
            return position as u32;
        }
        position += offset.signum();
    }
    u32::MAX
}

/// `lop3`: bit `a * 4 + b * 2 + c` of the table, for each bit of the operands.
#[inline]
#[must_use]
pub const fn lop3(a: u32, b: u32, c: u32, table: u8) -> u32 {
    // The function as an exclusive or of products of inputs (its Reed-Muller form): no branch, no loop over bits.
    let t = table ^ ((table & 0x55) << 1);
    let t = t ^ ((t & 0x33) << 2);
    let t = t ^ ((t & 0x0F) << 4);
    on(t, 0)
        ^ on(t, 1) & c
        ^ on(t, 2) & b
        ^ on(t, 3) & b & c
        ^ on(t, 4) & a
        ^ on(t, 5) & a & c
        ^ on(t, 6) & a & b
        ^ on(t, 7) & a & b & c
}

/// All ones if `bit` of the coefficients is set.
#[inline]
const fn on(coefficients: u8, bit: u32) -> u32 {
    ((coefficients >> bit & 1) as u32).wrapping_neg()
}

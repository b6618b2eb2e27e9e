//! Arithmetic in any format through exact integers: slow, and right by construction.
//!
//! Serves the directed roundings of f64 and judges the fast paths of the other formats. NaN operands give the
//! format's NaN; callers that keep payloads look for NaN first.

use super::format::{Format, Value};
use super::mode::Rounding;
use super::round::{Exact, round};

/// `a + b`.
#[must_use]
pub fn add(format: &Format, a: u64, b: u64, rounding: Rounding) -> u64 {
    match (format.decode(a), format.decode(b)) {
        (Value::Nan, _) | (_, Value::Nan) => format.nan,
        (Value::Infinity(x), Value::Infinity(y)) if x != y => format.nan,
        (Value::Infinity(sign), _) | (_, Value::Infinity(sign)) => format.with_sign(sign, format.infinity()),
        (Value::Finite(x), Value::Finite(y)) => round(sum(x, y, rounding), format, rounding, false),
    }
}

/// `a * b`.
#[must_use]
pub fn mul(format: &Format, a: u64, b: u64, rounding: Rounding) -> u64 {
    match product(format.decode(a), format.decode(b)) {
        Value::Nan => format.nan,
        Value::Infinity(sign) => format.with_sign(sign, format.infinity()),
        Value::Finite(x) => round(x, format, rounding, false),
    }
}

/// `a * b + c`, rounded once.
#[must_use]
pub fn fma(format: &Format, a: u64, b: u64, c: u64, rounding: Rounding) -> u64 {
    match (product(format.decode(a), format.decode(b)), format.decode(c)) {
        (Value::Nan, _) | (_, Value::Nan) => format.nan,
        (Value::Infinity(x), Value::Infinity(y)) if x != y => format.nan,
        (Value::Infinity(sign), _) | (_, Value::Infinity(sign)) => format.with_sign(sign, format.infinity()),
        (Value::Finite(x), Value::Finite(y)) => round(sum(x, y, rounding), format, rounding, false),
    }
}

/// `a / b`.
#[must_use]
pub fn div(format: &Format, a: u64, b: u64, rounding: Rounding) -> u64 {
    let negative = (a ^ b) & format.sign_bit() != 0;
    match (format.decode(a), format.decode(b)) {
        (Value::Nan, _) | (_, Value::Nan) | (Value::Infinity(_), Value::Infinity(_)) => format.nan,
        (Value::Infinity(_), _) => format.with_sign(negative, format.infinity()),
        (_, Value::Infinity(_)) => format.with_sign(negative, 0),
        (Value::Finite(x), Value::Finite(y)) => match (x.is_zero(), y.is_zero()) {
            (true, true) => format.nan,
            (true, false) => format.with_sign(negative, 0),
            (false, true) => format.with_sign(negative, format.infinity()),
            (false, false) => round(quotient(x, y), format, rounding, false),
        },
    }
}

/// The square root of `a`; minus zero gives minus zero.
#[must_use]
pub fn sqrt(format: &Format, a: u64, rounding: Rounding) -> u64 {
    match format.decode(a) {
        Value::Nan | Value::Infinity(true) => format.nan,
        Value::Infinity(false) => format.infinity(),
        Value::Finite(x) if x.is_zero() => format.with_sign(x.negative, 0),
        Value::Finite(x) if x.negative => format.nan,
        Value::Finite(x) => round(root(x), format, rounding, false),
    }
}

fn product(a: Value, b: Value) -> Value {
    match (a, b) {
        (Value::Nan, _) | (_, Value::Nan) => Value::Nan,
        (Value::Infinity(x), Value::Infinity(y)) => Value::Infinity(x != y),
        (Value::Infinity(sign), Value::Finite(x)) | (Value::Finite(x), Value::Infinity(sign)) => {
            if x.is_zero() { Value::Nan } else { Value::Infinity(sign != x.negative) }
        }
        // Two significands of at most 53 bits fit 106.
        (Value::Finite(x), Value::Finite(y)) => Value::Finite(Exact {
            negative: x.negative != y.negative,
            significand: x.significand * y.significand,
            exponent: x.exponent + y.exponent,
            sticky: false,
        }),
    }
}

/// The sum of two values of at most 106 bits each, exact or with a sticky tail far below any last place.
///
/// The larger is moved up to bit 125. If the smaller then loses bits, its top is more than 15 bits lower, so
/// at most one leading bit can cancel and over 120 bits of the difference are known.
fn sum(a: Exact, b: Exact, rounding: Rounding) -> Exact {
    if a.is_zero() && b.is_zero() {
        let negative = if a.negative == b.negative { a.negative } else { rounding == Rounding::Down };
        return Exact::zero(negative);
    }
    if a.is_zero() {
        return b;
    }
    if b.is_zero() {
        return a;
    }
    let top = |x: &Exact| x.exponent - x.significand.leading_zeros() as i32;
    let (large, small) = if top(&a) >= top(&b) { (a, b) } else { (b, a) };
    let up = large.significand.leading_zeros() - 2;
    let exponent = large.exponent - up as i32;
    let high = large.significand << up;
    let down = exponent - small.exponent;
    let (low, sticky) = if down <= 0 {
        (small.significand << down.unsigned_abs(), false)
    } else if down >= 128 {
        (0, true)
    } else {
        (small.significand >> down, small.significand & ((1 << down) - 1) != 0)
    };
    if large.negative == small.negative {
        return Exact { negative: large.negative, significand: high + low, exponent, sticky };
    }
    if high == low && !sticky {
        return Exact::zero(rounding == Rounding::Down);
    }
    if high >= low {
        // A tail of the smaller borrows one unit and leaves another tail.
        let significand = high - low - u128::from(sticky);
        return Exact { negative: large.negative, significand, exponent, sticky };
    }
    Exact { negative: small.negative, significand: low - high, exponent, sticky }
}

fn quotient(a: Exact, b: Exact) -> Exact {
    let up = a.significand.leading_zeros();
    let dividend = a.significand << up;
    Exact {
        negative: a.negative != b.negative,
        significand: dividend / b.significand,
        exponent: a.exponent - up as i32 - b.exponent,
        sticky: !dividend.is_multiple_of(b.significand),
    }
}

fn root(a: Exact) -> Exact {
    let mut up = a.significand.leading_zeros();
    if (a.exponent - up as i32) % 2 != 0 {
        up -= 1;
    }
    let radicand = a.significand << up;
    let significand = radicand.isqrt();
    let exponent = (a.exponent - up as i32) / 2;
    Exact { negative: false, significand, exponent, sticky: significand * significand != radicand }
}

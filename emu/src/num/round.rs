//! The rounding core: an exact value in, a code of any format out.

use super::format::{Format, Specials};
use super::mode::{IntRounding, Rounding};
use std::cmp::Ordering;

/// (-1)^negative * significand * 2^exponent, plus a tail below the last bit of the significand if `sticky`.
///
/// The tail lies strictly between 0 and one unit of the significand. It may only be set when the significand
/// reaches at least two bits below the last place of the format it is rounded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exact {
    /// The sign, of zero too.
    pub negative: bool,
    /// The known bits.
    pub significand: u128,
    /// The weight of the significand's lowest bit, as a power of two.
    pub exponent: i32,
    /// Something nonzero follows below.
    pub sticky: bool,
}

impl Exact {
    /// Zero of the given sign.
    #[must_use]
    pub const fn zero(negative: bool) -> Exact {
        Exact { negative, significand: 0, exponent: 0, sticky: false }
    }

    /// An integer, exactly.
    #[must_use]
    pub const fn integer(negative: bool, magnitude: u64) -> Exact {
        Exact { negative, significand: magnitude as u128, exponent: 0, sticky: false }
    }

    /// Exactly zero.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.significand == 0 && !self.sticky
    }

    /// Floor of log2 of the magnitude; meaningless for zero.
    const fn log2(&self) -> i32 {
        self.exponent + 127 - self.significand.leading_zeros() as i32
    }

    /// Splits at 2^`quantum`: whole units, and how the rest compares with half a unit and with nothing.
    fn split(&self, quantum: i32) -> (u128, Rest) {
        let shift = quantum - self.exponent;
        if shift <= 0 {
            let units = self.significand.checked_shl(shift.unsigned_abs()).unwrap_or(0);
            return (units, Rest { half: Ordering::Less, exact: !self.sticky });
        }
        let Some(units) = self.significand.checked_shr(shift as u32) else {
            let exact = self.is_zero();
            // At 128 the half is the top bit; above, everything lies below the half.
            let half = if shift == 128 { self.compare_rest(self.significand, 127) } else { Ordering::Less };
            return (0, Rest { half, exact });
        };
        let rest = self.significand & ((1 << shift) - 1);
        (units, Rest { half: self.compare_rest(rest, shift as u32 - 1), exact: rest == 0 && !self.sticky })
    }

    fn compare_rest(&self, rest: u128, half_bit: u32) -> Ordering {
        let tail = if self.sticky { Ordering::Greater } else { Ordering::Equal };
        rest.cmp(&(1 << half_bit)).then(tail)
    }
}

struct Rest {
    half: Ordering,
    exact: bool,
}

impl Rest {
    /// Whether the magnitude goes up to the next unit.
    fn rounds_up(&self, rounding: Rounding, negative: bool, odd: bool) -> bool {
        match rounding {
            Rounding::Nearest => self.half == Ordering::Greater || (self.half == Ordering::Equal && odd),
            Rounding::NearestAway => self.half != Ordering::Less,
            Rounding::Zero => false,
            Rounding::Down => negative && !self.exact,
            Rounding::Up => !negative && !self.exact,
        }
    }
}

/// Rounds to a code of `format`. A magnitude beyond the largest number gives infinity or the largest number as
/// the direction says, the largest number always if `saturate` (`.satfinite`) or the format knows no infinity.
#[must_use]
pub fn round(value: Exact, format: &Format, rounding: Rounding, saturate: bool) -> u64 {
    if value.is_zero() {
        return format.with_sign(value.negative, 0);
    }
    let quantum = quantum(&value, format);
    let (units, rest) = value.split(quantum);
    let up = rest.rounds_up(rounding, value.negative, units & 1 == 1);
    let code = encode(units + u128::from(up), quantum, format);
    format.with_sign(value.negative, limit(code, format, rounding, value.negative, saturate))
}

/// Rounds by chance (`.rs`): adds `random`, a number of `random_bits` bits aligned to just below the result's last
/// place, to the discarded bits; a carry moves the magnitude up. Discarded bits below the random ones are dropped.
#[must_use]
pub fn round_stochastic(value: Exact, format: &Format, random: u32, random_bits: u32, saturate: bool) -> u64 {
    if value.is_zero() {
        return format.with_sign(value.negative, 0);
    }
    let quantum = quantum(&value, format);
    let (fine, _) = value.split(quantum - random_bits as i32);
    let units = (fine + u128::from(random) % (1 << random_bits)) >> random_bits;
    let code = encode(units, quantum, format);
    format.with_sign(value.negative, limit(code, format, Rounding::Nearest, value.negative, saturate))
}

/// Rounds to an integer magnitude, which saturates at `u128::MAX`.
#[must_use]
pub fn round_to_integer(value: Exact, rounding: IntRounding) -> u128 {
    if value.exponent > 0 && value.significand.leading_zeros() < value.exponent.unsigned_abs() {
        return if value.significand == 0 { 0 } else { u128::MAX };
    }
    let (units, rest) = value.split(0);
    units + u128::from(rest.rounds_up(rounding.rounding(), value.negative, units & 1 == 1))
}

/// The weight of the last place that the format keeps at the size of `value`.
fn quantum(value: &Exact, format: &Format) -> i32 {
    value.log2().max(1 - format.bias) - format.mantissa_bits as i32
}

/// The magnitude code of units * 2^quantum, unlimited above; `units` has at most one bit more than the format.
fn encode(units: u128, quantum: i32, format: &Format) -> u64 {
    let implicit = 1u128 << format.mantissa_bits;
    if units < implicit {
        return units as u64;
    }
    let field = (quantum + format.mantissa_bits as i32 + format.bias) as u128;
    ((field << format.mantissa_bits) + (units - implicit)) as u64
}

fn limit(code: u64, format: &Format, rounding: Rounding, negative: bool, saturate: bool) -> u64 {
    if code <= format.max_finite {
        return code;
    }
    let inward = match rounding {
        Rounding::Nearest | Rounding::NearestAway => false,
        Rounding::Zero => true,
        Rounding::Down => !negative,
        Rounding::Up => negative,
    };
    if saturate || inward || format.specials != Specials::Ieee {
        format.max_finite
    } else {
        format.infinity()
    }
}

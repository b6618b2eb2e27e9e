//! Rounding by search: which code of a format is right for an exact value is found by comparing the value with the
//! codes and with the midpoints between them, in wide fixed-point integers. Nothing of the code under test is used.

use crate::num::Rounding;
use std::cmp::Ordering;

const WORDS: usize = 24;
/// Fixed-point numbers count units of 2^-SCALE.
const SCALE: i32 = 700;

/// A two's complement number of 1536 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fixed([u64; WORDS]);

impl Fixed {
    /// significand * 2^exponent, which must be representable.
    pub(super) fn new(significand: u128, exponent: i32) -> Fixed {
        let shift = u32::try_from(exponent + SCALE).unwrap();
        let (word, bit) = ((shift / 64) as usize, shift % 64);
        let (low, high) = (significand as u64, (significand >> 64) as u64);
        let mut words = [0; WORDS];
        for (offset, part) in [low, high].into_iter().enumerate() {
            let wide = u128::from(part) << bit;
            words[word + offset] |= wide as u64;
            words[word + offset + 1] |= (wide >> 64) as u64;
        }
        Fixed(words)
    }

    pub(super) fn signed(negative: bool, significand: u128, exponent: i32) -> Fixed {
        let magnitude = Fixed::new(significand, exponent);
        if negative { magnitude.neg() } else { magnitude }
    }

    pub(super) fn add(mut self, other: Fixed) -> Fixed {
        let mut carry = false;
        for (a, b) in self.0.iter_mut().zip(other.0) {
            let (sum, first) = a.overflowing_add(b);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*a, carry) = (sum, first | second);
        }
        self
    }

    pub(super) fn neg(self) -> Fixed {
        Fixed(self.0.map(|word| !word)).add(Fixed({
            let mut one = [0; WORDS];
            one[0] = 1;
            one
        }))
    }

    pub(super) fn is_negative(&self) -> bool {
        self.0[WORDS - 1] >> 63 == 1
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0 == [0; WORDS]
    }

    pub(super) fn magnitude(self) -> Fixed {
        if self.is_negative() { self.neg() } else { self }
    }

    /// For numbers that are not negative.
    pub(super) fn order(&self, other: &Fixed) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

/// An IEEE-like format by its field widths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) exponent_bits: u32,
    pub(super) mantissa_bits: u32,
}

pub(super) const F16: Layout = Layout { exponent_bits: 5, mantissa_bits: 10 };
pub(super) const BF16: Layout = Layout { exponent_bits: 8, mantissa_bits: 7 };
pub(super) const F32: Layout = Layout { exponent_bits: 8, mantissa_bits: 23 };
pub(super) const F64: Layout = Layout { exponent_bits: 11, mantissa_bits: 52 };

/// Every direction.
pub(super) const ROUNDINGS: [Rounding; 5] =
    [Rounding::Nearest, Rounding::NearestAway, Rounding::Zero, Rounding::Down, Rounding::Up];

impl Layout {
    pub(super) fn infinity(self) -> u64 {
        ((1 << self.exponent_bits) - 1) << self.mantissa_bits
    }

    pub(super) fn sign(self) -> u64 {
        1 << (self.exponent_bits + self.mantissa_bits)
    }

    pub(super) fn is_finite(self, bits: u64) -> bool {
        bits & (self.sign() - 1) < self.infinity()
    }

    pub(super) fn is_nan(self, bits: u64) -> bool {
        bits & (self.sign() - 1) > self.infinity()
    }

    pub(super) fn is_negative(self, bits: u64) -> bool {
        bits & self.sign() != 0
    }

    /// Significand and exponent of a magnitude code; that of infinity counts as the power of two it would be.
    pub(super) fn parts(self, bits: u64) -> (u128, i32) {
        let code = bits & (self.sign() - 1);
        let lowest = 2 - (1 << (self.exponent_bits - 1)) - self.mantissa_bits as i32;
        let (field, mantissa) = (code >> self.mantissa_bits, code & ((1 << self.mantissa_bits) - 1));
        match field {
            0 => (u128::from(mantissa), lowest),
            _ => (u128::from(mantissa | 1 << self.mantissa_bits), lowest + field as i32 - 1),
        }
    }

    pub(super) fn value(self, bits: u64) -> Fixed {
        let (significand, exponent) = self.parts(bits);
        Fixed::signed(self.is_negative(bits), significand, exponent)
    }

    /// The right code for a nonzero magnitude that `compare` knows: it says how significand * 2^exponent compares
    /// with it. Results of f64 lie within 2^+-`reach`.
    pub(super) fn search(
        self,
        negative: bool,
        rounding: Rounding,
        reach: u64,
        compare: impl Fn(u128, i32) -> Ordering,
    ) -> u64 {
        let at = |code: u64| {
            let (significand, exponent) = self.parts(code);
            compare(significand, exponent)
        };
        // The largest code that is not above the value. Codes of f64 beyond what fixed point holds are left out.
        let (mut low, mut high) = match self.exponent_bits {
            11 => ((1023 - reach) << 52, (1023 + reach) << 52),
            _ => (0, self.infinity()),
        };
        while low < high {
            let middle = (low + high).div_ceil(2);
            if at(middle) == Ordering::Greater { high = middle - 1 } else { low = middle }
        }
        let sign = if negative { self.sign() } else { 0 };
        if at(low) == Ordering::Equal && low < self.infinity() {
            return sign | low;
        }
        let (significand, exponent) = self.parts(low);
        // From 2^emax on there is no code above; every direction but the outward ones has decided by then.
        let middle =
            if low == self.infinity() { Ordering::Less } else { compare(2 * significand + 1, exponent - 1) };
        let above = (low + 1).min(self.infinity());
        let below = low.min(self.infinity() - 1);
        sign | match (rounding, middle) {
            (Rounding::Zero, _) => below,
            (Rounding::Down, _) => {
                if negative {
                    above
                } else {
                    below
                }
            }
            (Rounding::Up, _) => {
                if negative {
                    below
                } else {
                    above
                }
            }
            (_, Ordering::Less) => above,
            (_, Ordering::Greater) => low,
            (Rounding::Nearest, Ordering::Equal) => low + (low & 1),
            (Rounding::NearestAway, Ordering::Equal) => above,
        }
    }

    /// The right code for an exact value that is not zero.
    pub(super) fn round(self, exact: Fixed, rounding: Rounding) -> u64 {
        let size = exact.magnitude();
        self.search(exact.is_negative(), rounding, 330, |s, e| Fixed::new(s, e).order(&size))
    }

    /// The sum of two exact values of which the signs of zeros are known.
    pub(super) fn sum(self, a: (bool, Fixed), b: (bool, Fixed), rounding: Rounding) -> u64 {
        let exact = a.1.add(b.1);
        if !exact.is_zero() {
            return self.round(exact, rounding);
        }
        let negative = if a.0 == b.0 { a.0 } else { rounding == Rounding::Down };
        if negative { self.sign() } else { 0 }
    }

    /// a + b of finite operands.
    pub(super) fn add(self, a: u64, b: u64, rounding: Rounding) -> u64 {
        let operand = |x: u64| (self.is_negative(x), self.value(x));
        self.sum(operand(a), operand(b), rounding)
    }

    fn product(self, a: u64, b: u64) -> (bool, Fixed) {
        let ((s, e), (t, f)) = (self.parts(a), self.parts(b));
        let negative = self.is_negative(a) != self.is_negative(b);
        (negative, Fixed::signed(negative, s * t, e + f))
    }

    /// a * b of finite operands.
    pub(super) fn mul(self, a: u64, b: u64, rounding: Rounding) -> u64 {
        let (negative, exact) = self.product(a, b);
        match exact.is_zero() {
            true => {
                if negative {
                    self.sign()
                } else {
                    0
                }
            }
            false => self.round(exact, rounding),
        }
    }

    /// a * b + c of finite operands.
    pub(super) fn fma(self, a: u64, b: u64, c: u64, rounding: Rounding) -> u64 {
        self.sum(self.product(a, b), (self.is_negative(c), self.value(c)), rounding)
    }

    /// a / b of finite operands that are not zero: a code times |b| is compared with |a|.
    pub(super) fn div(self, a: u64, b: u64, rounding: Rounding) -> u64 {
        let size = self.value(a).magnitude();
        let (t, f) = self.parts(b);
        let negative = self.is_negative(a) != self.is_negative(b);
        self.search(negative, rounding, 330, |s, e| Fixed::new(s * t, e + f).order(&size))
    }

    /// The root of a positive number: the square of a code is compared with it.
    pub(super) fn sqrt(self, a: u64, rounding: Rounding) -> u64 {
        let size = self.value(a);
        self.search(false, rounding, 110, |s, e| Fixed::new(s * s, 2 * e).order(&size))
    }
}

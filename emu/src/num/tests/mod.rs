//! Every function against a definition of its own: wide fixed-point integers for rounding ([`model`]), tables made by
//! brute force, bit loops, and the host's own arithmetic where the code under test does not use it.
#![allow(clippy::unwrap_used)]

mod approximations;
mod atomics;
mod conversions;
mod halves;
mod integers;
mod model;
mod packed_conversions;
mod single;
mod tables;

/// A splitmix64 stream: the same operands on every run.
struct Stream(u64);

impl Stream {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A pattern of a float: often any bits, often of moderate size, sometimes short, subnormal or special.
    fn float(&mut self, exponent_bits: u32, mantissa_bits: u32) -> u64 {
        let width = exponent_bits + mantissa_bits;
        let any = self.next() >> (63 - width);
        let sign = any & (1 << width);
        let mantissa = any & ((1 << mantissa_bits) - 1);
        let bias = (1u64 << (exponent_bits - 1)) - 1;
        match self.below(12) {
            0 | 1 => any,
            2..=5 => sign | (bias - 4 + self.below(8)) << mantissa_bits | mantissa,
            6 => {
                sign | (bias - 8 + self.below(16)) << mantissa_bits
                    | ((1 << mantissa_bits) - 1 - (mantissa & 3))
            }
            7 => sign | (bias - 4 + self.below(8)) << mantissa_bits | mantissa & 3,
            8 => sign | mantissa,
            9 => sign | (self.below(3) << mantissa_bits) | mantissa & 1,
            10 => sign | ((1 << exponent_bits) - 2) << mantissa_bits | mantissa,
            _ => {
                sign | [0, 1, bias << mantissa_bits, ((1 << exponent_bits) - 1) << mantissa_bits]
                    [self.below(4) as usize]
            }
        }
    }
}

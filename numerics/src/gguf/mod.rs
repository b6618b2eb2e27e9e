//! The block formats of GGUF files, one file each.
//!
//! A block holds consecutive values of one row. Every format says in its own file where each bit lies and in
//! which order float32 operations rebuild the value: `d·q + m` is a product rounded to float32 and then a sum,
//! never fused, so that decoding is bit-exact with the format's other readers. The encoders are sound, simple
//! choices of scales; they need not pick the same ones as another program's.

mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q6_k;
mod q8_0;

pub use q4_0::Q4_0;
pub use q4_1::Q4_1;
pub use q4_k::Q4K;
pub use q5_0::Q5_0;
pub use q5_1::Q5_1;
pub use q6_k::Q6K;
pub use q8_0::Q8_0;

use crate::DType;
use half::f16;

/// A block format: fixed numbers of values and bytes, and the two directions.
pub trait BlockFormat {
    /// The type whose blocks these are.
    const DTYPE: DType;
    /// Values in a block.
    const LEN: usize = Self::DTYPE.block_len();
    /// Bytes in a block.
    const BYTES: usize = Self::DTYPE.block_bytes();
    /// Where the f16 scales and minima lie in a block.
    const HALVES: &'static [usize];

    /// The `LEN` values of `block`. Panics where the slices are shorter than `BYTES` and `LEN`.
    fn decode(block: &[u8], out: &mut [f32]);

    /// The block nearest to `LEN` finite values. Panics where the slices are shorter than `LEN` and `BYTES`.
    fn encode(values: &[f32], block: &mut [u8]);
}

/// The f16 at `at`, widened.
pub(crate) fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Stores a scale as f16 at `at` and gives the value that was stored. A scale beyond f16 saturates, since an
/// infinite one would turn the whole block into NaN.
pub(crate) fn put_half(block: &mut [u8], at: usize, scale: f32) -> f32 {
    let limit = f16::MAX.to_f32();
    let stored = f16::from_f32(scale.clamp(-limit, limit));
    block[at..at + 2].copy_from_slice(&stored.to_le_bytes());
    stored.to_f32()
}

/// `1/x`, and 0 for 0: the inverse of the scale of an all-zero block.
pub(crate) fn inverse(x: f32) -> f32 {
    let inv = 1.0 / x;
    if inv.is_finite() { inv } else { 0.0 }
}

/// The nearest code in `0..=max`.
pub(crate) fn code(x: f32, max: u8) -> u8 {
    x.round_ties_even().clamp(0.0, f32::from(max)) as u8
}

/// The value of largest magnitude, with its sign.
pub(crate) fn extreme(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |m: f32, &v| if v.abs() > m.abs() { v } else { m })
}

/// Smallest and largest value.
pub(crate) fn range(values: &[f32]) -> (f32, f32) {
    values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), &v| (lo.min(v), hi.max(v)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What every format must do with an all-zero block and with a block of one repeated value.
    pub(crate) fn holds_constants<F: BlockFormat>(relative: f32) {
        for value in [0.0, 0.75, -3.0, 0.05, 65504.0] {
            let mut block = vec![0xAA; F::BYTES];
            F::encode(&vec![value; F::LEN], &mut block);
            let mut back = vec![f32::NAN; F::LEN];
            F::decode(&block, &mut back);
            for b in back {
                assert!((b - value).abs() <= relative * value.abs(), "{}: {b} for {value}", F::DTYPE);
            }
        }
    }

    /// A value too large for the scale saturates; it never becomes NaN or infinite.
    pub(crate) fn saturates<F: BlockFormat>() {
        let mut values = vec![1.0; F::LEN];
        values[3] = f32::MAX;
        values[5] = f32::MIN;
        let mut block = vec![0; F::BYTES];
        F::encode(&values, &mut block);
        let mut back = vec![0.0; F::LEN];
        F::decode(&block, &mut back);
        assert!(back.iter().all(|b| b.is_finite()), "{}: {back:?}", F::DTYPE);
    }
}

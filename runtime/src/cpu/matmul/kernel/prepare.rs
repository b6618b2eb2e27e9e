//! From rows of float32 activations to the words of a group, the tokens side by side.

use super::super::prepared::{BLOCK, Int8Group, round_bf16};
use crate::cpu::simd::int8::{Int8, Int8Kernel};
use crate::cpu::simd::{Kernel, Simd};

/// Values of a row that are taken before the next row's turn: the words that they make stay in the first cache.
const STRIP: usize = 64;

/// Numbers as they are, or rounded to bfloat16: `[k][MT]`.
pub(in crate::cpu::matmul) struct Interleave<'a, const MT: usize> {
    pub(in crate::cpu::matmul) rows: [&'a [f32]; MT],
    pub(in crate::cpu::matmul) words: &'a mut [f32],
    pub(in crate::cpu::matmul) rounded: bool,
}

impl<const MT: usize> Kernel for Interleave<'_, MT> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        let words = self.words.as_chunks_mut::<MT>().0;
        for (strip, words) in words.chunks_mut(STRIP).enumerate() {
            for (t, row) in self.rows.iter().enumerate() {
                let row = &row[strip * STRIP..];
                if self.rounded {
                    words.iter_mut().zip(row).for_each(|(w, x)| w[t] = round_bf16(*x));
                } else {
                    words.iter_mut().zip(row).for_each(|(w, x)| w[t] = *x);
                }
            }
        }
    }
}

/// Pairs of bfloat16: `[k / 2][MT]`, a zero beside an odd last value.
pub(in crate::cpu::matmul) struct InterleavePairs<'a, const MT: usize> {
    pub(in crate::cpu::matmul) rows: [&'a [f32]; MT],
    pub(in crate::cpu::matmul) words: &'a mut [u32],
}

impl<const MT: usize> Kernel for InterleavePairs<'_, MT> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        let words = self.words.as_chunks_mut::<MT>().0;
        for (strip, words) in words.chunks_mut(STRIP / 2).enumerate() {
            for (t, row) in self.rows.iter().enumerate() {
                let row = &row[strip * STRIP..];
                let mut values = [0.0; STRIP];
                let len = row.len().min(STRIP);
                values[..len].copy_from_slice(&row[..len]);
                let bits = values.map(bf16_bits);
                for (w, pair) in words.iter_mut().zip(bits.as_chunks::<2>().0) {
                    w[t] = pair[0] >> 16 | pair[1];
                }
            }
        }
    }
}

/// The nearest bfloat16 in the upper half, zero below; NaN stays NaN, whichever of its bits are set.
#[inline(always)]
fn bf16_bits(x: f32) -> u32 {
    let bits = round_bf16(x).to_bits();
    if x.is_nan() { (bits | 1 << 22) & 0xffff_0000 } else { bits }
}

/// Bytes with a scale for every 32 values, which brings the largest of them to 127.
pub(in crate::cpu::matmul) struct Quantize<'a, const MT: usize> {
    pub(in crate::cpu::matmul) rows: [&'a [f32]; MT],
    pub(in crate::cpu::matmul) group: Int8Group<&'a mut [u32]>,
}

impl<const MT: usize> Int8Kernel for Quantize<'_, MT> {
    #[inline(always)]
    fn run<S: Int8>(self, s: S) {
        let f = s.float();
        let Self { rows, group } = self;
        let bytes = group.bytes.as_chunks_mut::<MT>().0.as_chunks_mut::<8>().0;
        let scales = group.scale.as_chunks_mut::<MT>().0;
        let scaled_sums = group.scaled_sum.as_chunks_mut::<MT>().0;
        let minus_sums = group.minus_sum.as_chunks_mut::<MT>().0;
        let minus_halves = group.minus_halves.as_chunks_mut::<MT>().0.as_chunks_mut::<2>().0;
        // Zero times every value: zero, or NaN where a value is not finite.
        let mut taint = [f.splat(0.0); MT];
        let outputs = bytes.iter_mut().zip(&mut *scales).zip(scaled_sums).zip(minus_sums).zip(minus_halves);
        for (b, ((((bytes, scales), scaled_sums), minus_sums), minus_halves)) in outputs.enumerate() {
            for t in 0..MT {
                let mut padded = [0.0; BLOCK];
                let x = match rows[t][b * BLOCK..].first_chunk() {
                    Some(x) => x,
                    None => {
                        let rest = &rows[t][b * BLOCK..];
                        padded[..rest.len()].copy_from_slice(rest);
                        &padded
                    }
                };
                let (v, w) = (f.load(&x[..16]), f.load(&x[16..]));
                taint[t] = f.fma(f.add(v, w), f.splat(0.0), taint[t]);
                let magnitude = |v| f.max(v, f.sub(f.splat(0.0), v));
                let most = f.top(f.max(magnitude(v), magnitude(w)));
                let inverse = 127.0 / most;
                // A block of zeros, or of numbers so small that their inverse is infinite, is all zeros.
                let inverse = f.splat(if inverse.is_finite() { inverse } else { 0.0 });
                let (first, last) = (s.narrow(f.mul(v, inverse)), s.narrow(f.mul(w, inverse)));
                let (first_sum, last_sum) = (s.sum_bytes(&first), s.sum_bytes(&last));
                for (j, word) in first.as_chunks::<4>().0.iter().chain(last.as_chunks::<4>().0).enumerate() {
                    bytes[j][t] = u32::from_le_bytes(word.map(i8::cast_unsigned));
                }
                let scale = most * (1.0 / 127.0);
                scales[t] = scale.to_bits();
                scaled_sums[t] = (scale * (first_sum + last_sum) as f32).to_bits();
                minus_sums[t] = (-(first_sum + last_sum)).cast_unsigned();
                minus_halves[0][t] = (-first_sum).cast_unsigned();
                minus_halves[1][t] = (-last_sum).cast_unsigned();
            }
        }
        // What is not finite must not be lost in the rounding: one such scale spoils all outputs of its token.
        for (t, taint) in taint.into_iter().enumerate() {
            if f.sum(taint) != 0.0 {
                scales.iter_mut().for_each(|s| s[t] = f32::NAN.to_bits());
            }
        }
    }
}

//! The fused form.

use super::Signal;
use super::weights::{Packed, TapWeights};
use crate::cpu::act::silu_lanes;
use crate::cpu::conv::roll;
use crate::cpu::mat::Mat;
use crate::cpu::scan::{LANES, registers, store};
use crate::cpu::simd::{Kernel, Simd};

/// The taps of 16 channels and some tokens at a time, made and used.
pub(super) struct Fused<'a> {
    pub(super) tokens: usize,
    pub(super) weights: &'a TapWeights,
    pub(super) h: Mat<'a>,
    pub(super) signal: Signal<'a>,
}

/// How a vector of 16 weights is read.
trait Read: Copy {
    type Stored;
    fn vector<S: Simd>(self, s: S, x: &[Self::Stored; LANES]) -> S::V;
}

#[derive(Clone, Copy)]
struct ReadF32;
impl Read for ReadF32 {
    type Stored = f32;
    #[inline(always)]
    fn vector<S: Simd>(self, s: S, x: &[f32; LANES]) -> S::V {
        s.load(x)
    }
}

#[derive(Clone, Copy)]
struct ReadBf16;
impl Read for ReadBf16 {
    type Stored = u16;
    #[inline(always)]
    fn vector<S: Simd>(self, s: S, x: &[u16; LANES]) -> S::V {
        s.load_bf16(x)
    }
}

#[derive(Clone, Copy)]
struct ReadF16;
impl Read for ReadF16 {
    type Stored = u16;
    #[inline(always)]
    fn vector<S: Simd>(self, s: S, x: &[u16; LANES]) -> S::V {
        s.load_f16(x)
    }
}

impl Kernel for Fused<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        match &self.weights.packed {
            Packed::F32(w) => self.strips(s, ReadF32, w),
            Packed::Bf16(w) => self.strips(s, ReadBf16, w),
            Packed::F16(w) => self.strips(s, ReadF16, w),
        }
        roll(&mut self.signal.state, self.signal.u);
    }
}

impl Fused<'_> {
    #[inline(always)]
    fn strips<S: Simd, R: Read>(&mut self, s: S, read: R, packed: &[R::Stored]) {
        let per_strip = self.weights.hidden * self.weights.taps;
        let vectors = packed.as_chunks::<LANES>().0;
        let first = self.signal.channels.start / LANES;
        for i in 0..self.signal.channels.len().div_ceil(LANES) {
            let strip = &vectors[(first + i) * per_strip..(first + i + 1) * per_strip];
            let bias = &self.weights.bias.as_chunks::<LANES>().0[(first + i) * self.weights.taps..];
            match self.weights.taps {
                4 => self.strip::<S, R, 4>(s, read, i * LANES, strip, bias),
                3 => self.strip::<S, R, 3>(s, read, i * LANES, strip, bias),
                2 => self.strip::<S, R, 2>(s, read, i * LANES, strip, bias),
                _ => self.any_taps(s, read, i * LANES, strip, bias),
            }
        }
    }

    /// 16 channels, `W` taps, all tokens.
    #[inline(always)]
    fn strip<S: Simd, R: Read, const W: usize>(
        &mut self,
        s: S,
        read: R,
        at: usize,
        strip: &[[R::Stored; LANES]],
        bias: &[[f32; LANES]],
    ) {
        let tokens = self.signal.u.rows();
        let mut t = 0;
        while t < tokens {
            // Four tokens of four taps fill sixteen of 32 registers; elsewhere only one token's fit.
            t += if const { registers::<S>() == 1 } {
                match (tokens - t).min(self.tokens) {
                    4.. => self.tile::<S, R, 4, W>(s, read, t, at, strip, bias),
                    2.. => self.tile::<S, R, 2, W>(s, read, t, at, strip, bias),
                    _ => self.tile::<S, R, 1, W>(s, read, t, at, strip, bias),
                }
            } else {
                self.tile::<S, R, 1, W>(s, read, t, at, strip, bias)
            };
        }
    }

    /// The taps of `M` tokens in `M · W` accumulators, then their use.
    #[inline(always)]
    fn tile<S: Simd, R: Read, const M: usize, const W: usize>(
        &mut self,
        s: S,
        read: R,
        t: usize,
        at: usize,
        strip: &[[R::Stored; LANES]],
        bias: &[[f32; LANES]],
    ) -> usize {
        let hidden = self.weights.hidden;
        let mut h: [&[f32]; M] = [&[]; M];
        let mut ker = [[s.splat(0.0); W]; M];
        for i in 0..M {
            h[i] = &self.h.row(t + i)[..hidden];
            for w in 0..W {
                ker[i][w] = s.load(&bias[w]);
            }
        }
        for (r, weights) in strip.as_chunks::<W>().0[..hidden].iter().enumerate() {
            let mut v = [s.splat(0.0); W];
            for w in 0..W {
                v[w] = read.vector(s, &weights[w]);
            }
            for i in 0..M {
                let x = s.splat(h[i][r]);
                for w in 0..W {
                    ker[i][w] = s.fma(x, v[w], ker[i][w]);
                }
            }
        }
        let lanes = LANES.min(self.signal.channels.len() - at);
        for i in 0..M {
            let mut acc = s.splat(0.0);
            for w in 0..W {
                acc = s.fma(ker[i][w], self.signal.tapped(s, W, t + i, w, at, lanes), acc);
            }
            store(s, silu_lanes(s, acc), &mut self.signal.out.row_mut(t + i)[at..at + lanes]);
        }
        M
    }

    /// 16 channels, any number of taps: one tap after the other.
    #[inline(always)]
    fn any_taps<S: Simd, R: Read>(
        &mut self,
        s: S,
        read: R,
        at: usize,
        strip: &[[R::Stored; LANES]],
        bias: &[[f32; LANES]],
    ) {
        let taps = self.weights.taps;
        let lanes = LANES.min(self.signal.channels.len() - at);
        for t in 0..self.signal.u.rows() {
            let mut acc = s.splat(0.0);
            for w in 0..taps {
                let mut ker = s.load(&bias[w]);
                for (weights, h) in strip.chunks_exact(taps).zip(self.h.row(t)) {
                    ker = s.fma(s.splat(*h), read.vector(s, &weights[w]), ker);
                }
                acc = s.fma(ker, self.signal.tapped(s, taps, t, w, at, lanes), acc);
            }
            store(s, silu_lanes(s, acc), &mut self.signal.out.row_mut(t)[at..at + lanes]);
        }
    }
}

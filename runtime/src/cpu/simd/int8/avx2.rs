//! AVX2: two registers of 32 bytes.

#![allow(unsafe_code, reason = "vector instructions, and loads from arrays of the right size")]

use super::{Int8, Int8Kernel};
use crate::cpu::simd::Avx2;
use std::arch::x86_64::*;

/// Proof that the machine has the instructions.
#[derive(Clone, Copy, Debug)]
pub struct Avx2Int8(Avx2);

impl Avx2Int8 {
    /// The proof, if it holds.
    #[inline]
    pub fn new() -> Option<Self> {
        Avx2::new().map(Self)
    }

    /// Runs `kernel` inside a function compiled for these instructions.
    #[inline]
    pub fn vectorize<K: Int8Kernel>(self, kernel: K) {
        // SAFETY: a value of this type exists only where the features were detected.
        unsafe { inside(self, kernel) }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn inside<K: Int8Kernel>(token: Avx2Int8, kernel: K) {
    kernel.run(token);
}

type Pair = (__m256i, __m256i);

/// `f` on both registers.
#[inline(always)]
fn both(b: Pair, f: impl Fn(__m256i) -> __m256i) -> Pair {
    (f(b.0), f(b.1))
}

/// The shift `n` as the instructions take it, which is a constant once a kernel is unrolled.
#[inline(always)]
fn count(n: u32) -> __m128i {
    // SAFETY: SSE2 is part of the architecture.
    unsafe { _mm_cvtsi32_si128(n.cast_signed()) }
}

impl Int8 for Avx2Int8 {
    type S = Avx2;
    type B = Pair;
    type I = Pair;
    const FULL_BIAS: i32 = 128;

    #[inline(always)]
    fn float(self) -> Avx2 {
        self.0
    }
    #[inline(always)]
    fn load(self, x: &[u8; 64]) -> Pair {
        // SAFETY: the features were detected; 64 bytes are there.
        unsafe { (_mm256_loadu_si256(x.as_ptr().cast()), _mm256_loadu_si256(x.as_ptr().add(32).cast())) }
    }
    #[inline(always)]
    fn store(self, b: Pair, out: &mut [u8; 64]) {
        // SAFETY: the features were detected; 64 bytes are there.
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().cast(), b.0);
            _mm256_storeu_si256(out.as_mut_ptr().add(32).cast(), b.1);
        }
    }
    #[inline(always)]
    fn and(self, b: Pair, mask: u8) -> Pair {
        // SAFETY: the features were detected.
        both(b, |x| unsafe { _mm256_and_si256(x, _mm256_set1_epi8(mask.cast_signed())) })
    }
    #[inline(always)]
    fn or(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: the features were detected.
        unsafe { (_mm256_or_si256(a.0, b.0), _mm256_or_si256(a.1, b.1)) }
    }
    #[inline(always)]
    fn shl(self, b: Pair, n: u32) -> Pair {
        // SAFETY: the features were detected.
        both(b, |x| unsafe { _mm256_sll_epi16(x, count(n)) })
    }
    #[inline(always)]
    fn shr(self, b: Pair, n: u32) -> Pair {
        // SAFETY: the features were detected.
        both(b, |x| unsafe { _mm256_srl_epi16(x, count(n)) })
    }
    #[inline(always)]
    fn splat(self, x: i32) -> Pair {
        // SAFETY: the features were detected.
        unsafe { (_mm256_set1_epi32(x), _mm256_set1_epi32(x)) }
    }
    #[inline(always)]
    fn dot(self, acc: Pair, w: Pair, a: u32) -> Pair {
        // SAFETY: the features were detected. Two products are at most 2·63·127, which 16 bits hold.
        unsafe {
            let a = _mm256_set1_epi32(a.cast_signed());
            let one = _mm256_set1_epi16(1);
            let sum = |acc, w| _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w, a), one));
            (sum(acc.0, w.0), sum(acc.1, w.1))
        }
    }
    #[inline(always)]
    fn dot_full(self, acc: Pair, w: Pair, a: u32) -> Pair {
        // SAFETY: the features were detected. The sign goes from the weight to the activation, so the products are
        // those of |w - 128| <= 128 with at most 127: two of them are below 2^15.
        unsafe {
            let a = _mm256_set1_epi32(a.cast_signed());
            let one = _mm256_set1_epi16(1);
            let sum = |acc, w| {
                let w = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
                let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
                _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, one))
            };
            (sum(acc.0, w.0), sum(acc.1, w.1))
        }
    }
    #[inline(always)]
    fn to_f32(self, x: Pair) -> (__m256, __m256) {
        // SAFETY: the features were detected.
        unsafe { (_mm256_cvtepi32_ps(x.0), _mm256_cvtepi32_ps(x.1)) }
    }
    #[inline(always)]
    fn widen(self, b: Pair) -> [(__m256, __m256); 4] {
        // SAFETY: the features were detected.
        unsafe {
            let low = _mm256_set1_epi32(255);
            let byte = |x: Pair| self.to_f32(both(x, |x| _mm256_and_si256(x, low)));
            [
                byte(b),
                byte(both(b, |x| _mm256_srli_epi32::<8>(x))),
                byte(both(b, |x| _mm256_srli_epi32::<16>(x))),
                byte(both(b, |x| _mm256_srli_epi32::<24>(x))),
            ]
        }
    }
    #[inline(always)]
    fn widen_u8(self, x: &[u8; 16]) -> (__m256, __m256) {
        // SAFETY: the features were detected; 16 bytes are there.
        unsafe {
            let x = _mm_loadu_si128(x.as_ptr().cast());
            self.to_f32((_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(x))))
        }
    }
    #[inline(always)]
    fn widen_i8(self, x: &[u8; 16]) -> (__m256, __m256) {
        // SAFETY: the features were detected; 16 bytes are there.
        unsafe {
            let x = _mm_loadu_si128(x.as_ptr().cast());
            self.to_f32((_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128::<8>(x))))
        }
    }
    #[inline(always)]
    fn narrow(self, v: (__m256, __m256)) -> [i8; 16] {
        let mut out = [0; 16];
        // SAFETY: the features were detected; 16 bytes are there. The control register rounds to nearest even. The
        // packs work within 128-bit lanes, so their four parts are put in order in between.
        unsafe {
            let words = _mm256_packs_epi32(_mm256_cvtps_epi32(v.0), _mm256_cvtps_epi32(v.1));
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(out.as_mut_ptr().cast(), bytes);
        }
        out
    }
    #[inline(always)]
    fn sum_bytes(self, x: &[i8; 16]) -> i32 {
        // SAFETY: the features were detected; 16 bytes are there. With 128 added the bytes are unsigned.
        unsafe {
            let x = _mm_xor_si128(_mm_loadu_si128(x.as_ptr().cast()), _mm_set1_epi8(-128));
            let sums = _mm_sad_epu8(x, _mm_setzero_si128());
            _mm_cvtsi128_si32(_mm_add_epi32(sums, _mm_unpackhi_epi64(sums, sums))) - 16 * 128
        }
    }
    #[inline(always)]
    fn prefetch(self, x: &[u8; 64], ahead: usize) {
        // SAFETY: a prefetch does not fault, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(x.as_ptr().wrapping_add(ahead).cast()) }
    }
}

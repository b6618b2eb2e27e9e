//! AVX-512: one register of 64 bytes, `vpdpbusd` where there is VNNI.

#![allow(unsafe_code, reason = "vector instructions, and loads from arrays of the right size")]

use super::{Int8, Int8Kernel};
use crate::cpu::simd::Avx512;
use std::arch::x86_64::*;
use std::sync::OnceLock;

/// Proof that the machine has the instructions; with `VNNI`, that it has those of VNNI too.
#[derive(Clone, Copy, Debug)]
pub struct Avx512Int8<const VNNI: bool>(Avx512);

impl<const VNNI: bool> Avx512Int8<VNNI> {
    /// The proof, if it holds.
    #[inline]
    pub fn new() -> Option<Self> {
        // A kernel's call is short enough for the detection of many features to count, so it is done once.
        static DETECTED: OnceLock<(Option<Avx512>, bool)> = OnceLock::new();
        let detect = || (Avx512::new(), std::arch::is_x86_feature_detected!("avx512vnni"));
        let (avx512, vnni) = DETECTED.get_or_init(detect);
        avx512.filter(|_| *vnni || !VNNI).map(Self)
    }

    /// Runs `kernel` inside a function compiled for these instructions.
    #[inline]
    pub fn vectorize<K: Int8Kernel>(self, kernel: K) {
        if VNNI {
            // SAFETY: a value of this type exists only where the features were detected.
            unsafe { inside_vnni(self, kernel) }
        } else {
            // SAFETY: as above.
            unsafe { inside(self, kernel) }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,avx512vnni")]
fn inside_vnni<K: Int8Kernel, const VNNI: bool>(token: Avx512Int8<VNNI>, kernel: K) {
    kernel.run(token);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
fn inside<K: Int8Kernel, const VNNI: bool>(token: Avx512Int8<VNNI>, kernel: K) {
    kernel.run(token);
}

/// `f(b)` with the immediate shift `n`, which is a constant once a kernel is unrolled.
macro_rules! by_immediate {
    ($n:expr, $f:ident, $b:expr) => {
        match $n {
            0 => $b,
            1 => $f::<1>($b),
            2 => $f::<2>($b),
            3 => $f::<3>($b),
            4 => $f::<4>($b),
            5 => $f::<5>($b),
            6 => $f::<6>($b),
            _ => $f::<7>($b),
        }
    };
}

impl<const VNNI: bool> Int8 for Avx512Int8<VNNI> {
    type S = Avx512;
    type B = __m512i;
    type I = __m512i;
    const FULL_BIAS: i32 = if VNNI { 0 } else { 128 };

    #[inline(always)]
    fn float(self) -> Avx512 {
        self.0
    }
    #[inline(always)]
    fn load(self, x: &[u8; 64]) -> Self::B {
        // SAFETY: the features were detected; 64 bytes are there.
        unsafe { _mm512_loadu_si512(x.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store(self, b: Self::B, out: &mut [u8; 64]) {
        // SAFETY: the features were detected; 64 bytes are there.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), b) }
    }
    #[inline(always)]
    fn and(self, b: Self::B, mask: u8) -> Self::B {
        // SAFETY: the features were detected.
        unsafe { _mm512_and_si512(b, _mm512_set1_epi8(mask.cast_signed())) }
    }
    #[inline(always)]
    fn or(self, a: Self::B, b: Self::B) -> Self::B {
        // SAFETY: the features were detected.
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    fn shl(self, b: Self::B, n: u32) -> Self::B {
        // SAFETY: the features were detected.
        unsafe { by_immediate!(n, _mm512_slli_epi16, b) }
    }
    #[inline(always)]
    fn shr(self, b: Self::B, n: u32) -> Self::B {
        // SAFETY: the features were detected.
        unsafe { by_immediate!(n, _mm512_srli_epi16, b) }
    }
    #[inline(always)]
    fn splat(self, x: i32) -> Self::I {
        // SAFETY: the features were detected.
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    fn dot(self, acc: Self::I, w: Self::B, a: u32) -> Self::I {
        // SAFETY: the features were detected, VNNI where the type says so. Without it, two products are at most
        // 2·63·127, which 16 bits hold.
        unsafe {
            let a = _mm512_set1_epi32(a.cast_signed());
            if VNNI {
                _mm512_dpbusd_epi32(acc, w, a)
            } else {
                let pairs = _mm512_maddubs_epi16(w, a);
                _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
            }
        }
    }
    #[inline(always)]
    fn dot_full(self, acc: Self::I, w: Self::B, a: u32) -> Self::I {
        if VNNI {
            return self.dot(acc, w, a);
        }
        // SAFETY: the features were detected. The sign goes from the weight to the activation, so the products are
        // those of |w - 128| <= 128 with at most 127: two of them are below 2^15.
        unsafe {
            let a = _mm512_set1_epi32(a.cast_signed());
            let w = _mm512_xor_si512(w, _mm512_set1_epi8(-128));
            let a = _mm512_mask_sub_epi8(a, _mm512_movepi8_mask(w), _mm512_setzero_si512(), a);
            let pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(w), a);
            _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
        }
    }
    #[inline(always)]
    fn to_f32(self, x: Self::I) -> __m512 {
        // SAFETY: the features were detected.
        unsafe { _mm512_cvtepi32_ps(x) }
    }
    #[inline(always)]
    fn widen(self, b: Self::B) -> [__m512; 4] {
        // SAFETY: the features were detected.
        unsafe {
            let low = _mm512_set1_epi32(255);
            [
                _mm512_cvtepi32_ps(_mm512_and_si512(b, low)),
                _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32::<8>(b), low)),
                _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32::<16>(b), low)),
                _mm512_cvtepi32_ps(_mm512_srli_epi32::<24>(b)),
            ]
        }
    }
    #[inline(always)]
    fn widen_u8(self, x: &[u8; 16]) -> __m512 {
        // SAFETY: the features were detected; 16 bytes are there.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(x.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn widen_i8(self, x: &[u8; 16]) -> __m512 {
        // SAFETY: the features were detected; 16 bytes are there.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(x.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn narrow(self, v: __m512) -> [i8; 16] {
        let mut out = [0; 16];
        // SAFETY: the features were detected; 16 bytes are there. The control register rounds to nearest even.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v))) };
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

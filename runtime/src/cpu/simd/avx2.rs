//! AVX2 with FMA and F16C: two registers of 8 lanes.

#![allow(unsafe_code, reason = "vector instructions, and loads from slices whose length was checked")]

use super::{Kernel, Simd};
use std::arch::x86_64::*;

/// Proof that the machine has the instructions.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

/// Whether it has them.
pub(super) fn detected() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c")
}

impl Avx2 {
    /// The proof, if it holds.
    #[inline]
    pub fn new() -> Option<Self> {
        detected().then_some(Self(()))
    }

    /// Runs `kernel` inside a function compiled for these instructions.
    #[inline]
    pub fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: a value of this type exists only where the features were detected.
        unsafe { inside(self, kernel) }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn inside<K: Kernel>(token: Avx2, kernel: K) -> K::Output {
    kernel.run(token)
}

impl Simd for Avx2 {
    type V = (__m256, __m256);

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { (_mm256_set1_ps(x), _mm256_set1_ps(x)) }
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> Self::V {
        let x = &x[..16];
        // SAFETY: the features were detected and the slice was cut to 16 elements.
        unsafe { (_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))) }
    }
    #[inline(always)]
    fn store(self, v: Self::V, out: &mut [f32]) {
        let out = &mut out[..16];
        // SAFETY: the features were detected and the slice was cut to 16 elements.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), v.0);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), v.1);
        }
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16]) -> Self::V {
        let x = &x[..16];
        // SAFETY: the features were detected and the slice was cut to 16 elements.
        unsafe {
            let h = _mm256_loadu_si256(x.as_ptr().cast());
            (_mm256_cvtph_ps(_mm256_castsi256_si128(h)), _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(h)))
        }
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16]) -> Self::V {
        let x = &x[..16];
        // SAFETY: the features were detected and the slice was cut to 16 elements.
        unsafe {
            let h = _mm256_loadu_si256(x.as_ptr().cast());
            let wide = |p| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(p)));
            (wide(_mm256_castsi256_si128(h)), wide(_mm256_extracti128_si256::<1>(h)))
        }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { (_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)) }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { (_mm256_sub_ps(a.0, b.0), _mm256_sub_ps(a.1, b.1)) }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { (_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1)) }
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { (_mm256_div_ps(a.0, b.0), _mm256_div_ps(a.1, b.1)) }
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { (_mm256_fmadd_ps(a.0, b.0, c.0), _mm256_fmadd_ps(a.1, b.1, c.1)) }
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { (_mm256_max_ps(a.0, b.0), _mm256_max_ps(a.1, b.1)) }
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { (_mm256_min_ps(a.0, b.0), _mm256_min_ps(a.1, b.1)) }
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { (_mm256_round_ps::<8>(a.0), _mm256_round_ps::<8>(a.1)) }
    }
    #[inline(always)]
    fn scale(self, a: Self::V, n: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe {
            let power = |n| {
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(
                    _mm256_cvtps_epi32(n),
                    _mm256_set1_epi32(127),
                )))
            };
            (_mm256_mul_ps(a.0, power(n.0)), _mm256_mul_ps(a.1, power(n.1)))
        }
    }
    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        // SAFETY: the features were detected.
        unsafe {
            let s = _mm256_add_ps(a.0, a.1);
            let s = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps::<1>(s));
            let s = _mm_add_ps(s, _mm_movehl_ps(s, s));
            _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps::<1>(s, s)))
        }
    }
    #[inline(always)]
    fn top(self, a: Self::V) -> f32 {
        // SAFETY: the features were detected.
        unsafe {
            let m = _mm256_max_ps(a.0, a.1);
            let m = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps::<1>(m));
            let m = _mm_max_ps(m, _mm_movehl_ps(m, m));
            _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps::<1>(m, m)))
        }
    }
}

//! AVX-512: one register of 16 lanes.

#![allow(unsafe_code, reason = "vector instructions, and loads from slices whose length was checked")]

use super::{Kernel, Simd};
use std::arch::x86_64::*;

/// Proof that the machine has the instructions.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

/// Whether it has them.
pub(super) fn detected() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vl")
        && std::arch::is_x86_feature_detected!("avx512dq")
        && std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c")
}

impl Avx512 {
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

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
fn inside<K: Kernel>(token: Avx512, kernel: K) -> K::Output {
    kernel.run(token)
}

impl Simd for Avx512 {
    type V = __m512;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> Self::V {
        let x = &x[..16];
        // SAFETY: the features were detected and the slice was cut to 16 elements.
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, v: Self::V, out: &mut [f32]) {
        let out = &mut out[..16];
        // SAFETY: the features were detected and the slice was cut to 16 elements.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn load_part(self, x: &[f32]) -> Self::V {
        let mask = (1u32 << x.len().min(15)) as u16 - 1;
        // SAFETY: the features were detected and the mask covers no more than the slice.
        unsafe { _mm512_maskz_loadu_ps(mask, x.as_ptr()) }
    }
    #[inline(always)]
    fn store_part(self, v: Self::V, out: &mut [f32]) {
        let mask = (1u32 << out.len().min(15)) as u16 - 1;
        // SAFETY: the features were detected and the mask covers no more than the slice.
        unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), mask, v) }
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16]) -> Self::V {
        let x = &x[..16];
        // SAFETY: the features were detected and the slice was cut to 16 elements.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16]) -> Self::V {
        let x = &x[..16];
        // SAFETY: the features were detected and the slice was cut to 16 elements.
        unsafe {
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(
                x.as_ptr().cast(),
            ))))
        }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { _mm512_roundscale_ps::<0>(a) }
    }
    #[inline(always)]
    fn scale(self, a: Self::V, n: Self::V) -> Self::V {
        // SAFETY: the features were detected.
        unsafe { _mm512_scalef_ps(a, n) }
    }
    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        // SAFETY: the features were detected.
        unsafe { _mm512_reduce_add_ps(a) }
    }
    #[inline(always)]
    fn top(self, a: Self::V) -> f32 {
        // SAFETY: the features were detected.
        unsafe { _mm512_reduce_max_ps(a) }
    }
}

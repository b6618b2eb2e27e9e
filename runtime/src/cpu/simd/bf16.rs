//! Dot products of bfloat16 pairs, where the machine has them: `vdpbf16ps`.
//!
//! There is no portable form: without the instruction a kernel works on float32 numbers that were rounded to
//! bfloat16, which gives the same products.

use super::Simd;

/// A kernel on pairs of bfloat16: one generic method, marked `#[inline(always)]`.
pub trait Bf16Kernel {
    /// Runs it with the operations of `S`.
    fn run<S: Bf16Dot>(self, simd: S);
}

/// Operations on sixteen pairs of bfloat16, the even-numbered element in the low half of a lane.
pub trait Bf16Dot: Copy + Send + Sync + 'static {
    /// The float lanes.
    type S: Simd;

    /// The float operations.
    fn float(self) -> Self::S;
    /// `acc + w₀·a₀ + w₁·a₁` per lane; `a` is the same pair in every lane.
    fn dot(self, acc: <Self::S as Simd>::V, w: &[u32; 16], a: u32) -> <Self::S as Simd>::V;
    /// Pairs of what two vectors hold, rounded to nearest even.
    fn pairs(self, even: <Self::S as Simd>::V, odd: <Self::S as Simd>::V) -> [u32; 16];
}

/// Whether the machine and the build have the instruction.
pub fn bf16_available() -> bool {
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    return avx512::Avx512Bf16::new().is_some();
    #[cfg(not(all(feature = "simd", target_arch = "x86_64")))]
    false
}

/// Runs `kernel` where the instruction is there; gives it back where it is not.
#[inline]
pub fn dispatch_bf16<K: Bf16Kernel>(kernel: K) -> Result<(), K> {
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    if let Some(token) = avx512::Avx512Bf16::new() {
        token.vectorize(kernel);
        return Ok(());
    }
    Err(kernel)
}

#[cfg(all(feature = "simd", target_arch = "x86_64"))]
mod avx512 {
    #![allow(unsafe_code, reason = "vector instructions, and loads from arrays of the right size")]

    use super::{Bf16Dot, Bf16Kernel};
    use crate::cpu::simd::Avx512;
    use std::arch::x86_64::*;

    /// Proof that the machine has the instructions.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Avx512Bf16(Avx512);

    impl Avx512Bf16 {
        #[inline]
        pub(super) fn new() -> Option<Self> {
            if !std::arch::is_x86_feature_detected!("avx512bf16") {
                return None;
            }
            Avx512::new().map(Self)
        }

        #[inline]
        pub(super) fn vectorize<K: Bf16Kernel>(self, kernel: K) {
            // SAFETY: a value of this type exists only where the features were detected.
            unsafe { inside(self, kernel) }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,avx512bf16")]
    fn inside<K: Bf16Kernel>(token: Avx512Bf16, kernel: K) {
        kernel.run(token);
    }

    impl Bf16Dot for Avx512Bf16 {
        type S = Avx512;

        #[inline(always)]
        fn float(self) -> Avx512 {
            self.0
        }
        #[inline(always)]
        fn dot(self, acc: __m512, w: &[u32; 16], a: u32) -> __m512 {
            // SAFETY: the features were detected; 64 bytes are there. Both types are 512 bits without meaning of
            // their own.
            unsafe {
                let w = std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(w.as_ptr().cast()));
                let a = std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(a.cast_signed()));
                _mm512_dpbf16_ps(acc, w, a)
            }
        }
        #[inline(always)]
        fn pairs(self, even: __m512, odd: __m512) -> [u32; 16] {
            // SAFETY: the features were detected. Both types are 256 bits without meaning of their own.
            unsafe {
                let half = |v| {
                    _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v)))
                };
                let mut out = [0; 16];
                let pairs = _mm512_or_si512(half(even), _mm512_slli_epi32::<16>(half(odd)));
                _mm512_storeu_si512(out.as_mut_ptr().cast(), pairs);
                out
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    struct Both<'a>(&'a [f32; 16], &'a [f32; 16], &'a mut [u32; 16], &'a mut [f32; 16]);
    impl Bf16Kernel for Both<'_> {
        #[inline(always)]
        fn run<S: Bf16Dot>(self, s: S) {
            let f = s.float();
            *self.2 = s.pairs(f.load(self.0), f.load(self.1));
            let a = self.2[3];
            f.store(s.dot(f.splat(0.5), self.2, a), self.3);
        }
    }

    #[test]
    fn pairs_are_rounded_and_multiplied() {
        let even: [f32; 16] = std::array::from_fn(|i| (i as f32 - 7.3) * 1.037);
        let odd: [f32; 16] = std::array::from_fn(|i| (i as f32 + 0.7) * -0.773);
        let (mut pairs, mut sums) = ([0; 16], [0.0; 16]);
        if dispatch_bf16(Both(&even, &odd, &mut pairs, &mut sums)).is_err() {
            assert!(!bf16_available());
            return;
        }
        let value = |x: f32| bf16::from_f32(x);
        for r in 0..16 {
            let want = u32::from(value(even[r]).to_bits()) | u32::from(value(odd[r]).to_bits()) << 16;
            assert_eq!(pairs[r], want);
            let product = |x: &[f32; 16]| value(x[r]).to_f64() * value(x[3]).to_f64();
            let want = 0.5 + product(&even) + product(&odd);
            assert!((f64::from(sums[r]) - want).abs() < 1e-5, "{} for {want}", sums[r]);
        }
    }
}

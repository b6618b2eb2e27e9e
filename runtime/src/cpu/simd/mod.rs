//! Sixteen float32 lanes on whatever the machine has.
//!
//! A kernel is written once, generic over [`Simd`], and marked `#[inline(always)]`; [`dispatch`] runs it inside
//! a function compiled for the instruction set that was picked at run time, so its vector operations become
//! that set's instructions. The portable implementation is plain arrays: it is always there, is what other
//! architectures run, and is tested with the vector files switched off (feature `simd`).
//!
//! Only the files of this folder name instructions of one architecture.

pub mod bf16;
mod features;
pub mod int8;
mod portable;
pub use features::Features;
pub use portable::Portable;

#[cfg(all(feature = "simd", target_arch = "x86_64"))]
mod avx2;
#[cfg(all(feature = "simd", target_arch = "x86_64"))]
mod avx512;
#[cfg(all(feature = "simd", target_arch = "x86_64"))]
pub use {avx2::Avx2, avx512::Avx512};

use std::sync::OnceLock;

/// An instruction set that kernels can be compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Arrays of 16, whatever the compiler makes of them.
    Portable,
    /// AVX2 with FMA and F16C: two registers of 8 lanes.
    Avx2,
    /// AVX-512 (F, BW, VL, DQ) with VNNI and BF16 where the kernels ask for them.
    Avx512,
}

impl Isa {
    /// All instruction sets with the name `JET_CPU_ISA` gives them.
    pub const ALL: &[(&'static str, Isa)] =
        &[("portable", Isa::Portable), ("avx2", Isa::Avx2), ("avx512", Isa::Avx512)];

    /// The name, as in `JET_CPU_ISA=avx2`.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, i)| *i == self).expect("every instruction set is listed").0
    }

    /// Whether this machine and this build have it.
    pub fn available(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(all(feature = "simd", target_arch = "x86_64"))]
            Isa::Avx2 => avx2::detected(),
            #[cfg(all(feature = "simd", target_arch = "x86_64"))]
            Isa::Avx512 => avx512::detected(),
            #[allow(unreachable_patterns, reason = "which sets exist depends on the target")]
            _ => false,
        }
    }

    /// Every instruction set that can run here, the plainest first.
    pub fn all_available() -> impl Iterator<Item = Isa> {
        Self::ALL.iter().map(|(_, i)| *i).filter(|i| i.available())
    }

    /// The best one here, or what `JET_CPU_ISA` names if it can run. Decided once per process.
    pub fn detect() -> Isa {
        static PICKED: OnceLock<Isa> = OnceLock::new();
        *PICKED.get_or_init(|| {
            let best = Self::all_available().max().unwrap_or(Isa::Portable);
            let Ok(name) = std::env::var("JET_CPU_ISA") else { return best };
            match Self::ALL.iter().find(|(n, i)| *n == name && i.available()) {
                Some((_, isa)) => *isa,
                None => {
                    let have: Vec<_> = Self::all_available().map(Isa::name).collect();
                    tracing::warn!(asked = %name, available = ?have, "JET_CPU_ISA is not available here; using {}", best.name());
                    best
                }
            }
        })
    }
}

/// A kernel that can run on any instruction set: one generic method, marked `#[inline(always)]`.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// Runs it with the vector operations of `S`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs `kernel` compiled for `isa`; for the portable one where `isa` is not there.
#[inline]
pub fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa {
        #[cfg(all(feature = "simd", target_arch = "x86_64"))]
        Isa::Avx512 => match Avx512::new() {
            Some(token) => token.vectorize(kernel),
            None => kernel.run(Portable),
        },
        #[cfg(all(feature = "simd", target_arch = "x86_64"))]
        Isa::Avx2 => match Avx2::new() {
            Some(token) => token.vectorize(kernel),
            None => kernel.run(Portable),
        },
        _ => kernel.run(Portable),
    }
}

/// Vector operations on 16 float32 lanes. A value of an implementing type is the proof that the machine has the
/// instructions. Every method is `#[inline(always)]`.
pub trait Simd: Copy + Send + Sync + 'static {
    /// Sixteen float32.
    type V: Copy;

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::V;
    /// The first 16 elements of `x`, which must have them.
    fn load(self, x: &[f32]) -> Self::V;
    /// To the first 16 elements of `out`, which must have them.
    fn store(self, v: Self::V, out: &mut [f32]);
    /// The first `x.len() < 16` lanes from `x`, zero above.
    #[inline(always)]
    fn load_part(self, x: &[f32]) -> Self::V {
        let mut a = [0.0; 16];
        a[..x.len()].copy_from_slice(x);
        self.load(&a)
    }
    /// The first `out.len() < 16` lanes.
    #[inline(always)]
    fn store_part(self, v: Self::V, out: &mut [f32]) {
        let mut a = [0.0; 16];
        self.store(v, &mut a);
        let n = out.len();
        out.copy_from_slice(&a[..n]);
    }
    /// 16 IEEE half floats, widened.
    fn load_f16(self, x: &[u16]) -> Self::V;
    /// 16 bfloat16, widened.
    fn load_bf16(self, x: &[u16]) -> Self::V;
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the machine can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Lane-wise maximum; the second operand where either is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// Lane-wise minimum; the second operand where either is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// To the nearest integer, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    /// `a * 2^n` for integral `n` in -126..=127.
    fn scale(self, a: Self::V, n: Self::V) -> Self::V;
    /// Sum of the lanes.
    fn sum(self, a: Self::V) -> f32;
    /// Largest lane.
    fn top(self, a: Self::V) -> f32;

    /// `e^a`, for `a` up to 88; below -87 the result is zero or a tiny number. Range reduction by ln 2 in two
    /// parts and a polynomial of degree 6 (the Taylor series fitted on half of ln 2): relative error below 2e-7.
    /// Not-a-number stays so.
    #[inline(always)]
    fn exp(self, a: Self::V) -> Self::V {
        // The second operand is the one that passes not-a-number on.
        let a = self.max(self.splat(-87.3), self.min(self.splat(88.0), a));
        let n = self.round(self.mul(a, self.splat(std::f32::consts::LOG2_E)));
        let r = self.fma(n, self.splat(-0.693_359_4), a);
        let r = self.fma(n, self.splat(2.121_944_4e-4), r);
        let mut p = self.splat(1.0 / 720.0);
        for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = self.fma(p, r, self.splat(c));
        }
        self.scale(p, n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct ExpOf<'a>(&'a [f32], &'a mut [f32]);
    impl Kernel for ExpOf<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for (x, o) in self.0.chunks(16).zip(self.1.chunks_mut(16)) {
                s.store(s.exp(s.load(x)), o);
            }
        }
    }

    #[test]
    fn exp_is_good_to_two_tenths_of_a_millionth_on_every_instruction_set() {
        let xs: Vec<f32> = (0..16 * 1000).map(|i| -87.0 + i as f32 * (174.0 / 16000.0)).collect();
        for isa in Isa::all_available() {
            let mut out = vec![0.0; xs.len()];
            dispatch(isa, ExpOf(&xs, &mut out));
            for (x, y) in xs.iter().zip(&out) {
                let want = f64::from(*x).exp();
                assert!(((f64::from(*y) - want) / want).abs() < 3e-7, "{isa:?}: exp({x}) = {y}, not {want}");
            }
        }
    }

    #[test]
    fn exp_of_not_a_number_and_of_the_infinities() {
        let xs: Vec<f32> =
            [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, -1e9].into_iter().cycle().take(16).collect();
        for isa in Isa::all_available() {
            let mut out = vec![0.0; xs.len()];
            dispatch(isa, ExpOf(&xs, &mut out));
            for y in out.chunks(4) {
                assert!(y[0].is_nan() && y[1] < 1e-37 && y[2] > 1e38 && y[3] < 1e-37, "{isa:?}: {y:?}");
            }
        }
    }

    struct Everything<'a>(&'a [f32], &'a [f32], &'a [u16]);
    impl Kernel for Everything<'_> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<f32> {
            let (a, b) = (s.load(self.0), s.load(self.1));
            let mut out = Vec::new();
            for v in [
                s.add(a, b),
                s.sub(a, b),
                s.mul(a, b),
                s.div(a, b),
                s.max(a, b),
                s.min(a, b),
                s.round(a),
                s.scale(b, s.round(a)),
                s.load_f16(self.2),
                s.load_bf16(self.2),
                s.load_part(&self.0[..5]),
                s.splat(s.top(a)),
            ] {
                let mut lanes = [0.0; 16];
                s.store(v, &mut lanes);
                out.extend(lanes);
            }
            let mut part = [7.0; 3];
            s.store_part(a, &mut part);
            out.extend(part);
            out
        }
    }

    #[test]
    fn every_operation_agrees_with_the_portable_one_bit_for_bit() {
        let a: Vec<f32> = (0..16).map(|i| (i as f32 - 7.5) * 1.37).collect();
        let b: Vec<f32> = (0..16).map(|i| (i as f32 + 0.5) * -0.73).collect();
        let h: Vec<u16> = (0..16).map(|i| 0x3c00 + i * 37).collect();
        let want = dispatch(Isa::Portable, Everything(&a, &b, &h));
        for isa in Isa::all_available() {
            assert_eq!(dispatch(isa, Everything(&a, &b, &h)), want, "{isa:?}");
        }
    }
}

//! Vectors at the edge of a row, and the softplus of the gates.

use super::LANES;
use crate::cpu::simd::Simd;

/// Up to 16 elements, zero above.
#[inline(always)]
pub(in crate::cpu) fn load<S: Simd>(s: S, x: &[f32]) -> S::V {
    if x.len() >= LANES { s.load(x) } else { s.load_part(x) }
}

/// The first `out.len()` lanes, 16 at most.
#[inline(always)]
pub(in crate::cpu) fn store<S: Simd>(s: S, v: S::V, out: &mut [f32]) {
    if out.len() >= LANES { s.store(v, out) } else { s.store_part(v, out) }
}

/// `log(1 + e^x) = max(x, 0) + log1p(u)` with `u = e^-|x|` in (0, 1], and `log1p(u) = 2 artanh(u / (2 + u))`:
/// the odd series keeps full relative accuracy for small `u`, where `log(1 + u)` would round to zero. Its
/// argument is at most 1/3, so eight terms reach float32.
#[inline(always)]
pub(in crate::cpu) fn softplus<S: Simd>(s: S, x: S::V) -> S::V {
    let minus = s.sub(s.splat(0.0), x);
    let u = s.exp(s.min(x, minus));
    let r = s.div(u, s.add(s.splat(2.0), u));
    let r2 = s.mul(r, r);
    let mut p = s.splat(2.0 / 17.0);
    for c in [2.0 / 15.0, 2.0 / 13.0, 2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0, 2.0] {
        p = s.fma(p, r2, s.splat(c));
    }
    // `max(0, x)` in this order: a NaN in `x` must come out.
    s.fma(p, r, s.max(s.splat(0.0), x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::{Isa, Kernel, dispatch};

    struct Apply<'a>(&'a [f32]);
    impl Kernel for Apply<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for x in self.0 {
                let mut out = [0.0; LANES];
                s.store(softplus(s, s.splat(*x)), &mut out);
                let (got, x) = (f64::from(out[0]), f64::from(*x));
                let want = x.max(0.0) + (-x.abs()).exp().ln_1p();
                assert!((got - want).abs() <= 8e-7 * want + 1e-36, "{x}: {got} {want}");
            }
        }
    }

    #[test]
    fn softplus_is_accurate_relative_to_its_size() {
        let xs: Vec<f32> =
            (-8000..8000).map(|i| i as f32 * 0.01).chain([-17.0, 17.0, 1e-6, -1e-6, 1e4]).collect();
        for isa in Isa::all_available() {
            dispatch(isa, Apply(&xs));
        }
    }

    struct Nan;
    impl Kernel for Nan {
        type Output = f32;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> f32 {
            s.sum(softplus(s, s.splat(f32::NAN)))
        }
    }

    #[test]
    fn a_nan_in_comes_out() {
        for isa in Isa::all_available() {
            assert!(dispatch(isa, Nan).is_nan(), "{isa:?}");
        }
    }
}

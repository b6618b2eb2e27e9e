//! Decays inside a chunk.
//!
//! A chunk needs `exp(c_t - c_s)` for running sums `c` of non-positive logarithms. With `c` in float32 the
//! difference loses digits once `|c|` reaches hundreds, so `c` is summed in float64 and kept as a pair of
//! floats `hi + lo`. `hi_t - hi_s` is exact where the two are close (Sterbenz) and its rounding does not
//! matter where they are far apart, since the exponential is then nothing. Exponents are clamped to be
//! non-positive first.

use super::LANES;
use crate::cpu::simd::Simd;

/// Running sums of `logs` as pairs `hi + lo`. The slices are as long as `logs` or longer; what is beyond is
/// given the last sum, so that whole vectors can be worked on.
#[inline(always)]
pub(in crate::cpu) fn prefix_sums(logs: impl Iterator<Item = f64>, hi: &mut [f32], lo: &mut [f32]) {
    let mut sum = 0.0f64;
    let mut n = 0;
    for ((log, h), l) in logs.zip(hi.iter_mut()).zip(lo.iter_mut()) {
        sum += log;
        *h = sum as f32;
        *l = (sum - f64::from(*h)) as f32;
        n += 1;
    }
    let (last_hi, last_lo) = if n == 0 { (0.0, 0.0) } else { (hi[n - 1], lo[n - 1]) };
    hi[n..].fill(last_hi);
    lo[n..].fill(last_lo);
}

/// `exp(c_s)` for 16 sums.
#[inline(always)]
fn exp_of_sum<S: Simd>(s: S, hi: &[f32], lo: &[f32]) -> S::V {
    s.exp(s.min(s.splat(0.0), s.add(s.load(hi), s.load(lo))))
}

/// `exp(c_t - c_s)` for one `t` and 16 `s`, the exponent clamped to be non-positive.
#[inline(always)]
pub(in crate::cpu) fn exp_of_difference<S: Simd>(s: S, t: (f32, f32), hi: &[f32], lo: &[f32]) -> S::V {
    let d = s.add(s.sub(s.splat(t.0), s.load(hi)), s.sub(s.splat(t.1), s.load(lo)));
    s.exp(s.min(s.splat(0.0), d))
}

/// `from_start = exp(c_t)` and `to_end = exp(c_last - c_t)` for every token of a chunk of `n`. All slices are
/// padded to whole vectors.
#[inline(always)]
pub(in crate::cpu) fn exp_sums<S: Simd>(
    s: S,
    n: usize,
    (hi, lo): (&[f32], &[f32]),
    from_start: &mut [f32],
    to_end: &mut [f32],
) {
    let last = (hi[n - 1], lo[n - 1]);
    for at in (0..n).step_by(LANES) {
        s.store(exp_of_sum(s, &hi[at..], &lo[at..]), &mut from_start[at..]);
        s.store(exp_of_difference(s, last, &hi[at..], &lo[at..]), &mut to_end[at..]);
    }
}

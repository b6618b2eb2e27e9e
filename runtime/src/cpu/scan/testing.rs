//! Inputs for the tests of the scans and convolutions, and the judge of golden vectors.

use crate::cpu::golden::Golden;

/// A small generator of well-spread numbers.
pub(in crate::cpu) struct Numbers(u64);

impl Numbers {
    pub(in crate::cpu) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Uniform in `lo..hi`.
    pub(in crate::cpu) fn uniform(&mut self, lo: f32, hi: f32) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        lo + (hi - lo) * ((self.0 >> 40) as f32 / (1u64 << 24) as f32)
    }

    /// `n` values uniform in `lo..hi`.
    pub(in crate::cpu) fn vec(&mut self, n: usize, lo: f32, hi: f32) -> Vec<f32> {
        (0..n).map(|_| self.uniform(lo, hi)).collect()
    }
}

/// Fails if any value is farther from its expected one than `abs + rms · rms(expected)`.
#[track_caller]
pub(in crate::cpu) fn close(what: &str, got: &[f32], expected: &[f32], abs: f32, rms: f32) {
    assert_eq!(got.len(), expected.len(), "{what}: lengths");
    let size = (expected.iter().map(|v| v * v).sum::<f32>() / expected.len().max(1) as f32).sqrt();
    let limit = abs + rms * size;
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((g - e).abs() <= limit, "{what}: value {i} is {g}, expected {e} within {limit}");
    }
}

/// Cuts `tokens` into segments whose lengths come from `lengths`, again and again.
pub(in crate::cpu) fn segments(tokens: usize, lengths: &[usize]) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let mut at = 0;
    for len in lengths.iter().cycle() {
        if at == tokens {
            break;
        }
        let n = (*len).clamp(1, tokens - at);
        out.push((at, n));
        at += n;
    }
    out
}

/// Fails unless `got` is within the file's own tolerance of `expected` (golden README: `max(tol_abs, tol_rms
/// · rms)`).
#[track_caller]
pub(in crate::cpu) fn within_tolerance(golden: &Golden, what: &str, got: &[f32], expected: &[f64]) {
    assert_eq!(got.len(), expected.len(), "{what} of {}: lengths", golden.name);
    let tol = |key: &str| golden.meta(key).map_or(0.0, |v| v.parse::<f64>().expect("a number"));
    let rms = (expected.iter().map(|v| v * v).sum::<f64>() / expected.len() as f64).sqrt();
    let limit = tol("tol_abs").max(tol("tol_rms") * rms);
    assert!(limit > 0.0, "{} states a tolerance", golden.name);
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        let off = (f64::from(*g) - e).abs();
        assert!(off <= limit, "{what} of {}: value {i} is {g}, expected {e} within {limit}", golden.name);
    }
}

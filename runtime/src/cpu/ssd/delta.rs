//! Δ and the decays of one head over one piece.

use super::SsdWeights;
use crate::cpu::mat::Mat;
use crate::cpu::scan::{Carver, LANES, STEP_PIECE, padded, prefix_sums, softplus};
use crate::cpu::simd::Simd;

/// Per token of a piece; every slice is padded to whole vectors.
pub(super) struct Deltas<'a> {
    /// Tokens of the piece.
    pub(super) tokens: usize,
    /// `Δ`, clamped.
    pub(super) delta: &'a mut [f32],
    /// `exp(Δ A)`.
    pub(super) decay: &'a mut [f32],
    /// `A` of the head.
    a: f32,
    /// Running sums of `Δ A` as pairs, filled by [`Deltas::sum`].
    pub(super) hi: &'a mut [f32],
    /// The low halves.
    pub(super) lo: &'a mut [f32],
    /// `exp` of the running sums.
    pub(super) from_start: &'a mut [f32],
    /// `Δ` times the decay to the end of the piece.
    pub(super) to_end: &'a mut [f32],
}

impl<'a> Deltas<'a> {
    fn len(chunk: usize) -> usize {
        padded(chunk.max(STEP_PIECE))
    }

    pub(super) fn scratch_len(chunk: usize) -> usize {
        6 * Self::len(chunk)
    }

    pub(super) fn new(carver: &mut Carver<'a>, chunk: usize) -> Self {
        let mut take = || carver.take(Self::len(chunk));
        Self {
            tokens: 0,
            a: 0.0,
            delta: take(),
            decay: take(),
            hi: take(),
            lo: take(),
            from_start: take(),
            to_end: take(),
        }
    }

    /// `Δ = clamp(softplus(raw + bias))` and the decays of `head`; `raw` is `[tokens, heads]`.
    #[inline(always)]
    pub(super) fn fill<S: Simd>(&mut self, s: S, raw: Mat<'_>, head: usize, weights: &SsdWeights) {
        self.tokens = raw.rows();
        self.a = weights.a[head];
        for t in 0..self.tokens {
            self.delta[t] = raw.row(t)[head];
        }
        self.delta[self.tokens..].fill(0.0);
        let (lo, hi) = (s.splat(weights.limit.0), s.splat(weights.limit.1));
        for at in (0..self.tokens).step_by(LANES) {
            let x = s.add(s.load(&self.delta[at..]), s.splat(weights.dt_bias[head]));
            // The clamp in this order: a NaN must come out.
            let delta = s.max(lo, s.min(hi, softplus(s, x)));
            s.store(delta, &mut self.delta[at..]);
            s.store(s.exp(s.mul(delta, s.splat(self.a))), &mut self.decay[at..]);
        }
    }

    /// The running sums, for chunks.
    #[inline(always)]
    pub(super) fn sum(&mut self) {
        let a = f64::from(self.a);
        let logs = self.delta[..self.tokens].iter().map(|d| f64::from(*d) * a);
        prefix_sums(logs, self.hi, self.lo);
    }
}

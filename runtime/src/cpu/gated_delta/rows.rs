//! The key side of one head over one piece: normalised keys and queries, strengths, decays. It is the same
//! for every column of the values.

use super::{GatedDeltaInput, GatedDeltaShape};
use crate::cpu::scan::{Carver, LANES, STEP_PIECE, dots, load, padded};
use crate::cpu::simd::Simd;
use std::ops::Range;

/// Per token of a piece; rows of keys and queries are padded with zeros to whole vectors.
pub(super) struct Rows<'a> {
    /// Tokens of the piece.
    pub(super) tokens: usize,
    /// Key width.
    pub(super) d_key: usize,
    /// Row length of `q` and `k`.
    pub(super) stride: usize,
    q: &'a mut [f32],
    k: &'a mut [f32],
    /// Write strengths.
    pub(super) beta: &'a mut [f32],
    /// Log decays.
    pub(super) g: &'a mut [f32],
    /// `exp(g)`.
    pub(super) decay: &'a mut [f32],
    /// `q·k`, filled by [`Rows::products`].
    pub(super) qk: &'a mut [f32],
}

impl<'a> Rows<'a> {
    fn len(chunk: usize) -> usize {
        chunk.max(STEP_PIECE)
    }

    pub(super) fn scratch_len(shape: &GatedDeltaShape, chunk: usize) -> usize {
        let n = Self::len(chunk);
        2 * n * padded(shape.d_key) + 4 * padded(n)
    }

    pub(super) fn new(carver: &mut Carver<'a>, shape: &GatedDeltaShape, chunk: usize) -> Self {
        let (n, stride) = (Self::len(chunk), padded(shape.d_key));
        Self {
            tokens: 0,
            d_key: shape.d_key,
            stride,
            q: carver.take(n * stride),
            k: carver.take(n * stride),
            beta: carver.take(padded(n)),
            g: carver.take(padded(n)),
            decay: carver.take(padded(n)),
            qk: carver.take(padded(n)),
        }
    }

    /// The normalised, scaled query of token `t`, without its padding.
    #[inline(always)]
    pub(super) fn q(&self, t: usize) -> &[f32] {
        &self.q[t * self.stride..][..self.d_key]
    }

    /// The normalised key of token `t`, without its padding.
    #[inline(always)]
    pub(super) fn k(&self, t: usize) -> &[f32] {
        &self.k[t * self.stride..][..self.d_key]
    }

    /// The query with its padding.
    #[inline(always)]
    pub(super) fn q_padded(&self, t: usize) -> &[f32] {
        &self.q[t * self.stride..(t + 1) * self.stride]
    }

    /// The key with its padding.
    #[inline(always)]
    pub(super) fn k_padded(&self, t: usize) -> &[f32] {
        &self.k[t * self.stride..(t + 1) * self.stride]
    }

    /// Reads the tokens `of` of `head`.
    #[inline(always)]
    pub(super) fn fill<S: Simd>(
        &mut self,
        s: S,
        shape: &GatedDeltaShape,
        input: &GatedDeltaInput<'_>,
        of: Range<usize>,
        head: usize,
    ) {
        self.tokens = of.len();
        let keys = head * self.d_key..(head + 1) * self.d_key;
        for (i, t) in of.enumerate() {
            let at = i * self.stride..(i + 1) * self.stride;
            normalise(s, &input.q.row(t)[keys.clone()], shape.l2_eps, shape.scale, &mut self.q[at.clone()]);
            normalise(s, &input.k.row(t)[keys.clone()], shape.l2_eps, 1.0, &mut self.k[at]);
            self.beta[i] = input.beta.row(t)[head];
            self.g[i] = input.g.row(t)[head];
        }
        self.g[self.tokens..].fill(0.0);
        for at in (0..self.tokens).step_by(LANES) {
            s.store(s.exp(s.load(&self.g[at..])), &mut self.decay[at..]);
        }
    }
}

impl Rows<'_> {
    /// Each token's query with its own key, for the token loop.
    #[inline(always)]
    pub(super) fn products<S: Simd>(&mut self, s: S) {
        for t in 0..self.tokens {
            self.qk[t] = dots(s, [self.k_padded(t)], [self.q_padded(t)])[0][0];
        }
    }
}

/// `x / sqrt(Σ x² + eps) · scale`, padded with zeros to the length of `out`.
#[inline(always)]
fn normalise<S: Simd>(s: S, x: &[f32], eps: f32, scale: f32, out: &mut [f32]) {
    let mut square = s.splat(0.0);
    for at in (0..x.len()).step_by(LANES) {
        let v = load(s, &x[at..(at + LANES).min(x.len())]);
        square = s.fma(v, v, square);
    }
    let factor = s.splat(scale / (s.sum(square) + eps).sqrt());
    for at in (0..x.len()).step_by(LANES) {
        let v = load(s, &x[at..(at + LANES).min(x.len())]);
        s.store(s.mul(v, factor), &mut out[at..]);
    }
}

//! The three vector kernels under attention: scores, softmax, weighted values, each for a block of `R` rows.
//!
//! They are dispatched one by one and not as a whole: what depends on the row count and the stored type is then
//! small, and the build stays short. A dispatch costs nanoseconds, a block against a tile half a microsecond.

use crate::cpu::kv_cache::{Element, LANES};
use crate::cpu::simd::{Kernel, Simd};
use std::ops::Range;

/// The score of a key that a row does not see: below any real score, and finite, so that no difference with it
/// is not-a-number.
const MASKED: f32 = -1e30;

/// Rows of the largest block. With 4 vectors per row, 24 sums and 5 operands are in 32 registers of 16 lanes;
/// with one, 6 pairs of sums and 2 pairs of operands are in 16 registers of 8.
pub(super) const ROWS: usize = 6;

/// Rows of the next block when `left` are left: the fewest blocks, of nearly equal size.
pub(super) fn block_rows(left: usize) -> usize {
    left.div_ceil(left.div_ceil(ROWS).max(1))
}

/// Whether a vector is one register.
const fn wide<S: Simd>() -> bool {
    align_of::<S::V>() == 64
}

/// Scores of `R` rows with the keys of the slots `slots` (whole groups), `[R][slots.len()]`.
pub(super) struct Dots<'a, E, const R: usize> {
    /// Queries, `[d][R]`.
    pub(super) q: &'a [f32],
    /// Tiles of keys, `[d][16]` each.
    pub(super) k: &'a [E],
    pub(super) slots: Range<usize>,
    pub(super) d: usize,
    pub(super) scores: &'a mut [f32],
}

impl<E: Element, const R: usize> Kernel for Dots<'_, E, R> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if const { wide::<S>() } {
            self.columns::<S, 4>(s);
        } else if const { R <= 2 } {
            self.columns::<S, 2>(s);
        } else {
            self.columns::<S, 1>(s);
        }
    }
}

impl<E: Element, const R: usize> Dots<'_, E, R> {
    /// `N` vectors of keys at a time, their sums in registers.
    #[inline(always)]
    fn columns<S: Simd, const N: usize>(self, s: S) {
        let (q, _) = self.q.as_chunks::<R>();
        let q = &q[..self.d];
        let (k, _) = self.k[self.slots.start * self.d..self.slots.end * self.d].as_chunks::<LANES>();
        let stride = self.slots.len();
        for (i, k) in k.chunks_exact(N * self.d).enumerate() {
            let mut acc = [[s.splat(0.0); N]; R];
            let mut tiles: [&[[E; LANES]]; N] = [&[]; N];
            for (n, tile) in tiles.iter_mut().enumerate() {
                *tile = &k[n * self.d..][..q.len()];
            }
            for (i, q) in q.iter().enumerate() {
                let mut keys = [s.splat(0.0); N];
                for n in 0..N {
                    keys[n] = E::load(s, &tiles[n][i]);
                }
                for r in 0..R {
                    let q = s.splat(q[r]);
                    for n in 0..N {
                        acc[r][n] = s.fma(q, keys[n], acc[r][n]);
                    }
                }
            }
            for (r, acc) in acc.iter().enumerate() {
                let row = &mut self.scores[r * stride + i * N * LANES..][..N * LANES];
                for (n, acc) in acc.iter().enumerate() {
                    s.store(*acc, &mut row[n * LANES..]);
                }
            }
        }
    }
}

/// One step of the online softmax of a few rows: `scores` `[rows][stride]` become weights, zero outside `seen`;
/// `m` and `l` are brought up to date; `alpha` is the factor on each row's sums so far.
pub(super) struct Softmax<'a> {
    pub(super) scores: &'a mut [f32],
    pub(super) stride: usize,
    /// Columns that each row sees; empty where the first is not less than the second.
    pub(super) seen: &'a [(usize, usize)],
    pub(super) m: &'a mut [f32],
    pub(super) l: &'a mut [f32],
    pub(super) alpha: &'a mut [f32; ROWS],
}

impl Kernel for Softmax<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut fall = [0.0f32; LANES];
        let rows = self.scores.chunks_exact_mut(self.stride);
        for (((row, &(first, end)), m), fall) in rows.zip(self.seen).zip(&mut *self.m).zip(&mut fall) {
            if first >= end {
                continue;
            }
            row[..first].fill(MASKED);
            row[end..].fill(MASKED);
            let mut top = s.splat(f32::NEG_INFINITY);
            for x in row.as_chunks::<LANES>().0 {
                top = s.max(top, s.load(x));
            }
            let new = m.max(s.top(top));
            *fall = *m - new;
            *m = new;
        }
        let mut factors = [0.0f32; LANES];
        s.store(s.exp(s.load(&fall)), &mut factors);
        for (r, row) in self.scores.chunks_exact_mut(self.stride).enumerate().take(self.seen.len()) {
            let (first, end) = self.seen[r];
            if first >= end {
                row.fill(0.0);
                self.alpha[r] = 1.0;
                continue;
            }
            let top = s.splat(self.m[r]);
            let mut sum = s.splat(0.0);
            for x in row.as_chunks_mut::<LANES>().0 {
                let p = s.exp(s.sub(s.load(x), top));
                sum = s.add(sum, p);
                s.store(p, x);
            }
            // What is masked came out as a number next to nothing; the values behind it must not count at all.
            row[..first].fill(0.0);
            row[end..].fill(0.0);
            self.alpha[r] = factors[r];
            self.l[r] = self.l[r] * factors[r] + s.sum(sum);
        }
    }
}

/// `acc = alpha · acc + weights · values` for `R` rows.
pub(super) struct Mix<'a, E, const R: usize> {
    /// `[R][stride]`; the first column is the slot `from`.
    pub(super) weights: &'a [f32],
    pub(super) stride: usize,
    pub(super) from: usize,
    /// Slots to add.
    pub(super) keys: Range<usize>,
    /// Rows of values, `[slots][width]`.
    pub(super) v: &'a [E],
    /// Columns, a multiple of 16.
    pub(super) width: usize,
    pub(super) alpha: &'a [f32; ROWS],
    /// `[R][width]`.
    pub(super) acc: &'a mut [f32],
}

impl<E: Element, const R: usize> Kernel for Mix<'_, E, R> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        if const { wide::<S>() } {
            let whole = self.width / (4 * LANES) * (4 * LANES);
            self.columns::<S, 4>(s, 0..whole);
            self.columns::<S, 1>(s, whole..self.width);
        } else {
            self.columns::<S, 1>(s, 0..self.width);
        }
    }
}

impl<E: Element, const R: usize> Mix<'_, E, R> {
    /// `C` vectors of columns at a time, their sums in registers.
    #[inline(always)]
    fn columns<S: Simd, const C: usize>(&mut self, s: S, columns: Range<usize>) {
        let n = self.keys.len();
        let mut weights: [&[f32]; R] = [&[]; R];
        for (r, row) in weights.iter_mut().enumerate() {
            *row = &self.weights[r * self.stride + self.keys.start - self.from..][..n];
        }
        let v = &self.v[self.keys.start * self.width..self.keys.end * self.width];
        for col in columns.step_by(C * LANES) {
            let mut sums = [[s.splat(0.0); C]; R];
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = s.splat(self.alpha[r]);
                let row = &self.acc[r * self.width + col..][..C * LANES];
                for (c, sum) in sums.iter_mut().enumerate() {
                    *sum = s.mul(factor, s.load(&row[c * LANES..]));
                }
            }
            for (t, value) in v.chunks_exact(self.width).enumerate().take(n) {
                let (value, _) = value[col..col + C * LANES].as_chunks::<LANES>();
                let mut values = [s.splat(0.0); C];
                for c in 0..C {
                    values[c] = E::load(s, &value[c]);
                }
                for r in 0..R {
                    let p = s.splat(weights[r][t]);
                    for c in 0..C {
                        sums[r][c] = s.fma(p, values[c], sums[r][c]);
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                let row = &mut self.acc[r * self.width + col..][..C * LANES];
                for (c, sum) in sums.iter().enumerate() {
                    s.store(*sum, &mut row[c * LANES..]);
                }
            }
        }
    }
}

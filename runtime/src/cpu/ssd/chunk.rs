//! The chunked form (nemotron-h section 2.1): a chunk's tokens against each other and against the state that
//! enters, as matrix products.
//!
//! With running sums `c_t` of `Δ A` inside the chunk: `y_t = exp(c_t) C_t·S + Σ_{s <= t} (C_t·B_s) exp(c_t -
//! c_s) Δ_s x_s + D x_t` and `S ← exp(c_n) S + Σ_s B_s (exp(c_n - c_s) Δ_s x_s)`. `C_t·B_s` belongs to the
//! group; scaling the rows of `x`, never those of `B` or `C`, lets all heads of a group use it as it is.

use super::delta::Deltas;
use super::{HeadPiece, SsdShape};
use crate::cpu::mat::Mat;
use crate::cpu::scan::{
    Carver, LANES, block_of, dots, exp_of_difference, exp_sums, load, mac_columns, mac_packed, mac_rows,
    most_strips, padded, registers, split, split_mut, store, widths,
};
use crate::cpu::simd::Simd;

/// Floats that [`Scratch`] takes.
pub(super) fn scratch_len(shape: &SsdShape, chunk: usize) -> usize {
    let square = chunk * padded(chunk);
    2 * square + 2 * chunk * padded(shape.d_head)
}

/// Buffers of one chunk.
pub(super) struct Scratch<'a> {
    /// Row length of the square ones.
    width: usize,
    /// `C_t·B_s` for `s <= t`, zero above.
    scores: &'a mut [f32],
    /// The same times `exp(c_t - c_s)`, of one head.
    mixed: &'a mut [f32],
    /// `Δ_s x_s`: for each block of strips that is worked on together, its tokens one after the other.
    driven: &'a mut [[f32; LANES]],
    /// `exp(c_n - c_s) Δ_s x_s`, likewise.
    kept: &'a mut [[f32; LANES]],
}

impl<'a> Scratch<'a> {
    pub(super) fn new(carver: &mut Carver<'a>, shape: &SsdShape, chunk: usize) -> Self {
        let (square, strips) = (chunk * padded(chunk), chunk * shape.d_head.div_ceil(LANES));
        Self {
            width: padded(chunk),
            scores: carver.take(square),
            mixed: carver.take(square),
            driven: carver.vectors(strips),
            kept: carver.vectors(strips),
        }
    }

    /// `C Bᵀ` of a group, lower triangle.
    #[inline(always)]
    pub(super) fn scores<S: Simd>(&mut self, s: S, b: Mat<'_>, c: Mat<'_>) {
        let tokens = c.rows();
        let mut t = 0;
        while t < tokens {
            let left = tokens - t;
            t += if const { registers::<S>() == 1 } {
                if left >= 4 {
                    self.score_rows::<S, 4, 4>(s, t, b, c)
                } else {
                    self.score_rows::<S, 1, 4>(s, t, b, c)
                }
            } else if const { registers::<S>() == 2 } {
                if left >= 2 {
                    self.score_rows::<S, 2, 2>(s, t, b, c)
                } else {
                    self.score_rows::<S, 1, 2>(s, t, b, c)
                }
            } else {
                self.score_rows::<S, 1, 1>(s, t, b, c)
            };
        }
    }

    /// Rows `t..t + M`; what lies above the diagonal is computed with its tile and then cleared.
    #[inline(always)]
    fn score_rows<S: Simd, const M: usize, const N: usize>(
        &mut self,
        s: S,
        t: usize,
        b: Mat<'_>,
        c: Mat<'_>,
    ) -> usize {
        let mut of_c: [&[f32]; M] = [&[]; M];
        for (i, row) in of_c.iter_mut().enumerate() {
            *row = c.row(t + i);
        }
        let mut from = 0;
        while from < t + M {
            if t + M - from >= N {
                self.score_tile::<S, M, N>(s, t, from, of_c, b);
                from += N;
            } else {
                self.score_tile::<S, M, 1>(s, t, from, of_c, b);
                from += 1;
            }
        }
        for i in 0..M {
            self.scores[(t + i) * self.width..][t + i + 1..self.width].fill(0.0);
        }
        M
    }

    #[inline(always)]
    fn score_tile<S: Simd, const M: usize, const N: usize>(
        &mut self,
        s: S,
        t: usize,
        from: usize,
        of_c: [&[f32]; M],
        b: Mat<'_>,
    ) {
        let mut of_b: [&[f32]; N] = [&[]; N];
        for (j, row) in of_b.iter_mut().enumerate() {
            *row = b.row(from + j);
        }
        let tile = dots(s, of_c, of_b);
        for (i, row) in tile.iter().enumerate() {
            self.scores[(t + i) * self.width + from..][..N].copy_from_slice(row);
        }
    }

    /// What belongs to one head: its scores and its scaled rows of `x`.
    #[inline(always)]
    fn prepare<S: Simd>(&mut self, s: S, deltas: &mut Deltas<'_>, x: Mat<'_>) {
        let (tokens, p) = (deltas.tokens, x.cols());
        deltas.sum();
        exp_sums(s, tokens, (deltas.hi, deltas.lo), deltas.from_start, deltas.to_end);
        for at in (0..tokens).step_by(LANES) {
            let end = s.mul(s.load(&deltas.to_end[at..]), s.load(&deltas.delta[at..]));
            s.store(end, &mut deltas.to_end[at..]);
        }
        for t in 0..tokens {
            let scores = &self.scores[t * self.width..(t + 1) * self.width];
            let mixed = &mut self.mixed[t * self.width..(t + 1) * self.width];
            let sum = (deltas.hi[t], deltas.lo[t]);
            for at in (0..=t).step_by(LANES) {
                let decay = exp_of_difference(s, sum, &deltas.hi[at..], &deltas.lo[at..]);
                s.store(s.mul(decay, s.load(&scores[at..])), &mut mixed[at..]);
            }
            // A block of four tokens reads a few scores past the diagonal's vector.
            let done = padded(t + 1);
            mixed[done..(done + LANES).min(self.width)].fill(0.0);
        }
        for (first, count) in blocks::<S>(p) {
            for t in 0..tokens {
                let row = x.row(t);
                let (delta, end) = (s.splat(deltas.delta[t]), s.splat(deltas.to_end[t]));
                for j in 0..count {
                    let at = (first + j) * LANES;
                    let v = load(s, &row[at..(at + LANES).min(p)]);
                    let to = first * tokens + t * count + j;
                    s.store(s.mul(v, delta), &mut self.driven[to]);
                    s.store(s.mul(v, end), &mut self.kept[to]);
                }
            }
        }
    }
}

/// The blocks of strips that are worked on together: `(first strip, strips)`.
#[inline(always)]
fn blocks<S: Simd>(d_head: usize) -> impl Iterator<Item = (usize, usize)> {
    widths(d_head.div_ceil(LANES), const { most_strips(registers::<S>()) })
}

/// One chunk of one head.
#[inline(always)]
pub(super) fn head<S: Simd>(
    s: S,
    deltas: &mut Deltas<'_>,
    scratch: &mut Scratch<'_>,
    mut piece: HeadPiece<'_>,
) {
    scratch.prepare(s, deltas, piece.x);
    for (first, count) in blocks::<S>(piece.x.cols()) {
        let block = Block { first, deltas, scratch };
        // Accumulators: 4 × 4 of 32 registers, or 2 × 2 pairs of 16.
        if const { registers::<S>() == 1 } {
            match count {
                1 => block.both::<S, 4, 1>(s, &mut piece),
                2 => block.both::<S, 4, 2>(s, &mut piece),
                3 => block.both::<S, 4, 3>(s, &mut piece),
                _ => block.both::<S, 4, 4>(s, &mut piece),
            }
        } else if const { registers::<S>() == 2 } {
            match count {
                1 => block.both::<S, 2, 1>(s, &mut piece),
                _ => block.both::<S, 2, 2>(s, &mut piece),
            }
        } else {
            block.both::<S, 1, 1>(s, &mut piece);
        }
    }
}

/// Some strips of one head.
struct Block<'a, 'b> {
    first: usize,
    deltas: &'a Deltas<'b>,
    scratch: &'a Scratch<'b>,
}

impl Block<'_, '_> {
    /// Output, then state, in tiles of `M` rows and `N` strips.
    #[inline(always)]
    fn both<S: Simd, const M: usize, const N: usize>(&self, s: S, piece: &mut HeadPiece<'_>) {
        let (tokens, rows) = (self.deltas.tokens, piece.b.cols());
        let mut t = 0;
        while t < tokens {
            t += if tokens - t >= M {
                self.output::<S, M, N>(s, t, piece)
            } else {
                self.output::<S, 1, N>(s, t, piece)
            };
        }
        let mut r = 0;
        while r < rows {
            r += if rows - r >= M {
                self.state::<S, M, N>(s, r, piece)
            } else {
                self.state::<S, 1, N>(s, r, piece)
            };
        }
    }

    /// `y` of the tokens `t..t + M`.
    #[inline(always)]
    fn output<S: Simd, const M: usize, const N: usize>(
        &self,
        s: S,
        t: usize,
        piece: &mut HeadPiece<'_>,
    ) -> usize {
        let (p, rows, tokens) = (piece.x.cols(), piece.b.cols(), self.deltas.tokens);
        let state = split::<N>(block_of(piece.state, rows, self.first, N), rows);
        let mut of_c: [&[f32]; M] = [&[]; M];
        let mut mixed: [&[f32]; M] = [&[]; M];
        for i in 0..M {
            of_c[i] = piece.c.row(t + i);
            mixed[i] = &self.scratch.mixed[(t + i) * self.scratch.width..][..t + M];
        }
        let mut acc = mac_rows(s, [[s.splat(0.0); N]; M], of_c, state);
        for i in 0..M {
            let decay = s.splat(self.deltas.from_start[t + i]);
            let x = piece.x.row(t + i);
            for j in 0..N {
                let at = (self.first + j) * LANES;
                let skip = s.mul(s.splat(piece.d), load(s, &x[at..(at + LANES).min(p)]));
                acc[i][j] = s.fma(decay, acc[i][j], skip);
            }
        }
        let driven = &self.scratch.driven[self.first * tokens..][..tokens * N];
        let acc = mac_packed(s, acc, mixed, driven.as_chunks::<N>().0);
        for i in 0..M {
            let y = piece.y.row_mut(t + i);
            for j in 0..N {
                let at = (self.first + j) * LANES;
                store(s, acc[i][j], &mut y[at..(at + LANES).min(p)]);
            }
        }
        M
    }

    /// Rows `r..r + M` of the state.
    #[inline(always)]
    fn state<S: Simd, const M: usize, const N: usize>(
        &self,
        s: S,
        r: usize,
        piece: &mut HeadPiece<'_>,
    ) -> usize {
        let (rows, tokens) = (piece.b.cols(), self.deltas.tokens);
        let strips = split_mut::<N>(block_of(piece.state, rows, self.first, N), rows);
        let kept = &self.scratch.kept[self.first * tokens..][..tokens * N];
        let decay = s.splat(self.deltas.from_start[tokens - 1]);
        let mut acc = [[s.splat(0.0); N]; M];
        for i in 0..M {
            for j in 0..N {
                acc[i][j] = s.mul(decay, s.load(&strips[j][r + i]));
            }
        }
        let acc = mac_columns(s, acc, piece.b, r, kept.as_chunks::<N>().0);
        for i in 0..M {
            for j in 0..N {
                s.store(acc[i][j], &mut strips[j][r + i]);
            }
        }
        M
    }
}

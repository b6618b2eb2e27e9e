//! The chunked form (jet_nemotron section 3.1): the tokens of a chunk against each other and against the
//! state that enters, as matrix products.
//!
//! With running sums `G_i` of the log decays, `A_ij = β_i exp(G_i - G_j) k_i·k_j` (j < i) and `P_ij = exp(G_i -
//! G_j) q_i·k_j` (j <= i), the written errors `R` solve `(I + A) R = β (V - exp(G) K S)`; then `O = exp(G)
//! Q S + P R` and `S ← exp(G_n) S + (exp(G_n - G) K)ᵀ R`. The chunks of a sequence come one after the other
//! here, so the triangular system is solved for `R` itself, row block by row block, and its inverse (which
//! the parallel form of the WY representation needs) is never made: fewer operations, and forward
//! substitution keeps its accuracy when keys are nearly parallel.

use super::rows::Rows;
use super::{GatedDeltaSchedule, GatedDeltaShape, HeadPiece};
use crate::cpu::mat::Mat;
use crate::cpu::scan::{
    Carver, LANES, block_of, dots, exp_of_difference, exp_sums, load, mac_columns, mac_packed, mac_rows,
    most_strips, padded, prefix_sums, registers, split, split_mut, store, widths,
};
use crate::cpu::simd::Simd;

/// Floats that [`Scratch`] takes.
pub(super) fn scratch_len(shape: &GatedDeltaShape, schedule: &GatedDeltaSchedule) -> usize {
    let (n, width) = (schedule.chunk, padded(schedule.chunk));
    2 * n * width + 4 * width + n * padded(shape.d_key) + n * MOST_STRIPS * LANES
}

/// Strips whose errors are held at a time.
const MOST_STRIPS: usize = most_strips(1);

/// Buffers of one chunk of one head.
pub(super) struct Scratch<'a> {
    /// Row length of the square ones.
    width: usize,
    /// `-A`, below the diagonal.
    minus_a: &'a mut [f32],
    /// `P`, zero above the diagonal as far as a tile reads.
    p: &'a mut [f32],
    /// `G` as pairs.
    hi: &'a mut [f32],
    lo: &'a mut [f32],
    /// `exp(G)`.
    from_start: &'a mut [f32],
    /// `exp(G_n - G)`.
    to_end: &'a mut [f32],
    /// `exp(G_n - G) K`, rows as long as those of the keys.
    kept: &'a mut [f32],
    /// `R` of the strips that are worked on together, token by token.
    errors: &'a mut [[f32; LANES]],
}

impl<'a> Scratch<'a> {
    pub(super) fn new(
        carver: &mut Carver<'a>,
        shape: &GatedDeltaShape,
        schedule: &GatedDeltaSchedule,
    ) -> Self {
        let (n, width) = (schedule.chunk, padded(schedule.chunk));
        Self {
            width,
            minus_a: carver.take(n * width),
            p: carver.take(n * width),
            hi: carver.take(width),
            lo: carver.take(width),
            from_start: carver.take(width),
            to_end: carver.take(width),
            kept: carver.take(n * padded(shape.d_key)),
            errors: carver.vectors(n * MOST_STRIPS),
        }
    }

    /// What the columns share: `A`, `P`, decays, decayed keys.
    #[inline(always)]
    pub(super) fn prepare<S: Simd>(&mut self, s: S, rows: &Rows<'_>) {
        let n = rows.tokens;
        prefix_sums(rows.g[..n].iter().map(|g| f64::from(*g)), self.hi, self.lo);
        exp_sums(s, n, (self.hi, self.lo), self.from_start, self.to_end);
        let mut i = 0;
        while i < n {
            i += if const { registers::<S>() == 1 } {
                if n - i >= 2 {
                    self.products::<S, 2, 4>(s, i, rows)
                } else {
                    self.products::<S, 1, 4>(s, i, rows)
                }
            } else if const { registers::<S>() == 2 } {
                self.products::<S, 1, 2>(s, i, rows)
            } else {
                self.products::<S, 1, 1>(s, i, rows)
            };
        }
        for i in 0..n {
            let row = i * self.width..(i + 1) * self.width;
            let (minus_a, p) = (&mut self.minus_a[row.clone()], &mut self.p[row]);
            let (sum, minus_beta) = ((self.hi[i], self.lo[i]), s.splat(-rows.beta[i]));
            for at in (0..=i).step_by(LANES) {
                let decay = exp_of_difference(s, sum, &self.hi[at..], &self.lo[at..]);
                s.store(s.mul(s.mul(decay, minus_beta), s.load(&minus_a[at..])), &mut minus_a[at..]);
                s.store(s.mul(decay, s.load(&p[at..])), &mut p[at..]);
            }
            // A tile of four tokens reads up to three products past the diagonal.
            let end = (i + 4).min(self.width);
            p[i + 1..end].fill(0.0);
            let decay = s.splat(self.to_end[i]);
            let kept = &mut self.kept[i * rows.stride..(i + 1) * rows.stride];
            for (k, kept) in rows.k_padded(i).chunks_exact(LANES).zip(kept.chunks_exact_mut(LANES)) {
                s.store(s.mul(decay, s.load(k)), kept);
            }
        }
    }

    /// `k_i·k_j` and `q_i·k_j` of `M` rows from `i` on, to the diagonal's tile.
    #[inline(always)]
    fn products<S: Simd, const M: usize, const N: usize>(
        &mut self,
        s: S,
        i: usize,
        rows: &Rows<'_>,
    ) -> usize {
        let mut from = 0;
        while from < i + M {
            if i + M - from >= N {
                self.product_tile::<S, M, N>(s, i, from, rows);
                from += N;
            } else {
                self.product_tile::<S, M, 1>(s, i, from, rows);
                from += 1;
            }
        }
        M
    }

    #[inline(always)]
    fn product_tile<S: Simd, const M: usize, const N: usize>(
        &mut self,
        s: S,
        i: usize,
        from: usize,
        rows: &Rows<'_>,
    ) {
        let mut of_j: [&[f32]; N] = [&[]; N];
        for (j, row) in of_j.iter_mut().enumerate() {
            *row = rows.k_padded(from + j);
        }
        for m in 0..M {
            let tile = dots(s, [rows.k_padded(i + m), rows.q_padded(i + m)], of_j);
            let at = (i + m) * self.width + from;
            self.minus_a[at..at + N].copy_from_slice(&tile[0]);
            self.p[at..at + N].copy_from_slice(&tile[1]);
        }
    }
}

/// One chunk of one head, `columns` value columns at a time.
#[inline(always)]
pub(super) fn head<S: Simd>(
    s: S,
    columns: usize,
    rows: &Rows<'_>,
    scratch: &mut Scratch<'_>,
    mut piece: HeadPiece<'_>,
) {
    let strips = piece.v.cols().div_ceil(LANES);
    let most = (columns / LANES).min(const { most_strips(registers::<S>()) });
    for (first, count) in widths(strips, most) {
        let mut block = Block { first, rows, scratch };
        // Accumulators: 4 × 4 of 32 registers, or 2 × 2 pairs of 16.
        if const { registers::<S>() == 1 } {
            match count {
                1 => block.all::<S, 4, 1>(s, &mut piece),
                2 => block.all::<S, 4, 2>(s, &mut piece),
                3 => block.all::<S, 4, 3>(s, &mut piece),
                _ => block.all::<S, 4, 4>(s, &mut piece),
            }
        } else if const { registers::<S>() == 2 } {
            match count {
                1 => block.all::<S, 2, 1>(s, &mut piece),
                _ => block.all::<S, 2, 2>(s, &mut piece),
            }
        } else {
            block.all::<S, 1, 1>(s, &mut piece);
        }
    }
}

/// Some strips of one head.
struct Block<'a, 'r, 's> {
    first: usize,
    rows: &'a Rows<'r>,
    scratch: &'a mut Scratch<'s>,
}

impl Block<'_, '_, '_> {
    /// Errors and outputs, then the state, in tiles of `M` rows and `N` strips.
    #[inline(always)]
    fn all<S: Simd, const M: usize, const N: usize>(&mut self, s: S, piece: &mut HeadPiece<'_>) {
        let (tokens, d_key) = (self.rows.tokens, self.rows.d_key);
        let mut t = 0;
        while t < tokens {
            if tokens - t >= M {
                self.errors::<S, M, N>(s, t, piece);
                self.output::<S, M, N>(s, t, piece);
                t += M;
            } else {
                self.errors::<S, 1, N>(s, t, piece);
                self.output::<S, 1, N>(s, t, piece);
                t += 1;
            }
        }
        let mut r = 0;
        while r < d_key {
            r += if d_key - r >= M {
                self.state::<S, M, N>(s, r, piece)
            } else {
                self.state::<S, 1, N>(s, r, piece)
            };
        }
    }

    /// Rows `t..t + M` of `R`: the right-hand side, minus what the rows before contribute, then the small
    /// triangle in registers.
    #[inline(always)]
    fn errors<S: Simd, const M: usize, const N: usize>(&mut self, s: S, t: usize, piece: &mut HeadPiece<'_>) {
        let (d_key, width) = (self.rows.d_key, piece.v.cols());
        let state = split::<N>(block_of(piece.state, d_key, self.first, N), d_key);
        let mut keys: [&[f32]; M] = [&[]; M];
        let mut before: [&[f32]; M] = [&[]; M];
        for i in 0..M {
            keys[i] = self.rows.k(t + i);
            before[i] = &self.scratch.minus_a[(t + i) * self.scratch.width..][..t];
        }
        let mut acc = mac_rows(s, [[s.splat(0.0); N]; M], keys, state);
        for i in 0..M {
            let beta = self.rows.beta[t + i];
            let minus = s.splat(-beta * self.scratch.from_start[t + i]);
            for j in 0..N {
                let at = (self.first + j) * LANES;
                let v = load(s, &piece.v.row(t + i)[at..(at + LANES).min(width)]);
                acc[i][j] = s.fma(minus, acc[i][j], s.mul(s.splat(beta), v));
            }
        }
        let mut acc = mac_packed(s, acc, before, self.scratch.errors.as_chunks::<N>().0);
        for i in 1..M {
            for l in 0..i {
                let a = s.splat(self.scratch.minus_a[(t + i) * self.scratch.width + t + l]);
                for j in 0..N {
                    acc[i][j] = s.fma(a, acc[l][j], acc[i][j]);
                }
            }
        }
        for i in 0..M {
            for j in 0..N {
                s.store(acc[i][j], &mut self.scratch.errors[(t + i) * N + j]);
            }
        }
    }

    /// Rows `t..t + M` of the output.
    #[inline(always)]
    fn output<S: Simd, const M: usize, const N: usize>(&self, s: S, t: usize, piece: &mut HeadPiece<'_>) {
        let (d_key, width) = (self.rows.d_key, piece.v.cols());
        let state = split::<N>(block_of(piece.state, d_key, self.first, N), d_key);
        let mut queries: [&[f32]; M] = [&[]; M];
        let mut p: [&[f32]; M] = [&[]; M];
        for i in 0..M {
            queries[i] = self.rows.q(t + i);
            p[i] = &self.scratch.p[(t + i) * self.scratch.width..][..t + M];
        }
        let mut acc = mac_rows(s, [[s.splat(0.0); N]; M], queries, state);
        for i in 0..M {
            let decay = s.splat(self.scratch.from_start[t + i]);
            for j in 0..N {
                acc[i][j] = s.mul(decay, acc[i][j]);
            }
        }
        let acc = mac_packed(s, acc, p, self.scratch.errors.as_chunks::<N>().0);
        for i in 0..M {
            let o = piece.o.row_mut(t + i);
            for j in 0..N {
                let at = (self.first + j) * LANES;
                store(s, acc[i][j], &mut o[at..(at + LANES).min(width)]);
            }
        }
    }

    /// Rows `r..r + M` of the state.
    #[inline(always)]
    fn state<S: Simd, const M: usize, const N: usize>(
        &self,
        s: S,
        r: usize,
        piece: &mut HeadPiece<'_>,
    ) -> usize {
        let (d_key, tokens) = (self.rows.d_key, self.rows.tokens);
        let strips = split_mut::<N>(block_of(piece.state, d_key, self.first, N), d_key);
        let decay = s.splat(self.scratch.from_start[tokens - 1]);
        let mut acc = [[s.splat(0.0); N]; M];
        for i in 0..M {
            for j in 0..N {
                acc[i][j] = s.mul(decay, s.load(&strips[j][r + i]));
            }
        }
        let stride = self.rows.stride;
        let kept = Mat::new(&self.scratch.kept[..tokens * stride], tokens, stride);
        let acc = mac_columns(s, acc, kept, r, self.scratch.errors.as_chunks::<N>().0);
        for i in 0..M {
            for j in 0..N {
                s.store(acc[i][j], &mut strips[j][r + i]);
            }
        }
        M
    }
}

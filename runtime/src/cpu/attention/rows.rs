//! Every form of attention: blocks of up to six query rows against tiles of keys and values.
//!
//! A *row* is one query head of one token. The rows of some tokens are their query heads of one KV head, so that
//! all of them use each load. A block of rows computes its scores for a tile, updates its softmax and adds the
//! weighted values ([`super::lanes`]); what it carries from tile to tile (the largest score `m`, the sum of
//! exponentials `l`, the sums of values) lies in scratch.

use super::lanes::{Dots, Mix, ROWS, Softmax, block_rows};
use super::{Geometry, Keys};
use crate::cpu::kv_cache::{Element, GROUP, KvHead, KvLayout, Run};
use crate::cpu::mat::{Mat, MatMut};
use crate::cpu::simd::{Isa, dispatch};
use std::ops::Range;

/// Floats of scratch for `q_tile` tokens and tiles of `kv_tile` keys.
pub(super) fn scratch_len(g: &Geometry, q_tile: usize, kv_tile: usize) -> usize {
    q_tile * g.group() * row_len(g) + ROWS * kv_tile
}

/// Scratch of one row: its query, its sums of values, `m` and `l`.
fn row_len(g: &Geometry) -> usize {
    g.d_head + g.v_stride() + 2
}

/// Where the results go.
pub(super) enum Finish<'a> {
    /// Divided, `[tokens, group · d]`.
    Normalised(MatMut<'a>),
    /// One token's, with `m` and `l`, `[group, d + 2]`.
    Partial(&'a mut [f32]),
}

/// Attention of some tokens' query heads of one KV head over a share of the context.
pub(super) struct Attend<'a> {
    pub(super) isa: Isa,
    pub(super) g: &'a Geometry,
    pub(super) keys: Keys<'a>,
    pub(super) kv_head: usize,
    /// Position of the first token.
    pub(super) first: usize,
    /// Positions of keys to look at.
    pub(super) share: Range<usize>,
    /// `[tokens, group · d]`.
    pub(super) q: Mat<'a>,
    pub(super) q_tile: usize,
    pub(super) kv_tile: usize,
    pub(super) finish: Finish<'a>,
    pub(super) scratch: &'a mut [f32],
}

impl Attend<'_> {
    /// Runs it over caches of `E`.
    pub(super) fn run<E: Element>(mut self) {
        let (state, scores) = self.scratch.split_at_mut(self.q_tile * self.g.group() * row_len(self.g));
        let tokens = self.q.rows();
        for t0 in (0..tokens).step_by(self.q_tile) {
            let n = self.q_tile.min(tokens - t0);
            let first = self.first + t0;
            let mut tile = TokenTile { isa: self.isa, g: self.g, first, tokens: n, state: &mut *state };
            tile.load(self.q.rows_range(t0..t0 + n));
            let seen = self.g.visible(first).start.max(self.share.start)..(first + n).min(self.share.end);
            for cache in [Some(self.keys.past), self.keys.fresh].into_iter().flatten() {
                let head = cache.head(self.kv_head);
                for run in cache.runs(seen.clone()) {
                    tile.attend::<E>(cache.layout(), head, run, self.kv_tile, scores);
                }
            }
            match &mut self.finish {
                Finish::Normalised(out) => tile.store(out.rows_range(t0..t0 + n)),
                Finish::Partial(out) => tile.store_partial(out),
            }
        }
    }
}

/// Some tokens and the state of their rows: block after block, in each `q` `[d][rows]`, the sums
/// `[rows][v_stride]`, `m` and `l` `[rows]`.
struct TokenTile<'a> {
    isa: Isa,
    g: &'a Geometry,
    first: usize,
    tokens: usize,
    state: &'a mut [f32],
}

/// One block's part of the state.
struct Block<'a> {
    q: &'a mut [f32],
    acc: &'a mut [f32],
    m: &'a mut [f32],
    l: &'a mut [f32],
}

fn block<'a>(state: &'a mut [f32], g: &Geometry, rows: &Range<usize>) -> Block<'a> {
    let state = &mut state[rows.start * row_len(g)..rows.end * row_len(g)];
    let (q, state) = state.split_at_mut(rows.len() * g.d_head);
    let (acc, state) = state.split_at_mut(rows.len() * g.v_stride());
    let (m, l) = state.split_at_mut(rows.len());
    Block { q, acc, m, l }
}

impl TokenTile<'_> {
    /// The rows in blocks of one to six.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let all = self.tokens * self.g.group();
        let mut row = 0;
        std::iter::from_fn(move || {
            let rows = row..row + block_rows(all - row);
            row = rows.end;
            (!rows.is_empty()).then_some(rows)
        })
    }

    /// Packs the queries, scaled, and empties the sums.
    fn load(&mut self, q: Mat<'_>) {
        let (group, d) = (self.g.group(), self.g.d_head);
        for rows in self.blocks() {
            let b = block(self.state, self.g, &rows);
            b.acc.fill(0.0);
            b.m.fill(f32::NEG_INFINITY);
            b.l.fill(0.0);
            for (r, row) in rows.clone().enumerate() {
                let from = &q.row(row / group)[row % group * d..][..d];
                for (to, from) in b.q[r..].iter_mut().step_by(rows.len()).zip(from) {
                    *to = from * self.g.scale;
                }
            }
        }
    }

    /// All rows against one run of keys, in tiles that are aligned to their length: none crosses a block of the
    /// cache.
    fn attend<E: Element>(
        &mut self,
        layout: &KvLayout,
        head: &KvHead,
        run: Run,
        kv_tile: usize,
        scores: &mut [f32],
    ) {
        let end = run.slot + run.len;
        let mut slot = run.slot;
        while slot < end {
            let next = (slot / kv_tile * kv_tile + kv_tile).min(end);
            let from = slot / GROUP * GROUP;
            let (k, v) = head.slots::<E>(layout, from, (next - from).next_multiple_of(GROUP));
            let at = run.position + slot - run.slot;
            let tile = KvTile { k, v, first: slot - from, end: next - from, at };
            for rows in self.blocks() {
                match rows.len() {
                    1 => self.step::<E, 1>(&rows, &tile, scores),
                    2 => self.step::<E, 2>(&rows, &tile, scores),
                    3 => self.step::<E, 3>(&rows, &tile, scores),
                    4 => self.step::<E, 4>(&rows, &tile, scores),
                    5 => self.step::<E, 5>(&rows, &tile, scores),
                    _ => self.step::<E, ROWS>(&rows, &tile, scores),
                }
            }
            slot = next;
        }
    }

    /// One block of rows against one tile.
    fn step<E: Element, const R: usize>(
        &mut self,
        rows: &Range<usize>,
        tile: &KvTile<'_, E>,
        scores: &mut [f32],
    ) {
        let mut seen = [(0, 0); R];
        let (mut first, mut end) = (usize::MAX, 0);
        for (seen, row) in seen.iter_mut().zip(rows.clone()) {
            *seen = tile.seen_by(self.g.visible(self.first + row / self.g.group()));
            if seen.0 < seen.1 {
                (first, end) = (first.min(seen.0), end.max(seen.1));
            }
        }
        if first >= end {
            return;
        }
        let (from, to) = (first / GROUP * GROUP, end.next_multiple_of(GROUP));
        for seen in &mut seen {
            *seen = (seen.0.max(from) - from, seen.1.max(from) - from);
        }
        let (isa, d, width, stride) = (self.isa, self.g.d_head, self.g.v_stride(), to - from);
        let scores = &mut scores[..R * stride];
        let Block { q, acc, m, l } = block(self.state, self.g, rows);
        let mut alpha = [1.0; ROWS];
        dispatch(isa, Dots::<E, R> { q, k: tile.k, slots: from..to, d, scores });
        dispatch(isa, Softmax { scores, stride, seen: &seen, m, l, alpha: &mut alpha });
        let keys = first..end;
        dispatch(
            isa,
            Mix::<E, R> { weights: scores, stride, from, keys, v: tile.v, width, alpha: &alpha, acc },
        );
    }

    /// Divides the sums and writes them, `out` `[tokens, group · d]`.
    fn store(&mut self, mut out: MatMut<'_>) {
        let (group, d) = (self.g.group(), self.g.d_head);
        self.each_row(|row, acc, _, l| {
            let inverse = if l == 0.0 { 0.0 } else { 1.0 / l };
            let to = &mut out.row_mut(row / group)[row % group * d..][..d];
            for (to, from) in to.iter_mut().zip(acc) {
                *to = from * inverse;
            }
        });
    }

    /// Writes the sums as they are, with `m` and `l`, `out` `[group, d + 2]`.
    fn store_partial(&mut self, out: &mut [f32]) {
        let d = self.g.d_head;
        self.each_row(|row, acc, m, l| {
            let to = &mut out[row * (d + 2)..(row + 1) * (d + 2)];
            to[..d].copy_from_slice(acc);
            (to[d], to[d + 1]) = (m, l);
        });
    }

    /// Calls `f` with each row's number, its sums `[d]`, `m` and `l`.
    fn each_row(&mut self, mut f: impl FnMut(usize, &[f32], f32, f32)) {
        for rows in self.blocks() {
            let b = block(self.state, self.g, &rows);
            for (r, row) in rows.enumerate() {
                f(row, &b.acc[r * self.g.v_stride()..][..self.g.d_head], b.m[r], b.l[r]);
            }
        }
    }
}

/// Some slots' keys and values: those at `first..end` are held, the one at `first` has the position `at`.
struct KvTile<'a, E> {
    k: &'a [E],
    v: &'a [E],
    first: usize,
    end: usize,
    at: usize,
}

impl<E> KvTile<'_, E> {
    /// The slots of the tile that hold one of `positions`, as a pair that is empty where the first is not less.
    fn seen_by(&self, positions: Range<usize>) -> (usize, usize) {
        let first = self.first + positions.start.saturating_sub(self.at);
        let end = self.first + positions.end.saturating_sub(self.at);
        (first, end.min(self.end))
    }
}

//! Causal attention with grouped queries over a KV cache, full or windowed.
//!
//! For the query at position `q`, `out = Σ softmax(scale · q·k) v` over the keys at positions `k` with
//! `0 ≤ q - k` and, with a window `w`, `q - k < w`. Query head `h` reads KV head `h / (heads / kv_heads)`.
//! Softmax is online (Milakov and Gimelshein, arXiv:1805.02867; tiled as in Dao et al., arXiv:2205.14135): a row
//! keeps its largest score, the sum of exponentials and the weighted values, all in float32.
//!
//! Every form works on one KV head, whose query heads share each load of its keys and values:
//! [`prefill`] takes any number of tokens and gives outputs; [`decode`] takes one token and a part of its
//! context and gives a *partial* result, which [`merge`] joins with the others. Splitting the work over workers
//! is up to the caller: KV heads, tokens, and in decode parts of the context ([`context_part`]).

mod lanes;
mod rows;
mod schedule;
#[cfg(test)]
mod tests;

pub mod reference;

pub use schedule::{AttentionDecode, AttentionPrefill, DECODE, PREFILL, decode_problem, prefill_problem};

use super::kv_cache::{GROUP, KvCache, LANES, with_element};
use super::mat::{Mat, MatMut};
use super::simd::{Isa, Kernel, Simd, dispatch};
use rows::{Attend, Finish};
use std::ops::Range;

/// Sizes of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Query heads.
    pub heads: usize,
    /// KV heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub d_head: usize,
    /// Factor on the scores.
    pub scale: f32,
    /// A key is visible to a query iff it is at most `window - 1` positions back; `None`: all keys before.
    pub window: Option<usize>,
}

impl Geometry {
    /// Query heads that share a KV head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Positions that a query at `position` sees.
    pub fn visible(&self, position: usize) -> Range<usize> {
        self.window.map_or(0, |w| (position + 1).saturating_sub(w))..position + 1
    }

    fn v_stride(&self) -> usize {
        self.d_head.next_multiple_of(LANES)
    }
}

/// The keys and values that queries see: a cache, and for tokens that may not enter it before they attended
/// ([`KvCache::append_first`]) a second one that holds the new tokens only. Both have one layout but for the
/// window. A position is in one of them.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    /// The sequence's cache.
    pub past: &'a KvCache,
    /// New tokens that are not in it.
    pub fresh: Option<&'a KvCache>,
}

impl<'a> Keys<'a> {
    /// A cache that has all keys.
    pub fn of(past: &'a KvCache) -> Self {
        Self { past, fresh: None }
    }
}

/// Floats of scratch that [`prefill`] needs, for any number of tokens.
pub fn prefill_scratch_len(g: &Geometry, schedule: &AttentionPrefill) -> usize {
    rows::scratch_len(g, schedule.q_tile, schedule.kv_tile)
}

/// Attention of new tokens at positions `first..`, for the query heads of KV head `kv_head`: `q` and `out` are
/// `[tokens, group · d_head]`, the columns of that head's queries. The tokens' own keys are in `keys`.
/// `scratch` has [`prefill_scratch_len`] floats.
#[allow(clippy::too_many_arguments, reason = "what, how, in, out")]
pub fn prefill(
    isa: Isa,
    g: &Geometry,
    schedule: &AttentionPrefill,
    keys: Keys<'_>,
    kv_head: usize,
    first: usize,
    q: Mat<'_>,
    out: MatMut<'_>,
    scratch: &mut [f32],
) {
    debug_assert_eq!((q.rows(), q.cols()), (out.rows(), g.group() * g.d_head));
    let share = 0..first + q.rows();
    let (q_tile, kv_tile) = (schedule.q_tile, schedule.kv_tile);
    let finish = Finish::Normalised(out);
    let attend = Attend { isa, g, keys, kv_head, first, share, q, q_tile, kv_tile, finish, scratch };
    with_element!(keys.past.layout().kind, E => attend.run::<E>());
}

/// Floats of scratch that [`decode`] needs.
pub fn decode_scratch_len(g: &Geometry, schedule: &AttentionDecode) -> usize {
    rows::scratch_len(g, 1, schedule.kv_tile)
}

/// Floats of one partial result of one KV head: for each of its query heads `d_head` weighted values that are
/// not yet divided, the largest score, and the sum of exponentials.
pub fn partial_len(g: &Geometry) -> usize {
    g.group() * (g.d_head + 2)
}

/// Attention of one token at `position` over the positions `part` of its context, for the query heads of KV
/// head `kv_head`: `q` `[1, group · d_head]`, `partial` [`partial_len`] floats, `scratch`
/// [`decode_scratch_len`] floats.
#[allow(clippy::too_many_arguments, reason = "what, how, in, out")]
pub fn decode(
    isa: Isa,
    g: &Geometry,
    schedule: &AttentionDecode,
    keys: Keys<'_>,
    kv_head: usize,
    position: usize,
    part: Range<usize>,
    q: Mat<'_>,
    partial: &mut [f32],
    scratch: &mut [f32],
) {
    debug_assert_eq!((q.rows(), q.cols(), partial.len()), (1, g.group() * g.d_head, partial_len(g)));
    let (first, share, q_tile, kv_tile) = (position, part, 1, schedule.kv_tile);
    let finish = Finish::Partial(partial);
    let attend = Attend { isa, g, keys, kv_head, first, share, q, q_tile, kv_tile, finish, scratch };
    with_element!(keys.past.layout().kind, E => attend.run::<E>());
}

/// Part `i` of `parts` of the context of a query at `position`, cut between groups of 64 positions so that no
/// tile is read twice. Parts may be empty; together they are what the query sees.
pub fn context_part(g: &Geometry, position: usize, parts: usize, i: usize) -> Range<usize> {
    let seen = g.visible(position);
    let first_group = seen.start / GROUP;
    let groups = seen.end.div_ceil(GROUP) - first_group;
    let cut = |i: usize| ((first_group + groups * i / parts) * GROUP).clamp(seen.start, seen.end);
    cut(i)..cut(i + 1)
}

/// Joins the partial results of all parts of a context, `[parts, partial_len]`, into the outputs of that KV
/// head's queries, `out` `[group · d_head]`.
pub fn merge(isa: Isa, g: &Geometry, partials: &[f32], out: &mut [f32]) {
    debug_assert_eq!(out.len(), g.group() * g.d_head);
    dispatch(isa, Merge { d: g.d_head, len: partial_len(g), partials, out });
}

struct Merge<'a> {
    d: usize,
    len: usize,
    partials: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Merge<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (d, stride) = (self.d, self.d + 2);
        for (h, out) in self.out.chunks_exact_mut(d).enumerate() {
            let parts = self.partials.chunks_exact(self.len).map(|p| &p[h * stride..(h + 1) * stride]);
            let mut top = f32::NEG_INFINITY;
            for p in parts.clone() {
                top = top.max(p[d]);
            }
            out.fill(0.0);
            let mut total = 0.0;
            for p in parts {
                // A part without a visible key has the score -inf and weighs nothing.
                let weight = if p[d] == f32::NEG_INFINITY { 0.0 } else { (p[d] - top).exp() };
                total += weight * p[d + 1];
                for (o, v) in out.iter_mut().zip(&p[..d]) {
                    *o += weight * v;
                }
            }
            let inverse = if total == 0.0 { 0.0 } else { 1.0 / total };
            for o in out {
                *o *= inverse;
            }
        }
    }
}

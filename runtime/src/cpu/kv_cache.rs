//! The KV cache of one attention layer and one sequence.
//!
//! Layout, per KV head: keys in tiles of 16 tokens, `[d][16]` inside, so that scores are vertical multiply-adds
//! over 16 keys without a horizontal sum; values in rows of `d` padded to 16. Both come in blocks of 256 tokens,
//! so that growing never moves what is there. Heads are separate ([`KvHead`]): workers can write, or read, their
//! own.
//!
//! A full cache keeps every position from its base on; a windowed one is a ring in which the token that is `t`
//! after the base has slot `t mod window`, and exactly the last `window` positions are kept.

use super::mat::Mat;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use serde::Serialize;
use std::ops::Range;
use thiserror::Error;

/// Tokens of one tile of keys: the lanes of a vector.
pub(crate) const LANES: usize = 16;
/// Slots come in groups of this many: what the widest kernel reads at a time.
pub(crate) const GROUP: usize = 64;
/// Tokens of a block.
pub(crate) const BLOCK: usize = 256;

/// How keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KvType {
    /// Exactly as they were computed.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
}

impl KvType {
    /// Every type with its name.
    pub const ALL: &[(&'static str, KvType)] =
        &[("f32", KvType::F32), ("f16", KvType::F16), ("bf16", KvType::Bf16)];

    /// The name, as in problems and reports.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, k)| *k == self).expect("every type is listed").0
    }

    /// Bytes of one value.
    pub fn bytes(self) -> usize {
        if self == KvType::F32 { 4 } else { 2 }
    }
}

/// What can go wrong with a cache.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KvError {
    /// Truncation to a place whose window is gone.
    #[error(
        "cannot go back to position {to}: the window before it begins at {needed}, and the cache holds \
         positions {held_from}..{held_to}; keep a copy of the state to return to, or run the prompt again"
    )]
    Gone {
        /// Where to.
        to: usize,
        /// First position that the next token would see.
        needed: usize,
        /// First position held.
        held_from: usize,
        /// One past the last position held.
        held_to: usize,
    },
    /// Truncation to a place that is not reached yet.
    #[error("cannot truncate to position {to}: the cache ends at {end}")]
    Ahead {
        /// Where to.
        to: usize,
        /// Next position.
        end: usize,
    },
    /// Keys or values of the wrong length.
    #[error("{found} values are no {tokens} tokens of {width}")]
    Length {
        /// Values given.
        found: usize,
        /// Tokens.
        tokens: usize,
        /// Values per token.
        width: usize,
    },
}

/// One cache line, so that blocks begin on one.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A stored value: widened by the vector loads, rounded to nearest even when written.
pub(crate) trait Element: bytemuck::Pod {
    /// Sixteen values, widened.
    fn load<S: super::simd::Simd>(s: S, x: &[Self; 16]) -> S::V;
    /// Rounds `from` into `to`, of the same length.
    fn round(from: &[f32], to: &mut [Self]);
    /// Widens one value.
    fn widen(self) -> f32;
}

impl Element for f32 {
    #[inline(always)]
    fn load<S: super::simd::Simd>(s: S, x: &[f32; 16]) -> S::V {
        s.load(x)
    }
    fn round(from: &[f32], to: &mut [f32]) {
        to.copy_from_slice(from);
    }
    fn widen(self) -> f32 {
        self
    }
}

impl Element for f16 {
    #[inline(always)]
    fn load<S: super::simd::Simd>(s: S, x: &[f16; 16]) -> S::V {
        s.load_f16(bytemuck::cast_ref::<[f16; 16], [u16; 16]>(x))
    }
    fn round(from: &[f32], to: &mut [f16]) {
        to.convert_from_f32_slice(from);
    }
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn load<S: super::simd::Simd>(s: S, x: &[bf16; 16]) -> S::V {
        s.load_bf16(bytemuck::cast_ref::<[bf16; 16], [u16; 16]>(x))
    }
    fn round(from: &[f32], to: &mut [bf16]) {
        to.convert_from_f32_slice(from);
    }
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

/// Runs an expression with `$E` standing for the element type of `$kind`.
macro_rules! with_element {
    ($kind:expr, $E:ident => $body:expr) => {
        match $kind {
            $crate::cpu::kv_cache::KvType::F32 => {
                type $E = f32;
                $body
            }
            $crate::cpu::kv_cache::KvType::F16 => {
                type $E = half::f16;
                $body
            }
            $crate::cpu::kv_cache::KvType::Bf16 => {
                type $E = half::bf16;
                $body
            }
        }
    };
}
pub(crate) use with_element;

/// What the parts of a cache have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvLayout {
    /// KV heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub d_head: usize,
    /// How values are stored.
    pub kind: KvType,
    /// Positions a ring keeps; `None` keeps all.
    pub window: Option<usize>,
}

impl KvLayout {
    /// Values from one row of V to the next.
    pub(crate) fn v_stride(&self) -> usize {
        self.d_head.next_multiple_of(LANES)
    }

    /// Slots of block `b`: a ring's last block is no longer than needed.
    fn block_slots(&self, b: usize) -> usize {
        match self.window {
            Some(w) => w.next_multiple_of(GROUP).saturating_sub(b * BLOCK).min(BLOCK),
            None => BLOCK,
        }
    }

    /// Blocks that hold `tokens` tokens.
    fn blocks(&self, tokens: usize) -> usize {
        self.window.map_or(tokens, |w| tokens.min(w)).div_ceil(BLOCK)
    }

    /// Bytes of block `b` of one head, keys and values.
    fn block_bytes(&self, b: usize) -> usize {
        self.block_slots(b) * (self.d_head + self.v_stride()) * self.kind.bytes()
    }

    /// Bytes that a cache with room for `tokens` tokens takes.
    pub fn bytes(&self, tokens: usize) -> usize {
        self.kv_heads * (0..self.blocks(tokens)).map(|b| self.block_bytes(b)).sum::<usize>()
    }
}

/// Keys and values of one head.
#[derive(Clone, Default)]
pub struct KvHead {
    k: Vec<Box<[Line]>>,
    v: Vec<Box<[Line]>>,
}

impl KvHead {
    fn grow(&mut self, layout: &KvLayout, blocks: usize) {
        for b in self.k.len()..blocks {
            let lines = |width: usize| {
                let bytes = layout.block_slots(b) * width * layout.kind.bytes();
                vec![Line([0; 64]); bytes / 64].into_boxed_slice()
            };
            self.k.push(lines(layout.d_head));
            self.v.push(lines(layout.v_stride()));
        }
    }

    /// Keys and values of `len` slots from `slot` on (multiples of [`GROUP`], within one block): tiles of
    /// `[d][16]` keys, rows of `v_stride` values.
    #[inline(always)]
    pub(crate) fn slots<E: Element>(&self, layout: &KvLayout, slot: usize, len: usize) -> (&[E], &[E]) {
        let (block, first) = (slot / BLOCK, slot % BLOCK);
        let k = bytemuck::cast_slice::<Line, E>(&self.k[block]);
        let v = bytemuck::cast_slice::<Line, E>(&self.v[block]);
        let (dk, dv) = (layout.d_head, layout.v_stride());
        (&k[first * dk..(first + len) * dk], &v[first * dv..(first + len) * dv])
    }

    /// Writes the keys and values `[tokens, d_head]` of this head where `plan` says. Tokens that a ring would
    /// drop again at once are left out.
    pub fn write(&mut self, plan: &AppendPlan, k: Mat<'_>, v: Mat<'_>) {
        with_element!(plan.layout.kind, E => self.write_as::<E>(plan, k, v));
    }

    fn write_as<E: Element>(&mut self, plan: &AppendPlan, k: Mat<'_>, v: Mat<'_>) {
        let (dk, dv) = (plan.layout.d_head, plan.layout.v_stride());
        let mut t = plan.skip();
        while t < plan.tokens {
            let slot = plan.slot(t);
            let (block, first) = (slot / BLOCK, slot % BLOCK);
            let lane = slot % LANES;
            // As many tokens as share a tile of keys, are not cut by the ring's end, and are left.
            let to_wrap = plan.layout.window.map_or(LANES, |w| w - slot);
            let n = (LANES - lane).min(plan.tokens - t).min(to_wrap);
            let keys = bytemuck::cast_slice_mut::<Line, E>(&mut self.k[block]);
            let (tile, _) = keys[(first - lane) * dk..(first - lane + LANES) * dk].as_chunks_mut::<LANES>();
            write_keys(tile, lane, n, k.rows_range(t..t + n));
            let values = bytemuck::cast_slice_mut::<Line, E>(&mut self.v[block]);
            for i in 0..n {
                let at = (first + i) * dv;
                E::round(v.row(t + i), &mut values[at..at + dk]);
            }
            t += n;
        }
    }
}

/// Lanes `lane..lane + n` of one tile of keys from `n` rows.
fn write_keys<E: Element>(tile: &mut [[E; LANES]], lane: usize, n: usize, k: Mat<'_>) {
    if n == 1 {
        // One new token: round its row in pieces, then put each value into its column.
        let mut rounded = [E::zeroed(); LANES];
        for (columns, piece) in tile.chunks_mut(LANES).zip(k.row(0).chunks(LANES)) {
            E::round(piece, &mut rounded[..piece.len()]);
            for (column, value) in columns.iter_mut().zip(&rounded) {
                column[lane] = *value;
            }
        }
        return;
    }
    let mut wide = [0.0f32; LANES];
    let mut rows: [&[f32]; LANES] = [&[]; LANES];
    for (t, row) in rows[..n].iter_mut().enumerate() {
        *row = &k.row(t)[..tile.len()];
    }
    for (i, column) in tile.iter_mut().enumerate() {
        for (w, row) in wide.iter_mut().zip(&rows[..n]) {
            *w = row[i];
        }
        E::round(&wide[..n], &mut column[lane..lane + n]);
    }
}

/// Where an append puts its tokens: the same for every head, so that workers can write theirs.
#[derive(Clone, Copy, Debug)]
pub struct AppendPlan {
    layout: KvLayout,
    base: usize,
    first: usize,
    tokens: usize,
}

impl AppendPlan {
    fn slot(&self, t: usize) -> usize {
        self.layout.slot(self.base, self.first + t)
    }

    /// Tokens at the front that later ones of the same append would overwrite.
    fn skip(&self) -> usize {
        self.layout.window.map_or(0, |w| self.tokens.saturating_sub(w))
    }
}

impl KvLayout {
    /// The slot of `position` in a cache that began at `base`.
    fn slot(&self, base: usize, position: usize) -> usize {
        let token = position - base;
        self.window.map_or(token, |w| token % w)
    }
}

/// Slots `slot..slot + len` hold the positions `position..position + len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) slot: usize,
    pub(crate) position: usize,
    pub(crate) len: usize,
}

/// The KV cache of one attention layer and one sequence.
#[derive(Clone)]
pub struct KvCache {
    layout: KvLayout,
    heads: Vec<KvHead>,
    base: usize,
    first: usize,
    end: usize,
}

impl KvCache {
    /// An empty cache whose first token will have position 0. A window of 0 is taken as 1: a token always sees
    /// itself.
    pub fn new(layout: KvLayout) -> Self {
        let layout = KvLayout { window: layout.window.map(|w| w.max(1)), ..layout };
        Self { layout, heads: vec![KvHead::default(); layout.kv_heads], base: 0, first: 0, end: 0 }
    }

    /// Its layout.
    pub fn layout(&self) -> &KvLayout {
        &self.layout
    }

    /// The position the next token will have.
    pub fn end(&self) -> usize {
        self.end
    }

    /// The positions held.
    pub fn held(&self) -> Range<usize> {
        self.first..self.end
    }

    /// Makes room for `tokens` tokens from the base on: appends up to there do not allocate.
    pub fn reserve(&mut self, tokens: usize) {
        let blocks = self.layout.blocks(tokens);
        for head in &mut self.heads {
            head.grow(&self.layout, blocks);
        }
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        let blocks = self.heads.first().map_or(0, |h| h.k.len());
        self.layout.kv_heads * (0..blocks).map(|b| self.layout.block_bytes(b)).sum::<usize>()
    }

    /// Forgets everything; the next token will have position `position`. Memory is kept.
    pub fn clear(&mut self, position: usize) {
        (self.base, self.first, self.end) = (position, position, position);
    }

    /// Forgets positions `end..`. A ring can go back only while every position that the next token would see is
    /// still held: by any distance before it is full, by one token after.
    pub fn truncate(&mut self, end: usize) -> Result<(), KvError> {
        if end > self.end {
            return Err(KvError::Ahead { to: end, end: self.end });
        }
        let needed = self.layout.window.map_or(self.base, |w| (end + 1).saturating_sub(w).max(self.base));
        if needed < self.first || end < self.first {
            return Err(KvError::Gone { to: end, needed, held_from: self.first, held_to: self.end });
        }
        self.end = end;
        Ok(())
    }

    /// Whether `tokens` new tokens may be appended before they attend: not where a ring would then have dropped
    /// keys that the first of them still sees. Where it says no, they attend over this cache and a second one
    /// with the new tokens ([`super::attention::Keys`]), and are appended after.
    pub fn append_first(&self, tokens: usize) -> bool {
        self.layout.window.is_none_or(|w| tokens <= 1 || self.end + tokens - self.first <= w)
    }

    /// Appends `tokens` tokens in parts: every head's [`KvHead::write`] with the plan (by any worker), then
    /// [`Self::advance`] by as many tokens. Grows if it must.
    pub fn begin_append(&mut self, tokens: usize) -> (AppendPlan, &mut [KvHead]) {
        self.reserve(self.end - self.base + tokens);
        let plan = AppendPlan { layout: self.layout, base: self.base, first: self.end, tokens };
        (plan, &mut self.heads)
    }

    /// Ends an append in parts.
    pub fn advance(&mut self, tokens: usize) {
        self.end += tokens;
        if let Some(w) = self.layout.window {
            self.first = self.first.max(self.end.saturating_sub(w));
        }
    }

    /// Appends the next tokens, `k` and `v` `[tokens, kv_heads · d_head]`. A ring drops what leaves the window.
    pub fn append(&mut self, k: Mat<'_>, v: Mat<'_>) {
        let (tokens, d) = (k.rows(), self.layout.d_head);
        let (plan, heads) = self.begin_append(tokens);
        for (h, head) in heads.iter_mut().enumerate() {
            let columns = h * d..(h + 1) * d;
            head.write(&plan, k.cols_range(columns.clone()), v.cols_range(columns));
        }
        self.advance(tokens);
    }

    /// Keys and values of the positions held, oldest first, `[tokens, kv_heads, d_head]` each.
    pub fn export(&self) -> (Vec<f32>, Vec<f32>) {
        with_element!(self.layout.kind, E => self.export_as::<E>())
    }

    fn export_as<E: Element>(&self) -> (Vec<f32>, Vec<f32>) {
        let (d, dv) = (self.layout.d_head, self.layout.v_stride());
        let width = self.layout.kv_heads * d;
        let mut k = vec![0.0; self.held().len() * width];
        let mut v = k.clone();
        for (t, position) in self.held().enumerate() {
            let slot = self.layout.slot(self.base, position);
            let (group, at) = (slot / GROUP * GROUP, slot % GROUP);
            for (h, head) in self.heads.iter().enumerate() {
                let (keys, values) = head.slots::<E>(&self.layout, group, GROUP);
                let out = t * width + h * d;
                for i in 0..d {
                    k[out + i] = keys[(at / LANES * d + i) * LANES + at % LANES].widen();
                    v[out + i] = values[at * dv + i].widen();
                }
            }
        }
        (k, v)
    }

    /// Replaces the content by `k` and `v`, `[tokens, kv_heads, d_head]` each, the first at `position`.
    pub fn import(&mut self, position: usize, k: &[f32], v: &[f32]) -> Result<(), KvError> {
        let width = self.layout.kv_heads * self.layout.d_head;
        let tokens = k.len() / width.max(1);
        for given in [k, v] {
            if given.len() != tokens * width {
                return Err(KvError::Length { found: given.len(), tokens, width });
            }
        }
        self.clear(position);
        self.append(Mat::new(k, tokens, width), Mat::new(v, tokens, width));
        Ok(())
    }

    pub(crate) fn head(&self, h: usize) -> &KvHead {
        &self.heads[h]
    }

    /// The positions held within `positions`, as at most two runs of slots, oldest first.
    pub(crate) fn runs(&self, positions: Range<usize>) -> [Run; 2] {
        let from = positions.start.max(self.first);
        let to = positions.end.min(self.end).max(from);
        let slot = self.layout.slot(self.base, from);
        let len = self.layout.window.map_or(to - from, |w| (to - from).min(w - slot));
        [Run { slot, position: from, len }, Run { slot: 0, position: from + len, len: to - from - len }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::golden::noise;
    use proptest::prelude::*;

    fn layout(kv_heads: usize, d_head: usize, kind: KvType, window: Option<usize>) -> KvLayout {
        KvLayout { kv_heads, d_head, kind, window }
    }

    proptest! {
        #[test]
        fn any_chunks_export_as_the_last_tokens_of_the_whole(
            kv_heads in 1usize..4, d in 1usize..40, window in prop::option::of(1usize..300),
            chunks in prop::collection::vec(0usize..90, 1..8), base in 0usize..1000,
        ) {
            let total: usize = chunks.iter().sum();
            let width = kv_heads * d;
            let (k, v) = (noise(1, total * width), noise(2, total * width));
            let mut cache = KvCache::new(layout(kv_heads, d, KvType::F32, window));
            cache.clear(base);
            let mut done = 0;
            for n in chunks {
                let at = done * width..(done + n) * width;
                cache.append(Mat::new(&k[at.clone()], n, width), Mat::new(&v[at], n, width));
                done += n;
            }
            let kept = window.map_or(total, |w| total.min(w));
            prop_assert_eq!(cache.held(), base + total - kept..base + total);
            let from = (total - kept) * width;
            prop_assert_eq!(cache.export(), (k[from..].to_vec(), v[from..].to_vec()));
            prop_assert_eq!(cache.bytes(), cache.layout().bytes(total));
        }
    }

    #[test]
    fn half_formats_round_to_nearest_even() {
        let (k, v) = (noise(3, 20 * 24), noise(4, 20 * 24));
        for (name, kind) in KvType::ALL {
            let mut cache = KvCache::new(layout(2, 12, *kind, None));
            cache.import(7, &k, &v).unwrap();
            let round = |x: &f32| match kind {
                KvType::F32 => *x,
                KvType::F16 => f16::from_f32(*x).to_f32(),
                KvType::Bf16 => bf16::from_f32(*x).to_f32(),
            };
            let (got_k, got_v) = cache.export();
            assert_eq!(got_k, k.iter().map(round).collect::<Vec<_>>(), "{name}");
            assert_eq!(got_v, v.iter().map(round).collect::<Vec<_>>(), "{name}");
            assert_eq!(cache.held(), 7..27);
        }
    }

    #[test]
    fn appends_within_the_reserve_leave_the_blocks_where_they_are() {
        let mut cache = KvCache::new(layout(1, 8, KvType::F16, None));
        cache.reserve(600);
        let bytes = cache.bytes();
        let at = |c: &KvCache| c.heads[0].k.iter().map(|b| b.as_ptr()).collect::<Vec<_>>();
        let before = at(&cache);
        let x = noise(5, 600 * 8);
        cache.append(Mat::new(&x, 600, 8), Mat::new(&x, 600, 8));
        assert_eq!((cache.bytes(), at(&cache)), (bytes, before));
        assert_eq!(bytes, 3 * 256 * (8 + 16) * 2);
    }

    #[test]
    fn a_ring_takes_no_more_than_its_window_in_whole_groups() {
        let mut cache = KvCache::new(layout(2, 64, KvType::F16, Some(1152)));
        cache.reserve(100_000);
        assert_eq!(cache.bytes(), 2 * 1152 * 128 * 2);
        let mut cache = KvCache::new(layout(2, 64, KvType::F16, Some(5)));
        cache.reserve(100_000);
        assert_eq!(cache.bytes(), 2 * 64 * 128 * 2);
    }

    #[test]
    fn truncation_is_refused_where_the_window_is_gone() {
        let x = noise(6, 40 * 8);
        let mut full = KvCache::new(layout(1, 8, KvType::F32, None));
        full.append(Mat::new(&x, 40, 8), Mat::new(&x, 40, 8));
        full.truncate(13).unwrap();
        assert_eq!(full.export().0, x[..13 * 8]);
        assert!(full.truncate(14).unwrap_err().to_string().contains("ends at 13"));

        let mut ring = KvCache::new(layout(1, 8, KvType::F32, Some(16)));
        ring.append(Mat::new(&x[..12 * 8], 12, 8), Mat::new(&x[..12 * 8], 12, 8));
        ring.truncate(3).unwrap();
        ring.append(Mat::new(&x[3 * 8..], 37, 8), Mat::new(&x[3 * 8..], 37, 8));
        assert_eq!(ring.held(), 24..40);
        ring.truncate(39).unwrap();
        assert_eq!(ring.export().0, x[24 * 8..39 * 8]);
        let refused = ring.truncate(38).unwrap_err();
        assert!(refused.to_string().contains("holds positions 24..39"), "{refused}");
        assert!(matches!(refused, KvError::Gone { needed: 23, .. }));
    }

    #[test]
    fn an_import_of_the_wrong_length_is_refused() {
        let mut cache = KvCache::new(layout(2, 4, KvType::F32, None));
        assert!(matches!(cache.import(0, &[0.0; 17], &[0.0; 16]), Err(KvError::Length { found: 17, .. })));
        assert!(matches!(cache.import(0, &[0.0; 16], &[0.0; 8]), Err(KvError::Length { found: 8, .. })));
    }
}

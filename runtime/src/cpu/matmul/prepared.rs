//! Activations as the kernels read them.
//!
//! Tokens go through a kernel in groups of up to twelve. A group's activations lie together, the tokens of the
//! group innermost, so that each multiplication takes its activation from memory as a broadcast operand. All
//! forms are kept in float32 memory, which is what an executable's arena gives out; the words hold floats, pairs
//! of bfloat16 or four bytes.

use super::NumberPath;
use super::kernel::prepare::{Interleave, InterleavePairs, Quantize};
use super::kernel::with_group;
use crate::cpu::mat::Mat;
use crate::cpu::simd::int8::{Int8Isa, dispatch_int8};
use crate::cpu::simd::{Features, Isa, dispatch};
use std::ops::Range;

/// Tokens in a group at most.
pub(super) const MAX_GROUP: usize = 12;
/// Tokens in a group at most where there are sixteen registers of 8 lanes, which hold 4 tokens of 16 rows.
pub(super) const NARROW_GROUP: usize = 4;
/// Up to this many tokens are always one group.
const SMALL: usize = 8;
/// Values that share a scale.
pub(super) const BLOCK: usize = 32;

/// What a word of prepared activations is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// A float32 number.
    F32,
    /// A float32 number that was rounded to bfloat16.
    RoundedF32,
    /// Two bfloat16 numbers.
    Bf16Pairs,
    /// Four signed bytes, with a float32 scale and sums for every 32.
    Int8,
}

/// How the activations of one multiplication are laid out. Plain data: every worker makes the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    tokens: usize,
    k: usize,
    group: usize,
    form: Form,
    features: Features,
}

impl Layout {
    /// The layout of `tokens` rows of `k` values for `path`, in groups of `mt` tokens where the machine has the
    /// registers for it.
    pub fn new(tokens: usize, k: usize, path: NumberPath, mt: usize, features: Features) -> Self {
        let form = match path {
            NumberPath::F32 => Form::F32,
            NumberPath::Bf16 if features.bf16 => Form::Bf16Pairs,
            NumberPath::Bf16 => Form::RoundedF32,
            NumberPath::Int8 => Form::Int8,
        };
        let mut layout = Self { tokens, k, group: 1, form, features };
        // There are kernels for up to eight tokens and for twelve.
        let group = if mt < MAX_GROUP { mt.min(SMALL) } else { MAX_GROUP };
        layout.group = group.clamp(1, layout.group_limit());
        layout
    }

    /// Tokens.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Values per token.
    pub fn k(&self) -> usize {
        self.k
    }

    /// What a word is.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The instructions it was made for.
    pub fn features(&self) -> Features {
        self.features
    }

    /// Words of float32 memory that the prepared activations take.
    pub fn len(&self) -> usize {
        self.tokens * self.words()
    }

    /// Whether there is nothing to prepare.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of token groups.
    pub fn groups(&self) -> usize {
        let whole = self.whole_groups();
        let rest = self.tokens - whole * self.group;
        whole + if rest > SMALL.min(self.group_limit()) { 2 } else { usize::from(rest > 0) }
    }

    /// The tokens of the groups `groups`.
    pub fn tokens_of(&self, groups: Range<usize>) -> Range<usize> {
        self.start(groups.start)..self.start(groups.end)
    }

    /// Where the words of the groups `groups` are.
    pub fn words_of(&self, groups: Range<usize>) -> Range<usize> {
        let tokens = self.tokens_of(groups);
        tokens.start * self.words()..tokens.end * self.words()
    }

    /// Most tokens a group can have here.
    fn group_limit(&self) -> usize {
        let wide = match self.form {
            Form::Int8 => self.features.int8 >= Int8Isa::Avx512,
            Form::F32 | Form::RoundedF32 | Form::Bf16Pairs => self.features.isa == Isa::Avx512,
        };
        if wide { MAX_GROUP } else { NARROW_GROUP }
    }

    /// Groups of exactly `group` tokens. Few tokens are one group, whatever its size.
    fn whole_groups(&self) -> usize {
        if self.tokens <= SMALL.min(self.group_limit()) { 0 } else { self.tokens / self.group }
    }

    /// First token of group `i`; the end for the one after the last.
    fn start(&self, i: usize) -> usize {
        let whole = self.whole_groups();
        if i <= whole {
            return i * self.group;
        }
        let rest = self.tokens - whole * self.group;
        // What is left over is one group, or two of about the same size.
        if rest > SMALL.min(self.group_limit()) && i == whole + 1 {
            whole * self.group + rest.div_ceil(2)
        } else {
            self.tokens
        }
    }

    /// Sub-blocks of 32 values.
    pub(super) fn blocks(&self) -> usize {
        self.k.div_ceil(BLOCK)
    }

    /// Words per token.
    fn words(&self) -> usize {
        match self.form {
            Form::F32 | Form::RoundedF32 => self.k,
            Form::Bf16Pairs => self.k.div_ceil(2),
            // Eight words of bytes, the scale, its product with the sum, the negated sums of all and of the halves.
            Form::Int8 => self.blocks() * 13,
        }
    }

    /// Prepares the groups `groups` of `x`, `[tokens, k]`, into their words ([`words_of`](Self::words_of)).
    pub fn prepare(&self, x: Mat<'_>, groups: Range<usize>, words: &mut [f32]) {
        assert_eq!((x.rows(), x.cols()), (self.tokens, self.k), "activations of another shape");
        self.prepare_with(groups, words, |t| x.row(t));
    }

    /// The same for tokens gathered from `x`: token `t` is row `rows[t]`.
    pub fn prepare_rows(&self, x: Mat<'_>, rows: &[u32], groups: Range<usize>, words: &mut [f32]) {
        assert_eq!((rows.len(), x.cols()), (self.tokens, self.k), "activations of another shape");
        self.prepare_with(groups, words, |t| x.row(rows[t] as usize));
    }

    fn prepare_with<'a>(&self, groups: Range<usize>, words: &mut [f32], row: impl Fn(usize) -> &'a [f32]) {
        let all = self.words_of(groups.clone());
        assert_eq!(words.len(), all.len(), "words of other groups");
        for i in groups {
            let (tokens, at) = (self.tokens_of(i..i + 1), self.words_of(i..i + 1));
            let out = &mut words[at.start - all.start..at.end - all.start];
            with_group!(tokens.len(), MT => {
                let rows: [&[f32]; MT] = std::array::from_fn(|lane| row(tokens.start + lane));
                self.prepare_group(rows, out);
            });
        }
    }

    /// Prepares one group.
    fn prepare_group<const MT: usize>(&self, rows: [&[f32]; MT], words: &mut [f32]) {
        let rounded = self.form == Form::RoundedF32;
        match self.form {
            Form::F32 | Form::RoundedF32 => dispatch(self.features.isa, Interleave { rows, words, rounded }),
            Form::Bf16Pairs => {
                dispatch(self.features.isa, InterleavePairs { rows, words: bytemuck::cast_slice_mut(words) });
            }
            Form::Int8 => {
                let group = Int8Group::of_mut(bytemuck::cast_slice_mut(words), self.blocks(), MT);
                dispatch_int8(self.features.int8, Quantize { rows, group });
            }
        }
    }
}

/// Prepared activations, to read.
#[derive(Clone, Copy, Debug)]
pub struct Prepared<'a> {
    /// How they are laid out.
    pub layout: Layout,
    /// [`Layout::len`] words.
    pub words: &'a [f32],
}

impl<'a> Prepared<'a> {
    /// Activations whose groups were all prepared. Panics where there are too few words.
    pub fn new(layout: Layout, words: &'a [f32]) -> Self {
        Self { layout, words: &words[..layout.len()] }
    }

    /// The words of group `i`.
    pub(super) fn group(&self, i: usize) -> &'a [f32] {
        &self.words[self.layout.words_of(i..i + 1)]
    }
}

/// The nearest bfloat16, ties to even; NaN stays NaN.
#[inline(always)]
pub(super) fn round_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
    if x.is_nan() { x } else { f32::from_bits(rounded) }
}

/// The words of a group in the form [`Form::Int8`], by what they are. The token is innermost everywhere.
pub(super) struct Int8Group<W> {
    /// `[blocks][8]`: four bytes each.
    pub(super) bytes: W,
    /// `[blocks]`, float32.
    pub(super) scale: W,
    /// `[blocks]`, float32: the scale times the sum of the bytes.
    pub(super) scaled_sum: W,
    /// `[blocks]`, integers: the sum of the bytes, negated.
    pub(super) minus_sum: W,
    /// `[blocks][2]`, the same for the first and the last sixteen.
    pub(super) minus_halves: W,
}

impl<'a> Int8Group<&'a [u32]> {
    pub(super) fn of(words: &'a [u32], blocks: usize, size: usize) -> Self {
        let part = blocks * size;
        let (bytes, rest) = words.split_at(8 * part);
        let (scale, rest) = rest.split_at(part);
        let (scaled_sum, rest) = rest.split_at(part);
        let (minus_sum, minus_halves) = rest.split_at(part);
        Self { bytes, scale, scaled_sum, minus_sum, minus_halves }
    }
}

impl<'a> Int8Group<&'a mut [u32]> {
    fn of_mut(words: &'a mut [u32], blocks: usize, size: usize) -> Self {
        let part = blocks * size;
        let (bytes, rest) = words.split_at_mut(8 * part);
        let (scale, rest) = rest.split_at_mut(part);
        let (scaled_sum, rest) = rest.split_at_mut(part);
        let (minus_sum, minus_halves) = rest.split_at_mut(part);
        Self { bytes, scale, scaled_sum, minus_sum, minus_halves }
    }
}

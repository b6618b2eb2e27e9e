//! The gated delta rule of JetBlock (jet_nemotron section 3).
//!
//! Per head, with state `S` `[K, V]`, keys and queries l2-normalised (eps inside the root), queries times a
//! scale: `S ← exp(g) S`, `e = β (v - Sᵀ k)`, `S ← S + k eᵀ`, `o = Sᵀ q`. Three forms of one op:
//! [`reference()`] in plain float64, the token loop ([`step`], one fused pass over the state per token) and
//! chunks ([`chunk`], matmul-shaped). [`run`] takes them as the schedule says; the result does not depend on
//! it.
//!
//! The columns of `V` do not see each other. A worker's share is a range of heads, or columns of one head: it
//! reads the whole operands and writes its own columns of `o` and its own slice of the state. States are kept
//! in strips of 16 columns, `[V / 16][K][16]` float32 per head, the last strip padded with zeros
//! ([`state_len`], [`export_state`], [`import_state`]).

mod chunk;
mod gates;
mod reference;
mod rows;
mod schedule;
mod step;

pub use gates::{GateWeights, jet_gates};
pub use reference::reference;
pub use schedule::{GatedDeltaFamily, GatedDeltaSchedule, problem};

use super::mat::{Mat, MatMut};
use super::scan::{Carver, Form, LANES, SLACK, from_strips, pieces, strips_len, to_strips};
use super::simd::{Isa, Kernel, Simd, dispatch};
use rows::Rows;
use std::ops::Range;

/// The sizes and constants of one gated delta rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GatedDeltaShape {
    /// Heads, all of them.
    pub heads: usize,
    /// Key width (`K`).
    pub d_key: usize,
    /// Value width (`V`).
    pub d_value: usize,
    /// Factor on the normalised queries, `K^-1/2` as a rule.
    pub scale: f32,
    /// Added to the sum of squares inside the root of the l2 norms.
    pub l2_eps: f32,
}

/// Which part of the op a call computes: all value columns of some heads, or some of one head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The heads.
    pub heads: Range<usize>,
    /// The value columns of each; they begin at a multiple of 16 and end at one or at `d_value`.
    pub columns: Range<usize>,
}

impl Share {
    /// All columns of `heads`.
    pub fn heads(shape: &GatedDeltaShape, heads: Range<usize>) -> Self {
        Self { heads, columns: 0..shape.d_value }
    }

    /// Where the state of this share lies in the states of all heads, one after the other.
    ///
    /// # Panics
    /// If it is part of the columns of several heads.
    pub fn state_range(&self, shape: &GatedDeltaShape) -> Range<usize> {
        let head = state_len(shape.d_key, shape.d_value);
        if self.columns == (0..shape.d_value) {
            return self.heads.start * head..self.heads.end * head;
        }
        assert!(self.heads.len() <= 1, "columns are shared out within one head: {self:?}");
        let at = self.heads.start * head;
        at + strips_len(shape.d_key, self.columns.start)..at + strips_len(shape.d_key, self.columns.end)
    }
}

/// What the rule reads, for one sequence's segment of `T >= 1` tokens and all heads.
#[derive(Clone, Copy, Debug)]
pub struct GatedDeltaInput<'a> {
    /// Before the l2 norm, `[T, heads · d_key]`.
    pub q: Mat<'a>,
    /// Before the l2 norm, `[T, heads · d_key]`.
    pub k: Mat<'a>,
    /// `[T, heads · d_value]`.
    pub v: Mat<'a>,
    /// Log decay, at most 0, `[T, heads]`.
    pub g: Mat<'a>,
    /// Write strength, `[T, heads]`.
    pub beta: Mat<'a>,
}

/// Floats of one head's state.
pub const fn state_len(d_key: usize, d_value: usize) -> usize {
    strips_len(d_key, d_value)
}

/// Floats of scratch that [`run`] needs, whatever the share and the number of tokens.
pub fn scratch_len(shape: &GatedDeltaShape, schedule: &GatedDeltaSchedule) -> usize {
    SLACK + Rows::scratch_len(shape, schedule.chunk) + chunk::scratch_len(shape, schedule)
}

/// Computes a share of one sequence's segment.
///
/// `state` holds the share's states one after the other and is moved on; `o` is `[T, share.heads.len() ·
/// share.columns.len()]`. For speed `state` and `scratch` should begin on a 64-byte line.
///
/// # Panics
/// If the sizes do not fit each other.
pub fn run(
    isa: Isa,
    schedule: &GatedDeltaSchedule,
    shape: &GatedDeltaShape,
    share: &Share,
    input: GatedDeltaInput<'_>,
    state: &mut [f32],
    o: MatMut<'_>,
    scratch: &mut [f32],
) {
    let tokens = input.q.rows();
    let (heads, columns) = (&share.heads, &share.columns);
    assert!(heads.end <= shape.heads, "heads {heads:?} of {}", shape.heads);
    assert!(
        columns.start.is_multiple_of(LANES)
            && columns.end <= shape.d_value
            && (columns.end.is_multiple_of(LANES) || columns.end == shape.d_value),
        "a share of columns is whole strips of 16: {columns:?} of {}",
        shape.d_value
    );
    let keys = (tokens, shape.heads * shape.d_key);
    assert_eq!((input.q.rows(), input.q.cols()), keys, "q is [T, heads · d_key]");
    assert_eq!((input.k.rows(), input.k.cols()), keys, "k is [T, heads · d_key]");
    assert_eq!(
        (input.v.rows(), input.v.cols()),
        (tokens, shape.heads * shape.d_value),
        "v is [T, heads · d_value]"
    );
    assert_eq!((input.g.rows(), input.g.cols()), (tokens, shape.heads), "g is [T, heads]");
    assert_eq!((input.beta.rows(), input.beta.cols()), (tokens, shape.heads), "beta is [T, heads]");
    assert_eq!((o.rows(), o.cols()), (tokens, heads.len() * columns.len()), "o is [T, share]");
    assert_eq!(state.len(), heads.len() * strips_len(shape.d_key, columns.len()), "one state a head");
    let needed = scratch_len(shape, schedule);
    assert!(scratch.len() >= needed, "scratch has {} floats, needs {needed}", scratch.len());
    dispatch(isa, Run { schedule, shape, share, input, state, o, scratch });
}

struct Run<'a> {
    schedule: &'a GatedDeltaSchedule,
    shape: &'a GatedDeltaShape,
    share: &'a Share,
    input: GatedDeltaInput<'a>,
    state: &'a mut [f32],
    o: MatMut<'a>,
    scratch: &'a mut [f32],
}

/// The value side of one head's part of a piece: what both forms work on, beside [`Rows`].
struct HeadPiece<'a> {
    /// `[n, columns]`.
    v: Mat<'a>,
    /// In strips.
    state: &'a mut [f32],
    /// `[n, columns]`.
    o: MatMut<'a>,
}

impl Kernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let width = self.share.columns.len();
        let head_state = strips_len(self.shape.d_key, width);
        let mut carver = Carver::new(std::mem::take(&mut self.scratch));
        let mut rows = Rows::new(&mut carver, self.shape, self.schedule.chunk);
        let mut scratch = chunk::Scratch::new(&mut carver, self.shape, self.schedule);
        let (chunk, steps) = (self.schedule.chunk, self.schedule.steps);
        for (local, head) in self.share.heads.clone().enumerate() {
            let state = &mut self.state[local * head_state..(local + 1) * head_state];
            let values = head * self.shape.d_value + self.share.columns.start;
            for (first, tokens, form) in pieces(self.input.q.rows(), chunk, steps) {
                let of = first..first + tokens;
                rows.fill(s, self.shape, &self.input, of.clone(), head);
                let mut o = self.o.rows_range(of.clone());
                let piece = HeadPiece {
                    v: self.input.v.rows_range(of).cols_range(values..values + width),
                    state,
                    o: o.cols_range(local * width..(local + 1) * width),
                };
                match form {
                    Form::Step => step::tokens(s, self.schedule.columns, &mut rows, piece),
                    Form::Chunk => {
                        scratch.prepare(s, &rows);
                        chunk::head(s, self.schedule.columns, &rows, &mut scratch, piece);
                    }
                }
            }
        }
    }
}

/// One head's state as a checkpoint writes it, `[d_key, d_value]`.
///
/// # Panics
/// If a slice does not have the length of the sizes.
pub fn export_state(d_key: usize, d_value: usize, state: &[f32], out: &mut [f32]) {
    assert_eq!(out.len(), d_key * d_value, "the exported state is [d_key, d_value]");
    from_strips(d_key, d_value, state, |k, v, x| out[k * d_value + v] = x);
}

/// The reverse of [`export_state`].
///
/// # Panics
/// If a slice does not have the length of the sizes.
pub fn import_state(d_key: usize, d_value: usize, exported: &[f32], state: &mut [f32]) {
    assert_eq!(exported.len(), d_key * d_value, "the exported state is [d_key, d_value]");
    to_strips(d_key, d_value, state, |k, v| exported[k * d_value + v]);
}

#[cfg(test)]
mod tests;

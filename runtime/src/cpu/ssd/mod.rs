//! The state-space scan of Mamba-2 (SSD, nemotron-h section 2).
//!
//! Per head, with state `S` `[P, N]`: `Δ = clamp(softplus(dt_raw + dt_bias))`, `S ← exp(Δ A) S + Δ x Bᵀ`, `y
//! = S C + D x`, where `A = -exp(A_log)` and the `H / G` heads of a group share `B` and `C`. Three forms of
//! one op: [`reference()`] in plain float64, the token loop ([`step`], one fused pass over the state per
//! token) and chunks ([`chunk`], matmul-shaped). [`run`] takes them as the schedule says; the result does not
//! depend on it.
//!
//! A worker's share is a range of heads: it reads the whole operands and writes its own columns of `y` and
//! its own slice of the state. States are kept in strips of 16 channels, `[P / 16][N][16]` float32 per head,
//! the last strip padded with zeros ([`state_len`], [`export_state`], [`import_state`]).

mod chunk;
mod delta;
mod reference;
mod schedule;
mod step;

pub use reference::reference;
pub use schedule::{SsdFamily, SsdSchedule, problem};

use super::mat::{Mat, MatMut};
use super::scan::{Carver, Form, SLACK, SizeError, check_len, from_strips, pieces, strips_len, to_strips};
use super::simd::{Isa, Kernel, Simd, dispatch};
use delta::Deltas;
use std::ops::Range;

/// The sizes of one SSD op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SsdShape {
    /// Heads, all of them.
    pub heads: usize,
    /// Channels of a head (`P`).
    pub d_head: usize,
    /// Groups of heads that share `B` and `C`; divides `heads`.
    pub groups: usize,
    /// State size (`N`).
    pub d_state: usize,
}

impl SsdShape {
    /// The group of `head`: blocks of `heads / groups`.
    pub fn group(&self, head: usize) -> usize {
        head / (self.heads / self.groups)
    }
}

/// The parameters of all heads.
#[derive(Clone, Debug)]
pub struct SsdWeights {
    dt_bias: Vec<f32>,
    a: Vec<f32>,
    d: Vec<f32>,
    limit: (f32, f32),
}

impl SsdWeights {
    /// From a checkpoint's `dt_bias`, `A_log` and `D`, each `[heads]`, and the clamp `[dt_min, dt_max]` of Δ.
    ///
    /// # Errors
    /// A tensor that does not have one value a head.
    pub fn new(
        heads: usize,
        dt_bias: &[f32],
        a_log: &[f32],
        d: &[f32],
        limit: (f32, f32),
    ) -> Result<Self, SizeError> {
        check_len("dt_bias", dt_bias.len(), heads)?;
        check_len("A_log", a_log.len(), heads)?;
        check_len("D", d.len(), heads)?;
        let a = a_log.iter().map(|a| -f64::from(*a).exp() as f32).collect();
        Ok(Self { dt_bias: dt_bias.to_vec(), a, d: d.to_vec(), limit })
    }

    /// Number of heads.
    pub fn heads(&self) -> usize {
        self.d.len()
    }
}

/// What the scan reads, for one sequence's segment of `T >= 1` tokens and all heads.
#[derive(Clone, Copy, Debug)]
pub struct SsdInput<'a> {
    /// `[T, heads · d_head]`.
    pub x: Mat<'a>,
    /// `[T, groups · d_state]`.
    pub b: Mat<'a>,
    /// `[T, groups · d_state]`.
    pub c: Mat<'a>,
    /// Before bias, softplus and clamp: `[T, heads]`.
    pub dt_raw: Mat<'a>,
}

/// Floats of one head's state.
pub const fn state_len(d_head: usize, d_state: usize) -> usize {
    strips_len(d_state, d_head)
}

/// Floats of scratch that [`run`] needs, whatever the number of heads and tokens.
pub fn scratch_len(shape: &SsdShape, schedule: &SsdSchedule) -> usize {
    SLACK + Deltas::scratch_len(schedule.chunk) + chunk::scratch_len(shape, schedule.chunk)
}

/// Scans one sequence's segment for the heads `heads`.
///
/// `state` holds these heads' states one after the other and is moved on; `y` is `[T, heads.len() · d_head]`.
/// For speed `state` and `scratch` should begin on a 64-byte line.
///
/// # Panics
/// If the sizes do not fit each other.
pub fn run(
    isa: Isa,
    schedule: &SsdSchedule,
    shape: &SsdShape,
    weights: &SsdWeights,
    heads: Range<usize>,
    input: SsdInput<'_>,
    state: &mut [f32],
    y: MatMut<'_>,
    scratch: &mut [f32],
) {
    let tokens = input.x.rows();
    assert!(
        shape.groups > 0 && shape.heads.is_multiple_of(shape.groups),
        "groups divide the heads: {shape:?}"
    );
    assert_eq!(weights.heads(), shape.heads, "one set of parameters a head");
    assert!(heads.end <= shape.heads, "heads {heads:?} of {}", shape.heads);
    assert_eq!(input.x.cols(), shape.heads * shape.d_head, "x is [T, heads · d_head]");
    let gn = shape.groups * shape.d_state;
    assert_eq!((input.b.rows(), input.b.cols()), (tokens, gn), "B is [T, groups · d_state]");
    assert_eq!((input.c.rows(), input.c.cols()), (tokens, gn), "C is [T, groups · d_state]");
    assert_eq!((input.dt_raw.rows(), input.dt_raw.cols()), (tokens, shape.heads), "dt is [T, heads]");
    assert_eq!((y.rows(), y.cols()), (tokens, heads.len() * shape.d_head), "y is [T, share · d_head]");
    assert_eq!(state.len(), heads.len() * state_len(shape.d_head, shape.d_state), "one state a head");
    let needed = scratch_len(shape, schedule);
    assert!(scratch.len() >= needed, "scratch has {} floats, needs {needed}", scratch.len());
    dispatch(isa, Run { schedule, shape, weights, heads, input, state, y, scratch });
}

struct Run<'a> {
    schedule: &'a SsdSchedule,
    shape: &'a SsdShape,
    weights: &'a SsdWeights,
    heads: Range<usize>,
    input: SsdInput<'a>,
    state: &'a mut [f32],
    y: MatMut<'a>,
    scratch: &'a mut [f32],
}

/// One head's part of a piece: what both forms work on.
struct HeadPiece<'a> {
    /// `[n, d_head]`.
    x: Mat<'a>,
    /// `[n, d_state]`.
    b: Mat<'a>,
    /// `[n, d_state]`.
    c: Mat<'a>,
    /// The skip weight.
    d: f32,
    /// In strips.
    state: &'a mut [f32],
    /// `[n, d_head]`.
    y: MatMut<'a>,
}

impl Kernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let (p, n) = (self.shape.d_head, self.shape.d_state);
        let head_state = state_len(p, n);
        let mut carver = Carver::new(std::mem::take(&mut self.scratch));
        let mut deltas = Deltas::new(&mut carver, self.schedule.chunk);
        let mut products = chunk::Scratch::new(&mut carver, self.shape, self.schedule.chunk);
        for (first, tokens, form) in pieces(self.input.x.rows(), self.schedule.chunk, self.schedule.steps) {
            let rows = first..first + tokens;
            let mut group_done = None;
            for head in self.heads.clone() {
                let group = self.shape.group(head);
                let of_group = group * n..(group + 1) * n;
                let local = head - self.heads.start;
                let mut y = self.y.rows_range(rows.clone());
                let piece = HeadPiece {
                    x: self.input.x.rows_range(rows.clone()).cols_range(head * p..(head + 1) * p),
                    b: self.input.b.rows_range(rows.clone()).cols_range(of_group.clone()),
                    c: self.input.c.rows_range(rows.clone()).cols_range(of_group),
                    d: self.weights.d[head],
                    state: &mut self.state[local * head_state..(local + 1) * head_state],
                    y: y.cols_range(local * p..(local + 1) * p),
                };
                let raw = self.input.dt_raw.rows_range(rows.clone());
                deltas.fill(s, raw, head, self.weights);
                match form {
                    Form::Step => step::tokens(s, self.schedule.columns, &deltas, piece),
                    Form::Chunk => {
                        if group_done != Some(group) {
                            products.scores(s, piece.b, piece.c);
                            group_done = Some(group);
                        }
                        chunk::head(s, &mut deltas, &mut products, piece);
                    }
                }
            }
        }
    }
}

/// One head's state as a checkpoint writes it, `[d_head, d_state]`.
///
/// # Panics
/// If a slice does not have the length of the sizes.
pub fn export_state(d_head: usize, d_state: usize, state: &[f32], out: &mut [f32]) {
    assert_eq!(out.len(), d_head * d_state, "the exported state is [d_head, d_state]");
    from_strips(d_state, d_head, state, |n, p, v| out[p * d_state + n] = v);
}

/// The reverse of [`export_state`].
///
/// # Panics
/// If a slice does not have the length of the sizes.
pub fn import_state(d_head: usize, d_state: usize, exported: &[f32], state: &mut [f32]) {
    assert_eq!(exported.len(), d_head * d_state, "the exported state is [d_head, d_state]");
    to_strips(d_state, d_head, state, |n, p| exported[p * d_state + n]);
}

#[cfg(test)]
mod tests;

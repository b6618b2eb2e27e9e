//! Causal depthwise convolution over time (nemotron-h section 2, step 2).
//!
//! `out[t, c] = bias[c] + Σ_k w[c, k] · x[t - K + 1 + k, c]`, then silu where asked. Tap `K - 1` is the
//! current token; values from before the segment are the carried state, zero at the start of a sequence. The
//! state holds the last `K - 1` raw columns, one row per column, oldest first: `[K - 1, channels]`, so that
//! vectors run over channels; a checkpoint's `[channels, K - 1]` is its transpose ([`export_state`],
//! [`import_state`]).
//!
//! A worker's share is a range of channels: all views are cut to it.

mod reference;

pub use super::scan::SizeError;
pub use reference::reference;

use super::act::silu_lanes;
use super::mat::{Mat, MatMut};
use super::scan::{LANES, check_len, load, padded, store};
use super::simd::{Isa, Kernel, Simd, dispatch};
use jet_codegen::schedule::{Family, Illegal, Param, Problem, Schedule, Values};
use std::ops::Range;

jet_codegen::schedule! {
    /// How a causal convolution walks its channels.
    pub struct ConvSchedule = "causal_conv" v1 {
        /// Vectors of 16 channels that go down the sequence together, their windows in registers.
        vectors: [1, 2, 4] = 2,
    }
}

/// The causal convolution as the tuner sees it. Problems have `tokens`, `channels` and `taps`.
#[derive(Clone, Copy, Debug)]
pub struct ConvFamily;

impl Family for ConvFamily {
    fn name(&self) -> &'static str {
        ConvSchedule::FAMILY
    }
    fn version(&self) -> u32 {
        ConvSchedule::VERSION
    }
    fn params(&self) -> &'static [Param] {
        ConvSchedule::PARAMS
    }
    fn legal(&self, problem: &Problem, values: &Values) -> Result<(), Illegal> {
        let s = ConvSchedule::from_values(values)?;
        let channels = problem.dim("channels");
        if s.vectors > ConvSchedule::default().vectors && s.vectors * LANES > padded(channels) {
            return Err(Illegal(format!("{} vectors are more than the {channels} channels fill", s.vectors)));
        }
        Ok(())
    }
}

/// The problem of one convolution, for the tuner and the cache key.
pub fn problem(tokens: usize, channels: usize, taps: usize) -> Problem {
    Problem::new(ConvSchedule::FAMILY, "f32", &[("tokens", tokens), ("channels", channels), ("taps", taps)])
}

/// The weights of a convolution, tap by tap.
#[derive(Clone, Debug)]
pub struct ConvWeights {
    channels: usize,
    taps: usize,
    /// `[taps, channels]`.
    weight: Vec<f32>,
    /// `[channels]`, zero without a bias.
    bias: Vec<f32>,
}

impl ConvWeights {
    /// From a checkpoint's `weight` `[channels, 1, taps]` and `bias` `[channels]`.
    ///
    /// # Errors
    /// A tensor that does not have this size.
    pub fn new(
        channels: usize,
        taps: usize,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<Self, SizeError> {
        check_len("conv1d.weight", weight.len(), channels * taps)?;
        check_len("conv1d.bias", bias.map_or(channels, <[f32]>::len), channels)?;
        let transposed = (0..taps).flat_map(|k| (0..channels).map(move |c| weight[c * taps + k])).collect();
        Ok(Self {
            channels,
            taps,
            weight: transposed,
            bias: bias.map_or_else(|| vec![0.0; channels], <[f32]>::to_vec),
        })
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Number of taps.
    pub fn taps(&self) -> usize {
        self.taps
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        size_of_val(self.weight.as_slice()) + size_of_val(self.bias.as_slice())
    }

    #[inline(always)]
    fn tap(&self, k: usize, channels: Range<usize>) -> &[f32] {
        &self.weight[k * self.channels + channels.start..k * self.channels + channels.end]
    }
}

/// Convolves the channels `channels` of one sequence's segment of `T >= 1` tokens and moves the state on.
///
/// `x` and `out` are `[T, channels.len()]`, `state` is `[taps - 1, channels.len()]`, oldest first: each the
/// caller's share, cut from the whole. `apply_silu` applies silu to the sum.
///
/// # Panics
/// If the sizes do not fit each other.
pub fn run(
    isa: Isa,
    schedule: &ConvSchedule,
    weights: &ConvWeights,
    channels: Range<usize>,
    apply_silu: bool,
    x: Mat<'_>,
    state: MatMut<'_>,
    out: MatMut<'_>,
) {
    let n = channels.len();
    assert!(channels.end <= weights.channels, "channels {channels:?} of {}", weights.channels);
    assert!(weights.taps >= 1, "a convolution has a tap");
    assert_eq!((x.cols(), out.cols(), out.rows()), (n, n, x.rows()), "x and out are [T, channels]");
    assert_eq!((state.rows(), state.cols()), (weights.taps - 1, n), "the state is [taps - 1, channels]");
    dispatch(isa, Run { vectors: schedule.vectors, weights, channels, apply_silu, x, state, out });
}

struct Run<'a> {
    vectors: usize,
    weights: &'a ConvWeights,
    channels: Range<usize>,
    apply_silu: bool,
    x: Mat<'a>,
    state: MatMut<'a>,
    out: MatMut<'a>,
}

impl Kernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let n = self.channels.len();
        let mut c = 0;
        while n - c >= LANES {
            let vectors = ((n - c) / LANES).min(self.vectors);
            c += LANES
                * match (vectors, self.weights.taps) {
                    (4.., 4) => self.rolling::<S, 4, 4>(s, c),
                    (2.., 4) => self.rolling::<S, 2, 4>(s, c),
                    (_, 4) => self.rolling::<S, 1, 4>(s, c),
                    (4.., 3) => self.rolling::<S, 4, 3>(s, c),
                    (2.., 3) => self.rolling::<S, 2, 3>(s, c),
                    (_, 3) => self.rolling::<S, 1, 3>(s, c),
                    (4.., 2) => self.rolling::<S, 4, 2>(s, c),
                    (2.., 2) => self.rolling::<S, 2, 2>(s, c),
                    (_, 2) => self.rolling::<S, 1, 2>(s, c),
                    _ => self.any_taps(s, c..c + LANES),
                };
        }
        if c < n {
            self.any_taps(s, c..n);
        }
        roll(&mut self.state, self.x);
    }
}

impl Run<'_> {
    /// `N` vectors of channels from `c` on, the last `K - 1` columns in registers.
    #[inline(always)]
    fn rolling<S: Simd, const N: usize, const K: usize>(&mut self, s: S, c: usize) -> usize {
        let mut w = [[s.splat(0.0); N]; K];
        let mut bias = [s.splat(0.0); N];
        let mut window = [[s.splat(0.0); N]; K];
        let first = self.channels.start + c;
        for j in 0..N {
            let at = first + j * LANES;
            bias[j] = s.load(&self.weights.bias[at..]);
            for k in 0..K {
                w[k][j] = s.load(self.weights.tap(k, at..at + LANES));
            }
            for k in 1..K {
                window[k][j] = s.load(&self.state.row(k - 1)[c + j * LANES..]);
            }
        }
        for t in 0..self.x.rows() {
            let row = &self.x.row(t)[c..c + N * LANES];
            let out = &mut self.out.row_mut(t)[c..c + N * LANES];
            for j in 0..N {
                let mut acc = bias[j];
                for k in 0..K - 1 {
                    window[k][j] = window[k + 1][j];
                    acc = s.fma(w[k][j], window[k][j], acc);
                }
                window[K - 1][j] = s.load(&row[j * LANES..]);
                acc = s.fma(w[K - 1][j], window[K - 1][j], acc);
                let v = if self.apply_silu { silu_lanes(s, acc) } else { acc };
                s.store(v, &mut out[j * LANES..]);
            }
        }
        N
    }

    /// At most 16 channels, any number of taps: each tap read from where it is.
    #[inline(always)]
    fn any_taps<S: Simd>(&mut self, s: S, channels: Range<usize>) -> usize {
        let taps = self.weights.taps;
        let of = self.channels.start + channels.start..self.channels.start + channels.end;
        for t in 0..self.x.rows() {
            let mut acc = load(s, &self.weights.bias[of.clone()]);
            for k in 0..taps {
                // Token t - (taps - 1) + k; the state's row r is token r - (taps - 1).
                let at = t + k;
                let column = if at < taps - 1 { self.state.row(at) } else { self.x.row(at - (taps - 1)) };
                let v = load(s, &column[channels.clone()]);
                acc = s.fma(load(s, self.weights.tap(k, of.clone())), v, acc);
            }
            let v = if self.apply_silu { silu_lanes(s, acc) } else { acc };
            store(s, v, &mut self.out.row_mut(t)[channels.clone()]);
        }
        1
    }
}

/// Leaves in `state` `[columns, channels]` the last columns of (old state, then the rows of `x`), oldest
/// first.
pub(super) fn roll(state: &mut MatMut<'_>, x: Mat<'_>) {
    let (columns, tokens) = (state.rows(), x.rows());
    let kept = columns.saturating_sub(tokens);
    // Through a small buffer: the rows lie in one view, which cannot be borrowed twice.
    let mut block = [0.0; 64];
    for r in 0..kept {
        for c in (0..state.cols()).step_by(block.len()) {
            let part = c..(c + block.len()).min(state.cols());
            let copy = &mut block[..part.len()];
            copy.copy_from_slice(&state.row(r + tokens)[part.clone()]);
            state.row_mut(r)[part].copy_from_slice(copy);
        }
    }
    for r in kept..columns {
        state.row_mut(r).copy_from_slice(x.row(tokens + r - columns));
    }
}

/// The state as a checkpoint writes it: `[channels, columns]`, oldest first, from `[columns, channels]`.
///
/// # Panics
/// If `out` has another length than the state.
pub fn export_state(state: &[f32], columns: usize, out: &mut [f32]) {
    assert_eq!(state.len(), out.len(), "the exported state has as many values");
    let channels = state.len().checked_div(columns).unwrap_or(0);
    for (i, v) in out.iter_mut().enumerate() {
        *v = state[(i % columns) * channels + i / columns];
    }
}

/// The reverse of [`export_state`].
///
/// # Panics
/// If `state` has another length than `exported`.
pub fn import_state(exported: &[f32], columns: usize, state: &mut [f32]) {
    assert_eq!(state.len(), exported.len(), "the imported state has as many values");
    let channels = state.len().checked_div(columns).unwrap_or(0);
    for (i, v) in exported.iter().enumerate() {
        state[(i % columns) * channels + i / columns] = *v;
    }
}

#[cfg(test)]
mod tests;

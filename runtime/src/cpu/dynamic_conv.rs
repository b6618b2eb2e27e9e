//! JetBlock's dynamic convolution (jet_nemotron section 2.4): a causal depthwise convolution whose taps are
//! generated for every token.
//!
//! `ker = h · W2ᵀ + b2` has one value per channel and tap (flat index `channel · taps + tap`), `pre[t, c] =
//! Σ_w ker[t, c, w] · u[t - W + 1 + w, c]`, `out = silu(pre)`. [`run`] makes the taps of 16 channels and a
//! few tokens in registers and applies them there; the tap tensor is never stored. [`apply_taps`] takes taps
//! that a matrix product made (of a quantised `W2`, say), a tile of tokens at a time, with the rows of `W2`
//! in the order that [`tap_order`] gives.
//!
//! The state holds the last `W` rows of `u`, oldest first: `[W, channels]`; a checkpoint's `[channels, W]` is
//! its transpose (`conv::export_state`). Only `W - 1` of them are ever read again, the oldest is kept because
//! the public cache format has it.

mod fused;
mod reference;
mod weights;

pub use reference::reference;
pub use weights::{Rows, TapWeights, tap_order};

use super::act::silu_lanes;
use super::conv::roll;
use super::mat::{Mat, MatMut};
use super::scan::{LANES, load, store};
use super::simd::{Isa, Kernel, Simd, dispatch};
use fused::Fused;
use jet_codegen::schedule::{Family, Illegal, Param, Problem, Schedule, Values};
use std::ops::Range;

jet_codegen::schedule! {
    /// How a dynamic convolution makes its taps.
    pub struct DynamicConvSchedule = "dynamic_conv" v1 {
        /// Tokens whose taps are made together, in registers.
        tokens: [1, 2, 4] = 4,
    }
}

/// The dynamic convolution as the tuner sees it. Problems have `tokens`, `channels`, `taps` and `hidden`.
#[derive(Clone, Copy, Debug)]
pub struct DynamicConvFamily;

impl Family for DynamicConvFamily {
    fn name(&self) -> &'static str {
        DynamicConvSchedule::FAMILY
    }
    fn version(&self) -> u32 {
        DynamicConvSchedule::VERSION
    }
    fn params(&self) -> &'static [Param] {
        DynamicConvSchedule::PARAMS
    }
    fn legal(&self, problem: &Problem, values: &Values) -> Result<(), Illegal> {
        let (s, tokens) = (DynamicConvSchedule::from_values(values)?, problem.dim("tokens"));
        // Any tile serves any segment; one as long as the segment does not differ from the default.
        if s != DynamicConvSchedule::default() && s.tokens >= tokens {
            return Err(Illegal(format!("a tile of {} is all of the {tokens} tokens", s.tokens)));
        }
        Ok(())
    }
}

/// The problem of one dynamic convolution; `format` names how `W2` is stored.
pub fn problem(tokens: usize, channels: usize, taps: usize, hidden: usize, format: &str) -> Problem {
    let dims = [("tokens", tokens), ("channels", channels), ("taps", taps), ("hidden", hidden)];
    Problem::new(DynamicConvSchedule::FAMILY, format, &dims)
}

/// What both forms read and write for one sequence's segment of `T >= 1` tokens: a share of the channels,
/// which begins at a multiple of 16 and ends at one or at the last channel.
#[derive(Debug)]
pub struct Signal<'a> {
    /// The channels of the share.
    pub channels: Range<usize>,
    /// What is convolved, `[T, channels.len()]`.
    pub u: Mat<'a>,
    /// The last `taps` rows of `u`, `[taps, channels.len()]`, oldest first; moved on.
    pub state: MatMut<'a>,
    /// `[T, channels.len()]`.
    pub out: MatMut<'a>,
}

impl Signal<'_> {
    fn check(&self, channels: usize, taps: usize) {
        let n = self.channels.len();
        assert!(taps >= 1, "a convolution has a tap");
        assert!(self.channels.end <= channels, "channels {:?} of {channels}", self.channels);
        assert!(
            n == 0
                || self.channels.start.is_multiple_of(LANES)
                    && (n.is_multiple_of(LANES) || self.channels.end == channels),
            "a share of channels is whole strips of 16: {:?} of {channels}",
            self.channels
        );
        assert_eq!((self.u.cols(), self.out.cols()), (n, n), "u and out are [T, channels]");
        assert_eq!(self.out.rows(), self.u.rows(), "u and out have the same tokens");
        assert_eq!((self.state.rows(), self.state.cols()), (taps, n), "the state is [taps, channels]");
    }

    /// What tap `w` of token `t` multiplies: columns `at..at + 16` of token `t - taps + 1 + w`, from the
    /// state if that is before the segment (whose token -1 is the state's last row).
    #[inline(always)]
    fn tapped<S: Simd>(&self, s: S, taps: usize, t: usize, w: usize, at: usize, lanes: usize) -> S::V {
        let back = t + w + 1;
        let row = if back < taps { self.state.row(back) } else { self.u.row(back - taps) };
        load(s, &row[at..at + lanes])
    }
}

/// The fused form: taps from `h` `[T, hidden]`, applied, silu; the state moves on.
///
/// # Panics
/// If the sizes do not fit each other.
pub fn run(isa: Isa, schedule: &DynamicConvSchedule, weights: &TapWeights, h: Mat<'_>, signal: Signal<'_>) {
    signal.check(weights.channels, weights.taps);
    assert_eq!((h.rows(), h.cols()), (signal.u.rows(), weights.hidden), "h is [T, hidden]");
    dispatch(isa, Fused { tokens: schedule.tokens, weights, h, signal });
}

/// Applies taps that are already there: `ker` `[T, channels.len() · taps]` with the bias in it, its columns
/// in [`tap_order`] (of the share). Silu; the state moves on.
///
/// # Panics
/// If the sizes do not fit each other.
pub fn apply_taps(isa: Isa, taps: usize, ker: Mat<'_>, signal: Signal<'_>) {
    signal.check(signal.channels.end, taps);
    let n = signal.channels.len();
    assert_eq!((ker.rows(), ker.cols()), (signal.u.rows(), n * taps), "ker is [T, channels · taps]");
    dispatch(isa, Apply { taps, ker, signal });
}

struct Apply<'a> {
    taps: usize,
    ker: Mat<'a>,
    signal: Signal<'a>,
}

impl Kernel for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let (n, taps) = (self.signal.channels.len(), self.taps);
        for t in 0..self.signal.u.rows() {
            let ker = self.ker.row(t);
            for at in (0..n).step_by(LANES) {
                let lanes = LANES.min(n - at);
                let mut acc = s.splat(0.0);
                for w in 0..taps {
                    let tap = &ker[at * taps + w * lanes..at * taps + (w + 1) * lanes];
                    acc = s.fma(load(s, tap), self.signal.tapped(s, taps, t, w, at, lanes), acc);
                }
                store(s, silu_lanes(s, acc), &mut self.signal.out.row_mut(t)[at..at + lanes]);
            }
        }
        roll(&mut self.signal.state, self.signal.u);
    }
}

#[cfg(test)]
mod tests;

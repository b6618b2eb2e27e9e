//! JetBlock's dynamic convolution (jet_nemotron section 2.4): a causal depthwise convolution whose taps are
//! generated for every token.
//!
//! `ker = h · W2ᵀ + b2` has one value per channel and tap (flat index `channel · taps + tap`), `pre[t, c] = Σ_w ker[t, c, w]
//! · u[t - W + 1 + w, c]`, `out = silu(pre)`. [`run`] makes the taps of 16 channels and a few tokens in registers and applies
//! them there; the tap tensor is never stored. For long segments [`apply_taps`] takes taps that a matrix product
//! made, a tile of tokens at a time, with the rows of `W2` in the order that [`tap_order`] gives.
//!
//! The state holds the last `W` rows of `u`, oldest first: `[W, channels]`; a checkpoint's `[channels, W]` is its
//! transpose (`conv::export_state`). Only `W - 1` of them are ever read again, the oldest is kept because the
//! public cache format has it.

use super::act::silu_lanes;
use super::conv::roll;
use super::mat::{Mat, MatMut};
use super::scan::{LANES, SizeError, check_len, load, padded, store, wide};
use super::simd::{Isa, Kernel, Simd, dispatch};
use half::{bf16, f16};
use jet_codegen::schedule::{Family, Illegal, Param, Problem, Schedule, Values};
use std::ops::Range;

jet_codegen::schedule! {
    /// How a dynamic convolution makes its taps.
    pub struct DynamicConvSchedule = "dynamic_conv" v1 {
        /// Tokens whose taps are made together, in registers.
        tokens: [1, 2, 4] = 4,
        /// Longest segment whose taps are made in registers; longer ones go through a matrix product and a tile of taps.
        fused_to: [1, 8, 64, 1_048_576] = 8,
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
    fn legal(&self, _problem: &Problem, values: &Values) -> Result<(), Illegal> {
        // Any tile serves any segment: what is left over is done token by token.
        DynamicConvSchedule::from_values(values).map(|_| ())
    }
}

/// The problem of one dynamic convolution; `format` names how `W2` is stored.
pub fn problem(tokens: usize, channels: usize, taps: usize, hidden: usize, format: &str) -> Problem {
    let dims = [("tokens", tokens), ("channels", channels), ("taps", taps), ("hidden", hidden)];
    Problem::new(DynamicConvSchedule::FAMILY, format, &dims)
}

/// Rows of `W2` as a checkpoint stores them; the 16-bit formats as bit patterns.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// IEEE single.
    F32(&'a [f32]),
    /// bfloat16.
    Bf16(&'a [u16]),
    /// IEEE half.
    F16(&'a [u16]),
}

#[derive(Clone, Debug)]
enum Packed {
    F32(Vec<f32>),
    Bf16(Vec<u16>),
    F16(Vec<u16>),
}

/// The tap generator's second matrix, packed for vectors over channels, in the format it came in.
///
/// Layout `[channels / 16][hidden][taps][16]`, the last 16 channels padded with zeros.
#[derive(Clone, Debug)]
pub struct TapWeights {
    channels: usize,
    taps: usize,
    hidden: usize,
    packed: Packed,
    /// `[channels / 16][taps][16]`.
    bias: Vec<f32>,
}

impl TapWeights {
    /// Packs `w2` `[channels · taps, hidden]` and `bias` `[channels · taps]`, both with flat row index
    /// `channel · taps + tap`.
    ///
    /// # Errors
    /// A tensor that does not have this size.
    pub fn pack(
        channels: usize,
        taps: usize,
        hidden: usize,
        w2: Rows<'_>,
        bias: &[f32],
    ) -> Result<Self, SizeError> {
        let found = match w2 {
            Rows::F32(w) => w.len(),
            Rows::Bf16(w) | Rows::F16(w) => w.len(),
        };
        check_len("kernel_generator.w2.weight", found, channels * taps * hidden)?;
        check_len("kernel_generator.w2.bias", bias.len(), channels * taps)?;
        let sizes = (channels, taps, hidden);
        Ok(Self {
            channels,
            taps,
            hidden,
            packed: match w2 {
                Rows::F32(w) => Packed::F32(pack_rows(sizes, w)),
                Rows::Bf16(w) => Packed::Bf16(pack_rows(sizes, w)),
                Rows::F16(w) => Packed::F16(pack_rows(sizes, w)),
            },
            bias: pack_rows((channels, taps, 1), bias),
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

    /// Width of the generator's hidden layer.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        let packed = match &self.packed {
            Packed::F32(w) => size_of_val(w.as_slice()),
            Packed::Bf16(w) | Packed::F16(w) => size_of_val(w.as_slice()),
        };
        packed + size_of_val(self.bias.as_slice())
    }
}

fn pack_rows<T: Copy + Default>((channels, taps, hidden): (usize, usize, usize), rows: &[T]) -> Vec<T> {
    let mut out = vec![T::default(); padded(channels) * taps * hidden];
    for c in 0..channels {
        for w in 0..taps {
            for r in 0..hidden {
                let at = ((c / LANES * hidden + r) * taps + w) * LANES + c % LANES;
                out[at] = rows[(c * taps + w) * hidden + r];
            }
        }
    }
    out
}

/// Row `i` of a matrix whose product [`apply_taps`] can read is row `tap_order(..)[i]` of `W2` (and of its bias): strips
/// of 16 channels (the last may be narrower), in each the taps, in each tap the channels.
pub fn tap_order(channels: usize, taps: usize) -> Vec<usize> {
    (0..channels)
        .step_by(LANES)
        .flat_map(|first| {
            let end = (first + LANES).min(channels);
            (0..taps).flat_map(move |w| (first..end).map(move |c| c * taps + w))
        })
        .collect()
}

/// What both forms read and write for one sequence's segment of `T >= 1` tokens: a share of the channels, which
/// begins at a multiple of 16 and ends at one or at the last channel.
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
            n == 0 || self.channels.start % LANES == 0 && (n % LANES == 0 || self.channels.end == channels),
            "a share of channels is whole strips of 16: {:?} of {channels}",
            self.channels
        );
        assert_eq!((self.u.cols(), self.out.cols()), (n, n), "u and out are [T, channels]");
        assert_eq!(self.out.rows(), self.u.rows(), "u and out have the same tokens");
        assert_eq!((self.state.rows(), self.state.cols()), (taps, n), "the state is [taps, channels]");
    }

    /// What tap `w` of token `t` multiplies: columns `at..at + 16` of token `t - taps + 1 + w`, from the state if that is
    /// before the segment (whose token -1 is the state's last row).
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

/// Applies taps that are already there: `ker` `[T, channels.len() · taps]` with the bias in it, its columns in
/// [`tap_order`] (of the share). Silu; the state moves on.
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

struct Fused<'a> {
    tokens: usize,
    weights: &'a TapWeights,
    h: Mat<'a>,
    signal: Signal<'a>,
}

/// How a vector of 16 weights is read.
trait Read: Copy {
    type Stored;
    fn vector<S: Simd>(self, s: S, x: &[Self::Stored; LANES]) -> S::V;
}

#[derive(Clone, Copy)]
struct ReadF32;
impl Read for ReadF32 {
    type Stored = f32;
    #[inline(always)]
    fn vector<S: Simd>(self, s: S, x: &[f32; LANES]) -> S::V {
        s.load(x)
    }
}

#[derive(Clone, Copy)]
struct ReadBf16;
impl Read for ReadBf16 {
    type Stored = u16;
    #[inline(always)]
    fn vector<S: Simd>(self, s: S, x: &[u16; LANES]) -> S::V {
        s.load_bf16(x)
    }
}

#[derive(Clone, Copy)]
struct ReadF16;
impl Read for ReadF16 {
    type Stored = u16;
    #[inline(always)]
    fn vector<S: Simd>(self, s: S, x: &[u16; LANES]) -> S::V {
        s.load_f16(x)
    }
}

impl Kernel for Fused<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        match &self.weights.packed {
            Packed::F32(w) => self.strips(s, ReadF32, w),
            Packed::Bf16(w) => self.strips(s, ReadBf16, w),
            Packed::F16(w) => self.strips(s, ReadF16, w),
        }
        roll(&mut self.signal.state, self.signal.u);
    }
}

impl Fused<'_> {
    #[inline(always)]
    fn strips<S: Simd, R: Read>(&mut self, s: S, read: R, packed: &[R::Stored]) {
        let per_strip = self.weights.hidden * self.weights.taps;
        let vectors = packed.as_chunks::<LANES>().0;
        let first = self.signal.channels.start / LANES;
        for i in 0..self.signal.channels.len().div_ceil(LANES) {
            let strip = &vectors[(first + i) * per_strip..(first + i + 1) * per_strip];
            let bias = &self.weights.bias.as_chunks::<LANES>().0[(first + i) * self.weights.taps..];
            match self.weights.taps {
                4 => self.strip::<S, R, 4>(s, read, i * LANES, strip, bias),
                3 => self.strip::<S, R, 3>(s, read, i * LANES, strip, bias),
                2 => self.strip::<S, R, 2>(s, read, i * LANES, strip, bias),
                _ => self.any_taps(s, read, i * LANES, strip, bias),
            }
        }
    }

    /// 16 channels, `W` taps, all tokens.
    #[inline(always)]
    fn strip<S: Simd, R: Read, const W: usize>(
        &mut self,
        s: S,
        read: R,
        at: usize,
        strip: &[[R::Stored; LANES]],
        bias: &[[f32; LANES]],
    ) {
        // Four tokens of four taps fill sixteen of 32 registers; with half as many only one token's fit.
        let most = if wide::<S>() { self.tokens } else { 1 };
        let tokens = self.signal.u.rows();
        let mut t = 0;
        while t < tokens {
            t += match (tokens - t).min(most) {
                4.. => self.tile::<S, R, 4, W>(s, read, t, at, strip, bias),
                2.. => self.tile::<S, R, 2, W>(s, read, t, at, strip, bias),
                _ => self.tile::<S, R, 1, W>(s, read, t, at, strip, bias),
            };
        }
    }

    /// The taps of `M` tokens in `M · W` accumulators, then their use.
    #[inline(always)]
    fn tile<S: Simd, R: Read, const M: usize, const W: usize>(
        &mut self,
        s: S,
        read: R,
        t: usize,
        at: usize,
        strip: &[[R::Stored; LANES]],
        bias: &[[f32; LANES]],
    ) -> usize {
        let hidden = self.weights.hidden;
        let mut h: [&[f32]; M] = [&[]; M];
        let mut ker = [[s.splat(0.0); W]; M];
        for i in 0..M {
            h[i] = &self.h.row(t + i)[..hidden];
            for w in 0..W {
                ker[i][w] = s.load(&bias[w]);
            }
        }
        for (r, weights) in strip.as_chunks::<W>().0[..hidden].iter().enumerate() {
            let mut v = [s.splat(0.0); W];
            for w in 0..W {
                v[w] = read.vector(s, &weights[w]);
            }
            for i in 0..M {
                let x = s.splat(h[i][r]);
                for w in 0..W {
                    ker[i][w] = s.fma(x, v[w], ker[i][w]);
                }
            }
        }
        let lanes = LANES.min(self.signal.channels.len() - at);
        for i in 0..M {
            let mut acc = s.splat(0.0);
            for w in 0..W {
                acc = s.fma(ker[i][w], self.signal.tapped(s, W, t + i, w, at, lanes), acc);
            }
            store(s, silu_lanes(s, acc), &mut self.signal.out.row_mut(t + i)[at..at + lanes]);
        }
        M
    }

    /// 16 channels, any number of taps: one tap after the other.
    #[inline(always)]
    fn any_taps<S: Simd, R: Read>(
        &mut self,
        s: S,
        read: R,
        at: usize,
        strip: &[[R::Stored; LANES]],
        bias: &[[f32; LANES]],
    ) {
        let taps = self.weights.taps;
        let lanes = LANES.min(self.signal.channels.len() - at);
        for t in 0..self.signal.u.rows() {
            let mut acc = s.splat(0.0);
            for w in 0..taps {
                let mut ker = s.load(&bias[w]);
                for (weights, h) in strip.chunks_exact(taps).zip(self.h.row(t)) {
                    ker = s.fma(s.splat(*h), read.vector(s, &weights[w]), ker);
                }
                acc = s.fma(ker, self.signal.tapped(s, taps, t, w, at, lanes), acc);
            }
            store(s, silu_lanes(s, acc), &mut self.signal.out.row_mut(t)[at..at + lanes]);
        }
    }
}

/// The oracle: taps of every token and channel in float64, applied to the history written out in full.
///
/// `w2` in any format `[channels · taps, hidden]`, `bias` `[channels · taps]`, `h` `[tokens, hidden]`, `u` and `out` `[tokens,
/// channels]`, `state` `[channels, taps]` as in a checkpoint.
pub fn reference(
    (channels, taps, hidden): (usize, usize, usize),
    w2: Rows<'_>,
    bias: &[f32],
    h: &[f32],
    u: &[f32],
    state: &mut [f32],
    out: &mut [f32],
) {
    let weight = |i: usize| match w2 {
        Rows::F32(w) => f64::from(w[i]),
        Rows::Bf16(w) => f64::from(bf16::from_bits(w[i])),
        Rows::F16(w) => f64::from(f16::from_bits(w[i])),
    };
    let tokens = u.len() / channels;
    for c in 0..channels {
        let past = &mut state[c * taps..(c + 1) * taps];
        let history: Vec<f32> =
            past.iter().copied().chain((0..tokens).map(|t| u[t * channels + c])).collect();
        for t in 0..tokens {
            let mut sum = 0.0;
            for w in 0..taps {
                let row = c * taps + w;
                let mut ker = f64::from(bias[row]);
                for r in 0..hidden {
                    ker += f64::from(h[t * hidden + r]) * weight(row * hidden + r);
                }
                sum += ker * f64::from(history[t + w + 1]);
            }
            out[t * channels + c] = (sum / (1.0 + (-sum).exp())) as f32;
        }
        past.copy_from_slice(&history[tokens..]);
    }
}

#[cfg(test)]
mod tests;

//! Causal depthwise convolution along the sequence, [`Op::CausalConv`](crate::op::Op::CausalConv): prefill, steps and
//! anything between in one kernel.
//!
//! Sizes of a problem: `channels`, `taps`, `align` (elements to which every row of `x` and `out` is aligned), and the
//! flags `bias`, `silu`. Roles: `x`, `weight` (`[channels][taps]`, f32), `bias` (f32), `out`, `state`
//! (`[taps - 1][channels]` a sequence, f32).

use super::{Budget, Entry, Extent, Floor, Form, Formats, Kernel, Size, Source, require, require_sizes};
use crate::arch::Arch;
use crate::emit::Writer;
use crate::schedule::{Illegal, Param, Problem, Schedule, Values};

crate::schedule! {
    /// How channels and tokens are shared out.
    pub struct Conv = "conv" v2 {
        /// Threads of a CTA, side by side along the channels.
        threads: [32, 64, 128, 256] = 128,
        /// Channels of a thread: one access.
        vec: [1, 2, 4, 8] = 4,
        /// Tokens of a thread.
        tokens: [4, 8, 16, 32, 64] = 16,
        /// Sequences of a CTA, which share the filter.
        sequences: [1, 8, 32] = 1,
    }
}

/// The family.
pub struct ConvKernel;

/// The window in registers.
struct Window;

/// Rows that a thread asks for ahead, as in the template.
const AHEAD: usize = 4;

impl Kernel for ConvKernel {
    fn name(&self) -> &'static str {
        Conv::FAMILY
    }

    fn version(&self) -> u32 {
        Conv::VERSION
    }

    fn params(&self) -> &'static [Param] {
        Conv::PARAMS
    }

    fn forms(&self) -> &'static [&'static dyn Form] {
        &[&Window]
    }

    fn serves(&self, p: &Problem) -> Result<(), Illegal> {
        require_sizes(p, &["channels", "taps", "align"])?;
        Formats::of(p).map(|_| ())
    }

    fn floor(&self, p: &Problem) -> Floor {
        let Ok(f) = Formats::of(p) else { return Floor::default() };
        let (tokens, channels, taps) = (p.dim("tokens"), p.dim("channels"), p.dim("taps"));
        // The states are left out: how many sequences there are is not part of a problem.
        let rows = tokens * channels * (f.get("x").bytes() + f.get("out").bytes());
        let filter = 4 * channels * (taps + p.dim("bias"));
        Floor { bytes: (rows + filter) as u64, flops: 2 * (tokens * channels * taps) as u64 }
    }

    fn prefers(&self, p: &Problem, arch: &Arch) -> Vec<Values> {
        let (count, channels, sms) = (p.dim("tokens").max(1), p.dim("channels"), arch.peaks.sms as usize);
        let vecs: Vec<usize> = [8, 4, 2, 1].into_iter().filter(|v| aligned(p, *v)).collect();
        let ctas = |threads: usize, vec: usize, tokens: usize| {
            channels.div_ceil(threads * vec) * count.div_ceil(tokens)
        };
        let mut all = Vec::new();
        // Wide accesses and long pieces, which read little twice, while they leave every SM several CTAs.
        for (tokens, threads) in [(64, 128), (32, 128), (16, 128)] {
            let vec = vecs.iter().find(|v| ctas(threads, **v, tokens) >= 4 * sms);
            all.extend(vec.map(|vec| Conv { threads, vec: *vec, tokens, sequences: 1 }));
        }
        // Few tokens may be one each of as many sequences. What those move are states above all, of which four values
        // are an access, and the filter where every sequence reads it anew.
        let vec = vecs.iter().copied().find(|v| *v <= 4).unwrap_or(1);
        let of = |threads, vec, tokens, sequences| Conv { threads, vec, tokens, sequences };
        if count >= 32 {
            all.push(of(32, vec, 8, 32));
        }
        all.extend([of(32, vec, 4, 8), of(64, vec, 4, 1), of(64, vec, 8, 1), of(64, vec, 64, 1)]);
        all.iter().map(Conv::values).collect()
    }
}

/// Whether accesses of `vec` values are aligned in every row of every operand.
fn aligned(p: &Problem, vec: usize) -> bool {
    p.dim("align").is_multiple_of(vec) && p.dim("channels").is_multiple_of(vec)
}

/// Threads of a CTA: rows of them side by side, each with a part of the sequences.
fn block(s: &Conv) -> usize {
    s.threads * s.sequences.min(256usize.div_ceil(s.threads))
}

impl Form for Window {
    fn name(&self) -> &'static str {
        "window"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = Conv::from_values(values)?;
        require(aligned(p, s.vec), || {
            format!("accesses of {} in {} channels, aligned to {}", s.vec, p.dim("channels"), p.dim("align"))
        })?;
        require(s.tokens + 1 >= p.dim("taps"), || {
            format!(
                "pieces of {} tokens look further back than one piece with {} taps",
                s.tokens,
                p.dim("taps")
            )
        })?;
        require(s.sequences == 1 || s.threads <= 64, || {
            format!("{} threads of channels for each of {} sequences", s.threads, s.sequences)
        })?;
        let held = s.vec * p.dim("taps");
        require(held <= 64, || format!("{held} taps in one thread"))
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Conv::from_values(values).unwrap_or_default();
        let held = s.vec * (2 * p.dim("taps") + AHEAD + 2);
        let filter = if s.sequences > 1 { 4 * s.threads * s.vec * (p.dim("taps") + 1) } else { 0 };
        Budget {
            threads: block(&s) as u32,
            registers: (held + 32).min(200) as u32,
            smem: (filter + 16) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Conv::from_values(values).unwrap_or_default();
        let formats = Formats::of(p).unwrap_or(Formats::new(super::Elem::F32, &[]));
        let template = ("conv", include_str!("../../cuda/conv.cuh"));
        let mut w = Writer::new(p, self.name(), values, arch, &[template]);
        w.sizes(p, &["channels", "taps"]).flag("bias", p.dim("bias") > 0).flag("silu", p.dim("silu") > 0);
        w.types(&formats, &["x", "out"]);
        let channels = Extent::fixed(p.dim("channels").div_ceil(s.threads * s.vec));
        let entry = Entry::new("conv_rows", block(&s)).grid(
            channels,
            Extent::pieces(Size::Sequences, s.sequences),
            Extent::pieces(Size::Longest, s.tokens),
        );
        w.finish(vec![entry], vec![])
    }
}

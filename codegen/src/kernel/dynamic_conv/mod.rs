//! Dynamic convolution, [`Op::DynamicConv`](crate::op::Op::DynamicConv): taps generated per token by a matrix product
//! and applied to the signal where they come out, so that they are never stored.
//!
//! Sizes of a problem: `channels`, `taps`, `hidden` (depth of the product), `align` (elements to which every row of `u`,
//! `h` and `out` is aligned), and the flag `step` (every sequence has one new token). Roles: `u`, `h`, `weight` (rows of
//! `hidden`, padded to whole 16 bytes; a row per channel and tap), `bias` (f32), `out`, `state` (`[taps][channels]` a
//! sequence, f32).
//!
//! The forms share the schedule: a parameter that a form does not use has its default there.

mod mma;
mod simt;

use super::{Elem, Entry, Extent, Floor, Form, Formats, Kernel, Size, Source, require_sizes};
use crate::arch::Arch;
use crate::emit::Writer;
use crate::schedule::{Illegal, Param, Problem, Schedule, Values};

crate::schedule! {
    /// Tiles of the product that generates the taps.
    pub struct DynamicConv = "dynamic_conv" v1 {
        /// 0: multiply-adds in float; 1: mma.sync with asynchronous copies.
        form: [0, 1] = 0,
        /// Rows (tokens) of a CTA's tile.
        tile_m: [16, 32, 64, 128] = 32,
        /// Columns of a CTA's tile: the taps of its channels.
        tile_n: [32, 64, 128, 256] = 64,
        /// Depth of one stage.
        tile_k: [16, 32, 64] = 16,
        /// Warps along the rows.
        warps_m: [1, 2, 4] = 2,
        /// Warps along the columns.
        warps_n: [1, 2, 4] = 2,
        /// Stages of the ring.
        stages: [2, 3, 4] = 2,
    }
}

/// Index of the form with multiply-adds.
const SIMT: usize = 0;
/// Index of the form with `mma.sync`.
const MMA: usize = 1;

/// Threads of the entry that moves the states on.
const STATE_THREADS: usize = 128;

/// The family.
pub struct DynamicConvKernel;

impl Kernel for DynamicConvKernel {
    fn name(&self) -> &'static str {
        DynamicConv::FAMILY
    }

    fn version(&self) -> u32 {
        DynamicConv::VERSION
    }

    fn params(&self) -> &'static [Param] {
        DynamicConv::PARAMS
    }

    fn forms(&self) -> &'static [&'static dyn Form] {
        &[&simt::Simt, &mma::Mma]
    }

    fn serves(&self, p: &Problem) -> Result<(), Illegal> {
        require_sizes(p, &["channels", "taps", "hidden", "align"])?;
        Formats::of(p).map(|_| ())
    }

    fn floor(&self, p: &Problem) -> Floor {
        let Ok(f) = Formats::of(p) else { return Floor::default() };
        let (tokens, channels, hidden) = (p.dim("tokens"), p.dim("channels"), p.dim("hidden"));
        let columns = channels * p.dim("taps");
        let row = channels * (f.get("u").bytes() + f.get("out").bytes()) + hidden * f.get("h").bytes();
        let weights = columns * (hidden * f.get("weight").bytes() + 4);
        // With one token each there are as many sequences as tokens; else their number is not part of a problem.
        let states = if p.dim("step") > 0 { 8 * tokens * columns } else { 0 };
        let flops = 2 * tokens * columns * (hidden + 1);
        Floor { bytes: (tokens * row + weights + states) as u64, flops: flops as u64 }
    }

    fn prefers(&self, p: &Problem, arch: &Arch) -> Vec<Values> {
        let (tokens, columns) = (p.dim("tokens").max(1), p.dim("channels") * p.dim("taps"));
        let tile_m = [16, 32, 64, 128].into_iter().find(|t| *t >= tokens).unwrap_or(128);
        // Wide tiles while they leave every SM some, narrow ones else.
        let ctas = |tile_n: usize| tokens.div_ceil(tile_m) * columns.div_ceil(tile_n);
        let wide = [128, 64, 32].into_iter().find(|t| ctas(*t) >= arch.peaks.sms as usize).unwrap_or(32);
        let mut all = Vec::new();
        for tile_n in [wide, 64, 32] {
            let warps_m = if tile_m >= 64 { 2 } else { 1 };
            let warps_n = if tile_n >= 64 { 4 } else { 2 };
            for (tile_k, stages) in [(64, 4), (64, 3), (32, 3), (32, 2)] {
                all.push(
                    DynamicConv { form: MMA, tile_m, tile_n, tile_k, warps_m, warps_n, stages }.values(),
                );
            }
        }
        let tile_m = tile_m.min(64);
        all.push(DynamicConv { form: SIMT, tile_m, ..DynamicConv::default() }.values());
        all.push(DynamicConv::default().values());
        all
    }
}

/// The source of a form: constants and types that all use, its entry over tiles of `rows` tokens and `channels`
/// channels, and the one that moves the states on where the first does not.
fn source(
    p: &Problem,
    s: &DynamicConv,
    form: &dyn Form,
    arch: &Arch,
    templates: &[(&'static str, &'static str)],
    entry: Entry,
    channels: usize,
    more: impl FnOnce(&mut Writer),
) -> Source {
    let formats = Formats::of(p).unwrap_or(Formats::new(Elem::F32, &[]));
    let mut w = Writer::new(p, form.name(), &s.values(), arch, templates);
    w.sizes(p, &["channels", "taps", "hidden"]).flag("step", p.dim("step") > 0);
    w.types(&formats, &["u", "h", "weight", "out"]);
    more(&mut w);
    let tiles = Extent::fixed(p.dim("channels").div_ceil(channels));
    let mut entries = vec![entry.grid(Extent::pieces(Size::Rows, s.tile_m), tiles, Extent::fixed(1))];
    if p.dim("step") == 0 {
        let channels = Extent::fixed(p.dim("channels").div_ceil(STATE_THREADS));
        let states = Entry::new("dynamic_conv_state", STATE_THREADS);
        entries.push(states.grid(channels, Extent::pieces(Size::Sequences, 1), Extent::fixed(1)));
    }
    w.finish(entries, vec![])
}

/// What both forms need of the signal's place.
const HISTORY: (&str, &str) =
    ("dynamic_conv history", include_str!("../../../cuda/dynamic_conv/history.cuh"));

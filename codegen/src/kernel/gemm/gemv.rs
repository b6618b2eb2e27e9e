//! A few tokens: multiply-adds in float on weights that stream from global memory into registers. Any formats.

use super::{GEMV, Gemm, Launch, copy_width, halves, narrow_formats, split_source, whole_pieces, writer};
use crate::arch::Arch;
use crate::kernel::{Budget, Form, Formats, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Gemv;

/// Rows of weights of a warp.
fn own(s: &Gemm) -> usize {
    s.tile_n / s.warps_n
}

/// Values of k in a CTA.
fn range(p: &Problem, s: &Gemm) -> usize {
    p.dim("k").div_ceil(s.splits).next_multiple_of(16)
}

/// Bytes of x and of the warps' sums.
fn smem(p: &Problem, s: &Gemm) -> (usize, usize) {
    let x = Formats::of(p).map_or(2, |f| f.get("x").bytes());
    (s.tile_m * (range(p, s) * x + 16), 4 * s.warps_m * s.tile_m * (s.tile_n + 4))
}

/// Schedules that keep every SM's loads under way: narrow tiles with many warps along k, or where CTAs can share k in a
/// cluster wide ones.
pub(super) fn prefers(p: &Problem, arch: &Arch) -> Vec<Values> {
    let tile_m = p.dim("tokens").next_power_of_two();
    if tile_m > 8 {
        return vec![];
    }
    let rows = p.dim("n") * halves(p);
    // Sixteen warps on each SM.
    let enough =
        |s: &Gemm| rows.div_ceil(s.tile_n) * s.warps_m * s.warps_n * s.splits >= 16 * arch.peaks.sms as usize;
    // Every lane has two rounds of loads at least.
    let long = |s: &Gemm| {
        let piece = 16 / Formats::of(p).map_or(2, |f| f.get("weight").bytes());
        range(p, s) >= 32 * s.warps_m * s.stages * piece
    };
    let schedule = |tile_n, warps_m, warps_n, splits| Gemm {
        form: GEMV,
        tile_m,
        tile_n,
        warps_m,
        warps_n,
        splits,
        ..Gemm::default()
    };
    let shapes: &[Gemm] = &if arch.can.tma {
        [schedule(32, 1, 8, 1), schedule(32, 1, 8, 2), schedule(32, 1, 8, 4), schedule(32, 1, 8, 8)]
    } else {
        [schedule(32, 1, 8, 1), schedule(16, 2, 4, 1), schedule(8, 4, 2, 1), schedule(8, 8, 1, 1)]
    };
    let best = shapes.iter().filter(|s| long(s)).find(|s| enough(s));
    let best = best.or(shapes.iter().rfind(|s| long(s))).or(shapes.first());
    // The same with less of x in a CTA, where it is too long for one.
    let fewer = shapes[0];
    best.into_iter()
        .copied()
        .chain([2, 4, 8].map(|splits| Gemm { splits, ..fewer }))
        .map(|s| s.values())
        .collect()
}

impl Form for Gemv {
    fn name(&self) -> &'static str {
        "gemv"
    }

    fn legal(&self, p: &Problem, values: &Values, arch: &Arch) -> Result<(), Illegal> {
        let s = Gemm::from_values(values)?;
        let f = Formats::of(p)?;
        narrow_formats(p, arch)?;
        require(p.dim("block") == 0, || "it has no place for scales of blocks".to_owned())?;
        require(s.tile_k == Gemm::default().tile_k, || "it takes k as it comes, without stages".to_owned())?;
        require(s.tile_m <= 8, || format!("{} tokens against each weight", s.tile_m))?;
        require(s.tile_n.is_multiple_of(s.warps_n * halves(p)) && own(&s) <= 8, || {
            format!("{} rows of weights for {} warps", s.tile_n, s.warps_n)
        })?;
        require(copy_width(p, f.get("x")).is_some(), || "rows of x aligned to 4 bytes at least".to_owned())?;
        require(s.stages * own(&s) <= 16, || {
            format!("{} accesses of a lane under way", 2 * s.stages * own(&s))
        })?;
        whole_pieces(p)
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Gemm::from_values(values).unwrap_or_default();
        let (x, parts) = smem(p, &s);
        let piece = 16 / Formats::of(p).map_or(2, |f| f.get("weight").bytes());
        // Two rounds under way, the widened weights of one access, a token's values, the sums.
        let registers = 8 * s.stages * own(&s) + own(&s) * piece + piece + s.tile_m * own(&s) + 40;
        Budget {
            threads: (32 * s.warps_m * s.warps_n) as u32,
            registers: registers.min(255) as u32,
            smem: (x + parts) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Gemm::from_values(values).unwrap_or_default();
        let (x, parts) = smem(p, &s);
        let template = ("gemm", include_str!("../../../cuda/gemm/gemv.cuh"));
        let launch = Launch {
            entry: "gemm_gemv",
            threads: 32 * s.warps_m * s.warps_n,
            smem: x + parts,
            layers: s.warps_m,
            part_pad: 4,
        };
        let vec = Formats::of(p).ok().and_then(|f| copy_width(p, f.get("x"))).unwrap_or(1);
        let mut w = writer(p, &s, self, arch, &[template]);
        split_source(p, &s, arch, w.integer("x_align", vec), launch)
    }
}

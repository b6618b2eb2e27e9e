//! A few dozen tokens: `mma.sync` with the weights, which stream from global memory into registers, as its rows.

use super::{Gemm, Launch, SKINNY, copy_width, halves, product, split_source, tensor_formats};
use super::{whole_pieces, writer};
use crate::arch::Arch;
use crate::kernel::{Budget, Elem, Form, Formats, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Skinny;

fn x_bytes(p: &Problem) -> usize {
    Formats::of(p).map_or(2, |f| f.get("x").bytes())
}

/// Bytes of the ring, or of the warps' sums that take its place.
fn smem(p: &Problem, s: &Gemm) -> usize {
    let ring = s.stages * s.tile_m * (s.tile_k * x_bytes(p) + 64);
    ring.max(4 * s.warps_m * s.tile_m * (s.tile_n + 4))
}

/// Accesses of a lane in one step.
fn accesses(p: &Problem, s: &Gemm) -> usize {
    let depth = s.tile_k / s.warps_m * x_bytes(p) / 64;
    s.tile_n / s.warps_n / 16 * 2 * depth
}

/// Schedules that keep every SM's loads under way. The tokens are read once for each tile, from the L2 cache, so a tile
/// has as many rows of weights as there are tokens where that leaves enough CTAs.
pub(super) fn prefers(p: &Problem, arch: &Arch) -> Vec<Values> {
    let tokens = p.dim("tokens").max(1);
    if tokens > 64 {
        return vec![];
    }
    let tile_m = tokens.next_power_of_two().max(8);
    let rows = p.dim("n") * halves(p);
    let wide = 8 / x_bytes(p) * 32;
    let schedule = |tile_n: usize, splits| {
        // A warp's step has a whole block of one scale.
        let most = if p.dim("block") > 0 { 2 } else { 8 };
        let warps_n = (tile_n / 16).min(8);
        let warps_m = (8 / warps_n).min(most);
        Gemm { form: SKINNY, tile_m, tile_n, tile_k: wide, warps_m, warps_n, stages: 4, splits }
    };
    let mut shapes = Vec::new();
    for tile_n in [128, 64, 32] {
        if tile_n > 32 && tile_n > 2 * tile_m.max(32) {
            continue;
        }
        // Sums of several ranges are little beside the weights only where k is long.
        let splits = if arch.can.tma { [1, 2, 4, 8].as_slice() } else { &[1] };
        shapes.extend(splits.iter().map(|s| schedule(tile_n, *s)));
    }
    // Eight warps on each SM are enough of loads under way.
    let enough = |s: &&Gemm| 3 * rows.div_ceil(s.tile_n) * s.splits >= 4 * arch.peaks.sms as usize;
    let long = |s: &&Gemm| p.dim("k") >= 4 * s.tile_k * s.splits;
    let best = shapes.iter().filter(long).find(enough).or(shapes.iter().rfind(long)).or(shapes.first());
    let smaller = Gemm { tile_k: 128, stages: 3, ..schedule(32, 1) };
    best.into_iter()
        .copied()
        .chain([
            smaller,
            Gemm { tile_k: 64, warps_m: 2, ..smaller },
            Gemm { tile_k: 128, warps_m: 1, ..smaller },
        ])
        .map(|s| s.values())
        .collect()
}

impl Form for Skinny {
    fn name(&self) -> &'static str {
        "skinny"
    }

    fn legal(&self, p: &Problem, values: &Values, arch: &Arch) -> Result<(), Illegal> {
        let s = Gemm::from_values(values)?;
        let x = tensor_formats(p, arch)?;
        require(copy_width(p, x).is_some(), || "rows of x aligned to 4 bytes at least".to_owned())?;
        require((8..=64).contains(&s.tile_m), || format!("{} tokens against each weight", s.tile_m))?;
        require(s.tile_n.is_multiple_of(16 * s.warps_n), || {
            format!("{} rows of weights for {} warps", s.tile_n, s.warps_n)
        })?;
        let depth = s.tile_k / s.warps_m * x.bytes();
        require(depth >= 64 && depth.is_multiple_of(64), || format!("{depth} bytes of k in a warp's step"))?;
        let block = p.dim("block");
        require(block == 0 || s.tile_n <= block && (s.tile_k / s.warps_m).is_multiple_of(block), || {
            format!(
                "{} values of k in a warp's step where blocks of {block} have a scale",
                s.tile_k / s.warps_m
            )
        })?;
        require(accesses(p, &s) <= 16, || format!("{} accesses of a lane in one step", accesses(p, &s)))?;
        whole_pieces(p)
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Gemm::from_values(values).unwrap_or_default();
        let mut registers = 8 * accesses(p, &s) + s.tile_n / s.warps_n * s.tile_m / 32 + 40;
        if p.dim("block") > 0 {
            let scales = (s.tile_n / s.warps_n / 8 + s.tile_m / 4) * s.tile_k / s.warps_m / p.dim("block");
            registers += s.tile_n / s.warps_n * s.tile_m / 32 + 2 * scales;
        }
        Budget {
            threads: (32 * s.warps_m * s.warps_n) as u32,
            registers: registers.min(255) as u32,
            smem: smem(p, &s) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Gemm::from_values(values).unwrap_or_default();
        let x = Formats::of(p).map_or(Elem::Bf16, |f| f.get("x"));
        let template = ("gemm", include_str!("../../../cuda/gemm/skinny.cuh"));
        let launch = Launch {
            entry: "gemm_skinny",
            threads: 32 * s.warps_m * s.warps_n,
            smem: smem(p, &s),
            layers: s.warps_m,
            part_pad: 4,
        };
        let mut w = writer(p, &s, self, arch, &[template]);
        w.written(&product(x)).integer("x_align", copy_width(p, x).unwrap_or(1));
        split_source(p, &s, arch, &mut w, launch)
    }
}

//! `mma.sync` over a ring of asynchronous copies: 16-bit operands on every architecture, fp8 from sm_89 on.

use super::{
    Gemm, Launch, MMA, PRODUCT, copy_width, halves, product, split_source, tensor_formats, whole_blocks,
    writer,
};
use crate::arch::{Arch, SMEM_RESERVED};
use crate::kernel::{Budget, Elem, Form, Formats, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Mma;

/// Bytes that a row of a tile has beyond its values.
const PAD: usize = 16;

/// Bytes of a value of either operand.
fn x_bytes(p: &Problem) -> usize {
    Formats::of(p).map_or(2, |f| f.get("x").bytes())
}

/// Bytes of the ring, or of the sums that take its place where several CTAs share k.
fn smem(p: &Problem, s: &Gemm) -> usize {
    let ring = s.stages * (s.tile_m + s.tile_n) * (x_bytes(p) * s.tile_k + PAD);
    let parts = if s.splits > 1 { 4 * s.tile_m * (s.tile_n + 8) } else { 0 };
    ring.max(parts)
}

/// Sums of a thread.
fn sums(s: &Gemm) -> usize {
    s.tile_m * s.tile_n / (s.warps_m * s.warps_n * 32)
}

/// Tiles and the warps that share them, rows by columns. Of two with one tile the first is better where there is room.
const TILES: [(usize, usize, usize, usize); 15] = [
    (256, 128, 4, 2),
    (128, 256, 2, 4),
    (128, 128, 2, 2),
    (128, 128, 2, 4),
    (128, 64, 2, 2),
    (64, 128, 2, 2),
    (64, 64, 2, 2),
    (128, 32, 4, 1),
    (64, 32, 2, 2),
    (32, 128, 1, 4),
    (32, 64, 1, 4),
    (32, 32, 2, 2),
    (16, 128, 1, 4),
    (16, 64, 1, 4),
    (16, 32, 1, 2),
];

/// Clocks that the problem takes on an SM, modelled after an A100: it has its share of the tiles one after the other, and
/// a value of k takes what the busiest of tensor cores, shared memory and the way from the L2 cache need for it.
fn clocks(p: &Problem, arch: &Arch, s: &Gemm) -> f64 {
    let (m, n, bytes) = (s.tile_m as f64, s.tile_n as f64, x_bytes(p) as f64);
    let ctas = p.dim("tokens").max(1).div_ceil(s.tile_m) * (p.dim("n") * halves(p)).div_ceil(s.tile_n);
    let share = (ctas * s.splits).div_ceil(arch.peaks.sms as usize) as f64;
    // 1024 products of 16 bits, 128 bytes of shared memory and 48 of the L2 cache a clock.
    let tensor = m * n * bytes / 2048.0;
    let shared = (m * s.warps_n as f64 + n * s.warps_m as f64 + m + n) * bytes / 128.0;
    let l2 = (m + n) * bytes / 48.0;
    // The first tiles come before there is anything to multiply, and the results go after it; sums of several CTAs meet
    // in shared memory.
    let ends = 1000.0 + m * n / if s.splits > 1 { 8.0 } else { 16.0 };
    share * (tensor.max(shared).max(l2) * (p.dim("k") / s.splits) as f64 + ends)
}

/// The schedule with the deepest ring that leaves room for eight warps on an SM.
fn with_ring(p: &Problem, arch: &Arch, s: Gemm, rings: &[(usize, usize)]) -> Option<Gemm> {
    let ctas = (8 / (s.warps_m * s.warps_n)).max(1);
    let room = arch.smem_per_cta.min(arch.smem_per_sm / ctas as u32 - SMEM_RESERVED) as usize;
    rings
        .iter()
        .map(|(tile_k, stages)| Gemm { tile_k: *tile_k, stages: *stages, ..s })
        .find(|s| smem(p, s) <= room)
}

/// Schedules: tiles in the order of the model above, each with the best ring that there is room for.
pub(super) fn prefers(p: &Problem, arch: &Arch) -> Vec<Values> {
    // A step of 128 bytes of k has less to do beside the products than one of 64.
    let (deep, flat) = (128 / x_bytes(p), 64 / x_bytes(p));
    let best = [(deep, 4), (deep, 3), (flat, 4), (flat, 3)];
    let rest = [(deep, 2), (flat, 2)];
    let steps = if p.dim("block") > 0 { 1 } else { 2 };
    // Ranges of k are added up in clusters, where they are long beside the sums.
    let splits = if arch.can.tma { [1, 2, 4].as_slice() } else { &[1] };
    let mut all = Vec::new();
    for (tile_m, tile_n, warps_m, warps_n) in TILES {
        for splits in splits.iter().copied().filter(|s| *s == 1 || 512 * s <= p.dim("k") && tile_n <= 128) {
            let s = Gemm { form: MMA, tile_m, tile_n, tile_k: deep, warps_m, warps_n, stages: 4, splits };
            all.push((clocks(p, arch, &s), s));
        }
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let with = |rings: &[(usize, usize)]| {
        let of_depth: Vec<_> = rings.iter().copied().filter(|(k, _)| steps == 2 || *k == deep).collect();
        all.iter()
            .filter_map(|(_, s)| with_ring(p, arch, *s, &of_depth))
            .map(|s| s.values())
            .collect::<Vec<_>>()
    };
    [with(&best), with(&rest)].concat()
}

impl Form for Mma {
    fn name(&self) -> &'static str {
        "mma"
    }

    fn legal(&self, p: &Problem, values: &Values, arch: &Arch) -> Result<(), Illegal> {
        let s = Gemm::from_values(values)?;
        let x = tensor_formats(p, arch)?;
        require(copy_width(p, x).is_some(), || "rows of x aligned to 4 bytes at least".to_owned())?;
        require(s.splits == 1 || s.tile_n >= 32, || "narrow tiles do not share k".to_owned())?;
        let (rows, cols) = (s.tile_m / s.warps_m, s.tile_n / s.warps_n);
        require(rows >= 16 && rows.is_multiple_of(16) && cols >= 16, || {
            format!("{rows} by {cols} of the tile in one warp")
        })?;
        require(s.tile_k * x.bytes() >= 64, || "a stage of whole 64-byte rows".to_owned())?;
        whole_blocks(p, if p.dim("block") > 0 { s.tile_k } else { 0 }, s.tile_n)?;
        let most = if p.dim("block") > 0 { 64 } else { 128 };
        require(sums(&s) <= most, || format!("{} sums in one thread", sums(&s)))
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Gemm::from_values(values).unwrap_or_default();
        // With scales of blocks, the sums of a block and those of all.
        let copies = if p.dim("block") > 0 { 2 } else { 1 };
        let fragments = s.tile_m / s.warps_m / 16 * 4 + 4;
        Budget {
            threads: (s.warps_m * s.warps_n * 32) as u32,
            registers: (sums(&s) * copies + fragments + 48).min(255) as u32,
            smem: smem(p, &s) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Gemm::from_values(values).unwrap_or_default();
        let x = Formats::of(p).map_or(Elem::Bf16, |f| f.get("x"));
        let template = ("gemm", include_str!("../../../cuda/gemm/mma.cuh"));
        let launch = Launch {
            entry: "gemm_mma",
            threads: 32 * s.warps_m * s.warps_n,
            smem: smem(p, &s),
            layers: 1,
            part_pad: 8,
        };
        let mut w = writer(p, &s, self, arch, &[PRODUCT, template]);
        w.written(&product(x)).integer("x_align", copy_width(p, x).unwrap_or(1));
        split_source(p, &s, arch, &mut w, launch)
    }
}

//! `mma.sync` over a ring of asynchronous copies: 16-bit operands, every architecture.

use super::{Attention, Shape, copy_width, emit, legal};
use crate::arch::Arch;
use crate::kernel::{Budget, Elem, Form, Formats, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Mma;

/// Values that a row of a tile has beyond its width.
const PAD: usize = 8;

/// Width of a tile's rows.
fn dim(p: &Problem) -> usize {
    p.dim("d_head").next_multiple_of(16)
}

/// 16-row products of a warp.
fn row_tiles(s: &Attention) -> usize {
    s.tile_m / s.warps / 16
}

/// Bytes of shared memory, as the template divides it.
fn smem(p: &Problem, s: &Attention) -> usize {
    let row = 2 * (dim(p) + PAD);
    let (queries, stage) = (s.tile_m * row, 2 * s.tile_n * row);
    let ring = s.stages * stage;
    if held(p, s) && queries <= stage { ring } else { ring + queries }
}

/// Whether the queries stay in registers.
fn held(p: &Problem, s: &Attention) -> bool {
    row_tiles(s) == 1 && dim(p) <= 128
}

/// Registers of sums, scores and queries.
fn tiles(p: &Problem, s: &Attention) -> usize {
    row_tiles(s) * (dim(p) + s.tile_n) / 2 + if held(p, s) { dim(p) / 4 } else { 4 * row_tiles(s) }
}

impl Form for Mma {
    fn name(&self) -> &'static str {
        "mma"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = Attention::from_values(values)?;
        legal(p, &s)?;
        let f = Formats::of(p)?;
        let (q, cache, out) = (f.get("q"), f.get("k_cache"), f.get("out"));
        require(matches!(q, Elem::Bf16 | Elem::F16) && f.get("k") == q && f.get("v") == q, || {
            format!("operands of one 16-bit format, not {q}, {} and {}", f.get("k"), f.get("v"))
        })?;
        require(cache == q || matches!(cache, Elem::F32 | Elem::E4m3), || {
            format!("a cache of {cache} for operands of {q}")
        })?;
        require(out == q || out == Elem::F32, || format!("results of {out} from operands of {q}"))?;
        require(copy_width(p, 2, 16) >= 2, || "heads aligned to 4 bytes at least".to_owned())?;
        require((s.tile_m % s.warps == 0) && matches!(s.tile_m / s.warps, 16 | 32), || {
            format!("{} rows in {} warps, which take 16 or 32 each", s.tile_m, s.warps)
        })?;
        require(tiles(p, &s) <= 192, || format!("{} values of tiles in one thread", tiles(p, &s)))
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Attention::from_values(values).unwrap_or_default();
        Budget {
            threads: 32 * s.warps as u32,
            registers: (tiles(p, &s) + 76).min(255) as u32,
            smem: smem(p, &s) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Attention::from_values(values).unwrap_or_default();
        let template = ("attention", include_str!("../../../cuda/attention/mma.cuh"));
        debug_assert!(Shape::of(p).is_ok(), "it was legal");
        emit(p, &s, self, arch, template, copy_width(p, 2, 16), smem(p, &s))
    }
}

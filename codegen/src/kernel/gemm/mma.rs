//! `mma.sync` over a ring of asynchronous copies: 16-bit operands, every architecture.

use super::{Gemm, writer};
use crate::arch::Arch;
use crate::kernel::{Budget, Elem, Entry, Extent, Form, Formats, Size, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Mma;

/// Bytes that a row of a tile has beyond its values.
const PAD: usize = 16;

/// Bytes of the ring.
fn ring(s: &Gemm) -> usize {
    s.stages * (s.tile_m + s.tile_n) * (2 * s.tile_k + PAD)
}

/// Sums of a thread.
fn sums(s: &Gemm) -> usize {
    s.tile_m * s.tile_n / (s.warps_m * s.warps_n * 32)
}

impl Form for Mma {
    fn name(&self) -> &'static str {
        "mma"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = Gemm::from_values(values)?;
        let f = Formats::of(p)?;
        let x = f.get("x");
        require(matches!(x, Elem::Bf16 | Elem::F16) && f.get("weight") == x, || {
            format!("operands of one 16-bit format, not {x} and {}", f.get("weight"))
        })?;
        require(p.dim("align").is_multiple_of(2), || "rows of x aligned to 4 bytes at least".to_owned())?;
        let (rows, cols) = (s.tile_m / s.warps_m, s.tile_n / s.warps_n);
        require(rows >= 16 && rows.is_multiple_of(16) && cols >= 16 && cols.is_multiple_of(16), || {
            format!("{rows} by {cols} of the tile in one warp")
        })?;
        require(s.tile_k >= 32, || "a stage of whole 64-byte rows".to_owned())?;
        require(sums(&s) <= 128, || format!("{} sums in one thread", sums(&s)))
    }

    fn budget(&self, _p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Gemm::from_values(values).unwrap_or_default();
        let fragments = s.tile_m / s.warps_m / 16 * 4 + 4;
        Budget {
            threads: (s.warps_m * s.warps_n * 32) as u32,
            registers: (sums(&s) + fragments + 48).min(255) as u32,
            smem: ring(&s) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Gemm::from_values(values).unwrap_or_default();
        let template = ("gemm", include_str!("../../../cuda/gemm/mma.cuh"));
        let rows = Extent::pieces(Size::Rows, s.tile_m);
        let columns = Extent::fixed(p.dim("n").div_ceil(s.tile_n));
        let entry = Entry::new("gemm_mma", s.warps_m * s.warps_n * 32)
            .grid(rows, columns, Extent::fixed(1))
            .smem(ring(&s));
        let vec = [8, 4, 2].into_iter().find(|v| p.dim("align").is_multiple_of(*v)).unwrap_or(2);
        writer(p, &s, self, arch, template).integer("x_align", vec).finish(vec![entry], vec![])
    }
}

//! `mma.sync` over a ring of asynchronous copies: 16-bit operands, every architecture.

use super::{Experts, act, emit};
use crate::arch::Arch;
use crate::kernel::{Budget, Elem, Form, Formats, Source, gemm, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Mma;

/// Bytes that a row of a tile has beyond its values.
const PAD: usize = 16;

/// Bytes of the ring.
fn ring(s: &Experts) -> usize {
    s.stages * (s.tile_m + s.tile_n) * (2 * s.tile_k + PAD)
}

/// Sums of a thread.
fn sums(s: &Experts) -> usize {
    s.tile_m * s.tile_n / (s.warps_m * s.warps_n * 32)
}

impl Form for Mma {
    fn name(&self) -> &'static str {
        "mma"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = Experts::from_values(values)?;
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

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Experts::from_values(values).unwrap_or_default();
        let fragments = s.tile_m / s.warps_m / 16 * 4 + 4;
        let addresses = if act(p) > 0 { 72 } else { 60 };
        Budget {
            threads: (s.warps_m * s.warps_n * 32) as u32,
            registers: (sums(&s) + fragments + addresses).min(255) as u32,
            smem: (ring(&s) + 4 * s.tile_m) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Experts::from_values(values).unwrap_or_default();
        let x = Formats::of(p).map_or(Elem::Bf16, |f| f.get("x"));
        let own = ("experts mma", include_str!("../../../cuda/experts/mma.cuh"));
        emit(p, &s, self, arch, &[gemm::PRODUCT, own], ring(&s), |w| {
            w.written(&gemm::product(x));
        })
    }
}

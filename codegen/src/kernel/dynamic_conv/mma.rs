//! `mma.sync` over a ring of asynchronous copies, the main loop of [`gemm`](crate::kernel::gemm): 16-bit operands, four
//! taps, every architecture.

use super::{DynamicConv, HISTORY, source};
use crate::arch::Arch;
use crate::kernel::{Budget, Elem, Entry, Form, Formats, Source, gemm, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Mma;

/// Taps of a channel: what two neighbouring lanes hold of a row.
const TAPS: usize = 4;
/// Bytes that a row of a tile has beyond its values.
const PAD: usize = 16;
/// Rows of the signal before a tile, in whole eights.
const HALO: usize = 8;

/// Bytes of the ring.
fn ring(s: &DynamicConv) -> usize {
    s.stages * (s.tile_m + s.tile_n) * (2 * s.tile_k + PAD)
}

/// Bytes of the signal behind it.
fn signal(s: &DynamicConv) -> usize {
    (s.tile_m + HALO) * (2 * s.tile_n / TAPS + PAD)
}

/// Bytes of the states behind that, which a step has there.
fn past(s: &DynamicConv, p: &Problem) -> usize {
    if p.dim("step") > 0 { 3 * s.tile_m * (4 * s.tile_n / TAPS + PAD) } else { 0 }
}

/// Bytes of dynamic shared memory.
fn smem(s: &DynamicConv, p: &Problem) -> usize {
    ring(s) + signal(s) + past(s, p)
}

/// Sums of a thread.
fn sums(s: &DynamicConv) -> usize {
    s.tile_m * s.tile_n / (s.warps_m * s.warps_n * 32)
}

/// Values of one access to the rows of the activations.
fn access(p: &Problem) -> usize {
    let divides = |v: &usize| ["align", "channels"].iter().all(|n| p.dim(n).is_multiple_of(*v));
    [8, 4, 2].into_iter().find(divides).unwrap_or(1)
}

impl Form for Mma {
    fn name(&self) -> &'static str {
        "mma"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = DynamicConv::from_values(values)?;
        require(p.dim("taps") == TAPS, || format!("{} taps, not {TAPS}", p.dim("taps")))?;
        let f = Formats::of(p)?;
        let u = f.get("u");
        require(matches!(u, Elem::Bf16 | Elem::F16), || format!("16-bit operands, not {u}"))?;
        require(["h", "weight", "out"].iter().all(|r| f.get(r) == u), || {
            format!("operands of one format, not {f}")
        })?;
        require(access(p) >= 2, || "rows aligned to 4 bytes at least".to_owned())?;
        let (rows, cols) = (s.tile_m / s.warps_m, s.tile_n / s.warps_n);
        require(rows >= 16 && rows.is_multiple_of(16) && cols >= 16 && cols.is_multiple_of(16), || {
            format!("{rows} by {cols} of the tile in one warp")
        })?;
        require(s.tile_k >= 32, || "a stage of whole 64-byte rows".to_owned())?;
        require(sums(&s) <= 128, || format!("{} sums in one thread", sums(&s)))
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = DynamicConv::from_values(values).unwrap_or_default();
        let fragments = s.tile_m / s.warps_m / 16 * 4 + 4;
        Budget {
            threads: (s.warps_m * s.warps_n * 32) as u32,
            registers: (sums(&s) + fragments + 56).min(255) as u32,
            smem: (smem(&s, p) + 4 * s.tile_m) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = DynamicConv::from_values(values).unwrap_or_default();
        let template = ("dynamic_conv", include_str!("../../../cuda/dynamic_conv/mma.cuh"));
        let entry = Entry::new("dynamic_conv_mma", s.warps_m * s.warps_n * 32).smem(smem(&s, p));
        let templates = [gemm::PRODUCT, HISTORY, template];
        source(p, &s, self, arch, &templates, entry, s.tile_n / TAPS, |w| {
            // What the product's main loop calls its operand.
            w.alias("XType", "HType").integer("k", p.dim("hidden")).integer("x_align", access(p));
            w.written(&gemm::product(Formats::of(p).map_or(Elem::Bf16, |f| f.get("h"))));
        })
    }
}

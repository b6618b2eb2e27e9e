//! Multiply-adds in float: any formats, any alignment, no tensor cores. What float32 programs run with.

use super::{Attention, copy_width, emit, legal};
use crate::arch::Arch;
use crate::kernel::{Budget, Form, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Simt;

/// Bytes of shared memory: queries, keys with padded rows, values.
fn smem(p: &Problem, s: &Attention) -> usize {
    let dim = p.dim("d_head").next_multiple_of(8);
    4 * (s.tile_m * dim + s.tile_n * (2 * dim + 4))
}

/// Sums of a thread.
fn sums(p: &Problem, s: &Attention) -> usize {
    s.tile_m / s.warps * p.dim("d_head").div_ceil(32)
}

impl Form for Simt {
    fn name(&self) -> &'static str {
        "simt"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = Attention::from_values(values)?;
        legal(p, &s)?;
        require(s.stages == 2 && s.tile_n == 32, || {
            "it has no ring, and tiles as wide as a warp".to_owned()
        })?;
        require(s.tile_m.is_multiple_of(s.warps) && s.tile_m / s.warps <= 8 && sums(p, &s) <= 64, || {
            format!("{} rows in {} warps", s.tile_m, s.warps)
        })
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Attention::from_values(values).unwrap_or_default();
        let rows = s.tile_m / s.warps;
        Budget {
            threads: 32 * s.warps as u32,
            registers: (sums(p, &s) + 8 * rows + 48).min(255) as u32,
            smem: smem(p, &s) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Attention::from_values(values).unwrap_or_default();
        let template = ("attention", include_str!("../../../cuda/attention/simt.cuh"));
        emit(p, &s, self, arch, template, copy_width(p, 4, 16), smem(p, &s))
    }
}

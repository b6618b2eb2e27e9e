//! Multiply-adds in float: any formats, any alignment, no tensor cores. What float32 programs run with.

use super::{Gemm, halves, narrow_formats, tile_out, writer};
use crate::arch::Arch;
use crate::kernel::{Budget, Entry, Extent, Form, Size, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Simt;

/// Threads along the columns.
const ACROSS: usize = 16;

impl Form for Simt {
    fn name(&self) -> &'static str {
        "simt"
    }

    fn legal(&self, p: &Problem, values: &Values, arch: &Arch) -> Result<(), Illegal> {
        let s = Gemm::from_values(values)?;
        narrow_formats(p, arch)?;
        let default = Gemm::default();
        require(s.stages == default.stages && s.tile_k <= 32 && s.splits == 1, || {
            "it has no ring of stages and no CTAs that share k".to_owned()
        })?;
        let down = s.warps_m * s.warps_n * 32 / ACROSS;
        require(s.warps_m == s.warps_n && s.tile_m.is_multiple_of(down), || {
            format!("{down} threads along {} rows", s.tile_m)
        })?;
        require(tile_out(p, &s).is_multiple_of(ACROSS), || {
            format!("{ACROSS} threads along {} columns", tile_out(p, &s))
        })?;
        let own = s.tile_m / down * (s.tile_n / ACROSS);
        require(own <= 64, || format!("{own} sums in one thread"))
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Gemm::from_values(values).unwrap_or_default();
        let threads = s.warps_m * s.warps_n * 32;
        let (rows, cols) = (s.tile_m * ACROSS / threads, s.tile_n / ACROSS);
        Budget {
            threads: threads as u32,
            registers: (rows * cols + rows + cols + 40).min(168) as u32,
            smem: (4 * s.tile_k * (s.tile_m + s.tile_n + 1 + halves(p))) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Gemm::from_values(values).unwrap_or_default();
        let template = ("gemm", include_str!("../../../cuda/gemm/simt.cuh"));
        let rows = Extent::pieces(Size::Rows, s.tile_m);
        let columns = Extent::fixed(p.dim("n").div_ceil(tile_out(p, &s)));
        let entry = Entry::new("gemm_simt", s.warps_m * s.warps_n * 32).grid(rows, columns, Extent::fixed(1));
        writer(p, &s, self, arch, &[template]).finish(vec![entry], vec![])
    }
}

//! Multiply-adds in float: any formats, any alignment. What float32 programs run with.

use super::{Experts, emit};
use crate::arch::Arch;
use crate::kernel::{Budget, Form, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Simt;

/// Threads along the columns.
const ACROSS: usize = 16;

/// Bytes of both tiles.
fn tiles(s: &Experts) -> usize {
    4 * s.tile_k * (s.tile_m + s.tile_n + 2)
}

impl Form for Simt {
    fn name(&self) -> &'static str {
        "simt"
    }

    fn legal(&self, _p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = Experts::from_values(values)?;
        require(s.stages == Experts::default().stages && s.tile_k <= 32, || {
            "it has no ring of stages".to_owned()
        })?;
        let down = s.warps_m * s.warps_n * 32 / ACROSS;
        require(s.warps_m == s.warps_n && s.tile_m.is_multiple_of(down), || {
            format!("{down} threads along {} rows", s.tile_m)
        })?;
        let own = s.tile_m / down * (s.tile_n / ACROSS);
        require(own <= 64, || format!("{own} sums in one thread"))
    }

    fn budget(&self, _p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Experts::from_values(values).unwrap_or_default();
        let threads = s.warps_m * s.warps_n * 32;
        let (rows, cols) = (s.tile_m * ACROSS / threads, s.tile_n / ACROSS);
        Budget {
            threads: threads as u32,
            registers: (rows * cols + rows + cols + 48).min(128) as u32,
            smem: (tiles(&s) + 4 * s.tile_m) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Experts::from_values(values).unwrap_or_default();
        let own = ("experts simt", include_str!("../../../cuda/experts/simt.cuh"));
        emit(p, &s, self, arch, &[own], tiles(&s), |_| {})
    }
}

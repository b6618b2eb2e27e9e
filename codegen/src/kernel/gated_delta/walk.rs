//! Token by token, the state in registers: decoding, and short segments.

use super::{GatedDelta, columns_grid, require_tile, schedule, writer};
use crate::arch::Arch;
use crate::kernel::{Budget, Entry, Form, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Walk;

/// Values of the state that a thread holds.
const HELD: usize = 96;

/// Groups of rows.
fn groups(s: &GatedDelta) -> usize {
    s.warps * 32 * s.vec / s.tile_v
}

/// Rows of a thread.
fn held_rows(s: &GatedDelta, p: &Problem) -> usize {
    p.dim("d_key").div_ceil(groups(s))
}

impl Form for Walk {
    fn name(&self) -> &'static str {
        "walk"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = GatedDelta::from_values(values)?;
        let default = GatedDelta::default();
        require(s.chunk == default.chunk && s.stages == default.stages, || {
            "it has neither chunks nor stages".to_owned()
        })?;
        require_tile(p, s.tile_v)?;
        require(p.dim("d_value").is_multiple_of(s.vec), || {
            format!("accesses of {} columns to rows of {}", s.vec, p.dim("d_value"))
        })?;
        require(groups(&s) > 0, || format!("{} columns for {} warps", s.tile_v, s.warps))?;
        let held = held_rows(&s, p) * s.vec;
        require(held <= HELD, || format!("{held} values of the state in one thread"))
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = schedule(values);
        let (groups, rows) = (groups(&s), held_rows(&s, p));
        let partials = (s.warps * 32 * s.vec / s.tile_v).min(s.warps).max(1);
        Budget {
            threads: 32 * s.warps as u32,
            registers: (rows * s.vec + 3 * s.vec + 40).min(168) as u32,
            smem: (4 * (2 * (2 * groups * rows + 3) + (2 * partials + 1) * s.tile_v)) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = schedule(values);
        let template = ("gated_delta walk", include_str!("../../../cuda/gated_delta/walk.cuh"));
        let [x, y, z] = columns_grid(p, s.tile_v);
        let entry = Entry::new("gated_delta_walk", 32 * s.warps).grid(x, y, z);
        writer(p, values, self, arch, &[template]).finish(vec![entry], vec![])
    }
}

//! Token by token, the state in registers: any sizes, any formats. What steps run with.

use super::{Ssd, access, source};
use crate::arch::Arch;
use crate::kernel::{Budget, Entry, Form, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Step;

/// Values of the state that a thread may hold.
const HELD: usize = 128;

/// Values of the state in a thread, and of one row.
fn held(s: &Ssd, p: &Problem) -> (usize, usize) {
    let vec = access(p, 4);
    let row = p.dim("d_state").div_ceil(s.lanes * vec) * vec;
    (row * s.rows, row)
}

impl Form for Step {
    fn name(&self) -> &'static str {
        "step"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = Ssd::from_values(values)?;
        let d = Ssd::default();
        require((s.chunk, s.split, s.stages) == (d.chunk, d.split, d.stages), || {
            "it has no chunks".to_owned()
        })?;
        let (held, row) = held(&s, p);
        require(held + 2 * row <= HELD, || format!("{held} values of the state in one thread"))?;
        let rows = 32 * s.warps / s.lanes * s.rows;
        require(s.rows == 1 || rows < 2 * p.dim("d_head"), || {
            format!("{rows} rows in a CTA of {}", p.dim("d_head"))
        })
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Ssd::from_values(values).unwrap_or_default();
        let (held, row) = held(&s, p);
        Budget { threads: 32 * s.warps as u32, registers: (held + 2 * row + 48).min(200) as u32, smem: 0 }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Ssd::from_values(values).unwrap_or_default();
        let template = ("ssd", include_str!("../../../cuda/ssd/step.cuh"));
        let threads = 32 * s.warps;
        let pieces = p.dim("d_head").div_ceil(threads / s.lanes * s.rows);
        source(p, &s, self, arch, template, access(p, 4), (Entry::new("ssd_step", threads), pieces))
    }
}

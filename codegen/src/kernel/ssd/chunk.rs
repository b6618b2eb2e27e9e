//! By chunks with multiply-adds in float: any formats, any alignment. What float32 programs run with.

use super::{Ssd, decay_bytes, source};
use crate::arch::Arch;
use crate::kernel::{Budget, Entry, Form, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Chunk;

/// Bytes of shared memory: the state, B, C, x, y and scores, each row one value longer than it is wide.
fn smem(s: &Ssd, p: &Problem) -> usize {
    let (width, columns) = (p.dim("d_head") / s.split, p.dim("d_state"));
    let keys = (width + 2 * s.chunk) * (columns + 1);
    4 * (keys + 2 * s.chunk * (width + 1) + s.chunk * (s.chunk + 1)) + decay_bytes(s)
}

impl Form for Chunk {
    fn name(&self) -> &'static str {
        "chunk"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = Ssd::from_values(values)?;
        let d = Ssd::default();
        require((s.stages, s.lanes, s.rows) == (d.stages, d.lanes, d.rows), || {
            "it has neither stages nor rows of a thread".to_owned()
        })?;
        require(p.dim("step") == 0, || "chunks of one token".to_owned())?;
        require(p.dim("d_head").is_multiple_of(s.split), || {
            format!("{} CTAs do not share {} channels", s.split, p.dim("d_head"))
        })
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Ssd::from_values(values).unwrap_or_default();
        // Sixteen sums with their operands and places.
        Budget { threads: 32 * s.warps as u32, registers: 96, smem: smem(&s, p) as u32 }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Ssd::from_values(values).unwrap_or_default();
        let template = ("ssd", include_str!("../../../cuda/ssd/chunk.cuh"));
        let entry = Entry::new("ssd_chunk", 32 * s.warps).smem(smem(&s, p));
        source(p, &s, self, arch, template, 1, (entry, s.split))
    }
}

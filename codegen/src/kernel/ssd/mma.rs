//! By chunks with `mma.sync`: 16-bit operands, float state, every architecture.

use super::{Ssd, access, decay_bytes, source};
use crate::arch::Arch;
use crate::kernel::{Budget, Elem, Entry, Form, Formats, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Mma;

/// Bytes that a row of a tile has beyond its values.
const PAD: usize = 16;

/// Bytes of dynamic shared memory: B, C and x of every stage, the mirror of the state, the weighed x.
fn tiles(s: &Ssd, p: &Problem) -> usize {
    let (width, columns) = (p.dim("d_head") / s.split, p.dim("d_state"));
    let (key, value) = (2 * columns + PAD, 2 * width + PAD);
    s.stages * s.chunk * (2 * key + value) + width * key + s.chunk * value
}

/// Floats that a thread holds throughout: its part of the state, a block's results, a block's rows of C.
fn held(s: &Ssd, p: &Problem) -> usize {
    let (width, columns) = (p.dim("d_head") / s.split, p.dim("d_state"));
    width * columns / (32 * s.warps) + width / 2 + columns / 4
}

impl Form for Mma {
    fn name(&self) -> &'static str {
        "mma"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = Ssd::from_values(values)?;
        let d = Ssd::default();
        require((s.lanes, s.rows) == (d.lanes, d.rows), || "it has no rows of a thread".to_owned())?;
        require(p.dim("step") == 0, || "chunks of one token".to_owned())?;
        let f = Formats::of(p)?;
        let x = f.get("x");
        require(matches!(x, Elem::Bf16 | Elem::F16), || format!("16-bit operands, not {x}"))?;
        require(["b", "c", "out"].iter().all(|r| f.get(r) == x), || {
            format!("x, B, C and the output of one format, not {f}")
        })?;
        require(access(p, 8) >= 2, || "rows aligned to 4 bytes at least".to_owned())?;
        let (head, columns) = (p.dim("d_head"), p.dim("d_state"));
        require(head.is_multiple_of(16 * s.split), || {
            format!("{} CTAs do not share {head} channels by sixteens", s.split)
        })?;
        require(columns.is_multiple_of(16 * s.warps) && s.chunk.is_multiple_of(16 * s.warps), || {
            format!("{} warps do not share {columns} columns and {} tokens by sixteens", s.warps, s.chunk)
        })?;
        require(head / s.split <= columns, || {
            format!("{} channels are staged in {columns} columns", head / s.split)
        })?;
        require(held(&s, p) <= 160, || format!("{} values in one thread", held(&s, p)))
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Ssd::from_values(values).unwrap_or_default();
        Budget {
            threads: 32 * s.warps as u32,
            registers: (held(&s, p) + 64).min(255) as u32,
            smem: (tiles(&s, p) + decay_bytes(&s)) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Ssd::from_values(values).unwrap_or_default();
        let template = ("ssd", include_str!("../../../cuda/ssd/mma.cuh"));
        let entry = Entry::new("ssd_mma", 32 * s.warps).smem(tiles(&s, p));
        source(p, &s, self, arch, template, access(p, 8), (entry, s.split))
    }
}

//! Chunks with `mma.sync` in one launch: a CTA solves its chunks itself. Triangles and factors never go to memory, and
//! keys and queries are read once for up to 128 columns of the values, so it moves little more than it must. But there
//! are few CTAs, and chunks are solved one after the other: for batches of many sequences.

use super::{GatedDelta, SOLVE, columns_grid, mma, schedule, solve_bytes, writer};
use crate::arch::Arch;
use crate::kernel::{Budget, Elem, Entry, Form, Formats, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Fused;

/// Bytes of shared memory: the ring, the triangles and factors of a chunk, and what they are found from.
fn smem(s: &GatedDelta, p: &Problem) -> usize {
    let stage = mma::key_tiles(s, p) + s.chunk * (2 * s.tile_v + mma::PAD) + 8 * s.chunk;
    let solution = 2 * s.chunk * (2 * s.chunk + mma::PAD) + 16 * s.chunk;
    s.stages * stage + solution + solve_bytes(s.chunk)
}

/// Registers for the state and for a chunk's products.
fn registers(s: &GatedDelta, p: &Problem) -> usize {
    p.dim("d_key") / 2 + s.chunk + 80
}

impl Form for Fused {
    fn name(&self) -> &'static str {
        "fused"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = GatedDelta::from_values(values)?;
        mma::require_fragments(&s, p)?;
        require(s.warps >= 2, || "one warp has the gates and another one their betas".to_owned())?;
        let registers = registers(&s, p);
        require(registers <= 232, || format!("about {registers} registers in one thread"))
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = schedule(values);
        Budget {
            threads: (32 * s.warps) as u32,
            registers: registers(&s, p) as u32,
            smem: smem(&s, p) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = schedule(values);
        let elem = Formats::of(p).map_or(Elem::Bf16, |f| f.get("v"));
        let template = ("gated_delta fused", include_str!("../../../cuda/gated_delta/fused.cuh"));
        let [x, y, z] = columns_grid(p, s.tile_v);
        let entry = Entry::new("gated_delta_fused", 32 * s.warps).grid(x, y, z).smem(smem(&s, p));
        let mut w = writer(p, values, self, arch, &[SOLVE, mma::FRAGMENTS, template]);
        w.integer("solve_threads", 32 * s.warps);
        mma::accesses(&mut w, p).alias("TriangleType", elem.cuda()).finish(vec![entry], vec![])
    }
}

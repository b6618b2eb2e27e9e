//! Chunks with multiply-adds in float: any widths and formats. What float32 programs run with.

use super::{
    GatedDelta, SOLVE, SOLVE_THREADS, chunks_grid, columns_grid, require_chunks, schedule, scratch,
    solve_bytes, writer,
};
use crate::arch::Arch;
use crate::kernel::{Budget, Elem, Entry, Form, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Fma;

/// Floats of a row of keys in shared memory: whole pieces of four, an odd number of them.
fn key_stride(p: &Problem) -> usize {
    4 * (p.dim("d_key").div_ceil(4) | 1)
}

/// Bytes of shared memory of both entries.
fn smem(s: &GatedDelta, p: &Problem) -> [usize; 2] {
    let keys = 8 * s.chunk * key_stride(p);
    let state = 16 * p.dim("d_key").div_ceil(4) * s.tile_v;
    let walk = keys + state + 8 * s.chunk * (s.chunk + s.tile_v) + 16 * s.chunk;
    [(keys + solve_bytes(s.chunk)).next_multiple_of(16), walk.next_multiple_of(16)]
}

/// Rows of a chunk and of the state that a thread has.
fn rows(s: &GatedDelta, p: &Problem) -> [usize; 2] {
    let down = (32 * s.warps / s.tile_v).max(1);
    [s.chunk / down, (4 * p.dim("d_key").div_ceil(4)).div_ceil(down)]
}

impl Form for Fma {
    fn name(&self) -> &'static str {
        "fma"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = GatedDelta::from_values(values)?;
        let default = GatedDelta::default();
        require(s.vec == default.vec && s.stages == default.stages, || {
            "it has neither wide accesses nor stages".to_owned()
        })?;
        require_chunks(p)?;
        // A warp has one row, so that what all its threads read is one word.
        require(s.tile_v == 32 || s.tile_v > 32 && s.tile_v < 2 * p.dim("d_value"), || {
            format!("a tile of {} columns for values of {}", s.tile_v, p.dim("d_value"))
        })?;
        require(32 * s.warps >= s.tile_v, || format!("{} columns for {} warps", s.tile_v, s.warps))?;
        let [chunk_rows, state_rows] = rows(&s, p);
        require(chunk_rows <= 16 && state_rows <= 64, || {
            format!("{chunk_rows} rows of a chunk and {state_rows} of the state in one thread")
        })
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = schedule(values);
        let [chunk_rows, state_rows] = rows(&s, p);
        Budget {
            threads: (32 * s.warps).max(SOLVE_THREADS) as u32,
            registers: (3 * chunk_rows + state_rows + 48).min(168) as u32,
            smem: smem(&s, p).into_iter().max().unwrap_or(0) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = schedule(values);
        let template = ("gated_delta fma", include_str!("../../../cuda/gated_delta/fma.cuh"));
        let [solve, walk] = smem(&s, p);
        let [x, y, z] = chunks_grid(p, s.chunk);
        let first = Entry::new("gated_delta_solve", SOLVE_THREADS).grid(x, y, z).smem(solve);
        let [x, y, z] = columns_grid(p, s.tile_v);
        let second = Entry::new("gated_delta_chunks", 32 * s.warps).grid(x, y, z).smem(walk);
        let mut w = writer(p, values, self, arch, &[SOLVE, template]);
        w.integer("solve_threads", SOLVE_THREADS)
            .alias("TriangleType", Elem::F32.cuda())
            .finish(vec![first, second], scratch(p, s.chunk, Elem::F32))
    }
}

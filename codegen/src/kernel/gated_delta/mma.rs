//! Chunks with `mma.sync` in two launches: 16-bit operands, widths of whole fragments, every architecture.

use super::{
    GatedDelta, SOLVE, SOLVE_THREADS, chunks_grid, columns_grid, require_chunks, require_tile, schedule,
    scratch, solve_bytes, writer,
};
use crate::arch::Arch;
use crate::emit::Writer;
use crate::kernel::{Budget, Elem, Entry, Form, Formats, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Mma;

/// Bytes that a row of a tile has beyond its values.
pub(super) const PAD: usize = 16;

/// Bytes of the tiles of keys and queries.
pub(super) fn key_tiles(s: &GatedDelta, p: &Problem) -> usize {
    2 * s.chunk * (2 * p.dim("d_key") + PAD)
}

/// Bytes of shared memory of both entries.
fn smem(s: &GatedDelta, p: &Problem) -> [usize; 2] {
    let keys = key_tiles(s, p);
    let stage = keys + s.chunk * (2 * s.tile_v + PAD) + 2 * s.chunk * (2 * s.chunk + PAD) + 16 * s.chunk;
    [keys + solve_bytes(s.chunk), s.stages * stage]
}

/// Registers for the state and for a chunk's products.
fn registers(s: &GatedDelta, p: &Problem) -> usize {
    p.dim("d_key") / 2 + s.chunk + 64
}

/// What both forms on tensor cores want of formats, widths and the tile.
pub(super) fn require_fragments(s: &GatedDelta, p: &Problem) -> Result<(), Illegal> {
    let f = Formats::of(p)?;
    require(s.vec == GatedDelta::default().vec, || "it has one width of access".to_owned())?;
    require_chunks(p)?;
    let v = f.get("v");
    require(matches!(v, Elem::Bf16 | Elem::F16) && f.get("q") == v && f.get("k") == v, || {
        format!("q, k and v of one 16-bit format, not {}, {}, {v}", f.get("q"), f.get("k"))
    })?;
    require(matches!(f.get("out"), Elem::F32) || f.get("out").bytes() == 2, || {
        "an output of 16 or 32 bits".to_owned()
    })?;
    let (d_key, d_value) = (p.dim("d_key"), p.dim("d_value"));
    require(d_key.is_multiple_of(16) && d_value.is_multiple_of(16), || {
        format!("keys of {d_key} and values of {d_value} are not whole fragments")
    })?;
    require(p.dim("align").is_multiple_of(2), || "rows aligned to 4 bytes at least".to_owned())?;
    require(s.tile_v == 16 * s.warps, || format!("{} columns for {} warps", s.tile_v, s.warps))?;
    require_tile(p, s.tile_v)
}

/// The template that both share.
pub(super) const FRAGMENTS: (&str, &str) =
    ("gated_delta fragments", include_str!("../../../cuda/gated_delta/fragments.cuh"));

/// The widest accesses to the operands and to the output.
pub(super) fn accesses<'a>(w: &'a mut Writer, p: &Problem) -> &'a mut Writer {
    let widest = |name: &str| [8, 4, 2].into_iter().find(|v| p.dim(name).is_multiple_of(*v)).unwrap_or(1);
    w.integer("align", widest("align")).integer("out_align", widest("out_align"))
}

impl Form for Mma {
    fn name(&self) -> &'static str {
        "mma"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = GatedDelta::from_values(values)?;
        require_fragments(&s, p)?;
        let registers = registers(&s, p);
        require(registers <= 232, || format!("about {registers} registers in one thread"))
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = schedule(values);
        Budget {
            threads: (32 * s.warps).max(SOLVE_THREADS) as u32,
            registers: registers(&s, p).min(255) as u32,
            smem: smem(&s, p).into_iter().max().unwrap_or(0) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = schedule(values);
        let elem = Formats::of(p).map_or(Elem::Bf16, |f| f.get("v"));
        let template = ("gated_delta mma", include_str!("../../../cuda/gated_delta/mma.cuh"));
        let [solve, walk] = smem(&s, p);
        let [x, y, z] = chunks_grid(p, s.chunk);
        let first = Entry::new("gated_delta_solve", SOLVE_THREADS).grid(x, y, z).smem(solve);
        let [x, y, z] = columns_grid(p, s.tile_v);
        let second = Entry::new("gated_delta_chunks", 32 * s.warps).grid(x, y, z).smem(walk);
        let mut w = writer(p, values, self, arch, &[SOLVE, FRAGMENTS, template]);
        w.integer("solve_threads", SOLVE_THREADS);
        accesses(&mut w, p)
            .alias("TriangleType", elem.cuda())
            .finish(vec![first, second], scratch(p, s.chunk, elem))
    }
}

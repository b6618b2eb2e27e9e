//! The gated delta rule, [`Op::GatedDelta`](crate::op::Op::GatedDelta): token by token with the state in registers, or
//! in chunks.
//!
//! Sizes of a problem: `heads`, `d_key`, `d_value`, `align` (elements to which the rows of `q`, `k`, `v` are aligned),
//! `out_align`, and the flag `step` (one new token a sequence). Roles: `q`, `k`, `v`, `out`; `g`, `beta` and `state`
//! are f32.
//!
//! The chunk forms have two entries: one that looks at all chunks at once, whatever the state before them, and one that
//! walks along each sequence. The fused one does both in one entry: it moves less, but has fewer CTAs.

mod fma;
mod fused;
mod mma;
mod walk;

use super::{Elem, Extent, Floor, Form, Formats, Kernel, Scratch, Size, require, require_sizes};
use crate::arch::Arch;
use crate::emit::Writer;
use crate::schedule::{Illegal, Param, Problem, Schedule, Values};

crate::schedule! {
    /// How tokens and columns of the state are shared out. A parameter that a form does not use has its default there.
    pub struct GatedDelta = "gated_delta" v1 {
        /// 0: token by token; 1: chunks with multiply-adds in float; 2: chunks with mma.sync in two launches; 3: in one.
        form: [0, 1, 2, 3] = 0,
        /// Tokens of a chunk.
        chunk: [16, 32, 64] = 32,
        /// Columns of the state in one CTA; mma.sync has 16 a warp.
        tile_v: [16, 32, 64, 128, 256] = 64,
        /// Warps of a CTA.
        warps: [1, 2, 4, 8] = 4,
        /// Columns of one access.
        vec: [1, 2, 4] = 4,
        /// Stages of the ring.
        stages: [2, 3] = 2,
    }
}

/// Threads of the entry that looks at all chunks at once.
const SOLVE_THREADS: usize = 128;

/// The family.
pub struct GatedDeltaKernel;

fn schedule(values: &Values) -> GatedDelta {
    GatedDelta::from_values(values).unwrap_or_default()
}

impl Kernel for GatedDeltaKernel {
    fn name(&self) -> &'static str {
        GatedDelta::FAMILY
    }

    fn version(&self) -> u32 {
        GatedDelta::VERSION
    }

    fn params(&self) -> &'static [Param] {
        GatedDelta::PARAMS
    }

    fn forms(&self) -> &'static [&'static dyn Form] {
        &[&walk::Walk, &fma::Fma, &mma::Mma, &fused::Fused]
    }

    fn serves(&self, p: &Problem) -> Result<(), Illegal> {
        require_sizes(p, &["heads", "d_key", "d_value", "align", "out_align"])?;
        let f = Formats::of(p)?;
        let float = |role: &str| f.exceptions.iter().all(|(r, e)| r != role || *e == Elem::F32);
        require(float("g") && float("beta") && float("state"), || "gates and states are f32".to_owned())
    }

    fn floor(&self, p: &Problem) -> Floor {
        let Ok(f) = Formats::of(p) else { return Floor::default() };
        let (tokens, heads) = (p.dim("tokens"), p.dim("heads"));
        let (d_key, d_value) = (p.dim("d_key"), p.dim("d_value"));
        let keys = d_key * (f.get("q").bytes() + f.get("k").bytes());
        let per_token = keys + d_value * (f.get("v").bytes() + f.get("out").bytes()) + 8;
        // In steps every token has a state of its own; else there is at least one.
        let states = if p.dim("step") > 0 { tokens } else { 1 };
        let bytes = heads * (tokens * per_token + 8 * states * d_key * d_value);
        // Two reads of the state and one write.
        Floor { bytes: bytes as u64, flops: (6 * tokens * heads * d_key * d_value) as u64 }
    }

    fn prefers(&self, p: &Problem, arch: &Arch) -> Vec<Values> {
        let mut all = Vec::new();
        let (d_value, sms) = (p.dim("d_value"), arch.peaks.sms as usize);
        if p.dim("step") == 0 {
            // Wide tiles share keys and triangles among more columns; narrow ones give a few sequences more CTAs. Both
            // launches of the first choice move up to 1.45 of the least bytes, because triangles and factors pass
            // through memory: chunks are solved side by side, where the fused form, which moves 1.3, solves them one
            // after the other in a CTA a head and 128 columns. That is for a tuner to choose: how many sequences a
            // batch has is not known here.
            for chunk in [64, 32, 16] {
                for warps in [4, 2, 1] {
                    let tile_v = 16 * warps;
                    all.push(GatedDelta { form: MMA, chunk, warps, tile_v, ..GatedDelta::default() });
                }
            }
            for (chunk, tile_v) in [(32, 64), (32, 32), (16, 32)] {
                all.push(GatedDelta { form: FMA, chunk, tile_v, ..GatedDelta::default() });
            }
        }
        let vec = [4, 2, 1].into_iter().find(|v| d_value.is_multiple_of(*v)).unwrap_or(1);
        let ctas = |tile: usize| p.dim("tokens").max(1) * p.dim("heads") * d_value.div_ceil(tile);
        let tiles = [256, 128, 64, 32, 16];
        let wide = tiles.into_iter().find(|t| *t < 2 * d_value && ctas(*t) >= 2 * sms).unwrap_or(32);
        for tile_v in tiles.into_iter().filter(|t| *t <= wide) {
            for warps in [4, 8] {
                all.push(GatedDelta { form: WALK, tile_v, warps, vec, ..GatedDelta::default() });
            }
        }
        all.iter().map(Schedule::values).collect()
    }
}

/// Index of the form that goes token by token.
const WALK: usize = 0;
/// Index of the form with multiply-adds.
const FMA: usize = 1;
/// Index of the form with `mma.sync`.
const MMA: usize = 2;

/// A tile is at most one power of two wider than the values.
fn require_tile(p: &Problem, tile_v: usize) -> Result<(), Illegal> {
    require(tile_v == 16 || tile_v < 2 * p.dim("d_value"), || {
        format!("a tile of {tile_v} columns for values of {}", p.dim("d_value"))
    })
}

/// Chunks serve segments; a single token has none.
fn require_chunks(p: &Problem) -> Result<(), Illegal> {
    require(p.dim("step") == 0, || "one token a sequence is no chunk".to_owned())
}

/// The constants and types that all forms use.
fn writer(
    p: &Problem,
    values: &Values,
    form: &dyn Form,
    arch: &Arch,
    templates: &[(&'static str, &'static str)],
) -> Writer {
    let formats = Formats::of(p).unwrap_or(Formats::new(Elem::F32, &[]));
    let mut w = Writer::new(p, form.name(), values, arch, templates);
    w.sizes(p, &["heads", "d_key", "d_value"]);
    w.types(&formats, &["q", "k", "v", "out"]);
    w
}

/// The template of what the chunk forms share.
const SOLVE: (&str, &str) = ("gated_delta solve", include_str!("../../../cuda/gated_delta/solve.cuh"));

/// What the entries of the chunk forms leave each other: triangles of a chunk in `elem`, a row a token, and the tokens'
/// factors.
fn scratch(p: &Problem, chunk: usize, elem: Elem) -> Vec<Scratch> {
    let of = |role: &str, bytes: usize| Scratch {
        role: role.to_owned(),
        bytes: Extent::pieces(Size::Rows, 1).times(p.dim("heads") * bytes),
        zeroed: false,
    };
    let triangle = chunk * elem.bytes();
    vec![of("mix", triangle), of("scores", triangle), of("factors", 16)]
}

/// One CTA per chunk, sequence and head.
fn chunks_grid(p: &Problem, chunk: usize) -> [Extent; 3] {
    let sequences = Extent::pieces(Size::Sequences, 1);
    [Extent::pieces(Size::Longest, chunk), sequences, Extent::fixed(p.dim("heads"))]
}

/// One CTA per tile of columns, sequence and head.
fn columns_grid(p: &Problem, tile_v: usize) -> [Extent; 3] {
    let tiles = Extent::fixed(p.dim("d_value").div_ceil(tile_v));
    [tiles, Extent::pieces(Size::Sequences, 1), Extent::fixed(p.dim("heads"))]
}

/// Bytes of the running sums and of both triangles in the first entry.
fn solve_bytes(chunk: usize) -> usize {
    let inverse = if chunk.is_multiple_of(32) { chunk + 16 } else { chunk };
    4 * (chunk * (chunk + 8 + inverse) + 4 * chunk)
}

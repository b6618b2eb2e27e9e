//! The routed experts of a mixture, [`Op::Experts`](crate::op::Op::Experts): pairs of tokens and experts sorted by
//! expert, two grouped matrix products with the activation between them, and a weighted sum.
//!
//! Sizes of a problem: `width`, `hidden`, `experts`, `top_k`, `align` (elements to which the rows of `x` are aligned),
//! `out_align`, the flag `accumulate`, and one flag that names the activation: `relu2`, or with a gate `swiglu` or
//! `geglu`. Roles: `x`, `weight` (of all matrices `gate`, `up`, `down`, those of all experts on top of each other, rows
//! padded to whole 16 bytes), `out`; `ids` and `gates` are f32.
//!
//! The forms share the schedule with those of the matrix product.

mod mma;
mod simt;

use super::{
    Elem, Entry, Extent, Floor, Form, Formats, Kernel, Scratch, Size, Source, require, require_sizes,
};
use crate::arch::Arch;
use crate::emit::Writer;
use crate::schedule::{Illegal, Param, Problem, Schedule, Values};

crate::schedule! {
    /// Tiles of the grouped products.
    pub struct Experts = "experts" v1 {
        /// 0: multiply-adds in float; 1: mma.sync with asynchronous copies.
        form: [0, 1] = 0,
        /// Rows of a tile, all of one expert.
        tile_m: [16, 32, 64, 128] = 16,
        /// Rows of the weights in a tile; with a gate half of them are its.
        tile_n: [32, 64, 128] = 64,
        /// Depth of one stage.
        tile_k: [16, 32, 64] = 16,
        /// Warps along the rows.
        warps_m: [1, 2, 4] = 2,
        /// Warps along the columns.
        warps_n: [1, 2, 4] = 2,
        /// Stages of the ring.
        stages: [2, 3, 4] = 2,
    }
}

/// Index of the form with multiply-adds.
const SIMT: usize = 0;
/// Index of the form with `mma.sync`.
const MMA: usize = 1;

/// Activations by their flags, as the template numbers them.
pub const ACTS: [&str; 3] = ["relu2", "swiglu", "geglu"];

/// Threads of the entries that sort and sum.
const SORT_THREADS: usize = 256;

/// The family.
pub struct ExpertsKernel;

/// The activation's number; the first has no gate.
fn act(p: &Problem) -> usize {
    ACTS.iter().position(|a| p.dim(a) > 0).unwrap_or(0)
}

impl Kernel for ExpertsKernel {
    fn name(&self) -> &'static str {
        Experts::FAMILY
    }

    fn version(&self) -> u32 {
        Experts::VERSION
    }

    fn params(&self) -> &'static [Param] {
        Experts::PARAMS
    }

    fn forms(&self) -> &'static [&'static dyn Form] {
        &[&simt::Simt, &mma::Mma]
    }

    fn serves(&self, p: &Problem) -> Result<(), Illegal> {
        require_sizes(p, &["width", "hidden", "experts", "top_k", "align", "out_align"])?;
        Formats::of(p)?;
        require(ACTS.iter().filter(|a| p.dim(a) > 0).count() == 1, || {
            format!("{p} does not name one of {}", ACTS.join(", "))
        })?;
        require(p.dim("top_k") <= p.dim("experts"), || {
            format!("{} of {} experts", p.dim("top_k"), p.dim("experts"))
        })
    }

    fn floor(&self, p: &Problem) -> Floor {
        let Ok(f) = Formats::of(p) else { return Floor::default() };
        let (tokens, pairs) = (p.dim("tokens"), p.dim("tokens") * p.dim("top_k"));
        let matrices = if act(p) > 0 { 3 } else { 2 };
        let weights = matrices * p.dim("width") * p.dim("hidden");
        // At most as many experts as pairs are read; at the inner rows' width nothing has to leave the chip.
        let read = p.dim("experts").min(pairs);
        let out = f.get("out").bytes() * (1 + p.dim("accumulate"));
        let bytes = read * weights * f.get("weight").bytes()
            + tokens * (p.dim("width") * (f.get("x").bytes() + out) + 8 * p.dim("top_k"));
        Floor { bytes: bytes as u64, flops: 2 * (pairs * weights) as u64 }
    }

    fn prefers(&self, p: &Problem, _arch: &Arch) -> Vec<Values> {
        // Rows that an expert has on average.
        let rows = (p.dim("tokens") * p.dim("top_k")).div_ceil(p.dim("experts").max(1));
        let tile_m = [16, 32, 64, 128].into_iter().find(|t| *t >= rows).unwrap_or(128);
        let mut all = Vec::new();
        for tile_n in [128, 64, 32] {
            let warps_m = if tile_m >= 64 { 2 } else { 1 };
            let warps_n = if tile_n >= 64 { 4 } else { 2 };
            for (tile_k, stages) in [(64, 4), (64, 3), (32, 3), (32, 2)] {
                all.push(Experts { form: MMA, tile_m, tile_n, tile_k, warps_m, warps_n, stages });
            }
        }
        all.push(Experts { form: SIMT, tile_m: tile_m.min(64), ..Experts::default() });
        all.push(Experts::default());
        all.iter().map(Schedule::values).collect()
    }
}

/// The source of a form: what is its own is the template of its products and their shared memory.
fn emit(
    p: &Problem,
    s: &Experts,
    form: &dyn Form,
    arch: &Arch,
    own: &[(&'static str, &'static str)],
    smem: usize,
    more: impl FnOnce(&mut Writer),
) -> Source {
    let sort = ("experts sort", include_str!("../../../cuda/experts/sort.cuh"));
    let products = ("experts products", include_str!("../../../cuda/experts/products.cuh"));
    let formats = Formats::of(p).unwrap_or(Formats::new(Elem::F32, &[]));
    let mut w = Writer::new(p, form.name(), &s.values(), arch, &[&[sort], own, &[products]].concat());
    more(&mut w);
    let [width, hidden, top_k] = ["width", "hidden", "top_k"].map(|n| p.dim(n));
    let (inner_stride, answer_stride) = (hidden.next_multiple_of(16), width.next_multiple_of(4));
    let widest = |of: &[usize], most: usize| {
        let fits = |v: &usize| of.iter().all(|n| n.is_multiple_of(*v));
        [8, 4, 2].into_iter().filter(|v| *v <= most).find(fits).unwrap_or(1)
    };
    w.sizes(p, &["width", "hidden", "experts", "top_k"]);
    w.integer("inner_stride", inner_stride).integer("answer_stride", answer_stride);
    w.integer("act", act(p)).flag("accumulate", p.dim("accumulate") > 0);
    w.integer("sort_threads", SORT_THREADS).integer("x_vec", widest(&[p.dim("align")], 8));
    let combine_vec = widest(&[width, p.dim("out_align")], 4);
    w.integer("combine_vec", combine_vec).types(&formats, &["x", "weight", "out"]);

    let one = || Extent::fixed(1);
    let (gated, threads) = (act(p) > 0, 32 * s.warps_m * s.warps_n);
    // Tiles are more than rows allow when experts have few each; a CTA takes several where the guess is too small.
    let per = if s.tile_m <= 32 { s.tile_m / 8 } else { s.tile_m / 4 };
    let tiles = || Extent::pieces(Size::Rows, per).times(top_k);
    let up_cols = if gated { s.tile_n / 2 } else { s.tile_n };
    let up = if gated { "experts_gated_up" } else { "experts_up" };
    let sums = Extent::fixed(width.div_ceil(combine_vec * SORT_THREADS));
    let entries = vec![
        Entry::new("experts_sort", SORT_THREADS).grid(Extent::fixed(p.dim("experts")), one(), one()),
        Entry::new(up, threads).grid(tiles(), Extent::fixed(hidden.div_ceil(up_cols)), one()).smem(smem),
        Entry::new("experts_down", threads)
            .grid(tiles(), Extent::fixed(width.div_ceil(s.tile_n)), one())
            .smem(smem),
        Entry::new("experts_combine", SORT_THREADS).grid(Extent::pieces(Size::Rows, 1), sums, one()),
    ];
    let pairs = |role: &str, bytes: usize| Scratch {
        role: role.to_owned(),
        bytes: Extent::pieces(Size::Rows, 1).times(top_k * bytes),
        zeroed: false,
    };
    let starts = Scratch {
        role: "starts".to_owned(),
        bytes: Extent::fixed(4 * (p.dim("experts") + 1)),
        zeroed: false,
    };
    let inner = pairs("inner", inner_stride * formats.get("x").bytes());
    w.finish(entries, vec![starts, pairs("pairs", 4), inner, pairs("answers", 4 * answer_stride)])
}

//! Matrix products, `out (+)= act(x · weightᵀ · scales + bias)`: [`Op::Linear`](crate::op::Op::Linear) and every
//! projection.
//!
//! Sizes of a problem: `n` (columns of `out`), `k`, `align` (elements to which the rows of `x` are aligned), `out_align`
//! (the same of `out`); what the sums meet: `row_scale`, `column_scale`, `bias`, `act` (1: relu², 2: silu), `glu` (1:
//! SwiGLU, 2: GeGLU), `accumulate`. Roles: `x`, `weight` (rows of `k`, padded to whole 16 bytes), `row_scale`,
//! `column_scale`, `bias` (f32), `out`. With `block` = 128 fp8 operands have scales of blocks of 128 values of k:
//! `x_scale`, block by block one for each row of x, and `weight_scale`, for each 128 rows of weights one a block; both
//! f32 without gaps. With a gate the weights have 2 · `n` rows: those of the gate, then those of
//! what it lets through; and so have the bias and the scales of columns.
//!
//! The forms share the schedule: a parameter that a form does not use has its default there.

mod gemv;
mod mma;
mod simt;
mod skinny;
mod space;
mod wgmma;

use super::{Elem, Entry, Extent, Floor, Form, Formats, Kernel, Scratch, Size, Source};
use super::{require, require_sizes};
use crate::arch::Arch;
use crate::emit::Writer;
use crate::schedule::{Illegal, Param, Problem, Schedule, Values};

crate::schedule! {
    /// Tiles of a matrix product.
    pub struct Gemm = "gemm" v3 {
        /// 0: multiply-adds in float; 1: mma.sync with asynchronous copies; 2: warpgroup products with tensor copies;
        /// 3: a few tokens, multiply-adds in float; 4: a few dozen tokens, mma.sync on weights from global memory.
        form: [0, 1, 2, 3, 4] = 0,
        /// Rows (tokens) of a CTA's tile.
        tile_m: [1, 2, 4, 8, 16, 32, 64, 128, 256] = 32,
        /// Columns of a CTA's tile: rows of weights.
        tile_n: [8, 16, 32, 64, 128, 256] = 64,
        /// Depth of one stage.
        tile_k: [16, 32, 64, 128, 256] = 16,
        /// Warps along the rows; those that multiply, where others load; for few tokens, those that share k.
        warps_m: [1, 2, 4, 8] = 2,
        /// Warps along the columns.
        warps_n: [1, 2, 4, 8] = 2,
        /// Stages of the ring; accesses of a row that a lane has under way.
        stages: [2, 3, 4, 5] = 2,
        /// Ranges of k, each with CTAs of its own.
        splits: [1, 2, 4, 8] = 1,
    }
}

/// Index of the form with multiply-adds.
const SIMT: usize = 0;
/// Index of the form with `mma.sync`.
const MMA: usize = 1;
/// Index of the form with warpgroup products.
const WGMMA: usize = 2;
/// Index of the form for a few tokens.
const GEMV: usize = 3;
/// Index of the form for a few dozen tokens.
const SKINNY: usize = 4;

/// Values of k, and rows of weights, that share a scale.
const SCALE_BLOCK: usize = 128;

/// Threads of a CTA of the entry that adds ranges of k up.
const COMBINE_THREADS: usize = 128;

/// The family.
pub struct GemmKernel;

impl Kernel for GemmKernel {
    fn name(&self) -> &'static str {
        Gemm::FAMILY
    }

    fn version(&self) -> u32 {
        Gemm::VERSION
    }

    fn params(&self) -> &'static [Param] {
        Gemm::PARAMS
    }

    fn forms(&self) -> &'static [&'static dyn Form] {
        &[&simt::Simt, &mma::Mma, &wgmma::Wgmma, &gemv::Gemv, &skinny::Skinny]
    }

    fn space(&self) -> Vec<Values> {
        space::all()
    }

    fn serves(&self, p: &Problem) -> Result<(), Illegal> {
        require_sizes(p, &["n", "k", "align", "out_align"])?;
        let f = Formats::of(p)?;
        for role in ["bias", "row_scale", "column_scale"] {
            require(f.get(role) == Elem::F32 || f.exceptions.iter().all(|(r, _)| r != role), || {
                format!("`{role}` is f32")
            })?;
        }
        let (act, glu) = (p.dim("act"), p.dim("glu"));
        require(act <= 2 && glu <= 2, || format!("there is no activation {act} and no gate {glu}"))?;
        require(act == 0 || glu == 0, || "a product has an activation or a gate".to_owned())?;
        require(act + glu == 0 || p.dim("accumulate") == 0, || {
            "what is added to an output passes no activation".to_owned()
        })?;
        let block = p.dim("block");
        require(block == 0 || block == SCALE_BLOCK, || {
            format!("blocks of {SCALE_BLOCK} values have a scale, not of {block}")
        })?;
        require(block == 0 || f.get("x") == Elem::E4m3 && f.get("weight") == Elem::E4m3, || {
            "only operands in fp8 have scales of blocks".to_owned()
        })?;
        require(block == 0 || glu == 0 || p.dim("n").is_multiple_of(block), || {
            format!("a gate and what it lets through share a block of {block} rows of weights")
        })
    }

    fn floor(&self, p: &Problem) -> Floor {
        let Ok(f) = Formats::of(p) else { return Floor::default() };
        let (m, n, k) = (p.dim("tokens"), p.dim("n"), p.dim("k"));
        let out = m * n * f.get("out").bytes() * (1 + p.dim("accumulate"));
        let rows = n * halves(p);
        let mut scales = 4 * (m * p.dim("row_scale") + rows * (p.dim("bias") + p.dim("column_scale")));
        if p.dim("block") > 0 {
            scales += 4 * k.div_ceil(p.dim("block")) * (m + rows.div_ceil(p.dim("block")));
        }
        let bytes = m * k * f.get("x").bytes() + rows * k * f.get("weight").bytes() + out + scales;
        Floor { bytes: bytes as u64, flops: 2 * (m * rows * k) as u64 }
    }

    fn prefers(&self, p: &Problem, arch: &Arch) -> Vec<Values> {
        let tokens = p.dim("tokens").max(1);
        let mut all = Vec::new();
        if tokens <= 4 {
            all.extend(gemv::prefers(p, arch));
        }
        all.extend(skinny::prefers(p, arch));
        if tokens <= 8 {
            all.extend(gemv::prefers(p, arch));
        }
        all.extend(wgmma::prefers(p, arch));
        all.extend(mma::prefers(p, arch));
        let tile_m = [16, 32].into_iter().find(|t| *t >= tokens).unwrap_or(64);
        all.push(Gemm { form: SIMT, tile_m, ..Gemm::default() }.values());
        all.push(Gemm::default().values());
        all
    }
}

/// Sums of one result: two where there is a gate.
fn halves(p: &Problem) -> usize {
    1 + usize::from(p.dim("glu") > 0)
}

/// Columns of the output in a tile.
fn tile_out(p: &Problem, s: &Gemm) -> usize {
    s.tile_n / halves(p)
}

/// Whether the CTAs that share a tile's k are a cluster.
fn clustered(s: &Gemm, arch: &Arch) -> bool {
    s.splits > 1 && arch.can.tma
}

/// A width of `x` in elements that one asynchronous copy of 4, 8 or 16 bytes brings; `None` if its rows are not aligned
/// to 4 bytes.
fn copy_width(p: &Problem, x: Elem) -> Option<usize> {
    [16, 8, 4].into_iter().map(|b| b / x.bytes()).find(|v| *v > 0 && p.dim("align").is_multiple_of(*v))
}

/// Fails where both operands are in fp8 and the architecture has no instruction for it.
fn narrow_formats(p: &Problem, arch: &Arch) -> Result<(), Illegal> {
    let x = Formats::of(p)?.get("x");
    require(x != Elem::E4m3 || arch.sm >= 89, || {
        format!("{arch} has no instructions for fp8, which came with sm_89: keep x in 16 bits there")
    })
}

/// Fails unless a tile of `depth` values of k and `tile_n` rows of weights lies in one block of one scale.
fn whole_blocks(p: &Problem, depth: usize, tile_n: usize) -> Result<(), Illegal> {
    let block = p.dim("block");
    require(block == 0 || depth == block && tile_n <= block, || {
        format!("{depth} values of k and {tile_n} rows of weights where blocks of {block} have a scale")
    })
}

/// Fails unless the operands are of one format that tensor cores of `arch` multiply.
fn tensor_formats(p: &Problem, arch: &Arch) -> Result<Elem, Illegal> {
    let f = Formats::of(p)?;
    let (x, weight) = (f.get("x"), f.get("weight"));
    require(x != Elem::F32 && weight == x, || {
        format!("operands of one format of 16 bits or fp8, not {x} and {weight}")
    })?;
    narrow_formats(p, arch)?;
    Ok(x)
}

/// Fails unless each row of weights is whole accesses of 16 bytes.
fn whole_pieces(p: &Problem) -> Result<(), Illegal> {
    let piece = 16 / Formats::of(p)?.get("weight").bytes();
    require(p.dim("k").is_multiple_of(piece), || {
        format!("accesses of {piece} weights in rows of {}", p.dim("k"))
    })
}

/// The main loop of products by `mma.sync`, which other families have too. It wants [`product`].
pub(in crate::kernel) const PRODUCT: (&str, &str) =
    ("gemm product", include_str!("../../../cuda/gemm/product.cuh"));

/// The product of a warp, in the format of the operands.
pub(in crate::kernel) fn product(x: Elem) -> String {
    let name = if x == Elem::E4m3 { "warp_mma_e4m3".to_owned() } else { format!("warp_mma<{}>", x.cuda()) };
    format!(
        "__device__ inline void product(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {{\n    \
         {name}(d, a, b0, b1);\n}}\n"
    )
}

/// What is applied to the sums of a result last.
fn activation(p: &Problem) -> String {
    let result = match (p.dim("act"), p.dim("glu")) {
        (1, _) => "relu2(sum[0])",
        (2, _) => "silu(sum[0])",
        (_, 1) => "silu(sum[0]) * sum[1]",
        (_, 2) => "gelu(sum[0]) * sum[1]",
        _ => "sum[0]",
    };
    format!(
        "// The result of these sums.\n__device__ inline float activated(const float (&sum)[kHalves]) {{ return {result}; \
         }}\n"
    )
}

/// What the launches of a form are.
struct Launch {
    entry: &'static str,
    threads: usize,
    smem: usize,
    /// Groups of warps that share k.
    layers: usize,
    /// Floats between the rows of their sums, for which stores of fragments have no conflicts.
    part_pad: usize,
}

/// A source whose CTAs may share k.
fn split_source(p: &Problem, s: &Gemm, arch: &Arch, w: &mut Writer, launch: Launch) -> Source {
    let rows = Extent::pieces(Size::Rows, s.tile_m);
    let columns = Extent::fixed(p.dim("n").div_ceil(tile_out(p, s)));
    w.integer("threads", launch.threads)
        .integer("layers", launch.layers)
        .integer("part_pad", launch.part_pad);
    let mut entry = Entry::new(launch.entry, launch.threads)
        .grid(rows, columns, Extent::fixed(s.splits))
        .smem(launch.smem);
    if clustered(s, arch) {
        entry.cluster = [1, 1, s.splits as u32];
    }
    if s.splits == 1 || clustered(s, arch) {
        return w.finish(vec![entry], vec![]);
    }
    let vec = if p.dim("out_align").is_multiple_of(4) && p.dim("n").is_multiple_of(4) { 4 } else { 1 };
    let columns = Extent::fixed(p.dim("n").div_ceil(COMBINE_THREADS * vec));
    let combine = Entry::new("gemm_combine", COMBINE_THREADS).grid(
        Extent::pieces(Size::Rows, 1),
        columns,
        Extent::fixed(1),
    );
    let bytes = Extent::pieces(Size::Rows, 1).times(4 * s.splits * halves(p) * p.dim("n"));
    w.finish(vec![entry, combine], vec![Scratch { role: "partial".to_owned(), bytes, zeroed: false }])
}

/// The constants and types that all forms use.
fn writer(
    p: &Problem,
    s: &Gemm,
    form: &dyn Form,
    arch: &Arch,
    templates: &[(&'static str, &'static str)],
) -> Writer {
    let epilogue = ("gemm epilogue", include_str!("../../../cuda/gemm/epilogue.cuh"));
    let formats = Formats::of(p).unwrap_or(Formats::new(Elem::F32, &[]));
    let mut w = Writer::new(p, form.name(), &s.values(), arch, &[&[epilogue], templates].concat());
    w.sizes(p, &["n", "k", "out_align"]).integer("halves", halves(p)).integer("scale_block", p.dim("block"));
    for flag in ["row_scale", "column_scale", "bias", "accumulate"] {
        w.flag(flag, p.dim(flag) > 0);
    }
    w.flag("cluster", clustered(s, arch));
    w.types(&formats, &["x", "weight", "out"]).written(&activation(p));
    w
}

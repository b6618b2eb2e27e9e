//! Matrix products, `out (+)= x · weightᵀ + bias`: [`Op::Linear`](crate::op::Op::Linear) and every projection.
//!
//! Sizes of a problem: `n`, `k`, `align` (elements to which the rows of `x` are aligned), `out_align` (the same of
//! `out`), and the flags `bias`, `accumulate`. Roles: `x`, `weight` (rows of `k`, padded to whole 16 bytes), `bias`
//! (f32), `out`.
//!
//! The forms share the schedule: a parameter that a form does not use has its default there.

mod mma;
mod simt;
mod wgmma;

use super::{Elem, Floor, Form, Formats, Kernel, require, require_sizes};
use crate::arch::Arch;
use crate::emit::Writer;
use crate::schedule::{Illegal, Param, Problem, Schedule, Values};

crate::schedule! {
    /// Tiles of a matrix product.
    pub struct Gemm = "gemm" v2 {
        /// 0: multiply-adds in float; 1: mma.sync with asynchronous copies; 2: warpgroup products with tensor copies.
        form: [0, 1, 2] = 0,
        /// Rows (tokens) of a CTA's tile.
        tile_m: [16, 32, 64, 128, 256] = 32,
        /// Columns of a CTA's tile.
        tile_n: [32, 64, 128, 256] = 64,
        /// Depth of one stage.
        tile_k: [16, 32, 64] = 16,
        /// Warps along the rows; those that multiply, where others load.
        warps_m: [1, 2, 4, 8] = 2,
        /// Warps along the columns.
        warps_n: [1, 2, 4] = 2,
        /// Stages of the ring.
        stages: [2, 3, 4, 5] = 2,
    }
}

/// Index of the form with multiply-adds.
const SIMT: usize = 0;
/// Index of the form with `mma.sync`.
const MMA: usize = 1;

/// Index of the form with warpgroup products.
const WGMMA: usize = 2;

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
        &[&simt::Simt, &mma::Mma, &wgmma::Wgmma]
    }

    fn serves(&self, p: &Problem) -> Result<(), Illegal> {
        require_sizes(p, &["n", "k", "align", "out_align"])?;
        let f = Formats::of(p)?;
        require(f.get("bias") == Elem::F32 || f.exceptions.iter().all(|(r, _)| r != "bias"), || {
            "the bias is f32".to_owned()
        })
    }

    fn floor(&self, p: &Problem) -> Floor {
        let Ok(f) = Formats::of(p) else { return Floor::default() };
        let (m, n, k) = (p.dim("tokens"), p.dim("n"), p.dim("k"));
        let out = m * n * f.get("out").bytes() * (1 + p.dim("accumulate"));
        let bytes =
            m * k * f.get("x").bytes() + n * k * f.get("weight").bytes() + out + 4 * n * p.dim("bias");
        Floor { bytes: bytes as u64, flops: 2 * (m * n * k) as u64 }
    }

    fn prefers(&self, p: &Problem, arch: &Arch) -> Vec<Values> {
        let (tokens, n) = (p.dim("tokens").max(1), p.dim("n"));
        let tile_m = [16, 32, 64, 128].into_iter().find(|t| *t >= tokens).unwrap_or(128);
        // Wide tiles while they leave every SM some, narrow ones else.
        let ctas = |tile_n: usize| tokens.div_ceil(tile_m) * n.div_ceil(tile_n);
        let wide = [128, 64, 32].into_iter().find(|t| ctas(*t) >= arch.peaks.sms as usize).unwrap_or(32);
        let mut all = wgmma::prefers(tokens, n, arch);
        for tile_n in [wide, 64, 32] {
            let warps_m = if tile_m >= 64 { 2 } else { 1 };
            let warps_n = if tile_n >= 64 { 4 } else { 2 };
            for (tile_k, stages) in [(64, 4), (64, 3), (32, 3), (32, 2)] {
                all.push(Gemm { form: MMA, tile_m, tile_n, tile_k, warps_m, warps_n, stages }.values());
            }
        }
        let tile_m = tile_m.min(64);
        all.push(Gemm { form: SIMT, tile_m, ..Gemm::default() }.values());
        all.push(Gemm::default().values());
        all
    }
}

/// The constants and types that all forms use.
fn writer(
    p: &Problem,
    s: &Gemm,
    form: &dyn Form,
    arch: &Arch,
    template: (&'static str, &'static str),
) -> Writer {
    let epilogue = ("gemm epilogue", include_str!("../../../cuda/gemm/epilogue.cuh"));
    let formats = Formats::of(p).unwrap_or(Formats::new(Elem::F32, &[]));
    let mut w = Writer::new(p, form.name(), &s.values(), arch, &[epilogue, template]);
    w.sizes(p, &["n", "k", "out_align"]);
    w.flag("bias", p.dim("bias") > 0).flag("accumulate", p.dim("accumulate") > 0);
    w.types(&formats, &["x", "weight", "out"]);
    w
}

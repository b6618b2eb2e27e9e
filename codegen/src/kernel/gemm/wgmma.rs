//! Warpgroup products over a ring of tensor copies: 16-bit operands on Hopper.

use super::{Gemm, WGMMA, writer};
use crate::arch::Arch;
use crate::emit::wgmma;
use crate::kernel::{Budget, Elem, Entry, Extent, Form, Formats, Size, Source, TensorMap, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Wgmma;

/// Values of k in a stage: the span of the swizzle.
const DEPTH: usize = 64;
/// Largest extent of a tensor copy's box.
const BOX: usize = 256;

/// Warpgroups that multiply.
fn consumers(s: &Gemm) -> usize {
    s.warps_m / 4
}

/// Threads: two warpgroups leave room for a third, which loads and gives its registers to them; one has a warp to load.
fn threads(s: &Gemm) -> usize {
    128 * consumers(s) + if consumers(s) > 1 { 128 } else { 32 }
}

/// Bytes of the stages and of two barriers for each.
fn smem(s: &Gemm) -> usize {
    s.stages * ((s.tile_m + s.tile_n) * 2 * DEPTH + 16)
}

/// Sums of a thread that multiplies.
fn sums(s: &Gemm) -> usize {
    s.tile_m * s.tile_n / (128 * consumers(s))
}

/// Schedules for `tokens` rows: the largest tile that leaves every SM one, none for few rows, which a tile of 64 would
/// mostly not have.
pub(super) fn prefers(tokens: usize, n: usize, arch: &Arch) -> Vec<Values> {
    if !arch.can.wgmma || tokens <= 32 {
        return vec![];
    }
    let tiles = [(128, 256), (128, 128), (64, 128), (64, 64)];
    let fills = |(m, n_tile): &(usize, usize)| {
        tokens.div_ceil(*m) * n.div_ceil(*n_tile) >= arch.peaks.sms as usize && tokens > m / 2
    };
    let (tile_m, tile_n) = tiles.into_iter().find(fills).unwrap_or((64, 64));
    let schedule = |stages| {
        let warps_m = tile_m / 16;
        Gemm { form: WGMMA, tile_m, tile_n, tile_k: DEPTH, warps_m, warps_n: 1, stages }.values()
    };
    [5, 4].map(schedule).into()
}

impl Form for Wgmma {
    fn name(&self) -> &'static str {
        "wgmma"
    }

    fn legal(&self, p: &Problem, values: &Values, arch: &Arch) -> Result<(), Illegal> {
        require(arch.can.wgmma && arch.can.tma, || format!("{arch} has no warpgroup products"))?;
        let s = Gemm::from_values(values)?;
        let f = Formats::of(p)?;
        let x = f.get("x");
        require(matches!(x, Elem::Bf16 | Elem::F16) && f.get("weight") == x, || {
            format!("operands of one 16-bit format, not {x} and {}", f.get("weight"))
        })?;
        require(p.dim("align").is_multiple_of(8), || {
            format!("rows of x aligned to 16 bytes for tensor copies, not to {}", 2 * p.dim("align"))
        })?;
        require(s.tile_k == DEPTH, || format!("stages of {DEPTH} values of k, the swizzle's span"))?;
        require(s.warps_n == 1 && matches!(consumers(&s), 1 | 2) && s.warps_m.is_multiple_of(4), || {
            "one or two whole warpgroups along the rows".to_owned()
        })?;
        let rows = s.tile_m / consumers(&s);
        require(rows.is_multiple_of(wgmma::ROWS), || format!("{rows} rows of the tile in one warpgroup"))?;
        require(s.tile_n >= 64 && s.tile_m.max(s.tile_n) <= BOX, || {
            format!("{} columns of a tile", s.tile_n)
        })?;
        require(sums(&s) <= 128, || format!("{} sums in one thread", sums(&s)))
    }

    fn budget(&self, _p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Gemm::from_values(values).unwrap_or_default();
        // Where registers move, the kernel starts with an even share of what its threads have in the end.
        let registers = if consumers(&s) > 1 { 168 } else { sums(&s) + 60 };
        Budget { threads: threads(&s) as u32, registers: registers as u32, smem: smem(&s) as u32 }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Gemm::from_values(values).unwrap_or_default();
        let x = Formats::of(p).map_or(Elem::Bf16, |f| f.get("x"));
        let template = ("gemm", include_str!("../../../cuda/gemm/wgmma.cuh"));
        let rows = Extent::pieces(Size::Rows, s.tile_m);
        let columns = Extent::fixed(p.dim("n").div_ceil(s.tile_n));
        let map = |role: &str, box_rows: usize| TensorMap {
            role: role.to_owned(),
            box_rows: box_rows as u32,
            box_cols: DEPTH as u32,
            swizzle: 128,
        };
        let entry = Entry::new("gemm_wgmma", threads(&s))
            .grid(rows, columns, Extent::fixed(1))
            .smem(smem(&s))
            .map(map("x", s.tile_m))
            .map(map("weight", s.tile_n));
        writer(p, &s, self, arch, template).written(&wgmma::product(s.tile_n, x)).finish(vec![entry], vec![])
    }
}

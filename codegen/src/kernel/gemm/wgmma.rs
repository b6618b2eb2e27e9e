//! Warpgroup products over a ring of tensor copies: operands of 16 bits or fp8 on Hopper.

use super::{Gemm, WGMMA, halves, tensor_formats, tile_out, whole_blocks, writer};
use crate::arch::Arch;
use crate::emit::wgmma;
use crate::kernel::{Budget, Elem, Entry, Extent, Form, Formats, Size, Source, TensorMap, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Wgmma;

/// Bytes of k in a stage: the span of the swizzle.
const SPAN: usize = 128;
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
    s.stages * ((s.tile_m + s.tile_n) * SPAN + 16)
}

/// Sums of a thread that multiplies.
fn sums(s: &Gemm) -> usize {
    s.tile_m * s.tile_n / (128 * consumers(s))
}

/// Schedules for `tokens` rows: the largest tile that leaves every SM one, none for few rows, which a tile of 64 would
/// mostly not have.
pub(super) fn prefers(p: &Problem, arch: &Arch) -> Vec<Values> {
    let (tokens, n) = (p.dim("tokens").max(1), p.dim("n") * halves(p));
    let tile_k = SPAN / Formats::of(p).map_or(2, |f| f.get("x").bytes());
    if !arch.can.wgmma || tokens <= 32 {
        return vec![];
    }
    let tiles = if p.dim("block") > 0 {
        [(128, 128), (128, 64), (64, 128), (64, 64)]
    } else {
        [(128, 256), (128, 128), (64, 128), (64, 64)]
    };
    let fills = |(m, n_tile): &(usize, usize)| {
        tokens.div_ceil(*m) * n.div_ceil(*n_tile) >= arch.peaks.sms as usize && tokens > m / 2
    };
    let (tile_m, tile_n) = tiles.into_iter().find(fills).unwrap_or((64, 64));
    let schedule = |stages| {
        let warps_m = tile_m / 16;
        Gemm { form: WGMMA, tile_m, tile_n, tile_k, warps_m, warps_n: 1, stages, splits: 1 }.values()
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
        let x = tensor_formats(p, arch)?;
        require(p.dim("align").is_multiple_of(16 / x.bytes()), || {
            format!("rows of x aligned to 16 bytes for tensor copies, not to {}", x.bytes() * p.dim("align"))
        })?;
        require(s.tile_k * x.bytes() == SPAN, || {
            format!("stages of {} values of k, the swizzle's span", SPAN / x.bytes())
        })?;
        require(s.splits == 1, || "its CTAs do not share k".to_owned())?;
        require(s.warps_n == 1 && matches!(consumers(&s), 1 | 2) && s.warps_m.is_multiple_of(4), || {
            "one or two whole warpgroups along the rows".to_owned()
        })?;
        let rows = s.tile_m / consumers(&s);
        require(rows.is_multiple_of(wgmma::ROWS), || format!("{rows} rows of the tile in one warpgroup"))?;
        require(s.tile_n >= 64 && s.tile_m.max(s.tile_n) <= BOX, || {
            format!("{} columns of a tile", s.tile_n)
        })?;
        whole_blocks(p, s.tile_k.min(p.dim("block")), s.tile_n)?;
        let most = if p.dim("block") > 0 { 64 } else { 128 };
        require(sums(&s) <= most, || format!("{} sums in one thread", sums(&s)))
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Gemm::from_values(values).unwrap_or_default();
        // With scales of blocks, the sums of a block and those of all.
        let copies = if p.dim("block") > 0 { 2 } else { 1 };
        // Where registers move, the kernel starts with an even share of what its threads have in the end.
        let registers = if consumers(&s) > 1 { 168 } else { sums(&s) * copies + 60 };
        Budget { threads: threads(&s) as u32, registers: registers as u32, smem: smem(&s) as u32 }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Gemm::from_values(values).unwrap_or_default();
        let x = Formats::of(p).map_or(Elem::Bf16, |f| f.get("x"));
        let template = ("gemm", include_str!("../../../cuda/gemm/wgmma.cuh"));
        let rows = Extent::pieces(Size::Rows, s.tile_m);
        let columns = Extent::fixed(p.dim("n").div_ceil(tile_out(p, &s)));
        let map = |role: &str, box_rows: usize| TensorMap {
            role: role.to_owned(),
            box_rows: box_rows as u32,
            box_cols: s.tile_k as u32,
            swizzle: 128,
        };
        let entry = Entry::new("gemm_wgmma", threads(&s))
            .grid(rows, columns, Extent::fixed(1))
            .smem(smem(&s))
            .map(map("x", s.tile_m))
            .map(map("weight", tile_out(p, &s)));
        writer(p, &s, self, arch, &[template])
            .written(&wgmma::product(s.tile_n, x))
            .finish(vec![entry], vec![])
    }
}

//! Multiply-adds in float: any formats, any alignment, no tensor cores. What float32 programs run with.

use super::{AttentionDecode, Cta, emit, legal, merge_bytes};
use crate::arch::Arch;
use crate::kernel::attention::Shape;
use crate::kernel::{Budget, Elem, Form, Formats, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Simt;

/// Heads of a CTA.
fn rows(p: &Problem) -> usize {
    let columns = p.dim("d_head").div_ceil(32).max(1);
    Shape::sizes(p).group().min(8).min((48 / columns).max(1))
}

fn dim(p: &Problem) -> usize {
    p.dim("d_head").next_multiple_of(8)
}

/// Bytes of the queries and of each warp's keys, in place of which the warps merge.
fn smem(p: &Problem, s: &AttentionDecode) -> usize {
    let tiles = 4 * (rows(p) * dim(p) + s.warps * s.tile_n * (dim(p) + 4));
    tiles.max(merge_bytes(s, rows(p), dim(p)))
}

impl Form for Simt {
    fn name(&self) -> &'static str {
        "simt"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = AttentionDecode::from_values(values)?;
        legal(p, &s)?;
        require(s.stages == 2 && s.tile_n == 32, || "it has no ring, and tiles as wide as a warp".to_owned())
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = AttentionDecode::from_values(values).unwrap_or_default();
        let sums = rows(p) * (p.dim("d_head").div_ceil(32) + 4);
        Budget {
            threads: 32 * s.warps as u32,
            registers: (sums + 64).min(255) as u32,
            smem: smem(p, &s) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = AttentionDecode::from_values(values).unwrap_or_default();
        let template = ("attention decode", include_str!("../../../cuda/attention_decode/simt.cuh"));
        let bytes = Formats::of(p).map_or(Elem::F32, |f| f.get("k_cache")).bytes();
        let head = 1 << p.dim("d_head").trailing_zeros().min(2);
        let cta = Cta { rows: rows(p), dim: dim(p), copy: (16 / bytes).min(head), smem: smem(p, &s) };
        emit(p, &s, self, arch, template, cta)
    }
}

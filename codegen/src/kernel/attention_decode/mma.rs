//! `mma.sync` with the heads of a group as its rows, over one ring of asynchronous copies per warp.

use super::{AttentionDecode, Cta, emit, legal, merge_bytes};
use crate::arch::Arch;
use crate::kernel::attention::{Shape, copy_width};
use crate::kernel::{Budget, Elem, Form, Formats, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Mma;

/// Heads of a CTA: the rows of one product.
fn rows(p: &Problem) -> usize {
    Shape::sizes(p).group().min(16)
}

fn cache(p: &Problem) -> Elem {
    Formats::of(p).map_or(Elem::Bf16, |f| f.get("k_cache"))
}

/// Width of a tile's rows: whole products, and with fp8 whole pairs of them.
fn dim(p: &Problem) -> usize {
    p.dim("d_head").next_multiple_of(if cache(p) == Elem::E4m3 { 32 } else { 16 })
}

/// Bytes of one stage of a warp: keys and values with padded rows, and their scales.
fn stage(p: &Problem, s: &AttentionDecode) -> usize {
    let scale = if cache(p) == Elem::E4m3 { 4 } else { 0 };
    2 * s.tile_n * (dim(p) * cache(p).bytes() + 16 + scale)
}

fn smem(p: &Problem, s: &AttentionDecode) -> usize {
    (s.warps * s.stages * stage(p, s)).max(merge_bytes(s, rows(p), dim(p)))
}

/// Elements of one copy from the cache.
fn copy(p: &Problem) -> usize {
    let head = 1 << p.dim("d_head").trailing_zeros().min(4);
    (16 / cache(p).bytes()).min(head)
}

impl Form for Mma {
    fn name(&self) -> &'static str {
        "mma"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = AttentionDecode::from_values(values)?;
        legal(p, &s)?;
        let f = Formats::of(p)?;
        let q = f.get("q");
        require(matches!(q, Elem::Bf16 | Elem::F16) && [q, Elem::E4m3].contains(&cache(p)), || {
            format!("16-bit queries and a cache of their format or fp8, not {q} and {}", cache(p))
        })?;
        require(copy_width(p, 2, 16) >= 2 && copy(p) * cache(p).bytes() >= 4, || {
            "heads aligned to 4 bytes at least".to_owned()
        })
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = AttentionDecode::from_values(values).unwrap_or_default();
        // Sums and queries, scores, addresses.
        let registers = dim(p) / 2 + dim(p) / 4 + s.tile_n / 2 + 64;
        Budget {
            threads: 32 * s.warps as u32,
            registers: registers.min(255) as u32,
            smem: smem(p, &s) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = AttentionDecode::from_values(values).unwrap_or_default();
        let template = ("attention decode", include_str!("../../../cuda/attention_decode/mma.cuh"));
        let cta = Cta { rows: rows(p), dim: dim(p), copy: copy(p), smem: smem(p, &s) };
        emit(p, &s, self, arch, template, cta)
    }
}

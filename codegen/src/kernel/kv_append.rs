//! New keys and values into the KV caches of their sequences: rings, or pages. With `rope` the keys are turned on their
//! way; fp8 rows get a scale each.
//!
//! Sizes of a problem: `kv_heads`, `d_head`, `align` (elements to which every head of `k` and `v` is aligned), `page`
//! (tokens of a page; none: 0), and the flag `rope`. Roles: `k`, `v`, `k_cache`, `v_cache`; with fp8 caches `k_scale` and
//! `v_scale` (f32); with pages `page_table`; with `rope` the constant `frequencies` (as the elementwise `rope` has it).

use super::{
    Budget, Elem, Entry, Extent, Floor, Form, Formats, Kernel, Size, Source, require, require_sizes,
};
use crate::arch::Arch;
use crate::emit::Writer;
use crate::schedule::{Illegal, Param, Problem, Schedule, Values};

crate::schedule! {
    /// How rows are shared out.
    pub struct KvAppend = "kv_append" v1 {
        /// Threads of a CTA.
        threads: [64, 128, 256] = 128,
        /// Lanes that have one head of one token.
        team: [4, 8, 16, 32] = 16,
        /// Values of one access.
        vec: [1, 2, 4, 8] = 4,
    }
}

/// Values that a lane may hold.
const HELD: usize = 32;

/// The family.
pub struct KvAppendKernel;

/// Teams of lanes.
struct Teams;

/// Columns that a lane walks along, once or, with a rotation, in both halves of a head.
fn part(p: &Problem) -> usize {
    p.dim("d_head") / if p.dim("rope") > 0 { 2 } else { 1 }
}

fn held(p: &Problem, s: &KvAppend) -> usize {
    p.dim("d_head") / part(p).max(1) * part(p).div_ceil(s.team * s.vec) * s.vec
}

impl Kernel for KvAppendKernel {
    fn name(&self) -> &'static str {
        KvAppend::FAMILY
    }

    fn version(&self) -> u32 {
        KvAppend::VERSION
    }

    fn params(&self) -> &'static [Param] {
        KvAppend::PARAMS
    }

    fn forms(&self) -> &'static [&'static dyn Form] {
        &[&Teams]
    }

    fn serves(&self, p: &Problem) -> Result<(), Illegal> {
        require_sizes(p, &["kv_heads", "d_head", "align"])?;
        let f = Formats::of(p)?;
        require(f.get("k_cache") == f.get("v_cache"), || {
            "keys and values are cached in one format".to_owned()
        })?;
        require(p.dim("rope") == 0 || p.dim("d_head").is_multiple_of(2), || {
            format!("heads of {} have no pairs to turn", p.dim("d_head"))
        })?;
        require(p.dim("d_head").is_multiple_of(p.dim("align")), || {
            format!("heads of {} are not aligned to {}", p.dim("d_head"), p.dim("align"))
        })
    }

    fn floor(&self, p: &Problem) -> Floor {
        let Ok(f) = Formats::of(p) else { return Floor::default() };
        let elements = p.dim("tokens") * p.dim("kv_heads") * p.dim("d_head");
        let scales = if f.get("k_cache") == Elem::E4m3 { 8 * p.dim("tokens") * p.dim("kv_heads") } else { 0 };
        let row = f.get("k").bytes() + f.get("v").bytes() + 2 * f.get("k_cache").bytes();
        let flops = if p.dim("rope") > 0 { 3 * elements } else { 0 };
        Floor { bytes: (elements * row + scales) as u64, flops: flops as u64 }
    }

    fn prefers(&self, p: &Problem, _arch: &Arch) -> Vec<Values> {
        let mut all = Vec::new();
        for vec in [8, 4, 2, 1] {
            let lanes = part(p).div_ceil(vec);
            let team = [4, 8, 16, 32].into_iter().find(|t| *t >= lanes).unwrap_or(32);
            all.push(KvAppend { threads: 128, team, vec }.values());
        }
        all
    }
}

impl Form for Teams {
    fn name(&self) -> &'static str {
        "teams"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = KvAppend::from_values(values)?;
        require(p.dim("align").is_multiple_of(s.vec) && part(p).is_multiple_of(s.vec), || {
            format!("accesses of {} values, aligned to {} in {} columns", s.vec, p.dim("align"), part(p))
        })?;
        require(held(p, &s) <= HELD, || format!("{} values of a head in one lane", held(p, &s)))
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = KvAppend::from_values(values).unwrap_or_default();
        Budget { threads: s.threads as u32, registers: (held(p, &s) + 40) as u32, smem: 0 }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = KvAppend::from_values(values).unwrap_or_default();
        let formats = Formats::of(p).unwrap_or(Formats::new(Elem::F32, &[]));
        let files = [
            ("kv cache", include_str!("../../cuda/kv_cache.cuh")),
            ("kv append", include_str!("../../cuda/kv_append.cuh")),
        ];
        let mut w = Writer::new(p, self.name(), values, arch, &files);
        w.sizes(p, &["kv_heads"]).integer("head", p.dim("d_head")).sizes(p, &["page"]);
        w.flag("rope", p.dim("rope") > 0).types(&formats, &["k", "v", "k_cache", "v_cache"]);
        let entry = Entry::new("kv_append", s.threads).grid(
            Extent::pieces(Size::Rows, s.threads / s.team),
            Extent::fixed(p.dim("kv_heads")),
            Extent::fixed(2),
        );
        w.finish(vec![entry], vec![])
    }
}

//! The router of a mixture of experts, [`Op::Route`](crate::op::Op::Route).
//!
//! Sizes of a problem: `experts`, `top_k`, `n_group`, `topk_group`, and the flag `normalise`. Roles: `logits`; the bias,
//! the ids and the gates are f32.

use super::{
    Budget, Elem, Entry, Extent, Floor, Form, Formats, Kernel, Size, Source, require, require_sizes,
};
use crate::arch::Arch;
use crate::emit::Writer;
use crate::schedule::{Illegal, Param, Problem, Schedule, Values};

crate::schedule! {
    /// How tokens are shared out.
    pub struct Route = "route" v1 {
        /// Threads of a CTA; each warp has a token.
        threads: [32, 64, 128, 256] = 128,
    }
}

/// Experts of a lane at most.
const HELD: usize = 32;

/// The template of what is chosen from.
pub(super) const CANDIDATE: (&str, &str) = ("candidate", include_str!("../../cuda/candidate.cuh"));

/// The family.
pub struct RouteKernel;

/// A warp per token.
struct Warps;

impl Kernel for RouteKernel {
    fn name(&self) -> &'static str {
        Route::FAMILY
    }

    fn version(&self) -> u32 {
        Route::VERSION
    }

    fn params(&self) -> &'static [Param] {
        Route::PARAMS
    }

    fn forms(&self) -> &'static [&'static dyn Form] {
        &[&Warps]
    }

    fn serves(&self, p: &Problem) -> Result<(), Illegal> {
        require_sizes(p, &["experts", "top_k", "n_group", "topk_group"])?;
        Formats::of(p)?;
        let (experts, groups) = (p.dim("experts"), p.dim("n_group"));
        require(experts.is_multiple_of(groups) && p.dim("topk_group") <= groups, || {
            format!("{} of {groups} groups of {experts} experts", p.dim("topk_group"))
        })?;
        let open = experts / groups * p.dim("topk_group");
        require(p.dim("top_k") <= open, || format!("{} of {open} experts", p.dim("top_k")))?;
        require(groups <= 32 && p.dim("top_k") <= 32, || {
            format!("{groups} groups and {} chosen, and a warp has 32 lanes", p.dim("top_k"))
        })?;
        require(experts <= 32 * HELD, || format!("{experts} experts in one warp"))
    }

    fn floor(&self, p: &Problem) -> Floor {
        let logits = Formats::of(p).map_or(4, |f| f.get("logits").bytes());
        let (tokens, experts) = (p.dim("tokens"), p.dim("experts"));
        let bytes = tokens * (experts * logits + 8 * p.dim("top_k")) + 4 * experts;
        Floor { bytes: bytes as u64, flops: (5 * tokens * experts) as u64 }
    }

    fn prefers(&self, p: &Problem, arch: &Arch) -> Vec<Values> {
        // Few tokens spread over the SMs.
        let threads = if p.dim("tokens") <= arch.peaks.sms as usize { 32 } else { 128 };
        vec![Route { threads }.values()]
    }
}

impl Form for Warps {
    fn name(&self) -> &'static str {
        "warps"
    }

    fn legal(&self, _p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        Route::from_values(values).map(|_| ())
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Route::from_values(values).unwrap_or_default();
        let held = p.dim("experts").div_ceil(32);
        let copies = if p.dim("n_group") > 1 { 3 } else { 2 };
        Budget { threads: s.threads as u32, registers: (copies * held + 32).min(168) as u32, smem: 0 }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Route::from_values(values).unwrap_or_default();
        let formats = Formats::of(p).unwrap_or(Formats::new(Elem::F32, &[]));
        let template = ("route", include_str!("../../cuda/route.cuh"));
        let mut w = Writer::new(p, self.name(), values, arch, &[CANDIDATE, template]);
        w.sizes(p, &["experts", "top_k", "n_group", "topk_group"]).flag("normalise", p.dim("normalise") > 0);
        w.types(&formats, &["logits"]);
        let rows = Extent::pieces(Size::Rows, s.threads / 32);
        let entry = Entry::new("route_rows", s.threads).grid(rows, Extent::fixed(1), Extent::fixed(1));
        w.finish(vec![entry], vec![])
    }
}

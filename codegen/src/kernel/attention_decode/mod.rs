//! Attention of one new token per sequence over its cache, in which [`kv_append`](super::kv_append) has put the token's
//! key and value already: they take the place of those that have just left the window.
//!
//! Sizes, roles and scalars are those of [`attention`](super::attention), without `k`, `v` and `cached`. With several
//! splits a second entry weighs their results, which lie in scratch.

mod mma;
mod simt;

use super::attention::Shape;
use super::{Elem, Entry, Extent, Floor, Form, Formats, Kernel, Scratch, Size, Source, require};
use crate::arch::Arch;
use crate::emit::Writer;
use crate::schedule::{Illegal, Param, Problem, Schedule, Values};

crate::schedule! {
    /// How the keys are shared out.
    pub struct AttentionDecode = "attention_decode" v1 {
        /// 0: multiply-adds in float; 1: mma.sync with asynchronous copies.
        form: [0, 1] = 0,
        /// Keys of a warp's tile.
        tile_n: [16, 32] = 32,
        /// Warps of a CTA.
        warps: [2, 4, 8] = 4,
        /// Stages of a warp's ring.
        stages: [2, 3, 4, 6] = 2,
        /// Ranges that the keys of the longest sequence are cut into.
        splits: [1, 2, 4, 8, 16, 32, 64] = 1,
        /// Keys that a range has at least.
        least: [64, 256, 1024] = 256,
    }
}

/// Index of the form with multiply-adds.
const SIMT: usize = 0;
/// Index of the form with `mma.sync`.
const MMA: usize = 1;
/// Warps of a CTA of the second entry, each with one head.
const COMBINE_WARPS: usize = 4;

/// The family.
pub struct AttentionDecodeKernel;

/// Bytes of what the warps merge: values with padded rows, maxima, sums.
fn merge_bytes(s: &AttentionDecode, rows: usize, dim: usize) -> usize {
    4 * s.warps * rows * (dim + 8 + 2)
}

impl Kernel for AttentionDecodeKernel {
    fn name(&self) -> &'static str {
        AttentionDecode::FAMILY
    }

    fn version(&self) -> u32 {
        AttentionDecode::VERSION
    }

    fn params(&self) -> &'static [Param] {
        AttentionDecode::PARAMS
    }

    fn forms(&self) -> &'static [&'static dyn Form] {
        &[&simt::Simt, &mma::Mma]
    }

    fn serves(&self, p: &Problem) -> Result<(), Illegal> {
        Shape::of(p).map(drop)
    }

    fn floor(&self, p: &Problem) -> Floor {
        let (Ok(f), s) = (Formats::of(p), Shape::sizes(p)) else { return Floor::default() };
        let (tokens, seen) = (p.dim("tokens"), s.seen(p.dim("context").max(1)));
        let rows = s.heads * s.d_head * (f.get("q").bytes() + f.get("out").bytes());
        let bytes = tokens * (rows + seen * s.cached(f.get("k_cache")));
        Floor { bytes: bytes as u64, flops: (4 * tokens * seen * s.heads * s.d_head) as u64 }
    }

    fn prefers(&self, p: &Problem, arch: &Arch) -> Vec<Values> {
        let s = Shape::sizes(p);
        let splits = splits(p.dim("tokens").max(1) * s.kv_heads, s.window, arch);
        // The last one for wide heads where shared memory is small.
        let rings = [(32, 3, 4), (16, 4, 4), (16, 3, 4), (32, 2, 4), (16, 2, 4), (16, 2, 2)];
        let ring = |(tile_n, stages, warps)| {
            AttentionDecode { form: MMA, tile_n, warps, stages, splits, least: 256 }.values()
        };
        let mut all: Vec<Values> = rings.map(ring).into();
        // While one CTA begins or merges, another one loads.
        all.sort_by_key(|v| self.budget(p, v, arch).map_or(0, |b| b.occupancy(arch)) < 2);
        for warps in [4, 2] {
            all.push(AttentionDecode { form: SIMT, warps, splits, ..AttentionDecode::default() }.values());
        }
        all
    }
}

/// What every form agrees to.
fn legal(p: &Problem, s: &AttentionDecode) -> Result<(), Illegal> {
    require(s.splits > 1 || s.least == AttentionDecode::default().least, || {
        "all keys in one range have no least number".to_owned()
    })?;
    require(p.dim("page").is_multiple_of(s.tile_n), || {
        format!("tiles of {} keys on pages of {}", s.tile_n, p.dim("page"))
    })
}

/// The fewest splits that fill the processors well, given how many CTAs there are without.
fn splits(ctas: usize, window: usize, arch: &Arch) -> usize {
    let sms = arch.peaks.sms as usize;
    let filled = |n: usize| (ctas * n) as f64 / ((ctas * n).div_ceil(sms) * sms) as f64;
    // Of a window a range has twice the least number: results of shorter ones would be more than a twentieth of its keys.
    let most = if window > 0 { window / (2 * AttentionDecode::default().least) } else { 64 };
    let legal = || [1, 2, 4, 8, 16, 32, 64].into_iter().filter(|n| *n <= most.max(1));
    let best = legal().map(filled).fold(0.0, f64::max);
    legal().find(|n| filled(*n) >= 0.85 * best).unwrap_or(1)
}

/// What the forms decide for themselves.
struct Cta {
    /// Query heads.
    rows: usize,
    /// Width of a tile's rows.
    dim: usize,
    /// Elements of one copy from the cache.
    copy: usize,
    /// Bytes of shared memory.
    smem: usize,
}

/// The source of either form.
fn emit(
    p: &Problem,
    s: &AttentionDecode,
    form: &dyn Form,
    arch: &Arch,
    template: (&'static str, &'static str),
    cta: Cta,
) -> Source {
    let shape = Shape::sizes(p);
    let files = [
        ("kv cache", include_str!("../../../cuda/kv_cache.cuh")),
        ("attention split", include_str!("../../../cuda/attention_decode/split.cuh")),
        template,
    ];
    let formats = Formats::of(p).unwrap_or(Formats::new(Elem::F32, &[]));
    let mut w = Writer::new(p, form.name(), &s.values(), arch, &files);
    w.sizes(p, &["heads", "kv_heads"]).integer("head", shape.d_head);
    w.sizes(p, &["window", "page", "align"]).integer("rows", cta.rows);
    w.integer("dim", cta.dim).integer("copy", cta.copy);
    w.types(&formats, &["q", "k_cache", "v_cache", "out"]);
    let blocks = shape.group().div_ceil(cta.rows);
    let sequences = || Extent::pieces(Size::Sequences, 1);
    let first = Entry::new(&format!("attention_decode_{}", form.name()), 32 * s.warps)
        .grid(Extent::fixed(s.splits), Extent::fixed(shape.kv_heads * blocks), sequences())
        .smem(cta.smem);
    if s.splits == 1 {
        return w.finish(vec![first], vec![]);
    }
    let second = Entry::new("attention_combine", 32 * COMBINE_WARPS).grid(
        Extent::fixed(shape.heads.div_ceil(COMBINE_WARPS)),
        sequences(),
        Extent::fixed(1),
    );
    let scratch = |role: &str, each: usize| Scratch {
        role: role.to_owned(),
        bytes: sequences().times(4 * shape.heads * s.splits * each),
        zeroed: false,
    };
    w.finish(vec![first, second], vec![scratch("partial", shape.d_head), scratch("partial_log", 1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_fill_the_device_and_no_more() {
        let arch = crate::arch::parse("sm_90a").unwrap();
        assert_eq!(splits(2, 0, arch), 64);
        assert_eq!(splits(128, 0, arch), 1);
        assert!(splits(2, 1024, arch) <= 4);
        assert_eq!(splits(2, 100, arch), 1);
    }

    #[test]
    fn the_floor_is_the_keys_in_the_window() {
        let bytes = |window, format: &str| {
            let dims = [("heads", 12), ("kv_heads", 2), ("d_head", 128), ("align", 8), ("tokens", 3)];
            let mut p = Problem::new("attention_decode", format, &dims);
            p.dims.extend([("window".to_owned(), window), ("context".to_owned(), 1000)]);
            AttentionDecodeKernel.floor(&p).bytes
        };
        let rows = 3 * 2 * 12 * 128 * 2;
        assert_eq!(bytes(0, "bf16"), rows + 3 * 1000 * 2 * 2 * 128 * 2);
        assert_eq!(bytes(64, "bf16"), rows + 3 * 64 * 2 * 2 * 128 * 2);
        assert_eq!(bytes(0, "bf16 k_cache=e4m3 v_cache=e4m3"), rows + 3 * 1000 * 2 * 2 * 132);
    }
}

//! Causal attention of a batch's new tokens, [`Op::Attention`](crate::op::Op::Attention): the new keys and values come
//! from the activations, older ones from the cache, which [`kv_append`](super::kv_append) fills afterwards.
//!
//! Sizes of a problem: `heads`, `kv_heads`, `d_head`, `align` (elements to which every head of `q`, `k`, `v` and `out` is
//! aligned), `window` (none: 0), `page` (tokens of a page; none: 0), and the flag `cached` (the new keys are in the cache
//! already). `context` (tokens, old and new) is for floors only. Roles: `q`, `k`, `v`, `out`, the caches `k_cache` and
//! `v_cache`, with fp8 caches `k_scale` and `v_scale` (f32, one a row), with pages `page_table`; the scalar `scale`.

mod mma;
mod simt;

use super::{Elem, Entry, Extent, Floor, Form, Formats, Kernel, Size, Source, require, require_sizes};
use crate::arch::Arch;
use crate::emit::Writer;
use crate::schedule::{Illegal, Param, Problem, Schedule, Values};

crate::schedule! {
    /// Tiles of queries and keys.
    pub struct Attention = "attention" v1 {
        /// 0: multiply-adds in float; 1: mma.sync with asynchronous copies.
        form: [0, 1] = 0,
        /// Rows of a CTA's tile of queries: tokens, or tokens times the heads of a group.
        tile_m: [16, 32, 64, 96, 128, 192] = 16,
        /// Keys of a stage.
        tile_n: [32, 64, 128] = 32,
        /// Warps, each with its part of the rows.
        warps: [1, 2, 4, 6, 8] = 4,
        /// Stages of the ring.
        stages: [2, 3, 4] = 2,
        /// 1: the query heads of a KV head share a tile.
        pack: [0, 1] = 0,
    }
}

/// Index of the form with multiply-adds.
const SIMT: usize = 0;
/// Index of the form with `mma.sync`.
const MMA: usize = 1;

/// The family.
pub struct AttentionKernel;

/// Sizes that attention over a cache has in every family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub heads: usize,
    pub kv_heads: usize,
    pub d_head: usize,
    pub window: usize,
    pub page: usize,
}

impl Shape {
    pub(super) fn of(p: &Problem) -> Result<Self, Illegal> {
        require_sizes(p, &["heads", "kv_heads", "d_head", "align"])?;
        let s = Self::sizes(p);
        require(s.heads.is_multiple_of(s.kv_heads), || {
            format!("{} KV heads do not divide {} heads", s.kv_heads, s.heads)
        })?;
        require(s.d_head <= 256, || format!("heads of {}, at most 256 are served", s.d_head))?;
        require(s.window == 0 || s.page == 0, || "a window has a ring of its own and no pages".to_owned())?;
        require(s.d_head.is_multiple_of(p.dim("align")), || {
            format!("heads of {} are not aligned to {}", s.d_head, p.dim("align"))
        })?;
        let f = Formats::of(p)?;
        require(f.get("k_cache") == f.get("v_cache"), || {
            "keys and values are cached in one format".to_owned()
        })?;
        Ok(s)
    }

    pub(super) fn sizes(p: &Problem) -> Self {
        Self {
            heads: p.dim("heads"),
            kv_heads: p.dim("kv_heads").max(1),
            d_head: p.dim("d_head"),
            window: p.dim("window"),
            page: p.dim("page"),
        }
    }

    /// Query heads of a KV head.
    pub(super) fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Keys that a query sees which has `total` tokens up to itself.
    pub(super) fn seen(&self, total: usize) -> usize {
        if self.window > 0 { total.min(self.window) } else { total }
    }

    /// Bytes of one key and one value, all heads, in a cache of `elem`.
    pub(super) fn cached(&self, elem: Elem) -> usize {
        2 * self.kv_heads * (self.d_head * elem.bytes() + if elem == Elem::E4m3 { 4 } else { 0 })
    }
}

/// Elements of one copy: as many as the operands are aligned to, at most `most` bytes of `widest`.
pub(super) fn copy_width(p: &Problem, widest: usize, most: usize) -> usize {
    let head = 1 << p.dim("d_head").trailing_zeros().min(4);
    p.dim("align").min(head).min(most / widest)
}

impl Kernel for AttentionKernel {
    fn name(&self) -> &'static str {
        Attention::FAMILY
    }

    fn version(&self) -> u32 {
        Attention::VERSION
    }

    fn params(&self) -> &'static [Param] {
        Attention::PARAMS
    }

    fn forms(&self) -> &'static [&'static dyn Form] {
        &[&simt::Simt, &mma::Mma]
    }

    fn serves(&self, p: &Problem) -> Result<(), Illegal> {
        let s = Shape::of(p)?;
        require(p.dim("cached") == 0 || s.window == 0, || {
            "a ring of the window has lost keys that its first queries see once the new ones are in it"
                .to_owned()
        })
    }

    fn floor(&self, p: &Problem) -> Floor {
        let (Ok(f), s) = (Formats::of(p), Shape::sizes(p)) else { return Floor::default() };
        let tokens = p.dim("tokens");
        let total = p.dim("context").max(tokens);
        let past = total - tokens;
        let pairs: usize = (past + 1..=total).map(|t| s.seen(t)).sum();
        let old = if s.window > 0 { past.min(s.window - 1) } else { past };
        let new = s.heads * (f.get("q").bytes() + f.get("out").bytes())
            + s.kv_heads * (f.get("k").bytes() + f.get("v").bytes());
        let bytes = tokens * s.d_head * new + old * s.cached(f.get("k_cache"));
        Floor { bytes: bytes as u64, flops: (4 * pairs * s.heads * s.d_head) as u64 }
    }

    fn prefers(&self, p: &Problem, _arch: &Arch) -> Vec<Values> {
        let s = Shape::sizes(p);
        let rows = p.dim("tokens").max(1) * s.group();
        let pack = usize::from(s.group() > 1 && s.group() <= 64);
        // Two 16-row products a warp share each fragment of the keys; few rows are spread over more warps.
        let mut tiles = vec![(128, 4), (64, 4), (32, 2), (16, 1)];
        let few = tiles.iter().rposition(|(m, _)| *m >= rows).unwrap_or(0);
        tiles.drain(..few);
        let mut all = Vec::new();
        for (tile_m, warps) in tiles {
            for tile_n in [64, 32] {
                all.push(Attention { form: MMA, tile_m, tile_n, warps, stages: 2, pack }.values());
            }
        }
        for (tile_m, warps) in [(16, 4), (16, 8), (64, 8)] {
            let simt = Attention { form: SIMT, tile_m, warps, pack, ..Attention::default() };
            all.push(simt.values());
        }
        all
    }
}

/// What every form agrees to.
fn legal(p: &Problem, s: &Attention) -> Result<(), Illegal> {
    let shape = Shape::sizes(p);
    let packed = if s.pack == 1 { shape.group() } else { 1 };
    require(packed <= s.tile_m, || format!("{packed} heads of a token in a tile of {} rows", s.tile_m))?;
    require(s.pack == 0 || shape.group() > 1, || {
        "a KV head with one query head has nothing to pack".to_owned()
    })?;
    require(shape.page.is_multiple_of(s.tile_n), || {
        format!("tiles of {} keys on pages of {}", s.tile_n, shape.page)
    })
}

/// The source of either form: its constants, types and grid.
fn emit(
    p: &Problem,
    s: &Attention,
    form: &dyn Form,
    arch: &Arch,
    template: (&'static str, &'static str),
    copy: usize,
    smem: usize,
) -> Source {
    let shape = Shape::sizes(p);
    let files = [
        ("kv cache", include_str!("../../../cuda/kv_cache.cuh")),
        ("attention keys", include_str!("../../../cuda/attention/keys.cuh")),
        template,
    ];
    let formats = Formats::of(p).unwrap_or(Formats::new(Elem::F32, &[]));
    let mut w = Writer::new(p, form.name(), &s.values(), arch, &files);
    w.sizes(p, &["heads", "kv_heads"]).integer("head", shape.d_head);
    w.sizes(p, &["window", "page"]).integer("copy", copy).flag("cached", p.dim("cached") > 0);
    w.types(&formats, &["q", "k", "v", "k_cache", "v_cache", "out"]);
    let packed = if s.pack == 1 { shape.group() } else { 1 };
    let entry = Entry::new(&format!("attention_{}", form.name()), 32 * s.warps)
        .grid(
            Extent::pieces(Size::Longest, s.tile_m / packed),
            Extent::fixed(shape.heads / packed),
            Extent::pieces(Size::Sequences, 1),
        )
        .smem(smem);
    w.finish(vec![entry], vec![])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(window: usize, tokens: usize) -> Problem {
        let dims = [("heads", 12), ("kv_heads", 2), ("d_head", 128), ("align", 8), ("window", window)];
        let mut p = Problem::new("attention", "bf16", &dims);
        p.dims.insert("tokens".into(), tokens as i64);
        p
    }

    #[test]
    fn the_floor_counts_pairs_that_see_each_other() {
        let flops = |window, tokens| AttentionKernel.floor(&problem(window, tokens)).flops;
        assert_eq!(flops(0, 4), 4 * 12 * 128 * (1 + 2 + 3 + 4));
        assert_eq!(flops(2, 4), 4 * 12 * 128 * (1 + 2 + 2 + 2));
        let mut later = problem(0, 4);
        later.dims.insert("context".into(), 10);
        let (new, old) = (AttentionKernel.floor(&problem(0, 4)), AttentionKernel.floor(&later));
        assert_eq!(old.bytes - new.bytes, 6 * 2 * 2 * 128 * 2);
        assert_eq!(old.flops, 4 * 12 * 128 * (7 + 8 + 9 + 10));
    }

    #[test]
    fn a_window_cannot_be_read_after_the_append_nor_lie_on_pages() {
        let mut p = problem(16, 4);
        assert_eq!(AttentionKernel.serves(&p), Ok(()));
        p.dims.insert("cached".into(), 1);
        assert!(AttentionKernel.serves(&p).unwrap_err().0.contains("lost keys"));
        let mut p = problem(16, 4);
        p.dims.insert("page".into(), 64);
        assert!(AttentionKernel.serves(&p).unwrap_err().0.contains("no pages"));
    }

    #[test]
    fn tiles_suit_the_group_and_the_number_of_rows() {
        let arch = crate::arch::parse("sm_90a").unwrap();
        let tile = |p: &Problem| {
            let v = AttentionKernel.default_for(p, arch).unwrap();
            (v.get("tile_m").unwrap(), v.get("form").unwrap(), v.get("pack").unwrap())
        };
        assert_eq!(tile(&problem(0, 512)).1, MMA as i64);
        assert_eq!(tile(&problem(0, 512)).0, 128);
        assert_eq!(tile(&problem(0, 2)), (16, MMA as i64, 1));
        let mut odd = problem(0, 512);
        odd.dims.extend([("d_head".to_owned(), 5), ("align".to_owned(), 1)]);
        assert_eq!(tile(&odd).1, SIMT as i64);
    }
}

//! Activations to fp8 in front of a product: codes of e4m3 and the factors that make values of them.
//!
//! Sizes of a problem: `width`, `align` (elements to which every row of both operands is aligned), `block` (columns that
//! share a scale; a whole row at zero). Roles: `x`, `out` (e4m3), `scale` (f32 without gaps: block by block, one for each
//! row), which is a product's `row_scale` or `x_scale`.

use super::{
    Budget, Elem, Entry, Extent, Floor, Form, Formats, Kernel, Size, Source, require, require_sizes,
};
use crate::arch::Arch;
use crate::emit::Writer;
use crate::schedule::{Illegal, Param, Problem, Schedule, Values};

crate::schedule! {
    /// How rows are shared out.
    pub struct Quantise = "quantise" v1 {
        /// Threads of a CTA.
        threads: [128, 256] = 128,
        /// Threads that have one scale: a part of a warp, or the whole CTA.
        team: [8, 16, 32, 128, 256] = 32,
        /// Values of one access of the result.
        vec: [1, 2, 4, 8, 16] = 8,
    }
}

/// Values that a thread may hold.
const HELD: usize = 64;

/// The family.
pub struct QuantiseKernel;

/// Groups in registers.
struct Registers;

/// Columns that share a scale.
fn group(p: &Problem) -> usize {
    if p.dim("block") > 0 { p.dim("block") } else { p.dim("width") }
}

/// Values of a group that a thread holds.
fn held(s: &Quantise, p: &Problem) -> usize {
    group(p).div_ceil(s.team * s.vec) * s.vec
}

impl Kernel for QuantiseKernel {
    fn name(&self) -> &'static str {
        Quantise::FAMILY
    }

    fn version(&self) -> u32 {
        Quantise::VERSION
    }

    fn params(&self) -> &'static [Param] {
        Quantise::PARAMS
    }

    fn forms(&self) -> &'static [&'static dyn Form] {
        &[&Registers]
    }

    fn serves(&self, p: &Problem) -> Result<(), Illegal> {
        require_sizes(p, &["width", "align"])?;
        let out = Formats::of(p)?.get("out");
        require(out == Elem::E4m3, || format!("the result is in e4m3, not in {out}"))
    }

    fn floor(&self, p: &Problem) -> Floor {
        let Ok(f) = Formats::of(p) else { return Floor::default() };
        let (rows, width) = (p.dim("tokens"), p.dim("width"));
        let scales = 4 * rows * width.div_ceil(group(p).max(1));
        let bytes = rows * width * (f.get("x").bytes() + 1) + scales;
        Floor { bytes: bytes as u64, flops: 2 * (rows * width) as u64 }
    }

    fn prefers(&self, p: &Problem, _arch: &Arch) -> Vec<Values> {
        let teams: &[(usize, usize)] = match group(p) {
            0..=128 => &[(128, 16), (128, 8), (128, 32)],
            129..=1024 => &[(128, 32), (128, 128)],
            _ => &[(128, 128), (256, 256)],
        };
        // Accesses of 16 bytes of x, so that those of a warp lie side by side.
        let wide = 16 / Formats::of(p).map_or(2, |f| f.get("x").bytes());
        let vecs = [wide, 4, 2, 1].into_iter().filter(|v| p.dim("align").is_multiple_of(*v));
        vecs.flat_map(|vec| {
            teams.iter().map(move |(threads, team)| Quantise { threads: *threads, team: *team, vec })
        })
        .map(|s| s.values())
        .collect()
    }
}

impl Form for Registers {
    fn name(&self) -> &'static str {
        "registers"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = Quantise::from_values(values)?;
        require(s.team <= 32 || s.team == s.threads, || {
            format!("a team of {} is neither a part of a warp nor the CTA of {}", s.team, s.threads)
        })?;
        let fits = |n: usize| n.is_multiple_of(s.vec);
        require(fits(p.dim("align")) && fits(p.dim("width")) && fits(group(p)), || {
            format!("accesses of {} values, aligned to {}, in groups of {}", s.vec, p.dim("align"), group(p))
        })?;
        require(held(&s, p) <= HELD, || format!("{} values of a group in one thread", held(&s, p)))
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Quantise::from_values(values).unwrap_or_default();
        Budget {
            threads: s.threads as u32,
            registers: (held(&s, p) + 32).min(128) as u32,
            smem: if s.team > 32 { 4 * (s.threads / 32) as u32 } else { 0 },
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Quantise::from_values(values).unwrap_or_default();
        let formats = Formats::of(p).unwrap_or(Formats::new(Elem::F32, &[]));
        let template = ("quantise", include_str!("../../cuda/quantise.cuh"));
        let mut w = Writer::new(p, self.name(), values, arch, &[template]);
        w.sizes(p, &["width", "block"]).types(&formats, &["x"]);
        let groups = p.dim("width").div_ceil(group(p));
        let grid = (Extent::pieces(Size::Rows, 1), Extent::fixed(groups.div_ceil(s.threads / s.team)));
        let entry = Entry::new("quantise_rows", s.threads).grid(grid.0, grid.1, Extent::fixed(1));
        w.finish(vec![entry], vec![])
    }
}

//! RMSNorm over rows, heads and groups, with a gate or a residual: [`Op::RmsNorm`](crate::op::Op::RmsNorm),
//! [`Op::HeadNorm`](crate::op::Op::HeadNorm), [`Op::GatedNorm`](crate::op::Op::GatedNorm).
//!
//! Sizes of a problem: `width` (all columns), `group` (columns normed together), `align` (elements to which every row
//! and group of every operand is aligned); and the flags `shared` (one weight for all groups), `residual` (add first),
//! `gate_first`, `gate_last`. Roles: `x`, `z`, `residual`, `out`; the weight is f32.

use super::{Budget, Entry, Extent, Floor, Form, Formats, Kernel, Size, Source, require, require_sizes};
use crate::arch::Arch;
use crate::emit::Writer;
use crate::schedule::{Illegal, Param, Problem, Schedule, Values};

crate::schedule! {
    /// How rows are shared out.
    pub struct Norm = "norm" v1 {
        /// Threads of a CTA.
        threads: [64, 128, 256] = 128,
        /// Threads that norm one group together: a part of a warp, or the whole CTA.
        team: [8, 16, 32, 64, 128, 256] = 32,
        /// Values of one access.
        vec: [1, 2, 4, 8] = 4,
    }
}

/// Values that a thread may hold of its group.
const HELD: usize = 64;

/// The family.
pub struct NormKernel;

/// Groups in registers.
struct Registers;

fn schedule(values: &Values) -> Result<Norm, Illegal> {
    Norm::from_values(values)
}

/// Values of the group that a thread holds.
fn held(s: Norm, p: &Problem) -> usize {
    p.dim("group").div_ceil(s.team * s.vec) * s.vec
}

impl Kernel for NormKernel {
    fn name(&self) -> &'static str {
        Norm::FAMILY
    }

    fn version(&self) -> u32 {
        Norm::VERSION
    }

    fn params(&self) -> &'static [Param] {
        Norm::PARAMS
    }

    fn forms(&self) -> &'static [&'static dyn Form] {
        &[&Registers]
    }

    fn serves(&self, p: &Problem) -> Result<(), Illegal> {
        require_sizes(p, &["width", "group", "align"])?;
        Formats::of(p)?;
        require(p.dim("width").is_multiple_of(p.dim("group")), || {
            format!("groups of {} do not divide {} columns", p.dim("group"), p.dim("width"))
        })?;
        let extras = p.dim("residual") + p.dim("gate_first") + p.dim("gate_last");
        require(extras <= 1, || "a norm has either a residual or one gate".to_owned())
    }

    fn floor(&self, p: &Problem) -> Floor {
        let Ok(f) = Formats::of(p) else { return Floor::default() };
        let elements = (p.dim("tokens") * p.dim("width")) as u64;
        let bytes = |role: &str| elements * f.get(role).bytes() as u64;
        let gate = if p.dim("gate_first") + p.dim("gate_last") > 0 { bytes("z") } else { 0 };
        let residual = if p.dim("residual") > 0 { 2 * bytes("residual") } else { 0 };
        let weight = 4 * if p.dim("shared") > 0 { p.dim("group") } else { p.dim("width") } as u64;
        Floor { bytes: bytes("x") + bytes("out") + gate + residual + weight, flops: 4 * elements }
    }

    fn prefers(&self, p: &Problem, _arch: &Arch) -> Vec<Values> {
        let vec = [8, 4, 2, 1].into_iter().find(|v| p.dim("align").is_multiple_of(*v)).unwrap_or(1);
        let group = p.dim("group");
        // As few threads as keep a thread's share small, and the whole CTA for few long rows.
        let teams: &[(usize, usize)] = match group {
            0..=64 => &[(128, 8), (128, 16), (128, 32)],
            65..=512 => &[(128, 32)],
            513..=2048 => &[(128, 128), (128, 32)],
            _ => &[(128, 128), (256, 256)],
        };
        let vecs = [vec, 4, 2, 1].into_iter().filter(|v| *v <= vec);
        vecs.flat_map(|vec| {
            teams.iter().map(move |(threads, team)| Norm { threads: *threads, team: *team, vec })
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
        let s = schedule(values)?;
        require(s.team <= 32 || s.team == s.threads, || {
            format!("a team of {} is neither a part of a warp nor the CTA of {}", s.team, s.threads)
        })?;
        require(p.dim("align").is_multiple_of(s.vec) && p.dim("group").is_multiple_of(s.vec), || {
            format!(
                "accesses of {} values, aligned to {} in groups of {}",
                s.vec,
                p.dim("align"),
                p.dim("group")
            )
        })?;
        require(held(s, p) <= HELD, || format!("{} values of a group in one thread", held(s, p)))
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = schedule(values).unwrap_or_default();
        // The values and, with a gate or a residual, its values; the weights pass by.
        let copies = 1 + p.dim("gate_first") + p.dim("gate_last") + p.dim("residual");
        Budget {
            threads: s.threads as u32,
            registers: (copies * held(s, p) + 24).min(128) as u32,
            smem: if s.team > 32 { 4 * (s.threads / 32) as u32 } else { 0 },
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let (s, formats) = (schedule(values).unwrap_or_default(), formats(p));
        let mut w =
            Writer::new(p, self.name(), values, arch, &[("norm", include_str!("../../cuda/norm.cuh"))]);
        w.sizes(p, &["group"]).flag("shared_weight", p.dim("shared") > 0);
        let gated = p.dim("gate_first") + p.dim("gate_last") > 0;
        let entry = if gated {
            w.flag("gate_first", p.dim("gate_first") > 0).types(&formats, &["x", "z", "out"]);
            "norm_gated"
        } else if p.dim("residual") > 0 {
            w.types(&formats, &["x", "residual", "out"]);
            "norm_add"
        } else {
            w.types(&formats, &["x", "out"]);
            "norm_rows"
        };
        let groups = Extent::fixed(p.dim("width") / p.dim("group"));
        let rows = Extent::pieces(Size::Rows, s.threads / s.team);
        let entry = Entry::new(entry, s.threads).grid(rows, groups, Extent::fixed(1));
        w.finish(vec![entry], vec![])
    }
}

/// Formats of a problem that [`Kernel::serves`] agreed to.
fn formats(p: &Problem) -> Formats {
    Formats::of(p).unwrap_or(Formats::new(super::Elem::F32, &[]))
}

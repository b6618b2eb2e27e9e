//! Greedy choice: the place of the largest value of each row, the lowest of equals.
//!
//! Sizes of a problem: `width` and `align`, the elements to which rows of `x` are aligned. Roles: `x`; `ids`, one column,
//! is f32 and holds exact small floats like all ids, -1 where no value is a number.

use super::{
    Budget, Elem, Entry, Extent, Floor, Form, Formats, Kernel, Scratch, Size, Source, require, require_sizes,
    route,
};
use crate::arch::Arch;
use crate::emit::Writer;
use crate::schedule::{Illegal, Param, Problem, Schedule, Values};

crate::schedule! {
    /// How a row is shared out.
    pub struct Argmax = "argmax" v1 {
        /// Threads of a CTA.
        threads: [128, 256, 512, 1024] = 256,
        /// CTAs of a row.
        parts: [1, 2, 4, 8, 16, 32] = 8,
        /// Values of one access.
        vec: [1, 2, 4, 8] = 4,
    }
}

/// The family.
pub struct ArgmaxKernel;

/// Parts of rows, then rows.
struct Parts;

impl Kernel for ArgmaxKernel {
    fn name(&self) -> &'static str {
        Argmax::FAMILY
    }

    fn version(&self) -> u32 {
        Argmax::VERSION
    }

    fn params(&self) -> &'static [Param] {
        Argmax::PARAMS
    }

    fn forms(&self) -> &'static [&'static dyn Form] {
        &[&Parts]
    }

    fn serves(&self, p: &Problem) -> Result<(), Illegal> {
        require_sizes(p, &["width", "align"])?;
        Formats::of(p)?;
        require(p.dim("width") <= 1 << 24, || format!("{} ids are no exact floats", p.dim("width")))
    }

    fn floor(&self, p: &Problem) -> Floor {
        let bytes = Formats::of(p).map_or(4, |f| f.get("x").bytes());
        let values = p.dim("tokens") * p.dim("width");
        Floor { bytes: (values * bytes + 4 * p.dim("tokens")) as u64, flops: values as u64 }
    }

    fn prefers(&self, p: &Problem, arch: &Arch) -> Vec<Values> {
        // Enough CTAs for every SM, none with next to nothing.
        let wanted = (arch.peaks.sms as usize).div_ceil(p.dim("tokens").max(1));
        let parts = [1, 2, 4, 8, 16, 32].into_iter().filter(|n| *n == 1 || p.dim("width") / n >= 2048);
        let parts = parts.filter(|n| *n <= wanted.next_power_of_two()).max().unwrap_or(1);
        let vecs = [8, 4, 2, 1].into_iter().filter(|v| p.dim("align").is_multiple_of(*v));
        vecs.map(|vec| Argmax { threads: 256, parts, vec }.values()).collect()
    }
}

impl Form for Parts {
    fn name(&self) -> &'static str {
        "parts"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = Argmax::from_values(values)?;
        require(p.dim("align").is_multiple_of(s.vec), || {
            format!("accesses of {} values to rows aligned to {}", s.vec, p.dim("align"))
        })
    }

    fn budget(&self, _p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Argmax::from_values(values).unwrap_or_default();
        Budget { threads: s.threads as u32, registers: 40, smem: (s.threads / 4) as u32 }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Argmax::from_values(values).unwrap_or_default();
        let formats = Formats::of(p).unwrap_or(Formats::new(Elem::F32, &[]));
        let template = ("argmax", include_str!("../../cuda/argmax.cuh"));
        let mut w = Writer::new(p, self.name(), values, arch, &[route::CANDIDATE, template]);
        w.sizes(p, &["width"]).types(&formats, &["x"]);
        let (one, rows) = (|| Extent::fixed(1), || Extent::pieces(Size::Rows, 1));
        let entries = vec![
            Entry::new("argmax_parts", s.threads).grid(rows(), Extent::fixed(s.parts), one()),
            Entry::new("argmax_rows", 32).grid(rows(), one(), one()),
        ];
        let scratch =
            |role: &str| Scratch { role: role.to_owned(), bytes: rows().times(4 * s.parts), zeroed: false };
        w.finish(entries, vec![scratch("best_values"), scratch("best_indices")])
    }
}

//! Ops whose elements are independent, each with an entry of its own: activations, gated activations, sums, copies,
//! look-ups, rotations, JetBlock's gates.
//!
//! A problem names its function by a size of that name with the value 1; its other sizes are `width` (columns; pairs of
//! them for `rope`), `align` (elements to which every operand is aligned) and, for `rope`, `head`.

use super::{
    Budget, Elem, Entry, Extent, Floor, Form, Formats, Kernel, Size, Source, require, require_sizes,
};
use crate::arch::Arch;
use crate::emit::Writer;
use crate::schedule::{Illegal, Param, Problem, Schedule, Values};

crate::schedule! {
    /// How elements are shared out.
    pub struct Elementwise = "elementwise" v1 {
        /// Threads of a CTA.
        threads: [32, 64, 128, 256] = 128,
        /// Rows of a thread.
        rows: [1, 2, 4] = 1,
        /// Columns of a thread.
        vec: [1, 2, 4, 8] = 4,
    }
}

/// A function: its name, which is a size of the problem, and the operands that have a row per token.
pub struct Function {
    /// Name.
    pub name: &'static str,
    /// Roles with an element type, those that are read first.
    pub roles: &'static [&'static str],
    /// How many of them are read; an operand in place is in both parts.
    reads: usize,
    flops: u64,
}

const fn function(name: &'static str, roles: &'static [&'static str], reads: usize, flops: u64) -> Function {
    Function { name, roles, reads, flops }
}

/// Every function; the entry of `silu` is `silu_rows`.
pub const FUNCTIONS: &[Function] = &[
    function("silu", &["x", "out"], 1, 4),
    function("relu2", &["x", "out"], 1, 2),
    function("copy", &["x", "out"], 1, 0),
    function("add", &["x", "out"], 2, 1),
    function("swiglu", &["gate", "up", "out"], 2, 5),
    function("geglu", &["gate", "up", "out"], 2, 9),
    function("gather", &["x", "out"], 1, 0),
    function("embed", &["table", "out"], 1, 0),
    function("rope", &["x"], 1, 10),
    function("gates", &["a", "b"], 2, 16),
];

/// The function of a problem.
pub fn function_of(p: &Problem) -> Result<&'static Function, Illegal> {
    FUNCTIONS
        .iter()
        .find(|f| p.dim(f.name) == 1)
        .ok_or_else(|| Illegal(format!("{p} names no elementwise function")))
}

/// The family.
pub struct ElementwiseKernel;

/// Vectors of columns.
struct Vectors;

impl Kernel for ElementwiseKernel {
    fn name(&self) -> &'static str {
        Elementwise::FAMILY
    }

    fn version(&self) -> u32 {
        Elementwise::VERSION
    }

    fn params(&self) -> &'static [Param] {
        Elementwise::PARAMS
    }

    fn forms(&self) -> &'static [&'static dyn Form] {
        &[&Vectors]
    }

    fn serves(&self, p: &Problem) -> Result<(), Illegal> {
        require_sizes(p, &["width", "align"])?;
        Formats::of(p)?;
        let f = function_of(p)?;
        if f.name == "rope" {
            require_sizes(p, &["head"])?;
            let pairs = p.dim("head") / 2;
            require(p.dim("head").is_multiple_of(2) && p.dim("width").is_multiple_of(pairs), || {
                format!("heads of {} in {} pairs of columns", p.dim("head"), p.dim("width"))
            })?;
        }
        Ok(())
    }

    fn floor(&self, p: &Problem) -> Floor {
        let (Ok(formats), Ok(f)) = (Formats::of(p), function_of(p)) else { return Floor::default() };
        let elements = (p.dim("tokens") * p.dim("width")) as u64;
        let bytes = |roles: &[&str]| roles.iter().map(|r| formats.get(r).bytes() as u64).sum::<u64>();
        let (reads, writes) = (&f.roles[..f.reads], &f.roles[f.roles.len() - 1..]);
        let moved = match f.name {
            // Pairs: two elements each, read and written.
            "rope" => 4 * bytes(reads),
            "gates" => 2 * bytes(reads),
            _ => bytes(reads) + bytes(writes),
        };
        Floor { bytes: elements * moved, flops: elements * f.flops }
    }

    fn prefers(&self, p: &Problem, _arch: &Arch) -> Vec<Values> {
        let mut all = Vec::new();
        for vec in [8, 4, 2, 1] {
            let needed = p.dim("width").div_ceil(vec);
            let threads = [32, 64, 128, 256].into_iter().find(|t| *t >= needed).unwrap_or(256);
            all.push(Elementwise { threads, rows: 1, vec }.values());
        }
        all
    }
}

impl Form for Vectors {
    fn name(&self) -> &'static str {
        "vectors"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = Elementwise::from_values(values)?;
        let unit = if p.dim("rope") == 1 { p.dim("head") / 2 } else { p.dim("width") };
        require(p.dim("align").is_multiple_of(s.vec) && unit.is_multiple_of(s.vec), || {
            format!("accesses of {} values, aligned to {} in {unit} columns", s.vec, p.dim("align"))
        })
    }

    fn budget(&self, _p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = Elementwise::from_values(values).unwrap_or_default();
        Budget { threads: s.threads as u32, registers: (24 + 3 * s.rows * s.vec).min(128) as u32, smem: 0 }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = Elementwise::from_values(values).unwrap_or_default();
        let f = function_of(p).unwrap_or(&FUNCTIONS[0]);
        let formats = Formats::of(p).unwrap_or(Formats::new(Elem::F32, &[]));
        let template = [("elementwise", include_str!("../../cuda/elementwise.cuh"))];
        let mut w = Writer::new(p, self.name(), values, arch, &template);
        w.sizes(p, &["width"]).types(&formats, f.roles);
        if f.name == "rope" {
            w.sizes(p, &["head"]);
        }
        let rows = Extent::pieces(Size::Rows, s.rows);
        let columns = Extent::fixed(p.dim("width").div_ceil(s.threads * s.vec));
        let entry = Entry::new(&format!("{}_rows", f.name), s.threads).grid(rows, columns, Extent::fixed(1));
        w.finish(vec![entry], vec![])
    }
}

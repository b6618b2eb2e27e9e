//! How a kernel is launched, in terms that a device understands without knowing the family.
//!
//! The parameters of an entry are its binding. Their names say what a device puts there:
//!
//! | name and type | what it is |
//! |---|---|
//! | `T* role` | the operand called `role`: an activation, a weight, a state, a scratch |
//! | `int role_stride` | elements from one row of the operand to the next |
//! | `int role_rows` | rows of the operand: of a KV cache, the slots of its ring |
//! | `long long role_slot` | elements from one sequence's part of a state to the next |
//! | `int rows`, `sequences`, `longest`, `longest_total` | a [`Size`] of the run |
//! | `const int* token_ids`, `positions`, `out_rows`, `row_segments`; `const Segment* segments` | a [`Table`] of the run |
//! | `float name` | a scalar of the op |
//! | `const __grid_constant__ TensorMap role_map` | a [`TensorMap`] over the operand |

use serde::Serialize;
use std::fmt;

/// A number that a device knows at each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Size {
    /// Rows of the op's operands: tokens of the batch, or rows of output.
    Rows,
    /// Sequences of the batch.
    Sequences,
    /// New tokens of the sequence that has most.
    Longest,
    /// Tokens, old and new, of the sequence that has most.
    LongestTotal,
}

impl Size {
    /// Every size with its parameter's name.
    pub const ALL: [(&'static str, Size); 4] = [
        ("rows", Size::Rows),
        ("sequences", Size::Sequences),
        ("longest", Size::Longest),
        ("longest_total", Size::LongestTotal),
    ];
}

/// A table that a device uploads for each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Table {
    /// `int` per token row: its id.
    TokenIds,
    /// `int` per token row: its position in the sequence.
    Positions,
    /// `int` per output row: the token row it was asked for.
    OutRows,
    /// `int` per token row: the segment it belongs to.
    RowSegments,
    /// `Segment` per sequence of the batch: slot, first row, rows, tokens before this run, position of the first token
    /// of all; eight `int`s, the last three unused.
    Segments,
}

impl Table {
    /// Every table with its parameter's name.
    pub const ALL: [(&'static str, Table); 5] = [
        ("token_ids", Table::TokenIds),
        ("positions", Table::Positions),
        ("out_rows", Table::OutRows),
        ("row_segments", Table::RowSegments),
        ("segments", Table::Segments),
    ];
}

/// What a device puts in place of a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Arg {
    /// Address of an operand.
    Pointer(String),
    /// `int`: elements from row to row.
    Stride(String),
    /// `int`: rows of an operand.
    Rows(String),
    /// `long long`: elements from one sequence's part to the next.
    Slot(String),
    /// `int`: a size of the run.
    Size(Size),
    /// Address of a table of the run.
    Table(Table),
    /// `float`: a scalar of the op.
    Scalar(String),
    /// A tensor map over an operand, 128 bytes.
    Map(String),
}

/// One factor of an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Factor {
    /// A number.
    Fixed(u64),
    /// A size in whole pieces of `per`, the last one begun.
    Pieces {
        /// The size.
        size: Size,
        /// Of how many a piece is.
        per: u64,
    },
}

/// A product of factors: an extent of a grid, the length of a scratch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Extent(pub Vec<Factor>);

impl Extent {
    /// A number.
    pub fn fixed(n: usize) -> Self {
        Self(vec![Factor::Fixed(n as u64)])
    }

    /// `size`, in pieces of `per`.
    pub fn pieces(size: Size, per: usize) -> Self {
        Self(vec![Factor::Pieces { size, per: per.max(1) as u64 }])
    }

    /// This many times `n`.
    pub fn times(mut self, n: usize) -> Self {
        self.0.push(Factor::Fixed(n as u64));
        self
    }

    /// This many times the pieces of `size`.
    pub fn times_pieces(mut self, size: Size, per: usize) -> Self {
        self.0.push(Factor::Pieces { size, per: per.max(1) as u64 });
        self
    }

    /// Its value, given the run's sizes.
    pub fn value(&self, size: impl Fn(Size) -> u64) -> u64 {
        let of = |f: &Factor| match *f {
            Factor::Fixed(n) => n,
            Factor::Pieces { size: s, per } => size(s).div_ceil(per),
        };
        self.0.iter().map(of).product()
    }
}

/// A tensor map over a two-dimensional operand: what one bulk tensor copy brings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct TensorMap {
    /// The operand.
    pub role: String,
    /// Rows of a box.
    pub box_rows: u32,
    /// Columns of a box.
    pub box_cols: u32,
    /// Bytes of the swizzle's span: 0, 32, 64 or 128.
    pub swizzle: u32,
}

/// One entry of a source and how it is launched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The function.
    pub name: String,
    /// CTAs.
    pub grid: [Extent; 3],
    /// Threads of a CTA.
    pub block: u32,
    /// CTAs of a cluster.
    pub cluster: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub smem: u32,
    /// What each parameter is; read from the signature by [`crate::emit::Writer::finish`].
    pub args: Vec<Arg>,
    /// The maps among the parameters.
    pub maps: Vec<TensorMap>,
}

impl Entry {
    /// An entry with a grid of one CTA.
    pub fn new(name: &str, block: usize) -> Self {
        let one = || Extent::fixed(1);
        Self {
            name: name.to_owned(),
            grid: [one(), one(), one()],
            block: block as u32,
            cluster: [1; 3],
            smem: 0,
            args: Vec::new(),
            maps: Vec::new(),
        }
    }

    /// With this grid.
    pub fn grid(mut self, x: Extent, y: Extent, z: Extent) -> Self {
        self.grid = [x, y, z];
        self
    }

    /// With this much dynamic shared memory.
    pub fn smem(mut self, bytes: usize) -> Self {
        self.smem = bytes as u32;
        self
    }

    /// With clusters.
    pub fn cluster(mut self, x: usize, y: usize) -> Self {
        self.cluster = [x as u32, y as u32, 1];
        self
    }

    /// With a tensor map.
    pub fn map(mut self, map: TensorMap) -> Self {
        self.maps.push(map);
        self
    }
}

/// Device memory that a source needs between its entries; entries bind it by name like any operand. Its content does
/// not outlive the op.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scratch {
    /// Its role.
    pub role: String,
    /// Bytes.
    pub bytes: Extent,
    /// Whether it must be zero before the first entry (counters, sums).
    pub zeroed: bool,
}

/// A generated source: everything a device needs to run it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// CUDA C++, self-contained.
    pub text: String,
    /// Entries in the order they are launched.
    pub entries: Vec<Entry>,
    /// Memory between them.
    pub scratch: Vec<Scratch>,
}

/// A signature that a device could not bind. A fault of the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSignature(pub String);

impl fmt::Display for BadSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The parameters of `entry` in `text`, as a device binds them.
pub fn signature(text: &str, entry: &str) -> Result<Vec<Arg>, BadSignature> {
    let open = format!("{entry}(");
    // A launch bound is the only thing with brackets that may stand in front.
    let start = text
        .match_indices(&open)
        .find(|(at, _)| {
            let before = &text[..*at];
            let whole = before.ends_with(|c: char| c.is_whitespace());
            whole && before.rfind("__global__").is_some_and(|g| !before[g..].contains(['{', ';']))
        })
        .ok_or_else(|| BadSignature(format!("there is no kernel `{entry}`")))?
        .0
        + open.len();
    let end =
        start + text[start..].find(')').ok_or_else(|| BadSignature(format!("`{entry}` is not closed")))?;
    text[start..end]
        .split(',')
        .map(str::trim)
        .filter(|p| !p.is_empty())
        .map(|p| parameter(entry, p))
        .collect()
}

fn parameter(entry: &str, text: &str) -> Result<Arg, BadSignature> {
    let at = text.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(0);
    let (ty, name) = (text[..=at].trim(), &text[at + 1..]);
    let ty = ty.replace("__restrict__", "");
    let ty = ty.trim();
    let role = |suffix: &str| name.strip_suffix(suffix).map(str::to_owned);
    let arg = if ty.contains('*') {
        match Table::ALL.iter().find(|(n, _)| *n == name) {
            Some((_, table)) => Some(Arg::Table(*table)),
            None => Some(Arg::Pointer(name.to_owned())),
        }
    } else {
        match ty.trim_start_matches("const ") {
            "int" => match Size::ALL.iter().find(|(n, _)| *n == name) {
                Some((_, size)) => Some(Arg::Size(*size)),
                None => role("_stride").map(Arg::Stride).or(role("_rows").map(Arg::Rows)),
            },
            "long long" => role("_slot").map(Arg::Slot),
            "float" => Some(Arg::Scalar(name.to_owned())),
            "__grid_constant__ TensorMap" => role("_map").map(Arg::Map),
            _ => None,
        }
    };
    arg.ok_or_else(|| BadSignature(format!("`{entry}` has a parameter that nothing binds: `{text}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_bound_by_their_names() {
        let text = "__device__ void gemm(int);\nextern \"C\" __global__ void __launch_bounds__(kThreads) gemm(\n    \
             const XType* __restrict__ x, int x_stride, StateType* state, long long state_slot, int cache_rows,\n    \
             const Segment* segments, int rows, float eps, const __grid_constant__ TensorMap weight_map) { gemm(1); }";
        let args = signature(text, "gemm").unwrap();
        let own = |s: &str| s.to_owned();
        assert_eq!(
            args,
            [
                Arg::Pointer(own("x")),
                Arg::Stride(own("x")),
                Arg::Pointer(own("state")),
                Arg::Slot(own("state")),
                Arg::Rows(own("cache")),
                Arg::Table(Table::Segments),
                Arg::Size(Size::Rows),
                Arg::Scalar(own("eps")),
                Arg::Map(own("weight")),
            ]
        );
    }

    #[test]
    fn a_parameter_that_nothing_binds_is_told() {
        let text = "__global__ void k(int depth) {}";
        assert!(signature(text, "k").unwrap_err().0.contains("int depth"));
        assert!(signature(text, "other").unwrap_err().0.contains("`other`"));
        assert!(signature("__global__ void k(unsigned rows) {}", "k").is_err());
    }

    #[test]
    fn an_extent_is_a_product() {
        let e = Extent::pieces(Size::Rows, 64).times(3).times_pieces(Size::Sequences, 1);
        let size = |s| if s == Size::Rows { 130 } else { 5 };
        assert_eq!(e.value(size), 3 * 3 * 5);
        assert_eq!(Extent::default().value(size), 1);
    }
}

//! Schedules: how a kernel does its work, as named integers.
//!
//! A *problem* says what is to be computed (sizes, formats); a *schedule* says how (tiles, chunks, splits). A
//! kernel family declares its schedule once with [`schedule!`](crate::schedule!): the struct, its candidate
//! values, its defaults and its printed and stored form all come from that declaration.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// One schedule parameter: its name, the values the tuner may try, and the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Name, the same in Rust, in the store and in reports.
    pub name: &'static str,
    /// Values a candidate may take.
    pub values: &'static [i64],
    /// Value of the default schedule; one of `values`.
    pub default: i64,
    /// What it means.
    pub doc: &'static str,
}

/// A schedule in its dynamic form: what the store keeps and the tuner enumerates.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Values(pub BTreeMap<String, i64>);

impl Values {
    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<i64> {
        self.0.get(name).copied()
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (k, v)) in self.0.iter().enumerate() {
            write!(f, "{}{k}={v}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// What is to be computed, for one kernel family: its sizes and formats. It is the subject of legality, of
/// the tuner's tasks and of the cache key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Problem {
    /// The kernel family, as in `gemm` or `ssd`.
    pub family: String,
    /// Named sizes, unrounded except for `tokens`, which is the bucket's upper end.
    pub dims: BTreeMap<String, i64>,
    /// Number format of the stored operand and of the arithmetic, as in `q4_1/int8`.
    pub format: String,
}

impl Problem {
    /// A problem of `family` with `dims`.
    pub fn new(family: &str, format: &str, dims: &[(&str, usize)]) -> Self {
        Self {
            family: family.to_owned(),
            dims: dims.iter().map(|(k, v)| ((*k).to_owned(), *v as i64)).collect(),
            format: format.to_owned(),
        }
    }

    /// The size `name`; zero where the problem has none.
    pub fn dim(&self, name: &str) -> usize {
        self.dims.get(name).map_or(0, |v| *v as usize)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.family)?;
        for (i, (k, v)) in self.dims.iter().enumerate() {
            write!(f, "{}{k}={v}", if i == 0 { "" } else { " " })?;
        }
        write!(f, "] {}", self.format)
    }
}

/// `a=1 b=2` as pairs.
fn pairs(text: &str) -> Result<BTreeMap<String, i64>, Illegal> {
    let pair = |word: &str| {
        let (name, value) = word.split_once('=')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.split_whitespace()
        .map(|w| pair(w).ok_or_else(|| Illegal(format!("`{w}` is no name=number"))))
        .collect()
}

impl std::str::FromStr for Values {
    type Err = Illegal;

    /// As it is displayed: `tile_m=64 stages=3`.
    fn from_str(text: &str) -> Result<Self, Illegal> {
        pairs(text).map(Values)
    }
}

impl std::str::FromStr for Problem {
    type Err = Illegal;

    /// As it is displayed: `gemm[k=64 n=32] bf16 out=f32`.
    fn from_str(text: &str) -> Result<Self, Illegal> {
        let parts = text.split_once('[').and_then(|(family, rest)| Some((family, rest.split_once(']')?)));
        let (family, (dims, format)) =
            parts.ok_or_else(|| Illegal(format!("`{text}` is no problem like gemm[k=64 n=32] bf16")))?;
        Ok(Self { family: family.trim().to_owned(), dims: pairs(dims)?, format: format.trim().to_owned() })
    }
}

/// Why a schedule cannot serve a problem, in words for a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Illegal(pub String);

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A typed schedule, made by [`schedule!`](crate::schedule!).
pub trait Schedule: Copy + Default + fmt::Debug + 'static {
    /// The kernel family.
    const FAMILY: &'static str;
    /// Raised when the meaning of a value or the kernel behind it changes; stored entries of another version miss.
    const VERSION: u32;
    /// The parameters, in declaration order.
    const PARAMS: &'static [Param];
    /// To the dynamic form.
    fn values(&self) -> Values;
    /// From the dynamic form: every parameter present, no other, each value one of the candidates.
    fn from_values(values: &Values) -> Result<Self, Illegal>;
}

/// Every combination of the parameters' values, the default first.
pub fn candidates(params: &[Param]) -> Vec<Values> {
    let default = default_values(params);
    let mut all = vec![Values::default()];
    for p in params {
        all = all
            .into_iter()
            .flat_map(|v| {
                p.values.iter().map(move |x| {
                    let mut v = v.clone();
                    v.0.insert(p.name.to_owned(), *x);
                    v
                })
            })
            .collect();
    }
    all.retain(|v| *v != default);
    all.insert(0, default);
    all
}

/// The default of every parameter.
pub fn default_values(params: &[Param]) -> Values {
    Values(params.iter().map(|p| (p.name.to_owned(), p.default)).collect())
}

/// Declares a schedule: struct, candidates, default, stored form.
///
/// ```
/// jet_codegen::schedule! {
///     /// How one chunk of the sequence is scanned.
///     pub struct Scan = "scan" v1 {
///         /// Tokens per chunk.
///         chunk: [16, 32, 64] = 32,
///     }
/// }
/// use jet_codegen::schedule::Schedule;
/// assert_eq!(Scan::default().chunk, 32);
/// assert_eq!(Scan::from_values(&Scan { chunk: 64 }.values()).unwrap().chunk, 64);
/// ```
#[macro_export]
macro_rules! schedule {
    (
        $(#[doc = $doc:expr])*
        $vis:vis struct $name:ident = $family:literal $version:ident {
            $($(#[doc = $fdoc:expr])* $field:ident: [$($value:expr),+ $(,)?] = $default:expr),+ $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis struct $name { $($(#[doc = $fdoc])* pub $field: usize),+ }

        impl Default for $name {
            fn default() -> Self { Self { $($field: $default),+ } }
        }

        impl $crate::schedule::Schedule for $name {
            const FAMILY: &'static str = $family;
            const VERSION: u32 = $crate::schedule::version(stringify!($version));
            const PARAMS: &'static [$crate::schedule::Param] = &[$($crate::schedule::Param {
                name: stringify!($field),
                values: &[$($value),+],
                default: $default,
                doc: concat!($($fdoc),*),
            }),+];
            fn values(&self) -> $crate::schedule::Values {
                $crate::schedule::Values([$((stringify!($field).to_owned(), self.$field as i64)),+].into())
            }
            fn from_values(values: &$crate::schedule::Values) -> Result<Self, $crate::schedule::Illegal> {
                $crate::schedule::check_values(Self::PARAMS, values)?;
                Ok(Self { $($field: values.0[stringify!($field)] as usize),+ })
            }
        }
    };
}

/// The number in `v3`.
#[doc(hidden)]
pub const fn version(text: &str) -> u32 {
    let bytes = text.as_bytes();
    assert!(bytes.len() >= 2 && bytes[0] == b'v', "a schedule's version is written v1, v2, …");
    let (mut n, mut i) = (0, 1);
    while i < bytes.len() {
        assert!(bytes[i].is_ascii_digit(), "a schedule's version is written v1, v2, …");
        n = n * 10 + (bytes[i] - b'0') as u32;
        i += 1;
    }
    n
}

/// Checks that `values` has exactly the parameters, each with one of its candidate values.
pub fn check_values(params: &[Param], values: &Values) -> Result<(), Illegal> {
    for p in params {
        match values.get(p.name) {
            None => return Err(Illegal(format!("`{}` is missing", p.name))),
            Some(v) if !p.values.contains(&v) => {
                return Err(Illegal(format!("`{}` is {v}, which is none of {:?}", p.name, p.values)));
            }
            Some(_) => {}
        }
    }
    match values.0.keys().find(|k| params.iter().all(|p| p.name != k.as_str())) {
        Some(k) => Err(Illegal(format!("`{k}` is no parameter of this family"))),
        None => Ok(()),
    }
}

/// A kernel family as the tuner and the cache see it: its parameters and its one legality function.
pub trait Family: Sync {
    /// Name; the same as its problems'.
    fn name(&self) -> &'static str;
    /// Version of the schedule's meaning.
    fn version(&self) -> u32;
    /// Parameters.
    fn params(&self) -> &'static [Param];
    /// Whether `values` can serve `problem`.
    fn legal(&self, problem: &Problem, values: &Values) -> Result<(), Illegal>;

    /// The legal candidates for `problem`, the default first. A default is always legal.
    fn candidates(&self, problem: &Problem) -> Vec<Values> {
        let default = self.default_values(problem);
        let mut all = candidates(self.params());
        all.retain(|v| *v != default && self.legal(problem, v).is_ok());
        all.insert(0, default);
        all
    }

    /// What runs when nothing was tuned.
    fn default_values(&self, _problem: &Problem) -> Values {
        default_values(self.params())
    }

    /// What the family's cost model expects a legal schedule to take, in a unit of the problem's own: only quotients between
    /// schedules of one problem mean something. `None` where there is no model. Grade: *modelled*; it orders a search and
    /// never decides it.
    fn cost(&self, _problem: &Problem, _values: &Values) -> Option<f64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::schedule! {
        /// For the tests.
        struct Demo = "demo" v3 {
            /// Tokens.
            chunk: [16, 32] = 32,
            /// Rows.
            rows: [1, 2, 4] = 2,
        }
    }

    #[test]
    fn the_default_is_the_first_of_all_combinations() {
        let all = candidates(Demo::PARAMS);
        assert_eq!(all.len(), 6);
        assert_eq!(all[0], Demo::default().values());
        assert_eq!(Demo::VERSION, 3);
        assert!(Demo::PARAMS[0].doc.contains("Tokens"));
    }

    #[test]
    fn problems_and_schedules_are_read_as_they_are_shown() {
        let p = Problem::new("gemm", "bf16 out=f32", &[("n", 32), ("k", 64)]);
        assert_eq!(p.to_string().parse(), Ok(p));
        let v = Demo::default().values();
        assert_eq!(v.to_string().parse(), Ok(v));
        assert!("gemm n=32".parse::<Problem>().unwrap_err().0.contains("no problem"));
        assert!("tile=x".parse::<Values>().unwrap_err().0.contains("`tile=x`"));
    }

    #[test]
    fn stored_values_are_checked_one_by_one() {
        let mut v = Demo::default().values();
        assert_eq!(Demo::from_values(&v), Ok(Demo::default()));
        v.0.insert("chunk".into(), 17);
        assert!(Demo::from_values(&v).unwrap_err().0.contains("none of [16, 32]"));
        v.0.insert("chunk".into(), 16);
        v.0.insert("warps".into(), 4);
        assert!(Demo::from_values(&v).unwrap_err().0.contains("`warps` is no parameter"));
        v.0.remove("warps");
        v.0.remove("rows");
        assert!(Demo::from_values(&v).unwrap_err().0.contains("`rows` is missing"));
    }
}

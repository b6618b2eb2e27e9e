//! Number formats of a kernel's operands.
//!
//! A problem's format is a default and its exceptions by role: `bf16`, or `bf16 out=f32`. The role is the name that the
//! operand has in the kernel's signature.

use crate::schedule::{Illegal, Problem};
use serde::Serialize;
use std::fmt;

/// How a value is stored on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Elem {
    /// IEEE single precision.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    F16,
    /// 8 bits, 4 of exponent, no infinities.
    E4m3,
}

impl Elem {
    /// Every format.
    pub const ALL: [Elem; 4] = [Elem::F32, Elem::Bf16, Elem::F16, Elem::E4m3];

    /// Name in problems and reports, which is also the type's name in sources but for f32.
    pub fn name(self) -> &'static str {
        match self {
            Elem::F32 => "f32",
            Elem::Bf16 => "bf16",
            Elem::F16 => "f16",
            Elem::E4m3 => "e4m3",
        }
    }

    /// Its type in sources.
    pub fn cuda(self) -> &'static str {
        if self == Elem::F32 { "float" } else { self.name() }
    }

    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Elem::F32 => 4,
            Elem::Bf16 | Elem::F16 => 2,
            Elem::E4m3 => 1,
        }
    }

    /// The format called `name`.
    pub fn parse(name: &str) -> Option<Elem> {
        Elem::ALL.into_iter().find(|e| e.name() == name)
    }
}

impl fmt::Display for Elem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The formats of a problem's operands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formats {
    /// Where nothing else is said.
    pub default: Elem,
    /// Exceptions by role, in the order of their names.
    pub exceptions: Vec<(String, Elem)>,
}

impl Formats {
    /// `default` for all operands but those of `others` that differ.
    pub fn new(default: Elem, others: &[(&str, Elem)]) -> Self {
        let mut exceptions: Vec<_> =
            others.iter().filter(|(_, e)| *e != default).map(|(r, e)| ((*r).to_owned(), *e)).collect();
        exceptions.sort();
        Self { default, exceptions }
    }

    /// Those of `problem`.
    pub fn of(problem: &Problem) -> Result<Self, Illegal> {
        let wrong = |what: &str| Illegal(format!("`{}` is no format: {what}", problem.format));
        let elem = |name: &str| Elem::parse(name).ok_or_else(|| wrong(&format!("`{name}` is unknown")));
        let mut words = problem.format.split_whitespace();
        let default = elem(words.next().ok_or_else(|| wrong("it is empty"))?)?;
        let mut exceptions = Vec::new();
        for word in words {
            let (role, name) =
                word.split_once('=').ok_or_else(|| wrong(&format!("`{word}` lacks a role")))?;
            exceptions.push((role.to_owned(), elem(name)?));
        }
        Ok(Self { default, exceptions })
    }

    /// The format of `role`.
    pub fn get(&self, role: &str) -> Elem {
        self.exceptions.iter().find(|(r, _)| r == role).map_or(self.default, |(_, e)| *e)
    }
}

impl fmt::Display for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.default)?;
        self.exceptions.iter().try_for_each(|(role, e)| write!(f, " {role}={e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_written_and_read_back() {
        let f = Formats::new(Elem::Bf16, &[("z", Elem::F32), ("out", Elem::F32), ("x", Elem::Bf16)]);
        assert_eq!(f.to_string(), "bf16 out=f32 z=f32");
        let p = Problem::new("norm", &f.to_string(), &[]);
        assert_eq!(Formats::of(&p), Ok(f.clone()));
        assert_eq!((f.get("out"), f.get("x")), (Elem::F32, Elem::Bf16));
    }

    #[test]
    fn what_is_no_format_is_refused() {
        for text in ["", "f64", "bf16 out", "bf16 out=int"] {
            assert!(Formats::of(&Problem::new("norm", text, &[])).is_err(), "{text}");
        }
    }
}

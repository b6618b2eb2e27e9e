//! Forms of instructions: the table that decoding matches against and that the coverage page prints.
//!
//! A pattern is an opcode and groups of words: `add.[rn,rz,rm,rp].[ftz].[sat].f32`. A bare word must be there, `{a,b}`
//! takes exactly one of its words, `[a,b]` at most one. A word that ends in `*` stands for all that begin so, and `**`
//! for any number of words. Words match as a set: the instruction may have them in another order than the pattern
//! (ptx.md 4.1).

use std::collections::HashMap;
use std::sync::LazyLock;

/// Which targets have a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// From that architecture number on: `Sm(80)`.
    Sm(u32),
    /// Only with the suffix `a` (or `f`), and only these numbers.
    Only(&'static [u32]),
}

/// What the emulator makes of a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Executed as the ISA says.
    Supported,
    /// Refused, and why.
    Error(&'static str),
    /// Executed, but not in all as the ISA or hardware does.
    Deviating(&'static str),
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// Opcode and words, see the module.
    pub pattern: &'static str,
    /// Targets.
    pub need: Need,
    /// Support.
    pub status: Status,
}

/// Shorthand for a supported form.
pub const fn form(pattern: &'static str, sm: u32) -> Form {
    Form { pattern, need: Need::Sm(sm), status: Status::Supported }
}

/// Shorthand for a supported form that only `a`/`f` targets have.
pub const fn only(pattern: &'static str, sms: &'static [u32]) -> Form {
    Form { pattern, need: Need::Only(sms), status: Status::Supported }
}

/// Shorthand for a form that is refused.
pub const fn refused(pattern: &'static str, sm: u32, why: &'static str) -> Form {
    Form { pattern, need: Need::Sm(sm), status: Status::Error(why) }
}

/// Shorthand for a form that deviates.
pub const fn deviating(pattern: &'static str, sm: u32, how: &'static str) -> Form {
    Form { pattern, need: Need::Sm(sm), status: Status::Deviating(how) }
}

/// A `.target` architecture: number and suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// `90` of `sm_90a`.
    pub number: u32,
    /// `a`, `f` or nothing.
    pub suffix: Option<char>,
}

impl Target {
    /// Reads `sm_90a`.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("sm_").or_else(|| text.strip_prefix("compute_"))?;
        let digits = rest.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let number = digits.parse().ok()?;
        let suffix = rest[digits.len()..].chars().next();
        Some(Target { number, suffix })
    }

    /// Whether the target has what a form needs.
    pub fn has(self, need: Need) -> bool {
        match need {
            Need::Sm(n) => self.number >= n,
            Need::Only(list) => self.suffix.is_some() && list.contains(&self.number),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sm_{}", self.number)?;
        self.suffix.map_or(Ok(()), |c| write!(f, "{c}"))
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Need::Sm(n) => write!(f, "sm_{n}"),
            Need::Only(list) => {
                let names: Vec<String> = list.iter().map(|n| format!("sm_{n}a")).collect();
                f.write_str(&names.join(", "))
            }
        }
    }
}

struct Group {
    words: Vec<&'static str>,
    required: bool,
}

impl Group {
    fn takes(&self, word: &str) -> bool {
        self.words.iter().any(|w| match w.strip_suffix('*') {
            Some(prefix) => word.starts_with(prefix.trim_end_matches('*')),
            None => *w == word,
        })
    }
}

/// A pattern taken apart.
pub(crate) struct Pattern {
    pub(crate) form: &'static Form,
    pub(crate) family: usize,
    groups: Vec<Group>,
}

/// How well words fit a pattern.
pub(crate) enum Fit<'w> {
    Whole,
    /// This word is not of the pattern.
    Unknown(&'w str),
    /// One of these words is missing.
    Missing(String),
}

impl Pattern {
    fn new(form: &'static Form, family: usize) -> (&'static str, Self) {
        let (opcode, rest) = form.pattern.split_once('.').unwrap_or((form.pattern, ""));
        let mut groups = Vec::new();
        let mut rest = rest;
        while !rest.is_empty() {
            let (words, required, len) = match rest.as_bytes()[0] {
                b'{' => (
                    &rest[1..rest.find('}').unwrap_or(rest.len())],
                    true,
                    rest.find('}').unwrap_or(rest.len()) + 1,
                ),
                b'[' => (
                    &rest[1..rest.find(']').unwrap_or(rest.len())],
                    false,
                    rest.find(']').unwrap_or(rest.len()) + 1,
                ),
                _ => {
                    let end = rest.find('.').unwrap_or(rest.len());
                    (&rest[..end], true, end)
                }
            };
            groups.push(Group { words: words.split(',').map(str::trim).collect(), required });
            rest = rest.get(len..).unwrap_or("").trim_start_matches('.');
        }
        (opcode, Pattern { form, family, groups })
    }

    /// Fits words into groups: each word into the first free group that takes it, but a required group before an
    /// optional one only by position, which is how the patterns are written.
    pub(crate) fn fit<'w>(&self, words: &[&'w str]) -> Fit<'w> {
        let mut used = vec![false; self.groups.len()];
        for word in words {
            match self.groups.iter().enumerate().position(|(i, g)| !used[i] && g.takes(word)) {
                Some(i) => used[i] = !self.groups[i].words.contains(&"**"),
                None => return Fit::Unknown(word),
            }
        }
        match self.groups.iter().zip(&used).find(|(g, used)| g.required && !**used) {
            Some((g, _)) => Fit::Missing(g.words.join(" .")),
            None => Fit::Whole,
        }
    }
}

/// All patterns by opcode, in table order.
static PATTERNS: LazyLock<HashMap<&'static str, Vec<Pattern>>> = LazyLock::new(|| {
    let mut map: HashMap<&'static str, Vec<Pattern>> = HashMap::new();
    for (index, family) in super::FAMILIES.iter().enumerate() {
        for form in family.forms {
            let (opcode, pattern) = Pattern::new(form, index);
            map.entry(opcode).or_default().push(pattern);
        }
    }
    map
});

/// The form of an instruction, or what is wrong with its words.
pub(crate) fn find(opcode: &str, words: &[&str], target: Target) -> Result<(&'static Form, usize), String> {
    let Some(patterns) = PATTERNS.get(opcode) else {
        return Err(format!("unknown instruction `{opcode}`"));
    };
    let mut unknown: Option<&str> = None;
    let mut missing = None;
    let mut refused = None;
    for pattern in patterns {
        match pattern.fit(words) {
            Fit::Whole if target.has(pattern.form.need) => {
                return match pattern.form.status {
                    Status::Error(why) => Err(format!("unsupported: {why}")),
                    _ => Ok((pattern.form, pattern.family)),
                };
            }
            Fit::Whole => refused = Some(pattern.form),
            Fit::Missing(of) => missing = Some(of),
            // The word that gets furthest is the one to name.
            Fit::Unknown(w) => {
                let at = |x: &str| words.iter().position(|y| *y == x);
                if unknown.is_none_or(|u| at(w) > at(u)) {
                    unknown = Some(w);
                }
            }
        }
    }
    if let Some(form) = refused {
        return Err(format!("the target {target} does not have this form; it needs {}", form.need));
    }
    match (missing, unknown) {
        (Some(of), _) => Err(format!("a modifier is missing, one of .{of}")),
        (None, Some(word)) => Err(format!("unknown modifier `.{word}` of `{opcode}`")),
        (None, None) => Err(format!("unknown form of `{opcode}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_match_in_any_order_and_strangers_are_named() {
        static FORM: Form = form("atom.[relaxed,acq_rel].[gpu].global.{add,min}.u32", 80);
        let (opcode, pattern) = Pattern::new(&FORM, 0);
        assert_eq!(opcode, "atom");
        assert!(matches!(pattern.fit(&["global", "gpu", "acq_rel", "add", "u32"]), Fit::Whole));
        assert!(matches!(pattern.fit(&["global", "add", "u64"]), Fit::Unknown("u64")));
        assert!(matches!(pattern.fit(&["global", "u32"]), Fit::Missing(_)));
    }

    #[test]
    fn a_suffix_is_needed_where_the_form_says_so() {
        let plain = Target::parse("sm_90").expect("a target");
        let full = Target::parse("sm_90a").expect("a target");
        assert!(!plain.has(Need::Only(&[90])));
        assert!(full.has(Need::Only(&[90])));
        assert!(full.has(Need::Sm(80)));
    }
}

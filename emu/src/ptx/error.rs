//! What is wrong with a text, and where.

use std::fmt;

/// One thing that is wrong with a PTX text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What stands there.
    pub found: String,
    /// What should stand there, or which rule it breaks.
    pub expected: String,
    /// A name or a place that may have been meant.
    pub help: Option<String>,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: found {}; {}", self.line, self.column, self.found, self.expected)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ReadError {}

impl ReadError {
    /// The message with the line of the text that it is about and a caret under the place.
    pub fn show(&self, text: &str) -> String {
        let line = text.lines().nth(self.line.saturating_sub(1) as usize).unwrap_or("");
        // A line may be a whole minified text: only its neighbourhood is shown.
        let at = self.column.saturating_sub(1) as usize;
        let start = at.saturating_sub(80);
        let visible = |c: char| if c.is_control() { ' ' } else { c };
        let shown: String = line.chars().skip(start).take(160).map(visible).collect();
        let caret = " ".repeat(at - start);
        format!("{self}\n    {shown}\n    {caret}^")
    }
}

/// No more errors than this are kept: a text that is not PTX has one at every word.
const MOST: usize = 64;

/// The errors found so far.
pub(super) struct Errors<'t> {
    text: &'t str,
    list: Vec<(usize, ReadError)>,
}

impl<'t> Errors<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Errors { text, list: Vec::new() }
    }

    /// Whether there is room for one more; when there is none, reading on tells nobody anything.
    pub(super) fn full(&self) -> bool {
        self.list.len() >= MOST
    }

    /// Notes an error about the text from byte `start` to `end`.
    pub(super) fn add(
        &mut self,
        start: usize,
        end: usize,
        line: u32,
        expected: String,
        help: Option<String>,
    ) {
        if self.full() || self.list.iter().any(|(at, error)| *at == start && error.expected == expected) {
            return;
        }
        let found = match self.text.get(start..end) {
            None | Some("") => "the end of the text".to_owned(),
            Some(word) => quote(word),
        };
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let column = self.text[line_start..start].chars().count() + 1;
        let column = u32::try_from(column).unwrap_or(u32::MAX);
        self.list.push((start, ReadError { line, column, found, expected, help }));
    }

    /// All of them in the order of the text.
    pub(super) fn finish(mut self) -> Vec<ReadError> {
        self.list.sort_by_key(|(at, _)| *at);
        self.list.into_iter().map(|(_, error)| error).collect()
    }
}

/// A word in quotes, shortened when nobody would read all of it.
fn quote(word: &str) -> String {
    const LONGEST: usize = 60;
    if word.chars().count() <= LONGEST {
        return format!("`{}`", word.escape_debug());
    }
    let head: String = word.chars().take(LONGEST).collect();
    format!("`{}…`", head.escape_debug())
}

/// The candidate nearest to `name`, when one is near enough to have been meant. Ties go to the first in the alphabet, so
/// that the message does not depend on the order in which a table gives its names.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let limit = (name.len() / 3).clamp(1, 3);
    candidates
        .filter(|candidate| candidate.len() <= LONGEST && candidate.len().abs_diff(name.len()) <= limit)
        .map(|candidate| (distance(name.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, left out or changed to make one word of the other.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(!x.eq_ignore_ascii_case(y));
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_letters_that_differ() {
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"same", b"SAME"), 0);
    }

    #[test]
    fn suggests_only_near_names_and_the_same_whatever_the_order() {
        assert_eq!(nearest("tidx", ["laneid", "tid", "tib"].into_iter()), Some("tid"));
        assert_eq!(nearest("%rx", ["%rb", "%ra"].into_iter()), Some("%ra"));
        assert_eq!(nearest("%rx", ["%ra", "%rb"].into_iter()), Some("%ra"));
        assert_eq!(nearest("abc", ["xyzw"].into_iter()), None);
    }

    #[test]
    fn draws_a_caret_under_the_place() {
        let error =
            ReadError { line: 2, column: 5, found: "`x`".into(), expected: "a number".into(), help: None };
        let shown = error.show("first\n\tabcx\nlast");
        assert!(shown.ends_with("\n     abcx\n        ^"), "{shown}");
    }
}

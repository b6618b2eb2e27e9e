//! A fault in a pattern: where it is, what is wrong, what would be right; and the caret line that shows it.
//!
//! On stable Rust a macro cannot point *into* a string literal, so the message repeats the pattern and draws
//! its own caret.

use std::ops::Range;

/// Columns of a long pattern that are shown on either side of the caret.
const CONTEXT: usize = 36;

/// One fault in a text, usually a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Bytes of the text that are wrong; empty at the place where something is missing.
    pub range: Range<usize>,
    /// Further places with the very same fault, in ascending order.
    pub others: Vec<Range<usize>>,
    /// What would be right.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A fault without help.
    pub fn new(range: Range<usize>, message: impl Into<String>) -> Self {
        Self { message: message.into(), range, others: Vec::new(), help: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Column of the fault in `text`, in characters, the first being 1.
    pub fn column(&self, text: &str) -> usize {
        text.char_indices().take_while(|(at, _)| *at < self.range.start).count() + 1
    }

    /// Message, the text in quotes, and a caret under each fault with the help beside it, on three lines:
    ///
    /// ```text
    /// unknown block symbol `K`
    /// "MM*K-J*"
    ///     ^ one of: M (mamba2)  * (attention)
    /// ```
    ///
    /// A long text is shown around the first fault only.
    pub fn render(&self, text: &str) -> String {
        let (line, marks) = self.picture(text);
        let help = self.help.as_deref().map(|h| format!(" {h}")).unwrap_or_default();
        format!("{}\n{line}\n{marks}{help}", self.message)
    }

    /// One line, for a place where the token itself is underlined.
    pub fn one_line(&self) -> String {
        match &self.help {
            Some(help) => format!("{}; {help}", self.message),
            None => self.message.clone(),
        }
    }

    /// The text as it is shown and the line of carets under it.
    fn picture(&self, text: &str) -> (String, String) {
        let marked = |at: usize| {
            std::iter::once(&self.range)
                .chain(&self.others)
                .any(|r| r.contains(&at) || (r.is_empty() && r.start == at))
        };
        let first = self.column(text) - 1;
        let (from, to) = (first.saturating_sub(CONTEXT), first + CONTEXT);
        let total = text.chars().count();
        let (mut line, mut marks) = (String::from("\""), String::from(" "));
        if from > 0 {
            line.push('…');
            marks.push(' ');
        }
        for (column, (at, c)) in text.char_indices().enumerate() {
            if column < from || column > to {
                continue;
            }
            let (shown, width) = display(c);
            line.push_str(&shown);
            marks.push_str(&(if marked(at) { "^" } else { " " }).repeat(width));
        }
        if total > to + 1 {
            line.push('…');
            marks.push(' ');
        }
        if marked(text.len()) && total <= to + 1 {
            marks.push('^');
        }
        line.push('"');
        (line, marks.trim_end().to_owned())
    }
}

/// How a character of the text is shown, and the columns that takes in a terminal.
fn display(c: char) -> (String, usize) {
    match c {
        '"' | '\\' => (format!("\\{c}"), 2),
        _ if c.is_control() || columns(c) == 0 => {
            let escaped = match c {
                '\n' | '\t' | '\r' => c.escape_default().to_string(),
                _ => c.escape_unicode().to_string(),
            };
            let width = escaped.len();
            (escaped, width)
        }
        _ => (c.to_string(), columns(c)),
    }
}

/// Terminal columns of a printable character: 0 for what combines with the character before (shown escaped,
/// or nobody would find it), 2 for the wide East Asian and emoji ranges, else 1.
fn columns(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036F | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F => 0,
        0x20D0..=0x20FF | 0xFE00..=0xFE0F | 0xFEFF => 0,
        0x1100..=0x115F
        | 0x2E80..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1F300..=0x1FAFF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(text: &str, range: Range<usize>) -> String {
        Diagnostic::new(range, "wrong").help("right").render(text)
    }

    #[test]
    fn draws_the_caret_under_the_fault() {
        assert_eq!(picture("MM*K-J*", 3..4), "wrong\n\"MM*K-J*\"\n    ^ right");
    }

    #[test]
    fn draws_several_carets_for_one_fault() {
        let mut fault = Diagnostic::new(1..2, "wrong");
        fault.others.push(4..5);
        assert_eq!(fault.render("MKMMK"), "wrong\n\"MKMMK\"\n  ^  ^");
    }

    #[test]
    fn points_behind_the_text_when_something_is_missing() {
        assert_eq!(picture("(M-", 3..3), "wrong\n\"(M-\"\n    ^ right");
        assert_eq!(picture("", 0..0), "wrong\n\"\"\n ^ right");
    }

    #[test]
    fn counts_characters_and_not_bytes() {
        let text = "é–K";
        let at = text.find('K').expect("it is there");
        assert_eq!(picture(text, at..at + 1), "wrong\n\"é–K\"\n   ^ right");
        assert_eq!(Diagnostic::new(at..at + 1, "").column(text), 3);
    }

    #[test]
    fn counts_wide_combining_and_escaped_characters_by_what_is_shown() {
        let wide = "層K";
        assert_eq!(picture(wide, 3..4), "wrong\n\"層K\"\n   ^ right");
        let combining = "e\u{301}K";
        assert_eq!(picture(combining, 3..4), "wrong\n\"e\\u{301}K\"\n         ^ right");
        assert_eq!(picture("\nK", 1..2), "wrong\n\"\\nK\"\n   ^ right");
    }

    #[test]
    fn cuts_a_long_text_around_the_fault() {
        let text = format!("{}K{}", "M".repeat(500), "-".repeat(500));
        let shown = picture(&text, 500..501);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1].chars().count(), 2 * CONTEXT + 1 + 4);
        let caret = lines[2].find('^').expect("a caret");
        assert_eq!(lines[1].chars().nth(caret), Some('K'));
    }
}

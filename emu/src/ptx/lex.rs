//! Text to tokens, which are places in the text and own nothing.

use super::error::Errors;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name: `add`, `%r12`, `$L__BB0_2`, `_`.
    Word,
    /// A name after a dot, `::` included: `.global`, `.2d`, `.shared::cta`.
    Dotted,
    /// An integer as written: `12`, `0x1F`, `0b11`, `017`, `5U`.
    Integer,
    /// A decimal float: `1.5`, `1e-3`.
    Decimal,
    /// `0f` or `0F` and what follows.
    F32,
    /// `0d` or `0D` and what follows.
    F64,
    /// `"…"`, quotes included.
    Text,
    /// One character.
    Punct(u8),
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<=`
    AtMost,
    /// `>=`
    AtLeast,
    /// `&&`
    And,
    /// `||`
    Or,
    /// The end of the text.
    End,
}

/// A token: bytes `start` to `end` of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: u32,
    pub(super) end: u32,
    /// Line of its first character, from 1.
    pub(super) line: u32,
}

/// The tokens of a text shorter than 4 GiB; the last is [`Kind::End`].
pub(super) fn lex(text: &str, errors: &mut Errors<'_>) -> Vec<Token> {
    let mut lexer = Lexer {
        text,
        bytes: text.as_bytes(),
        at: 0,
        line: 1,
        tokens: Vec::with_capacity(text.len() / 4 + 1),
    };
    while lexer.skip_blanks(errors) {
        lexer.token(errors);
        if errors.full() {
            lexer.at = lexer.bytes.len();
        }
    }
    lexer.push(Kind::End, lexer.at);
    lexer.tokens
}

struct Lexer<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    line: u32,
    tokens: Vec<Token>,
}

/// Whether a byte may stand inside a name.
fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$'
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn push(&mut self, kind: Kind, start: usize) {
        // The caller has checked that every offset fits.
        let (start, end) = (start as u32, self.at as u32);
        self.tokens.push(Token { kind, start, end, line: self.line });
    }

    /// Goes over blanks, comments and the lines of old assemblers' debug data; false at the end.
    fn skip_blanks(&mut self, errors: &mut Errors<'_>) -> bool {
        loop {
            match self.peek(0) {
                0 if self.at >= self.bytes.len() => return false,
                b'\n' => {
                    self.line = self.line.saturating_add(1);
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | 0x0b | 0x0c => self.at += 1,
                b'/' if self.peek(1) == b'/' => self.skip_line(),
                b'/' if self.peek(1) == b'*' => self.skip_comment(errors),
                b'@' if self.peek(1) == b'@' => self.skip_line(),
                _ => return true,
            }
        }
    }

    fn skip_line(&mut self) {
        self.at =
            self.bytes[self.at..].iter().position(|b| *b == b'\n').map_or(self.bytes.len(), |n| self.at + n);
    }

    fn skip_comment(&mut self, errors: &mut Errors<'_>) {
        let (start, line) = (self.at, self.line);
        let end = self.text[start + 2..].find("*/").map(|n| start + 2 + n + 2);
        self.at = end.unwrap_or(self.bytes.len());
        let lines = self.bytes[start..self.at].iter().filter(|b| **b == b'\n').count();
        self.line = self.line.saturating_add(lines as u32);
        if end.is_none() {
            errors.add(start, start + 2, line, "this comment needs its `*/`".into(), None);
        }
    }

    fn token(&mut self, errors: &mut Errors<'_>) {
        let start = self.at;
        let first = self.peek(0);
        match first {
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_ascii_digit() && self.number_may_follow() => self.number(),
            b'.' if in_name(self.peek(1)) => self.dotted(),
            b'%' if in_name(self.peek(1)) && !self.touches_number() => self.word(),
            b'"' => self.quoted(errors),
            _ if in_name(first) => self.word(),
            _ if first.is_ascii_punctuation() => self.punctuation(),
            _ => {
                let wide = self.text[start..].chars().next().map_or(1, char::len_utf8);
                self.at += wide;
                errors.add(start, self.at, self.line, "no PTX begins with this character".into(), None);
            }
        }
    }

    /// Whether a dot and a digit here are a number (`.5`) and not a modifier (`.2d`): after a comma, a bracket or an
    /// operator.
    fn number_may_follow(&self) -> bool {
        let last = self.tokens.last().map(|token| token.kind);
        !matches!(last, None | Some(Kind::Word | Kind::Dotted | Kind::Punct(b')' | b'}' | b';')))
    }

    /// Whether a number or a bracket ends right here, so that a percent sign takes a remainder: `7%4`.
    fn touches_number(&self) -> bool {
        self.tokens.last().is_some_and(|token| {
            token.end as usize == self.at && matches!(token.kind, Kind::Integer | Kind::Punct(b')'))
        })
    }

    fn word(&mut self) {
        let start = self.at;
        self.at += 1;
        while in_name(self.peek(0)) {
            self.at += 1;
        }
        self.push(Kind::Word, start);
    }

    fn dotted(&mut self) {
        let start = self.at;
        self.at += 1;
        loop {
            if in_name(self.peek(0)) {
                self.at += 1;
            } else if self.peek(0) == b':' && self.peek(1) == b':' && in_name(self.peek(2)) {
                self.at += 2;
            } else {
                break;
            }
        }
        self.push(Kind::Dotted, start);
    }

    fn number(&mut self) {
        let start = self.at;
        let kind = match (self.peek(0), self.peek(1)) {
            (b'0', b'f' | b'F') => Kind::F32,
            (b'0', b'd' | b'D') => Kind::F64,
            (b'0', b'x' | b'X' | b'b' | b'B') => Kind::Integer,
            _ => return self.decimal(),
        };
        while in_name(self.peek(0)) {
            self.at += 1;
        }
        self.push(kind, start);
    }

    /// Digits, and a float when a point or an exponent follows.
    fn decimal(&mut self) {
        let start = self.at;
        let mut kind = Kind::Integer;
        self.digits();
        let modifier = self.peek(1).is_ascii_alphabetic() && !self.peek(1).eq_ignore_ascii_case(&b'e');
        if self.peek(0) == b'.' && !modifier {
            kind = Kind::Decimal;
            self.at += 1;
            self.digits();
        }
        if matches!(self.peek(0), b'e' | b'E') {
            kind = Kind::Decimal;
            self.at += 1;
            if matches!(self.peek(0), b'+' | b'-') {
                self.at += 1;
            }
        }
        // Whatever letters follow belong to the number: it is then malformed, as a whole.
        while in_name(self.peek(0)) {
            self.at += 1;
        }
        self.push(kind, start);
    }

    fn digits(&mut self) {
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
    }

    fn quoted(&mut self, errors: &mut Errors<'_>) {
        let start = self.at;
        self.at += 1;
        while !matches!(self.peek(0), b'"' | b'\n') && self.at < self.bytes.len() {
            self.at += if self.peek(0) == b'\\' && !matches!(self.peek(1), b'\n' | 0) { 2 } else { 1 };
        }
        if self.peek(0) == b'"' {
            self.at += 1;
        } else {
            errors.add(
                start,
                start + 1,
                self.line,
                "this string needs its closing quote on the same line".into(),
                None,
            );
        }
        // An escape may have stepped into the middle of a character.
        while !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
        self.push(Kind::Text, start);
    }

    fn punctuation(&mut self) {
        let start = self.at;
        let (kind, length) = match (self.peek(0), self.peek(1)) {
            (b'<', b'<') => (Kind::ShiftLeft, 2),
            (b'>', b'>') => (Kind::ShiftRight, 2),
            (b'=', b'=') => (Kind::Equal, 2),
            (b'!', b'=') => (Kind::NotEqual, 2),
            (b'<', b'=') => (Kind::AtMost, 2),
            (b'>', b'=') => (Kind::AtLeast, 2),
            (b'&', b'&') => (Kind::And, 2),
            (b'|', b'|') => (Kind::Or, 2),
            (single, _) => (Kind::Punct(single), 1),
        };
        self.at += length;
        self.push(kind, start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, &str)> {
        let mut errors = Errors::new(text);
        let tokens = lex(text, &mut errors);
        assert_eq!(errors.finish(), vec![]);
        tokens.iter().map(|t| (t.kind, &text[t.start as usize..t.end as usize])).collect()
    }

    #[test]
    fn modifiers_keep_their_double_colons_and_digits() {
        let expected = [
            (Kind::Word, "cp"),
            (Kind::Dotted, ".2d"),
            (Kind::Dotted, ".mbarrier::complete_tx::bytes"),
            (Kind::Dotted, ".L2::128B"),
            (Kind::End, ""),
        ];
        assert_eq!(kinds("cp.2d.mbarrier::complete_tx::bytes.L2::128B"), expected);
    }

    #[test]
    fn a_label_is_a_word_and_a_colon() {
        assert_eq!(
            kinds("L1: x"),
            [(Kind::Word, "L1"), (Kind::Punct(b':'), ":"), (Kind::Word, "x"), (Kind::End, "")]
        );
    }

    #[test]
    fn numbers_of_every_kind() {
        let text = "12 0x1F 0b11 017 5U 1.5 1. , .5 1e-3 2.5E+7 0f3F800000 0d3FF0000000000000 8.10";
        let kinds: Vec<Kind> = kinds(text).into_iter().map(|(kind, _)| kind).collect();
        use Kind::{Decimal, End, F32, F64, Integer, Punct};
        let expected = [
            Integer,
            Integer,
            Integer,
            Integer,
            Integer,
            Decimal,
            Decimal,
            Punct(b','),
            Decimal,
            Decimal,
            Decimal,
            F32,
            F64,
            Decimal,
            End,
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn lines_are_counted_over_comments_of_both_kinds() {
        let text = "a // x\n/* y\n y */ b\n@@DWARF .byte 0x1\nc";
        let mut errors = Errors::new(text);
        let lines: Vec<u32> = lex(text, &mut errors).iter().map(|t| t.line).collect();
        assert_eq!(lines, [1, 3, 5, 5]);
    }

    #[test]
    fn unfinished_comments_and_strings_are_named_where_they_begin() {
        for (text, column) in [("a /* b", 3), ("ab \"cd\ne", 4), ("a é", 3), ("\"\\é", 1)] {
            let mut errors = Errors::new(text);
            lex(text, &mut errors);
            let found = errors.finish();
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!((found[0].line, found[0].column), (1, column), "{text}");
        }
    }
}

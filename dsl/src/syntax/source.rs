//! The text of a pattern and where its characters stand: in one string literal, or each under its own token.

use super::entry::Value;
use super::report::Report;
use crate::diagnostic::Diagnostic;
use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use std::ops::Range;
use syn::Lit;

/// Tokens of one pattern that are underlined for one fault at most.
const MAX_PLACES: usize = 8;

/// A pattern as it was written.
pub(super) struct Source {
    pub text: String,
    pub span: Span,
    /// For `[MM*M-J*]`: the bytes of `text` that each token gave. Empty for a string literal.
    tokens: Vec<(Range<usize>, Span)>,
}

impl Source {
    /// The pattern in a value, if it is one.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Literal { lit: Lit::Str(text), .. } => {
                Some(Self { text: text.value(), span: text.span(), tokens: Vec::new() })
            }
            Value::Group(group) if group.delimiter() == Delimiter::Bracket => {
                let mut source = Self { text: String::new(), span: group.span_close(), tokens: Vec::new() };
                source.read(group.stream(), 0);
                // An empty list must still be told apart from a string literal.
                source.tokens.push((source.text.len()..source.text.len(), group.span_close()));
                Some(source)
            }
            _ => None,
        }
    }

    fn read(&mut self, tokens: TokenStream, depth: usize) {
        for token in tokens {
            match token {
                // Deeper nesting than anybody writes is left to the pattern parser as plain text.
                TokenTree::Group(group) if depth < 64 => self.group(&group, depth),
                token => self.push(&token.to_string(), token.span()),
            }
        }
    }

    fn group(&mut self, group: &Group, depth: usize) {
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::None => ("", ""),
        };
        self.push(open, group.span_open());
        self.read(group.stream(), depth + 1);
        self.push(close, group.span_close());
    }

    fn push(&mut self, text: &str, span: Span) {
        let start = self.text.len();
        self.text.push_str(text);
        self.tokens.push((start..self.text.len(), span));
    }

    /// Reports a fault: on the token that is wrong if there is one of its own, else on the literal with a
    /// drawn caret.
    pub(super) fn report(&self, fault: &Diagnostic, report: &mut Report) {
        if self.tokens.is_empty() {
            report.error(self.span, fault.render(&self.text));
            return;
        }
        let mut last = None;
        for place in std::iter::once(&fault.range).chain(&fault.others).take(MAX_PLACES) {
            let token = self.tokens.iter().position(|(r, _)| r.contains(&place.start));
            if last != Some(token) {
                report.error(token.map_or(self.span, |i| self.tokens[i].1), fault.one_line());
            }
            last = Some(token);
        }
    }
}

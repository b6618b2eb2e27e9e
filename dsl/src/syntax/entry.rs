//! The loose first reading: `key: value` entries between commas, whatever the keys and values are. It goes on
//! after a mistake, so that one missing comma does not hide the other faults.

use super::report::Report;
use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::Lit;

/// One `key: value`.
pub(super) struct Entry {
    pub key: Ident,
    pub value: Value,
}

/// A value as it is written; what it may be is for the field to say.
pub(super) enum Value {
    /// A literal, with the span of the minus before it.
    Literal { lit: Lit, minus: Option<Span> },
    /// One identifier.
    Word(Ident),
    /// An identifier with a group behind it: `rms_norm { … }`, `tune [ … ]`.
    Tagged(Ident, Group),
    /// A group on its own.
    Group(Group),
    /// A path of more than one segment.
    Path(TokenStream, Span),
    /// Nothing usable; reported already.
    Broken,
}

impl Value {
    /// The token that a message about this value is put on.
    pub(super) fn span(&self) -> Span {
        match self {
            Value::Literal { lit, .. } => lit.span(),
            Value::Word(word) | Value::Tagged(word, _) => word.span(),
            Value::Group(group) => group.span(),
            Value::Path(_, span) => *span,
            Value::Broken => Span::call_site(),
        }
    }

    /// What stands there, for "found …".
    pub(super) fn found(&self) -> String {
        match self {
            Value::Literal { lit, minus } => {
                format!("`{}{}`", if minus.is_some() { "-" } else { "" }, lit.to_token_stream())
            }
            Value::Word(word) => format!("`{word}`"),
            Value::Tagged(word, group) => format!("`{word} {}`", brackets(group)),
            Value::Group(group) => format!("`{}`", brackets(group)),
            Value::Path(path, _) => format!("`{}`", path.to_string().replace(' ', "")),
            Value::Broken => "nothing".to_owned(),
        }
    }
}

fn brackets(group: &Group) -> &'static str {
    match group.delimiter() {
        Delimiter::Brace => "{ … }",
        Delimiter::Bracket => "[ … ]",
        Delimiter::Parenthesis => "( … )",
        Delimiter::None => "…",
    }
}

/// A position in a list of tokens.
pub(super) struct Cursor {
    tokens: Vec<TokenTree>,
    at: usize,
    end: Span,
}

impl Cursor {
    /// `end` is where "something is missing at the end" is reported.
    pub(super) fn new(tokens: TokenStream, end: Span) -> Self {
        Self { tokens: tokens.into_iter().collect(), at: 0, end }
    }

    pub(super) fn peek(&self) -> Option<&TokenTree> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Option<&TokenTree> {
        self.tokens.get(self.at + ahead)
    }

    pub(super) fn next(&mut self) -> Option<TokenTree> {
        let token = self.tokens.get(self.at).cloned();
        self.at += usize::from(token.is_some());
        token
    }

    pub(super) fn span(&self) -> Span {
        self.peek().map_or(self.end, TokenTree::span)
    }

    pub(super) fn is_punct(&self, ahead: usize, c: char) -> bool {
        matches!(self.peek_at(ahead), Some(TokenTree::Punct(p)) if p.as_char() == c)
    }

    /// Takes a punctuation mark if it is next.
    pub(super) fn punct(&mut self, c: char) -> bool {
        let found = self.is_punct(0, c);
        self.at += usize::from(found);
        found
    }

    fn path_separator(&self, ahead: usize) -> bool {
        self.is_punct(ahead, ':') && self.is_punct(ahead + 1, ':')
    }

    /// A group with this delimiter, if it is next.
    pub(super) fn group(&mut self, delimiter: Delimiter) -> Option<Group> {
        match self.peek() {
            Some(TokenTree::Group(g)) if g.delimiter() == delimiter => {
                let group = g.clone();
                self.at += 1;
                Some(group)
            }
            _ => None,
        }
    }

    /// To behind the next comma, or to the end.
    pub(super) fn skip_entry(&mut self) {
        while self.peek().is_some() && !self.punct(',') {
            self.at += 1;
        }
    }

    /// What is next, for "found …".
    pub(super) fn found(&self) -> String {
        match self.peek() {
            None => "the end".to_owned(),
            Some(TokenTree::Group(g)) => format!("`{}`", brackets(g)),
            Some(token) => format!("`{token}`"),
        }
    }

    /// Reads one value. Reports and returns [`Value::Broken`] where there is none.
    pub(super) fn value(&mut self, key: &str, report: &mut Report) -> Value {
        let minus = self.is_punct(0, '-').then(|| self.span());
        if minus.is_some() && matches!(self.peek_at(1), Some(TokenTree::Literal(_))) {
            self.at += 1;
        }
        if self.path_separator(0)
            || (matches!(self.peek(), Some(TokenTree::Ident(_))) && self.path_separator(1))
        {
            return self.path();
        }
        match self.peek().cloned() {
            Some(TokenTree::Literal(literal)) => {
                self.at += 1;
                Value::Literal { lit: Lit::new(literal), minus }
            }
            Some(TokenTree::Ident(word)) => {
                self.at += 1;
                if word == "true" || word == "false" {
                    let lit = Lit::Bool(syn::LitBool::new(word == "true", word.span()));
                    return Value::Literal { lit, minus: None };
                }
                match self.group(Delimiter::Brace).or_else(|| self.group(Delimiter::Bracket)) {
                    Some(group) => Value::Tagged(word, group),
                    None => Value::Word(word),
                }
            }
            Some(TokenTree::Group(group)) => {
                self.at += 1;
                Value::Group(group)
            }
            _ => {
                let found = self.found();
                report.error(self.span(), format!("`{key}` has no value here, found {found}"));
                Value::Broken
            }
        }
    }

    fn path(&mut self) -> Value {
        let span = self.span();
        let mut path = TokenStream::new();
        loop {
            if self.path_separator(0) {
                path.extend(self.next());
                path.extend(self.next());
            }
            match self.peek() {
                Some(TokenTree::Ident(_)) => path.extend(self.next()),
                _ => break,
            }
            if !self.path_separator(0) {
                break;
            }
        }
        Value::Path(path, span)
    }

    /// The comma between two entries. It may be missing behind a closing brace and at the end; elsewhere its
    /// absence is reported and reading goes on.
    pub(super) fn separator(&mut self, after_brace: bool, report: &mut Report) {
        if self.punct(',') || self.peek().is_none() {
            return;
        }
        let starts_entry = matches!(
            (self.peek(), self.peek_at(1)),
            (Some(TokenTree::Ident(_)), Some(TokenTree::Punct(p))) if p.as_char() == ':'
        ) || self.is_punct(1, '=');
        let starts_block = matches!(self.peek(), Some(TokenTree::Ident(_)))
            && matches!(self.peek_at(1), Some(TokenTree::Group(_)));
        if starts_entry || (after_brace && starts_block) {
            if !after_brace {
                report.error(self.span(), format!("a comma is missing before {}", self.found()));
            }
            return;
        }
        report.error(self.span(), format!("expected a comma, found {}", self.found()));
        self.skip_entry();
    }
}

/// Reads all entries of a definition, or of a pair of braces.
pub(super) fn entries(tokens: TokenStream, end: Span, report: &mut Report) -> Vec<Entry> {
    let mut cursor = Cursor::new(tokens, end);
    let mut all = Vec::new();
    while cursor.peek().is_some() {
        let Some(TokenTree::Ident(key)) = cursor.peek().cloned() else {
            report.error(cursor.span(), format!("expected the name of a field, found {}", cursor.found()));
            cursor.skip_entry();
            continue;
        };
        cursor.next();
        // The colon may be left out before braces, as in `blocks { … }`.
        if !cursor.punct(':')
            && !matches!(cursor.peek(), Some(TokenTree::Group(g)) if g.delimiter() == Delimiter::Brace)
        {
            report.error(cursor.span(), format!("expected `:` behind `{key}`, found {}", cursor.found()));
            if cursor.punct('=') && cursor.peek().is_some() {
                // `key = value` is plainly meant; read on as if it were right.
            } else {
                cursor.skip_entry();
                all.push(Entry { key, value: Value::Broken });
                continue;
            }
        }
        let value = cursor.value(&key.to_string(), report);
        if matches!(value, Value::Broken) {
            cursor.skip_entry();
        } else {
            let braces = |g: &Group| g.delimiter() == Delimiter::Brace;
            let after_brace = matches!(&value, Value::Group(g) | Value::Tagged(_, g) if braces(g));
            cursor.separator(after_brace, report);
        }
        all.push(Entry { key, value });
    }
    all
}

//! Walking over the tokens, and going on after an error.

use super::{Parser, Read, Skip};
use crate::ptx::lex::{Kind, Token};

impl<'t> Parser<'t> {
    /// The token that is read next.
    pub(super) fn token(&self) -> Token {
        self.tokens[self.at]
    }

    /// The kind of the token that is read next.
    pub(super) fn kind(&self) -> Kind {
        self.tokens[self.at].kind
    }

    /// The kind of a later token.
    pub(super) fn kind_after(&self, ahead: usize) -> Kind {
        self.tokens.get(self.at + ahead).map_or(Kind::End, |token| token.kind)
    }

    /// What a token says.
    pub(super) fn word(&self, token: Token) -> &'t str {
        &self.text[token.start as usize..token.end as usize]
    }

    /// What the next token says.
    pub(super) fn next_word(&self) -> &'t str {
        self.word(self.token())
    }

    /// Goes over the next token and gives it; the end stays the end.
    pub(super) fn advance(&mut self) -> Token {
        let token = self.tokens[self.at];
        if token.kind != Kind::End {
            self.at += 1;
        }
        token
    }

    pub(super) fn is(&self, kind: Kind) -> bool {
        self.kind() == kind
    }

    pub(super) fn is_punct(&self, byte: u8) -> bool {
        self.kind() == Kind::Punct(byte)
    }

    /// Whether `.name` is next.
    pub(super) fn is_dotted(&self, name: &str) -> bool {
        self.kind() == Kind::Dotted && &self.next_word()[1..] == name
    }

    /// Goes over a character when it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.is_punct(byte);
        if found {
            self.at += 1;
        }
        found
    }

    /// Goes over `.name` when it is next.
    pub(super) fn eat_dotted(&mut self, name: &str) -> bool {
        let found = self.is_dotted(name);
        if found {
            self.at += 1;
        }
        found
    }

    /// Goes over a character that must be next; `after` says in what.
    pub(super) fn expect(&mut self, byte: u8, after: &str) -> Read<Token> {
        if self.is_punct(byte) {
            return Ok(self.advance());
        }
        self.fail_here(format!("expected `{}` {after}", char::from(byte)))
    }

    /// Goes over a name that must be next.
    pub(super) fn expect_name(&mut self, what: &str) -> Read<(&'t str, Token)> {
        if self.is(Kind::Word) {
            let token = self.advance();
            return Ok((self.word(token), token));
        }
        self.fail_here(format!("expected {what}"))
    }

    /// Notes an error about a token; the statement can be read on.
    pub(super) fn note(&mut self, token: Token, expected: impl Into<String>, help: Option<String>) {
        self.errors.add(token.start as usize, token.end as usize, token.line, expected.into(), help);
    }

    /// Notes an error about a token and gives up on the statement.
    pub(super) fn fail<T>(&mut self, token: Token, expected: impl Into<String>) -> Read<T> {
        self.note(token, expected, None);
        Err(Skip)
    }

    /// Notes an error about the next token and gives up on the statement.
    pub(super) fn fail_here<T>(&mut self, expected: impl Into<String>) -> Read<T> {
        self.fail(self.token(), expected)
    }

    /// Goes to where the next statement of a body may begin: after a semicolon, or before the brace that closes the
    /// block. Braces of operands are gone over: they close before a comma, a bracket or a semicolon.
    pub(super) fn recover(&mut self) {
        self.brackets = 0;
        let mut open = 0_usize;
        loop {
            match self.kind() {
                Kind::End => return,
                Kind::Punct(b';') => {
                    self.advance();
                    return;
                }
                Kind::Punct(b'{') => open += 1,
                Kind::Punct(b'}') if open > 0 => open -= 1,
                Kind::Punct(b'}') if !matches!(self.kind_after(1), Kind::Punct(b',' | b';' | b']')) => return,
                _ => {}
            }
            self.advance();
        }
    }

    /// Goes to where the next statement of the module may begin: after a semicolon or a closing brace outside of all
    /// others.
    pub(super) fn recover_module(&mut self) {
        self.brackets = 0;
        let mut open = 0_usize;
        while !self.is(Kind::End) {
            match self.advance().kind {
                Kind::Punct(b';') if open == 0 => return,
                Kind::Punct(b'{') => open += 1,
                Kind::Punct(b'}') => {
                    open = open.saturating_sub(1);
                    if open == 0 && !matches!(self.kind(), Kind::Punct(b',' | b';')) {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    /// Counts a bracket that opens; they must not be too deep, since each is a call of a function here.
    pub(super) fn enter(&mut self) -> Read<()> {
        if self.brackets == super::DEEPEST_BRACKETS {
            return self.fail_here("brackets must not be that deep inside each other");
        }
        self.brackets += 1;
        Ok(())
    }

    /// Counts a bracket that closes.
    pub(super) fn leave(&mut self) {
        self.brackets = self.brackets.saturating_sub(1);
    }
}

//! The statements of a function's body.

use super::variable::Linkage;
use super::{Parser, Read, Skip};
use crate::ptx::lex::{Kind, Token};
use crate::ptx::scope::{DEEPEST, Label};

/// Directives inside a body.
const KNOWN: &[&str] = &[
    "reg",
    "param",
    "shared",
    "local",
    "global",
    "const",
    "loc",
    "file",
    "pragma",
    "branchtargets",
    "calltargets",
    "callprototype",
];

impl<'t> Parser<'t> {
    /// A body in its braces. A statement that cannot be read is left out, and the next one read.
    pub(super) fn body(&mut self) -> Read<()> {
        let start = self.advance();
        let outermost = self.scopes.depth();
        while !self.errors.full() {
            match self.kind() {
                Kind::End => return self.fail(start, "the body that begins here needs its `}`"),
                Kind::Punct(b'{') => {
                    let token = self.advance();
                    if !self.scopes.open() {
                        return self.fail(token, format!("blocks must not be more than {DEEPEST} deep"));
                    }
                }
                Kind::Punct(b'}') => {
                    self.advance();
                    if self.scopes.depth() == outermost {
                        return Ok(());
                    }
                    self.scopes.close();
                }
                _ => {
                    if self.statement().is_err() {
                        self.recover();
                    }
                }
            }
        }
        Err(Skip)
    }

    fn statement(&mut self) -> Read<()> {
        match self.kind() {
            Kind::Dotted => self.body_directive(),
            Kind::Word if self.kind_after(1) == Kind::Punct(b':') => self.label(),
            Kind::Word | Kind::Punct(b'@') => self.instruction(),
            Kind::Punct(b';') => self.fail_here("a statement must not be empty"),
            _ => self.fail_here("expected an instruction, a directive or a label"),
        }
    }

    fn label(&mut self) -> Read<()> {
        let token = self.advance();
        self.advance();
        let name = self.word(token);
        if self.labelled_directive(name, token)? {
            return Ok(());
        }
        let Some(function) = &mut self.function else { return Err(Skip) };
        let index = function.body.len();
        function.labels.push((name.to_owned(), index));
        self.declare_label(name, Label::Instruction(index), token);
        Ok(())
    }

    fn body_directive(&mut self) -> Read<()> {
        if self.eat_dotted("reg") {
            self.registers()
        } else if let Some(space) = self.space() {
            self.variables(space, Linkage::Own)
        } else if self.is_dotted("loc") {
            let token = self.advance();
            self.loc(token)
        } else if self.eat_dotted("pragma") {
            self.pragma()
        } else if self.eat_dotted("file") {
            self.file()
        } else if ["branchtargets", "calltargets", "callprototype"].iter().any(|word| self.is_dotted(word)) {
            self.fail_here("this needs a label before it")
        } else {
            self.unknown_directive(KNOWN, "of a body")
        }
    }

    /// `.loc file line column`, and for inlined code `, function_name label, inlined_at file line column`.
    fn loc(&mut self, token: Token) -> Read<()> {
        let place = self.place()?;
        while self.eat(b',') {
            match self.expect_name("`function_name` or `inlined_at`")? {
                ("function_name", _) => {
                    self.expect_name("a label of a debug section")?;
                    if self.eat(b'+') {
                        self.directive_integer("an offset")?;
                    }
                }
                ("inlined_at", _) => drop(self.place()?),
                (_, word) => return self.fail(word, "expected `function_name` or `inlined_at`"),
            }
        }
        // What follows must not be taken for a part of it: a number here is one too many.
        if self.is(Kind::Integer) {
            return self.fail(token, "this takes a file, a line and a column");
        }
        if let Some(function) = &mut self.function {
            function.loc = Some(place);
        }
        Ok(())
    }

    fn place(&mut self) -> Read<(u32, u32, u32)> {
        let file = self.directive_u32("the number of a file")?;
        let line = self.directive_u32("a line")?;
        Ok((file, line, self.directive_u32("a column")?))
    }
}

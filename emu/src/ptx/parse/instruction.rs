//! One instruction: guard, opcode, modifiers, operands.

use super::{Parser, Read};
use crate::ptx::ast::{Guard, Instruction, Operand};
use crate::ptx::error::nearest;
use crate::ptx::lex::Kind;

impl<'t> Parser<'t> {
    /// An instruction up to its semicolon.
    pub(super) fn instruction(&mut self) -> Read<()> {
        let guard = if self.is_punct(b'@') { Some(self.guard()?) } else { None };
        let (opcode, token) = self.expect_name("an instruction, a directive or a label")?;
        let mut modifiers = Vec::new();
        while self.is(Kind::Dotted) {
            modifiers.push(self.next_word()[1..].to_owned());
            self.advance();
        }
        let operands = match opcode {
            "call" => self.call_operands()?,
            "bra" => vec![self.label_operand()?],
            _ => self.operands()?,
        };
        if !self.is_punct(b';') {
            return self.fail_here(format!("expected `,` or `;` in `{opcode}`"));
        }
        self.advance();
        if let Some(function) = &mut self.function {
            let (opcode, loc) = (opcode.to_owned(), function.loc);
            function.body.push(Instruction { guard, opcode, modifiers, operands, line: token.line, loc });
        }
        Ok(())
    }

    /// `@p` or `@!p`.
    fn guard(&mut self) -> Read<Guard> {
        self.advance();
        let negated = self.eat(b'!');
        let register = self.register("the predicate register of a guard")?;
        Ok(Guard { register, negated })
    }

    fn operands(&mut self) -> Read<Vec<Operand>> {
        let mut operands = Vec::new();
        if self.is_punct(b';') {
            return Ok(operands);
        }
        loop {
            operands.push(self.operand()?);
            if !self.eat(b',') {
                return Ok(operands);
            }
        }
    }

    /// What `bra` goes to.
    fn label_operand(&mut self) -> Read<Operand> {
        let (name, token) = self.expect_name("a label")?;
        Ok(self.pending_label(name, token, true))
    }

    /// Notes that a directive is unknown, with the one that may have been meant.
    pub(super) fn unknown_directive<T>(&mut self, known: &[&'static str], place: &str) -> Read<T> {
        let token = self.token();
        let Some(name) = self.word(token).strip_prefix('.') else {
            return self.fail(token, "expected a directive");
        };
        let help = nearest(name, known.iter().copied()).map(|near| format!("did you mean `.{near}`?"));
        self.note(token, format!("no directive {place} has this name"), help);
        Err(super::Skip)
    }
}

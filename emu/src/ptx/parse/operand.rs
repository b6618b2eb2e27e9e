//! Operands: registers, numbers, names, addresses, vectors.

use super::constant::{Base, Value};
use super::{Parser, PendingLabel, Read};
use crate::ptx::ast::{AddressBase, Operand, RegId};
use crate::ptx::error::nearest;
use crate::ptx::lex::{Kind, Token};
use crate::ptx::scope::Entity;
use crate::ptx::special;

/// Registers of one vector operand: the widest tensor-core accumulators have 128.
const WIDEST_VECTOR: usize = 128;

impl<'t> Parser<'t> {
    /// One operand.
    pub(super) fn operand(&mut self) -> Read<Operand> {
        let first = self.simple_operand()?;
        if !self.is_punct(b'|') {
            return Ok(first);
        }
        let token = self.advance();
        let second = self.simple_operand()?;
        let stores =
            |operand: &Operand| matches!(operand, Operand::Register(_) | Operand::Sink | Operand::Label(_));
        if !stores(&first) || !stores(&second) {
            return self.fail(token, "a pair is of two registers");
        }
        Ok(Operand::Pair(Box::new(first), Box::new(second)))
    }

    fn simple_operand(&mut self) -> Read<Operand> {
        match self.kind() {
            Kind::Word => self.named_operand(),
            Kind::Punct(b'{') => self.vector(),
            Kind::Punct(b'[') => self.address(),
            Kind::Punct(b'!') if self.kind_after(1) == Kind::Word => {
                self.advance();
                self.register("a predicate register after `!`").map(Operand::Not)
            }
            Kind::Punct(b'-') if self.kind_after(1) == Kind::Word && self.next_names_register() => {
                self.fail_here("a register cannot be negated in place; only the video instructions can, which are not read")
            }
            _ => {
                let token = self.token();
                let value = self.expression()?;
                self.value_operand(value, token)
            }
        }
    }

    fn next_names_register(&self) -> bool {
        self.tokens.get(self.at + 1).is_some_and(|token| {
            matches!(self.scopes.get(self.word(*token)), Some(Entity::Register(_) | Entity::Vector(..)))
        })
    }

    /// The value of an expression as an operand.
    fn value_operand(&mut self, value: Value, token: Token) -> Read<Operand> {
        match value {
            Value::Integer { bits, .. } => Ok(Operand::Integer(bits)),
            Value::F32(bits) => Ok(Operand::F32(bits)),
            Value::F64(x) => Ok(Operand::F64(x.to_bits())),
            Value::Address { base: Base::Symbol(id, false), offset } => {
                Ok(Operand::Symbol(id, offset as i64))
            }
            Value::Address { base: Base::Function(id, false), offset: 0 } => Ok(Operand::Function(id)),
            Value::Address { base: Base::Register(id), offset: 0 } => Ok(Operand::Register(id)),
            Value::Address { base: Base::Register(_), .. } => {
                self.fail(token, "a register takes an offset only inside brackets")
            }
            Value::Address { base: Base::Function(..), .. } => {
                self.fail(token, "a function's address takes no offset")
            }
            Value::Address { .. } => self.fail(token, "`generic()` is for initialisers; `cvta` does it here"),
        }
    }

    fn named_operand(&mut self) -> Read<Operand> {
        let token = self.token();
        let name = self.word(token);
        let entity = self.scopes.get(name);
        match entity {
            Some(Entity::Register(id)) if self.kind_after(1) != Kind::Punct(b'+') => {
                self.advance();
                self.no_component(name)?;
                Ok(Operand::Register(id))
            }
            Some(Entity::Vector(first, lanes)) => {
                self.advance();
                self.vector_register(first, lanes)
            }
            Some(_) => {
                let value = self.expression()?;
                self.value_operand(value, token)
            }
            None => self.undeclared(name, token),
        }
    }

    /// A name that nothing has declared: `_`, a special register, or a label yet to come.
    fn undeclared(&mut self, name: &'t str, token: Token) -> Read<Operand> {
        match name {
            "_" => {
                self.advance();
                Ok(Operand::Sink)
            }
            "WARP_SZ" if matches!(self.kind_after(1), Kind::Punct(b',' | b';' | b'}' | b')')) => {
                self.advance();
                Ok(Operand::Special(name.to_owned()))
            }
            "WARP_SZ" | "generic" => {
                let value = self.expression()?;
                self.value_operand(value, token)
            }
            _ => {
                self.advance();
                if let Some(special) =
                    name.strip_prefix('%').filter(|special| special::is_special_register(special))
                {
                    return self.special(special);
                }
                if self.is(Kind::Dotted) {
                    self.advance();
                    self.unknown(name, token, self.scopes.current());
                    return Ok(Operand::Sink);
                }
                Ok(self.pending_label(name, token, false))
            }
        }
    }

    /// Notes that a name stands for nothing: not where it is used, nor anywhere as a label.
    pub(super) fn unknown(&mut self, name: &str, token: Token, scope: usize) {
        let help = self.scopes.suggest(name, scope);
        let Some(special) = name.strip_prefix('%') else {
            return self.note(
                token,
                "no register, variable, function or label of this name is declared here",
                help,
            );
        };
        let near = nearest(special, special::names()).map(|near| format!("did you mean `%{near}`?"));
        self.note(
            token,
            "no register of this name is declared here, nor is it a special register of the ISA",
            help.or(near),
        );
    }

    fn special(&mut self, name: &str) -> Read<Operand> {
        if !self.is(Kind::Dotted) {
            return Ok(Operand::Special(name.to_owned()));
        }
        let token = self.advance();
        let component = &self.word(token)[1..];
        if !special::has_components(name) || !matches!(component, "x" | "y" | "z" | "w") {
            return self.fail(token, format!("`%{name}` has no such component"));
        }
        Ok(Operand::Special(format!("{name}.{component}")))
    }

    fn no_component(&mut self, name: &str) -> Read<()> {
        if self.is(Kind::Dotted) {
            return self.fail_here(format!(
                "`{name}` is no vector and has no component (nor are video instructions' parts read)"
            ));
        }
        Ok(())
    }

    /// `%v` or `%v.x`.
    fn vector_register(&mut self, first: RegId, lanes: u32) -> Read<Operand> {
        if !self.is(Kind::Dotted) {
            let lanes = (0..lanes).map(|lane| Operand::Register(RegId(first.0 + lane)));
            return Ok(Operand::Vector(lanes.collect()));
        }
        let token = self.advance();
        let lane = match &self.word(token)[1..] {
            "x" | "r" => 0,
            "y" | "g" => 1,
            "z" | "b" => 2,
            "w" | "a" => 3,
            _ => u32::MAX,
        };
        if lane >= lanes {
            return self.fail(token, format!("expected a component of a vector of {lanes}"));
        }
        Ok(Operand::Register(RegId(first.0 + lane)))
    }

    /// A register that must be next.
    pub(super) fn register(&mut self, what: &str) -> Read<RegId> {
        let (name, token) = self.expect_name(what)?;
        match self.scopes.get(name) {
            Some(Entity::Register(id)) => {
                self.no_component(name)?;
                Ok(id)
            }
            Some(Entity::Vector(first, lanes)) => match self.vector_register(first, lanes)? {
                Operand::Register(id) => Ok(id),
                _ => self.fail(token, format!("expected {what}, one component of this vector")),
            },
            Some(_) => self.fail(token, format!("expected {what}")),
            None => {
                let help = self.scopes.suggest(name, self.scopes.current());
                self.note(token, "no register of this name is declared here", help);
                Ok(RegId(0))
            }
        }
    }

    /// Notes that a label is used here; it is put in at the function's end.
    pub(super) fn pending_label(&mut self, name: &'t str, token: Token, certain: bool) -> Operand {
        let scope = self.scopes.current();
        let Some(function) = &mut self.function else { return Operand::Sink };
        let instruction = function.body.len();
        function.pending.push(PendingLabel { name, token, scope, instruction, certain });
        Operand::Label(function.pending.len() - 1)
    }

    /// `{a, b, c}`.
    fn vector(&mut self) -> Read<Operand> {
        self.enter()?;
        let token = self.advance();
        let mut elements = Vec::new();
        loop {
            elements.push(self.operand()?);
            if !self.eat(b',') {
                break;
            }
        }
        self.expect(b'}', "after the elements of a vector")?;
        self.leave();
        if elements.len() > WIDEST_VECTOR {
            return self.fail(token, format!("a vector has at most {WIDEST_VECTOR} elements"));
        }
        Ok(Operand::Vector(elements))
    }

    /// `[base + offset]` or `[map, coordinates]`.
    fn address(&mut self) -> Read<Operand> {
        self.enter()?;
        self.advance();
        let (base, offset) = self.address_sum()?;
        let first = Operand::Address(base, offset);
        if !self.is_punct(b',') {
            self.expect(b']', "after an address")?;
            self.leave();
            return Ok(first);
        }
        let mut list = vec![first];
        while self.eat(b',') {
            list.push(self.operand()?);
        }
        self.expect(b']', "after the coordinates")?;
        self.leave();
        Ok(Operand::AddressList(list))
    }

    fn address_sum(&mut self) -> Read<(AddressBase, i64)> {
        let token = self.token();
        if self.is(Kind::Word) && self.kind_after(1) == Kind::Dotted {
            return self.vector_address(token);
        }
        match self.expression()? {
            Value::Integer { bits, .. } => Ok((AddressBase::Absolute, bits as i64)),
            Value::Address { base: Base::Register(id), offset } => {
                Ok((AddressBase::Register(id), offset as i64))
            }
            Value::Address { base: Base::Symbol(id, false), offset } => {
                Ok((AddressBase::Symbol(id), offset as i64))
            }
            _ => self.fail(token, "an address begins with a register, a variable or an integer"),
        }
    }

    /// `[%v.x + 4]`: one register of a vector as the base.
    fn vector_address(&mut self, token: Token) -> Read<(AddressBase, i64)> {
        let id = self.register("a register")?;
        if !matches!(self.kind(), Kind::Punct(b'+' | b'-')) {
            return Ok((AddressBase::Register(id), 0));
        }
        match self.expression()? {
            Value::Integer { bits, .. } => Ok((AddressBase::Register(id), bits as i64)),
            _ => self.fail(token, "an address has one base"),
        }
    }
}

/// Changes an operand, or each of those that it is made of.
pub(super) fn change_operands(operand: &mut Operand, change: &mut impl FnMut(&mut Operand)) {
    match operand {
        Operand::Vector(list) | Operand::List(list) | Operand::AddressList(list) => {
            list.iter_mut().for_each(|operand| change_operands(operand, change));
        }
        Operand::Pair(first, second) => {
            change_operands(first, change);
            change_operands(second, change);
        }
        single => change(single),
    }
}

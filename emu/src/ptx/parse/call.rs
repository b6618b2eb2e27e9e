//! Calls, and the shapes that indirect ones are declared with.

use super::variable::Declarator;
use super::{Parser, PendingLabel, Read};
use crate::ptx::ast::{Operand, Prototype};
use crate::ptx::lex::{Kind, Token};
use crate::ptx::scope::{Entity, Label};

impl<'t> Parser<'t> {
    /// The operands of `call`, as returns, callee, arguments and, where there is one, prototype.
    pub(super) fn call_operands(&mut self) -> Read<Vec<Operand>> {
        let mut returns = Vec::new();
        if self.is_punct(b'(') {
            returns = self.call_list()?;
            self.expect(b',', "between what a call returns and the function")?;
        }
        let callee = self.callee()?;
        let mut operands = vec![Operand::List(returns), callee];
        let mut arguments = Vec::new();
        let mut more = self.eat(b',');
        if more && self.is_punct(b'(') {
            arguments = self.call_list()?;
            more = self.eat(b',');
        }
        operands.push(Operand::List(arguments));
        if more {
            let (name, token) = self.expect_name("the prototype of an indirect call")?;
            operands.push(self.pending_label(name, token, true));
        }
        Ok(operands)
    }

    /// A function or a register.
    fn callee(&mut self) -> Read<Operand> {
        let token = self.token();
        let (name, _) = self.expect_name("a function or a register that holds one")?;
        match self.scopes.get(name) {
            Some(Entity::Function(id)) => Ok(Operand::Function(id)),
            Some(Entity::Register(id)) => Ok(Operand::Register(id)),
            Some(_) => self.fail(token, "expected a function or a register that holds one"),
            None => {
                let help = self.scopes.suggest(name, self.scopes.current());
                self.note(token, "no function of this name is declared above", help);
                Ok(Operand::Sink)
            }
        }
    }

    /// `(a, b)`.
    fn call_list(&mut self) -> Read<Vec<Operand>> {
        self.expect(b'(', "before arguments")?;
        let mut list = Vec::new();
        if self.eat(b')') {
            return Ok(list);
        }
        loop {
            list.push(self.operand()?);
            if !self.eat(b',') {
                break;
            }
        }
        self.expect(b')', "after arguments")?;
        Ok(list)
    }

    /// What a name before a colon is bound to when it is no instruction; false when it is one.
    pub(super) fn labelled_directive(&mut self, name: &'t str, token: Token) -> Read<bool> {
        let label = match self.kind() {
            Kind::Dotted if self.is_dotted("branchtargets") => self.branch_targets()?,
            Kind::Dotted if self.is_dotted("calltargets") => self.call_targets()?,
            Kind::Dotted if self.is_dotted("callprototype") => self.call_prototype()?,
            _ => return Ok(false),
        };
        self.declare_label(name, label, token);
        Ok(true)
    }

    fn branch_targets(&mut self) -> Read<Label> {
        self.advance();
        let mut names = Vec::new();
        loop {
            names.push(self.expect_name("a label")?);
            if !self.eat(b',') {
                break;
            }
        }
        self.expect(b';', "after the labels")?;
        let scope = self.scopes.current();
        let Some(function) = &mut self.function else { return Err(super::Skip) };
        let list = self.module.functions[function.id.0 as usize].branch_targets.len();
        let pending =
            |(name, token)| (list, PendingLabel { name, token, scope, instruction: 0, certain: true });
        function.pending_targets.extend(names.into_iter().map(pending));
        self.module.functions[function.id.0 as usize].branch_targets.push(Vec::new());
        Ok(Label::Targets(list))
    }

    fn call_targets(&mut self) -> Read<Label> {
        self.advance();
        let mut prototype = Prototype::default();
        loop {
            let (name, token) = self.expect_name("a function")?;
            match self.scopes.get(name) {
                Some(Entity::Function(id)) => prototype.targets.push(id),
                _ => {
                    let help = self.scopes.suggest(name, self.scopes.current());
                    self.note(token, "no function of this name is declared above", help);
                }
            }
            if !self.eat(b',') {
                break;
            }
        }
        self.expect(b';', "after the functions")?;
        // All functions of the list have one shape, that of the first.
        if let Some(first) = prototype.targets.first() {
            let function = &self.module.functions[first.0 as usize];
            let size = |param: &crate::ptx::ast::Param| self.param_size(param, function);
            prototype.returns = function.returns.iter().map(size).collect();
            prototype.params = function.params.iter().map(size).collect();
        }
        self.push_prototype(prototype)
    }

    fn call_prototype(&mut self) -> Read<Label> {
        self.advance();
        let returns = if self.is_punct(b'(') { self.prototype_list()? } else { Vec::new() };
        self.expect_name("`_` in the place of the function's name")?;
        let params = if self.is_punct(b'(') { self.prototype_list()? } else { Vec::new() };
        while self.is(Kind::Dotted) {
            self.prototype_attribute()?;
        }
        self.expect(b';', "after a prototype")?;
        self.push_prototype(Prototype { returns, params, targets: Vec::new() })
    }

    fn prototype_attribute(&mut self) -> Read<()> {
        if self.eat_dotted("noreturn") {
            return Ok(());
        }
        if self.eat_dotted("abi_preserve") || self.eat_dotted("abi_preserve_control") {
            return self.directive_integer("a number of registers").map(drop);
        }
        self.unknown_directive(&["noreturn", "abi_preserve", "abi_preserve_control"], "of a prototype")
    }

    fn prototype_list(&mut self) -> Read<Vec<u64>> {
        self.expect(b'(', "before parameters")?;
        let mut sizes = Vec::new();
        if self.eat(b')') {
            return Ok(sizes);
        }
        loop {
            let Declarator { size, .. } = self.param_declaration()?;
            sizes.push(size);
            if !self.eat(b',') {
                break;
            }
        }
        self.expect(b')', "after parameters")?;
        Ok(sizes)
    }

    fn push_prototype(&mut self, prototype: Prototype) -> Read<Label> {
        let Some(function) = &self.function else { return Err(super::Skip) };
        let list = &mut self.module.functions[function.id.0 as usize].prototypes;
        list.push(prototype);
        Ok(Label::Prototype(list.len() - 1))
    }
}

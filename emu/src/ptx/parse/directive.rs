//! Statements of module scope, and directives that stand anywhere.

use std::collections::HashMap;

use super::initialiser::unescape;
use super::operand::change_operands;
use super::variable::Linkage;
use super::{Parser, Read};
use crate::ptx::ast::{FunctionId, Operand, RelocationTarget, Space};
use crate::ptx::lex::Kind;
use crate::ptx::scope::Entity;

/// What may begin a statement of module scope.
const KNOWN: &[&str] = &[
    "visible",
    "extern",
    "weak",
    "common",
    "func",
    "entry",
    "global",
    "const",
    "shared",
    "local",
    "file",
    "section",
    "pragma",
    "alias",
    "version",
    "target",
    "address_size",
];

impl<'t> Parser<'t> {
    /// `.version`, `.target` and `.address_size`.
    pub(super) fn header(&mut self) -> Read<()> {
        if !self.eat_dotted("version") {
            return self.fail_here("a PTX text begins with `.version`");
        }
        self.version()?;
        if !self.eat_dotted("target") {
            return self.fail_here("expected `.target` after `.version`");
        }
        loop {
            let (word, _) = self.expect_name("an architecture")?;
            self.module.target.push(word.to_owned());
            if !self.eat(b',') {
                break;
            }
        }
        if self.eat_dotted("address_size") {
            self.address_size()?;
        }
        Ok(())
    }

    fn version(&mut self) -> Read<()> {
        let token = self.advance();
        // As written: 8.10 comes after 8.9.
        let parts = self.word(token).split_once('.');
        match parts.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?))) {
            Some(version) => {
                self.module.version = version;
                Ok(())
            }
            None => self.fail(token, "expected a version such as 8.8"),
        }
    }

    fn address_size(&mut self) -> Read<()> {
        let token = self.token();
        self.module.address_size = self.directive_u32("the bits of an address")?;
        if !matches!(self.module.address_size, 32 | 64) {
            return self.fail(token, "an address has 32 or 64 bits");
        }
        Ok(())
    }

    /// One statement of module scope.
    pub(super) fn module_statement(&mut self) -> Read<()> {
        if !self.is(Kind::Dotted) {
            return self.fail_here("expected a directive: outside of functions there is nothing else");
        }
        if self.module.target.is_empty() {
            return self.fail_here("`.version` and `.target` come first");
        }
        let linkage = self.linkage_words();
        if self.eat_dotted("entry") {
            return self.function(linkage, true);
        }
        if self.eat_dotted("func") {
            return self.function(linkage, false);
        }
        if self.is_dotted("param") {
            return self.fail_here("a `.param` variable belongs to a function");
        }
        if let Some(space) = self.space() {
            return self.variables(space, linkage);
        }
        if self.eat_dotted("file") {
            self.file()
        } else if self.eat_dotted("section") {
            self.section()
        } else if self.eat_dotted("pragma") {
            self.pragma()
        } else if self.eat_dotted("alias") {
            self.alias()
        } else if ["version", "target", "address_size"].iter().any(|word| self.is_dotted(word)) {
            self.fail_here("this stands once, at the beginning")
        } else {
            self.unknown_directive(KNOWN, "of module scope")
        }
    }

    fn linkage_words(&mut self) -> Linkage {
        let mut linkage = Linkage::Own;
        loop {
            if self.eat_dotted("extern") {
                linkage = Linkage::Extern;
            } else if self.eat_dotted("weak") || self.eat_dotted("common") {
                linkage = Linkage::Weak;
            } else if !self.eat_dotted("visible") {
                return linkage;
            }
        }
    }

    /// The state space of a variable, when one is next.
    pub(super) fn space(&mut self) -> Option<Space> {
        let spaces = [
            ("global", Space::Global),
            ("const", Space::Const),
            ("shared", Space::Shared),
            ("local", Space::Local),
            ("param", Space::Param),
        ];
        spaces.into_iter().find(|(word, _)| self.eat_dotted(word)).map(|(_, space)| space)
    }

    /// `.file 1 "name", time, size`.
    pub(super) fn file(&mut self) -> Read<()> {
        let index = self.directive_u32("the number of a file")?;
        if !self.is(Kind::Text) {
            return self.fail_here("expected the name of a file in quotes");
        }
        let token = self.advance();
        let name = String::from_utf8_lossy(&unescape(self.word(token))).into_owned();
        while self.eat(b',') {
            self.directive_integer("a time or a size")?;
        }
        self.eat(b';');
        self.module.files.push((index, name));
        Ok(())
    }

    /// `.section .debug_info { … }`: gone over by its braces.
    fn section(&mut self) -> Read<()> {
        if !matches!(self.kind(), Kind::Dotted | Kind::Word) {
            return self.fail_here("expected the name of a section");
        }
        self.advance();
        let start = self.expect(b'{', "after the name of a section")?;
        let mut open = 1_usize;
        while open > 0 {
            match self.kind() {
                Kind::End => return self.fail(start, "this brace is not closed"),
                Kind::Punct(b'{') => open += 1,
                Kind::Punct(b'}') => open -= 1,
                _ => {}
            }
            self.advance();
        }
        Ok(())
    }

    /// `.pragma "nounroll", …;`: advice to the compiler of the PTX.
    pub(super) fn pragma(&mut self) -> Read<()> {
        loop {
            if !self.is(Kind::Text) {
                return self.fail_here("expected a pragma in quotes");
            }
            self.advance();
            if !self.eat(b',') {
                break;
            }
        }
        self.expect(b';', "after a pragma")?;
        Ok(())
    }

    /// `.alias name, function;`
    fn alias(&mut self) -> Read<()> {
        let alias = self.declared_function()?;
        self.expect(b',', "after the alias")?;
        let token = self.token();
        let target = self.declared_function()?;
        self.expect(b';', "after the function")?;
        if self.followed(target) == alias {
            return self.fail(token, "a function is not an alias of itself");
        }
        self.aliases.insert(alias, target);
        Ok(())
    }

    fn declared_function(&mut self) -> Read<FunctionId> {
        let (name, token) = self.expect_name("a function")?;
        match self.scopes.get(name) {
            Some(Entity::Function(id)) => Ok(id),
            _ => {
                let help = self.scopes.suggest(name, self.scopes.current());
                self.note(token, "no function of this name is declared above", help);
                Err(super::Skip)
            }
        }
    }

    /// The function at the end of a chain of aliases. No chain is a ring: `alias` sees to it.
    fn followed(&self, id: FunctionId) -> FunctionId {
        std::iter::successors(Some(id), |id| self.aliases.get(id).copied()).last().unwrap_or(id)
    }

    /// Puts what the aliases stand for in their place, wherever a function is named.
    pub(super) fn resolve_aliases(&mut self) {
        if self.aliases.is_empty() {
            return;
        }
        let ends: HashMap<FunctionId, FunctionId> =
            self.aliases.keys().map(|id| (*id, self.followed(*id))).collect();
        let end = |id: &mut FunctionId| *id = ends.get(id).copied().unwrap_or(*id);
        for function in &mut self.module.functions {
            function.prototypes.iter_mut().flat_map(|prototype| &mut prototype.targets).for_each(end);
            let operands =
                function.body.iter_mut().flatten().flat_map(|instruction| &mut instruction.operands);
            operands.for_each(|operand| {
                change_operands(operand, &mut |operand| {
                    if let Operand::Function(id) = operand {
                        end(id);
                    }
                });
            });
        }
        for relocation in self.module.variables.iter_mut().flat_map(|variable| &mut variable.relocations) {
            if let RelocationTarget::Function(id) = &mut relocation.target {
                end(id);
            }
        }
    }
}

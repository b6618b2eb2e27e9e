//! Functions: signatures, what stands between signature and body, and the labels that are resolved at the end.

use super::initialiser::Image;
use super::operand::change_operands;
use super::variable::{Declarator, Linkage};
use super::{Current, Parser, PendingLabel, Read};
use crate::ptx::ast::{Bounds, Function, FunctionId, Operand, Param, ParamStorage, Space};
use crate::ptx::lex::{Kind, Token};
use crate::ptx::scope::{Entity, Label};

/// Directives between a signature and its body.
const KNOWN: &[&str] = &[
    "maxntid",
    "reqntid",
    "minnctapersm",
    "maxnctapersm",
    "maxnreg",
    "noreturn",
    "reqnctapercluster",
    "explicitcluster",
    "maxclusterrank",
    "blocksareclusters",
    "abi_preserve",
    "abi_preserve_control",
    "pragma",
    "attribute",
];

impl<'t> Parser<'t> {
    /// An entry or a device function, declared or defined; `.entry` or `.func` has been read.
    pub(super) fn function(&mut self, linkage: Linkage, entry: bool) -> Read<()> {
        let read = self.signature_and_body(linkage, entry);
        self.function = None;
        self.scopes.leave_function();
        read
    }

    fn signature_and_body(&mut self, linkage: Linkage, entry: bool) -> Read<()> {
        while self.is_dotted("attribute") {
            self.attribute()?;
        }
        let returns = if self.is_punct(b'(') { self.parameters()? } else { Vec::new() };
        let (name, token) = self.expect_name("the name of a function")?;
        let params = if self.is_punct(b'(') { self.parameters()? } else { Vec::new() };
        if entry && !returns.is_empty() {
            return self.fail(token, "a kernel returns nothing");
        }
        let (id, known) = self.function_named(name, token, entry)?;
        self.bounds(id)?;
        if known && !self.alike(id, &returns, &params) {
            let line = self.module.functions[id.0 as usize].line;
            return self.fail(token, format!("line {line} declares this function with other parameters"));
        }
        let body = self.is_punct(b'{');
        if !body {
            self.expect(b';', "or `{` after the signature of a function")?;
        }
        let defined = self.module.functions[id.0 as usize].body.is_some();
        if body && defined && linkage != Linkage::Weak {
            let line = self.module.functions[id.0 as usize].line;
            return self.fail(token, format!("this function has a body already, in line {line}"));
        }
        if known && !body {
            return Ok(());
        }
        self.begin(id, token, &returns, &params)?;
        if body {
            self.body()?;
            self.finish(id);
        } else if let Some(current) = self.function.take() {
            self.module.functions[id.0 as usize].registers = current.registers;
        }
        Ok(())
    }

    /// `(.param .b32 a, .param .b64 b)`.
    fn parameters(&mut self) -> Read<Vec<Declarator<'t>>> {
        self.advance();
        let mut list = Vec::new();
        if self.eat(b')') {
            return Ok(list);
        }
        loop {
            list.push(self.param_declaration()?);
            if !self.eat(b',') {
                break;
            }
        }
        self.expect(b')', "after parameters")?;
        Ok(list)
    }

    /// The function of this name, and whether it was declared before.
    fn function_named(&mut self, name: &'t str, token: Token, entry: bool) -> Read<(FunctionId, bool)> {
        match self.scopes.get_global(name) {
            Some(Entity::Function(id)) if self.module.functions[id.0 as usize].entry == entry => {
                return Ok((id, true));
            }
            Some(Entity::Function(id)) => {
                let line = self.module.functions[id.0 as usize].line;
                return self.fail(
                    token,
                    format!("line {line} declares it, a kernel here and a device function there"),
                );
            }
            _ => {}
        }
        let id = FunctionId(self.module.functions.len() as u32);
        self.declare(name, Entity::Function(id), token);
        self.module.functions.push(Function {
            name: name.to_owned(),
            entry,
            returns: Vec::new(),
            params: Vec::new(),
            bounds: Bounds::default(),
            registers: Vec::new(),
            body: None,
            labels: Vec::new(),
            branch_targets: Vec::new(),
            prototypes: Vec::new(),
            line: token.line,
        });
        Ok((id, false))
    }

    /// Bytes of a parameter.
    pub(super) fn param_size(&self, param: &Param, function: &Function) -> u64 {
        match param.storage {
            ParamStorage::Memory(id) => self.module.variables[id.0 as usize].size,
            ParamStorage::Register(id) => function
                .registers
                .get(id.0 as usize)
                .map_or(0, |register| u64::from(register.ty.bits().div_ceil(8))),
        }
    }

    /// Whether a function was declared with parameters of these sizes and kinds.
    fn alike(&self, id: FunctionId, returns: &[Declarator<'t>], params: &[Declarator<'t>]) -> bool {
        let function = &self.module.functions[id.0 as usize];
        let same = |old: &[Param], new: &[Declarator<'t>]| {
            old.len() == new.len()
                && old.iter().zip(new).all(|(old, new)| {
                    let register = matches!(old.storage, ParamStorage::Register(_));
                    register == new.register && (register || self.param_size(old, function) == new.size)
                })
        };
        same(&function.returns, returns) && same(&function.params, params)
    }

    fn bounds(&mut self, id: FunctionId) -> Read<()> {
        let mut bounds = self.module.functions[id.0 as usize].bounds.clone();
        while self.is(Kind::Dotted) {
            self.bound(&mut bounds)?;
        }
        self.module.functions[id.0 as usize].bounds = bounds;
        Ok(())
    }

    fn bound(&mut self, bounds: &mut Bounds) -> Read<()> {
        let word = &self.next_word()[1..];
        if word == "attribute" {
            return self.attribute();
        }
        if !KNOWN.contains(&word) {
            return self.unknown_directive(KNOWN, "of a function");
        }
        self.advance();
        match word {
            "maxntid" => bounds.maxntid = Some(self.three()?),
            "reqntid" => bounds.reqntid = Some(self.three()?),
            "reqnctapercluster" => bounds.reqnctapercluster = Some(self.three()?),
            "minnctapersm" => bounds.minnctapersm = Some(self.directive_u32("a number of CTAs")?),
            "maxnreg" => bounds.maxnreg = Some(self.directive_u32("a number of registers")?),
            "maxclusterrank" => bounds.maxclusterrank = Some(self.directive_u32("a number of CTAs")?),
            "explicitcluster" => bounds.explicitcluster = true,
            "noreturn" => bounds.noreturn = true,
            "pragma" => self.pragma()?,
            // `.maxnctapersm`, the old name of a hint, and how many registers a callee keeps: advice.
            "maxnctapersm" | "abi_preserve" | "abi_preserve_control" => drop(self.directive_u32("a number")?),
            // `.blocksareclusters`: how a launch counts its grid.
            _ => {}
        }
        Ok(())
    }

    /// Up to three sizes; those that are missing are 1.
    fn three(&mut self) -> Read<[u32; 3]> {
        let mut sizes = [1; 3];
        for size in &mut sizes {
            *size = self.directive_u32("a size")?;
            if !self.eat(b',') {
                break;
            }
        }
        Ok(sizes)
    }

    /// Opens the function's scope and declares its parameters in it.
    fn begin(
        &mut self,
        id: FunctionId,
        token: Token,
        returns: &[Declarator<'t>],
        params: &[Declarator<'t>],
    ) -> Read<()> {
        self.scopes.open();
        self.function = Some(Current {
            id,
            registers: Vec::new(),
            body: Vec::new(),
            labels: Vec::new(),
            pending: Vec::new(),
            pending_targets: Vec::new(),
            loc: None,
        });
        let function = &mut self.module.functions[id.0 as usize];
        function.line = token.line;
        function.branch_targets.clear();
        function.prototypes.clear();
        let (old_returns, old_params) =
            (std::mem::take(&mut function.returns), std::mem::take(&mut function.params));
        let returns = self.declare_params(&old_returns, returns)?;
        let params = self.declare_params(&old_params, params)?;
        let function = &mut self.module.functions[id.0 as usize];
        (function.returns, function.params) = (returns, params);
        Ok(())
    }

    /// The variables of an earlier declaration are used again, so that each parameter is listed once.
    fn declare_params(&mut self, old: &[Param], new: &[Declarator<'t>]) -> Read<Vec<Param>> {
        let mut params = Vec::with_capacity(new.len());
        for (index, declarator) in new.iter().enumerate() {
            let (token, ptr) = (declarator.token, declarator.shape.ptr);
            if declarator.register {
                let register = self.declare_register(declarator.name, token, declarator.shape)?;
                params.push(Param { storage: ParamStorage::Register(register), ptr });
                continue;
            }
            let variable = self.variable(declarator, Space::Param, false, Image::default());
            let id = match old.get(index).map(|param| param.storage) {
                Some(ParamStorage::Memory(id)) => {
                    self.module.variables[id.0 as usize] = variable;
                    id
                }
                _ => self.push_variable(variable),
            };
            self.declare(declarator.name, Entity::Variable(id), token);
            params.push(Param { storage: ParamStorage::Memory(id), ptr });
        }
        Ok(params)
    }

    /// Resolves the labels and hands the function over to the module.
    fn finish(&mut self, id: FunctionId) {
        let Some(mut current) = self.function.take() else { return };
        let resolved: Vec<Operand> = current.pending.iter().map(|label| self.resolve(label)).collect();
        let mut put = |operand: &mut Operand| {
            if let Operand::Label(index) = operand {
                *operand = resolved.get(*index).cloned().unwrap_or(Operand::Sink);
            }
        };
        let mut last = None;
        for PendingLabel { instruction, .. } in &current.pending {
            // Labels stand in the order of their instructions, several of one beside each other.
            if last.replace(*instruction) == Some(*instruction) {
                continue;
            }
            if let Some(instruction) = current.body.get_mut(*instruction) {
                instruction.operands.iter_mut().for_each(|operand| change_operands(operand, &mut put));
            }
        }
        let mut targets = std::mem::take(&mut self.module.functions[id.0 as usize].branch_targets);
        for (list, label) in &current.pending_targets {
            if let Operand::Label(index) = self.resolve(label) {
                targets[*list].push(index);
            }
        }
        let function = &mut self.module.functions[id.0 as usize];
        function.branch_targets = targets;
        function.registers = current.registers;
        function.labels = current.labels;
        function.body = Some(current.body);
    }

    fn resolve(&mut self, label: &PendingLabel<'t>) -> Operand {
        match self.scopes.label(label.name, label.scope) {
            Some(Label::Instruction(index)) => Operand::Label(index),
            Some(Label::Targets(index)) => Operand::BranchTargets(index),
            Some(Label::Prototype(index)) => Operand::Prototype(index),
            None => {
                if label.certain {
                    let help = self.scopes.suggest_label(label.name, label.scope);
                    self.note(label.token, "no label of this name stands in this block or around it", help);
                } else {
                    self.unknown(label.name, label.token, label.scope);
                }
                Operand::Sink
            }
        }
    }

    /// Declares a label here, or notes that the name is taken.
    pub(super) fn declare_label(&mut self, name: &'t str, label: Label, token: Token) {
        if let Err(line) = self.scopes.declare_label(name, label, token.line) {
            self.note(token, format!("this name is declared already, in line {line}"), None);
        }
    }
}

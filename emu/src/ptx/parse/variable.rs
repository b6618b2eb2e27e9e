//! Declarations: types, shapes, variables, registers.

use super::initialiser::Image;
use super::{LARGEST_VARIABLE, Parser, Read};
use crate::ptx::ast::{RegId, Register, Space, SymbolId, Type, Variable};
use crate::ptx::lex::{Kind, Token};
use crate::ptx::scope::Entity;

/// The dimensions of an array.
const MOST_DIMENSIONS: usize = 16;

/// How a name is seen from other modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Linkage {
    /// No word, or `.visible`.
    Own,
    /// `.extern`: defined elsewhere, or later.
    Extern,
    /// `.weak` or `.common`: may be defined more than once.
    Weak,
}

/// What comes before the names of a declaration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) ty: Type,
    /// 2 or 4 for `.v2` and `.v4`, else 1.
    pub(super) lanes: u32,
    pub(super) align: Option<u32>,
    /// `.ptr`.
    pub(super) ptr: bool,
}

/// One name of a declaration.
#[derive(Debug, Clone)]
pub(super) struct Declarator<'t> {
    pub(super) name: &'t str,
    pub(super) token: Token,
    pub(super) shape: Shape,
    /// Dimensions from the outside, the lanes of a vector as the innermost; `None` for `[]`.
    pub(super) dimensions: Vec<Option<u64>>,
    /// Bytes in all, 0 where the outermost dimension is open.
    pub(super) size: u64,
    /// Declared with `.reg`.
    pub(super) register: bool,
}

impl Declarator<'_> {
    pub(super) fn open(&self) -> bool {
        self.dimensions.first() == Some(&None)
    }

    /// As declared, or natural: that of one element, or of one whole vector.
    pub(super) fn align(&self) -> u32 {
        self.shape.align.unwrap_or_else(|| self.shape.ty.bits().div_ceil(8) * self.shape.lanes)
    }
}

/// The type of a name after a dot.
pub(super) fn type_named(word: &str) -> Option<Type> {
    Some(match word {
        "pred" => Type::Pred,
        "b8" => Type::B(8),
        "b16" => Type::B(16),
        "b32" => Type::B(32),
        "b64" => Type::B(64),
        "b128" => Type::B(128),
        "u8" => Type::U(8),
        "u16" => Type::U(16),
        "u32" => Type::U(32),
        "u64" => Type::U(64),
        "s8" => Type::S(8),
        "s16" => Type::S(16),
        "s32" => Type::S(32),
        "s64" => Type::S(64),
        "f16" => Type::F(16),
        "f32" => Type::F(32),
        "f64" => Type::F(64),
        "f16x2" => Type::F16x2,
        "bf16" => Type::Bf16,
        "bf16x2" => Type::Bf16x2,
        _ => return None,
    })
}

impl<'t> Parser<'t> {
    /// `.align 8 .v4 .f32`, and for parameters `.ptr .global .align 16` after it.
    pub(super) fn shape(&mut self) -> Read<Shape> {
        let (mut align, mut lanes) = (None, 1);
        loop {
            if self.eat_dotted("align") {
                align = Some(self.alignment()?);
            } else if self.is_dotted("attribute") {
                self.attribute()?;
            } else if self.eat_dotted("v2") {
                lanes = 2;
            } else if self.eat_dotted("v4") {
                lanes = 4;
            } else {
                break;
            }
        }
        let token = self.token();
        let ty = match token.kind {
            Kind::Dotted => type_named(&self.word(token)[1..]),
            _ => None,
        };
        let Some(ty) = ty else {
            let opaque = matches!(self.word(token), ".texref" | ".samplerref" | ".surfref");
            let why =
                if opaque { "textures, samplers and surfaces are not supported" } else { "expected a type" };
            return self.fail(token, why);
        };
        self.advance();
        Ok(Shape { ty, lanes, align, ptr: false })
    }

    fn alignment(&mut self) -> Read<u32> {
        let token = self.token();
        let align = self.directive_u32("an alignment in bytes")?;
        if !align.is_power_of_two() {
            return self.fail(token, "an alignment must be a power of two");
        }
        Ok(align)
    }

    /// `.attribute(.managed, .unified(1, 2))`: where the driver puts a variable is no business of the reader.
    pub(super) fn attribute(&mut self) -> Read<()> {
        self.advance();
        self.expect(b'(', "after `.attribute`")?;
        let mut open = 1_usize;
        while open > 0 {
            match self.kind() {
                Kind::Punct(b'(') => open += 1,
                Kind::Punct(b')') => open -= 1,
                Kind::Punct(b',') | Kind::Dotted | Kind::Integer => {}
                _ => return self.fail_here("expected the attributes and `)`"),
            }
            self.advance();
        }
        Ok(())
    }

    /// A parameter of a function or prototype: `.param .u64 .ptr .global .align 16 name` or `.reg .b32 name`.
    pub(super) fn param_declaration(&mut self) -> Read<Declarator<'t>> {
        let register = self.eat_dotted("reg");
        if !register && !self.eat_dotted("param") {
            return self.fail_here("expected `.param` or `.reg`");
        }
        let mut shape = self.shape()?;
        if self.eat_dotted("ptr") {
            shape.ptr = true;
            while self.is(Kind::Dotted) {
                if self.eat_dotted("align") {
                    // What the pointer points to is aligned so, and not the parameter.
                    self.alignment()?;
                } else if !["global", "shared", "const", "local", "param"]
                    .iter()
                    .any(|space| self.eat_dotted(space))
                {
                    return self.fail_here("expected the space of a pointer, `.align` or the name");
                }
            }
        }
        let mut declarator = self.declarator(shape)?;
        declarator.register = register;
        if register && declarator.dimensions.len() > usize::from(shape.lanes > 1) {
            return self.fail(declarator.token, "a register is no array");
        }
        if !register {
            self.memory_type(&declarator)?;
        }
        Ok(declarator)
    }

    /// A name and its dimensions.
    fn declarator(&mut self, shape: Shape) -> Read<Declarator<'t>> {
        let (name, token) = self.expect_name("a name")?;
        let mut dimensions = Vec::new();
        while self.eat(b'[') {
            if self.is_punct(b']') && dimensions.is_empty() {
                dimensions.push(None);
            } else {
                dimensions.push(Some(self.directive_integer("the number of elements")?));
            }
            self.expect(b']', "after a dimension")?;
        }
        if dimensions.len() > MOST_DIMENSIONS {
            return self.fail(token, format!("an array has at most {MOST_DIMENSIONS} dimensions"));
        }
        if shape.lanes > 1 {
            dimensions.push(Some(u64::from(shape.lanes)));
        }
        let mut declarator = Declarator { name, token, shape, dimensions, size: 0, register: false };
        declarator.size = self.size(&declarator)?;
        Ok(declarator)
    }

    fn size(&mut self, declarator: &Declarator<'t>) -> Read<u64> {
        let element = u64::from(declarator.shape.ty.bits().div_ceil(8));
        let known = declarator.dimensions.iter().skip(usize::from(declarator.open()));
        let size = known.clone().flatten().try_fold(element, |size, n| size.checked_mul(*n));
        match size {
            Some(size) if size <= LARGEST_VARIABLE => Ok(if declarator.open() { 0 } else { size }),
            _ => self.fail(declarator.token, format!("a variable has at most {LARGEST_VARIABLE} bytes")),
        }
    }

    fn memory_type(&mut self, declarator: &Declarator<'t>) -> Read<()> {
        if declarator.shape.ty == Type::Pred {
            return self.fail(declarator.token, "a predicate lives in a register and not in memory");
        }
        Ok(())
    }

    /// The variables of one declaration; the space has been read.
    pub(super) fn variables(&mut self, space: Space, linkage: Linkage) -> Read<()> {
        let shape = self.shape()?;
        loop {
            let mut declarator = self.declarator(shape)?;
            self.memory_type(&declarator)?;
            let equals = self.token();
            let image = if self.eat(b'=') {
                if !matches!(space, Space::Global | Space::Const) {
                    return self.fail(equals, "only `.global` and `.const` variables have initial values");
                }
                self.initialiser(&mut declarator)?
            } else {
                Image::default()
            };
            self.complete(&declarator, space, linkage)?;
            self.declare_variable(&declarator, space, linkage, image);
            if !self.eat(b',') {
                break;
            }
        }
        self.expect(b';', "after a declaration")?;
        Ok(())
    }

    /// Whether all is known about how large a variable is; only what another module or the launch gives may be open.
    fn complete(&mut self, declarator: &Declarator<'t>, space: Space, linkage: Linkage) -> Read<()> {
        if declarator.size == 0 && linkage != Linkage::Extern && space != Space::Param {
            return self.fail(
                declarator.token,
                "an array without a size must be `.extern` or have an initial value",
            );
        }
        Ok(())
    }

    fn declare_variable(
        &mut self,
        declarator: &Declarator<'t>,
        space: Space,
        linkage: Linkage,
        image: Image,
    ) {
        let token = declarator.token;
        let variable = self.variable(declarator, space, linkage == Linkage::Extern, image);
        if self.function.is_none()
            && let Some(Entity::Variable(id)) = self.scopes.get_global(declarator.name)
            && self.redeclare(id, &variable, linkage)
        {
            return;
        }
        let id = self.push_variable(variable);
        if self.function.is_none() {
            self.linkage.insert(id, linkage);
        }
        self.declare(declarator.name, Entity::Variable(id), token);
    }

    /// A variable may be said to be elsewhere and then be here, or be weak and be here twice; the one that is here stays.
    fn redeclare(&mut self, id: SymbolId, new: &Variable, linkage: Linkage) -> bool {
        let earlier = self.linkage.get(&id).copied().unwrap_or(Linkage::Own);
        let old = &mut self.module.variables[id.0 as usize];
        let alike = old.space == new.space && old.ty.bits() == new.ty.bits();
        let same_size = old.size == new.size || old.size == 0 || new.size == 0;
        if !alike || !same_size || (earlier == Linkage::Own && linkage == Linkage::Own) {
            return false;
        }
        let replaces = earlier == Linkage::Extern || (earlier == Linkage::Weak && linkage == Linkage::Own);
        if replaces && linkage != Linkage::Extern {
            *old = new.clone();
            self.linkage.insert(id, linkage);
        }
        true
    }

    /// A variable as the module lists it.
    pub(super) fn variable(
        &self,
        declarator: &Declarator<'t>,
        space: Space,
        external: bool,
        image: Image,
    ) -> Variable {
        Variable {
            name: declarator.name.to_owned(),
            space,
            ty: declarator.shape.ty,
            size: declarator.size,
            align: declarator.align(),
            init: image.bytes,
            relocations: image.relocations,
            external,
            function: self.function.as_ref().map(|function| function.id),
            line: declarator.token.line,
        }
    }

    pub(super) fn push_variable(&mut self, variable: Variable) -> SymbolId {
        // A text of less than 4 GiB declares fewer variables than that.
        let id = SymbolId(self.module.variables.len() as u32);
        self.module.variables.push(variable);
        id
    }

    /// Declares a name here, or notes that it is declared already.
    pub(super) fn declare(&mut self, name: &'t str, entity: Entity, token: Token) {
        if let Err(line) = self.scopes.declare(name, entity, token.line) {
            self.note(token, format!("this name is declared already, in line {line}"), None);
        }
    }

    /// `.reg .b32 %r<53>, %x;`: the directive has been read.
    pub(super) fn registers(&mut self) -> Read<()> {
        let shape = self.shape()?;
        if shape.lanes > 1 && shape.ty == Type::Pred {
            return self.fail_here("a vector is not of predicates");
        }
        loop {
            let (name, token) = self.expect_name("a register")?;
            if self.eat(b'<') {
                let count = self.directive_u32("how many registers")?;
                self.expect(b'>', "after the number of registers")?;
                self.register_range(name, token, shape, count)?;
            } else {
                self.declare_register(name, token, shape)?;
            }
            if !self.eat(b',') {
                break;
            }
        }
        self.expect(b';', "after registers")?;
        Ok(())
    }

    fn register_range(&mut self, prefix: &'t str, token: Token, shape: Shape, count: u32) -> Read<()> {
        let first = self.new_registers(u64::from(count) * u64::from(shape.lanes), token)?;
        if let Err(line) = self.scopes.declare_range(prefix, first, count, shape.lanes, token.line) {
            self.note(token, format!("registers of this name are declared already, in line {line}"), None);
        }
        for index in 0..count {
            self.push_register(&format!("{prefix}{index}"), shape);
        }
        Ok(())
    }

    /// Declares one register, or one vector of them, and gives the first.
    pub(super) fn declare_register(&mut self, name: &'t str, token: Token, shape: Shape) -> Read<RegId> {
        let first = self.new_registers(u64::from(shape.lanes), token)?;
        let entity =
            if shape.lanes == 1 { Entity::Register(first) } else { Entity::Vector(first, shape.lanes) };
        self.declare(name, entity, token);
        self.push_register(name, shape);
        Ok(first)
    }

    fn push_register(&mut self, name: &str, shape: Shape) {
        let Some(function) = &mut self.function else { return };
        if shape.lanes == 1 {
            function.registers.push(Register { name: name.to_owned(), ty: shape.ty });
            return;
        }
        for component in ["x", "y", "z", "w"].iter().take(shape.lanes as usize) {
            function.registers.push(Register { name: format!("{name}.{component}"), ty: shape.ty });
        }
    }
}

//! The grammar, one file a part of it.

mod body;
mod call;
mod constant;
mod cursor;
mod directive;
mod function;
mod initialiser;
mod instruction;
mod operand;
mod variable;

use std::collections::HashMap;

use super::ast::{FunctionId, Instruction, Module, RegId, Register, SymbolId};
use super::error::{Errors, ReadError};
use super::lex::{Kind, Token, lex};
use super::scope::Scopes;

/// Reads a PTX text.
///
/// # Errors
///
/// All that is wrong with it, in the order of the text, up to a number beyond which more would not help.
pub fn parse(text: &str) -> Result<Module, Vec<ReadError>> {
    let mut errors = Errors::new(text);
    if u32::try_from(text.len()).is_err() {
        errors.add(0, 0, 1, "a PTX text must be shorter than 4 GiB".to_owned(), None);
        return Err(errors.finish());
    }
    let tokens = lex(text, &mut errors);
    let mut parser = Parser::new(text, tokens, errors);
    parser.module();
    let errors = parser.errors.finish();
    if errors.is_empty() { Ok(parser.module) } else { Err(errors) }
}

/// An error was noted, and the statement cannot be read on: go to the next one.
#[derive(Debug)]
struct Skip;

/// What a part of the grammar gives.
type Read<T> = Result<T, Skip>;

/// Registers of one function and of the whole text: more than any program has, few enough to list.
const REGISTERS_OF_FUNCTION: usize = 1 << 20;
const REGISTERS_OF_TEXT: usize = 1 << 21;
/// Bytes of one variable.
const LARGEST_VARIABLE: u64 = 1 << 40;
/// Bytes of the images of initialisers, besides what the length of the text accounts for.
const IMAGE_BYTES: u64 = 64 << 20;
/// Brackets inside each other in an expression or an operand.
const DEEPEST_BRACKETS: u32 = 32;

/// A label used as an operand, whose index is not known before the function's end.
#[derive(Debug, Clone, Copy)]
struct PendingLabel<'t> {
    name: &'t str,
    token: Token,
    scope: usize,
    instruction: usize,
    /// Whether the instruction can only mean a label, as `bra` does.
    certain: bool,
}

/// The function whose body is being read.
#[derive(Debug)]
struct Current<'t> {
    id: FunctionId,
    registers: Vec<Register>,
    body: Vec<Instruction>,
    labels: Vec<(String, usize)>,
    pending: Vec<PendingLabel<'t>>,
    /// Names in the lists of branch targets, which are resolved at the end too: list, name.
    pending_targets: Vec<(usize, PendingLabel<'t>)>,
    loc: Option<(u32, u32, u32)>,
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    errors: Errors<'t>,
    module: Module,
    scopes: Scopes<'t>,
    function: Option<Current<'t>>,
    /// `.alias`: name and what it stands for.
    aliases: HashMap<FunctionId, FunctionId>,
    /// How each variable of the module was declared, since some may be declared again.
    linkage: HashMap<SymbolId, variable::Linkage>,
    registers_left: usize,
    image_left: u64,
    brackets: u32,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str, tokens: Vec<Token>, errors: Errors<'t>) -> Self {
        Parser {
            text,
            tokens,
            at: 0,
            errors,
            module: Module { address_size: 64, ..Module::default() },
            scopes: Scopes::new(),
            function: None,
            aliases: HashMap::new(),
            linkage: HashMap::new(),
            registers_left: REGISTERS_OF_TEXT,
            image_left: IMAGE_BYTES + 16 * text.len() as u64,
            brackets: 0,
        }
    }

    /// The whole text.
    fn module(&mut self) {
        if self.header().is_err() {
            self.recover_module();
        }
        while !self.is(Kind::End) && !self.errors.full() {
            if self.module_statement().is_err() {
                self.recover_module();
            }
        }
        self.resolve_aliases();
    }

    /// Numbers the registers of the current function on.
    fn new_registers(&mut self, count: u64, token: Token) -> Read<RegId> {
        let have = self.function.as_ref().map_or(0, |function| function.registers.len());
        let fits = usize::try_from(count).is_ok_and(|count| {
            count <= self.registers_left && count <= REGISTERS_OF_FUNCTION.saturating_sub(have)
        });
        if !fits {
            let limit =
                format!("a function may have {REGISTERS_OF_FUNCTION} registers, a text {REGISTERS_OF_TEXT}");
            return self.fail(token, limit);
        }
        self.registers_left -= count as usize;
        Ok(RegId(have as u32))
    }
}

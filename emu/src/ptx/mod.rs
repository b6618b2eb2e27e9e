//! The reader: PTX text to a [`Module`] whose registers, labels and symbols are resolved.
//!
//! It knows the grammar and the scopes and not the instruction set: an opcode, its modifiers and its operands are kept as
//! written, in order. What is not PTX, and every name that resolves to nothing, is an error with its place; the reader
//! goes on at the next statement and reports all it finds.
//!
//! ```
//! let text = ".version 8.8\n.target sm_90a\n.entry k() { .reg .b32 %r<3>; add.s32 %r2, %r1, 4; ret; }";
//! let module = jet_emu::ptx::parse(text).expect("the text is PTX");
//! let kernel = &module.functions[0];
//! let body = kernel.body.as_deref().expect("it has a body");
//! assert_eq!(jet_emu::ptx::print_instruction(&module, kernel, &body[0]), "add.s32 %r2, %r1, 4;");
//! ```

mod ast;
mod error;
mod lex;
mod parse;
mod print;
mod scope;
mod special;

pub use ast::*;
pub use error::ReadError;
pub use parse::parse;
pub use print::print_instruction;
pub use special::is_special_register;

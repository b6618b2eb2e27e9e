//! The reader: PTX text to a [`Module`] whose registers, labels and symbols are resolved.

mod ast;

pub use ast::*;

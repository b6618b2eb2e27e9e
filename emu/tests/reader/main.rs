//! The PTX reader as its users see it: what it reads, what it refuses and how it says so.

mod errors;
mod fixtures;
mod fuzz;
mod grammar;
mod memory;
mod round_trip;

use jet_emu::ptx::{Function, Module, ReadError, parse, print_instruction};

/// A text around declarations of module scope.
fn with_header(text: &str) -> String {
    format!(".version 8.8\n.target sm_90a\n.address_size 64\n{text}\n")
}

/// A kernel with registers of every kind and these statements; the first of them stands in line 6.
fn kernel(globals: &str, body: &str) -> String {
    let globals = globals.replace('\n', " ");
    let registers =
        ".reg .pred %p<4>; .reg .b16 %rs<8>; .reg .b32 %r<10>; .reg .f32 %f<8>; .reg .b64 %rd<10>;";
    with_header(&format!("{globals} .entry k(.param .u64 k_a) {{ {registers}\n\n{body}\n}}"))
}

/// The module of a kernel that must be right.
fn read(globals: &str, body: &str) -> Module {
    let text = kernel(globals, body);
    parse(&text).unwrap_or_else(|errors| panic!("{}", show(&errors, &text)))
}

fn show(errors: &[ReadError], text: &str) -> String {
    errors.iter().map(|error| error.show(text)).collect::<Vec<_>>().join("\n")
}

/// The errors of a kernel that must be wrong.
fn errors(globals: &str, body: &str) -> Vec<ReadError> {
    let text = kernel(globals, body);
    match parse(&text) {
        Ok(_) => panic!("this was read:\n{text}"),
        Err(errors) => errors,
    }
}

/// The kernel of `read`, which is the last function.
fn last(module: &Module) -> &Function {
    module.functions.last().expect("a function")
}

/// Its instructions, printed.
fn printed(module: &Module) -> Vec<String> {
    let function = last(module);
    function
        .body
        .iter()
        .flatten()
        .map(|instruction| print_instruction(module, function, instruction))
        .collect()
}

/// What one statement is in normal form.
fn normal(globals: &str, statement: &str) -> String {
    printed(&read(globals, statement)).join(" ")
}

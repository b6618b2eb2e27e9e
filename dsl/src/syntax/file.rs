//! Every `jet_model!` of a Rust source file, for tools that are handed a path instead of a compiler's tokens.

use super::model::{Definition, parse};
use crate::spec::ModelSpec;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use std::fmt;

/// Nesting of brackets that is followed; no hand-written file comes near it.
const MAX_DEPTH: usize = 128;

/// One fault of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Line, the first being 1.
    pub line: usize,
    /// Column in characters, the first being 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message.replace('\n', "\n    "))
    }
}

/// All faults of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The faults in the order of the file.
    pub faults: Vec<Located>,
}

impl std::error::Error for FileError {}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.faults.iter().map(Located::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl From<syn::Error> for FileError {
    fn from(error: syn::Error) -> Self {
        let located = |e: syn::Error| {
            let start = e.span().start();
            Located { line: start.line, column: start.column + 1, message: e.to_string() }
        };
        let mut faults: Vec<Located> = error.into_iter().map(located).collect();
        faults.sort_by_key(|f| (f.line, f.column));
        Self { faults }
    }
}

/// Every model that a Rust source file declares with `jet_model!` (by that name, or by a path that ends in
/// it), in nested modules and functions too, in the order of the file. A name is the type's, with its modules
/// before it (`a::Name`) where the file has several of the same name. Bodies of `macro_rules!` are skipped.
///
/// # Errors
/// Every fault of every definition, or that the file is not Rust, with lines and columns.
pub fn file(text: &str) -> Result<Vec<(String, ModelSpec)>, FileError> {
    let tokens: TokenStream = text.parse().map_err(|e: proc_macro2::LexError| {
        let start = e.span().start();
        let message = "this is not Rust source: a bracket or a literal is not closed".to_owned();
        FileError { faults: vec![Located { line: start.line, column: start.column + 1, message }] }
    })?;
    let mut found = Vec::new();
    walk(tokens, &mut Vec::new(), 0, &mut found);
    let mut models: Vec<(Vec<String>, Definition)> = Vec::new();
    let mut faults = Vec::new();
    for (modules, group) in found {
        match parse(group.stream()) {
            Ok(definition) => models.push((modules, definition)),
            Err(error) => faults.extend(FileError::from(error).faults),
        }
    }
    if !faults.is_empty() {
        return Err(FileError { faults });
    }
    let unique = |name: &syn::Ident| models.iter().filter(|(_, d)| d.header.ident == *name).count() == 1;
    let named = |(modules, d): &(Vec<String>, Definition)| {
        let ident = &d.header.ident;
        if unique(ident) { ident.to_string() } else { format!("{}{ident}", prefix(modules)) }
    };
    Ok(models.iter().map(|m| (named(m), m.1.spec.clone())).collect())
}

fn prefix(modules: &[String]) -> String {
    modules.iter().map(|m| format!("{m}::")).collect()
}

/// Collects the groups behind `jet_model!`, with the modules around each.
fn walk(tokens: TokenStream, modules: &mut Vec<String>, depth: usize, found: &mut Vec<(Vec<String>, Group)>) {
    if depth > MAX_DEPTH {
        return;
    }
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let word = |i: usize| match tokens.get(i) {
        Some(TokenTree::Ident(word)) => Some(word.to_string()),
        _ => None,
    };
    let bang = |i: usize| matches!(tokens.get(i), Some(TokenTree::Punct(p)) if p.as_char() == '!');
    for (i, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        if i >= 2 && bang(i - 1) && word(i - 2).as_deref() == Some("jet_model") {
            found.push((modules.clone(), group.clone()));
            continue;
        }
        if i >= 3 && bang(i - 2) && word(i - 3).as_deref() == Some("macro_rules") {
            continue;
        }
        let module =
            (i >= 2 && group.delimiter() == Delimiter::Brace && word(i - 2).as_deref() == Some("mod"))
                .then(|| word(i - 1))
                .flatten();
        let inside = module.is_some();
        modules.extend(module);
        walk(group.stream(), modules, depth + 1, found);
        if inside {
            modules.pop();
        }
    }
}

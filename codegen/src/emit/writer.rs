//! One source from its parts.

use super::library::{self, Item};
use super::namer;
use crate::arch::Arch;
use crate::kernel::launch::signature;
use crate::kernel::{Entry, Formats, Scratch, Source};
use crate::schedule::{Problem, Values};
use std::fmt::{Display, Write as _};

/// Raised when a change of the writer or of the primitives changes every source.
pub(super) const CODEGEN: u32 = 1;

/// Collects what a source is made of. The order of the calls is the order of the lines.
pub struct Writer {
    identity: String,
    constants: String,
    types: String,
    /// The family's own items.
    items: Vec<Item>,
}

impl Writer {
    /// A source for `problem` with `values` on `arch`, by `form`. `templates` are the family's files: stem and
    /// text, in the order they are printed.
    ///
    /// The problem's `tokens` and `context` are no part of the identity: they choose a schedule and change nothing else.
    pub fn new(
        problem: &Problem,
        form: &str,
        values: &Values,
        arch: &Arch,
        templates: &[(&'static str, &'static str)],
    ) -> Self {
        let mut shown = problem.clone();
        shown.dims.remove("tokens");
        shown.dims.remove("context");
        let identity = format!(
            "// {shown} | {form} | {arch} | codegen {CODEGEN}\n// again: jet emit '{shown}' --arch {arch} --schedule '{values}'\n",
        );
        let mut w = Self {
            identity,
            constants: String::new(),
            types: String::new(),
            items: templates.iter().flat_map(|(stem, text)| library::items(stem, text)).collect(),
        };
        for (name, value) in &values.0 {
            if name != "form" {
                w.integer(name, *value);
            }
        }
        w
    }

    fn constant(&mut self, ty: &str, name: &str, value: impl Display) -> &mut Self {
        let _ = writeln!(self.constants, "constexpr {ty} {} = {value};", namer::constant(name));
        self
    }

    /// `constexpr int kName = value;`
    pub fn integer(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.constant("int", name, value)
    }

    /// `constexpr bool kName = value;`
    pub fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.constant("bool", name, value)
    }

    /// A constant for each of the problem's sizes called so.
    pub fn sizes(&mut self, problem: &Problem, names: &[&str]) -> &mut Self {
        for name in names {
            self.integer(name, problem.dim(name));
        }
        self
    }

    /// `using RoleType = …;` for each role.
    pub fn types(&mut self, formats: &Formats, roles: &[&str]) -> &mut Self {
        for role in roles {
            self.alias(&namer::element_type(role), formats.get(role).cuda());
        }
        self
    }

    /// `using name = meaning;`
    pub fn alias(&mut self, name: &str, meaning: &str) -> &mut Self {
        let _ = writeln!(self.types, "using {name} = {meaning};");
        self
    }

    /// A function of the source that Rust writes, such as an instruction of many operands. It stands with the types and
    /// may use no item of the family.
    pub fn written(&mut self, text: &str) -> &mut Self {
        let _ = write!(self.types, "\n{text}");
        self
    }

    /// The source: constants, the primitives that the entries reach, types, the family's parts.
    ///
    /// # Panics
    /// Where the template lacks an entry or has a parameter that nothing binds, which is a fault of the template.
    pub fn finish(&mut self, mut entries: Vec<Entry>, scratch: Vec<Scratch>) -> Source {
        let names: Vec<&str> = entries.iter().map(|e| e.name.as_str()).collect();
        let own = library::reached(&self.items, &names);
        let texts: Vec<&str> = own.iter().map(|i| i.text).chain([self.types.as_str()]).collect();
        let mut text = self.identity.clone();
        text.push_str(&self.constants);
        let mut file = "";
        for item in library::reached(library::tiles(), &texts) {
            if item.file != file {
                file = item.file;
                let _ = write!(text, "\n// ---- {file} ----\n");
            }
            let _ = write!(text, "{}\n\n", item.text);
        }
        let _ = write!(text, "\n// ---- {} ----\n{}", own.first().map_or("", |i| i.file), self.types);
        for item in &own {
            let _ = write!(text, "\n{}\n", item.text);
        }
        for entry in &mut entries {
            entry.args = match signature(&text, &entry.name) {
                Ok(args) => args,
                Err(e) => panic!("{}: {e}", self.identity.lines().next().unwrap_or_default()),
            };
        }
        Source { text, entries, scratch }
    }
}

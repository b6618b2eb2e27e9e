//! Names and what they stand for. Every `{ }` is a scope of its own; inner names shadow outer ones.

use std::collections::HashMap;

use super::ast::{FunctionId, RegId, SymbolId};
use super::error::nearest;

/// What a name that must be declared before its use stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entity {
    /// A register.
    Register(RegId),
    /// A vector of registers: the first, and how many.
    Vector(RegId, u32),
    /// A variable or parameter.
    Variable(SymbolId),
    /// A function.
    Function(FunctionId),
}

/// What a name before a colon stands for. It may be used before it is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    /// An instruction.
    Instruction(usize),
    /// A list of branch targets.
    Targets(usize),
    /// The shape of a call.
    Prototype(usize),
}

/// `%r<53>`: names that are made of a prefix and a number.
#[derive(Debug, Clone, Copy)]
struct Range {
    first: RegId,
    count: u32,
    /// Registers of one name: more than one for vectors.
    lanes: u32,
    line: u32,
}

impl Range {
    fn get(&self, digits: &str) -> Option<Entity> {
        let plain = !digits.is_empty() && (digits.len() == 1 || !digits.starts_with('0'));
        let index: u32 = if plain { digits.parse().ok()? } else { return None };
        (index < self.count).then(|| {
            // The declaration has checked that all of its registers have numbers.
            let register = RegId(self.first.0 + index * self.lanes);
            if self.lanes == 1 { Entity::Register(register) } else { Entity::Vector(register, self.lanes) }
        })
    }
}

#[derive(Debug, Default)]
struct Scope<'t> {
    parent: Option<usize>,
    names: HashMap<&'t str, (Entity, u32)>,
    ranges: HashMap<&'t str, Range>,
    labels: HashMap<&'t str, (Label, u32)>,
}

impl Scope<'_> {
    /// What `name` is in this very scope. A range may be met at any of the digits that end the name: `a11` is of `a<20>`
    /// or of `a1<20>`.
    fn get(&self, name: &str) -> Option<(Entity, u32)> {
        if let Some(found) = self.names.get(name) {
            return Some(*found);
        }
        if self.ranges.is_empty() {
            return None;
        }
        let digits = name.bytes().rev().take(10).take_while(u8::is_ascii_digit).count();
        (name.len() - digits..name.len()).find_map(|at| {
            let range = self.ranges.get(&name[..at])?;
            Some((range.get(&name[at..])?, range.line))
        })
    }
}

/// The scopes of the module and of the function that is being read. Those of a function are kept to its end, since its
/// labels are resolved only then.
#[derive(Debug)]
pub(super) struct Scopes<'t> {
    all: Vec<Scope<'t>>,
    current: usize,
    depth: usize,
}

/// Blocks inside each other: more than any compiler nests, few enough to look through for every name.
pub(super) const DEEPEST: usize = 128;

impl<'t> Scopes<'t> {
    pub(super) fn new() -> Self {
        Scopes { all: vec![Scope::default()], current: 0, depth: 0 }
    }

    /// Opens a scope inside the current one; false when they are too deep.
    pub(super) fn open(&mut self) -> bool {
        if self.depth == DEEPEST {
            return false;
        }
        self.all.push(Scope { parent: Some(self.current), ..Scope::default() });
        self.current = self.all.len() - 1;
        self.depth += 1;
        true
    }

    /// Closes the current scope; its names can no longer be found from outside.
    pub(super) fn close(&mut self) {
        if let Some(parent) = self.all[self.current].parent {
            self.current = parent;
            self.depth -= 1;
        }
    }

    /// Leaves the function: only the module's names remain.
    pub(super) fn leave_function(&mut self) {
        self.all.truncate(1);
        self.current = 0;
        self.depth = 0;
    }

    /// The scope that names are declared in now, to look a label up from it later.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// How many scopes are open besides the module's.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    fn chain(&self, from: usize) -> impl Iterator<Item = &Scope<'t>> {
        std::iter::successors(self.all.get(from), |scope| scope.parent.map(|parent| &self.all[parent]))
    }

    /// What `name` stands for here.
    pub(super) fn get(&self, name: &str) -> Option<Entity> {
        self.chain(self.current).find_map(|scope| scope.get(name)).map(|(entity, _)| entity)
    }

    /// What `name` stands for among the module's own names.
    pub(super) fn get_global(&self, name: &str) -> Option<Entity> {
        self.all[0].names.get(name).map(|(entity, _)| *entity)
    }

    /// Declares a name in the current scope, or gives the line of the declaration that stands there already.
    pub(super) fn declare(&mut self, name: &'t str, entity: Entity, line: u32) -> Result<(), u32> {
        let scope = &mut self.all[self.current];
        if let Some((_, earlier)) = scope.get(name) {
            return Err(earlier);
        }
        if let Some((_, earlier)) = scope.labels.get(name) {
            return Err(*earlier);
        }
        scope.names.insert(name, (entity, line));
        Ok(())
    }

    /// Declares `prefix<count>` in the current scope.
    pub(super) fn declare_range(
        &mut self,
        prefix: &'t str,
        first: RegId,
        count: u32,
        lanes: u32,
        line: u32,
    ) -> Result<(), u32> {
        let ranges = &mut self.all[self.current].ranges;
        if let Some(earlier) = ranges.get(prefix) {
            return Err(earlier.line);
        }
        ranges.insert(prefix, Range { first, count, lanes, line });
        Ok(())
    }

    /// Declares a label in the current scope.
    pub(super) fn declare_label(&mut self, name: &'t str, label: Label, line: u32) -> Result<(), u32> {
        let scope = &mut self.all[self.current];
        if let Some((_, earlier)) = scope.get(name) {
            return Err(earlier);
        }
        if let Some((_, earlier)) = scope.labels.get(name) {
            return Err(*earlier);
        }
        scope.labels.insert(name, (label, line));
        Ok(())
    }

    /// The label that `name` means in scope `from`.
    pub(super) fn label(&self, name: &str, from: usize) -> Option<Label> {
        self.chain(from).find_map(|scope| scope.labels.get(name)).map(|(label, _)| *label)
    }

    /// What may have been meant by a name that stands for nothing in scope `from`.
    pub(super) fn suggest(&self, name: &str, from: usize) -> Option<String> {
        if let Some(help) = self.chain(from).find_map(|scope| beyond_range(scope, name)) {
            return Some(help);
        }
        let names = self.chain(from).flat_map(|scope| scope.names.keys().chain(scope.labels.keys()).copied());
        let exact = nearest(name, names);
        if let Some(near) = exact {
            return Some(format!("did you mean `{near}`?"));
        }
        // `%rd7` where only `%r<…>` and `%d<…>` are declared: the prefix is what was misspelt.
        let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (prefix, number) = name.split_at(name.len() - digits);
        let index: u32 = number.parse().ok()?;
        let holding = |(prefix, range): (&&'t str, &Range)| (index < range.count).then_some(*prefix);
        let near =
            nearest(prefix, self.chain(from).flat_map(|scope| scope.ranges.iter().filter_map(holding)))?;
        Some(format!("did you mean `{near}{number}`?"))
    }

    /// The label that may have been meant.
    pub(super) fn suggest_label(&self, name: &str, from: usize) -> Option<String> {
        let labels = self.chain(from).flat_map(|scope| scope.labels.keys().copied());
        if let Some(near) = nearest(name, labels) {
            return Some(format!("did you mean `{near}`?"));
        }
        let hidden = self.all.iter().skip(1).any(|scope| scope.labels.contains_key(name));
        hidden.then(|| "a label of that name stands in another block".to_owned())
    }
}

/// `%r53` where `%r<53>` is declared.
fn beyond_range(scope: &Scope<'_>, name: &str) -> Option<String> {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (prefix, number) = name.split_at(name.len() - digits);
    let range = scope.ranges.get(prefix)?;
    if number.is_empty() || range.count == 0 {
        return None;
    }
    let last = range.count - 1;
    Some(format!(
        "line {} declares `{prefix}<{}>`, the last of which is `{prefix}{last}`",
        range.line, range.count
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_exactly_its_numbers() {
        let mut scopes = Scopes::new();
        scopes.declare_range("%r", RegId(10), 53, 1, 1).expect("the first of its name");
        assert_eq!(scopes.get("%r0"), Some(Entity::Register(RegId(10))));
        assert_eq!(scopes.get("%r52"), Some(Entity::Register(RegId(62))));
        for name in ["%r53", "%r", "%r01", "%r99999999999999", "%rd1", ""] {
            assert_eq!(scopes.get(name), None, "{name}");
        }
        assert_eq!(scopes.declare("%r52", Entity::Register(RegId(99)), 2), Err(1));
        assert_eq!(scopes.declare_range("%r", RegId(99), 1, 1, 2), Err(1));
    }

    #[test]
    fn prefixes_may_end_in_digits() {
        let mut scopes = Scopes::new();
        scopes.declare_range("a1", RegId(100), 20, 1, 1).expect("new");
        assert_eq!(scopes.get("a119"), Some(Entity::Register(RegId(119))));
        assert_eq!(scopes.get("a1"), None);
        scopes.declare_range("a", RegId(0), 20, 1, 1).expect("new");
        assert_eq!(scopes.get("a1"), Some(Entity::Register(RegId(1))));
        assert_eq!(scopes.get("a119"), Some(Entity::Register(RegId(119))));
    }

    #[test]
    fn inner_names_shadow_and_go_with_their_block() {
        let mut scopes = Scopes::new();
        scopes.open();
        scopes.declare("p", Entity::Register(RegId(1)), 1).expect("new");
        scopes.open();
        assert_eq!(scopes.get("p"), Some(Entity::Register(RegId(1))));
        scopes.declare("p", Entity::Register(RegId(2)), 2).expect("new in this block");
        assert_eq!(scopes.get("p"), Some(Entity::Register(RegId(2))));
        scopes.close();
        assert_eq!(scopes.get("p"), Some(Entity::Register(RegId(1))));
    }

    #[test]
    fn labels_are_found_outwards_only() {
        let mut scopes = Scopes::new();
        scopes.open();
        let outer = scopes.current();
        scopes.open();
        let inner = scopes.current();
        scopes.declare_label("wait", Label::Instruction(3), 1).expect("new");
        scopes.close();
        scopes.declare_label("done", Label::Instruction(5), 2).expect("new");
        assert_eq!(scopes.label("done", inner), Some(Label::Instruction(5)));
        assert_eq!(scopes.label("wait", outer), None);
        assert_eq!(
            scopes.suggest_label("wait", outer).as_deref(),
            Some("a label of that name stands in another block")
        );
    }

    #[test]
    fn a_register_beyond_its_range_is_explained() {
        let mut scopes = Scopes::new();
        scopes.declare_range("%rd", RegId(0), 4, 1, 7).expect("new");
        let help = scopes.suggest("%rd4", 0).expect("a range is near");
        assert_eq!(help, "line 7 declares `%rd<4>`, the last of which is `%rd3`");
        assert_eq!(scopes.suggest("%rt2", 0).as_deref(), Some("did you mean `%rd2`?"));
        assert_eq!(scopes.suggest("%zz9", 0), None);
    }
}

//! The rules that make a model illegal: one small function each, all of them run, all faults reported.
//!
//! A rule names both sides in plain words and the fields it is about, so that each front end can put it where
//! its reader looks: `jet_model!` on the token, a config import on the config's own field. What rustc or a
//! parser says better (a word in place of a number, say) is not judged here.

mod attention;
mod jet_block;
mod mamba2;
mod mlp;
mod model;
mod moe;

use crate::block::Block;
use crate::diagnostic::Diagnostic;
use crate::spec::ModelSpec;
use std::fmt;

/// Largest single size (heads, widths, experts' widths) of a block or of the residual stream.
///
/// The limits exist so that no product of sizes anywhere overflows; they are far above any model built.
pub const MAX_SIZE: u32 = 1 << 20;
/// Largest width that is a product of sizes, heads × head width say.
pub const MAX_WIDTH: u64 = 1 << 24;
/// Most taps of a convolution.
pub const MAX_TAPS: u32 = 1 << 10;
/// Most routed experts of one block.
pub const MAX_EXPERTS: u32 = 1 << 16;
/// Most parameters of a model.
pub const MAX_PARAMS: u128 = 1 << 53;
/// Most bytes of the keys and values of one sequence at `max_context`, in float32 and with as many key/value
/// heads as query heads.
pub const MAX_CACHE: u128 = 1 << 60;
/// Most weight tensors of a model.
pub const MAX_TENSORS: u128 = 1 << 20;

/// Where a fault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A field of the model.
    Model(&'static str),
    /// A place in the flat pattern.
    Pattern,
    /// The binding of a symbol as a whole.
    Binding(char),
    /// Fields of the block bound to a symbol; the first is to blame, the others are involved.
    Block(char, &'static str, Vec<&'static str>),
}

/// One violated rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What is wrong and what would be right, without the place. For [`Place::Pattern`] the ranges are in
    /// bytes of the flat pattern; elsewhere they are empty.
    pub what: Diagnostic,
    /// The flat pattern, where the fault is in it.
    pub pattern: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Model(field) => write!(f, "{field}: {}", self.what.one_line()),
            Place::Pattern => match &self.pattern {
                Some(flat) => write!(f, "pattern: {}", self.what.render(flat)),
                None => write!(f, "pattern: {}", self.what.one_line()),
            },
            Place::Binding(symbol) => write!(f, "block `{symbol}`: {}", self.what.one_line()),
            Place::Block(symbol, kind, _) => {
                write!(f, "block `{symbol}` ({kind}): {}", self.what.one_line())
            }
        }
    }
}

/// Every fault of a model, whatever front end it came from. Empty: the model is legal, and no size, count or
/// byte figure that [`ModelSpec`] computes for it overflows (contexts up to its `max_context`).
pub fn check(spec: &ModelSpec) -> Vec<Fault> {
    run(spec, false)
}

/// As [`check`], and what nobody would write on purpose in a definition of their own: a binding that the
/// pattern never uses, a reduction that leaves a remainder. Configs of published models may have the latter.
pub fn check_definition(spec: &ModelSpec) -> Vec<Fault> {
    run(spec, true)
}

fn run(spec: &ModelSpec, definition: bool) -> Vec<Fault> {
    let mut report = Report { faults: Vec::new(), flat: &spec.pattern, definition };
    for rule in model::RULES {
        rule(spec, &mut report);
    }
    for binding in spec.bindings.iter() {
        let mut block =
            BlockReport { report: &mut report, symbol: binding.symbol, kind: binding.block.name() };
        match &binding.block {
            Block::Mamba2(b) => mamba2::check(b, &mut block),
            Block::Attention(b) => attention::check(b, &mut block),
            Block::Mlp(b) => mlp::check(b, &mut block),
            Block::JetBlock(b) => jet_block::check(b, &mut block),
            Block::Moe(b) => moe::check(b, &mut block),
        }
    }
    // Totals are only meaningful, and only free of overflow, once every single size is in its range.
    if report.faults.is_empty() {
        model::totals(spec, &mut report);
    }
    report.faults
}

/// Collects the faults of a model.
struct Report<'a> {
    faults: Vec<Fault>,
    flat: &'a str,
    definition: bool,
}

impl Report<'_> {
    fn model(&mut self, field: &'static str, message: String, help: &str) {
        self.push(Place::Model(field), Diagnostic::new(0..0, message).help(help));
    }

    fn pattern(&mut self, fault: Diagnostic) {
        let flat = self.flat.to_owned();
        self.faults.push(Fault { place: Place::Pattern, what: fault, pattern: Some(flat) });
    }

    fn push(&mut self, place: Place, what: Diagnostic) {
        self.faults.push(Fault { place, what, pattern: None });
    }
}

/// Collects the faults of one bound block.
struct BlockReport<'a, 'b> {
    report: &'a mut Report<'b>,
    symbol: char,
    kind: &'static str,
}

impl BlockReport<'_, '_> {
    /// A fault that `fields` are involved in; the first is to blame.
    fn fault(&mut self, fields: &[&'static str], message: String, help: impl Into<String>) {
        let place = Place::Block(self.symbol, self.kind, fields.to_vec());
        self.report.push(place, Diagnostic::new(0..0, message).help(help));
    }

    /// Rules that only a definition has to keep.
    fn definition(&self) -> bool {
        self.report.definition
    }

    /// A size must be between 1 and [`MAX_SIZE`].
    fn size(&mut self, field: &'static str, value: u32) -> bool {
        self.between(field, value, 1, MAX_SIZE)
    }

    fn between(&mut self, field: &'static str, value: u32, least: u32, most: u32) -> bool {
        let fits = (least..=most).contains(&value);
        if !fits {
            self.fault(&[field], format!("{field} is {value}"), format!("it must be from {least} to {most}"));
        }
        fits
    }

    /// A width that is a product must not pass [`MAX_WIDTH`].
    fn width(&mut self, fields: &[&'static str], value: u64) -> bool {
        let fits = value <= MAX_WIDTH;
        if !fits {
            let product = fields.join(" × ");
            self.fault(fields, format!("{product} is {value}"), format!("the limit is {MAX_WIDTH}"));
        }
        fits
    }

    /// `part` must divide `whole`. Zero is left to the rule on sizes.
    fn divides(&mut self, (part, p): (&'static str, u32), (whole, w): (&'static str, u32), why: &str) {
        if p != 0 && !w.is_multiple_of(p) {
            // Searching among sizes that are out of range anyway could take long.
            let help = if w <= MAX_SIZE {
                format!("{part} could be {}", divisors_near(w, p))
            } else {
                format!("{part} must divide {whole}")
            };
            self.fault(&[part, whole], format!("{part} ({p}) does not divide {whole} ({w}): {why}"), help);
        }
    }

    /// An epsilon under a root.
    fn epsilon(&mut self, field: &'static str, value: f64) {
        if !(value > 0.0 && value.is_finite()) {
            self.fault(&[field], format!("{field} is {value}"), "it must be above 0; 1e-5 is usual");
        }
    }
}

/// The divisors of `whole` next to `part` on either side, in words.
fn divisors_near(whole: u32, part: u32) -> String {
    let below = (1..=part.min(whole)).rev().find(|d| whole.is_multiple_of(*d));
    let above = (part..=whole).find(|d| whole.is_multiple_of(*d));
    match (below, above) {
        (Some(b), Some(a)) if a != b => format!("{b} or {a}"),
        (Some(d), _) | (None, Some(d)) => d.to_string(),
        (None, None) => "1".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests;

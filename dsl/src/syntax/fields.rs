//! Typed reading of entries against a table of fields: unknown, duplicate and missing ones are reported, and
//! a value of the wrong type is, on its token.

use super::entry::{Cursor, Entry, Value, entries};
use super::report::Report;
use crate::block::{Act, FieldInfo, Rope, RopeScaling, Takes};
use crate::suggest::{all_of, closest};
use proc_macro2::{Delimiter, Group, Ident, Span};
use std::collections::BTreeMap;
use syn::{Lit, LitStr};

/// The entries of one thing, a model or a block, against the table of what it takes.
pub(super) struct Fields<'r> {
    pub report: &'r mut Report,
    table: &'static [FieldInfo],
    values: BTreeMap<&'static str, Value>,
    /// Where each field's value stands.
    pub spans: BTreeMap<&'static str, Span>,
    /// Fields that could not be read; rules that involve them are not judged.
    pub bad: Vec<&'static str>,
}

impl<'r> Fields<'r> {
    /// Sorts `found` into `table`. `owner` and its span are what a missing field is reported on.
    pub(super) fn new(
        owner: &str,
        owner_span: Span,
        table: &'static [FieldInfo],
        found: Vec<Entry>,
        report: &'r mut Report,
    ) -> Self {
        let mut fields =
            Self { report, table, values: BTreeMap::new(), spans: BTreeMap::new(), bad: Vec::new() };
        let written: Vec<String> = found.iter().map(|e| e.key.to_string()).collect();
        for Entry { key, value } in found {
            let name = key.to_string();
            let Some(info) = table.iter().find(|f| f.name == name) else {
                fields.unknown(owner, &key, &written);
                continue;
            };
            if fields.spans.contains_key(info.name) {
                fields.report.error(key.span(), format!("`{name}` is given twice"));
                continue;
            }
            if matches!(value, Value::Broken) {
                fields.bad.push(info.name);
                fields.spans.insert(info.name, key.span());
            } else {
                fields.spans.insert(info.name, value.span());
                fields.values.insert(info.name, value);
            }
        }
        fields.missing(owner, owner_span);
        fields
    }

    fn unknown(&mut self, owner: &str, key: &Ident, written: &[String]) {
        let name = key.to_string();
        let free = self.table.iter().map(|f| f.name).filter(|n| !written.iter().any(|w| w == n));
        let message = match closest(&name, free) {
            Some(meant) => {
                // The field that was meant is there, if misspelt: not missing as well.
                self.bad.push(meant);
                format!("{owner} has no field `{name}`; did you mean `{meant}`?")
            }
            None => {
                format!(
                    "{owner} has no field `{name}`; it takes {}",
                    all_of(self.table.iter().map(|f| f.name))
                )
            }
        };
        self.report.error(key.span(), message);
    }

    fn missing(&mut self, owner: &str, span: Span) {
        let absent: Vec<&FieldInfo> = self
            .table
            .iter()
            .filter(|f| {
                f.default.is_none() && !self.spans.contains_key(f.name) && !self.bad.contains(&f.name)
            })
            .collect();
        if !absent.is_empty() {
            let each: Vec<String> =
                absent.iter().map(|f| format!("`{}` ({})", f.name, f.takes.words())).collect();
            self.report.error(span, format!("{owner} needs {}", each.join(", ")));
            self.bad.extend(absent.iter().map(|f| f.name));
        }
    }

    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        debug_assert!(self.table.iter().any(|f| f.name == name), "{name} is not in the table");
        self.values.remove(name)
    }

    /// Reports a value of the wrong type on its token.
    pub(super) fn wrong(&mut self, name: &'static str, value: &Value, hint: &str) {
        let takes = self.table.iter().find(|f| f.name == name).map_or("something else", |f| f.takes.words());
        self.report.error(value.span(), format!("`{name}` takes {takes}, found {}{hint}", value.found()));
        self.bad.push(name);
    }

    pub(super) fn size(&mut self, name: &'static str, default: u32) -> u32 {
        let Some(value) = self.take(name) else { return default };
        match whole(&value) {
            Ok(size) => size,
            Err(hint) => {
                self.wrong(name, &value, &hint);
                default
            }
        }
    }

    pub(super) fn optional_size(&mut self, name: &'static str) -> Option<u32> {
        match self.take(name)? {
            Value::Word(word) if word == "none" => None,
            value => match whole(&value) {
                Ok(size) => Some(size),
                Err(hint) => {
                    self.wrong(name, &value, &hint);
                    None
                }
            },
        }
    }

    pub(super) fn number(&mut self, name: &'static str, default: f64) -> f64 {
        let Some(value) = self.take(name) else { return default };
        number(&value).unwrap_or_else(|| {
            self.wrong(name, &value, "");
            default
        })
    }

    pub(super) fn optional_number(&mut self, name: &'static str) -> Option<f64> {
        match self.take(name)? {
            Value::Word(word) if word == "none" => None,
            value => number(&value).or_else(|| {
                self.wrong(name, &value, "");
                None
            }),
        }
    }

    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> bool {
        let Some(value) = self.take(name) else { return default };
        match &value {
            Value::Literal { lit: Lit::Bool(b), .. } => b.value(),
            _ => {
                self.wrong(name, &value, "");
                default
            }
        }
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<LitStr> {
        let value = self.take(name)?;
        match value {
            Value::Literal { lit: Lit::Str(text), .. } => Some(text),
            _ => {
                self.wrong(name, &value, "");
                None
            }
        }
    }

    /// One of a list of words, with what it stands for.
    pub(super) fn word<T: Copy>(&mut self, name: &'static str, words: &[(&'static str, T)], default: T) -> T {
        let Some(value) = self.take(name) else { return default };
        let Value::Word(word) = &value else {
            self.wrong(name, &value, "");
            return default;
        };
        let word = word.to_string();
        if let Some((_, meaning)) = words.iter().find(|(w, _)| *w == word) {
            return *meaning;
        }
        let hint = closest(&word, words.iter().map(|(w, _)| *w))
            .map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
        self.wrong(name, &value, &hint);
        default
    }

    pub(super) fn act(&mut self, name: &'static str, default: Act) -> Act {
        if let Some(Value::Word(word)) = self.values.get(name) {
            let gated = match word.to_string().as_str() {
                "silu" | "swish" => Some("swiglu"),
                "gelu" => Some("geglu"),
                _ => None,
            };
            if let Some(gated) = gated
                && let Some(value) = self.take(name)
            {
                self.wrong(name, &value, &format!("; with a gate it is `{gated}`"));
                return default;
            }
        }
        self.word(name, Act::ALL, default)
    }

    /// A base, braces with a base and a scaling, or `none`.
    pub(super) fn rope(&mut self, name: &'static str) -> Option<Rope> {
        let value = self.take(name)?;
        match &value {
            Value::Word(word) if word == "none" => None,
            Value::Group(group) if group.delimiter() == Delimiter::Brace => {
                let rope = rope(group, self);
                if self.bad.iter().any(|b| ROPE_FIELDS.iter().chain(LLAMA3_FIELDS).any(|f| f.name == *b)) {
                    self.bad.push(name);
                }
                Some(rope)
            }
            value => match number(value) {
                Some(theta) => Some(Rope { theta, scaling: RopeScaling::None }),
                None => {
                    self.wrong(name, value, "");
                    None
                }
            },
        }
    }

    /// The words of a list in square brackets.
    pub(super) fn words(&mut self, group: &Group) -> Vec<Ident> {
        let mut cursor = Cursor::new(group.stream(), group.span_close());
        let mut words = Vec::new();
        while cursor.peek().is_some() {
            match cursor.value("the list", self.report) {
                Value::Word(word) => {
                    words.push(word);
                    cursor.separator(false, self.report);
                }
                Value::Broken => cursor.skip_entry(),
                other => {
                    self.report.error(other.span(), format!("expected a word, found {}", other.found()));
                    cursor.skip_entry();
                }
            }
        }
        words
    }
}

/// A whole number that fits; otherwise a hint for the message.
fn whole(value: &Value) -> Result<u32, String> {
    match value {
        Value::Literal { lit: Lit::Int(int), minus: None } if int.suffix().is_empty() => {
            int.base10_parse::<u32>().map_err(|_| format!("; the largest possible is {}", u32::MAX))
        }
        Value::Literal { lit: Lit::Int(int), .. } if !int.suffix().is_empty() => {
            Err(format!("; write it without `{}`", int.suffix()))
        }
        Value::Literal { lit: Lit::Float(float), minus: None } => match float.base10_parse::<f64>() {
            Ok(v) if v.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&v) => {
                Err(format!("; write `{v}`"))
            }
            _ => Err(String::new()),
        },
        _ => Err(String::new()),
    }
}

fn number(value: &Value) -> Option<f64> {
    let Value::Literal { lit, minus } = value else { return None };
    let magnitude = match lit {
        Lit::Int(int) if int.suffix().is_empty() => int.base10_parse::<u64>().ok()? as f64,
        Lit::Float(float) if float.suffix().is_empty() => float.base10_parse::<f64>().ok()?,
        _ => return None,
    };
    Some(if minus.is_some() { -magnitude } else { magnitude })
}

const ROPE_FIELDS: &[FieldInfo] = &[
    FieldInfo::required("theta", Takes::Number, "Base of the frequencies."),
    FieldInfo::optional("llama3", Takes::Rope, "none", "Rescaling of the low frequencies, as in Llama 3."),
];

const LLAMA3_FIELDS: &[FieldInfo] = &[
    FieldInfo::required("factor", Takes::Number, "Divisor of the low frequencies."),
    FieldInfo::required("low_freq", Takes::Number, "Longer wavelengths than context over this are divided."),
    FieldInfo::required("high_freq", Takes::Number, "Shorter wavelengths than context over this are kept."),
    FieldInfo::required("original_context", Takes::Size, "The context of the first training."),
];

/// `{ theta: …, llama3 { … } }`. The places and the failures of its fields are added to those of `outer`, where
/// rules on them look; no block has a field of the same name.
fn rope(group: &Group, outer: &mut Fields<'_>) -> Rope {
    let found = entries(group.stream(), group.span_close(), outer.report);
    let mut fields = Fields::new("`rope`", group.span_open(), ROPE_FIELDS, found, outer.report);
    let theta = fields.number("theta", 10_000.0);
    let scaling = match fields.take("llama3") {
        None => RopeScaling::None,
        Some(Value::Group(inner)) if inner.delimiter() == Delimiter::Brace => llama3(&inner, &mut fields),
        Some(value) => {
            let message = format!("`llama3` takes `{{ factor: …, … }}`, found {}", value.found());
            fields.report.error(value.span(), message);
            fields.bad.push("llama3");
            RopeScaling::None
        }
    };
    let (spans, bad) = (fields.spans, fields.bad);
    outer.spans.extend(spans);
    outer.bad.extend(bad);
    Rope { theta, scaling }
}

fn llama3(group: &Group, outer: &mut Fields<'_>) -> RopeScaling {
    let found = entries(group.stream(), group.span_close(), outer.report);
    let mut fields = Fields::new("`llama3`", group.span_open(), LLAMA3_FIELDS, found, outer.report);
    let scaling = RopeScaling::Llama3 {
        factor: fields.number("factor", 1.0),
        low_freq: fields.number("low_freq", 1.0),
        high_freq: fields.number("high_freq", 4.0),
        original_context: fields.size("original_context", 1),
    };
    let (spans, bad) = (fields.spans, fields.bad);
    outer.spans.extend(spans);
    outer.bad.extend(bad);
    scaling
}

//! Reading a `config.json` with its liberties: bare `Infinity`, tagged floats, numbers in strings; every fault
//! collected, each with the field, what was found and what was expected.

use super::ImportError;
use crate::suggest::all_of;
use serde_json::{Map, Value};

// What stands in for a bare word while the text is read: a string of the same length, so that the positions
// in serde's messages stay true.
const PLUS_INFINITY: &str = "~+INF~";
const MINUS_INFINITY: &str = "~~-INF~";
const NOT_A_NUMBER: &str = "~";

/// A JSON object and the faults found in it so far.
pub(super) struct Config {
    fields: Map<String, Value>,
    /// Where the object stands in the file, with a dot behind it; empty for the file itself.
    prefix: String,
    pub faults: Vec<String>,
}

impl Config {
    /// Reads the text of a file.
    pub(super) fn read(text: &str) -> Result<Self, ImportError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let value: Value =
            serde_json::from_str(&without_bare_words(text)).map_err(|e| ImportError::Json(e.to_string()))?;
        match value {
            Value::Object(fields) => Ok(Self { fields, prefix: String::new(), faults: Vec::new() }),
            other => Err(ImportError::Json(format!("expected an object, found {}", short(&other)))),
        }
    }

    /// An object inside this one; empty if it is absent or null.
    pub(super) fn section(&mut self, name: &str) -> Self {
        let fields = match self.value(&[name]) {
            None => Map::new(),
            Some((_, Value::Object(fields))) => fields,
            Some((_, other)) => {
                self.wrong(name, &other, "an object");
                Map::new()
            }
        };
        Self { fields, prefix: format!("{}{name}.", self.prefix), faults: Vec::new() }
    }

    /// The first of several spellings that is there and not null.
    fn value(&self, names: &[&str]) -> Option<(String, Value)> {
        names.iter().find_map(|name| {
            let value = self.fields.get(*name).filter(|v| !v.is_null())?;
            Some(((*name).to_owned(), value.clone()))
        })
    }

    /// Whether the field is there, even as null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// Whether there is no field at all.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub(super) fn fault(&mut self, name: &str, message: impl std::fmt::Display) {
        self.faults.push(format!("`{}{name}`: {message}", self.prefix));
    }

    /// Whether a fault of this field was reported, so that what follows from it need not be.
    pub(super) fn is_faulty(&self, name: &str) -> bool {
        let start = format!("`{}{name}`:", self.prefix);
        self.faults.iter().any(|fault| fault.starts_with(&start))
    }

    fn wrong(&mut self, name: &str, found: &Value, expected: &str) {
        self.fault(name, format!("found {}, expected {expected}", short(found)));
    }

    fn missing(&mut self, names: &[&str], expected: &str) {
        let or = match names {
            [_] => String::new(),
            [_, others @ ..] => format!(" (or {})", all_of(others.iter().copied())),
            [] => return,
        };
        self.fault(names[0], format!("missing{or}, expected {expected}"));
    }

    /// A whole number, or `None` if it is absent or null. Reports anything else.
    pub(super) fn size(&mut self, names: &[&str]) -> Option<u32> {
        let (name, value) = self.value(names)?;
        let size =
            number(&value, false).filter(|n| n.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(n));
        if size.is_none() {
            self.wrong(&name, &value, "a whole number");
        }
        size.map(|n| n as u32)
    }

    /// A whole number that must be there.
    pub(super) fn need_size(&mut self, names: &[&str]) -> u32 {
        if self.value(names).is_none() {
            self.missing(names, "a whole number");
        }
        self.size(names).unwrap_or(1)
    }

    /// A number or `None`.
    pub(super) fn number(&mut self, names: &[&str]) -> Option<f64> {
        let (name, value) = self.value(names)?;
        let number = number(&value, true);
        if number.is_none() {
            self.wrong(&name, &value, "a number");
        }
        number
    }

    /// A number that must be there.
    pub(super) fn need_number(&mut self, names: &[&str]) -> f64 {
        if self.value(names).is_none() {
            self.missing(names, "a number");
        }
        self.number(names).unwrap_or(1.0)
    }

    /// Two numbers.
    pub(super) fn pair(&mut self, names: &[&str]) -> Option<(f64, f64)> {
        let (name, value) = self.value(names)?;
        let pair = match value.as_array().map(Vec::as_slice) {
            Some([low, high]) => number(low, true).zip(number(high, true)),
            _ => None,
        };
        if pair.is_none() {
            self.wrong(&name, &value, "a list of two numbers");
        }
        pair
    }

    pub(super) fn flag(&mut self, names: &[&str]) -> Option<bool> {
        let (name, value) = self.value(names)?;
        if value.as_bool().is_none() {
            self.wrong(&name, &value, "true or false");
        }
        value.as_bool()
    }

    pub(super) fn text(&mut self, names: &[&str]) -> Option<String> {
        let (name, value) = self.value(names)?;
        if value.as_str().is_none() {
            self.wrong(&name, &value, "a string");
        }
        value.as_str().map(str::to_owned)
    }

    /// A list of strings; or one string that holds such a list as a Python literal.
    pub(super) fn words(&mut self, name: &str) -> Option<Vec<String>> {
        let (_, value) = self.value(&[name])?;
        let words = match &value {
            Value::Array(items) => items.iter().map(|v| v.as_str().map(str::to_owned)).collect(),
            Value::String(text) => python_list(text),
            _ => None,
        };
        if words.is_none() {
            self.wrong(name, &value, "a list of strings");
        }
        words
    }

    /// One token id, a list of them, or nothing.
    pub(super) fn tokens(&mut self, name: &str) -> Vec<u32> {
        let Some((_, value)) = self.value(&[name]) else { return Vec::new() };
        let id = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids = match &value {
            Value::Array(items) => items.iter().map(id).collect(),
            // Some configs write -1 for "there is none".
            Value::Number(n) if n.as_i64() == Some(-1) => Some(Vec::new()),
            one => id(one).map(|id| vec![id]),
        };
        ids.unwrap_or_else(|| {
            self.wrong(name, &value, "a token id or a list of them");
            Vec::new()
        })
    }

    /// Takes over the faults of a section.
    pub(super) fn absorb(&mut self, section: Self) {
        self.faults.extend(section.faults);
    }

    /// The faults as an error, if there are any.
    pub(super) fn finish(mut self) -> Result<(), ImportError> {
        // A field that several blocks read is reported once.
        let mut seen = std::collections::HashSet::new();
        self.faults.retain(|fault| seen.insert(fault.clone()));
        if self.faults.is_empty() { Ok(()) } else { Err(ImportError::Fields { faults: self.faults }) }
    }
}

/// A number as itself, as `{"__float__": "Infinity"}`, as the stand-in of a bare word, or in a string.
fn number(value: &Value, in_string: bool) -> Option<f64> {
    match value {
        Value::Number(n) => n.as_f64(),
        Value::Object(tagged) if tagged.len() == 1 => match tagged.get("__float__")?.as_str()? {
            "Infinity" | "inf" => Some(f64::INFINITY),
            "-Infinity" | "-inf" => Some(f64::NEG_INFINITY),
            "NaN" | "nan" => Some(f64::NAN),
            _ => None,
        },
        Value::String(s) => match s.as_str() {
            PLUS_INFINITY => Some(f64::INFINITY),
            MINUS_INFINITY => Some(f64::NEG_INFINITY),
            NOT_A_NUMBER => Some(f64::NAN),
            text if in_string => text.trim().parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The value as it stands in the file, cut where it is long.
fn short(value: &Value) -> String {
    let text = match value.as_str() {
        Some(PLUS_INFINITY) => "Infinity".to_owned(),
        Some(MINUS_INFINITY) => "-Infinity".to_owned(),
        Some(NOT_A_NUMBER) => "NaN".to_owned(),
        _ => value.to_string(),
    };
    if text.chars().count() <= 60 {
        return text;
    }
    text.chars().take(57).chain("…".chars()).collect()
}

/// Bare `Infinity`, `-Infinity` and `NaN` outside strings, which Python writes and JSON does not know,
/// replaced by strings of the same length.
fn without_bare_words(text: &str) -> String {
    const WORDS: [(&str, &str); 3] =
        [("-Infinity", MINUS_INFINITY), ("Infinity", PLUS_INFINITY), ("NaN", NOT_A_NUMBER)];
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut before) = (text, ' ');
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            let end = string_end(rest);
            out.push_str(&rest[..end]);
            (rest, before) = (&rest[end..], '"');
            continue;
        }
        let ends = |word: &str| {
            !rest[word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"')
        };
        let starts = !(before.is_alphanumeric() || before == '_');
        match WORDS.iter().find(|(word, _)| starts && rest.starts_with(word) && ends(word)) {
            Some((word, stand_in)) => {
                out.push('"');
                out.push_str(stand_in);
                out.push('"');
                (rest, before) = (&rest[word.len()..], '"');
            }
            None => {
                out.push(c);
                (rest, before) = (&rest[c.len_utf8()..], c);
            }
        }
    }
    out
}

/// Length of the string literal that `text` begins with, quotes included; all of it if it never ends.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `['a', "b"]` as a list. Only strings without escapes; anything else is no list.
fn python_list(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
    let mut items = Vec::new();
    while !rest.is_empty() {
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (item, behind) = rest[1..].split_once(quote)?;
        if item.contains('\\') {
            return None;
        }
        items.push(item.to_owned());
        rest = behind.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_bare_words_outside_strings_only_and_keeps_positions() {
        let text =
            r#"{"Infinity": "NaN -Infinity \" Infinity", "a": [-Infinity, Infinity,NaN], "b": Infinityx}"#;
        let out = without_bare_words(text);
        assert_eq!(out.len(), text.len());
        assert_eq!(
            out,
            r#"{"Infinity": "NaN -Infinity \" Infinity", "a": ["~~-INF~", "~+INF~","~"], "b": Infinityx}"#
        );
        assert_eq!(without_bare_words("é\"é"), "é\"é");
    }

    #[test]
    fn reads_python_lists() {
        let list = |t| python_list(t);
        assert_eq!(list("['jet', \"attn\",]"), Some(vec!["jet".to_owned(), "attn".to_owned()]));
        assert_eq!(list(" [ ] "), Some(vec![]));
        for wrong in ["jet", "['jet'", "[jet]", "['jet' 'attn']", "['a\\'b']", "[,]", "__import__('os')"] {
            assert_eq!(list(wrong), None, "{wrong}");
        }
    }
}

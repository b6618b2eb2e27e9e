//! Jinja as chat templates are written for: Python's methods on values, blocks trimmed, and the functions that
//! templates expect beside the language.

use super::strftime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::io;

/// An environment in which a chat template renders.
pub(super) fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    env.set_syntax(syntax.expect("the usual delimiters are distinct"));
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    env.add_function("strftime_now", |format: String| strftime::now(&format));
    env.add_filter("tojson", tojson);
    env
}

/// The template without the `generation` marks that training reads: they change nothing of the text.
pub(super) fn prepare(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(end) = rest[start..].find("%}").map(|n| start + n + 2) else { break };
        let tag = &rest[start..end];
        let word = tag[2..tag.len() - 2].trim_matches(['-', '+', ' ', '\t', '\n', '\r']);
        out.push_str(&rest[..start]);
        match word {
            "generation" => out.push_str(&tag.replace(word, "if true")),
            "endgeneration" => out.push_str(&tag.replace(word, "endif")),
            _ => out.push_str(tag),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// JSON as Python's `json.dumps` writes it, without escapes for HTML.
fn tojson(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // Accepted for Python's sake: text is never escaped to ASCII, and keys are in order already.
    let _: (Option<bool>, Option<bool>) = (options.get("ensure_ascii")?, options.get("sort_keys")?);
    options.assert_all_used()?;
    let text = match indent {
        None => write(value, Spaced),
        Some(n) => write(value, PrettyFormatter::with_indent(" ".repeat(n.min(64)).as_bytes())),
    };
    text.map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))
}

fn write(value: &Value, formatter: impl Formatter) -> Result<String, serde_json::Error> {
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut out, formatter))?;
    Ok(String::from_utf8(out).expect("JSON is text"))
}

/// A space after commas and colons.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> String {
        let source = prepare(source);
        environment().render_str(&source, minijinja::context! { x => "a<b>\u{e9}'" }).unwrap()
    }

    #[test]
    fn json_is_pythons() {
        assert_eq!(
            render("{{ {'k': [1, 2.5, true, none], 't': x} | tojson }}"),
            "{\"k\": [1, 2.5, true, null], \"t\": \"a<b>\u{e9}'\"}"
        );
        assert_eq!(render("{{ [1] | tojson(indent=2) }}"), "[\n  1\n]");
        assert_eq!(render("{{ 'x' | tojson(ensure_ascii=false) }}"), "\"x\"");
    }

    #[test]
    fn generation_marks_change_nothing() {
        assert_eq!(render("a\n{%- generation -%}\n b {% endgeneration %}c"), "ab c");
        assert_eq!(prepare("{% if x %}{{ '{% generation' }}"), "{% if x %}{{ '{% generation' }}");
        assert_eq!(prepare("no end {% generation"), "no end {% generation");
    }

    #[test]
    fn blocks_are_trimmed() {
        assert_eq!(render("  {% if x %}\nyes\n  {% endif %}\nend"), "yes\nend");
    }

    #[test]
    fn the_year_is_a_year() {
        let year: i32 = render("{{ strftime_now('%Y') }}").parse().unwrap();
        assert!((2024..2200).contains(&year));
    }
}

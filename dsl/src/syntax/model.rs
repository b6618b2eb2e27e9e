//! A whole definition: the header, the fields of the model, and the rules on all of it.

use super::block::{Bindings, Bound, blocks};
use super::entry::{Value, entries};
use super::fields::Fields;
use super::report::Report;
use super::source::Source;
use crate::block::{Block, FieldInfo, MODEL_FIELDS, Mlp, Takes};
use crate::check::{Fault, Place, check_definition};
use crate::naming::Naming;
use crate::pattern::{self, Pattern};
use crate::spec::{Binding, ModelSpec, Precision};
use crate::suggest::{closest, one_of};
use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use std::borrow::Cow;
use std::collections::BTreeMap;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Path, Token, Visibility};

/// A definition that was read and judged.
#[derive(Clone)]
pub struct Definition {
    /// Its type.
    pub header: Header,
    /// Where the expansion finds jet, if it says so.
    pub crate_path: Option<Path>,
    /// The model.
    pub spec: ModelSpec,
}

/// What stands before the first field: `/// … pub struct Name;`.
#[derive(Clone)]
pub struct Header {
    /// Documentation and other attributes.
    pub attrs: Vec<Attribute>,
    /// Visibility of the type.
    pub vis: Visibility,
    /// Name of the type.
    pub ident: Ident,
}

impl Parse for Header {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        input.parse::<Token![struct]>()?;
        let ident = input.parse()?;
        input.parse::<Token![;]>()?;
        Ok(Self { attrs, vis, ident })
    }
}

/// Reads and judges one definition, the tokens between the braces of `jet_model!`.
///
/// # Errors
/// Every fault at once, each on its token.
pub fn parse(tokens: TokenStream) -> syn::Result<Definition> {
    let mut report = Report::default();
    let definition = model(tokens, &mut report);
    report.finish(definition)
}

/// The header alone, for an expansion that goes on after errors so that the type at least exists.
pub fn header(tokens: TokenStream) -> syn::Result<Header> {
    split(tokens).0
}

/// The header up to its semicolon, and the rest.
fn split(tokens: TokenStream) -> (syn::Result<Header>, TokenStream) {
    let semicolon = |t: &TokenTree| matches!(t, TokenTree::Punct(p) if p.as_char() == ';');
    let mut all = tokens.into_iter();
    let mut head: Vec<TokenTree> = Vec::new();
    for token in all.by_ref() {
        let last = semicolon(&token);
        head.push(token);
        if last {
            break;
        }
    }
    let header = syn::parse2(head.into_iter().collect())
        .map_err(|e| syn::Error::new(e.span(), format!("{e}; a definition begins with `pub struct Name;`")));
    (header, all.collect())
}

fn model(tokens: TokenStream, report: &mut Report) -> Option<Definition> {
    let (header, rest) = split(tokens);
    let header = header.map_err(|e| report.add(e)).ok();
    let span = header.as_ref().map_or_else(Span::call_site, |h| h.ident.span());
    let found = entries(rest, span, report);
    if header.is_none() && found.is_empty() {
        return None;
    }
    let mut fields = Fields::new("the model", span, MODEL_FIELDS, found, report);
    let read = Read::new(&mut fields, header.as_ref());
    let (spans, bad) = (fields.spans, fields.bad);
    let spec = read.judge(&spans, &bad, report);
    Some(Definition { header: header?, crate_path: read.crate_path, spec })
}

/// All fields of a model, as far as they could be read.
struct Read {
    name: String,
    vocab: u32,
    d_model: u32,
    norm_eps: f64,
    tie_embeddings: bool,
    max_context: u32,
    source: Option<Source>,
    /// `None` if `blocks` is missing.
    bound: Option<Bindings>,
    naming: Naming,
    precisions: Vec<Precision>,
    crate_path: Option<Path>,
}

impl Read {
    fn new(f: &mut Fields<'_>, header: Option<&Header>) -> Self {
        Self {
            name: match f.text("name") {
                Some(text) => text.value(),
                None => header.map_or_else(|| "unnamed".to_owned(), |h| kebab(&h.ident.to_string())),
            },
            vocab: f.size("vocab", 1),
            d_model: f.size("d_model", 1),
            norm_eps: norm(f),
            tie_embeddings: f.flag("tie_embeddings", false),
            max_context: f.size("max_context", 4096),
            source: source(f),
            bound: bound(f),
            naming: f.word(
                "naming",
                &[("transformer", Naming::Transformer), ("nemotron_h", Naming::NemotronH)],
                Naming::NemotronH,
            ),
            precisions: precisions(f),
            crate_path: crate_path(f),
        }
    }

    /// Builds the spec and applies the rules; faults go on the tokens they are about.
    fn judge(
        &self,
        spans: &BTreeMap<&'static str, Span>,
        bad: &[&'static str],
        report: &mut Report,
    ) -> ModelSpec {
        let bound = self.list();
        let (parsed, mut faults) = self.source.as_ref().map(|s| pattern::parse(&s.text)).unwrap_or_default();
        let complete = self.bound.as_ref().is_some_and(|b| !b.incomplete);
        if complete {
            let known: Vec<(char, &str)> = bound.iter().map(|b| (b.symbol, b.kind.as_str())).collect();
            faults.extend(parsed.unknown_symbols(&known));
        }
        if let Some(source) = &self.source {
            faults.iter().for_each(|fault| source.report(fault, report));
        }
        let spec = self.spec(bound, &parsed);
        let sound = complete && faults.is_empty() && bound.iter().all(|b| b.block.is_some());
        for fault in check_definition(&spec) {
            if let Some((span, message)) = self.place(&fault, &parsed, sound, spans, bad) {
                report.error(span, message);
            }
        }
        spec.in_order()
    }

    fn list(&self) -> &[Bound] {
        self.bound.as_ref().map(|b| b.list.as_slice()).unwrap_or_default()
    }

    fn spec(&self, bound: &[Bound], parsed: &Pattern) -> ModelSpec {
        // A block that could not be read is replaced by one that breaks no rule, to judge the rest.
        let block = |b: &Bound| b.block.clone().unwrap_or(Block::Mlp(Mlp { hidden: 1, ..Mlp::DEFAULT }));
        ModelSpec {
            name: Cow::Owned(self.name.clone()),
            vocab: self.vocab,
            d_model: self.d_model,
            norm_eps: self.norm_eps,
            tie_embeddings: self.tie_embeddings,
            max_context: self.max_context,
            pattern: Cow::Owned(parsed.flat()),
            bindings: bound.iter().map(|b| Binding { symbol: b.symbol, block: block(b) }).collect(),
            naming: self.naming,
            precisions: Cow::Owned(self.precisions.clone()),
        }
    }

    /// The token and the message of a violated rule; `None` if it only follows from what was reported before.
    fn place(
        &self,
        fault: &Fault,
        parsed: &Pattern,
        sound: bool,
        spans: &BTreeMap<&'static str, Span>,
        bad: &[&'static str],
    ) -> Option<(Span, String)> {
        let message = fault.what.one_line();
        let bound = self.list();
        match &fault.place {
            Place::Model(field) if bad.contains(field) => None,
            Place::Model(field) => Some((spans.get(field).copied().unwrap_or_else(Span::call_site), message)),
            Place::Pattern => {
                let source = self.source.as_ref().filter(|_| sound)?;
                let mut moved = fault.what.clone();
                moved.range = place_in_source(moved.range, fault.pattern.as_deref()?, parsed, &source.text);
                let mut one = Report::default();
                source.report(&moved, &mut one);
                let error = one.finish::<()>(None).err()?;
                Some((error.span(), error.to_string()))
            }
            Place::Binding(symbol) => {
                self.source.as_ref()?;
                Some((bound.iter().find(|b| b.symbol == *symbol)?.symbol_span, message))
            }
            Place::Block(symbol, _, fields) => {
                let block = bound.iter().find(|b| b.symbol == *symbol)?;
                if block.block.is_none() || fields.iter().any(|f| block.bad.contains(f)) {
                    return None;
                }
                let written = fields.iter().find_map(|f| block.spans.get(f));
                Some((*written.unwrap_or(&block.kind_span), message))
            }
        }
    }
}

/// Bytes of the source for bytes of the flat pattern.
fn place_in_source(
    flat: std::ops::Range<usize>,
    text: &str,
    parsed: &Pattern,
    source: &str,
) -> std::ops::Range<usize> {
    let index = text[..flat.start].chars().count();
    parsed.blocks.get(index).map_or(source.len()..source.len(), |block| block.range())
}

fn norm(f: &mut Fields<'_>) -> f64 {
    const NORM_FIELDS: &[FieldInfo] =
        &[FieldInfo::optional("eps", Takes::Number, "1e-5", "Epsilon under the root.")];
    const DEFAULT: f64 = 1e-5;
    let Some(value) = f.take("norm") else { return DEFAULT };
    match &value {
        Value::Word(word) if word == "rms_norm" => DEFAULT,
        Value::Tagged(word, group) if word == "rms_norm" && group.delimiter() == Delimiter::Brace => {
            let found = entries(group.stream(), group.span_close(), f.report);
            let mut inner = Fields::new("`rms_norm`", word.span(), NORM_FIELDS, found, f.report);
            if let Some(span) = inner.spans.get("eps") {
                f.spans.insert("norm", *span);
            }
            let (eps, bad) = (inner.number("eps", DEFAULT), !inner.bad.is_empty());
            if bad {
                f.bad.push("norm");
            }
            eps
        }
        _ => {
            f.wrong("norm", &value, "");
            DEFAULT
        }
    }
}

fn source(f: &mut Fields<'_>) -> Option<Source> {
    let value = f.take("pattern")?;
    let source = Source::of(&value);
    if source.is_none() {
        f.wrong("pattern", &value, "");
    }
    source
}

fn bound(f: &mut Fields<'_>) -> Option<Bindings> {
    match f.take("blocks")? {
        Value::Group(group) if group.delimiter() == Delimiter::Brace => Some(blocks(&group, f.report)),
        value => {
            f.wrong("blocks", &value, "");
            None
        }
    }
}

fn precisions(f: &mut Fields<'_>) -> Vec<Precision> {
    let Some(value) = f.take("precision") else { return Vec::new() };
    let group: &Group = match &value {
        Value::Tagged(word, group) if word == "tune" && group.delimiter() == Delimiter::Bracket => group,
        _ => {
            f.wrong("precision", &value, "");
            return Vec::new();
        }
    };
    let words = f.words(group);
    if words.is_empty() {
        f.report.error(group.span(), "the list of precisions is empty; leave `precision` out instead");
    }
    let names = || Precision::ALL.iter().map(|(name, _)| *name);
    let mut list = Vec::new();
    for word in words {
        let name = word.to_string();
        match Precision::ALL.iter().find(|(n, _)| *n == name) {
            Some((_, precision)) if list.contains(precision) => {
                f.report.error(word.span(), format!("`{name}` is listed twice"));
            }
            Some((_, precision)) => list.push(*precision),
            None => {
                let hint = closest(&name, names()).map_or_else(
                    || format!("; it can be {}", one_of(names())),
                    |meant| format!("; did you mean `{meant}`?"),
                );
                f.report.error(word.span(), format!("unknown precision `{name}`{hint}"));
            }
        }
    }
    list
}

fn crate_path(f: &mut Fields<'_>) -> Option<Path> {
    let value = f.take("crate")?;
    let path = match &value {
        Value::Word(word) => syn::parse2(TokenTree::from(word.clone()).into()).ok(),
        Value::Path(tokens, _) => syn::parse2(tokens.clone()).ok(),
        _ => None,
    };
    if path.is_none() {
        f.wrong("crate", &value, "");
    }
    path
}

/// `JetNemotron2B` → `jet-nemotron-2b`.
fn kebab(ident: &str) -> String {
    let mut name = String::new();
    let mut before: Option<char> = None;
    for c in ident.chars() {
        let starts_word = c.is_uppercase() || c.is_ascii_digit();
        if starts_word && before.is_some_and(char::is_lowercase) {
            name.push('-');
        }
        before = Some(c);
        name.extend(if c == '_' { '-' } else { c }.to_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::kebab;

    #[test]
    fn names_a_model_after_its_type() {
        for (ident, name) in [
            ("TinyHybrid", "tiny-hybrid"),
            ("JetNemotron2B", "jet-nemotron-2b"),
            ("Mlp", "mlp"),
            ("My_Model", "my-model"),
            ("T5", "t5"),
        ] {
            assert_eq!(kebab(ident), name, "{ident}");
        }
    }
}

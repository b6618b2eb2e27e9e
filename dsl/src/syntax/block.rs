//! `blocks { 'M' => mamba2 { … }, … }`.

use super::entry::{Cursor, entries};
use super::fields::Fields;
use super::report::Report;
use crate::block::{Act, Attention, Block, JetBlock, KINDS, KindInfo, Mamba2, Mlp, Moe};
use crate::suggest::{all_of, closest, one_of};
use proc_macro2::{Delimiter, Group, Ident, Span, TokenTree};
use std::collections::BTreeMap;
use syn::Lit;

/// One binding with the places of its parts.
pub(super) struct Bound {
    pub symbol: char,
    pub symbol_span: Span,
    /// The kind's name as it was written.
    pub kind: String,
    /// `None` if the kind is not known.
    pub block: Option<Block>,
    pub kind_span: Span,
    pub spans: BTreeMap<&'static str, Span>,
    pub bad: Vec<&'static str>,
}

/// The bindings of a model.
#[derive(Default)]
pub(super) struct Bindings {
    pub list: Vec<Bound>,
    /// A binding is missing since its symbol could not be read, so a symbol may be unknown for that reason.
    pub incomplete: bool,
}

/// Reads all bindings; goes on after a mistake.
pub(super) fn blocks(group: &Group, report: &mut Report) -> Bindings {
    let mut cursor = Cursor::new(group.stream(), group.span_close());
    let mut bindings = Bindings::default();
    while cursor.peek().is_some() {
        match binding(&mut cursor, report) {
            Some(bound) if bindings.list.iter().any(|b| b.symbol == bound.symbol) => {
                report.error(bound.symbol_span, format!("`{}` is bound twice", bound.symbol));
            }
            Some(bound) => bindings.list.push(bound),
            None => {
                bindings.incomplete = true;
                cursor.skip_entry();
            }
        }
    }
    bindings
}

fn binding(cursor: &mut Cursor, report: &mut Report) -> Option<Bound> {
    let symbol_span = cursor.span();
    let symbol = symbol(cursor, report)?;
    if !(cursor.punct('=') && cursor.punct('>')) {
        report.error(cursor.span(), format!("expected `=>` behind the symbol, found {}", cursor.found()));
        if !cursor.punct(':') {
            return None;
        }
    }
    let kind_span = cursor.span();
    let Some(TokenTree::Ident(kind)) = cursor.next() else {
        let names = one_of(KINDS.iter().map(|k| k.name));
        report.error(kind_span, format!("expected a kind of block: {names}"));
        return None;
    };
    let parameters = cursor.group(Delimiter::Brace);
    if parameters.is_none() {
        let message = format!("expected `{{ … }}` with the parameters of `{kind}`, found {}", cursor.found());
        report.error(cursor.span(), message);
    }
    let mut bound = Bound {
        symbol,
        symbol_span,
        kind: kind.to_string(),
        block: None,
        kind_span,
        spans: BTreeMap::new(),
        bad: Vec::new(),
    };
    match (KINDS.iter().find(|k| kind == k.name), parameters) {
        (None, _) => unknown_kind(&kind, report),
        (Some(_), None) => {}
        (Some(info), Some(parameters)) => {
            let found = entries(parameters.stream(), parameters.span_close(), report);
            let owner = format!("`{}`", info.name);
            let mut fields = Fields::new(&owner, kind_span, info.fields, found, report);
            bound.block = Some(build(info, &mut fields));
            (bound.spans, bound.bad) = (fields.spans, fields.bad);
        }
    }
    cursor.punct(',');
    Some(bound)
}

/// A character in single quotes; what is plainly meant as one is taken as one, with an error.
fn symbol(cursor: &mut Cursor, report: &mut Report) -> Option<char> {
    let span = cursor.span();
    let found = cursor.found();
    let meant = match cursor.next()? {
        TokenTree::Literal(literal) => match Lit::new(literal) {
            Lit::Char(c) => return Some(c.value()),
            Lit::Str(text) => text.value(),
            _ => String::new(),
        },
        TokenTree::Ident(word) => word.to_string(),
        TokenTree::Punct(mark) => mark.as_char().to_string(),
        TokenTree::Group(_) => String::new(),
    };
    let mut chars = meant.chars();
    if let (Some(c), None) = (chars.next(), chars.next()) {
        report.error(span, format!("a symbol is one character in single quotes: `'{c}'`"));
        return Some(c);
    }
    report.error(span, format!("expected a symbol such as `'M'`, found {found}"));
    None
}

fn unknown_kind(kind: &Ident, report: &mut Report) {
    let names = || KINDS.iter().map(|k| k.name);
    let name = kind.to_string();
    // What other projects call these blocks.
    let alias = match name.to_lowercase().as_str() {
        "mamba" | "ssm" | "ssd" => Some("mamba2"),
        "attn" | "gqa" | "mha" | "full_attention" | "self_attention" => Some("attention"),
        "swa" | "sliding_window" | "sliding_attention" => Some("window_attention"),
        "ffn" | "feed_forward" => Some("mlp"),
        "experts" | "mixture_of_experts" => Some("moe"),
        "jet" => Some("jet_block"),
        _ => None,
    };
    let message = match alias.or_else(|| closest(&name, names())) {
        Some(meant) => format!("unknown kind of block `{name}`; did you mean `{meant}`?"),
        None => format!("unknown kind of block `{name}`; the kinds are {}", all_of(names())),
    };
    report.error(kind.span(), message);
}

fn build(info: &KindInfo, fields: &mut Fields<'_>) -> Block {
    match info.name {
        "mamba2" => Block::Mamba2(mamba2(fields)),
        "attention" | "window_attention" => Block::Attention(attention(fields, info.name != "attention")),
        "mlp" => Block::Mlp(mlp(fields)),
        "jet_block" => Block::JetBlock(jet_block(fields)),
        _ => Block::Moe(moe(fields)),
    }
}

fn mamba2(f: &mut Fields<'_>) -> Mamba2 {
    let d = Mamba2::DEFAULT;
    Mamba2 {
        n_heads: f.size("n_heads", d.n_heads),
        d_head: f.size("d_head", d.d_head),
        d_state: f.size("d_state", d.d_state),
        n_groups: f.size("n_groups", d.n_groups),
        conv: f.size("conv", d.conv),
        chunk: f.size("chunk", d.chunk),
        dt_min: f.number("dt_min", d.dt_min),
        dt_max: f.optional_number("dt_max"),
        proj_bias: f.flag("proj_bias", d.proj_bias),
        conv_bias: f.flag("conv_bias", d.conv_bias),
    }
}

fn attention(f: &mut Fields<'_>, windowed: bool) -> Attention {
    let d = Attention::DEFAULT;
    Attention {
        n_heads: f.size("n_heads", d.n_heads),
        n_kv_heads: f.size("n_kv_heads", d.n_kv_heads),
        d_head: f.size("d_head", d.d_head),
        window: if windowed { Some(f.size("window", 0)) } else { f.optional_size("window") },
        rope: f.rope("rope"),
        qk_norm: f.flag("qk_norm", d.qk_norm),
        qkv_bias: f.flag("qkv_bias", d.qkv_bias),
        out_bias: f.flag("out_bias", d.out_bias),
    }
}

fn mlp(f: &mut Fields<'_>) -> Mlp {
    let d = Mlp::DEFAULT;
    Mlp { hidden: f.size("hidden", d.hidden), act: f.act("act", d.act), bias: f.flag("bias", d.bias) }
}

fn jet_block(f: &mut Fields<'_>) -> JetBlock {
    let d = JetBlock::DEFAULT;
    JetBlock {
        n_heads: f.size("n_heads", d.n_heads),
        d_head: f.size("d_head", d.d_head),
        expand_v: f.number("expand_v", d.expand_v),
        conv: f.size("conv", d.conv),
        reduction: f.size("reduction", d.reduction),
        norm_eps: f.number("norm_eps", d.norm_eps),
    }
}

fn moe(f: &mut Fields<'_>) -> Moe {
    let d = Moe::DEFAULT;
    Moe {
        n_experts: f.size("n_experts", d.n_experts),
        top_k: f.size("top_k", d.top_k),
        hidden: f.size("hidden", d.hidden),
        shared_hidden: f.size("shared_hidden", d.shared_hidden),
        act: f.act("act", Act::Relu2),
        n_group: f.size("n_group", d.n_group),
        topk_group: f.size("topk_group", d.topk_group),
        norm_topk: f.flag("norm_topk", d.norm_topk),
        scale: f.number("scale", d.scale),
        latent: f.optional_size("latent"),
    }
}

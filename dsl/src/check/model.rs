//! Rules on the model as a whole: its sizes, its pattern, its bindings and their order.

use super::{MAX_CACHE, MAX_PARAMS, MAX_SIZE, MAX_TENSORS, Place, Report};
use crate::block::Block;
use crate::diagnostic::Diagnostic;
use crate::naming::Naming;
use crate::pattern::{self, can_bind};
use crate::spec::ModelSpec;

type Rule = fn(&ModelSpec, &mut Report<'_>);

pub(super) const RULES: &[Rule] = &[
    name,
    sizes,
    epsilon,
    precisions,
    pattern_is_flat,
    bindings_are_distinct,
    bindings_are_used,
    alternates,
];

fn name(spec: &ModelSpec, report: &mut Report<'_>) {
    if spec.name.is_empty() || spec.name.chars().any(char::is_control) {
        report.model(
            "name",
            format!("the name {:?} is empty or has control characters", spec.name),
            "any word",
        );
    }
}

fn sizes(spec: &ModelSpec, report: &mut Report<'_>) {
    for (field, value, most) in [
        ("vocab", spec.vocab, MAX_SIZE * 16),
        ("d_model", spec.d_model, MAX_SIZE),
        ("max_context", spec.max_context, 1 << 30),
    ] {
        if !(1..=most).contains(&value) {
            report.model(field, format!("{field} is {value}"), &format!("it must be from 1 to {most}"));
        }
    }
}

fn epsilon(spec: &ModelSpec, report: &mut Report<'_>) {
    if !(spec.norm_eps > 0.0 && spec.norm_eps.is_finite()) {
        let message = format!("the norm's eps is {}", spec.norm_eps);
        report.model("norm", message, "it must be above 0; 1e-5 is usual");
    }
}

fn precisions(spec: &ModelSpec, report: &mut Report<'_>) {
    for (i, precision) in spec.precisions.iter().enumerate() {
        if spec.precisions[..i].contains(precision) {
            report.model("precision", format!("{precision:?} is listed twice"), "once is enough");
        }
    }
}

/// Non-empty, not longer than the limit, and every character bound.
fn pattern_is_flat(spec: &ModelSpec, report: &mut Report<'_>) {
    let (parsed, faults) = pattern::parse(&spec.pattern);
    if !faults.is_empty() {
        for fault in faults {
            report.pattern(fault);
        }
    } else if parsed.blocks.len() != spec.pattern.chars().count() {
        // Only whitespace, groups and counts make the two differ, and none of them is in a flat pattern.
        let first = spec.pattern.find(|c| !can_bind(c)).unwrap_or(0);
        let next = spec.pattern[first..].chars().next().map_or(1, char::len_utf8);
        report.pattern(
            Diagnostic::new(first..first + next, "the pattern is not flat")
                .help(format!("its flat form is {:?}", parsed.flat())),
        );
    }
    let known: Vec<(char, &str)> = spec.bindings.iter().map(|b| (b.symbol, b.block.name())).collect();
    for fault in parsed.unknown_symbols(&known) {
        report.pattern(fault);
    }
}

fn bindings_are_distinct(spec: &ModelSpec, report: &mut Report<'_>) {
    for (i, binding) in spec.bindings.iter().enumerate() {
        let symbol = binding.symbol;
        if !can_bind(symbol) {
            report.push(
                Place::Binding(symbol),
                Diagnostic::new(0..0, format!("{symbol:?} cannot stand for a block"))
                    .help("digits, brackets, quotes, `|`, `/` and whitespace have their own meaning"),
            );
        }
        if spec.bindings[..i].iter().any(|b| b.symbol == symbol) {
            report.push(
                Place::Binding(symbol),
                Diagnostic::new(0..0, format!("`{symbol}` is bound twice")).help("one symbol, one block"),
            );
        }
    }
}

fn bindings_are_used(spec: &ModelSpec, report: &mut Report<'_>) {
    let unused = |symbol: char| !spec.pattern.contains(symbol);
    // Where the pattern is missing or wrong altogether, that says it all.
    if !report.definition || spec.bindings.iter().all(|b| unused(b.symbol)) {
        return;
    }
    for binding in spec.bindings.iter().filter(|b| can_bind(b.symbol) && unused(b.symbol)) {
        report.push(
            Place::Binding(binding.symbol),
            Diagnostic::new(0..0, format!("`{}` is bound but not in the pattern", binding.symbol))
                .help("use it or remove the binding"),
        );
    }
}

/// Checkpoints of the transformer convention keep a mixer and the MLP behind it in one layer.
fn alternates(spec: &ModelSpec, report: &mut Report<'_>) {
    if spec.naming != Naming::Transformer {
        return;
    }
    let mut position = 0;
    for (at, symbol) in spec.pattern.char_indices() {
        let Some(block) = spec.block(symbol) else { continue };
        let feed_forward = matches!(block, Block::Mlp(_) | Block::Moe(_));
        if feed_forward != (position % 2 == 1) {
            let (found, wanted) = if feed_forward { ("an MLP", "a mixer") } else { ("a mixer", "an MLP") };
            report.pattern(
                Diagnostic::new(
                    at..at + symbol.len_utf8(),
                    format!("block {position} is {found}, and `naming: transformer` wants {wanted} there"),
                )
                .help("mixers and MLPs alternate, the mixer first; `naming: nemotron_h` takes any order"),
            );
            return;
        }
        position += 1;
    }
    if position % 2 == 1 {
        let end = spec.pattern.len();
        report.pattern(
            Diagnostic::new(end..end, "the last mixer has no MLP behind it, as `naming: transformer` wants")
                .help("add an MLP, or use `naming: nemotron_h`"),
        );
    }
}

/// Totals stay far inside 64 bits, and a list of all weights inside memory.
pub(super) fn totals(spec: &ModelSpec, report: &mut Report<'_>) {
    let d = u64::from(spec.d_model);
    let context = u128::from(spec.max_context);
    let (mut params, mut tensors, mut cache) = (2 * u128::from(spec.vocab) * u128::from(d), 3_u128, 0_u128);
    for binding in spec.bindings.iter() {
        let uses = spec.pattern.chars().filter(|c| *c == binding.symbol).count() as u128;
        let weights = binding.block.kind().weights(d);
        tensors += uses * (weights.len() as u128 + 1);
        params += uses * weights.iter().map(|(_, s)| u128::from(s.elements())).sum::<u128>();
        if let Block::Attention(a) = &binding.block {
            // Queries bound keys and values, and the products of scores with them bound the FLOPs.
            cache += uses * 8 * u128::from(a.q_dim()) * context;
        }
    }
    if cache > MAX_CACHE {
        let message = format!("attention over max_context needs up to {cache} bytes of KvCache");
        report.model("max_context", message, &format!("the limit is {MAX_CACHE}"));
    }
    if params > MAX_PARAMS {
        report.model(
            "d_model",
            format!("the model has {params} parameters"),
            &format!("the limit is {MAX_PARAMS}"),
        );
    }
    if tensors > MAX_TENSORS {
        let message = format!("the model has {tensors} weight tensors");
        report.model("pattern", message, &format!("the limit is {MAX_TENSORS}"));
    }
}

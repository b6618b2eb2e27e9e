//! `jet spec`: what a model is, block by block.

use crate::common::args::TARGET;
use crate::common::exit::Usage;
use crate::common::output;
use crate::common::table::Table;
use crate::common::units::{count, short, tokens};
use anyhow::Result;
use clap::Args;
use jet_dsl::ModelSpec;
use jet_dsl::block::{Act, Block, BlockState};
use jet_models::presets;
use jet_models::target::Target;
use jet_runtime::bytes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Contexts whose caches are shown.
const CONTEXTS: [u64; 7] = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10];

/// Show what a model is: a line per block with its shapes, parameters and FLOPs, totals, and caches by context.
///
/// No weights are read. FLOPs are those of one token, two per multiply-add, that sees `--context` tokens. Caches have
/// 16-bit keys, values and convolution columns and 32-bit recurrent states.
#[derive(Clone, Debug, Args)]
pub(crate) struct SpecArgs {
    #[arg(help = TARGET, required_unless_present = "list")]
    target: Option<String>,
    /// Tokens that the counted token sees.
    #[arg(long, default_value_t = 4096, value_name = "TOKENS")]
    context: u64,
    /// List the presets.
    #[arg(long, conflicts_with = "target")]
    list: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Spec<'a> {
    name: &'a str,
    params: u64,
    active_params: u64,
    flops_per_token: u64,
    flops_context: u64,
    vocab: u32,
    d_model: u32,
    tie_embeddings: bool,
    max_context: u32,
    pattern: &'a str,
    digest: String,
    weight_bytes_bf16: u64,
    tensors: usize,
    caches: Vec<CacheSize>,
    layers: Vec<Layer>,
}

#[derive(Clone, Debug, Serialize)]
struct CacheSize {
    context: u64,
    bytes: u64,
}

/// A block, or one of the model's own parts.
#[derive(Clone, Debug, Serialize)]
struct Layer {
    layer: Option<u32>,
    symbol: Option<char>,
    kind: String,
    shape: String,
    params: u64,
    active_params: u64,
    flops: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<BlockState>,
}

pub(crate) fn run(args: &SpecArgs) -> Result<ExitCode> {
    if args.list {
        list(args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.context == 0 {
        return Err(Usage("--context is 0; a token sees at least itself".to_owned()).into());
    }
    let target = Target::resolve(args.target.as_deref().unwrap_or_default())?;
    let spec = target.spec();
    let described = describe(spec, args.context);
    if args.json {
        output::json(&described)?;
    } else {
        output::print(&shown(spec, &described))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool) -> Result<()> {
    if json {
        return output::json(&presets::ALL.iter().map(|p| p.name).collect::<Vec<_>>());
    }
    let mut table = Table::new(&["preset", ">params", ">blocks", "pattern"]);
    for preset in presets::ALL {
        let spec = (preset.spec)();
        let blocks = spec.pattern.chars().count().to_string();
        table.row([preset.name.to_owned(), short(spec.params()), blocks, fold(&spec.pattern)]);
    }
    output::print(&table.to_string())
}

fn describe(spec: &ModelSpec, context: u64) -> Spec<'_> {
    let layers = layers(spec, context);
    Spec {
        name: &spec.name,
        params: spec.params(),
        active_params: spec.active_params(),
        flops_per_token: spec.flops_per_token(context),
        flops_context: context,
        vocab: spec.vocab,
        d_model: spec.d_model,
        tie_embeddings: spec.tie_embeddings,
        max_context: spec.max_context,
        pattern: &spec.pattern,
        digest: spec.digest(),
        weight_bytes_bf16: spec.weight_bytes(16),
        tensors: spec.weights().len(),
        caches: CONTEXTS.map(|context| CacheSize { context, bytes: spec.cache_bytes(context, 2) }).to_vec(),
        layers,
    }
}

/// The rows of the table, in the order of a forward pass. Each block's norm counts with the block.
fn layers(spec: &ModelSpec, context: u64) -> Vec<Layer> {
    let (v, d) = (u64::from(spec.vocab), u64::from(spec.d_model));
    let own = |kind: &str, shape: String, params, flops| Layer {
        layer: None,
        symbol: None,
        kind: kind.to_owned(),
        shape,
        params,
        active_params: params,
        flops,
        state: None,
    };
    let mut params: BTreeMap<u32, u64> = BTreeMap::new();
    for weight in spec.weights().iter().filter(|w| w.id.role.is_parameter()) {
        if let Some(layer) = weight.id.layer {
            *params.entry(layer).or_default() += weight.shape.elements();
        }
    }
    let mut all = vec![own("embedding", format!("[{v}, {d}]"), v * d, 0)];
    for (i, symbol, block) in spec.layers() {
        let kind = block.kind();
        all.push(Layer {
            layer: Some(i),
            symbol: Some(symbol),
            kind: block.name().to_owned(),
            shape: shape(block),
            params: params.get(&i).copied().unwrap_or(0),
            active_params: d + kind.active_params(d),
            flops: kind.flops_per_token(d, context),
            state: Some(kind.state()),
        });
    }
    all.push(own("final norm", format!("[{d}]"), d, 0));
    let head = if spec.tie_embeddings { "the embedding".to_owned() } else { format!("[{v}, {d}]") };
    all.push(own("head", head, if spec.tie_embeddings { 0 } else { v * d }, 2 * v * d));
    all
}

/// A block's sizes in a few words.
fn shape(block: &Block) -> String {
    let with = |text: String, extras: &[(bool, &str)]| {
        extras.iter().filter(|(on, _)| *on).fold(text, |all, (_, name)| format!("{all}, {name}"))
    };
    match block {
        Block::Mamba2(b) => format!(
            "{} heads × {}, state {}, {} groups, conv {}, chunk {}",
            b.n_heads, b.d_head, b.d_state, b.n_groups, b.conv, b.chunk
        ),
        Block::Attention(b) => {
            let window = b.window.map_or_else(String::new, |w| format!(", window {}", count(u64::from(w))));
            let rope = b.rope.as_ref().map_or_else(String::new, |r| format!(", rope {}", r.theta));
            let text = format!("{} heads × {}, {} kv heads{window}{rope}", b.n_heads, b.d_head, b.n_kv_heads);
            with(text, &[(b.qk_norm, "qk norm"), (b.qkv_bias, "qkv bias"), (b.out_bias, "out bias")])
        }
        Block::Mlp(b) => {
            let text = format!("hidden {}, {}", count(u64::from(b.hidden)), act(b.act));
            with(text, &[(b.bias, "bias")])
        }
        Block::JetBlock(b) => format!(
            "{} heads × {}, v × {}, conv {}, reduction {}",
            b.n_heads, b.d_head, b.expand_v, b.conv, b.reduction
        ),
        Block::Moe(b) => {
            let latent = b.latent.map_or_else(String::new, |l| format!(", latent {l}"));
            format!(
                "{} of {} experts × {}, shared {}, {}{latent}",
                b.top_k,
                b.n_experts,
                b.hidden,
                b.shared_hidden,
                act(b.act)
            )
        }
    }
}

/// The name of an activation in `jet_model!`.
fn act(act: Act) -> &'static str {
    Act::ALL.iter().find(|(_, a)| *a == act).map_or("", |(name, _)| name)
}

/// The pattern, shortened in the middle where it is long.
fn fold(pattern: &str) -> String {
    let chars: Vec<char> = pattern.chars().collect();
    if chars.len() <= 64 {
        return pattern.to_owned();
    }
    let part = |c: &[char]| c.iter().collect::<String>();
    format!("{}…{}", part(&chars[..40]), part(&chars[chars.len() - 20..]))
}

fn shown(spec: &ModelSpec, described: &Spec<'_>) -> String {
    let mut out = format!("{}: {} blocks, d_model {}, ", described.name, spec.layers().count(), spec.d_model);
    out += &format!("vocab {}, context {}\n", count(spec.vocab.into()), count(spec.max_context.into()));
    out += &format!("pattern {}\n\n", spec.pattern);
    let flops = format!(">FLOPs/token at {}", tokens(described.flops_context));
    let mut table = Table::new(&[">layer", "", "kind", "shape", ">params", &flops]);
    for l in &described.layers {
        table.row([
            l.layer.map_or_else(String::new, |i| i.to_string()),
            l.symbol.map_or_else(String::new, String::from),
            l.kind.clone(),
            l.shape.clone(),
            count(l.params),
            short(l.flops),
        ]);
    }
    table.row(["", "", "total", "", &count(described.params), &short(described.flops_per_token)]);
    out += &table.to_string();
    out.push('\n');
    let mut totals = Table::new(&["", ">", ""]);
    totals.row(["parameters", &count(described.params), &format!("in {} tensors", described.tensors)]);
    if described.active_params != described.params {
        totals.row(["of them active", &count(described.active_params), "in one token"]);
    }
    totals.row(["weights", &bytes(described.weight_bytes_bf16), "in bf16"]);
    for c in &described.caches {
        let beyond =
            if c.context > u64::from(spec.max_context) { ", beyond what the model is meant for" } else { "" };
        totals.row(["caches", &bytes(c.bytes), &format!("at {} tokens{beyond}", tokens(c.context))]);
    }
    out + &totals.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jet_dsl::weight::{Role, WeightRef};

    #[test]
    fn the_rows_of_every_preset_add_up_to_its_totals() {
        for preset in presets::ALL {
            let spec = (preset.spec)();
            let rows = layers(&spec, 4096);
            assert_eq!(rows.iter().map(|l| l.params).sum::<u64>(), spec.params(), "{}", preset.name);
            assert_eq!(
                rows.iter().map(|l| l.flops).sum::<u64>(),
                spec.flops_per_token(4096),
                "{}",
                preset.name
            );
            let head = WeightRef { layer: None, role: Role::LmHead };
            assert_eq!(spec.tie_embeddings, spec.weights().iter().all(|w| w.id != head));
        }
    }

    #[test]
    fn long_patterns_are_folded() {
        assert_eq!(fold("MM*"), "MM*");
        assert_eq!(fold(&"M".repeat(100)).chars().count(), 61);
    }
}

//! `model_type: nemotron_h`: Mamba-2, attention without positions, MLPs and mixtures of experts, one per layer.

use super::super::Names;
use super::super::json::Config;
use super::{act, layer_kinds};
use crate::block::{Act, Attention, Block, Mamba2, Mlp, Moe};
use crate::naming::Naming;
use crate::pattern::{self, without_megatron_marks};
use crate::spec::{Binding, ModelSpec};
use std::borrow::Cow;

pub(super) const NAMES: Names = &[
    ("model", "vocab", "vocab_size"),
    ("model", "d_model", "hidden_size"),
    ("model", "norm", "layer_norm_epsilon"),
    ("model", "max_context", "max_position_embeddings"),
    ("model", "pattern", "hybrid_override_pattern"),
    ("mamba2", "n_heads", "mamba_num_heads"),
    ("mamba2", "d_head", "mamba_head_dim"),
    ("mamba2", "d_state", "ssm_state_size"),
    ("mamba2", "n_groups", "n_groups"),
    ("mamba2", "conv", "conv_kernel"),
    ("mamba2", "chunk", "chunk_size"),
    ("mamba2", "dt_min", "time_step_limit"),
    ("mamba2", "dt_max", "time_step_limit"),
    ("attention", "n_heads", "num_attention_heads"),
    ("attention", "n_kv_heads", "num_key_value_heads"),
    ("attention", "d_head", "head_dim"),
    ("mlp", "hidden", "intermediate_size"),
    ("moe", "n_experts", "n_routed_experts"),
    ("moe", "top_k", "num_experts_per_tok"),
    ("moe", "hidden", "moe_intermediate_size"),
    ("moe", "shared_hidden", "moe_shared_expert_intermediate_size"),
    ("moe", "n_group", "n_group"),
    ("moe", "topk_group", "topk_group"),
    ("moe", "scale", "routed_scaling_factor"),
    ("moe", "latent", "moe_latent_size"),
];

/// The only activation of its MLPs and experts.
const ACTS: &[(&str, Act)] = &[("relu2", Act::Relu2)];

/// Symbols of a config's pattern; only these, whatever jet's own language has besides.
const SYMBOLS: &[(char, &str)] = &[('M', "mamba2"), ('*', "attention"), ('-', "mlp"), ('E', "moe")];

/// Names of the kinds in a list of layers, of both generations.
const KINDS: &[(&str, char)] = &[
    ("mamba", 'M'),
    ("attention", '*'),
    ("mlp", '-'),
    ("moe", 'E'),
    ("linear_attention", 'M'),
    ("full_attention", '*'),
];

pub(super) fn read(c: &mut Config, name: &str) -> ModelSpec {
    let pattern = layers(c);
    let mut bindings = Vec::new();
    for (symbol, _) in SYMBOLS.iter().filter(|(s, _)| pattern.contains(*s)) {
        let block = match symbol {
            'M' => Block::Mamba2(mamba2(c)),
            '*' => Block::Attention(attention(c)),
            '-' => Block::Mlp(mlp(c)),
            _ => Block::Moe(moe(c)),
        };
        bindings.push(Binding { symbol: *symbol, block });
    }
    ModelSpec {
        name: Cow::Owned(name.to_owned()),
        vocab: c.need_size(&["vocab_size"]),
        d_model: c.need_size(&["hidden_size"]),
        // `rms_norm_eps` and `norm_eps` stand in some files and are not read.
        norm_eps: c.number(&["layer_norm_epsilon"]).unwrap_or(1e-5),
        tie_embeddings: c.flag(&["tie_word_embeddings"]).unwrap_or(false),
        max_context: c.size(&["max_position_embeddings"]).unwrap_or(4096),
        pattern: Cow::Owned(pattern),
        bindings: Cow::Owned(bindings),
        naming: Naming::NemotronH,
        precisions: Cow::Borrowed(&[]),
    }
}

/// The pattern from `hybrid_override_pattern` or `layers_block_type`; if both are there they must agree.
fn layers(c: &mut Config) -> String {
    let pattern = c.text(&["hybrid_override_pattern"]).map(|text| from_pattern(c, &text));
    let listed = c.words("layers_block_type").map(|list| layer_kinds(c, "layers_block_type", &list, KINDS));
    match (pattern, listed) {
        (Some(pattern), Some(listed)) => {
            if pattern != listed && c.faults.is_empty() {
                let message = format!("it says {listed}, but `hybrid_override_pattern` says {pattern}");
                c.fault("layers_block_type", message);
            }
            pattern
        }
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => {
            let message = "missing (or `layers_block_type`), expected a pattern such as \"M-M-M*-\"";
            c.fault("hybrid_override_pattern", message);
            "M".to_owned()
        }
    }
}

/// A pattern as Megatron and the configs write it, checked against `num_hidden_layers`.
fn from_pattern(c: &mut Config, written: &str) -> String {
    const FIELD: &str = "hybrid_override_pattern";
    let text = without_megatron_marks(written);
    let (parsed, mut faults) = pattern::parse(&text);
    faults.extend(parsed.unknown_symbols(SYMBOLS));
    for fault in &faults {
        c.fault(FIELD, fault.render(&text));
    }
    let flat = parsed.flat();
    if let Some(layers) = c.size(&["num_hidden_layers"])
        && faults.is_empty()
        && layers as usize != flat.len()
    {
        let message = format!("{} blocks, but `num_hidden_layers` is {layers}", flat.len());
        c.fault(FIELD, message);
    }
    flat
}

fn mamba2(c: &mut Config) -> Mamba2 {
    if let Some(act) = c.text(&["mamba_hidden_act"])
        && !matches!(act.as_str(), "silu" | "swish")
    {
        c.fault("mamba_hidden_act", format!("found {act:?}, expected \"silu\""));
    }
    let (low, high) = c.pair(&["time_step_limit", "mamba_dt_limit"]).unwrap_or((0.0, f64::INFINITY));
    Mamba2 {
        n_heads: c.need_size(&["mamba_num_heads"]),
        d_head: c.need_size(&["mamba_head_dim"]),
        d_state: c.need_size(&["ssm_state_size"]),
        n_groups: c.need_size(&["n_groups", "mamba_n_groups"]),
        conv: c.size(&["conv_kernel", "mamba_d_conv"]).unwrap_or(Mamba2::DEFAULT.conv),
        chunk: c.size(&["chunk_size", "mamba_chunk_size"]).unwrap_or(Mamba2::DEFAULT.chunk),
        // A softplus is never negative, so a lower limit below 0 is none.
        dt_min: if low <= 0.0 { 0.0 } else { low },
        dt_max: (high != f64::INFINITY).then_some(high),
        proj_bias: c.flag(&["use_bias"]).unwrap_or(false),
        conv_bias: c.flag(&["use_conv_bias", "mamba_conv_bias"]).unwrap_or(true),
    }
}

/// No rotary embedding, whatever `rope_theta` says: the models have no positions.
fn attention(c: &mut Config) -> Attention {
    let n_heads = c.need_size(&["num_attention_heads"]);
    let bias = c.flag(&["attention_bias"]).unwrap_or(false);
    Attention {
        n_heads,
        n_kv_heads: c.size(&["num_key_value_heads"]).unwrap_or(n_heads),
        d_head: c.need_size(&["head_dim", "attention_head_dim"]),
        qkv_bias: bias,
        out_bias: bias,
        ..Attention::DEFAULT
    }
}

fn mlp(c: &mut Config) -> Mlp {
    Mlp {
        hidden: c.need_size(&["intermediate_size"]),
        act: act(c, "mlp_hidden_act", Act::Relu2, ACTS),
        bias: c.flag(&["mlp_bias"]).unwrap_or(false),
    }
}

fn moe(c: &mut Config) -> Moe {
    // `n_shared_experts` says whether there is one; their width is given for all of them together.
    let shared = match c.size(&["n_shared_experts"]) {
        Some(0) => 0,
        _ => c.size(&["moe_shared_expert_intermediate_size"]).unwrap_or(0),
    };
    Moe {
        n_experts: c.need_size(&["n_routed_experts"]),
        top_k: c.need_size(&["num_experts_per_tok"]),
        hidden: c.need_size(&["moe_intermediate_size"]),
        shared_hidden: shared,
        act: act(c, "mlp_hidden_act", Act::Relu2, ACTS),
        n_group: c.size(&["n_group"]).unwrap_or(1),
        topk_group: c.size(&["topk_group"]).unwrap_or(1),
        norm_topk: c.flag(&["norm_topk_prob"]).unwrap_or(true),
        scale: c.number(&["routed_scaling_factor"]).unwrap_or(1.0),
        latent: c.size(&["moe_latent_size"]).filter(|latent| *latent != 0),
    }
}

//! `model_type: jet_nemotron`: JetBlocks, full and windowed attention by `layer_types`, an MLP behind each.

use super::super::Names;
use super::super::json::Config;
use super::{GATED, act, head_dim, layer_kinds, layers, rope, with_mlps};
use crate::block::{Act, Attention, Block, JetBlock, Mlp};
use crate::naming::Naming;
use crate::spec::{Binding, ModelSpec};
use std::borrow::Cow;

pub(super) const NAMES: Names = &[
    ("model", "vocab", "vocab_size"),
    ("model", "d_model", "hidden_size"),
    ("model", "norm", "rms_norm_eps"),
    ("model", "max_context", "max_position_embeddings"),
    ("model", "pattern", "layer_types"),
    ("mlp", "hidden", "intermediate_size"),
    ("jet_block", "n_heads", "efficient_attention_config.jet.num_heads"),
    ("jet_block", "d_head", "efficient_attention_config.jet.head_dim"),
    ("jet_block", "expand_v", "efficient_attention_config.jet.expand_v"),
    ("jet_block", "conv", "efficient_attention_config.jet.conv_size"),
    ("jet_block", "reduction", "efficient_attention_config.jet.dconv_generator_reduction"),
    ("jet_block", "norm_eps", "efficient_attention_config.jet.norm_eps"),
    ("", "n_heads", "num_attention_heads"),
    ("", "n_kv_heads", "num_key_value_heads"),
    ("", "d_head", "head_dim"),
    ("", "window", "efficient_attention_config.swa.window_size"),
    ("", "theta", "rope_theta"),
    ("", "factor", "rope_scaling.factor"),
    ("", "low_freq", "rope_scaling.low_freq_factor"),
    ("", "high_freq", "rope_scaling.high_freq_factor"),
    ("", "original_context", "rope_scaling.original_max_position_embeddings"),
];

pub(super) fn read(c: &mut Config, name: &str) -> ModelSpec {
    let d_model = c.size(&["hidden_size"]).unwrap_or(1536);
    let mixers = mixers(c);
    let mut efficient = c.section("efficient_attention_config");
    let attention = attention(c, d_model);
    let mut bindings = Vec::new();
    for symbol in ['J', '*', 'W'].into_iter().filter(|s| mixers.contains(*s)) {
        let block = match symbol {
            'J' => Block::JetBlock(jet_block(&mut efficient)),
            'W' => Block::Attention(Attention { window: Some(window(&mut efficient)), ..attention.clone() }),
            _ => Block::Attention(attention.clone()),
        };
        bindings.push(Binding { symbol, block });
    }
    c.absorb(efficient);
    let mlp = Mlp {
        hidden: c.size(&["intermediate_size"]).unwrap_or(8960),
        act: act(c, "hidden_act", Act::Swiglu, GATED),
        bias: false,
    };
    bindings.push(Binding { symbol: '-', block: Block::Mlp(mlp) });
    ModelSpec {
        name: Cow::Owned(name.to_owned()),
        vocab: c.size(&["vocab_size"]).unwrap_or(151_936),
        d_model,
        norm_eps: c.number(&["rms_norm_eps"]).unwrap_or(1e-6),
        tie_embeddings: c.flag(&["tie_word_embeddings"]).unwrap_or(true),
        max_context: c.size(&["max_position_embeddings"]).unwrap_or(32_768),
        pattern: Cow::Owned(with_mlps(mixers.chars())),
        bindings: Cow::Owned(bindings),
        naming: Naming::Transformer,
        precisions: Cow::Borrowed(&[]),
    }
}

/// One character a layer; without `layer_types` every layer is full attention.
fn mixers(c: &mut Config) -> String {
    match c.words("layer_types") {
        Some(list) => layer_kinds(c, "layer_types", &list, &[("jet", 'J'), ("attn", '*'), ("swa", 'W')]),
        None => "*".repeat(layers(c, Some(28)) as usize),
    }
}

fn attention(c: &mut Config, d_model: u32) -> Attention {
    let n_heads = c.size(&["num_attention_heads"]).unwrap_or(12);
    // Null means as many as query heads; only an absent field has the class's default.
    let n_kv_heads = match c.size(&["num_key_value_heads"]) {
        Some(heads) => heads,
        None if c.has("num_key_value_heads") => n_heads,
        None => 2,
    };
    Attention {
        n_heads,
        n_kv_heads,
        d_head: head_dim(c, &["head_dim"], d_model, n_heads),
        rope: Some(rope(c, 1_000_000.0)),
        qkv_bias: true,
        ..Attention::DEFAULT
    }
}

fn jet_block(efficient: &mut Config) -> JetBlock {
    let mut c = efficient.section("jet");
    // `mode` and `dconv_implementation` choose kernels and change no result.
    let block = JetBlock {
        n_heads: c.size(&["num_heads"]).unwrap_or(6),
        d_head: c.size(&["head_dim"]).unwrap_or(256),
        expand_v: c.number(&["expand_v"]).unwrap_or(2.0),
        conv: c.size(&["conv_size"]).unwrap_or(4),
        reduction: c.size(&["dconv_generator_reduction"]).unwrap_or(8),
        norm_eps: c.number(&["norm_eps"]).unwrap_or(1e-5),
    };
    efficient.absorb(c);
    block
}

fn window(efficient: &mut Config) -> u32 {
    let mut c = efficient.section("swa");
    let window = c.need_size(&["window_size"]);
    efficient.absorb(c);
    window
}

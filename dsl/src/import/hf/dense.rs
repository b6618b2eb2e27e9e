//! What Llama, Qwen2 and Qwen3 share: layers of attention and a gated MLP.

use super::super::Names;
use super::super::json::Config;
use super::{GATED, act, head_dim, layer_kinds, layers, rope, with_mlps};
use crate::block::{Act, Attention, Block, Mlp};
use crate::naming::Naming;
use crate::spec::{Binding, ModelSpec};
use std::borrow::Cow;

pub(super) const NAMES: Names = &[
    ("model", "vocab", "vocab_size"),
    ("model", "d_model", "hidden_size"),
    ("model", "norm", "rms_norm_eps"),
    ("model", "max_context", "max_position_embeddings"),
    ("model", "pattern", "num_hidden_layers"),
    ("mlp", "hidden", "intermediate_size"),
    ("", "n_heads", "num_attention_heads"),
    ("", "n_kv_heads", "num_key_value_heads"),
    ("", "d_head", "head_dim"),
    ("", "window", "sliding_window"),
    ("", "theta", "rope_theta"),
    ("", "factor", "rope_scaling.factor"),
    ("", "low_freq", "rope_scaling.low_freq_factor"),
    ("", "high_freq", "rope_scaling.high_freq_factor"),
    ("", "original_context", "rope_scaling.original_max_position_embeddings"),
];

/// Where the three differ.
pub(super) struct Family {
    pub qkv_bias: bool,
    pub out_bias: bool,
    pub mlp_bias: bool,
    pub qk_norm: bool,
    /// Whether `sliding_window` is read.
    pub windows: bool,
    /// `max_position_embeddings` where it is absent.
    pub max_context: u32,
}

pub(super) fn read(c: &mut Config, name: &str, family: &Family) -> ModelSpec {
    let d_model = c.need_size(&["hidden_size"]);
    let n_heads = c.need_size(&["num_attention_heads"]);
    let attention = Attention {
        n_heads,
        n_kv_heads: c.size(&["num_key_value_heads"]).unwrap_or(n_heads),
        d_head: head_dim(c, &["head_dim"], d_model, n_heads),
        window: None,
        rope: Some(rope(c, 10_000.0)),
        qk_norm: family.qk_norm,
        qkv_bias: family.qkv_bias,
        out_bias: family.out_bias,
    };
    let (mixers, window) = if family.windows { windows(c) } else { (full(c), None) };
    let mut bindings = Vec::new();
    if mixers.contains('*') {
        bindings.push(Binding { symbol: '*', block: Block::Attention(attention.clone()) });
    }
    if mixers.contains('W') {
        bindings.push(Binding { symbol: 'W', block: Block::Attention(Attention { window, ..attention }) });
    }
    let mlp = Mlp {
        hidden: c.need_size(&["intermediate_size"]),
        act: act(c, "hidden_act", Act::Swiglu, GATED),
        bias: family.mlp_bias,
    };
    bindings.push(Binding { symbol: '-', block: Block::Mlp(mlp) });
    ModelSpec {
        name: Cow::Owned(name.to_owned()),
        vocab: c.need_size(&["vocab_size"]),
        d_model,
        norm_eps: c.number(&["rms_norm_eps"]).unwrap_or(1e-6),
        tie_embeddings: c.flag(&["tie_word_embeddings"]).unwrap_or(false),
        max_context: c.size(&["max_position_embeddings"]).unwrap_or(family.max_context),
        pattern: Cow::Owned(with_mlps(mixers.chars())),
        bindings: Cow::Owned(bindings),
        naming: Naming::Transformer,
        precisions: Cow::Borrowed(&[]),
    }
}

fn full(c: &mut Config) -> String {
    "*".repeat(layers(c, None) as usize)
}

/// Which layers have a window, and how wide it is: `layer_types` if it is there, else every layer from
/// `max_window_layers` on if `use_sliding_window` says so.
fn windows(c: &mut Config) -> (String, Option<u32>) {
    let layers = layers(c, None);
    let mixers = match c.words("layer_types") {
        Some(list) => {
            layer_kinds(c, "layer_types", &list, &[("full_attention", '*'), ("sliding_attention", 'W')])
        }
        None if c.flag(&["use_sliding_window"]).unwrap_or(false) && c.size(&["sliding_window"]).is_some() => {
            let first = c.size(&["max_window_layers"]).unwrap_or(28);
            (0..layers).map(|i| if i >= first { 'W' } else { '*' }).collect()
        }
        None => "*".repeat(layers as usize),
    };
    let window = if mixers.contains('W') { Some(c.need_size(&["sliding_window"])) } else { None };
    (mixers, window)
}

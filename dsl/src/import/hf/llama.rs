//! `model_type: llama` (SmolLM2 among others): biases by `attention_bias` and `mlp_bias`.

use super::super::json::Config;
use super::dense::{self, Family};
use crate::spec::ModelSpec;

pub(super) fn read(c: &mut Config, name: &str) -> ModelSpec {
    let bias = c.flag(&["attention_bias"]).unwrap_or(false);
    let family = Family {
        qkv_bias: bias,
        out_bias: bias,
        mlp_bias: c.flag(&["mlp_bias"]).unwrap_or(false),
        qk_norm: false,
        windows: false,
        max_context: 2048,
    };
    dense::read(c, name, &family)
}

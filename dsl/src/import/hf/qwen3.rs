//! `model_type: qwen3`: norms on queries and keys; biases by `attention_bias`.

use super::super::json::Config;
use super::dense::{self, Family};
use crate::spec::ModelSpec;

pub(super) fn read(c: &mut Config, name: &str) -> ModelSpec {
    let bias = c.flag(&["attention_bias"]).unwrap_or(false);
    let family = Family {
        qkv_bias: bias,
        out_bias: bias,
        mlp_bias: false,
        qk_norm: true,
        windows: true,
        max_context: 32_768,
    };
    dense::read(c, name, &family)
}

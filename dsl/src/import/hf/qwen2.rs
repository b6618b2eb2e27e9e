//! `model_type: qwen2` (Qwen2.5): always biases on q, k and v, never on the output.

use super::super::json::Config;
use super::dense::{self, Family};
use crate::spec::ModelSpec;

pub(super) fn read(c: &mut Config, name: &str) -> ModelSpec {
    let family = Family {
        qkv_bias: true,
        out_bias: false,
        mlp_bias: false,
        qk_norm: false,
        windows: true,
        max_context: 32_768,
    };
    dense::read(c, name, &family)
}

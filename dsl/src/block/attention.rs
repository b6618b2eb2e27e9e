//! `*` and `W`: causal softmax attention with grouped queries, optionally rotary, with q/k norms, biases and
//! a sliding window.

use super::{BlockKind, BlockState, FieldInfo, Takes};
use crate::weight::{Role, WeightShape, shape};
use serde::{Deserialize, Serialize};

/// Parameters of an attention block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attention {
    /// Query heads.
    pub n_heads: u32,
    /// Key and value heads; divides `n_heads`. Query head `h` reads KV head `h / (n_heads / n_kv_heads)`.
    pub n_kv_heads: u32,
    /// Width of a head; need not be `d_model / n_heads`.
    pub d_head: u32,
    /// Sliding window in tokens, the current one counted; `None` is full attention.
    pub window: Option<u32>,
    /// Rotary embedding; `None` is without any position information.
    pub rope: Option<Rope>,
    /// RMSNorm on each query and key head before the rotation.
    pub qk_norm: bool,
    /// Biases on the q, k and v projections.
    pub qkv_bias: bool,
    /// Bias on the output projection.
    pub out_bias: bool,
}

/// Rotary position embedding, half-split: element `i` pairs with `i + d_head/2`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rope {
    /// Base of the frequencies `theta^(-2i/d_head)`.
    pub theta: f64,
    /// Rescaling of the frequencies.
    pub scaling: RopeScaling,
}

/// How rotary frequencies are rescaled for long contexts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Llama 3: frequencies are divided by `factor` where the wavelength is long, kept where it is short.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_context / low_freq` are divided.
        low_freq: f64,
        /// Wavelengths below `original_context / high_freq` are kept.
        high_freq: f64,
        /// The context the model was trained with first.
        original_context: u32,
    },
}

impl Attention {
    /// What a definition leaves out: no rope, no norms, no biases, no window.
    pub const DEFAULT: Self = Self {
        n_heads: 0,
        n_kv_heads: 0,
        d_head: 0,
        window: None,
        rope: None,
        qk_norm: false,
        qkv_bias: false,
        out_bias: false,
    };

    /// Width of all query heads.
    pub fn q_dim(&self) -> u64 {
        u64::from(self.n_heads) * u64::from(self.d_head)
    }

    /// Width of all key heads.
    pub fn kv_dim(&self) -> u64 {
        u64::from(self.n_kv_heads) * u64::from(self.d_head)
    }
}

/// The fields of `attention { … }` and, with the last one required, of `window_attention { … }`.
pub(super) const FIELDS: &[FieldInfo] =
    &with_window(FieldInfo::optional("window", Takes::OptionalSize, "none", WINDOW));
/// See [`FIELDS`].
pub(super) const WINDOW_FIELDS: &[FieldInfo] =
    &with_window(FieldInfo::required("window", Takes::Size, WINDOW));

const WINDOW: &str = "Sliding window in tokens, the current one counted.";

const fn with_window(window: FieldInfo) -> [FieldInfo; 8] {
    [
        FieldInfo::required("n_heads", Takes::Size, "Query heads."),
        FieldInfo::required("n_kv_heads", Takes::Size, "Key and value heads."),
        FieldInfo::required("d_head", Takes::Size, "Width of a head."),
        FieldInfo::optional("rope", Takes::Rope, "none", "Rotary position embedding."),
        FieldInfo::optional("qk_norm", Takes::Flag, "false", "RMSNorm on each query and key head."),
        FieldInfo::optional("qkv_bias", Takes::Flag, "false", "Biases on the q, k and v projections."),
        FieldInfo::optional("out_bias", Takes::Flag, "false", "Bias on the output projection."),
        window,
    ]
}

impl BlockKind for Attention {
    fn name(&self) -> &'static str {
        if self.window.is_some() { "window_attention" } else { "attention" }
    }

    fn weights(&self, d: u64) -> Vec<(Role, WeightShape)> {
        let (q, kv) = (self.q_dim(), self.kv_dim());
        let mut w =
            vec![(Role::QProj, shape([q, d])), (Role::KProj, shape([kv, d])), (Role::VProj, shape([kv, d]))];
        if self.qkv_bias {
            w.extend([(Role::QBias, shape([q])), (Role::KBias, shape([kv])), (Role::VBias, shape([kv]))]);
        }
        w.push((Role::OProj, shape([d, q])));
        if self.out_bias {
            w.push((Role::OBias, shape([d])));
        }
        if self.qk_norm {
            let hd = u64::from(self.d_head);
            w.extend([(Role::QNorm, shape([hd])), (Role::KNorm, shape([hd]))]);
        }
        w
    }

    fn state(&self) -> BlockState {
        BlockState {
            kv_per_token: 2 * self.kv_dim(),
            window: self.window.map(u64::from),
            ..BlockState::default()
        }
    }

    fn flops_per_token(&self, d: u64, context: u64) -> u64 {
        let seen = self.window.map_or(context, |w| context.min(u64::from(w)));
        2 * d * (2 * self.q_dim() + 2 * self.kv_dim()) + 4 * self.q_dim() * seen
    }
}

//! The block kinds a pattern can name: one file each, one line in [`KINDS`].
//!
//! A *block* is one character of the pattern: a norm, a mixer and a residual add. Each kind declares its
//! parameters, the weights it needs (role and shape), the state it carries between tokens and its cost.

mod attention;
mod field;
mod jet_block;
mod mamba2;
mod mlp;
mod moe;

pub use attention::{Attention, Rope, RopeScaling};
pub use field::{FieldInfo, MODEL_FIELDS, Takes};
pub use jet_block::JetBlock;
pub use mamba2::Mamba2;
pub use mlp::{Act, Mlp};
pub use moe::Moe;

use crate::weight::{Role, WeightShape};
use serde::{Deserialize, Serialize};

/// One block with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Block {
    /// Mamba-2 mixer (`M`).
    Mamba2(Mamba2),
    /// Softmax attention, full (`*`) or with a sliding window (`W`).
    Attention(Attention),
    /// Dense MLP (`-`).
    Mlp(Mlp),
    /// JetBlock (`J`).
    JetBlock(JetBlock),
    /// Mixture of experts (`E`).
    Moe(Moe),
}

/// What every block kind can say about itself. `d` is the model's width, `d_model`.
pub trait BlockKind {
    /// The name in `jet_model!`, as in `mamba2 { … }`.
    fn name(&self) -> &'static str;
    /// Weights in checkpoint order, without the block's own norm.
    fn weights(&self, d: u64) -> Vec<(Role, WeightShape)>;
    /// State carried per sequence; zero for a block without memory.
    fn state(&self) -> BlockState;
    /// FLOPs for one token that sees `context` tokens (itself included), two per multiply-add.
    fn flops_per_token(&self, d: u64, context: u64) -> u64;
    /// Parameters that one token uses; differs from the sum of the parameters for a mixture of experts only.
    fn active_params(&self, d: u64) -> u64 {
        self.weights(d).iter().filter(|(r, _)| r.is_parameter()).map(|(_, s)| s.elements()).sum()
    }
}

/// Elements of the state one sequence carries through one block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockState {
    /// KV entries (key and value) per cached token.
    pub kv_per_token: u64,
    /// Cached tokens at most, where a window bounds them.
    pub window: Option<u64>,
    /// Convolution columns kept, in elements.
    pub conv: u64,
    /// Recurrent state, in elements (always float32).
    pub recurrent: u64,
}

impl BlockState {
    /// Bytes at `context` tokens with `kv_bytes` per KV and convolution element; recurrent state is float32.
    pub fn bytes(&self, context: u64, kv_bytes: u64) -> u64 {
        let tokens = self.window.map_or(context, |w| w.min(context));
        (self.kv_per_token * tokens + self.conv) * kv_bytes + self.recurrent * 4
    }
}

/// A registered block kind: what the parsers and the messages know about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindInfo {
    /// Name in `jet_model!`.
    pub name: &'static str,
    /// Default character in a pattern.
    pub symbol: char,
    /// One line for messages and documentation.
    pub summary: &'static str,
    /// What stands between its braces.
    pub fields: &'static [FieldInfo],
}

/// All block kinds and their default characters. `W` is attention whose window is required.
pub const KINDS: &[KindInfo] = &[
    KindInfo { name: "mamba2", symbol: 'M', summary: "Mamba-2 state-space mixer", fields: mamba2::FIELDS },
    KindInfo {
        name: "attention",
        symbol: '*',
        summary: "full causal attention, grouped-query",
        fields: attention::FIELDS,
    },
    KindInfo {
        name: "window_attention",
        symbol: 'W',
        summary: "sliding-window attention",
        fields: attention::WINDOW_FIELDS,
    },
    KindInfo { name: "mlp", symbol: '-', summary: "dense MLP", fields: mlp::FIELDS },
    KindInfo {
        name: "jet_block",
        symbol: 'J',
        summary: "JetBlock: gated delta rule with dynamic convolution",
        fields: jet_block::FIELDS,
    },
    KindInfo { name: "moe", symbol: 'E', summary: "mixture of experts", fields: moe::FIELDS },
];

impl Block {
    /// The kind behind the enum.
    pub fn kind(&self) -> &dyn BlockKind {
        match self {
            Block::Mamba2(b) => b,
            Block::Attention(b) => b,
            Block::Mlp(b) => b,
            Block::JetBlock(b) => b,
            Block::Moe(b) => b,
        }
    }

    /// The name in `jet_model!`.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }
}

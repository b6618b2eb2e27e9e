//! `-`: the dense MLP, plain (relu²) or gated (SwiGLU, gated GELU).

use super::{BlockKind, BlockState, FieldInfo, Takes};
use crate::weight::{Role, WeightShape, shape};
use serde::{Deserialize, Serialize};

/// Parameters of an MLP block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mlp {
    /// Inner width.
    pub hidden: u32,
    /// Activation; it also says whether there is a gate.
    pub act: Act,
    /// Biases on all its projections.
    pub bias: bool,
}

/// Activation of an MLP or of an expert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// `relu(x)²`, no gate.
    Relu2,
    /// `silu(gate) * up`.
    Swiglu,
    /// `gelu(gate) * up`, the tanh form of GELU.
    Geglu,
}

impl Act {
    /// Every activation with its name in `jet_model!`.
    pub const ALL: &[(&'static str, Act)] =
        &[("relu2", Act::Relu2), ("swiglu", Act::Swiglu), ("geglu", Act::Geglu)];

    /// Whether a gate projection stands beside the up projection.
    pub fn gated(self) -> bool {
        !matches!(self, Act::Relu2)
    }
}

impl Mlp {
    /// What a definition leaves out: no bias.
    pub const DEFAULT: Self = Self { hidden: 0, act: Act::Swiglu, bias: false };
}

/// The fields of `mlp { … }`.
pub(super) const FIELDS: &[FieldInfo] = &[
    FieldInfo::required("hidden", Takes::Size, "Inner width."),
    FieldInfo::required("act", Takes::Act, "Activation; it also says whether there is a gate."),
    FieldInfo::optional("bias", Takes::Flag, "false", "Biases on all projections."),
];

impl BlockKind for Mlp {
    fn name(&self) -> &'static str {
        "mlp"
    }

    fn weights(&self, d: u64) -> Vec<(Role, WeightShape)> {
        let h = u64::from(self.hidden);
        let mut w = Vec::new();
        if self.act.gated() {
            w.push((Role::GateProj, shape([h, d])));
        }
        w.push((Role::UpProj, shape([h, d])));
        w.push((Role::DownProj, shape([d, h])));
        if self.bias {
            if self.act.gated() {
                w.push((Role::GateBias, shape([h])));
            }
            w.push((Role::UpBias, shape([h])));
            w.push((Role::DownBias, shape([d])));
        }
        w
    }

    fn state(&self) -> BlockState {
        BlockState::default()
    }

    fn flops_per_token(&self, d: u64, _context: u64) -> u64 {
        2 * d * u64::from(self.hidden) * if self.act.gated() { 3 } else { 2 }
    }
}

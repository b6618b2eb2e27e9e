//! `M`: the Mamba-2 mixer (state-space duality; Dao and Gu, 2024), with the shapes of Nemotron-H.

use super::{BlockKind, BlockState, FieldInfo, Takes};
use crate::weight::{Role, WeightShape, shape};
use serde::{Deserialize, Serialize};

/// Parameters of a Mamba-2 block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mamba2 {
    /// Heads, `H`.
    pub n_heads: u32,
    /// Channels per head, `P`.
    pub d_head: u32,
    /// State size per channel, `N`.
    pub d_state: u32,
    /// Groups that share B and C, `G`; divides `n_heads`.
    pub n_groups: u32,
    /// Taps of the causal convolution, `K`.
    pub conv: u32,
    /// The chunk length the checkpoint suggests; a tuning value, the result does not depend on it.
    pub chunk: u32,
    /// Lower clamp of the step size Δ.
    pub dt_min: f64,
    /// Upper clamp of Δ; `None` is infinity.
    pub dt_max: Option<f64>,
    /// Bias on `in_proj` and `out_proj`.
    pub proj_bias: bool,
    /// Bias of the convolution.
    pub conv_bias: bool,
}

impl Mamba2 {
    /// What a definition leaves out: four taps, chunk 128, Δ unclamped, convolution bias, no projection bias.
    pub const DEFAULT: Self = Self {
        n_heads: 0,
        d_head: 0,
        d_state: 128,
        n_groups: 1,
        conv: 4,
        chunk: 128,
        dt_min: 0.0,
        dt_max: None,
        proj_bias: false,
        conv_bias: true,
    };

    /// Inner width `H·P`.
    pub fn d_inner(&self) -> u64 {
        u64::from(self.n_heads) * u64::from(self.d_head)
    }

    /// Channels of the convolution: x, B and C.
    pub fn conv_dim(&self) -> u64 {
        self.d_inner() + 2 * u64::from(self.n_groups) * u64::from(self.d_state)
    }

    /// Rows of `in_proj`: z, xBC and one Δ per head.
    pub fn in_proj_rows(&self) -> u64 {
        self.d_inner() + self.conv_dim() + u64::from(self.n_heads)
    }
}

/// The fields of `mamba2 { … }`.
pub(super) const FIELDS: &[FieldInfo] = &[
    FieldInfo::required("n_heads", Takes::Size, "Heads."),
    FieldInfo::required("d_head", Takes::Size, "Channels per head."),
    FieldInfo::optional("d_state", Takes::Size, "128", "State size per channel."),
    FieldInfo::optional("n_groups", Takes::Size, "1", "Groups of heads that share B and C."),
    FieldInfo::optional("conv", Takes::Size, "4", "Taps of the causal convolution."),
    FieldInfo::optional("chunk", Takes::Size, "128", "Suggested chunk length; never changes the result."),
    FieldInfo::optional("dt_min", Takes::Number, "0.0", "Lower clamp of the step size."),
    FieldInfo::optional("dt_max", Takes::OptionalNumber, "none", "Upper clamp of the step size."),
    FieldInfo::optional("proj_bias", Takes::Flag, "false", "Bias on the input and output projections."),
    FieldInfo::optional("conv_bias", Takes::Flag, "true", "Bias of the convolution."),
];

impl BlockKind for Mamba2 {
    fn name(&self) -> &'static str {
        "mamba2"
    }

    fn weights(&self, d: u64) -> Vec<(Role, WeightShape)> {
        let (di, cd, h) = (self.d_inner(), self.conv_dim(), u64::from(self.n_heads));
        let mut w = vec![(Role::InProj, shape([self.in_proj_rows(), d]))];
        if self.proj_bias {
            w.push((Role::InProjBias, shape([self.in_proj_rows()])));
        }
        w.push((Role::ConvWeight, shape([cd, 1, u64::from(self.conv)])));
        if self.conv_bias {
            w.push((Role::ConvBias, shape([cd])));
        }
        w.extend([
            (Role::DtBias, shape([h])),
            (Role::ALog, shape([h])),
            (Role::DSkip, shape([h])),
            (Role::GatedNorm, shape([di])),
            (Role::OutProj, shape([d, di])),
        ]);
        if self.proj_bias {
            w.push((Role::OutProjBias, shape([d])));
        }
        w
    }

    fn state(&self) -> BlockState {
        BlockState {
            conv: self.conv_dim() * u64::from(self.conv.saturating_sub(1)),
            recurrent: self.d_inner() * u64::from(self.d_state),
            ..BlockState::default()
        }
    }

    fn flops_per_token(&self, d: u64, _context: u64) -> u64 {
        let (di, n) = (self.d_inner(), u64::from(self.d_state));
        // Projections, convolution, and the recurrence: decay and update (3) and read-out (2) per state element.
        2 * d * (self.in_proj_rows() + di) + 2 * self.conv_dim() * u64::from(self.conv) + 5 * di * n
    }
}

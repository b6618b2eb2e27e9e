//! `E`: mixture of experts as in Nemotron 3: sigmoid router with a choice bias, routed experts, one shared
//! expert, optionally experts in a latent width.

use super::{Act, BlockKind, BlockState, FieldInfo, Takes};
use crate::weight::{Role, WeightShape, shape};
use serde::{Deserialize, Serialize};

/// Parameters of a mixture-of-experts block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moe {
    /// Routed experts.
    pub n_experts: u32,
    /// Experts chosen per token.
    pub top_k: u32,
    /// Inner width of a routed expert.
    pub hidden: u32,
    /// Inner width of the shared expert; 0 is none.
    pub shared_hidden: u32,
    /// Activation of routed and shared experts.
    pub act: Act,
    /// Router groups; the best `topk_group` of them stay in the choice.
    pub n_group: u32,
    /// Groups kept.
    pub topk_group: u32,
    /// Divide the chosen weights by their sum.
    pub norm_topk: bool,
    /// Factor on the routed output.
    pub scale: f64,
    /// Width the routed experts work in, where it is not `d_model`.
    pub latent: Option<u32>,
}

impl Moe {
    /// What a definition leaves out: relu², one group, normalised weights, no shared expert, no latent width.
    pub const DEFAULT: Self = Self {
        n_experts: 0,
        top_k: 0,
        hidden: 0,
        shared_hidden: 0,
        act: Act::Relu2,
        n_group: 1,
        topk_group: 1,
        norm_topk: true,
        scale: 1.0,
        latent: None,
    };

    fn expert_width(&self, d: u64) -> u64 {
        self.latent.map_or(d, u64::from)
    }

    fn expert_matrices(&self) -> u64 {
        if self.act.gated() { 3 } else { 2 }
    }
}

/// The fields of `moe { … }`.
pub(super) const FIELDS: &[FieldInfo] = &[
    FieldInfo::required("n_experts", Takes::Size, "Routed experts."),
    FieldInfo::required("top_k", Takes::Size, "Experts chosen per token."),
    FieldInfo::required("hidden", Takes::Size, "Inner width of a routed expert."),
    FieldInfo::optional("shared_hidden", Takes::Size, "0", "Inner width of the shared expert; 0 is none."),
    FieldInfo::optional("act", Takes::Act, "relu2", "Activation of the experts."),
    FieldInfo::optional("n_group", Takes::Size, "1", "Router groups."),
    FieldInfo::optional("topk_group", Takes::Size, "1", "Router groups that stay in the choice."),
    FieldInfo::optional("norm_topk", Takes::Flag, "true", "Divide the chosen weights by their sum."),
    FieldInfo::optional("scale", Takes::Number, "1.0", "Factor on the routed output."),
    FieldInfo::optional(
        "latent",
        Takes::OptionalSize,
        "none",
        "Width the routed experts work in, if not d_model.",
    ),
];

impl BlockKind for Moe {
    fn name(&self) -> &'static str {
        "moe"
    }

    fn weights(&self, d: u64) -> Vec<(Role, WeightShape)> {
        let (h, x) = (u64::from(self.hidden), self.expert_width(d));
        let mut w = vec![
            (Role::Router, shape([u64::from(self.n_experts), d])),
            (Role::RouterBias, shape([u64::from(self.n_experts)])),
        ];
        if let Some(latent) = self.latent {
            w.push((Role::LatentIn, shape([u64::from(latent), d])));
            w.push((Role::LatentOut, shape([d, u64::from(latent)])));
        }
        for e in 0..self.n_experts {
            if self.act.gated() {
                w.push((Role::ExpertGate(e), shape([h, x])));
            }
            w.push((Role::ExpertUp(e), shape([h, x])));
            w.push((Role::ExpertDown(e), shape([x, h])));
        }
        if self.shared_hidden > 0 {
            let s = u64::from(self.shared_hidden);
            if self.act.gated() {
                w.push((Role::SharedGate, shape([s, d])));
            }
            w.push((Role::SharedUp, shape([s, d])));
            w.push((Role::SharedDown, shape([d, s])));
        }
        w
    }

    fn state(&self) -> BlockState {
        BlockState::default()
    }

    fn flops_per_token(&self, d: u64, _context: u64) -> u64 {
        2 * self.active_params(d)
    }

    fn active_params(&self, d: u64) -> u64 {
        let idle = u64::from(self.n_experts - self.top_k.min(self.n_experts));
        let expert = self.expert_matrices() * u64::from(self.hidden) * self.expert_width(d);
        // The choice bias is no parameter, yet every token reads it, and the published count has it.
        let all: u64 = self.weights(d).iter().map(|(_, s)| s.elements()).sum();
        all - idle * expert
    }
}

//! `J`: JetBlock (Jet-Nemotron, arXiv 2508.15884): gated-delta-rule linear attention whose values pass a
//! convolution with a kernel generated per token.

use super::{BlockKind, BlockState, FieldInfo, Takes};
use crate::weight::{Role, WeightShape, shape};
use serde::{Deserialize, Serialize};

/// Parameters of a JetBlock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JetBlock {
    /// Heads, `H`.
    pub n_heads: u32,
    /// Key width of a head, `K`.
    pub d_head: u32,
    /// Value width over key width, `V / K`. Rounded to the nearest whole `V`, within a relative 1e-5.
    pub expand_v: f64,
    /// Taps of the dynamic convolution, `W`.
    pub conv: u32,
    /// The kernel generator's hidden width is `H·V / reduction`.
    pub reduction: u32,
    /// Epsilon of the gated norm; not the model's.
    pub norm_eps: f64,
}

impl JetBlock {
    /// What a definition leaves out.
    pub const DEFAULT: Self =
        Self { n_heads: 0, d_head: 0, expand_v: 2.0, conv: 4, reduction: 8, norm_eps: 1e-5 };

    /// Value width of a head, `V`.
    pub fn d_value(&self) -> u64 {
        (f64::from(self.d_head) * self.expand_v).round() as u64
    }

    /// `H·K`.
    pub fn key_dim(&self) -> u64 {
        u64::from(self.n_heads) * u64::from(self.d_head)
    }

    /// `H·V`.
    pub fn value_dim(&self) -> u64 {
        u64::from(self.n_heads) * self.d_value()
    }

    /// Hidden width of the kernel generator, `R`.
    pub fn generator_hidden(&self) -> u64 {
        self.value_dim() / u64::from(self.reduction.max(1))
    }
}

/// The fields of `jet_block { … }`.
pub(super) const FIELDS: &[FieldInfo] = &[
    FieldInfo::required("n_heads", Takes::Size, "Heads."),
    FieldInfo::required("d_head", Takes::Size, "Key width of a head."),
    FieldInfo::optional("expand_v", Takes::Number, "2.0", "Value width over key width."),
    FieldInfo::optional("conv", Takes::Size, "4", "Taps of the dynamic convolution."),
    FieldInfo::optional(
        "reduction",
        Takes::Size,
        "8",
        "Value channels per hidden channel of the kernel generator.",
    ),
    FieldInfo::optional("norm_eps", Takes::Number, "1e-5", "Epsilon of the gated norm."),
];

impl BlockKind for JetBlock {
    fn name(&self) -> &'static str {
        "jet_block"
    }

    fn weights(&self, d: u64) -> Vec<(Role, WeightShape)> {
        let (kd, vd, h, r) =
            (self.key_dim(), self.value_dim(), u64::from(self.n_heads), self.generator_hidden());
        let taps = vd * u64::from(self.conv);
        vec![
            (Role::ALog, shape([h])),
            (Role::DtBias, shape([h])),
            (Role::QProj, shape([kd, d])),
            (Role::KProj, shape([kd, d])),
            (Role::VProj, shape([vd, d])),
            (Role::BetaProj, shape([h, d])),
            (Role::DecayProj, shape([h, d])),
            (Role::GeneratorW1, shape([r, d])),
            (Role::GeneratorW2, shape([taps, r])),
            (Role::GeneratorBias, shape([taps])),
            (Role::GateProj, shape([vd, d])),
            (Role::GatedNorm, shape([self.d_value()])),
            (Role::OProj, shape([d, vd])),
        ]
    }

    fn state(&self) -> BlockState {
        BlockState {
            conv: self.value_dim() * u64::from(self.conv),
            recurrent: self.key_dim() * self.d_value(),
            ..BlockState::default()
        }
    }

    fn flops_per_token(&self, d: u64, _context: u64) -> u64 {
        let matrices: u64 =
            self.weights(d).iter().filter(|(_, s)| s.0.len() == 2).map(|(_, s)| s.elements()).sum();
        // Per state element: decay, error read (2), write (2), read-out (2).
        2 * matrices + 2 * self.value_dim() * u64::from(self.conv) + 7 * self.key_dim() * self.d_value()
    }
}

//! Weights by role: what a block needs, independent of what a checkpoint calls it.

use serde::{Deserialize, Serialize};

/// What a weight is for inside its block (or in the model, for the first three).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it; shapes are declared by each block kind")]
pub enum Role {
    Embedding,
    FinalNorm,
    LmHead,
    /// The block's input norm, `[d_model]`.
    Norm,
    InProj,
    InProjBias,
    ConvWeight,
    ConvBias,
    DtBias,
    ALog,
    DSkip,
    /// Weight of the gated norm in front of the output projection.
    GatedNorm,
    OutProj,
    OutProjBias,
    QProj,
    KProj,
    VProj,
    OProj,
    QBias,
    KBias,
    VBias,
    OBias,
    QNorm,
    KNorm,
    GateProj,
    UpProj,
    DownProj,
    GateBias,
    UpBias,
    DownBias,
    /// JetBlock: write strength, `b_proj`.
    BetaProj,
    /// JetBlock: log decay, `a_proj`.
    DecayProj,
    GeneratorW1,
    GeneratorW2,
    GeneratorBias,
    Router,
    /// Added to the router scores for the choice only; a buffer, not a parameter.
    RouterBias,
    LatentIn,
    LatentOut,
    ExpertGate(u32),
    ExpertUp(u32),
    ExpertDown(u32),
    SharedGate,
    SharedUp,
    SharedDown,
}

impl Role {
    /// Counted in the published parameter totals.
    pub fn is_parameter(self) -> bool {
        !matches!(self, Role::RouterBias)
    }
}

/// Row-major shape, slowest dimension first; a matrix is `[out, in]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WeightShape(pub Vec<u64>);

impl WeightShape {
    /// Number of values.
    pub fn elements(&self) -> u64 {
        self.0.iter().product()
    }
}

impl std::fmt::Display for WeightShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

pub(crate) fn shape<const N: usize>(dims: [u64; N]) -> WeightShape {
    WeightShape(dims.to_vec())
}

/// Which weight: the layer (index of the pattern's character; `None` for the model's own) and its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WeightRef {
    /// Index of the block in the flat pattern.
    pub layer: Option<u32>,
    /// What it is for.
    pub role: Role,
}

/// A weight that a model needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WeightDecl {
    /// Which.
    pub id: WeightRef,
    /// Name in a safetensors checkpoint of the model's [`crate::Naming`].
    pub name: String,
    /// Expected shape.
    pub shape: WeightShape,
}

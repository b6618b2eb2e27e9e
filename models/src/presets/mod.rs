//! Models that jet knows by name: one file each, written with `jet_model!`, and one line here.

mod jet_nemotron_2b;
mod jet_nemotron_4b;
mod nemotron_3_nano_30b_a3b;
mod nemotron_nano_12b_v2_base;
mod nemotron_nano_9b_v2;
mod qwen2_5_1_5b;
mod qwen3_1_7b;
mod smollm2_135m;
mod tiny_hybrid;

pub use jet_nemotron_2b::JetNemotron2B;
pub use jet_nemotron_4b::JetNemotron4B;
pub use nemotron_3_nano_30b_a3b::Nemotron3Nano30BA3B;
pub use nemotron_nano_9b_v2::NemotronNano9BV2;
pub use nemotron_nano_12b_v2_base::NemotronNano12BV2Base;
pub use qwen2_5_1_5b::Qwen2_5_1_5B;
pub use qwen3_1_7b::Qwen3_1_7B;
pub use smollm2_135m::SmolLm2_135M;
pub use tiny_hybrid::TinyHybrid;

use crate::dsl::ModelSpec;
use crate::dsl::suggest::{all_of, closest};

/// A model that jet knows by name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name, as it is given on the command line.
    pub name: &'static str,
    /// Its specification.
    pub spec: fn() -> ModelSpec,
    /// The Rust source that declares it.
    pub source: &'static str,
}

/// Registry line of a preset: its type and its file.
macro_rules! preset {
    ($model:ident, $file:literal) => {
        Preset { name: $model::NAME, spec: $model::spec, source: include_str!($file) }
    };
}

/// Every preset.
pub const ALL: &[Preset] = &[
    preset!(JetNemotron2B, "jet_nemotron_2b.rs"),
    preset!(JetNemotron4B, "jet_nemotron_4b.rs"),
    preset!(NemotronNano9BV2, "nemotron_nano_9b_v2.rs"),
    preset!(NemotronNano12BV2Base, "nemotron_nano_12b_v2_base.rs"),
    preset!(Nemotron3Nano30BA3B, "nemotron_3_nano_30b_a3b.rs"),
    preset!(Qwen2_5_1_5B, "qwen2_5_1_5b.rs"),
    preset!(Qwen3_1_7B, "qwen3_1_7b.rs"),
    preset!(SmolLm2_135M, "smollm2_135m.rs"),
    preset!(TinyHybrid, "tiny_hybrid.rs"),
];

/// No preset has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no preset is called {name:?}; {hint}")]
pub struct UnknownPreset {
    /// The name that was asked for.
    pub name: String,
    /// What was probably meant, or all there are.
    pub hint: String,
}

/// The preset of a name.
///
/// # Errors
/// None has that name; the error suggests the nearest one.
pub fn find(name: &str) -> Result<&'static Preset, UnknownPreset> {
    let names = || ALL.iter().map(|p| p.name);
    ALL.iter().find(|p| p.name == name).ok_or_else(|| UnknownPreset {
        name: name.to_owned(),
        hint: match closest(name, names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are {}", all_of(names())),
        },
    })
}

#[cfg(test)]
mod tests;

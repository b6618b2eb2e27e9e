//! Models that were declared elsewhere: a checkpoint's `config.json`, or the header of a GGUF file.
//!
//! Imports take text or a look-up and touch no file. They read what is there with every spelling that is in
//! use, never guess at what contradicts itself, and end in the same rules as `jet_model!`.

pub mod gguf;
pub mod hf;
mod json;

use crate::check::{Fault, Place, check};
use crate::spec::ModelSpec;
use crate::suggest::all_of;

/// What a checkpoint says besides the model: the tokens that begin and end a text, and how it was saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportNotes {
    /// `model_type` of a config, `general.architecture` of a GGUF file.
    pub model_type: String,
    /// Token that begins a text, where there is one.
    pub bos: Option<u32>,
    /// Tokens that end a text; any of them stops.
    pub eos: Vec<u32>,
    /// Padding token.
    pub pad: Option<u32>,
    /// What the weights were saved in, as it is written there (`bfloat16`).
    pub dtype: Option<String>,
    /// Chat template that came with it (GGUF only; checkpoints keep it in a file of its own).
    pub chat_template: Option<String>,
}

/// Why a declaration could not be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The text is not JSON, not even with bare `Infinity` and `NaN`.
    #[error("not valid JSON: {0}")]
    Json(String),
    /// A kind of model that jet does not know.
    #[error("`{field}` is {found}, and the supported ones are {}", all_of(.supported.iter().copied()))]
    UnknownModel {
        /// The field that names the kind.
        field: &'static str,
        /// What it says.
        found: String,
        /// What it could say.
        supported: &'static [&'static str],
    },
    /// Fields that are missing, wrong, contradictory or against the rules of [`crate::check`].
    #[error("{}", .faults.join("\n"))]
    Fields {
        /// One line or more each: the field, what was found, what was expected.
        faults: Vec<String>,
    },
}

/// What a field of a block or of the model is called where the model was declared: kind, field, name there.
type Names = &'static [(&'static str, &'static str, &'static str)];

/// The model if it breaks no rule; the faults name the fields as they are called where it was declared.
fn judged(spec: ModelSpec, names: Names) -> Result<ModelSpec, ImportError> {
    let faults: Vec<String> = check(&spec).iter().map(|f| located(f, names)).collect();
    if faults.is_empty() { Ok(spec.in_order()) } else { Err(ImportError::Fields { faults }) }
}

fn located(fault: &Fault, names: Names) -> String {
    let name = |kind: &str, field: &str| {
        names.iter().find(|(k, f, _)| *f == field && (k.is_empty() || *k == kind)).map(|(_, _, name)| *name)
    };
    let there: Vec<&str> = match &fault.place {
        Place::Model(field) => name("model", field).into_iter().collect(),
        Place::Pattern => name("model", "pattern").into_iter().collect(),
        Place::Binding(_) => Vec::new(),
        Place::Block(_, kind, fields) => fields.iter().filter_map(|f| name(kind, f)).collect(),
    };
    if there.is_empty() { fault.to_string() } else { format!("{}: {fault}", all_of(there)) }
}

#[cfg(test)]
mod tests;

//! Why a target cannot be what it was taken for.

use crate::presets::UnknownPreset;
use crate::weights;
use jet_dsl::import::ImportError;
use jet_dsl::syntax::FileError;
use std::path::PathBuf;

/// Errors of finding and reading a target.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Nothing has this name.
    #[error(
        "{text:?} is no model: {preset}; a target is a preset, a `.rs` file with a `jet_model!` (`file.rs::Name`), a \
         folder with a config.json, a `.gguf` file, or ORG/NAME in the Hugging Face cache"
    )]
    Unknown {
        /// What was given.
        text: String,
        /// What presets say to it.
        preset: UnknownPreset,
    },
    /// A file or folder is not there or cannot be read.
    #[error("{}: {what}", path.display())]
    Path {
        /// The file or folder.
        path: PathBuf,
        /// What was found and what was expected.
        what: String,
    },
    /// A Rust source file has faults.
    #[error("{}", shown(path, faults))]
    Source {
        /// The file.
        path: PathBuf,
        /// All of them, with lines and columns.
        faults: FileError,
    },
    /// A Rust source file declares no model, several, or not the one asked for.
    #[error("{}: {what}", path.display())]
    Choice {
        /// The file.
        path: PathBuf,
        /// What it declares and how to choose.
        what: String,
    },
    /// A config or a GGUF header that jet cannot take.
    #[error("{}: {source}", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ImportError,
    },
    /// Weights that cannot be read, or that belong to another model.
    #[error(transparent)]
    Weights(#[from] weights::Error),
    /// The Hugging Face cache does not have the model.
    #[error(transparent)]
    Hub(#[from] crate::hub::HubError),
    /// A GGUF file of another model than the declared one.
    #[error("{}: the file is not of `{model}`:\n  {}", path.display(), differences.join("\n  "))]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// The declared model.
        model: String,
        /// In what they differ.
        differences: Vec<String>,
    },
    /// Weights are wanted of a target that has none.
    #[error(
        "`{model}` is declared without weights ({place}); give a checkpoint folder or a .gguf file, or take random \
         weights from a seed (`--random 1`, or `LoadOptions::random`)"
    )]
    NoWeights {
        /// The model's name.
        model: String,
        /// Where it is declared.
        place: String,
    },
}

/// One fault on a line, `file:line:column: …`; several below a line that counts them.
fn shown(path: &std::path::Path, faults: &FileError) -> String {
    let path = path.display();
    let lines: Vec<String> = faults.faults.iter().map(|fault| format!("{path}:{fault}")).collect();
    match lines.as_slice() {
        [one] => one.clone(),
        many => format!("{path}: {} faults\n{}", many.len(), many.join("\n")),
    }
}

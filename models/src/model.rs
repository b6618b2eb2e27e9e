//! The trait behind every `jet_model!`: from a declared type to a running session.

use crate::session::{LoadOptions, Session, SessionError};
use crate::target::Target;
use jet_dsl::ModelSpec;
use std::path::Path;

/// A model declared with `jet_model!`. The macro writes `SPEC`; the constructors come with the trait.
///
/// ```
/// use jet_models::Model as _;
/// use jet_models::presets::TinyHybrid;
///
/// let spec = TinyHybrid::SPEC;
/// assert_eq!(&*spec.pattern, "MM*M-J*");
/// ```
pub trait Model {
    /// What the model is.
    const SPEC: ModelSpec;

    /// The model without weights, for whatever takes a [`Target`].
    fn target() -> Target {
        Target::from_spec(Self::SPEC)
    }

    /// A session on the CPU with the weights of a folder of safetensors. A `config.json` beside them is not asked:
    /// the declaration rules, and each weight is checked against it.
    ///
    /// # Errors
    /// The weights are not those of this model (every fault at once), or the model does not fit into memory.
    fn from_pretrained(path: impl AsRef<Path>) -> Result<Session, SessionError> {
        Self::from_pretrained_with(path, &LoadOptions::default())
    }

    /// [`Model::from_pretrained`] with options.
    ///
    /// # Errors
    /// As [`Model::from_pretrained`].
    fn from_pretrained_with(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Session, SessionError> {
        Session::load(&Target::of_folder(Self::SPEC, path.as_ref())?, options)
    }

    /// A session on the CPU with the weights, the tokenizer and the chat template of a GGUF file.
    ///
    /// # Errors
    /// The file declares another model (naming what differs), or as [`Model::from_pretrained`].
    fn from_gguf(path: impl AsRef<Path>) -> Result<Session, SessionError> {
        Self::from_gguf_with(path, &LoadOptions::default())
    }

    /// [`Model::from_gguf`] with options.
    ///
    /// # Errors
    /// As [`Model::from_gguf`].
    fn from_gguf_with(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Session, SessionError> {
        Session::load(&Target::of_gguf(Self::SPEC, path.as_ref())?, options)
    }

    /// A session on the CPU with random weights of the true shapes: for trying out and for measuring.
    ///
    /// # Errors
    /// The model does not fit into memory.
    fn random(seed: u64) -> Result<Session, SessionError> {
        Self::random_with(seed, &LoadOptions::default())
    }

    /// [`Model::random`] with options; their own seed is not looked at.
    ///
    /// # Errors
    /// As [`Model::random`].
    fn random_with(seed: u64, options: &LoadOptions) -> Result<Session, SessionError> {
        Session::load(&Self::target(), &LoadOptions { random: Some(seed), ..options.clone() })
    }
}

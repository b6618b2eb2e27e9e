//! What can go wrong between a target and its tokens.

use crate::target::TargetError;
use crate::text::{SampleError, TextError};
use crate::weights;
use jet_runtime::device::Footprint;
use jet_runtime::{Error as RuntimeError, bytes};

/// Errors of loading and running a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The target is not what it was taken for.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The weights cannot be read, or are not those of the model.
    #[error(transparent)]
    Weights(#[from] weights::Error),
    /// The device refused.
    #[error(transparent)]
    Device(#[from] RuntimeError),
    /// The model is larger than the memory.
    #[error(
        "`{model}` needs {} (weights {}, activations {}, states of {sequences} × {context} tokens {}) and \
         {} are available; take a shorter context, a smaller batch or a smaller model",
        bytes(needed.total()), bytes(needed.weights), bytes(needed.activations), bytes(needed.states),
        bytes(*available)
    )]
    TooLarge {
        /// The model's name.
        model: String,
        /// What it would take.
        needed: Box<Footprint>,
        /// What there is, in bytes.
        available: u64,
        /// Sequences asked for.
        sequences: usize,
        /// Tokens of a sequence asked for.
        context: usize,
    },
    /// The context asked for is longer than the model is meant for.
    #[error("a context of {asked} tokens was asked for; `{model}` is meant for 1 to {longest}")]
    Context {
        /// The model's name.
        model: String,
        /// Tokens asked for.
        asked: usize,
        /// Tokens it is meant for.
        longest: usize,
    },
    /// A size that must not be zero.
    #[error("{what} is 0; it must be at least 1")]
    Zero {
        /// What is zero.
        what: &'static str,
    },
    /// There is nothing to run.
    #[error("the prompt is empty; it must have at least one token")]
    EmptyPrompt,
    /// The prompt does not fit.
    #[error(
        "the prompt has {tokens} tokens where the context of {context} has room for {room}; shorten it, or load the \
         model with a longer context"
    )]
    PromptTooLong {
        /// Tokens given.
        tokens: usize,
        /// Tokens that still fit.
        room: usize,
        /// Tokens of a whole sequence.
        context: usize,
    },
    /// A token id that the model does not know.
    #[error("token id {id} is outside the vocabulary of {vocab}; ids go from 0 to {}", vocab - 1)]
    Token {
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// The model put out something that is no number.
    #[error("the logits at position {position} are not finite: {cause}")]
    NotFinite {
        /// Position of the token whose logits they are, the first being 0.
        position: usize,
        /// Where it comes from, as far as that was found.
        cause: String,
    },
    /// A sequence that is not open, or more of them than there is room for in one run.
    #[error("{0}")]
    Batch(String),
    /// The tuned arithmetic was asked for, and there is none.
    #[error(
        "`{model}` has no tuned precisions: {reason}; find them with `jet-tune precision TARGET` (same weights, device \
         and threads), or load it with precision f32, bf16 or native"
    )]
    NoRecipe {
        /// The model's name.
        model: String,
        /// What was looked for, and what was there.
        reason: String,
    },
    /// There is no tokenizer.
    #[error(
        "`{model}` has no tokenizer ({place}); give token ids in place of text, or load it from a checkpoint that \
         brings one"
    )]
    NoText {
        /// The model's name.
        model: String,
        /// Where it is declared.
        place: String,
    },
    /// The tokenizer or the chat template refused.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Sampling options that make no sense.
    #[error(transparent)]
    Sample(#[from] SampleError),
}

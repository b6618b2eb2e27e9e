//! What can go wrong with text.

use std::path::PathBuf;

/// Errors of tokenizers, templates and generation settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The operating system refused.
    #[error("{}: cannot read it: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is no tokenizer.
    #[error(
        "{}: there is no tokenizer.json; give token ids in place of text, or copy the file from the model's repository",
        path.display()
    )]
    NoTokenizer {
        /// The folder.
        path: PathBuf,
    },
    /// A tokenizer that is damaged or of a kind jet does not read.
    #[error("{}: {what}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        what: String,
    },
    /// A settings file that is damaged.
    #[error("{}: {what}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        what: String,
    },
    /// Text that the tokenizer cannot turn into ids, or ids that it cannot turn into text.
    #[error("the tokenizer failed: {what}")]
    Encoding {
        /// Why.
        what: String,
    },
    /// A chat was asked of a model without a template.
    #[error("the model has no chat template; give a plain prompt")]
    NoTemplate,
    /// A template that cannot be compiled or refuses the conversation.
    #[error("the chat template of {origin} failed{}: {what}", line.map_or(String::new(), |l| format!(" in line {l}")))]
    Template {
        /// Where the template comes from.
        origin: String,
        /// The line, where one is known.
        line: Option<usize>,
        /// What it says.
        what: String,
    },
}

/// Why no next token can be chosen, or why the options for choosing make no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// An option outside its range.
    #[error("{option} is {found}; expected {expected}")]
    Option {
        /// Its name.
        option: &'static str,
        /// Its value.
        found: String,
        /// Its range.
        expected: &'static str,
    },
    /// No logit is a number, or the largest is infinite.
    #[error(
        "the largest of the {count} logits is no finite number; check the weights for infinities and NaN"
    )]
    NoNumbers {
        /// How many there are.
        count: usize,
    },
    /// Logits of another vocabulary.
    #[error("there are {found} logits for a vocabulary of {expected} tokens")]
    Vocabulary {
        /// Logits given.
        found: usize,
        /// Size of the vocabulary.
        expected: usize,
    },
}

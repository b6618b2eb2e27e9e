//! Text: token ids and back, chat templates, the choice of the next token, and when to stop.
//!
//! [`Text`] gathers what a checkpoint folder or a GGUF file says about all of this; its parts work alone too.

mod bytes;
mod chat;
mod defaults;
mod error;
mod gguf;
mod jinja;
mod pretokenize;
mod sample;
mod stop;
mod strftime;
mod tokenizer;

pub use bytes::StreamDecoder;
pub use chat::{ChatTemplate, Message, Role};
pub use defaults::GenerationDefaults;
pub use error::{SampleError, TextError};
pub use sample::{Sampler, SamplerOptions};
pub use stop::{StopStrings, StopTokens};
pub use tokenizer::{Special, Tokenizer};

use crate::weights::Gguf;
use std::path::Path;

/// Everything between a user's words and token ids, for one model.
#[derive(Debug)]
pub struct Text {
    /// Words to ids and back.
    pub tokenizer: Tokenizer,
    /// How a conversation becomes a prompt; absent for models without a chat form.
    pub template: Option<ChatTemplate>,
    /// What the model's makers suggest for generation, and its end tokens.
    pub defaults: GenerationDefaults,
}

impl Text {
    /// Reads `tokenizer.json` of a checkpoint folder and, where they are there, `tokenizer_config.json`,
    /// `chat_template.jinja`, `generation_config.json` and the end tokens of `config.json`.
    pub fn from_folder(folder: &Path) -> Result<Self, TextError> {
        let path = folder.join("tokenizer.json");
        if !path.exists() {
            return Err(TextError::NoTokenizer { path: folder.to_owned() });
        }
        Ok(Self {
            tokenizer: Tokenizer::from_file(&path)?,
            template: ChatTemplate::from_folder(folder)?,
            defaults: GenerationDefaults::from_folder(folder)?,
        })
    }

    /// Reads the tokenizer, the template and the end tokens inside a GGUF file.
    pub fn from_gguf(file: &Gguf) -> Result<Self, TextError> {
        Ok(Self {
            tokenizer: Tokenizer::from_gguf(file)?,
            template: ChatTemplate::from_gguf(file)?,
            defaults: GenerationDefaults::from_gguf(file)?,
        })
    }

    /// The ids of a conversation, rendered by the template: what the model is to continue. Fails for a model without
    /// a template.
    pub fn encode_chat(&self, messages: &[Message]) -> Result<Vec<u32>, TextError> {
        let template = self.template.as_ref().ok_or(TextError::NoTemplate)?;
        self.tokenizer.encode_rendered(&template.render(messages, true)?)
    }
}

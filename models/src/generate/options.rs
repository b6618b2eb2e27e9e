//! What a generation is told, and what it gives.

use super::rate;
use crate::text::{GenerationDefaults, SamplerOptions, StopTokens};
use std::time::Duration;

/// What a generation is told.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateOptions {
    /// Tokens of the answer at most.
    pub max_tokens: usize,
    /// How the next token is chosen; greedy unless said otherwise.
    pub sampling: SamplerOptions,
    /// Token ids that end the answer; they are no part of it.
    pub stop_tokens: StopTokens,
    /// Strings that end the answer; they are no part of it.
    pub stop_strings: Vec<String>,
    /// Write special tokens out instead of leaving them out.
    pub show_special: bool,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            max_tokens: 128,
            sampling: SamplerOptions::GREEDY,
            stop_tokens: StopTokens::default(),
            stop_strings: Vec::new(),
            show_special: false,
        }
    }
}

impl GenerateOptions {
    /// Options as a model's makers suggest, with `eos` besides their own end tokens.
    pub fn suggested(defaults: Option<&GenerationDefaults>, eos: &[u32]) -> Self {
        let mut options = Self::default();
        let ends = defaults.map_or(&[][..], |d| &d.eos);
        options.stop_tokens = StopTokens::new(ends.iter().chain(eos).copied());
        let Some(d) = defaults.filter(|d| d.sample == Some(true)) else { return options };
        let usual = SamplerOptions::GREEDY;
        options.sampling = SamplerOptions {
            temperature: d.temperature.unwrap_or(1.0),
            top_k: d.top_k.unwrap_or(usual.top_k),
            top_p: d.top_p.unwrap_or(usual.top_p),
            min_p: d.min_p.unwrap_or(usual.min_p),
            repetition_penalty: d.repetition_penalty.unwrap_or(usual.repetition_penalty),
            seed: usual.seed,
        };
        options
    }
}

/// A token as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// Its id.
    pub id: u32,
    /// The text that it completes: possibly none, and none at all without a tokenizer.
    pub text: &'a str,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finish {
    /// The model chose this end token.
    StopToken(u32),
    /// A stop string came.
    StopString,
    /// As many tokens as were asked for.
    MaxTokens,
    /// The context is full.
    ContextFull,
    /// The caller broke it off.
    Interrupted,
}

impl Finish {
    /// One word for scripts.
    pub fn name(self) -> &'static str {
        match self {
            Finish::StopToken(_) => "stop_token",
            Finish::StopString => "stop_string",
            Finish::MaxTokens => "max_tokens",
            Finish::ContextFull => "context_full",
            Finish::Interrupted => "interrupted",
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// The answer's tokens, without an end token.
    pub tokens: Vec<u32>,
    /// Its text; empty without a tokenizer.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Time until the first logits.
    pub prefill: Duration,
    /// Time from there on.
    pub decode: Duration,
    /// Decode steps that were run: one fewer than tokens, since the first token comes from the prompt.
    pub steps: usize,
}

impl Generated {
    pub(super) fn new(prompt_tokens: usize, room: usize) -> Self {
        Self {
            prompt_tokens,
            tokens: Vec::with_capacity(room),
            text: String::new(),
            finish: Finish::MaxTokens,
            prefill: Duration::ZERO,
            decode: Duration::ZERO,
            steps: 0,
        }
    }

    /// Prompt tokens a second.
    pub fn prefill_rate(&self) -> f64 {
        rate(self.prompt_tokens, self.prefill)
    }

    /// Decode steps a second.
    pub fn decode_rate(&self) -> f64 {
        rate(self.steps, self.decode)
    }
}

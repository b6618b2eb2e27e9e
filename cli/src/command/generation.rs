//! What `jet run` and `jet chat` share: sampling arguments, and what is said about a run.

use crate::common::output;
use clap::Args;
use jet_models::generate::{GenerateOptions, Generated};
use jet_models::session::{LoadOptions, Session, SessionError};
use jet_models::target::Target;
use jet_runtime::select::Hit;
use serde::Serialize;
use std::time::Instant;

/// How the next token is chosen, and when the answer ends.
#[derive(Clone, Debug, Args)]
pub(crate) struct GenerationArgs {
    /// Tokens of an answer at most.
    #[arg(long, short = 'n', default_value_t = 128, value_name = "N")]
    pub(crate) max_tokens: usize,
    /// Divides the logits; 0 always takes the most likely token. The default is what the model's makers suggest, else 0.
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub(crate) temperature: Option<f32>,
    /// Only the K most likely tokens; 0 is all.
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<usize>,
    /// Only the most likely tokens that together have this probability; 1 is all.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) top_p: Option<f32>,
    /// Only tokens at least this likely, relative to the most likely one; 0 is all.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) min_p: Option<f32>,
    /// Divides the logits of tokens that occurred already; 1 changes nothing.
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub(crate) repetition_penalty: Option<f32>,
    /// Seed of the draws.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// End the answer at this string; may be given several times.
    #[arg(long, value_name = "STRING")]
    pub(crate) stop: Vec<String>,
    /// Go on after the model's end tokens.
    #[arg(long)]
    pub(crate) ignore_eos: bool,
}

impl GenerationArgs {
    /// What the makers suggest, changed by what was given.
    pub(crate) fn options(&self, session: &Session) -> GenerateOptions {
        let mut options = session.suggested();
        let s = &mut options.sampling;
        s.temperature = self.temperature.unwrap_or(s.temperature);
        s.top_k = self.top_k.unwrap_or(s.top_k);
        s.top_p = self.top_p.unwrap_or(s.top_p);
        s.min_p = self.min_p.unwrap_or(s.min_p);
        s.repetition_penalty = self.repetition_penalty.unwrap_or(s.repetition_penalty);
        s.seed = self.seed;
        options.max_tokens = self.max_tokens;
        options.stop_strings.clone_from(&self.stop);
        if self.ignore_eos {
            options.stop_tokens = Default::default();
        }
        options
    }
}

/// Loads a session and says on stderr what is to be known about it, where `notes` are wanted.
pub(crate) fn load(target: &Target, options: &LoadOptions, notes: bool) -> Result<Session, SessionError> {
    let begun = Instant::now();
    let session = Session::load(target, options)?;
    if notes {
        output::complain(&format!(
            "{} on {}, {}, schedules: {}, loaded in {:.1} s",
            session.spec().name,
            session.device().describe(),
            if session.origin().seed.is_some() { &session.origin().weights } else { "stored weights" },
            session.selection().summary(),
            begun.elapsed().as_secs_f64()
        ));
    }
    Ok(session)
}

/// How many schedules were found how, for scripts.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ScheduleCounts {
    exact: usize,
    bucket: usize,
    default: usize,
}

impl ScheduleCounts {
    pub(crate) fn of(session: &Session) -> Self {
        let count = |hit| session.selection().count(hit);
        Self { exact: count(Hit::Exact), bucket: count(Hit::Bucket), default: count(Hit::Default) }
    }
}

/// One line about an answer's speed.
pub(crate) fn speed(answer: &Generated, session: &Session) -> String {
    format!(
        "{} prompt tokens at {:.1} tokens/s, {} tokens at {:.1} tokens/s; schedules: {}",
        answer.prompt_tokens,
        answer.prefill_rate(),
        answer.tokens.len(),
        answer.decode_rate(),
        session.selection().summary()
    )
}

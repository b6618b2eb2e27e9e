//! Generation: from a prompt to an answer, token by token.

mod conversation;
mod options;
#[cfg(test)]
mod tests;

pub use conversation::Conversation;
pub use options::{Finish, GenerateOptions, Generated, Token};

use crate::session::{Session, SessionError, SlotId};
use crate::text::{Sampler, Special, StopStrings, StreamDecoder, Text};
use std::ops::ControlFlow;

use std::time::{Duration, Instant};

impl Session {
    /// Answers `prompt` in a sequence of its own and gives each token to `on_token` as it comes, which may end the
    /// answer by breaking. Text comes with the tokens where the model has a tokenizer.
    ///
    /// ```no_run
    /// use jet_models::generate::GenerateOptions;
    /// use jet_models::{Model as _, presets::TinyHybrid};
    /// use std::ops::ControlFlow;
    ///
    /// let mut session = TinyHybrid::random(7)?;
    /// let answer = session.generate(&[1, 2, 3], &GenerateOptions::default(), |token| {
    ///     println!("{}", token.id);
    ///     ControlFlow::Continue(())
    /// })?;
    /// assert_eq!(answer.prompt_tokens, 3);
    /// # Ok::<(), jet_models::session::SessionError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Session::prefill`]; sampling options outside their ranges; as [`Session::open`].
    pub fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        on_token: impl FnMut(Token<'_>) -> ControlFlow<()>,
    ) -> Result<Generated, SessionError> {
        let sequence = self.open()?;
        let answer = self.generate_in(sequence, prompt, options, on_token);
        self.close(sequence);
        answer
    }

    /// Appends `prompt` to an open sequence and answers it there; the sequence stays open. The last token of the
    /// answer is given out but not appended: nothing has been computed from it.
    ///
    /// # Errors
    /// As [`Session::generate`].
    pub fn generate_in(
        &mut self,
        sequence: SlotId,
        prompt: &[u32],
        options: &GenerateOptions,
        mut on_token: impl FnMut(Token<'_>) -> ControlFlow<()>,
    ) -> Result<Generated, SessionError> {
        let mut sampler = Sampler::new(&options.sampling, self.spec().vocab as usize)?;
        sampler.observe(prompt);
        let text = self.text().ok();
        let mut writer = Writer::new(text.as_deref(), options);
        let mut answer = Generated::new(prompt.len(), options.max_tokens.min(self.limits().context));

        let begun = Instant::now();
        let mut logits = self.prefill(sequence, prompt)?;
        answer.prefill = begun.elapsed();

        let decoding = Instant::now();
        answer.finish = loop {
            if answer.tokens.len() == options.max_tokens {
                break Finish::MaxTokens;
            }
            let id = sampler.next(logits)?;
            if options.stop_tokens.contains(id) {
                break Finish::StopToken(id);
            }
            answer.tokens.push(id);
            let piece = writer.push(id)?;
            answer.text.push_str(&piece);
            let wish = on_token(Token { id, text: &piece });
            if writer.is_done() {
                break Finish::StopString;
            }
            if wish.is_break() {
                break Finish::Interrupted;
            }
            if answer.tokens.len() == options.max_tokens {
                break Finish::MaxTokens;
            }
            if self.position(sequence) == self.limits().context {
                break Finish::ContextFull;
            }
            logits = self.step(sequence, id)?;
            answer.steps += 1;
        };
        answer.decode = decoding.elapsed();
        let rest = writer.finish()?;
        if !rest.is_empty() {
            answer.text.push_str(&rest);
            // The answer has ended: there is nothing left to break off.
            let _ = on_token(Token { id: answer.tokens.last().copied().unwrap_or(0), text: &rest });
        }
        Ok(answer)
    }

    /// The ids of a plain prompt.
    ///
    /// # Errors
    /// The model has no tokenizer.
    pub fn encode(&self, prompt: &str) -> Result<Vec<u32>, SessionError> {
        Ok(self.text()?.tokenizer.encode(prompt)?)
    }

    /// Generation options as the model's makers suggest: end tokens, and sampling where they say so.
    pub fn suggested(&self) -> GenerateOptions {
        let text = self.text().ok();
        GenerateOptions::suggested(text.as_deref().map(|t| &t.defaults), &self.target().notes().eos)
    }
}

/// Turns ids into the text that may be shown: no half characters, nothing from a stop string on.
struct Writer<'t> {
    decoder: Option<StreamDecoder<'t>>,
    stop: StopStrings,
}

impl<'t> Writer<'t> {
    fn new(text: Option<&'t Text>, options: &GenerateOptions) -> Self {
        let special = if options.show_special { Special::Show } else { Special::Hide };
        Self {
            decoder: text.map(|t| t.tokenizer.stream(special)),
            stop: StopStrings::new(options.stop_strings.iter().cloned()),
        }
    }

    fn push(&mut self, id: u32) -> Result<String, SessionError> {
        match &mut self.decoder {
            Some(decoder) => Ok(self.stop.push(&decoder.push(id)?)),
            None => Ok(String::new()),
        }
    }

    fn is_done(&self) -> bool {
        self.stop.is_done()
    }

    fn finish(mut self) -> Result<String, SessionError> {
        let Some(decoder) = self.decoder else { return Ok(String::new()) };
        if self.stop.is_done() {
            return Ok(String::new());
        }
        let last = self.stop.push(&decoder.finish()?);
        Ok(last + &self.stop.finish())
    }
}

/// Tokens a second; 0 where nothing took any time.
fn rate(tokens: usize, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 }
}

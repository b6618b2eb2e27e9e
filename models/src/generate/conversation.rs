//! [`Conversation`]: turns of a chat in one sequence.

use super::{GenerateOptions, Generated, Token};
use crate::session::{Session, SessionError, SlotId};
use crate::text::{Message, Role};
use std::ops::ControlFlow;

/// A chat with a model. Each turn renders the whole conversation by the model's template and feeds only what is new,
/// as long as what was fed stays the beginning of it; a recurrent state cannot go back, so otherwise all is fed again.
#[derive(Debug, Default)]
pub struct Conversation {
    messages: Vec<Message>,
    sequence: Option<SlotId>,
    fed: Vec<u32>,
}

impl Conversation {
    /// A conversation, under instructions where there are any.
    pub fn new(system: Option<&str>) -> Self {
        let messages = system.map(|text| Message::new(Role::System, text)).into_iter().collect();
        Self { messages, ..Self::default() }
    }

    /// What was said so far.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Tokens that the model has taken in.
    pub fn tokens(&self) -> usize {
        self.fed.len()
    }

    /// Says `words` and streams the answer, which becomes part of the conversation, broken off or not. After an error
    /// the conversation is as it was before.
    ///
    /// # Errors
    /// The model has no tokenizer or no chat template; the conversation has outgrown the context; as
    /// [`Session::generate`].
    pub fn say(
        &mut self,
        session: &mut Session,
        words: &str,
        options: &GenerateOptions,
        on_token: impl FnMut(Token<'_>) -> ControlFlow<()>,
    ) -> Result<Generated, SessionError> {
        self.messages.push(Message::new(Role::User, words));
        let answer = self.answer(session, options, on_token);
        match &answer {
            Ok(answer) => self.messages.push(Message::new(Role::Assistant, &*answer.text)),
            Err(_) => {
                self.messages.pop();
                // What of the turn was fed is not known, so the next one starts afresh.
                self.leave(session);
            }
        }
        answer
    }

    /// Forgets everything but the instructions.
    pub fn clear(&mut self, session: &mut Session) {
        self.messages.retain(|m| m.role == Role::System);
        self.leave(session);
    }

    fn leave(&mut self, session: &mut Session) {
        self.fed.clear();
        if let Some(sequence) = self.sequence.take() {
            session.close(sequence);
        }
    }

    fn answer(
        &mut self,
        session: &mut Session,
        options: &GenerateOptions,
        on_token: impl FnMut(Token<'_>) -> ControlFlow<()>,
    ) -> Result<Generated, SessionError> {
        let ids = session.text()?.encode_chat(&self.messages)?;
        if ids.len() <= self.fed.len() || !ids.starts_with(&self.fed) {
            self.leave(session);
        }
        let sequence = match self.sequence {
            Some(sequence) => sequence,
            None => *self.sequence.insert(session.open()?),
        };
        let answer = session.generate_in(sequence, &ids[self.fed.len()..], options, on_token)?;
        self.fed = ids;
        self.fed.extend(&answer.tokens);
        // The last token was given out but not appended.
        self.fed.truncate(session.position(sequence));
        Ok(answer)
    }
}

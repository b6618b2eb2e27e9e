//! Prompts into pieces, pieces into batches: what stands between sequences of any length and an executable that takes
//! so many tokens at a time.

use super::SessionError;
use jet_codegen::LOGITS;
use jet_codegen::op::BufId;
use jet_runtime::device::{Executable, Limits, Outputs, Segment, SlotId};

/// An executable whose program ends in logits.
pub(super) struct Engine {
    executable: Box<dyn Executable>,
    logits: BufId,
    vocab: usize,
    limits: Limits,
}

impl Engine {
    /// An engine over `executable`, which was loaded with `limits`.
    pub(super) fn new(executable: Box<dyn Executable>, limits: Limits) -> Self {
        let program = executable.program();
        let logits = program.find_buffer(LOGITS).expect("every lowered model has logits");
        let vocab = program.vocab;
        Self { executable, logits, vocab, limits }
    }

    pub(super) fn executable(&self) -> &dyn Executable {
        &*self.executable
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// The logits of the last run.
    pub(super) fn logits(&self) -> &[f32] {
        self.executable.read(self.logits)
    }

    pub(super) fn open(&mut self) -> Result<SlotId, SessionError> {
        Ok(self.executable.open_sequence(0)?)
    }

    pub(super) fn close(&mut self, slot: SlotId) {
        self.executable.close_sequence(slot);
    }

    /// Feeds `tokens` to a sequence in pieces; the logits after the last are then [`Engine::logits`].
    pub(super) fn prefill(&mut self, slot: SlotId, tokens: &[u32]) -> Result<(), SessionError> {
        self.fits(slot, tokens)?;
        let pieces = tokens.len().div_ceil(self.limits.max_tokens);
        for (i, piece) in tokens.chunks(self.limits.max_tokens).enumerate() {
            let outputs = if i + 1 == pieces { Outputs::Last } else { Outputs::None };
            self.executable.run(&[Segment { slot, tokens: piece, outputs }])?;
        }
        self.finite(slot, 0)
    }

    /// Feeds each sequence its tokens, of any lengths, and gives the logits after each one's last token, one row of
    /// `vocab` values a sequence. Pieces of several sequences share a run where they fit.
    pub(super) fn batch(&mut self, prompts: &[(SlotId, &[u32])]) -> Result<Vec<f32>, SessionError> {
        for (i, (slot, tokens)) in prompts.iter().enumerate() {
            self.fits(*slot, tokens)?;
            if prompts[..i].iter().any(|(other, _)| other == slot) {
                return Err(SessionError::Batch(format!("sequence {} stands twice in a batch", slot.0)));
            }
        }
        let mut done = vec![0; prompts.len()];
        let mut logits = vec![0.0; prompts.len() * self.vocab];
        while done.iter().zip(prompts).any(|(d, p)| *d < p.1.len()) {
            let mut room = self.limits.max_tokens;
            let mut outputs = self.limits.max_outputs;
            let mut run = Vec::new();
            let mut last = Vec::new();
            for (i, (slot, tokens)) in prompts.iter().enumerate() {
                let take = (tokens.len() - done[i]).min(room);
                if take == 0 {
                    continue;
                }
                let ends = done[i] + take == tokens.len();
                if ends && outputs == 0 {
                    continue;
                }
                let piece = &tokens[done[i]..done[i] + take];
                run.push(Segment { slot: *slot, tokens: piece, outputs: output(ends) });
                if ends {
                    last.push(i);
                    outputs -= 1;
                }
                room -= take;
                done[i] += take;
            }
            self.executable.run(&run)?;
            for (row, i) in last.into_iter().enumerate() {
                self.finite(prompts[i].0, row)?;
                let from = &self.executable.read(self.logits)[row * self.vocab..][..self.vocab];
                logits[i * self.vocab..][..self.vocab].copy_from_slice(from);
            }
        }
        Ok(logits)
    }

    /// Whether `tokens` can follow in the sequence.
    fn fits(&self, slot: SlotId, tokens: &[u32]) -> Result<(), SessionError> {
        if tokens.is_empty() {
            return Err(SessionError::EmptyPrompt);
        }
        if let Some(&id) = tokens.iter().find(|id| **id as usize >= self.vocab) {
            return Err(SessionError::Token { id, vocab: self.vocab });
        }
        let context = self.limits.context;
        let room = context.saturating_sub(self.executable.position(slot));
        if tokens.len() > room {
            return Err(SessionError::PromptTooLong { tokens: tokens.len(), room, context });
        }
        Ok(())
    }

    /// Whether row `row` of the logits is all numbers.
    fn finite(&self, slot: SlotId, row: usize) -> Result<(), SessionError> {
        let logits = &self.executable.read(self.logits)[row * self.vocab..][..self.vocab];
        // Without a branch in the loop it is one pass at the speed of memory.
        if logits.iter().fold(true, |all, v| all & v.is_finite()) {
            return Ok(());
        }
        let position = self.executable.position(slot).saturating_sub(1);
        Err(SessionError::NotFinite { position, cause: String::new() })
    }
}

fn output(ends: bool) -> Outputs {
    if ends { Outputs::Last } else { Outputs::None }
}

//! The batch of one run as the ops see it: packed rows, and where each sequence lies in them.

use crate::Error;
use crate::device::{Limits, Outputs, Segment};

/// One sequence's rows in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) slot: usize,
    /// First row.
    pub(crate) start: usize,
    /// Rows.
    pub(crate) len: usize,
}

/// Where an open sequence stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Position of its first token.
    pub(crate) first: usize,
    /// Tokens it has.
    pub(crate) len: usize,
}

impl Standing {
    /// Position of its next token.
    pub(crate) fn position(self) -> usize {
        self.first + self.len
    }
}

/// Reused from run to run; its vectors never grow beyond the limits.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// Token ids, one a row.
    pub(crate) ids: Vec<u32>,
    /// Position of each row's token in its sequence.
    pub(crate) positions: Vec<usize>,
    pub(crate) spans: Vec<Span>,
    /// Rows that outputs were asked for.
    pub(crate) out_rows: Vec<usize>,
}

impl Layout {
    pub(crate) fn with_capacity(limits: Limits) -> Self {
        Self {
            ids: Vec::with_capacity(limits.max_tokens),
            positions: Vec::with_capacity(limits.max_tokens),
            spans: Vec::with_capacity(limits.max_sequences),
            out_rows: Vec::with_capacity(limits.max_outputs),
        }
    }

    pub(crate) fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Fills the layout from a checked batch; `slot` says where a slot stands, or `None` where it is closed.
    pub(crate) fn fill(
        &mut self,
        batch: &[Segment<'_>],
        limits: Limits,
        vocab: usize,
        slot: impl Fn(usize) -> Option<Standing>,
    ) -> Result<(), Error> {
        check(batch, limits, vocab, &slot)?;
        self.ids.clear();
        self.positions.clear();
        self.spans.clear();
        self.out_rows.clear();
        for s in batch {
            let (start, len) = (self.ids.len(), s.tokens.len());
            let first = slot(s.slot.0).expect("checked to be open").position();
            self.ids.extend_from_slice(s.tokens);
            self.positions.extend(first..first + len);
            self.spans.push(Span { slot: s.slot.0, start, len });
            match s.outputs {
                Outputs::None => {}
                Outputs::Last => self.out_rows.push(start + len - 1),
                Outputs::All => self.out_rows.extend(start..start + len),
            }
        }
        Ok(())
    }
}

fn check(
    batch: &[Segment<'_>],
    limits: Limits,
    vocab: usize,
    slot: &impl Fn(usize) -> Option<Standing>,
) -> Result<(), Error> {
    let tokens: usize = batch.iter().map(|s| s.tokens.len()).sum();
    let outputs: usize = batch
        .iter()
        .map(|s| match s.outputs {
            Outputs::None => 0,
            Outputs::Last => 1,
            Outputs::All => s.tokens.len(),
        })
        .sum();
    if batch.is_empty() {
        return Err(Error::Batch("the batch is empty; give at least one token".into()));
    }
    for (what, found, limit) in
        [("tokens", tokens, limits.max_tokens), ("rows of output", outputs, limits.max_outputs)]
    {
        if found > limit {
            return Err(Error::Batch(format!("the batch has {found} {what}, and there is room for {limit}")));
        }
    }
    for (i, s) in batch.iter().enumerate() {
        if s.tokens.is_empty() {
            return Err(Error::Batch(format!("sequence {i} of the batch is empty; give at least one token")));
        }
        let Some(at) = slot(s.slot.0) else {
            return Err(Error::Batch(format!("sequence {i} of the batch is not open")));
        };
        if batch[..i].iter().any(|o| o.slot == s.slot) {
            return Err(Error::Batch(format!("sequence {i} comes twice in the batch")));
        }
        if at.len + s.tokens.len() > limits.context {
            return Err(Error::ContextFull {
                position: at.len,
                new: s.tokens.len(),
                context: limits.context,
            });
        }
        if vocab > 0
            && let Some(id) = s.tokens.iter().find(|t| **t as usize >= vocab)
        {
            return Err(Error::Token { id: *id, vocab });
        }
    }
    Ok(())
}

//! Greedy continuations. The expected tokens are fed back, so one wrong choice does not hide what comes after it; all
//! choices being right is the same as the continuation being right.

use super::Model;
use super::runs::GREEDY;
use crate::check::Greedy;
use crate::check::expect::Expectations;
use crate::check::forms::Form;
use crate::check::program::buffer;
use crate::check::rig::Stream;
use crate::check::tally::Tallies;
use anyhow::{Result, anyhow, ensure};
use jet_codegen::{LOGITS, LowerOptions, lower};
use jet_runtime::device::Precision;
use jet_runtime::select::NoSchedules;

/// What the continuation should be.
pub(super) struct Continuation {
    prompts: Vec<Vec<u32>>,
    tokens: Vec<Vec<u32>>,
}

/// Announces the continuation, where the case has one: its tokens and the logits they were taken from.
pub(super) fn expect(
    model: &Model<'_>,
    streams: &mut Vec<Stream>,
    expect: &mut Expectations,
    tallies: &mut Tallies,
) -> Result<Option<Continuation>> {
    let case = model.case;
    let named = case.has(&format!("{GREEDY}.tokens"));
    let (ids, tokens, logits) = if named {
        ("greedy.input_ids", "greedy.tokens", "greedy.step_logits")
    } else {
        ("input_ids", "greedy_tokens", "greedy_logits")
    };
    if !case.has(tokens) {
        return Ok(None);
    }
    let continuation = Continuation { prompts: case.token_rows(ids)?, tokens: case.token_rows(tokens)? };
    let (rows, n) = (continuation.tokens.len(), continuation.tokens[0].len());
    ensure!(continuation.prompts.len() == rows, "`{ids}` and `{tokens}` have different numbers of rows");
    let vocab = model.vocab();
    if case.has(logits) {
        tallies.expect(logits, case.array_of_shape(logits, &[rows, n, vocab])?, model.judges.logits);
    }
    for b in 0..rows {
        if case.has(logits) {
            let last = continuation.prompts[b].len() - 1;
            expect.rows(streams.len(), 0, last, n, logits, b * n * vocab);
        }
        streams.push(continuation.stream(b));
    }
    Ok(Some(continuation))
}

impl Continuation {
    /// The prompt and all expected tokens but the last, which nothing follows.
    fn stream(&self, b: usize) -> Stream {
        let tokens = [&self.prompts[b][..], &self.tokens[b][..self.tokens[b].len() - 1]].concat();
        Stream { tokens, ..Stream::default() }
    }

    /// Prefills the prompts, decodes token by token, and counts the choices that are as expected.
    pub(super) fn check(&self, model: &Model<'_>, tallies: &mut Tallies) -> Result<Greedy> {
        let program = lower(model.spec, LowerOptions::default());
        let logits = buffer(&program, LOGITS)?;
        let streams: Vec<Stream> = (0..self.tokens.len()).map(|b| self.stream(b)).collect();
        let rig = model.rig(program, streams, vec![logits], Expectations::default());
        let prompt = self.prompts[0].len();
        let form = Form::of("prefill, then decode", &rig.lengths(), |n| {
            [vec![prompt], vec![1; n - prompt]].concat()
        });
        let lanes = rig.run(&[form], &NoSchedules)?.remove(0);
        let mut greedy = Greedy::default();
        let mut first_wrong = None;
        for lane in &lanes {
            let chosen = lane.outputs[0].chunks(model.vocab()).skip(prompt - 1);
            for (i, (row, expected)) in chosen.zip(&self.tokens[lane.stream]).enumerate() {
                let got = argmax(row).ok_or_else(|| anyhow!("the logits of step {i} hold no number"))?;
                greedy.total += 1;
                greedy.agree += usize::from(got == *expected as usize);
                if got != *expected as usize && first_wrong.is_none() {
                    first_wrong =
                        Some(format!("row {}, step {i}: token {got}, expected {expected}", lane.stream));
                }
            }
        }
        let note = first_wrong.unwrap_or_else(|| "every token as expected".into());
        match model.cx.precision {
            Precision::F32 => tallies.verdict("greedy tokens", greedy.agree == greedy.total, &note),
            Precision::Bf16 | Precision::Native => tallies.shown("greedy tokens", &note),
        }
        Ok(greedy)
    }
}

/// The first largest value; `None` where all are not-a-number.
pub(crate) fn argmax(values: &[f32]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (i, v) in values.iter().enumerate() {
        if !v.is_nan() && best.is_none_or(|b| *v > values[b]) {
            best = Some(i);
        }
    }
    best
}

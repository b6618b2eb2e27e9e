//! The prompts of a case: logits behind the prompt, greedy continuation, hidden states, and the likelihood of a text.

use crate::check::case::{Array, CaseFile};
use crate::check::checkpoint::{Judges, argmax};
use crate::check::expect::Expectations;
use crate::check::forms::Form;
use crate::check::program::buffer;
use crate::check::rig::{LaneResult, Rig, Stream};
use crate::check::tally::{Judge, Tallies, Tolerances};
use crate::check::{Context, Greedy};
use anyhow::{Result, ensure};
use jet_codegen::{LOGITS, LowerOptions, lower};
use jet_dsl::ModelSpec;
use jet_models::session::DeviceWeights;
use jet_models::weights::WeightSource;
use jet_runtime::device::Precision;
use jet_runtime::select::NoSchedules;

/// One way of computing everything.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) cx: Context<'a>,
    pub(super) case: &'a CaseFile,
    pub(super) spec: &'a ModelSpec,
    pub(super) weights: &'a dyn WeightSource,
    pub(super) judges: Judges,
    /// In front of the tensors' names in the report.
    pub(super) prefix: &'static str,
}

/// A prompt with its continuation, or (without one) a text to be scored.
struct Prompt {
    name: String,
    ids: Vec<u32>,
    continuation: Vec<u32>,
    margins: Vec<f64>,
}

impl Prompt {
    fn read(case: &CaseFile, name: &str) -> Result<Self> {
        let one = |what: &str| -> Result<Vec<u32>> {
            let tensor = format!("{name}.{what}");
            if !case.has(&tensor) {
                return Ok(Vec::new());
            }
            let mut rows = case.token_rows(&tensor)?;
            ensure!(rows.len() == 1, "`{tensor}` has {} rows, expected one", rows.len());
            Ok(rows.remove(0))
        };
        let margins =
            case.array_or_none(&format!("{name}.greedy_margins"))?.map_or_else(Vec::new, |m| m.values);
        let prompt = Self {
            name: name.to_owned(),
            ids: one("input_ids")?,
            continuation: one("greedy_tokens")?,
            margins,
        };
        ensure!(
            prompt.margins.len() == prompt.continuation.len(),
            "`{name}.greedy_margins` and `{name}.greedy_tokens` have different lengths"
        );
        Ok(prompt)
    }

    /// The prompt and all of the continuation but its last token, which nothing follows.
    fn stream(&self) -> Stream {
        let fed = self.continuation.len().saturating_sub(1);
        Stream { tokens: [&self.ids[..], &self.continuation[..fed]].concat(), ..Stream::default() }
    }

    /// The logits of the continuation's tokens, one row each.
    fn chosen<'l>(&self, logits: &'l [f32], vocab: usize) -> impl Iterator<Item = &'l [f32]> {
        logits.chunks(vocab).skip(self.ids.len() - 1).take(self.continuation.len())
    }
}

impl Pass<'_> {
    pub(super) fn check(&self, tallies: &mut Tallies) -> Result<Greedy> {
        let names = self.case.names();
        let mut prompts = Vec::new();
        for name in names.iter().filter_map(|n| n.strip_suffix(".input_ids")) {
            prompts.push(Prompt::read(self.case, name)?);
        }
        ensure!(!prompts.is_empty(), "there is no `<name>.input_ids`");
        for p in &prompts {
            self.expect(p, tallies)?;
        }
        let weights = DeviceWeights::new(self.weights);
        let program = lower(self.spec, LowerOptions { keep_hidden: true });
        let step = self.spec.naming.blocks_per_layer();
        let layers = self.spec.pattern.chars().count() / step;
        let mut watch = vec![buffer(&program, LOGITS)?];
        for layer in 0..=layers {
            watch.push(buffer(&program, &format!("hidden.{}", layer * step))?);
        }
        let rig = Rig {
            device: self.cx.device,
            program,
            weights: &weights,
            precision: self.cx.precision,
            streams: prompts.iter().map(Prompt::stream).collect(),
            watch,
            expect: Expectations::default(),
        };
        let lengths = rig.lengths();
        let lanes = prompts.iter().enumerate().map(|(stream, p)| {
            let segments = [vec![p.ids.len()], vec![1; lengths[stream] - p.ids.len()]].concat();
            crate::check::forms::Lane { stream, segments }
        });
        let decode = Form { name: "prefill, then decode".into(), lanes: lanes.collect() };
        let forms = [Form::one_call(&lengths), decode, Form::ragged(&lengths)];
        let mut greedy = Greedy::default();
        let mut faults = Vec::new();
        for (form, lanes) in forms.iter().zip(rig.run(&forms, &NoSchedules)?) {
            for lane in &lanes {
                let p = &prompts[lane.stream];
                self.compare(p, &form.name, lane, tallies);
                faults.extend(self.top_ids(p, &form.name, lane)?);
                let (agree, wrong) = self.greedy(p, &form.name, lane)?;
                faults.extend(wrong);
                // The continuation is counted once, as it is decoded.
                if form.name == forms[1].name {
                    greedy.agree += agree;
                    greedy.total += p.continuation.len();
                }
            }
        }
        let note =
            faults.first().map_or("every token as expected, where the margin can tell", String::as_str);
        let row = format!("{}greedy and top tokens", self.prefix);
        match self.cx.precision {
            Precision::F32 => tallies.verdict(&row, faults.is_empty(), note),
            Precision::Bf16 | Precision::Native => {
                tallies.shown(&row, &format!("{} of {} greedy tokens agree", greedy.agree, greedy.total));
            }
        }
        Ok(greedy)
    }

    fn shown_as(&self, p: &Prompt, what: &str) -> String {
        format!("{}{}.{what}", self.prefix, p.name)
    }

    fn has(&self, p: &Prompt, what: &str) -> bool {
        self.case.has(&format!("{}.{what}", p.name))
    }

    fn array(&self, p: &Prompt, what: &str) -> Result<Array> {
        self.case.array(&format!("{}.{what}", p.name))
    }

    fn expect(&self, p: &Prompt, tallies: &mut Tallies) -> Result<()> {
        // Only logits have a bfloat16 tolerance.
        let derived = match (self.judges.logits, self.cx.precision) {
            (judge, Precision::F32) => judge,
            (Judge::Shown(why), _) => Judge::Shown(why),
            _ => Judge::Shown("bf16 is judged by the logits"),
        };
        for (what, judge) in [
            ("top50_logits", self.judges.logits),
            ("last_logits", self.judges.logits),
            ("last_hidden_per_layer", self.judges.inner),
            ("greedy_margins", derived),
            ("greedy_logprobs", derived),
            ("nll", derived),
        ] {
            if self.has(p, what) {
                tallies.expect(&self.shown_as(p, what), self.array(p, what)?, judge);
            }
        }
        Ok(())
    }

    fn compare(&self, p: &Prompt, form: &str, lane: &LaneResult, tallies: &mut Tallies) {
        let (vocab, width) = (self.spec.vocab as usize, self.spec.d_model as usize);
        let logits = &lane.outputs[0];
        let last = p.ids.len() - 1;
        let mut put = |what: &str, values: Vec<f64>| {
            if self.has(p, what) {
                tallies.compare_f64(&self.shown_as(p, what), form, 0, &values);
            }
        };
        let behind = &logits[last * vocab..(last + 1) * vocab];
        put("last_logits", behind.iter().map(|v| f64::from(*v)).collect());
        if let Ok(ids) = self.array(p, "top50_ids") {
            put(
                "top50_logits",
                ids.values
                    .iter()
                    .map(|id| behind.get(*id as usize).map_or(f64::NAN, |v| (*v).into()))
                    .collect(),
            );
        }
        let hidden = lane.outputs[1..].iter().flat_map(|h| &h[last * width..(last + 1) * width]);
        put("last_hidden_per_layer", hidden.map(|v| f64::from(*v)).collect());
        let likely = |row: &[f32], id: u32| f64::from(row[id as usize]) - log_sum_exp(row);
        let chosen = || p.chosen(logits, vocab).zip(&p.continuation);
        put("greedy_logprobs", chosen().map(|(row, id)| likely(row, *id)).collect());
        put("greedy_margins", chosen().map(|(row, id)| margin(row, *id)).collect());
        put("nll", logits.chunks(vocab).zip(&p.ids[1..]).map(|(row, id)| -likely(row, *id)).collect());
    }

    /// The largest logits must belong to the expected ids; where two expected logits are so near that the tolerance
    /// allows either order, either is right.
    fn top_ids(&self, p: &Prompt, form: &str, lane: &LaneResult) -> Result<Option<String>> {
        if !self.has(p, "top50_ids") {
            return Ok(None);
        }
        let (_, ids) = self.case.ints(&format!("{}.top50_ids", p.name))?;
        let expected = self.array(p, "top50_logits")?.values;
        let vocab = self.spec.vocab as usize;
        let row = &lane.outputs[0][(p.ids.len() - 1) * vocab..p.ids.len() * vocab];
        let mut order: Vec<usize> = (0..vocab).collect();
        order.sort_by(|a, b| row[*b].total_cmp(&row[*a]).then(a.cmp(b)));
        let near = 2.0 * Tolerances::of(self.case)?.outputs.abs;
        for (i, (got, wanted)) in order.iter().zip(&ids).enumerate() {
            let value = ids.iter().position(|id| *id == *got as i64).map(|at| expected[at]);
            // An id beyond the list has a logit of at most the list's last.
            let off = expected[i] - value.unwrap_or_else(|| expected[expected.len() - 1]);
            if *got as i64 != *wanted && off.abs() > near {
                return Ok(Some(format!("{}, {form}: place {i} has token {got}, expected {wanted}", p.name)));
            }
        }
        Ok(None)
    }

    /// How many choices are as expected, and the first that is not although its margin is too large for that.
    fn greedy(&self, p: &Prompt, form: &str, lane: &LaneResult) -> Result<(usize, Option<String>)> {
        let near = 2.0 * Tolerances::of(self.case)?.outputs.abs;
        let (mut agree, mut wrong) = (0, None);
        let chosen = p.chosen(&lane.outputs[0], self.spec.vocab as usize);
        for (i, (row, expected)) in chosen.zip(&p.continuation).enumerate() {
            let got = argmax(row);
            agree += usize::from(got == Some(*expected as usize));
            if got != Some(*expected as usize) && p.margins[i] > near && wrong.is_none() {
                wrong = Some(format!("{}, {form}: step {i} chose {got:?}, expected {expected}", p.name));
            }
        }
        Ok((agree, wrong))
    }
}

/// `ln Σ exp(row)`, in f64.
fn log_sum_exp(row: &[f32]) -> f64 {
    let top = row.iter().fold(f64::NEG_INFINITY, |m, v| m.max(f64::from(*v)));
    top + row.iter().map(|v| (f64::from(*v) - top).exp()).sum::<f64>().ln()
}

/// By how much the logit of `id` is above the largest other one.
fn margin(row: &[f32], id: u32) -> f64 {
    let others = row.iter().enumerate().filter(|(i, _)| *i != id as usize);
    f64::from(row[id as usize]) - others.fold(f64::NEG_INFINITY, |m, (_, v)| m.max(f64::from(*v)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likelihoods_and_margins_of_a_small_row() {
        let row = [0.0, 1.0, 3.0, -100.0];
        let sum = (1.0f64 + 1f64.exp() + 3f64.exp()).ln();
        assert!((log_sum_exp(&row) - sum).abs() < 1e-12);
        assert_eq!(margin(&row, 2), 2.0);
        assert_eq!(margin(&row, 1), -2.0);
    }
}

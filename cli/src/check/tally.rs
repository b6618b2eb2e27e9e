//! Comparing: tolerances, the worst error per tensor over all forms, and the verdicts.

use super::case::{Array, CaseFile};
use anyhow::Result;
use serde::Serialize;

/// How far a float32 computation may be off: `max(abs, rms · rms(expected))`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Tolerance {
    /// Absolute part.
    pub abs: f64,
    /// Part relative to the expected tensor's root mean square.
    pub rms: f64,
}

/// The tolerances a case states.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tolerances {
    /// Of outputs.
    pub outputs: Tolerance,
    /// Of hidden states and caches of a checkpoint.
    pub inner: Tolerance,
    /// Of a bfloat16 computation's logits: `rms(got - expected) / rms(expected)`.
    pub bf16: Option<f64>,
}

impl Tolerances {
    /// Reads the `tol_*` keys.
    pub fn of(case: &CaseFile) -> Result<Self> {
        let abs = case.number_or_none("tol_abs")?.unwrap_or(0.0);
        let rms = case.number_or_none("tol_rms")?.unwrap_or(0.0);
        let inner = case.number_or_none("tol_abs_inner")?.unwrap_or(abs);
        Ok(Self {
            outputs: Tolerance { abs, rms },
            inner: Tolerance { abs: inner, rms },
            bf16: case.number_or_none("tol_bf16_rel_rms")?,
        })
    }
}

/// How a tensor is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Judge {
    /// By its largest error.
    Largest(Tolerance),
    /// By the root mean square of its errors over that of its values.
    RelativeRms(f64),
    /// Every value must be the same number.
    Equal,
    /// Not at all: the errors are shown.
    Shown(&'static str),
}

/// What came of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within its tolerance in every form.
    Pass,
    /// Not.
    Fail,
    /// Shown without a judgement.
    Shown,
    /// The device has no such value to show.
    NotExposed,
}

/// One tensor's line in the report.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The tensor.
    pub tensor: String,
    /// Largest absolute error over all forms.
    pub max_abs: Option<f64>,
    /// Largest `rms(error) / rms(expected)` over all forms.
    pub rel_rms: Option<f64>,
    /// What was allowed: of `max_abs`, or of `rel_rms` where `by_rms`.
    pub limit: Option<f64>,
    /// Whether `limit` is one of `rel_rms`.
    pub by_rms: bool,
    /// The verdict.
    pub verdict: Verdict,
    /// The form with the largest error, or why there is none.
    pub note: String,
}

/// An expected tensor and the worst that was seen of it.
struct Tally {
    name: String,
    expected: Array,
    rms: f64,
    judge: Judge,
    covered: Vec<bool>,
    max_abs: f64,
    rel_rms: f64,
    worst: String,
    forms: usize,
    fault: Option<String>,
}

/// All expected tensors of a case, in the order they were announced.
#[derive(Default)]
pub struct Tallies {
    tallies: Vec<Tally>,
    rows: Vec<Row>,
}

impl Tallies {
    /// Announces an expected tensor. One that is never compared whole fails.
    pub fn expect(&mut self, name: &str, expected: Array, judge: Judge) {
        let rms = rms(&expected.values);
        let covered = vec![false; expected.values.len()];
        self.tallies.push(Tally {
            name: name.to_owned(),
            expected,
            rms,
            judge,
            covered,
            max_abs: 0.0,
            rel_rms: 0.0,
            worst: String::new(),
            forms: 0,
            fault: None,
        });
    }

    /// Excuses values of an announced tensor from being compared: padding.
    pub fn excuse(&mut self, name: &str, start: usize, len: usize) {
        if let Some(t) = self.find(name) {
            let end = (start + len).min(t.covered.len());
            t.covered[start.min(end)..end].fill(true);
        }
    }

    /// Compares `got` with the expected values from `start` on. `form` says how it was computed.
    pub fn compare(&mut self, name: &str, form: &str, start: usize, got: &[f32]) {
        let got: Vec<f64> = got.iter().map(|v| f64::from(*v)).collect();
        self.compare_f64(name, form, start, &got);
    }

    /// [`Self::compare`] for values that were derived in f64.
    pub fn compare_f64(&mut self, name: &str, form: &str, start: usize, got: &[f64]) {
        let Some(t) = self.find(name) else { return };
        t.forms += 1;
        let Some(expected) = t.expected.values.get(start..start + got.len()) else {
            t.fault.get_or_insert(format!(
                "{form}: {} values from {start} on, expected {} in all",
                got.len(),
                t.expected.values.len()
            ));
            return;
        };
        let (mut largest, mut squares) = (0.0f64, 0.0f64);
        for (g, e) in got.iter().zip(expected) {
            let d = (g - e).abs();
            // Not-a-number must survive: `max` would drop it.
            largest = if d.is_nan() || largest.is_nan() { f64::NAN } else { largest.max(d) };
            squares += d * d;
        }
        t.covered[start..start + got.len()].fill(true);
        let off = (squares / got.len().max(1) as f64).sqrt();
        let rel = if off == 0.0 { 0.0 } else { off / t.rms };
        if t.worst.is_empty() || largest.is_nan() || (largest > t.max_abs && !t.max_abs.is_nan()) {
            t.worst = form.to_owned();
            t.max_abs = largest;
        }
        t.rel_rms = if rel.is_nan() || t.rel_rms.is_nan() { f64::NAN } else { t.rel_rms.max(rel) };
    }

    /// A tensor that the device does not show, with the reason.
    pub fn not_exposed(&mut self, name: &str, why: &str) {
        self.line(name, Verdict::NotExposed, why);
    }

    /// A check that is no tensor: passed or not, with what was seen.
    pub fn verdict(&mut self, name: &str, ok: bool, note: &str) {
        self.line(name, if ok { Verdict::Pass } else { Verdict::Fail }, note);
    }

    /// Something to be seen and not judged.
    pub fn shown(&mut self, name: &str, note: &str) {
        self.line(name, Verdict::Shown, note);
    }

    fn line(&mut self, name: &str, verdict: Verdict, note: &str) {
        self.rows.push(Row {
            tensor: name.to_owned(),
            max_abs: None,
            rel_rms: None,
            limit: None,
            by_rms: false,
            verdict,
            note: note.to_owned(),
        });
    }

    fn find(&mut self, name: &str) -> Option<&mut Tally> {
        let found = self.tallies.iter_mut().find(|t| t.name == name);
        debug_assert!(found.is_some(), "`{name}` was not announced");
        found
    }

    /// The verdicts, tensors first.
    pub fn finish(self) -> Vec<Row> {
        self.tallies.into_iter().map(Tally::row).chain(self.rows).collect()
    }
}

impl Tally {
    fn row(self) -> Row {
        let (limit, by_rms) = match self.judge {
            Judge::Largest(t) => (Some(t.abs.max(t.rms * self.rms)), false),
            Judge::RelativeRms(t) => (Some(t), true),
            Judge::Equal => (Some(0.0), false),
            Judge::Shown(_) => (None, false),
        };
        let missing = self.covered.iter().filter(|c| !**c).count();
        let seen = if by_rms { self.rel_rms } else { self.max_abs };
        let (verdict, note) = if let Some(fault) = self.fault {
            (Verdict::Fail, fault)
        } else if missing > 0 || self.forms == 0 {
            let all = self.covered.len();
            (Verdict::Fail, format!("{missing} of {all} values were not computed"))
        } else if let Judge::Shown(why) = self.judge {
            (Verdict::Shown, why.to_owned())
        } else {
            let ok = limit.is_some_and(|l| seen <= l);
            (if ok { Verdict::Pass } else { Verdict::Fail }, self.worst)
        };
        let compared = self.forms > 0;
        Row {
            tensor: self.name,
            max_abs: compared.then_some(self.max_abs),
            rel_rms: compared.then_some(self.rel_rms),
            limit,
            by_rms,
            verdict,
            note,
        }
    }
}

/// Root mean square.
pub fn rms(values: &[f64]) -> f64 {
    (values.iter().map(|v| v * v).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(judge: Judge, f: impl Fn(&mut Tallies)) -> Row {
        let mut t = Tallies::default();
        t.expect("y", Array { shape: vec![2, 2], values: vec![1.0, -2.0, 3.0, -4.0] }, judge);
        f(&mut t);
        t.finish().remove(0)
    }

    fn largest(abs: f64, rms: f64) -> Judge {
        Judge::Largest(Tolerance { abs, rms })
    }

    #[test]
    fn the_larger_of_both_tolerances_decides() {
        let run = |judge| one(judge, |t| t.compare("y", "one call", 0, &[1.0, -2.0, 3.0, -4.125])).verdict;
        assert_eq!(run(largest(0.125, 0.0)), Verdict::Pass);
        assert_eq!(run(largest(0.12, 0.0)), Verdict::Fail);
        assert_eq!(run(largest(0.0, 0.05)), Verdict::Pass);
        assert_eq!(run(Judge::RelativeRms(0.03)), Verdict::Pass);
        assert_eq!(run(Judge::RelativeRms(0.02)), Verdict::Fail);
        assert_eq!(run(Judge::Equal), Verdict::Fail);
        assert_eq!(run(Judge::Shown("why")), Verdict::Shown);
    }

    #[test]
    fn the_worst_form_is_named() {
        let row = one(largest(1.0, 0.0), |t| {
            t.compare("y", "a", 0, &[1.0, -2.0, 3.0, -4.0]);
            t.compare("y", "b", 2, &[3.5, -4.0]);
            t.compare("y", "c", 2, &[3.25, -4.0]);
        });
        assert_eq!((row.max_abs, row.note.as_str()), (Some(0.5), "b"));
    }

    #[test]
    fn not_a_number_never_passes() {
        let row = one(largest(1e9, 0.0), |t| {
            t.compare("y", "a", 0, &[f32::NAN, -2.0, 3.0, -4.0]);
            t.compare("y", "b", 0, &[1.0, -2.0, 3.0, -4.0]);
        });
        assert_eq!((row.verdict, row.note.as_str()), (Verdict::Fail, "a"));
        let row = one(Judge::RelativeRms(1e9), |t| t.compare("y", "a", 0, &[f32::INFINITY, -2.0, 3.0, -4.0]));
        assert_eq!(row.verdict, Verdict::Fail);
    }

    #[test]
    fn what_was_not_compared_fails() {
        assert_eq!(one(largest(1.0, 0.0), |_| ()).verdict, Verdict::Fail);
        let row = one(largest(1.0, 0.0), |t| t.compare("y", "a", 0, &[1.0]));
        assert_eq!((row.verdict, row.note.as_str()), (Verdict::Fail, "3 of 4 values were not computed"));
        let excused = one(largest(1.0, 0.0), |t| {
            t.excuse("y", 1, 3);
            t.compare("y", "a", 0, &[1.0]);
        });
        assert_eq!(excused.verdict, Verdict::Pass);
        let beyond = one(largest(1.0, 0.0), |t| t.compare("y", "a", 3, &[1.0, 2.0]));
        assert!(beyond.note.contains("2 values from 3 on"));
    }
}

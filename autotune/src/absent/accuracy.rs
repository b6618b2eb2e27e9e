//! How far the model is from what was measured.

use crate::report::time;
use crate::stats::median;
use serde::Serialize;
use std::fmt;

/// A schedule that was measured and modelled.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The task's label.
    pub task: String,
    /// The schedule.
    pub schedule: String,
    /// Nanoseconds, measured.
    pub measured_ns: f64,
    /// Nanoseconds, modelled.
    pub modelled_ns: f64,
}

impl Compared {
    /// The model's time over the measured one.
    pub fn ratio(&self) -> f64 {
        self.modelled_ns / self.measured_ns
    }
}

/// The model against all that was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Accuracy {
    /// One per schedule that was measured.
    pub compared: Vec<Compared>,
    /// The median of modelled over measured; `None` without any.
    pub median_ratio: Option<f64>,
    /// Spearman's rank correlation over all of them; `None` with fewer than three, or where one side is all the same.
    pub rank_correlation: Option<f64>,
    /// Pairs of schedules of one task that the model orders as the measurements do.
    pub ordered: usize,
    /// Pairs of schedules of one task.
    pub pairs: usize,
}

impl Accuracy {
    /// Of these.
    pub fn of(compared: Vec<Compared>) -> Self {
        let column = |f: fn(&Compared) -> f64| compared.iter().map(f).collect::<Vec<_>>();
        let ratios = column(Compared::ratio);
        let rank_correlation = spearman(&column(|c| c.measured_ns), &column(|c| c.modelled_ns));
        let (mut ordered, mut pairs) = (0, 0);
        for (i, a) in compared.iter().enumerate() {
            for b in compared[i + 1..].iter().filter(|b| b.task == a.task) {
                pairs += 1;
                ordered += usize::from((a.measured_ns < b.measured_ns) == (a.modelled_ns < b.modelled_ns));
            }
        }
        let median_ratio = (!ratios.is_empty()).then(|| median(&ratios));
        Self { median_ratio, rank_correlation, ordered, pairs, compared }
    }
}

/// Ranks from 0, those of equal values shared.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |v: &f64| {
        let less = values.iter().filter(|o| *o < v).count() as f64;
        let same = values.iter().filter(|o| *o == v).count() as f64;
        less + (same - 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() < 3 {
        return None;
    }
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() - 1) as f64 / 2.0;
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let scale = (product(&a, &a) * product(&b, &b)).sqrt();
    (scale > 0.0).then(|| product(&a, &b) / scale)
}

impl Accuracy {
    /// In one line.
    pub fn summary(&self) -> String {
        if self.compared.is_empty() {
            return "not known: nothing of this GPU was measured".to_owned();
        }
        let number = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.2}"));
        format!(
            "median of modelled over measured {}; rank correlation {}; {} of {} pairs of one task in the right order",
            number(self.median_ratio),
            number(self.rank_correlation),
            self.ordered,
            self.pairs
        )
    }
}

/// A line for each schedule that was measured, and the summary.
impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in &self.compared {
            let (modelled, measured) = (time(c.modelled_ns), time(c.measured_ns));
            writeln!(
                f,
                "{:5.2}  {modelled:>9} modelled  {measured:>9} measured  {}  {}",
                c.ratio(),
                c.task,
                c.schedule
            )?;
        }
        writeln!(f, "the model's error: {}", self.summary())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(task: &str, measured_ns: f64, modelled_ns: f64) -> Compared {
        Compared { task: task.into(), schedule: String::new(), measured_ns, modelled_ns }
    }

    #[test]
    fn the_error_is_a_median_a_correlation_and_the_order_within_tasks() {
        let a = Accuracy::of(vec![
            compared("a", 10.0, 5.0),
            compared("a", 20.0, 12.0),
            compared("b", 30.0, 60.0),
            compared("b", 40.0, 50.0),
        ]);
        assert_eq!((a.ordered, a.pairs), (1, 2));
        assert!((a.median_ratio.unwrap() - 0.925).abs() < 1e-9);
        assert!((a.rank_correlation.unwrap() - 0.8).abs() < 1e-9);
        assert!(a.to_string().contains("1 of 2 pairs") && a.to_string().contains("0.80"), "{a}");
    }

    #[test]
    fn too_little_is_said_to_be_nothing() {
        assert!(Accuracy::of(vec![]).to_string().contains("not known"));
        let two = Accuracy::of(vec![compared("a", 1.0, 1.0), compared("b", 2.0, 2.0)]);
        assert_eq!((two.rank_correlation, two.median_ratio), (None, Some(1.0)));
        let same = vec![compared("a", 1.0, 5.0), compared("b", 2.0, 5.0), compared("c", 3.0, 5.0)];
        assert_eq!(Accuracy::of(same).rank_correlation, None);
    }
}

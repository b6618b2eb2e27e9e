//! Who won a race.
//!
//! A candidate's times are divided by the default's times of the same rounds, and the median of these ratios gets a bootstrap
//! interval. The default wins unless the best candidate is faster by two per cent at least and its whole interval lies
//! below one. Among candidates that cannot be told apart, the one that changes fewest parameters of the default is
//! taken, then the first in the order of enumeration, so that two runs on a noisy machine choose alike.

use crate::race::{Lane, Standing};
use crate::stats::{Interval, bootstrap_median};

/// The smallest gain that counts.
pub const LEAST_GAIN: f64 = 0.02;

/// Rounds that a candidate must share with the default to be judged.
pub const LEAST_SAMPLES: usize = 5;

/// Confidence of the intervals.
const CONFIDENCE: f64 = 0.95;

/// Why the winner won.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A candidate is faster than the default.
    Faster,
    /// The default is the fastest.
    DefaultFastest,
    /// The best gain is under [`LEAST_GAIN`].
    GainTooSmall,
    /// The best gain may be noise.
    InsideTheNoise,
    /// There is only the default.
    OnlyDefault,
}

impl Verdict {
    /// For a report.
    pub fn words(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::DefaultFastest => "default is fastest",
            Self::GainTooSmall => "gain under 2 %, default kept",
            Self::InsideTheNoise => "gain inside the noise, default kept",
            Self::OnlyDefault => "no other candidate",
        }
    }
}

/// The outcome of a race.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Which lane.
    pub winner: usize,
    /// Why.
    pub verdict: Verdict,
    /// The best candidate's time over the default's.
    pub ratio: Interval,
    /// Lanes that cannot be told from the best.
    pub ties: Vec<usize>,
    /// The fastest lane that did not win.
    pub runner_up: Option<usize>,
}

/// Decides. `None` where the default itself is no use: rejected, or without samples.
pub fn decide(lanes: &[Lane], seed: u64) -> Option<Decision> {
    let default =
        lanes.first().filter(|lane| lane.standing == Standing::Racing && !lane.samples.is_empty())?;
    let judge = |(at, lane): (usize, &Lane)| {
        let ratios = lane.ratios(default);
        let fit = lane.standing == Standing::Racing && ratios.len() >= LEAST_SAMPLES;
        fit.then(|| (at, bootstrap_median(&ratios, CONFIDENCE, seed.wrapping_add(at as u64))))
    };
    let mut judged: Vec<_> = lanes.iter().enumerate().skip(1).filter_map(judge).collect();
    judged.sort_by(|a, b| a.1.median.total_cmp(&b.1.median).then(a.0.cmp(&b.0)));
    let default_wins =
        |verdict, ratio, runner_up| Some(Decision { winner: 0, verdict, ratio, ties: vec![0], runner_up });
    let Some(&(best_at, best)) = judged.first() else {
        let verdict = if lanes.len() == 1 { Verdict::OnlyDefault } else { Verdict::DefaultFastest };
        let itself = Interval { low: 1.0, median: 1.0, high: 1.0 };
        return default_wins(verdict, itself, fastest_other(lanes, 0));
    };
    let verdict = match best {
        b if b.median >= 1.0 => Verdict::DefaultFastest,
        b if b.median > 1.0 - LEAST_GAIN => Verdict::GainTooSmall,
        b if b.high >= 1.0 => Verdict::InsideTheNoise,
        _ => Verdict::Faster,
    };
    if verdict != Verdict::Faster {
        return default_wins(verdict, best, Some(best_at));
    }
    // As good as the best: behind it by less than half of what counts as a gain, or by less than twice that and not told
    // apart by the intervals.
    let as_good = |i: &Interval| {
        let behind = i.median / best.median - 1.0;
        i.high < 1.0 && (behind <= LEAST_GAIN / 2.0 || behind <= 2.0 * LEAST_GAIN && i.low <= best.high)
    };
    let ties: Vec<_> = judged.iter().filter(|(_, i)| as_good(i)).map(|(at, _)| *at).collect();
    let changes = |at: usize| {
        default.values.0.iter().filter(|(name, value)| lanes[at].values.get(name) != Some(**value)).count()
    };
    let winner = ties.iter().copied().min_by_key(|at| (changes(*at), *at)).unwrap_or(best_at);
    Some(Decision { winner, verdict, ratio: best, ties, runner_up: fastest_other(lanes, winner) })
}

/// The lane with the smallest median beside `winner`, among all that were timed and not wrong.
fn fastest_other(lanes: &[Lane], winner: usize) -> Option<usize> {
    let right = |at: &usize| {
        let lane = &lanes[*at];
        *at != winner && !lane.samples.is_empty() && !matches!(lane.standing, Standing::Rejected(_))
    };
    (0..lanes.len()).filter(right).min_by(|a, b| lanes[*a].median().total_cmp(&lanes[*b].median()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jet_codegen::schedule::Values;

    fn lane(tile: i64, times: &[f64]) -> Lane {
        Lane {
            values: Values([("tile".to_owned(), tile), ("rows".to_owned(), tile / 10)].into()),
            standing: Standing::Racing,
            errors: None,
            samples: times.iter().copied().enumerate().collect(),
        }
    }

    /// Times around `mean` with a spread, alike for all lanes of a round.
    fn around(mean: f64, spread: f64) -> Vec<f64> {
        (0..15).map(|i| mean * (1.0 + spread * ((i * 7 % 15) as f64 / 7.0 - 1.0))).collect()
    }

    #[test]
    fn a_clear_gain_wins() {
        let lanes = [lane(1, &around(1.0, 0.01)), lane(2, &around(0.8, 0.01)), lane(3, &around(0.9, 0.01))];
        let d = decide(&lanes, 1).unwrap();
        assert_eq!((d.winner, d.verdict, d.runner_up), (1, Verdict::Faster, Some(2)));
        assert!((d.ratio.median - 0.8).abs() < 1e-9);
    }

    #[test]
    fn drift_within_rounds_cancels() {
        let drift: Vec<_> = (0..15).map(|i| 1.0 + f64::from(i) * 0.2).collect();
        let scaled: Vec<_> = drift.iter().map(|t| t * 0.95).collect();
        let d = decide(&[lane(1, &drift), lane(2, &scaled)], 1).unwrap();
        assert_eq!((d.winner, d.verdict), (1, Verdict::Faster));
    }

    #[test]
    fn a_small_gain_and_a_noisy_one_leave_the_default() {
        let d = decide(&[lane(1, &around(1.0, 0.0)), lane(2, &around(0.985, 0.0))], 1).unwrap();
        assert_eq!((d.winner, d.verdict), (0, Verdict::GainTooSmall));
        let noisy: Vec<_> = (0..15).map(|i| if i % 2 == 0 { 0.7 } else { 1.2 }).collect();
        let d = decide(&[lane(1, &around(1.0, 0.0)), lane(2, &noisy)], 1).unwrap();
        assert_eq!((d.winner, d.verdict), (0, Verdict::InsideTheNoise));
        let d = decide(&[lane(1, &around(1.0, 0.0)), lane(2, &around(1.1, 0.0))], 1).unwrap();
        assert_eq!((d.winner, d.verdict), (0, Verdict::DefaultFastest));
    }

    #[test]
    fn among_equals_the_one_nearest_to_the_default_wins() {
        // Lane 2 (tile 12) shares `rows` with the default's 1; lane 1 (tile 35) shares nothing and is faster by a hair.
        let lanes =
            [lane(11, &around(1.0, 0.02)), lane(35, &around(0.799, 0.02)), lane(12, &around(0.80, 0.02))];
        let d = decide(&lanes, 1).unwrap();
        assert_eq!((d.winner, d.ties), (2, vec![1, 2]));
    }

    #[test]
    fn the_wrong_the_dropped_and_the_barely_sampled_cannot_win() {
        let mut wrong = lane(2, &around(0.1, 0.0));
        wrong.standing = Standing::Rejected("wrong".into());
        let mut dropped = lane(3, &around(0.5, 0.0));
        dropped.standing = Standing::Dropped;
        let few = lane(4, &[0.1; LEAST_SAMPLES - 1]);
        let d = decide(&[lane(1, &around(1.0, 0.0)), wrong, dropped, few], 1).unwrap();
        assert_eq!((d.winner, d.verdict), (0, Verdict::DefaultFastest));
        assert_eq!(decide(&[lane(1, &around(1.0, 0.0))], 1).unwrap().verdict, Verdict::OnlyDefault);
    }

    #[test]
    fn without_a_sound_default_nothing_is_decided() {
        let mut wrong = lane(1, &around(1.0, 0.0));
        wrong.standing = Standing::Rejected("wrong".into());
        assert_eq!(decide(&[wrong, lane(2, &around(0.1, 0.0))], 1), None);
        assert_eq!(decide(&[lane(1, &[])], 1), None);
    }
}

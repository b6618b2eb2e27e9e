//! Whether stored schedules still hold: each is validated again, and raced again against the default and the runner-up.
//!
//! A schedule *fails* where its output is wrong or it cannot run. It is *degraded* where it has lost by more than the noise
//! that was recorded with it: against the default, compared with how it stood then, or against the runner-up. Times are
//! compared within rounds of one race, so a machine that is slower today degrades nothing by that alone.

use crate::clock::Clock;
use crate::decide::LEAST_GAIN;
use crate::race::{End, Lane, Rules, Spent, Standing, Track, race};
use crate::stats::{Interval, bootstrap_median};
use crate::subject::Workbench;
use crate::tasks::Task;
use jet_cache::{Entry, Timing};
use jet_codegen::schedule::Values;
use serde::Serialize;
use std::fmt;
use std::sync::atomic::AtomicBool;

/// What a second look says of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It is right, and slower than it should be.
    Degraded,
    /// It is wrong, or does not run.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Degraded => "degraded",
            Self::Fail => "fail",
        })
    }
}

/// A record looked at again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verified {
    /// Short name of the task.
    pub id: String,
    /// What is computed.
    pub task: String,
    /// What it comes to.
    pub verdict: Verdict,
    /// Why.
    pub note: String,
    /// Time over the default's time, when it was stored.
    pub ratio_then: Option<f64>,
    /// The same now.
    pub ratio_now: Option<f64>,
    /// Nanoseconds when it was stored.
    pub then_ns: Option<f64>,
    /// Nanoseconds now.
    pub now_ns: Option<f64>,
    /// What counts as noise, as a part of the time.
    pub noise: f64,
}

/// Confidence of the intervals.
const CONFIDENCE: f64 = 0.95;

/// Looks at `entry` again on `bench`. `None` where `stop` was set before there was an answer.
pub fn verify(
    bench: &dyn Workbench,
    clock: &dyn Clock,
    stop: &AtomicBool,
    task: &Task,
    entry: &Entry,
) -> Option<Verified> {
    let then = entry.timing.as_ref();
    let noise = noise(then);
    let told = |verdict, note: String| Verified {
        id: task.key.short_id(),
        task: task.key.label(),
        verdict,
        note,
        ratio_then: then.and_then(|t| (t.default_ns > 0.0).then_some(t.median_ns / t.default_ns)),
        ratio_now: None,
        then_ns: then.map(|t| t.median_ns),
        now_ns: None,
        noise,
    };
    let Some(family) = bench.family(&task.problem.family) else {
        return Some(told(
            Verdict::Fail,
            format!("this device has no kernel family {}", task.problem.family),
        ));
    };
    let stored = Values(entry.schedule.clone());
    if let Err(why) = family.legal(&task.problem, &stored) {
        return Some(told(Verdict::Fail, format!("its schedule is not legal here: {why}")));
    }
    let mut subject = match bench.open(&task.problem) {
        Ok(subject) => subject,
        Err(reason) => return Some(told(Verdict::Fail, reason)),
    };
    let default = family.default_values(&task.problem);
    let runner_up = then.and_then(|t| t.runner_up.as_ref()).map(|r| Values(r.schedule.clone()));
    let legal = |values: &Values| family.legal(&task.problem, values).is_ok();
    let mut wanted = vec![default];
    for other in [Some(stored.clone()), runner_up.filter(legal)].into_iter().flatten() {
        if !wanted.contains(&other) {
            wanted.push(other);
        }
    }
    let lanes = wanted.into_iter().map(Lane::new).collect();
    let rules = Rules { drops: &[], ..Rules::default() };
    let mut watch = |_: &[Lane]| {};
    let mut track = Track { clock, deadline: None, stop, watch: &mut watch, spent: Spent::default() };
    let (lanes, how) = race(&mut *subject, lanes, &rules, &mut track);
    if how == End::Stopped {
        return None;
    }
    let own = lanes.iter().find(|lane| lane.values == stored).expect("it was put into the race");
    if let Standing::Rejected(reason) = &own.standing {
        return Some(told(Verdict::Fail, reason.clone()));
    }
    if let Standing::Rejected(reason) = &lanes[0].standing {
        return Some(told(
            Verdict::Fail,
            format!("the default, which it is compared with, cannot be used: {reason}"),
        ));
    }
    let seed = task.seed();
    let against = |a: &Lane, b: &Lane| bootstrap_median(&a.ratios(b), CONFIDENCE, seed);
    let to_default = against(own, &lanes[0]);
    let rivals =
        lanes.iter().skip(1).filter(|lane| lane.values != stored && lane.standing == Standing::Racing);
    let rival = rivals.map(|lane| against(lane, own)).next();
    let (verdict, note) = judge(then, to_default, rival, noise);
    Some(Verified {
        ratio_now: Some(to_default.median),
        now_ns: Some(own.median() * 1e9),
        ..told(verdict, note)
    })
}

/// The spread that was recorded, as a part of the time; never under what counts as a gain at all.
fn noise(then: Option<&Timing>) -> f64 {
    let spread = then.filter(|t| t.median_ns > 0.0).map_or(0.0, |t| (t.p90_ns - t.p10_ns) / t.median_ns);
    spread.max(LEAST_GAIN)
}

/// Judges times: `to_default` is the schedule's over the default's, `rival` the runner-up's over the schedule's.
fn judge(
    then: Option<&Timing>,
    to_default: Interval,
    rival: Option<Interval>,
    noise: f64,
) -> (Verdict, String) {
    let ratio_then = then.filter(|t| t.default_ns > 0.0).map_or(1.0, |t| t.median_ns / t.default_ns);
    if to_default.low > ratio_then * (1.0 + noise) {
        let note = format!(
            "{:.2} of the default's time, and {ratio_then:.2} when it was stored (noise {:.0} %)",
            to_default.median,
            noise * 100.0
        );
        return (Verdict::Degraded, note);
    }
    match rival {
        Some(rival) if rival.high < 1.0 - noise => {
            let gain = (1.0 - rival.median) * 100.0;
            (Verdict::Degraded, format!("the runner-up is {gain:.0} % faster (noise {:.0} %)", noise * 100.0))
        }
        _ => (Verdict::Pass, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn timing(median_ns: f64, default_ns: f64, spread: f64) -> Timing {
        Timing {
            samples: 15,
            median_ns,
            p10_ns: median_ns * (1.0 - spread / 2.0),
            p90_ns: median_ns * (1.0 + spread / 2.0),
            default_ns,
            runner_up: None,
            floor_bytes: None,
            floor_flops: None,
            bound_ns: None,
            conditions: BTreeMap::new(),
        }
    }

    fn around(median: f64) -> Interval {
        Interval { low: median * 0.99, median, high: median * 1.01 }
    }

    #[test]
    fn only_what_is_beyond_the_recorded_noise_is_degraded() {
        let stored = timing(70.0, 100.0, 0.1);
        let verdict = |now: f64| judge(Some(&stored), around(now), None, noise(Some(&stored))).0;
        assert_eq!(verdict(0.70), Verdict::Pass);
        assert_eq!(verdict(0.76), Verdict::Pass, "within ten per cent");
        assert_eq!(verdict(0.79), Verdict::Degraded);
        assert_eq!(verdict(0.50), Verdict::Pass, "faster is no fault");
        // The same figures with a wider recorded spread.
        let noisy = timing(70.0, 100.0, 0.3);
        assert_eq!(judge(Some(&noisy), around(0.79), None, noise(Some(&noisy))).0, Verdict::Pass);
    }

    #[test]
    fn a_default_is_degraded_by_a_faster_runner_up_alone() {
        let stored = timing(100.0, 100.0, 0.0);
        let verdict =
            |rival: f64| judge(Some(&stored), around(1.0), Some(around(rival)), noise(Some(&stored)));
        assert_eq!(verdict(0.99).0, Verdict::Pass, "under two per cent is no gain");
        assert_eq!(verdict(1.3).0, Verdict::Pass);
        let (degraded, note) = verdict(0.8);
        assert!(degraded == Verdict::Degraded && note.contains("20 % faster"), "{note}");
    }

    #[test]
    fn a_record_without_times_is_measured_against_the_default() {
        assert_eq!(judge(None, around(1.0), None, noise(None)).0, Verdict::Pass);
        assert_eq!(judge(None, around(1.1), None, noise(None)).0, Verdict::Degraded);
    }
}

//! One sample of one candidate: how long a run takes.

use crate::subject::Subject;

/// How samples are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Seconds that one sample should last, so that the clock's grain and the call do not matter.
    pub sample_seconds: f64,
    /// Most runs in one sample.
    pub most_runs: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self { sample_seconds: 500e-6, most_runs: 256 }
    }
}

/// How often an impossible time is asked for again.
const ATTEMPTS: usize = 3;

/// One sample of the prepared candidate, in seconds per run. A first run brings code and data near and is not counted; its
/// time only decides how many runs the sample has.
///
/// # Errors
/// The reason where the clock gave no positive time in several attempts.
pub fn sample(subject: &mut dyn Subject, rules: &Rules) -> Result<f64, String> {
    let warm = positive(subject, 1)?;
    let runs = (rules.sample_seconds / warm).ceil().clamp(1.0, rules.most_runs as f64) as usize;
    positive(subject, runs).map(|seconds| seconds / runs as f64)
}

fn positive(subject: &mut dyn Subject, runs: usize) -> Result<f64, String> {
    for _ in 0..ATTEMPTS {
        let seconds = subject.time(runs);
        if seconds.is_finite() && seconds > 0.0 {
            return Ok(seconds);
        }
        // What is broken does not get better by being asked again.
        if let Some(fault) = subject.fault() {
            return Err(fault.reason);
        }
    }
    Err(format!("{runs} runs failed or took no positive time, in {ATTEMPTS} attempts"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Errors;
    use jet_codegen::schedule::Values;

    struct Steady {
        per_run: Vec<f64>,
        asked: Vec<usize>,
    }

    impl Subject for Steady {
        fn prepare(&mut self, _: &Values) -> Result<(), String> {
            Ok(())
        }
        fn validate(&mut self) -> Result<Errors, String> {
            Ok(Errors::default())
        }
        fn time(&mut self, runs: usize) -> f64 {
            let per_run = self.per_run[self.asked.len().min(self.per_run.len() - 1)];
            self.asked.push(runs);
            per_run * runs as f64
        }
        fn floor(&self) -> (u64, u64) {
            (0, 0)
        }
    }

    fn take(per_run: &[f64]) -> (Result<f64, String>, Vec<usize>) {
        let mut subject = Steady { per_run: per_run.to_vec(), asked: vec![] };
        (sample(&mut subject, &Rules { sample_seconds: 1e-3, most_runs: 100 }), subject.asked)
    }

    #[test]
    fn short_runs_are_repeated_and_long_ones_are_not() {
        let (time, asked) = take(&[1e-4, 2e-4]);
        assert!((time.unwrap() - 2e-4).abs() < 1e-12, "the warm-up run is not counted");
        assert_eq!(asked, [1, 10]);
        assert_eq!(take(&[0.5]).1, [1, 1]);
        assert_eq!(take(&[1e-9]).1, [1, 100]);
    }

    #[test]
    fn impossible_times_are_asked_for_again_then_an_error() {
        assert!(take(&[1e-3, -1.0, 1e-3]).0.is_ok());
        assert!(take(&[0.0]).0.unwrap_err().contains("no positive time"));
        assert!(take(&[f64::NAN]).0.is_err());
    }
}

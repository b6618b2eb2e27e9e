//! Which arithmetic each part of a model gets, under a bound on what that does to its answers.
//!
//! ```text
//! calibrate → reference → sensitivity → order → search → verify → report
//! ```
//!
//! - [`calibration`]: the tokens on which distributions are compared
//! - [`divergence`]: how far next-token distributions are from the reference's
//! - [`cost`]: what a part takes in each precision, and how far its kernels are from their reference
//! - [`choose`]: which parts are made cheaper, in which order, and how far
//! - [`judge`]: the model itself, loaded with one recipe after the other
//! - [`report`]: what came of it
//!
//! The reference is the model in float32 throughout, with the weights as they are stored. A part is a block, the head or
//! the KV caches. Divergences of single parts only order them: whole recipes are measured, and the one that is chosen has a
//! measured divergence within the bound.

pub mod calibration;
pub mod choose;
pub mod cost;
pub mod divergence;
pub mod judge;
pub mod report;

pub use calibration::Calibration;
pub use report::{PartReport, Point, PrecisionReport};

use crate::error::TuneError;
use crate::subject::Workbench;
use choose::{Choice, Search};
use cost::{Costs, Parts};
use jet_runtime::device::Precision;
use jet_runtime::recipe::Recipe;
use judge::Judge;
use std::sync::atomic::{AtomicBool, Ordering};

/// The arithmetic that everything is compared with.
pub const REFERENCE: Precision = Precision::F32;

/// What is tried instead of the reference, in this order; of two that come to the same kernels the first.
const CHEAPER: [Precision; 2] = [Precision::Bf16, Precision::Native];

/// Recipes along the way from the reference to the fastest that are measured for the Pareto front alone.
const PROBES: usize = 4;

/// What the search is told.
#[derive(Clone, Debug)]
pub struct PrecisionOptions {
    /// Mean KL divergence from the reference's next-token distributions, in nats, that the whole recipe may have.
    ///
    /// The default keeps the arithmetic's part below that of a good 8-bit format: what storing weights in 8 bits costs is
    /// of the order of a thousandth, in 4 bits of some hundredths.
    pub max_kl: f64,
    /// Relative error (root mean square) that a kernel may have against its reference. The default admits every kernel
    /// that is within its own tolerance.
    pub max_rel_err: f64,
    /// Tokens of the run whose time is to be saved: one is a decode step.
    pub tokens: usize,
}

impl Default for PrecisionOptions {
    fn default() -> Self {
        Self { max_kl: 2e-3, max_rel_err: 0.02, tokens: 1 }
    }
}

/// Finds the recipe of `judge`'s model: measures parts, orders them, searches. `tell` is given a line for a person after
/// each step.
///
/// # Errors
/// The device does not mix precisions, a kernel or the model fails, a weight is missing; [`TuneError::Stopped`].
pub fn find(
    judge: &mut Judge<'_>,
    parts: &Parts<'_>,
    bench: &dyn Workbench,
    options: &PrecisionOptions,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(&str),
) -> Result<PrecisionReport, TuneError> {
    let all = parts.parts();
    if let Some(part) = all.first() {
        judge.device().accepts(&Recipe::from(REFERENCE).with(*part, CHEAPER[0]))?;
    }
    let go_on = || if stop.load(Ordering::Relaxed) { Err(TuneError::Stopped) } else { Ok(()) };
    judge.take_reference(&REFERENCE.into())?;
    tell(&format!("the reference has {} positions of {} logits", judge.positions(), judge.vocab()));
    let mut costs = Costs::new(bench, judge.cache(), judge.device());
    let (mut reports, mut reference_seconds) = (Vec::new(), 0.0);
    for part in all {
        let reference = costs.of(&parts.problems(part, REFERENCE))?;
        reference_seconds += reference.seconds;
        let mut seen = vec![parts.problems(part, REFERENCE)];
        for precision in CHEAPER {
            go_on()?;
            let problems = parts.problems(part, precision);
            if seen.contains(&problems) {
                continue;
            }
            let cost = costs.of(&problems)?;
            seen.push(problems);
            let kl = judge.divergence(&Recipe::from(REFERENCE).with(part, precision))?;
            let report = PartReport::new(part, precision, reference.seconds, cost, kl, options.max_rel_err);
            tell(&report.to_string());
            reports.push(report);
        }
    }
    let choices: Vec<Choice> = reports.iter().filter(|r| r.admitted).map(PartReport::choice).collect();
    let moves = choose::moves(&choices);
    let search = Search::run(&moves, options.max_kl, PROBES, &mut |recipe| {
        go_on()?;
        let kl = judge.divergence(recipe)?;
        tell(&format!("{recipe}: divergence {kl:.2e}"));
        Ok::<f64, TuneError>(kl)
    })?;
    let steps = judge.steps(&[&REFERENCE.into(), &search.recipe])?;
    Ok(PrecisionReport::new(judge, options, reports, search, reference_seconds, &steps))
}

//! What a search for precisions has come to.

use super::choose::{Choice, Measured, Search, front};
use super::cost::Cost;
use super::judge::Judge;
use super::{PrecisionOptions, REFERENCE};
use jet_cache::recipe::{FrontPoint, RecipeEvidence};
use jet_cache::{Provenance, RecipeKey, StoredRecipe};
use jet_runtime::device::Precision;
use jet_runtime::recipe::{Part, Recipe};
use serde::{Serialize, Serializer};
use std::fmt;

/// One part in one cheaper precision, the rest of the model being the reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartReport {
    /// The part: a layer's index, `head` or `caches`.
    #[serde(serialize_with = "shown")]
    pub part: Part,
    /// Its precision.
    pub precision: Precision,
    /// Divergence from the reference, in nats.
    pub kl: f64,
    /// Seconds of its kernels in one run.
    pub seconds: f64,
    /// The same in the reference's precision.
    pub reference_seconds: f64,
    /// The largest relative error of its kernels.
    pub rel_err: f64,
    /// Whether that is within the bound, so that the search may take it.
    pub admitted: bool,
    /// Whether the recipe has it.
    pub chosen: bool,
}

impl PartReport {
    pub(super) fn new(
        part: Part,
        precision: Precision,
        reference_seconds: f64,
        cost: Cost,
        kl: f64,
        max_rel_err: f64,
    ) -> Self {
        Self {
            part,
            precision,
            kl,
            seconds: cost.seconds,
            reference_seconds,
            rel_err: cost.rel_err,
            admitted: cost.rel_err <= max_rel_err,
            chosen: false,
        }
    }

    pub(super) fn choice(&self) -> Choice {
        let saved = self.reference_seconds - self.seconds;
        Choice { part: self.part, precision: self.precision, kl: self.kl, saved }
    }
}

impl fmt::Display for PartReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layer = if matches!(self.part, Part::Layer(_)) { "layer " } else { "" };
        let (now, then) = (self.seconds * 1e6, self.reference_seconds * 1e6);
        write!(
            f,
            "{layer}{} in {}: divergence {:.2e}, {now:.1} us instead of {then:.1}, error {:.1e}",
            self.part,
            self.precision.name(),
            self.kl,
            self.rel_err
        )
    }
}

/// A recipe that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// What it is.
    #[serde(serialize_with = "shown")]
    pub recipe: Recipe,
    /// Mean divergence from the reference, in nats.
    pub kl: f64,
    /// Seconds of the kernels that precision changes, in one run.
    pub seconds: f64,
    /// Whether it is the one that was chosen.
    pub chosen: bool,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PrecisionReport {
    /// The chosen recipe.
    #[serde(serialize_with = "shown")]
    pub recipe: Recipe,
    /// Its mean divergence from the reference: of the whole recipe, measured, in nats.
    pub kl: f64,
    /// The bound that it keeps.
    pub max_kl: f64,
    /// The bound that each of its kernels keeps.
    pub max_rel_err: f64,
    /// Seconds of the kernels that precision changes, in one run with the recipe.
    pub seconds: f64,
    /// The same of the reference.
    pub reference_seconds: f64,
    /// Tokens of that run.
    pub tokens: usize,
    /// Seconds of a whole decode step with the recipe, measured.
    pub step_seconds: f64,
    /// The same of the reference.
    pub reference_step_seconds: f64,
    /// What was compared.
    pub calibration: String,
    /// SHA-256 of its token ids.
    pub calibration_digest: String,
    /// Positions that were compared.
    pub positions: usize,
    /// Every part in every cheaper precision.
    pub parts: Vec<PartReport>,
    /// The Pareto front over all recipes that were measured, single parts included: by divergence, the reference first.
    pub front: Vec<Point>,
    /// How many whole recipes were measured.
    pub measured: usize,
}

fn shown<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl PrecisionReport {
    /// `steps`: seconds of a decode step of the reference and of the recipe.
    pub(super) fn new(
        judge: &Judge<'_>,
        options: &PrecisionOptions,
        mut parts: Vec<PartReport>,
        search: Search,
        reference_seconds: f64,
        steps: &[f64],
    ) -> Self {
        for part in &mut parts {
            part.chosen = search.recipe.of(part.part) == part.precision;
        }
        let alone = |p: &PartReport| Measured {
            recipe: Recipe::from(REFERENCE).with(p.part, p.precision),
            kl: p.kl,
            saved: p.reference_seconds - p.seconds,
        };
        let all: Vec<Measured> = search.measured.iter().cloned().chain(parts.iter().map(alone)).collect();
        let point = |m: Measured| Point {
            chosen: m.recipe == search.recipe,
            recipe: m.recipe,
            kl: m.kl,
            seconds: reference_seconds - m.saved,
        };
        let front = front(&all, |m| (m.kl, -m.saved)).into_iter().map(point).collect();
        let step = |at: usize| steps.get(at).copied().unwrap_or(f64::NAN);
        Self {
            seconds: reference_seconds - search.saved,
            reference_seconds,
            kl: search.kl,
            max_kl: options.max_kl,
            max_rel_err: options.max_rel_err,
            tokens: options.tokens,
            step_seconds: step(1),
            reference_step_seconds: step(0),
            calibration: judge.calibration().origin.clone(),
            calibration_digest: judge.calibration().digest().to_string(),
            positions: judge.positions(),
            parts,
            front,
            measured: search.measured.len(),
            recipe: search.recipe,
        }
    }

    /// The record that is stored under `key`.
    pub fn record(&self, key: RecipeKey, model: &str, provenance: Provenance) -> StoredRecipe {
        let nanoseconds = |seconds: f64| seconds * 1e9;
        let named = |(part, precision): (Part, Precision)| (part.to_string(), precision.name().to_owned());
        let point = |p: &Point| FrontPoint {
            kl: p.kl,
            time_ns: nanoseconds(p.seconds),
            recipe: p.recipe.to_string(),
        };
        StoredRecipe {
            key,
            name: model.to_owned(),
            default: self.recipe.default_precision().name().to_owned(),
            parts: self.recipe.exceptions().map(named).collect(),
            evidence: RecipeEvidence {
                kl: self.kl,
                max_kl: self.max_kl,
                max_rel_err: self.max_rel_err,
                calibration: self.calibration_digest.clone(),
                positions: self.positions as u64,
                tokens: self.tokens as u64,
                time_ns: nanoseconds(self.seconds),
                reference_ns: nanoseconds(self.reference_seconds),
            },
            front: self.front.iter().map(point).collect(),
            provenance,
        }
    }
}

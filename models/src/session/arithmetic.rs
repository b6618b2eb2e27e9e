//! Which arithmetic a session gets: what its caller says, or the recipe that the tuner stored.

use super::SessionError;
use crate::weights::WeightSource;
use jet_cache::{Mode, RecipeKey, ScheduleCache, StoredRecipe};
use jet_dsl::ModelSpec;
use jet_runtime::device::{Device, Precision};
use jet_runtime::recipe::Recipe;
use jet_runtime::schedule_key::{KERNELS, cached_device};
use std::fmt::Write as _;

/// Bytes that are looked at from the beginning, the middle and the end of each stored weight.
const SAMPLE: usize = 64;

/// Arithmetic of the matrices and format of the KV caches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// This one.
    Given(Recipe),
    /// The recipe that `jet-tune precision` stored for this model on this device.
    ///
    /// Without one, loading fails: whoever asks for it counts on a bound that no other precision was held to.
    Tuned,
}

impl Default for Arithmetic {
    fn default() -> Self {
        Self::Given(Recipe::default())
    }
}

impl From<Precision> for Arithmetic {
    fn from(precision: Precision) -> Self {
        Self::Given(precision.into())
    }
}

impl From<Recipe> for Arithmetic {
    fn from(recipe: Recipe) -> Self {
        Self::Given(recipe)
    }
}

impl Arithmetic {
    /// The recipe for `weights` on `device`.
    ///
    /// # Errors
    /// A tuned one was asked for, and none is stored that this jet can read.
    pub fn resolve(
        &self,
        device: &dyn Device,
        weights: &dyn WeightSource,
        schedules: &ScheduleCache,
    ) -> Result<Recipe, SessionError> {
        match self {
            Self::Given(recipe) => Ok(recipe.clone()),
            Self::Tuned => tuned(device, weights, schedules),
        }
    }
}

fn tuned(
    device: &dyn Device,
    weights: &dyn WeightSource,
    schedules: &ScheduleCache,
) -> Result<Recipe, SessionError> {
    let model = weights.spec().name.to_string();
    let key = recipe_key(device, weights)?;
    let Some(stored) = schedules.recipe(&key) else {
        let mut reason = match schedules.mode() {
            Mode::Off => "the stored schedules are off".to_owned(),
            _ => format!("none is stored for {} on {}", weights.describe(), key.device),
        };
        for notice in schedules.notices() {
            let _ = write!(reason, "; {notice}");
        }
        return Err(SessionError::NoRecipe { model, reason });
    };
    read_recipe(&stored).map_err(|reason| SessionError::NoRecipe { model, reason })
}

/// The recipe of a stored record.
///
/// # Errors
/// It names a part or a precision that this jet does not know.
pub fn read_recipe(stored: &StoredRecipe) -> Result<Recipe, String> {
    let precision = |name: &str| {
        Precision::named(name)
            .ok_or_else(|| format!("the stored one has the precision `{name}`, which this jet lacks"))
    };
    let mut recipe = Recipe::from(precision(&stored.default)?);
    for (part, name) in &stored.parts {
        recipe = recipe.with(part.parse()?, precision(name)?);
    }
    Ok(recipe)
}

/// Under which key the recipe of a model with these weights on `device` stands.
///
/// # Errors
/// The weights cannot be read.
pub fn recipe_key(device: &dyn Device, weights: &dyn WeightSource) -> Result<RecipeKey, SessionError> {
    Ok(RecipeKey {
        device: cached_device(&device.fingerprint()),
        model: weights.spec().digest(),
        weights: identity(weights)?,
        code: KERNELS.to_owned(),
    })
}

/// What tells these weights from others of the same model: the seed and formats of random ones; of stored ones a digest
/// over formats, shapes and a sample of each one's bytes. To read all of a large model would take longer than to load it, and
/// weights that were trained on differ nearly everywhere.
fn identity(weights: &dyn WeightSource) -> Result<String, SessionError> {
    let spec: &ModelSpec = weights.spec();
    let mut text = String::new();
    for weight in spec.weights() {
        let info = weights.info(weight.id)?;
        let _ = writeln!(text, "{:?} {} {:?}", weight.id, info.dtype, info.shape);
        if weights.seed().is_none() {
            let tensor = weights.get(weight.id)?;
            for byte in sample(&tensor.bytes) {
                let _ = write!(text, "{byte:02x}");
            }
            drop(tensor);
            weights.release(weight.id);
        }
    }
    let digest = jet_cache::Digest::of(text.as_bytes());
    Ok(weights.seed().map_or_else(|| digest.to_string(), |seed| format!("random, seed {seed}, {digest}")))
}

/// Bytes from the beginning, the middle and the end.
fn sample(bytes: &[u8]) -> impl Iterator<Item = &u8> {
    let part = |at: usize| &bytes[at.min(bytes.len())..(at + SAMPLE).min(bytes.len())];
    [part(0), part(bytes.len() / 2), part(bytes.len().saturating_sub(SAMPLE))].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jet_runtime::recipe::Part;
    use std::collections::BTreeMap;

    fn stored(default: &str, parts: &[(&str, &str)]) -> StoredRecipe {
        serde_json::from_value(serde_json::json!({
            "key": { "device": { "kind": "cpu", "facts": {} }, "model": "", "weights": "", "code": "" },
            "name": "m", "default": default,
            "parts": parts.iter().copied().collect::<BTreeMap<_, _>>(),
            "evidence": { "kl": 0.0, "max_kl": 0.0, "max_rel_err": 0.0, "calibration": "", "positions": 1,
                          "tokens": 1, "time_ns": 1.0, "reference_ns": 1.0 },
        }))
        .unwrap()
    }

    #[test]
    fn a_stored_recipe_is_read_part_by_part() {
        let recipe = read_recipe(&stored("f32", &[("2", "native"), ("caches", "bf16")])).unwrap();
        let want = Recipe::from(Precision::F32).with(Part::Layer(2), Precision::Native);
        assert_eq!(recipe, want.with(Part::Caches, Precision::Bf16));
        let refused = |default, parts: &[_]| read_recipe(&stored(default, parts)).unwrap_err();
        assert!(refused("fp8", &[]).contains("`fp8`"));
        assert!(refused("f32", &[("tail", "bf16")]).contains("`tail`"));
    }

    #[test]
    fn samples_are_of_both_ends_and_the_middle_and_never_beyond() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        assert_eq!(sample(&bytes).count(), 3 * SAMPLE);
        assert_eq!(sample(&bytes).last(), bytes.last());
        assert_eq!(sample(&bytes[..10]).count(), 10 + 5 + 10);
        assert_eq!(sample(&[]).count(), 0);
    }
}

//! Recipes: which arithmetic each part of a model gets on a device, and the evidence that it is near enough to float32.
//!
//! A recipe belongs to one model with its very weights on one kind of device: with other weights the same choice may be
//! further from the reference, and on another device it may not be faster. Sessions read recipes, so they stand in the
//! snapshot beside the entries; in the store they are among the extras.

use crate::bytes::sum;
use crate::entry::Provenance;
use crate::envelope::{Kind, Stored, first_unusable};
use crate::error::CacheError;
use crate::key::{Fingerprint, StoreKey, push_text};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Format of the record.
pub const FORMAT: u32 = 1;

/// First bytes of the record.
pub const MAGIC: &[u8; 4] = b"JETR";

/// What identifies the recipe of a model; every field is hard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipeKey {
    /// The device.
    pub device: Fingerprint,
    /// SHA-256 of the model's definition, in hexadecimal.
    pub model: String,
    /// The weights: a digest, or the seed and format of random ones.
    pub weights: String,
    /// Version of the kernels: another one may round in another way.
    pub code: String,
}

impl RecipeKey {
    /// `jetrecipe`, then each field with its name, as `docs/format.md` draws them.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut out = b"jetrecipe".to_vec();
        let mut field = |name: &str, value: &str| {
            push_text(&mut out, name);
            push_text(&mut out, value);
        };
        field("device", &self.device.kind);
        self.device.facts.iter().for_each(|(name, value)| field(&format!("device.{name}"), value));
        field("model", &self.model);
        field("weights", &self.weights);
        field("code", &self.code);
        out
    }

    /// Where the record stands: the SHA-256 of the canonical bytes, then eight zeros.
    pub fn store_key(&self) -> StoreKey {
        StoreKey::of_digest(sum(&self.canonical_bytes()))
    }
}

/// One recipe that was tried: how far it is from the reference, and what it takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrontPoint {
    /// Mean KL divergence of its next-token distributions from the reference's, in nats.
    pub kl: f64,
    /// Nanoseconds of the kernels that precision changes, in one run.
    pub time_ns: f64,
    /// The recipe, for a person.
    pub recipe: String,
}

/// Why the recipe was chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecipeEvidence {
    /// Mean KL divergence from the float32 reference on the calibration text, in nats: of the whole recipe, measured.
    pub kl: f64,
    /// The bound that it had to keep.
    pub max_kl: f64,
    /// The bound on the relative error of each kernel.
    pub max_rel_err: f64,
    /// SHA-256 of the calibration's token ids, each in four big-endian bytes.
    pub calibration: String,
    /// Positions whose distributions were compared.
    pub positions: u64,
    /// Tokens of the run whose time was to be saved.
    pub tokens: u64,
    /// Nanoseconds of the kernels that precision changes, in one such run.
    pub time_ns: f64,
    /// The same of the float32 reference.
    pub reference_ns: f64,
}

/// The record of one model's recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredRecipe {
    /// Whose it is.
    pub key: RecipeKey,
    /// The model's name, for a person.
    pub name: String,
    /// Name of the precision of all parts that are not listed.
    pub default: String,
    /// Names of the parts that have another one (`3`, `head`, `caches`), with theirs.
    pub parts: BTreeMap<String, String>,
    /// Why this one.
    pub evidence: RecipeEvidence,
    /// The Pareto front that was found on the way: the further from the reference, the faster.
    #[serde(default)]
    pub front: Vec<FrontPoint>,
    /// Who, when, with what.
    #[serde(default)]
    pub provenance: Provenance,
}

impl StoredRecipe {
    /// The stored bytes.
    ///
    /// # Errors
    /// [`CacheError::InvalidEntry`] for numbers that are none, or a divergence beyond its bound.
    pub fn encode(&self) -> Result<Vec<u8>, CacheError> {
        self.seal()
    }

    /// Reads the bytes of one record, all of them; `what` names it in errors.
    ///
    /// # Errors
    /// [`CacheError::Damaged`], [`CacheError::NewerFormat`].
    pub fn decode(bytes: &[u8], what: &str) -> Result<Self, CacheError> {
        Self::unseal(bytes, what)
    }
}

impl fmt::Display for StoredRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "recipe of {} on {}", self.name, self.key.device)
    }
}

impl Stored for StoredRecipe {
    const KIND: Kind = Kind { magic: MAGIC, format: FORMAT };

    fn place(&self) -> StoreKey {
        self.key.store_key()
    }

    fn subject(&self) -> String {
        self.to_string()
    }

    fn broken_rule(&self) -> Option<String> {
        let e = &self.evidence;
        let points = self.front.iter().flat_map(|p| [p.kl, p.time_ns]);
        let numbers: Vec<f64> =
            [e.kl, e.max_kl, e.max_rel_err, e.time_ns, e.reference_ns].into_iter().chain(points).collect();
        if let Some(bad) = first_unusable(&numbers) {
            return Some(format!("{bad} is no divergence, error or time"));
        }
        (e.kl > e.max_kl).then(|| format!("its divergence {} is above the bound {}", e.kl, e.max_kl))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A recipe for a model called `name`.
    pub(crate) fn recipe(name: &str) -> StoredRecipe {
        StoredRecipe {
            key: RecipeKey {
                device: Fingerprint::cpu("a processor", "avx2", [32 << 10, 1 << 20, 32 << 20], 2),
                model: "ab".repeat(32),
                weights: format!("weights of {name}"),
                code: "cpu-1".into(),
            },
            name: name.into(),
            default: "f32".into(),
            parts: [("0", "native"), ("head", "bf16")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            evidence: RecipeEvidence {
                kl: 1e-3,
                max_kl: 2e-3,
                max_rel_err: 0.02,
                calibration: "cd".repeat(32),
                positions: 256,
                tokens: 1,
                time_ns: 1.5e6,
                reference_ns: 4e6,
            },
            front: vec![FrontPoint { kl: 1e-3, time_ns: 1.5e6, recipe: "f32, 0 native, head bf16".into() }],
            provenance: Provenance { time: 1_700_000_000, host: "ab12".into(), ..Provenance::default() },
        }
    }

    #[test]
    fn a_recipe_survives_its_stored_form() {
        let stored = recipe("m").encode().unwrap();
        assert_eq!(StoredRecipe::decode(&stored, "it").unwrap(), recipe("m"));
        for at in 0..stored.len() {
            let mut bad = stored.clone();
            bad[at] ^= 4;
            assert!(StoredRecipe::decode(&bad, "it").is_err(), "byte {at} went unnoticed");
        }
    }

    #[test]
    fn device_model_weights_and_code_make_a_key() {
        let base = recipe("m").key;
        let changed = |change: fn(&mut RecipeKey)| {
            let mut key = base.clone();
            change(&mut key);
            key.store_key()
        };
        let all = [
            base.store_key(),
            changed(|k| k.device.kind.push('x')),
            changed(|k| k.device = k.device.clone().with("workers", 3)),
            changed(|k| k.model.push('0')),
            changed(|k| k.weights.push('0')),
            changed(|k| k.code.push('0')),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn a_recipe_beyond_its_bound_is_not_stored() {
        let refused = |change: fn(&mut StoredRecipe), word: &str| {
            let mut wrong = recipe("m");
            change(&mut wrong);
            let message = wrong.encode().unwrap_err().to_string();
            assert!(message.contains(word) && message.contains("recipe of m"), "{message}");
        };
        refused(|r| r.evidence.kl = 3e-3, "above the bound");
        refused(|r| r.evidence.time_ns = f64::NAN, "NaN is no divergence");
        refused(|r| r.front[0].kl = -1.0, "-1 is no divergence");
    }
}

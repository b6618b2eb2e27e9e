//! Identity of a [`ModelSpec`]: canonical text, digest, equality, and reading back with the rules applied.

use crate::check::check;
use crate::error::SpecError;
use crate::naming::Naming;
use crate::spec::{Binding, ModelSpec, Precision};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::hash::{Hash, Hasher};

impl ModelSpec {
    /// The canonical text of the model: JSON without whitespace, fields in order of declaration, numbers in
    /// their shortest form that reads back exactly.
    pub fn canonical_json(&self) -> String {
        serde_json::to_string(self).expect("a spec has string keys only, so it is always valid JSON")
    }

    /// SHA-256 of [`ModelSpec::canonical_json`] in lower-case hexadecimal. Two specs are equal exactly when
    /// their digests are.
    pub fn digest(&self) -> String {
        Sha256::digest(self.canonical_json()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The spec itself if it breaks no rule (see [`crate::check`]), with its bindings in order of first use.
    ///
    /// # Errors
    /// Every violated rule at once.
    pub fn checked(self) -> Result<Self, SpecError> {
        let faults = check(&self);
        if faults.is_empty() {
            return Ok(self.in_order());
        }
        Err(SpecError { name: self.name.into_owned(), faults })
    }

    /// Sorts the bindings by first use in the pattern; unused ones go last.
    pub(crate) fn in_order(mut self) -> Self {
        let first_use = |b: &Binding| self.pattern.find(b.symbol).unwrap_or(usize::MAX);
        if !self.bindings.is_sorted_by_key(first_use) {
            let mut sorted = self.bindings.to_vec();
            sorted.sort_by_key(first_use);
            self.bindings = Cow::Owned(sorted);
        }
        self
    }
}

impl PartialEq for ModelSpec {
    fn eq(&self, other: &Self) -> bool {
        self.canonical_json() == other.canonical_json()
    }
}

impl Eq for ModelSpec {}

impl Hash for ModelSpec {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical_json().hash(state);
    }
}

/// [`ModelSpec`] as it is written down, before the rules are applied.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unchecked {
    name: Cow<'static, str>,
    vocab: u32,
    d_model: u32,
    norm_eps: f64,
    tie_embeddings: bool,
    max_context: u32,
    pattern: Cow<'static, str>,
    bindings: Cow<'static, [Binding]>,
    naming: Naming,
    precisions: Cow<'static, [Precision]>,
}

impl TryFrom<Unchecked> for ModelSpec {
    type Error = SpecError;

    fn try_from(u: Unchecked) -> Result<Self, SpecError> {
        Self {
            name: u.name,
            vocab: u.vocab,
            d_model: u.d_model,
            norm_eps: u.norm_eps,
            tie_embeddings: u.tie_embeddings,
            max_context: u.max_context,
            pattern: u.pattern,
            bindings: u.bindings,
            naming: u.naming,
            precisions: u.precisions,
        }
        .checked()
    }
}

#[cfg(test)]
mod tests {
    use crate::check::tests::legal;
    use crate::spec::ModelSpec;
    use std::collections::HashSet;

    #[test]
    fn reads_back_what_it_wrote() {
        let spec = legal();
        let text = serde_json::to_string_pretty(&spec).expect("it is written");
        let back: ModelSpec = serde_json::from_str(&text).expect("it is read");
        assert_eq!(back, spec);
        assert_eq!(back.digest(), spec.digest());
        assert!(HashSet::from([spec]).contains(&back));
    }

    #[test]
    fn a_digest_is_sixty_four_hex_digits_and_follows_every_change() {
        let spec = legal();
        assert_eq!(spec.digest().len(), 64);
        assert!(spec.digest().chars().all(|c| c.is_ascii_hexdigit()));
        let mut other = spec.clone();
        other.norm_eps = f64::from_bits(spec.norm_eps.to_bits() + 1);
        assert_ne!(other.digest(), spec.digest());
        assert_ne!(other, spec);
    }

    #[test]
    fn refuses_to_read_an_illegal_model() {
        let mut spec = legal();
        spec.vocab = 0;
        let text = serde_json::to_string(&spec).expect("it is written");
        let error = serde_json::from_str::<ModelSpec>(&text).expect_err("vocab is 0");
        assert!(error.to_string().contains("vocab is 0; it must be from 1 to"), "{error}");
    }

    #[test]
    fn the_order_of_the_bindings_does_not_matter() {
        let spec = legal();
        let mut turned = spec.clone();
        turned.bindings.to_mut().reverse();
        assert_eq!(turned.checked().expect("legal"), spec);
    }
}

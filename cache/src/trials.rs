//! The side record of a task: what became of every candidate. The record itself keeps the winner and its evidence; this
//! one answers "why not that one?" and feeds the landscapes on which searches are compared.
//!
//! A session never reads it, so it is not in the snapshot that sessions load.

use crate::bytes::sum;
use crate::entry::{NamedIntegers, Provenance};
use crate::envelope::{Kind, Stored, first_unusable};
use crate::error::CacheError;
use crate::failure::FailureKind;
use crate::key::{StoreKey, TaskKey};
use serde::{Deserialize, Serialize};

/// Format of the record.
pub const FORMAT: u32 = 1;

/// First bytes of the record.
pub const MAGIC: &[u8; 4] = b"JETT";

/// What became of one candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It was timed; a clear loser has few samples.
    Timed {
        /// How often.
        samples: u32,
        /// Median, in nanoseconds.
        median_ns: f64,
        /// Tenth percentile.
        p10_ns: f64,
        /// Ninetieth percentile.
        p90_ns: f64,
    },
    /// It was not tried, since a model or a bound spoke against it.
    Pruned {
        /// What spoke against it.
        reason: String,
    },
    /// It failed.
    Failed {
        /// How.
        kind: FailureKind,
        /// In words.
        reason: String,
    },
}

/// One candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Its schedule.
    pub schedule: NamedIntegers,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// All candidates of one search, in the order in which they were taken up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trials {
    /// The task.
    pub key: TaskKey,
    /// Its candidates.
    pub trials: Vec<Trial>,
    /// Who, when, with what.
    #[serde(default)]
    pub provenance: Provenance,
}

impl Trials {
    /// Where the side record of `key`'s task stands: the SHA-256 of `jettrials` and the task's canonical bytes, then
    /// eight zeros.
    pub fn store_key(key: &TaskKey) -> StoreKey {
        let mut bytes = b"jettrials".to_vec();
        bytes.extend(key.canonical_bytes());
        StoreKey::of_digest(sum(&bytes))
    }

    /// The stored bytes.
    ///
    /// # Errors
    /// [`CacheError::InvalidEntry`] where a time is not finite or negative.
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

impl Stored for Trials {
    const KIND: Kind = Kind { magic: MAGIC, format: FORMAT };

    fn place(&self) -> StoreKey {
        Self::store_key(&self.key)
    }

    fn subject(&self) -> String {
        self.key.label()
    }

    fn broken_rule(&self) -> Option<String> {
        let unusable = |trial: &Trial| match trial.outcome {
            Outcome::Timed { median_ns, p10_ns, p90_ns, .. } => first_unusable(&[median_ns, p10_ns, p90_ns]),
            Outcome::Pruned { .. } | Outcome::Failed { .. } => None,
        };
        self.trials.iter().find_map(unusable).map(|bad| format!("{bad} is no time"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::entry::tests::sample;

    /// Three candidates of [`sample`]'s task, one of each outcome.
    pub(crate) fn trials(tokens: i64, median_ns: f64) -> Trials {
        let entry = sample(tokens, 8);
        let trial = |tile: i64, outcome| Trial { schedule: sample(tokens, tile).schedule, outcome };
        Trials {
            trials: vec![
                trial(8, Outcome::Timed { samples: 21, median_ns, p10_ns: 90.0, p90_ns: 120.0 }),
                trial(16, Outcome::Pruned { reason: "tile wider than n".into() }),
                trial(32, Outcome::Failed { kind: FailureKind::Hung, reason: "no end after 2 s".into() }),
            ],
            key: entry.key,
            provenance: entry.provenance,
        }
    }

    #[test]
    fn trials_survive_their_stored_form() {
        let stored = trials(64, 100.0).encode().unwrap();
        assert_eq!(Trials::decode(&stored, "it").unwrap(), trials(64, 100.0));
        let mut bad = stored;
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        assert!(Trials::decode(&bad, "it").unwrap_err().to_string().contains("checksum"));
    }

    #[test]
    fn every_task_has_its_own_place_and_no_entry_stands_there() {
        let (a, b) = (trials(64, 1.0), trials(65, 1.0));
        assert_ne!(a.place(), b.place());
        assert_ne!(a.place(), *a.key.store_key());
    }

    #[test]
    fn a_time_that_is_none_is_not_stored() {
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            assert!(trials(1, bad).encode().unwrap_err().to_string().contains("is no time"));
        }
    }
}

//! Candidates that failed, so that no later run builds or launches them again.
//!
//! A failure belongs to a *candidate*: kernel code, schedule, device and toolchain, with the sizes it depends on. A
//! schedule that does not compile fails at every size, and one record says so for all of them; a wrong output is
//! recorded with the sizes at hand. A new version of the code or of the toolchain is another candidate, which is
//! tried again.

use crate::bytes::sum;
use crate::entry::{NamedIntegers, Provenance, schedule_text};
use crate::envelope::{Kind, Stored};
use crate::error::CacheError;
use crate::key::{StoreKey, TaskFields, TaskKey, push_text};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Format of the record.
pub const FORMAT: u32 = 1;

/// First bytes of the record.
pub const MAGIC: &[u8; 4] = b"JETN";

/// What happened to a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The compiler refused it.
    DoesNotCompile,
    /// It needs more registers, shared memory or spills than is allowed.
    TooLarge,
    /// Its output is not the reference's.
    WrongOutput,
    /// It trapped, or took its process down.
    Crashed,
    /// It did not end in time.
    Hung,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::DoesNotCompile => "does not compile",
            Self::TooLarge => "too large",
            Self::WrongOutput => "wrong output",
            Self::Crashed => "crashed",
            Self::Hung => "hung",
        })
    }
}

/// What identifies a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateKey {
    /// Device, family, format, code, and the sizes that the failure depends on: none where it fails at every size.
    pub task: TaskFields,
    /// Compiler and its version, as in `nvrtc 12.9`; empty where the kernels are part of the program.
    pub toolchain: String,
    /// The schedule.
    pub schedule: NamedIntegers,
}

impl CandidateKey {
    /// `schedule` for the very task of `key`.
    pub fn new(key: &TaskKey, toolchain: &str, schedule: &NamedIntegers) -> Self {
        Self { task: key.fields().clone(), toolchain: toolchain.to_owned(), schedule: schedule.clone() }
    }

    /// The same candidate at every size.
    #[must_use]
    pub fn at_every_size(mut self) -> Self {
        self.task.dims.clear();
        self
    }

    /// Where its record stands: the SHA-256 of its canonical bytes, then eight zeros.
    pub fn store_key(&self) -> StoreKey {
        StoreKey::of_digest(sum(&self.canonical_bytes()))
    }

    /// `jetcandidate`, the canonical bytes of the task, then toolchain and schedule, as `docs/format.md` draws them.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut out = b"jetcandidate".to_vec();
        out.extend(TaskKey::new(self.task.clone()).canonical_bytes());
        push_text(&mut out, &self.toolchain);
        for (name, value) in &self.schedule {
            push_text(&mut out, name);
            out.extend(value.to_be_bytes());
        }
        out
    }
}

impl fmt::Display for CandidateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", schedule_text(&self.schedule), TaskKey::new(self.task.clone()))
    }
}

/// The record of one failed candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which candidate.
    pub key: CandidateKey,
    /// What happened.
    pub kind: FailureKind,
    /// In words, for a person: the compiler's message, the size of the error, the signal.
    pub reason: String,
    /// Who found out, when, with what.
    #[serde(default)]
    pub provenance: Provenance,
}

impl Failure {
    /// The stored bytes.
    ///
    /// # Errors
    /// [`CacheError::InvalidEntry`] for a record without a schedule.
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

impl Stored for Failure {
    const KIND: Kind = Kind { magic: MAGIC, format: FORMAT };

    fn place(&self) -> StoreKey {
        self.key.store_key()
    }

    fn subject(&self) -> String {
        self.key.to_string()
    }

    fn broken_rule(&self) -> Option<String> {
        self.key.schedule.is_empty().then(|| "a failed candidate without a schedule says nothing".to_owned())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::entry::tests::sample;

    /// A candidate of [`sample`]'s task that hung.
    pub(crate) fn failure(tokens: i64, tile: i64) -> Failure {
        let entry = sample(tokens, tile);
        Failure {
            key: CandidateKey::new(&entry.key, "nvrtc 12.9", &entry.schedule),
            kind: FailureKind::Hung,
            reason: "no end after 2 s".into(),
            provenance: entry.provenance,
        }
    }

    #[test]
    fn a_failure_survives_its_stored_form() {
        let stored = failure(64, 8).encode().unwrap();
        assert_eq!(Failure::decode(&stored, "it").unwrap(), failure(64, 8));
        for at in 0..stored.len() {
            let mut bad = stored.clone();
            bad[at] ^= 4;
            assert!(Failure::decode(&bad, "it").is_err(), "byte {at} went unnoticed");
        }
        assert!(crate::Entry::decode(&stored, "it").unwrap_err().to_string().contains("JETE"));
    }

    #[test]
    fn code_schedule_device_toolchain_and_sizes_make_a_candidate() {
        let base = failure(64, 8).key;
        let changed = |change: fn(&mut CandidateKey)| {
            let mut key = base.clone();
            change(&mut key);
            key.store_key()
        };
        let all = [
            base.store_key(),
            changed(|k| k.task.code.push('x')),
            changed(|k| k.task.family_version += 1),
            changed(|k| k.task.device.kind.push('x')),
            changed(|k| k.toolchain.push('x')),
            changed(|k| *k.schedule.get_mut("tile").unwrap() += 1),
            changed(|k| *k.task.dims.get_mut("tokens").unwrap() += 1),
            base.clone().at_every_size().store_key(),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(failure(1, 8).key.at_every_size().store_key(), all[7]);
    }

    #[test]
    fn a_failure_without_a_schedule_is_not_stored() {
        let mut empty = failure(64, 8);
        empty.key.schedule.clear();
        assert!(empty.encode().unwrap_err().to_string().contains("without a schedule"));
    }
}

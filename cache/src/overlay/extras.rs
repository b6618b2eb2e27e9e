//! Side records and failed candidates in the overlay. They save time and decide nothing, so a store that cannot read
//! one is a notice and not an error.

use super::Overlay;
use crate::contents::Contents;
use crate::envelope::{Stored, magic_of};
use crate::error::CacheError;
use crate::failure::{CandidateKey, Failure};
use crate::key::{StoreKey, TaskKey};
use crate::recipe::StoredRecipe;
use crate::trials::Trials;

impl Overlay {
    /// Stores the side record of a task in place of an older one.
    ///
    /// # Errors
    /// [`CacheError::InvalidEntry`]; [`CacheError::Store`] where the disk does not take it.
    pub fn record_trials(&mut self, trials: &Trials) -> Result<(), CacheError> {
        self.put_extra(trials)
    }

    /// The side record of `key`'s task.
    pub fn trials(&mut self, key: &TaskKey) -> Option<Trials> {
        self.extra(&Trials::store_key(key))
    }

    /// Remembers that a candidate failed, so that no later run tries it again.
    ///
    /// # Errors
    /// As [`Overlay::record_trials`].
    pub fn reject(&mut self, failure: &Failure) -> Result<(), CacheError> {
        self.put_extra(failure)
    }

    /// Whether this candidate is known to fail: at the sizes that its key names, or at every size.
    pub fn rejection(&mut self, candidate: &CandidateKey) -> Option<Failure> {
        let here = self.extra(&candidate.store_key());
        here.or_else(|| self.extra(&candidate.clone().at_every_size().store_key()))
    }

    /// Forgets a failed candidate, for those who want it tried again; says whether it was known.
    ///
    /// # Errors
    /// [`CacheError::Store`].
    pub fn forgive(&mut self, candidate: &CandidateKey) -> Result<bool, CacheError> {
        self.extras.remove(candidate.store_key().as_bytes())
    }

    /// All extras that can be read, into `all`.
    pub(super) fn add_extras(&mut self, all: &mut Contents) {
        let pairs = match self.extras.iterate() {
            Ok(pairs) => pairs,
            Err(e) => return self.notices.push(format!("side records are left out: {e}")),
        };
        for (key, value) in pairs {
            let Some(key) = StoreKey::from_bytes(&key) else { continue };
            if magic_of(&value) == Some(Trials::KIND.magic) {
                all.trials.extend(self.readable(&key, &value).map(|trials| (key, trials)));
            } else if magic_of(&value) == Some(Failure::KIND.magic) {
                all.failures.extend(self.readable(&key, &value).map(|failure| (key, failure)));
            } else if magic_of(&value) == Some(StoredRecipe::KIND.magic) {
                all.recipes.extend(self.readable(&key, &value).map(|recipe| (key, recipe)));
            }
        }
    }

    fn put_extra<T: Stored>(&mut self, record: &T) -> Result<(), CacheError> {
        self.put_sealed_extras(&[(record.place(), record.seal()?)])
    }

    pub(super) fn put_sealed_extras(&mut self, sealed: &[(StoreKey, Vec<u8>)]) -> Result<(), CacheError> {
        if sealed.is_empty() {
            return Ok(());
        }
        self.extras.put(&pairs(sealed))
    }

    pub(super) fn extra<T: Stored>(&mut self, key: &StoreKey) -> Option<T> {
        match self.extras.get(key.as_bytes()) {
            Ok(value) => self.readable(key, &value?),
            Err(e) => {
                self.notices.push(e.to_string());
                None
            }
        }
    }

    /// The record in `value`; what is damaged is removed, what a newer jet wrote is left alone.
    fn readable<T: Stored>(&mut self, key: &StoreKey, value: &[u8]) -> Option<T> {
        let reason = match T::unseal(value, "a side record") {
            Ok(record) if record.place() == *key => return Some(record),
            Ok(record) => format!("the side record of {} stood under another key", record.subject()),
            Err(CacheError::NewerFormat { .. }) => return None,
            Err(damaged) => damaged.to_string(),
        };
        let removed = self.extras.remove(key.as_bytes()).is_ok();
        self.notices.push(format!("{reason}{}", if removed { "; it was removed" } else { "" }));
        None
    }
}

/// Places and sealed records as a store takes them.
pub(super) fn pairs(sealed: &[(StoreKey, Vec<u8>)]) -> Vec<(&[u8], &[u8])> {
    sealed.iter().map(|(key, bytes)| (&key.as_bytes()[..], bytes.as_slice())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::tests::failure;
    use crate::trials::tests::trials;

    #[test]
    fn extras_are_there_after_the_next_opening() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Overlay::open(folder.path(), "0.1.0").unwrap();
        let mut overlay = open();
        overlay.record_trials(&trials(64, 1.0)).unwrap();
        overlay.record_trials(&trials(64, 2.0)).unwrap();
        overlay.reject(&failure(64, 8)).unwrap();
        drop(overlay);
        let mut overlay = open();
        assert_eq!(overlay.trials(&trials(64, 0.0).key), Some(trials(64, 2.0)));
        assert_eq!(overlay.trials(&trials(65, 0.0).key), None);
        assert_eq!(overlay.rejection(&failure(64, 8).key), Some(failure(64, 8)));
        assert_eq!(overlay.rejection(&failure(64, 9).key), None);
        assert!(overlay.forgive(&failure(64, 8).key).unwrap());
        assert_eq!(overlay.rejection(&failure(64, 8).key), None);
        assert!(overlay.entries().len() == 0 && overlay.notices().is_empty());
    }

    #[test]
    fn a_failure_at_every_size_rejects_at_each() {
        let mut overlay = Overlay::in_memory("0.1.0");
        let mut everywhere = failure(64, 8);
        everywhere.key = everywhere.key.at_every_size();
        overlay.reject(&everywhere).unwrap();
        assert_eq!(overlay.rejection(&failure(1, 8).key), Some(everywhere));
        assert_eq!(overlay.rejection(&failure(1, 16).key), None);
    }

    #[test]
    fn a_damaged_extra_is_forgotten_with_a_notice() {
        let mut overlay = Overlay::in_memory("0.1.0");
        overlay.reject(&failure(64, 8)).unwrap();
        let key = failure(64, 8).key.store_key();
        let mut value = overlay.extras.get(key.as_bytes()).unwrap().unwrap();
        value[30] ^= 1;
        overlay.extras.put(&[(key.as_bytes(), &value)]).unwrap();
        assert_eq!(overlay.rejection(&failure(64, 8).key), None);
        assert!(overlay.notices()[0].contains("checksum") && overlay.notices()[0].contains("removed"));
        assert!(overlay.extras.get(key.as_bytes()).unwrap().is_none());
    }
}

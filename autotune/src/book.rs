//! Where a tuner keeps what it finds: the local store, alone or shared by several tuners of one process.

use jet_cache::{CacheError, CandidateKey, Entry, Failure, Overlay, StoreKey, Trials};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A store of results as the tuner needs it.
pub trait Book {
    /// The record under `key`.
    fn find(&self, key: &StoreKey) -> Option<Entry>;

    /// All records, in store order.
    fn records(&self) -> Vec<Entry>;

    /// Stores a record; one that a person has pinned stays.
    ///
    /// # Errors
    /// Where the record must not be stored, or the disk does not take it.
    fn commit(&mut self, entry: Entry) -> Result<(), CacheError>;

    /// Stores what became of all candidates of a task.
    ///
    /// # Errors
    /// As [`Book::commit`].
    fn record(&mut self, trials: &Trials) -> Result<(), CacheError>;

    /// Remembers a candidate that failed.
    ///
    /// # Errors
    /// As [`Book::commit`].
    fn reject(&mut self, failure: &Failure) -> Result<(), CacheError>;

    /// Whether a candidate is known to fail.
    fn rejection(&mut self, candidate: &CandidateKey) -> Option<Failure>;

    /// Forgets that a candidate failed.
    ///
    /// # Errors
    /// As [`Book::commit`].
    fn forgive(&mut self, candidate: &CandidateKey) -> Result<(), CacheError>;

    /// What had to be mended, for a person.
    fn notices(&self) -> Vec<String>;
}

impl Book for Overlay {
    fn find(&self, key: &StoreKey) -> Option<Entry> {
        self.get(key).cloned()
    }

    fn records(&self) -> Vec<Entry> {
        self.entries().cloned().collect()
    }

    fn commit(&mut self, entry: Entry) -> Result<(), CacheError> {
        Self::commit(self, entry).map(drop)
    }

    fn record(&mut self, trials: &Trials) -> Result<(), CacheError> {
        self.record_trials(trials)
    }

    fn reject(&mut self, failure: &Failure) -> Result<(), CacheError> {
        Self::reject(self, failure)
    }

    fn rejection(&mut self, candidate: &CandidateKey) -> Option<Failure> {
        Self::rejection(self, candidate)
    }

    fn forgive(&mut self, candidate: &CandidateKey) -> Result<(), CacheError> {
        let everywhere = candidate.clone().at_every_size();
        Self::forgive(self, candidate).and_then(|_| Self::forgive(self, &everywhere)).map(drop)
    }

    fn notices(&self) -> Vec<String> {
        Self::notices(self).to_vec()
    }
}

/// One overlay for several tuners: each takes it for one record at a time.
#[derive(Clone, Copy)]
pub struct Shared<'a>(pub &'a Mutex<Overlay>);

impl Shared<'_> {
    fn take(&self) -> MutexGuard<'_, Overlay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book for Shared<'_> {
    fn find(&self, key: &StoreKey) -> Option<Entry> {
        self.take().get(key).cloned()
    }

    fn records(&self) -> Vec<Entry> {
        self.take().records()
    }

    fn commit(&mut self, entry: Entry) -> Result<(), CacheError> {
        self.take().commit(entry).map(drop)
    }

    fn record(&mut self, trials: &Trials) -> Result<(), CacheError> {
        self.take().record_trials(trials)
    }

    fn reject(&mut self, failure: &Failure) -> Result<(), CacheError> {
        self.take().reject(failure)
    }

    fn rejection(&mut self, candidate: &CandidateKey) -> Option<Failure> {
        self.take().rejection(candidate)
    }

    fn forgive(&mut self, candidate: &CandidateKey) -> Result<(), CacheError> {
        Book::forgive(&mut *self.take(), candidate)
    }

    fn notices(&self) -> Vec<String> {
        self.take().notices().to_vec()
    }
}

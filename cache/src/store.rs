//! A store of bytes under bytes, in four methods, so that the database behind it can be changed.
//!
//! A store knows nothing of records and promises little: it may lose or garble a value without noticing. Checksums,
//! recovery and the meaning of the bytes are [`crate::Overlay`]'s business.

use crate::error::CacheError;
use std::collections::BTreeMap;

/// Keys and values in key order.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A durable map from bytes to bytes.
pub trait Store: Send {
    /// The value of `key`.
    ///
    /// # Errors
    /// [`CacheError::Store`] where the store itself fails.
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, CacheError>;

    /// Stores each value under its key; when this returns, a killed process has not lost them. One call for many is
    /// much faster than many calls.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn put(&mut self, pairs: &[(&[u8], &[u8])]) -> Result<(), CacheError>;

    /// Removes `key` and says whether it was there.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn remove(&mut self, key: &[u8]) -> Result<bool, CacheError>;

    /// Everything, in key order.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn iterate(&mut self) -> Result<Pairs, CacheError>;
}

/// A store that forgets: for tests, and for tuning where nothing can be written.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(BTreeMap<Vec<u8>, Vec<u8>>);

impl Store for MemoryStore {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, CacheError> {
        Ok(self.0.get(key).cloned())
    }

    fn put(&mut self, pairs: &[(&[u8], &[u8])]) -> Result<(), CacheError> {
        self.0.extend(pairs.iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, CacheError> {
        Ok(self.0.remove(key).is_some())
    }

    fn iterate(&mut self) -> Result<Pairs, CacheError> {
        Ok(self.0.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
    }
}

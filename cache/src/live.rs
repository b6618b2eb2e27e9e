//! The in-process layer: records that this process put in by itself.

use crate::entry::Entry;
use crate::key::StoreKey;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// A map that can grow while others read it. A process that never puts anything in, which is every plain session,
/// never takes the lock.
#[derive(Debug, Default)]
pub(crate) struct Live {
    any: AtomicBool,
    map: RwLock<BTreeMap<StoreKey, Arc<Entry>>>,
}

impl Live {
    pub(crate) fn insert(&self, entry: Entry) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        map.insert(*entry.key.store_key(), Arc::new(entry));
        self.any.store(true, Ordering::Release);
    }

    pub(crate) fn get(&self, key: &StoreKey) -> Option<Arc<Entry>> {
        self.read()?.get(key).cloned()
    }

    /// The nearest buckets of `key`'s task below and above.
    pub(crate) fn neighbours(&self, key: &StoreKey) -> (Option<StoreKey>, Option<StoreKey>) {
        let Some(map) = self.read() else { return (None, None) };
        let same = |found: Option<&StoreKey>| found.copied().filter(|k| k.task() == key.task());
        let below = map.range(..*key).map(|(k, _)| k).next_back();
        let above = map.range(*key..).map(|(k, _)| k).find(|k| *k != key);
        (same(below), same(above))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.read().map(|map| map.values().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.read().map_or(0, |map| map.len())
    }

    fn read(&self) -> Option<RwLockReadGuard<'_, BTreeMap<StoreKey, Arc<Entry>>>> {
        let any = self.any.load(Ordering::Acquire);
        any.then(|| self.map.read().unwrap_or_else(PoisonError::into_inner))
    }
}

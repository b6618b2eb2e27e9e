//! The heap of `malloc` and `free`: a buffer handed out from its beginning; what is freed is not used again, so that a
//! use after free is not a use of something else.

use std::collections::HashMap;
use std::sync::Mutex;

/// A heap.
#[derive(Debug)]
pub struct Heap {
    base: u64,
    len: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    used: u64,
    /// Length of each block, and whether it was freed.
    blocks: HashMap<u64, (u64, bool)>,
}

impl Heap {
    /// A heap over a range of global memory.
    pub fn new(base: u64, len: u64) -> Self {
        Heap { base, len, inner: Mutex::default() }
    }

    /// An address, or 0 if there is no room.
    pub fn malloc(&self, size: u64) -> u64 {
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(end) = size.max(1).checked_next_multiple_of(16).and_then(|s| inner.used.checked_add(s))
        else {
            return 0;
        };
        if end > self.len {
            return 0;
        }
        let address = self.base + inner.used;
        inner.used = end;
        inner.blocks.insert(address, (size, false));
        address
    }

    /// Whether the address was given by [`Heap::malloc`] and not freed before.
    pub fn free(&self, address: u64) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match inner.blocks.get_mut(&address) {
            Some((_, freed @ false)) => {
                *freed = true;
                true
            }
            _ => address == 0,
        }
    }
}

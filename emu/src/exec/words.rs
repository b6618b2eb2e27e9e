//! Memory as 32-bit words, little-endian, the same for global (shared between threads of the host) and the rest.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Memory that can be read by words.
pub trait Words {
    /// Number of words.
    fn len(&self) -> usize;
    /// A word; 0 beyond the end.
    fn word(&self, index: usize) -> u32;
    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One to four bytes inside a word, zero-extended. `offset` is a byte offset.
    fn part(&self, offset: u64, bytes: u32) -> u32 {
        let shift = (offset & 3) as u32 * 8;
        let mask = if bytes >= 4 { u32::MAX } else { (1 << (8 * bytes)) - 1 };
        (self.word((offset >> 2) as usize) >> shift) & mask
    }

    /// Eight bytes at a multiple of 4.
    fn long(&self, offset: u64) -> u64 {
        let i = (offset >> 2) as usize;
        u64::from(self.word(i)) | u64::from(self.word(i + 1)) << 32
    }

    /// Bytes from anywhere.
    fn bytes(&self, offset: u64, into: &mut [u8]) {
        for (i, byte) in into.iter_mut().enumerate() {
            *byte = self.part(offset + i as u64, 1) as u8;
        }
    }
}

/// Memory that can be written by words.
pub trait WordsMut: Words {
    /// Writes a word; nothing beyond the end.
    fn set_word(&mut self, index: usize, value: u32);
    /// Writes the bits of a mask in a word.
    fn set_masked(&mut self, index: usize, value: u32, mask: u32);

    /// Writes one to four bytes inside a word.
    fn set_part(&mut self, offset: u64, value: u32, bytes: u32) {
        if bytes >= 4 {
            return self.set_word((offset >> 2) as usize, value);
        }
        let shift = (offset & 3) as u32 * 8;
        let mask = ((1u32 << (8 * bytes)) - 1) << shift;
        self.set_masked((offset >> 2) as usize, value << shift, mask);
    }

    /// Writes bytes anywhere.
    fn set_bytes(&mut self, offset: u64, from: &[u8]) {
        for (i, byte) in from.iter().enumerate() {
            self.set_part(offset + i as u64, u32::from(*byte), 1);
        }
    }
}

impl Words for [u32] {
    fn len(&self) -> usize {
        <[u32]>::len(self)
    }
    #[inline]
    fn word(&self, index: usize) -> u32 {
        self.get(index).copied().unwrap_or(0)
    }
}

impl WordsMut for [u32] {
    #[inline]
    fn set_word(&mut self, index: usize, value: u32) {
        if let Some(word) = self.get_mut(index) {
            *word = value;
        }
    }
    fn set_masked(&mut self, index: usize, value: u32, mask: u32) {
        if let Some(word) = self.get_mut(index) {
            *word = (*word & !mask) | (value & mask);
        }
    }
}

impl Words for [AtomicU32] {
    fn len(&self) -> usize {
        <[AtomicU32]>::len(self)
    }
    #[inline]
    fn word(&self, index: usize) -> u32 {
        self.get(index).map_or(0, |w| w.load(Relaxed))
    }
}

/// Words shared between host threads, written through a shared reference.
#[derive(Clone, Copy)]
pub struct Atomics<'a>(pub &'a [AtomicU32]);

impl Words for Atomics<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }
    #[inline]
    fn word(&self, index: usize) -> u32 {
        self.0.word(index)
    }
}

impl WordsMut for Atomics<'_> {
    #[inline]
    fn set_word(&mut self, index: usize, value: u32) {
        if let Some(word) = self.0.get(index) {
            word.store(value, Relaxed);
        }
    }
    fn set_masked(&mut self, index: usize, value: u32, mask: u32) {
        if let Some(word) = self.0.get(index) {
            let _ = word.fetch_update(Relaxed, Relaxed, |old| Some((old & !mask) | (value & mask)));
        }
    }
}

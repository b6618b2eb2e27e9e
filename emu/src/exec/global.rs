//! Global memory: named buffers, each in an address range of 4 GiB or more of its own, so that a stray address almost
//! never lands in another buffer.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::space::GLOBAL_BASE;
use super::words::{Atomics, Words, WordsMut};

const SLOT_BITS: u32 = 32;
/// Bytes before a buffer that belong to nobody; keeps bases aligned to 64 KiB.
const LEAD: u64 = 1 << 16;
const LIMIT: u64 = 0x7000_0000_0000;

/// A named range of global memory.
#[derive(Debug)]
pub struct Buffer {
    /// Its name in reports.
    pub name: String,
    /// Address of its first byte.
    pub base: u64,
    /// Bytes.
    pub len: u64,
    /// Whether its first bytes were given (else reading before writing is a mistake).
    pub initialised: bool,
    freed: bool,
    words: Box<[AtomicU32]>,
}

impl Buffer {
    /// Its words.
    #[inline]
    pub fn words(&self) -> Atomics<'_> {
        Atomics(&self.words)
    }

    /// One word, for atomic operations.
    pub fn atomic(&self, offset: u64) -> Option<&AtomicU32> {
        self.words.get((offset >> 2) as usize)
    }
}

/// Identifies a buffer to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub(crate) u32);

/// What an address in no buffer is near to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// Beyond a buffer: name, first byte, length.
    Near(String, u64, u64),
    /// In a buffer that was freed.
    Freed(String),
    /// Nothing there.
    Nowhere,
}

/// All buffers.
#[derive(Debug, Default)]
pub struct GlobalMemory {
    buffers: Vec<Buffer>,
    /// Index of the buffer of each 4-GiB slot.
    slots: Vec<u32>,
}

impl GlobalMemory {
    /// Makes a buffer; `None` if the address space or the host's memory is at its end.
    pub fn alloc(&mut self, name: &str, len: u64, initialised: bool) -> Option<BufferId> {
        let first = self.slots.len() as u64;
        let base = GLOBAL_BASE + (first << SLOT_BITS) + LEAD;
        let slots = (len + 2 * LEAD).div_ceil(1 << SLOT_BITS);
        if base + len > LIMIT {
            return None;
        }
        let words = usize::try_from(len.div_ceil(4)).ok()?;
        let mut memory = Vec::new();
        memory.try_reserve_exact(words).ok()?;
        memory.resize_with(words, || AtomicU32::new(0));
        let id = self.buffers.len() as u32;
        let words = memory.into_boxed_slice();
        self.buffers.push(Buffer { name: name.to_owned(), base, len, initialised, freed: false, words });
        self.slots.extend(std::iter::repeat_n(id, slots as usize));
        Some(BufferId(id))
    }

    /// Ends a buffer's life; its addresses are never given out again.
    pub fn free(&mut self, id: BufferId) -> bool {
        match self.buffers.get_mut(id.0 as usize) {
            Some(buffer) if !buffer.freed => {
                buffer.freed = true;
                buffer.words = Box::default();
                true
            }
            _ => false,
        }
    }

    /// A living buffer.
    pub fn buffer(&self, id: BufferId) -> Option<&Buffer> {
        self.buffers.get(id.0 as usize).filter(|b| !b.freed)
    }

    /// Marks a buffer as written by the host.
    pub fn set_initialised(&mut self, id: BufferId) {
        if let Some(buffer) = self.buffers.get_mut(id.0 as usize) {
            buffer.initialised = true;
        }
    }

    /// All living buffers.
    pub fn iter(&self) -> impl Iterator<Item = (BufferId, &Buffer)> {
        self.buffers.iter().enumerate().filter(|(_, b)| !b.freed).map(|(i, b)| (BufferId(i as u32), b))
    }

    fn at(&self, address: u64) -> Option<(u32, &Buffer)> {
        let slot = address.checked_sub(GLOBAL_BASE)? >> SLOT_BITS;
        let id = *self.slots.get(slot as usize)?;
        Some((id, &self.buffers[id as usize]))
    }

    /// The buffer that holds `size` bytes from an address, and the offset in it.
    #[inline]
    pub fn find(&self, address: u64, size: u64) -> Option<(BufferId, &Buffer, u64)> {
        let (id, buffer) = self.at(address)?;
        let offset = address.wrapping_sub(buffer.base);
        (!buffer.freed && offset < buffer.len && size <= buffer.len - offset).then_some((
            BufferId(id),
            buffer,
            offset,
        ))
    }

    /// What an address that [`GlobalMemory::find`] does not know is near to.
    pub fn miss(&self, address: u64) -> Miss {
        match self.at(address) {
            Some((_, b)) if b.freed => Miss::Freed(b.name.clone()),
            Some((_, b)) => Miss::Near(b.name.clone(), b.base, b.len),
            None => Miss::Nowhere,
        }
    }

    /// Copies a buffer's bytes out.
    pub fn read(&self, id: BufferId, offset: u64, into: &mut [u8]) -> bool {
        let Some(buffer) = self.buffer(id) else { return false };
        if offset.checked_add(into.len() as u64).is_none_or(|end| end > buffer.len) {
            return false;
        }
        read_words(buffer, offset, into);
        true
    }

    /// Writes a buffer's bytes.
    pub fn write(&self, id: BufferId, offset: u64, from: &[u8]) -> bool {
        let Some(buffer) = self.buffer(id) else { return false };
        if offset.checked_add(from.len() as u64).is_none_or(|end| end > buffer.len) {
            return false;
        }
        write_words(buffer, offset, from);
        true
    }
}

fn read_words(buffer: &Buffer, offset: u64, into: &mut [u8]) {
    if !offset.is_multiple_of(4) {
        return buffer.words().bytes(offset, into);
    }
    let first = (offset / 4) as usize;
    for (i, chunk) in into.chunks_mut(4).enumerate() {
        let word = buffer.words.get(first + i).map_or(0, |w| w.load(Relaxed));
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
}

fn write_words(buffer: &Buffer, offset: u64, from: &[u8]) {
    let mut words = buffer.words();
    if !offset.is_multiple_of(4) {
        return words.set_bytes(offset, from);
    }
    let mut at = offset;
    let (whole, tail) = from.as_chunks::<4>();
    for chunk in whole {
        words.set_word((at / 4) as usize, u32::from_le_bytes(*chunk));
        at += 4;
    }
    words.set_bytes(at, tail);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_outside_are_near_their_buffer_and_never_in_another() {
        let mut memory = GlobalMemory::default();
        let a = memory.alloc("a", 100, true).expect("room");
        let b = memory.alloc("b", 64, true).expect("room");
        let base = memory.buffer(a).expect("alive").base;
        assert!(memory.find(base + 96, 4).is_some());
        assert!(memory.find(base + 97, 4).is_none());
        assert!(memory.find(base - 4, 4).is_none());
        assert_eq!(memory.miss(base + 100), Miss::Near("a".into(), base, 100));
        assert!(memory.free(b));
        assert!(memory.buffer(b).is_none());
        assert_eq!(memory.miss(base), Miss::Near("a".into(), base, 100));
    }

    #[test]
    fn bytes_come_back_at_any_offset() {
        let mut memory = GlobalMemory::default();
        let id = memory.alloc("a", 23, true).expect("room");
        let data: Vec<u8> = (1..=13).collect();
        for offset in 0..10 {
            assert!(memory.write(id, offset, &data));
            let mut back = vec![0; 13];
            assert!(memory.read(id, offset, &mut back));
            assert_eq!(back, data);
        }
        assert!(!memory.write(id, 11, &data));
    }
}

//! Memory for weights: zeroed, aligned, on huge pages where there is enough of it.
//!
//! Decode reads every weight once per token, and the translation of 4 KiB pages costs some 15 % of the memory's
//! bandwidth. Matrices are therefore cut out of large regions that ask for huge pages before they are first
//! touched; pages that nobody touches take no memory. A region lives as long as the last piece of it.
#![allow(unsafe_code, reason = "maps memory and hands out disjoint pieces of it")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

/// Address space of a region; larger pieces get a region of their own.
const REGION: usize = 64 << 20;
/// A huge page.
const HUGE: usize = 2 << 20;
/// Start of every piece: a cache line, which is also the widest vector.
const LINE: usize = 64;

/// Hands out memory. Clones share the region that is being filled.
#[derive(Clone, Debug, Default)]
pub struct Arena {
    current: Arc<Mutex<Option<Filling>>>,
}

#[derive(Debug)]
struct Filling {
    region: Arc<Region>,
    used: usize,
}

/// A piece of memory that its holder alone has: `Deref` to bytes.
#[derive(Debug)]
pub struct Piece {
    start: NonNull<u8>,
    len: usize,
    /// Keeps the memory.
    _region: Option<Arc<Region>>,
}

// SAFETY: a piece is the only way to its bytes, like a boxed slice.
unsafe impl Send for Piece {}
// SAFETY: as above.
unsafe impl Sync for Piece {}

impl Arena {
    /// An arena without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `len` zeroed bytes from a cache line on; `None` where the system has no such memory.
    pub fn take(&self, len: usize) -> Option<Piece> {
        if len == 0 {
            return Some(Piece { start: NonNull::dangling(), len: 0, _region: None });
        }
        let size = len.checked_next_multiple_of(LINE)?;
        if size >= REGION {
            let region = Arc::new(Region::new(size)?);
            return Some(Piece { start: region.start, len, _region: Some(region) });
        }
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_none_or(|c| c.used + size > c.region.len) {
            *current = Some(Filling { region: Arc::new(Region::new(REGION)?), used: 0 });
        }
        let filling = current.as_mut()?;
        // SAFETY: `used + size` is inside the region, by the line above.
        let start = unsafe { filling.region.start.add(filling.used) };
        filling.used += size;
        Some(Piece { start, len, _region: Some(Arc::clone(&filling.region)) })
    }
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: initialised memory (zeroed by the system) that the region keeps and that no other piece has.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Piece {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// Zeroed memory from a huge page's border on.
#[derive(Debug)]
struct Region {
    start: NonNull<u8>,
    len: usize,
    /// What was mapped, where it was.
    mapped: Option<(NonNull<u8>, usize)>,
}

// SAFETY: a region only keeps memory; access is by pieces.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    fn new(len: usize) -> Option<Self> {
        Self::map(len).or_else(|| {
            // SAFETY: the layout has a size above zero.
            let start = NonNull::new(unsafe { alloc_zeroed(Self::layout(len)?) })?;
            Some(Self { start, len, mapped: None })
        })
    }

    fn layout(len: usize) -> Option<Layout> {
        Layout::from_size_align(len, LINE).ok()
    }

    #[cfg(target_os = "linux")]
    fn map(len: usize) -> Option<Self> {
        let mapped = len.checked_add(HUGE)?;
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh anonymous mapping touches nothing that exists.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), mapped, access, kind, -1, 0) };
        if base == libc::MAP_FAILED {
            return None;
        }
        let base = NonNull::new(base.cast::<u8>())?;
        let skip = base.align_offset(HUGE);
        // SAFETY: `skip` is below the huge page that was mapped on top of `len`.
        let start = unsafe { base.add(skip) };
        // SAFETY: the range was just mapped. The answer does not matter: without huge pages it is only slower.
        unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_HUGEPAGE) };
        Some(Self { start, len, mapped: Some((base, mapped)) })
    }

    #[cfg(not(target_os = "linux"))]
    fn map(_len: usize) -> Option<Self> {
        None
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        match self.mapped {
            #[cfg(target_os = "linux")]
            // SAFETY: mapped so in `map`, and no piece is left.
            Some((base, len)) => unsafe {
                libc::munmap(base.as_ptr().cast(), len);
            },
            #[cfg(not(target_os = "linux"))]
            Some(_) => {}
            None => {
                if let Some(layout) = Self::layout(self.len) {
                    // SAFETY: allocated with this layout in `new`, and no piece is left.
                    unsafe { dealloc(self.start.as_ptr(), layout) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_zeroed_aligned_and_apart() {
        let arena = Arena::new();
        let mut pieces: Vec<Piece> =
            [0, 1, 63, 64, 65, 5000, REGION - 64, REGION + 1].map(|n| arena.take(n).unwrap()).into();
        for (i, p) in pieces.iter_mut().enumerate() {
            assert!(p.is_empty() || p.as_ptr().addr().is_multiple_of(LINE));
            assert!(p.iter().step_by(4096).chain(p.last()).all(|x| *x == 0));
            p.iter_mut().step_by(61).for_each(|x| *x = i as u8);
        }
        drop(arena);
        for (i, p) in pieces.iter().enumerate() {
            assert!(p.iter().step_by(61).all(|x| *x == i as u8));
        }
    }

    #[test]
    fn says_when_there_is_no_such_memory() {
        assert!(Arena::new().take(usize::MAX).is_none());
        assert!(Arena::new().take(usize::MAX / 2).is_none());
    }
}

//! Handing out parts of a caller's scratch buffer.

use super::{LANES, padded};

/// What to add to the sum of padded lengths, so that the first part can start on a cache line.
pub(in crate::cpu) const SLACK: usize = LANES;

/// Cuts parts off a scratch buffer, each beginning on a 64-byte line: a vector load that crosses a line costs
/// two.
pub(in crate::cpu) struct Carver<'a>(&'a mut [f32]);

impl<'a> Carver<'a> {
    /// Starts at the first cache line inside `scratch`.
    pub(in crate::cpu) fn new(scratch: &'a mut [f32]) -> Self {
        // `align_offset` may refuse (as the interpreter of constants does); unaligned is slower, not wrong.
        let skip = scratch.as_ptr().align_offset(64);
        if skip < LANES && skip <= scratch.len() { Self(&mut scratch[skip..]) } else { Self(scratch) }
    }

    /// The next `len` floats.
    pub(in crate::cpu) fn take(&mut self, len: usize) -> &'a mut [f32] {
        let rest = std::mem::take(&mut self.0);
        assert!(padded(len) <= rest.len(), "scratch is {} floats short", padded(len) - rest.len());
        let (part, rest) = rest.split_at_mut(padded(len));
        self.0 = rest;
        &mut part[..len]
    }

    /// The next `len` vectors of 16.
    pub(in crate::cpu) fn vectors(&mut self, len: usize) -> &'a mut [[f32; LANES]] {
        self.take(len * LANES).as_chunks_mut().0
    }
}

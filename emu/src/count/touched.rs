//! Which bytes of a buffer were touched.

/// Bytes of a page.
const PAGE: u64 = 1 << 16;
const WORDS: usize = (PAGE / 64) as usize;

/// One bit a byte, in pages that are made when they are first touched.
#[derive(Debug, Clone, Default)]
pub(super) struct Touched {
    pages: Vec<Option<Box<[u64; WORDS]>>>,
    len: u64,
}

impl Touched {
    /// For a buffer of `len` bytes.
    pub(super) fn new(len: u64) -> Self {
        Touched { pages: Vec::new(), len }
    }

    /// Marks bytes; those outside of the buffer are ignored.
    pub(super) fn mark(&mut self, offset: u64, bytes: u64) {
        let end = offset.saturating_add(bytes).min(self.len);
        let mut at = offset;
        while at < end {
            let stop = end.min((at / 64 + 1) * 64);
            let bits = u64::MAX >> (64 - (stop - at)) << (at % 64);
            self.page(at / PAGE)[(at % PAGE / 64) as usize] |= bits;
            at = stop;
        }
    }

    fn page(&mut self, page: u64) -> &mut [u64; WORDS] {
        let page = page as usize;
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        self.pages[page].get_or_insert_with(|| Box::new([0; WORDS]))
    }

    /// Bytes touched.
    pub(super) fn count(&self) -> u64 {
        let ones = |page: &[u64; WORDS]| page.iter().map(|w| u64::from(w.count_ones())).sum::<u64>();
        self.pages.iter().flatten().map(|p| ones(p)).sum()
    }

    /// Adds what another has.
    pub(super) fn merge(&mut self, other: &Touched) {
        for (number, from) in other.pages.iter().enumerate() {
            if let Some(from) = from {
                let into = self.page(number as u64);
                into.iter_mut().zip(from.iter()).for_each(|(a, b)| *a |= b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn counts_each_byte_once_and_none_outside(
            len in 1u64..200_000,
            marks in prop::collection::vec((0u64..200_000, 0u64..300, any::<bool>()), 1..40),
        ) {
            let (mut a, mut b) = (Touched::new(len), Touched::new(len));
            let mut set = BTreeSet::new();
            for &(offset, bytes, first) in &marks {
                if first { a.mark(offset, bytes) } else { b.mark(offset, bytes) }
                set.extend((offset..offset + bytes).filter(|o| *o < len));
            }
            a.merge(&b);
            prop_assert_eq!(a.count(), set.len() as u64);
        }
    }
}

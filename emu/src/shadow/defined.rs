//! Which bytes hold a value.

/// One bit a byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defined {
    words: Vec<u64>,
    len: u64,
}

impl Defined {
    /// `len` bytes, none of them defined.
    pub fn new(len: u64) -> Self {
        Defined { words: vec![0; words_of(len)], len }
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it is about no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes it `len` undefined bytes; keeps its room.
    pub fn reset(&mut self, len: u64) {
        self.words.clear();
        self.words.resize(words_of(len), 0);
        self.len = len;
    }

    /// Grows by undefined bytes.
    pub fn grow(&mut self, len: u64) {
        if len > self.len {
            self.words.resize(words_of(len), 0);
            self.len = len;
        }
    }

    /// Marks up to 64 bytes that do not cross a multiple of 64, such as any aligned scalar or vector.
    #[inline]
    pub fn define(&mut self, offset: u64, size: u32) {
        let shift = (offset % 64) as u32;
        if size.saturating_add(shift) <= 64 && size > 0 && offset.saturating_add(size.into()) <= self.len {
            if let Some(word) = self.words.get_mut((offset / 64) as usize) {
                *word |= ones(size) << shift;
            }
        } else {
            self.define_range(offset, u64::from(size));
        }
    }

    /// Marks any range.
    pub fn define_range(&mut self, offset: u64, len: u64) {
        self.for_words(offset, len, |word, mask| *word |= mask);
    }

    /// Forgets any range.
    pub fn undefine_range(&mut self, offset: u64, len: u64) {
        self.for_words(offset, len, |word, mask| *word &= !mask);
    }

    /// Whether `size` bytes are all defined; bytes beyond the end are not.
    #[inline]
    pub fn all(&self, offset: u64, size: u32) -> bool {
        let shift = (offset % 64) as u32;
        if size.saturating_add(shift) <= 64 && size > 0 {
            let mask = ones(size) << shift;
            return self.words.get((offset / 64) as usize).is_some_and(|w| w & mask == mask);
        }
        self.first_undefined(offset, u64::from(size)).is_none()
    }

    /// The defined bytes of at most 32, bit `i` for byte `offset + i`.
    #[inline]
    pub fn bits(&self, offset: u64, size: u32) -> u32 {
        let (index, shift) = ((offset / 64) as usize, (offset % 64) as u32);
        let low = self.words.get(index).copied().unwrap_or(0) >> shift;
        let high =
            if shift > 32 { self.words.get(index + 1).copied().unwrap_or(0) << (64 - shift) } else { 0 };
        (low | high) as u32 & ones(size.min(32)) as u32
    }

    /// Sets the definedness of at most 32 bytes, bit `i` for byte `offset + i`.
    #[inline]
    pub fn set_bits(&mut self, offset: u64, size: u32, bits: u32) {
        let (index, shift) = ((offset / 64) as usize, (offset % 64) as u32);
        let mask = ones(self.len.saturating_sub(offset).min(size.min(32).into()) as u32);
        let bits = u64::from(bits) & mask;
        if let Some(word) = self.words.get_mut(index) {
            *word = *word & !(mask << shift) | bits << shift;
        }
        if shift > 32
            && mask >> (64 - shift) != 0
            && let Some(word) = self.words.get_mut(index + 1)
        {
            *word = *word & !(mask >> (64 - shift)) | bits >> (64 - shift);
        }
    }

    /// The first byte of a range that is not defined.
    pub fn first_undefined(&self, offset: u64, len: u64) -> Option<u64> {
        let end = offset.checked_add(len)?;
        let mut at = offset;
        while at < end {
            let shift = (at % 64) as u32;
            let size = (64 - u64::from(shift)).min(end - at) as u32;
            let word = self.words.get((at / 64) as usize).copied().unwrap_or(0);
            let missing = !(word >> shift) & ones(size);
            if missing != 0 {
                return Some(at + u64::from(missing.trailing_zeros()));
            }
            at += u64::from(size);
        }
        None
    }

    fn for_words(&mut self, offset: u64, len: u64, change: impl Fn(&mut u64, u64)) {
        let end = offset.saturating_add(len).min(self.len);
        let mut at = offset;
        while at < end {
            let shift = (at % 64) as u32;
            let size = (64 - u64::from(shift)).min(end - at) as u32;
            if let Some(word) = self.words.get_mut((at / 64) as usize) {
                change(word, ones(size) << shift);
            }
            at += u64::from(size);
        }
    }
}

fn words_of(len: u64) -> usize {
    usize::try_from(len.div_ceil(64)).unwrap_or(0)
}

#[inline]
fn ones(size: u32) -> u64 {
    if size >= 64 { u64::MAX } else { (1 << size) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn beyond_the_end_nothing_is_defined() {
        let mut d = Defined::new(100);
        d.define_range(0, 1000);
        assert!(d.all(96, 4));
        assert!(!d.all(97, 4));
        assert_eq!(d.first_undefined(0, 200), Some(100));
        assert_eq!(d.first_undefined(1 << 60, 4), Some(1 << 60));
        d.define(1 << 60, 8);
        assert_eq!(d.bits(1 << 60, 8), 0);
    }

    proptest! {
        #[test]
        fn agrees_with_a_list_of_bytes(steps in prop::collection::vec((0u8..6, 0u64..200, 0u32..150, any::<u32>()), 1..40)) {
            let mut d = Defined::new(200);
            let mut model = [false; 200];
            for (what, offset, size, bits) in steps {
                let short = size % 33;
                let range = |n: u32| offset as usize..(offset as usize + n as usize).min(200);
                match what {
                    0 => { d.define_range(offset, size.into()); model[range(size)].fill(true) }
                    1 => { d.undefine_range(offset, size.into()); model[range(size)].fill(false) }
                    2 if offset + u64::from(short) <= 200 => {
                        d.set_bits(offset, short, bits);
                        for (i, m) in model[range(short)].iter_mut().enumerate() { *m = bits >> i & 1 == 1 }
                    }
                    3 => {
                        let want = (0..short as usize).filter(|i| model.get(offset as usize + i) == Some(&true)).fold(0u32, |a, i| a | 1 << i);
                        prop_assert_eq!(d.bits(offset, short), want);
                    }
                    4 => { d.define(offset, short); model[range(short)].fill(true) }
                    _ => {
                        let want = (offset..offset + u64::from(size)).find(|&i| model.get(i as usize) != Some(&true));
                        prop_assert_eq!(d.first_undefined(offset, size.into()), want);
                        prop_assert_eq!(d.all(offset, size), want.is_none());
                    }
                }
            }
        }
    }
}

//! The matrix descriptor of wgmma: 64 bits that say where a tile lies in shared memory (PTX ISA, Matrix Descriptor).

use std::ops::Range;

use super::swizzle::Swizzle;

/// Which index runs fastest in shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Major {
    /// k is contiguous: the operand is not transposed.
    #[default]
    K,
    /// m or n is contiguous: the operand is transposed (16-bit types only).
    Mn,
}

/// A decoded descriptor; addresses and offsets in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Descriptor {
    /// Start address in the shared window of the CTA, a multiple of 16 below 2^18.
    pub start: u32,
    /// Leading dimension byte offset.
    pub leading: u32,
    /// Stride dimension byte offset.
    pub stride: u32,
    /// Base offset: the pattern's phase where the tile's base is not aligned to it.
    pub base_offset: u32,
    /// [`Swizzle::None`], or the 32-, 64- or 128-byte mode.
    pub swizzle: Swizzle,
}

/// Bytes along k that one instruction takes, of every type.
const K_BYTES: u32 = 32;

/// Addresses in descriptors have 18 bits.
const ADDRESS_MASK: u32 = (1 << 18) - 1;

impl Descriptor {
    /// Reads the fields of the 64 bits. Every value means something; bits outside of the fields are ignored.
    pub fn decode(bits: u64) -> Self {
        let field = |at: u32| (bits >> at) as u32 & 0x3FFF;
        let swizzle = match bits >> 62 {
            0 => Swizzle::None,
            1 => Swizzle::B128,
            2 => Swizzle::B64,
            _ => Swizzle::B32,
        };
        let base_offset = (bits >> 49) as u32 & 7;
        Self { start: field(0) << 4, leading: field(16) << 4, stride: field(32) << 4, base_offset, swizzle }
    }

    /// Physical shared address of the element (mn, k) of `element_bytes` bytes.
    pub const fn address(&self, major: Major, element_bytes: u32, mn: u32, k: u32) -> u32 {
        self.physical(match major {
            Major::K => self.k_major(mn, k * element_bytes),
            Major::Mn => self.mn_major(element_bytes, mn, k),
        })
    }

    /// Offset of the byte `k_byte` along k of row `mn`, before the swizzle.
    const fn k_major(&self, mn: u32, k_byte: u32) -> u32 {
        let (inner, group) = (mn % 8, (mn / 8).wrapping_mul(self.stride));
        match self.swizzle.span() {
            Some(span) => group.wrapping_add(inner * span + k_byte),
            None => {
                let chunk = (k_byte / 16).wrapping_mul(self.leading);
                group.wrapping_add(chunk).wrapping_add(inner * 16 + k_byte % 16)
            }
        }
    }

    /// Offset of an element of a transposed operand, before the swizzle. Leading and stride change roles
    /// between the modes with and without swizzle.
    const fn mn_major(&self, element_bytes: u32, mn: u32, k: u32) -> u32 {
        let (panel, row, mn_step, k_step) = match self.swizzle.span() {
            Some(span) => (span, span, self.leading, self.stride),
            None => (16, 16, self.stride, self.leading),
        };
        let mn_byte = mn * element_bytes;
        (mn_byte % panel + k % 8 * row)
            .wrapping_add((mn_byte / panel).wrapping_mul(mn_step))
            .wrapping_add((k / 8).wrapping_mul(k_step))
    }

    /// The swizzle comes after the addition, on absolute address bits.
    const fn physical(&self, offset: u32) -> u32 {
        let address = self.start.wrapping_add(offset) & ADDRESS_MASK;
        if self.base_offset == 0 {
            return self.swizzle.apply(address);
        }
        // A base offset shifts the phase of the pattern: the xor comes from the line less the offset.
        let shifted = address.wrapping_sub(self.base_offset << 7);
        address ^ (self.swizzle.apply(shifted) ^ shifted)
    }

    /// Calls `visit(mn, k, address)` for each 16 bytes that one instruction reads of a tile of `rows` along M or N.
    /// K-major pieces hold 16 bytes along k of one row, MN-major pieces 8 elements (16-bit) along mn at one k; k
    /// counts elements. All addresses are multiples of 16.
    #[inline]
    pub fn visit_pieces(
        &self,
        major: Major,
        element_bits: u32,
        rows: u32,
        mut visit: impl FnMut(u32, u32, u32),
    ) {
        match major {
            Major::K => {
                for mn in 0..rows {
                    for piece in 0..K_BYTES / 16 {
                        visit(mn, piece * 128 / element_bits, self.physical(self.k_major(mn, piece * 16)));
                    }
                }
            }
            Major::Mn => {
                for mn in (0..rows).step_by(8) {
                    for k in 0..K_BYTES / 2 {
                        visit(mn, k, self.physical(self.mn_major(2, mn, k)));
                    }
                }
            }
        }
    }

    /// The bytes that one instruction reads of a tile of `rows` along M or N: sorted, disjoint, none adjacent.
    pub fn byte_ranges(&self, major: Major, rows: u32) -> Vec<Range<u32>> {
        let mut pieces = Vec::with_capacity(rows as usize * 2);
        self.visit_pieces(major, 16, rows, |_, _, address| pieces.push(address));
        pieces.sort_unstable();
        let mut ranges: Vec<Range<u32>> = Vec::new();
        for address in pieces {
            match ranges.last_mut() {
                Some(last) if address <= last.end => last.end = last.end.max(address + 16),
                _ => ranges.push(address..address + 16),
            }
        }
        ranges
    }
}

/// A reader of 16-byte pieces over plain shared memory.
pub fn shared_reader(memory: &[u8]) -> impl FnMut(u32) -> Option<[u8; 16]> + '_ {
    move |address| memory.get(address as usize..)?.first_chunk::<16>().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(start: u64, leading: u64, stride: u64, layout: u64) -> Descriptor {
        Descriptor::decode(start >> 4 | (leading >> 4) << 16 | (stride >> 4) << 32 | layout << 62)
    }

    /// The worked table of the semantics' section 6.4: bf16, tile at 0x4000, one element each.
    #[test]
    fn worked_rows_lead_to_their_physical_addresses() {
        let rows = [
            (descriptor(0x4040, 0, 1024, 1), Major::K, 10, 5, 0x456a),
            (descriptor(0x4020, 0, 512, 2), Major::K, 10, 5, 0x42ba),
            (descriptor(0x4000, 0, 256, 3), Major::K, 12, 9, 0x4182),
            (descriptor(0x4000, 128, 256, 0), Major::K, 10, 13, 0x41aa),
            (descriptor(0x4800, 64 * 128, 1024, 1), Major::Mn, 70, 5, 0x6adc),
            (descriptor(0x4400, 64 * 64, 512, 2), Major::Mn, 70, 5, 0x656c),
            (descriptor(0x4200, 64 * 32, 256, 3), Major::Mn, 70, 5, 0x62bc),
            (descriptor(0x4000, 1024, 128, 0), Major::Mn, 70, 13, 0x485c),
        ];
        for (descriptor, major, mn, k, physical) in rows {
            assert_eq!(descriptor.address(major, 2, mn, k), physical, "{descriptor:x?}");
        }
    }

    #[test]
    fn pieces_cover_the_addresses_of_all_elements() {
        for (layout, major) in [(0, Major::K), (1, Major::K), (2, Major::Mn), (0, Major::Mn), (3, Major::K)] {
            let descriptor = descriptor(0x1230, 0x840, 0x420, layout);
            let mut seen = Vec::new();
            descriptor.visit_pieces(major, 16, 24, |mn, k, address| {
                assert_eq!(address % 16, 0);
                for i in 0..8 {
                    let (mn, k) = if major == Major::K { (mn, k + i) } else { (mn + i, k) };
                    assert_eq!(descriptor.address(major, 2, mn, k), address + 2 * i);
                    seen.push((mn, k));
                }
            });
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 24 * 16);
        }
    }

    #[test]
    fn ranges_are_sorted_disjoint_and_complete() {
        let swizzled = descriptor(0x4040, 0, 1024, 1);
        let ranges = swizzled.byte_ranges(Major::K, 64);
        let listed: Vec<u32> = ranges.iter().cloned().flatten().collect();
        let mut read: Vec<u32> = (0..64 * 16)
            .flat_map(|i| [0, 1].map(|b| swizzled.address(Major::K, 2, i / 16, i % 16) + b))
            .collect();
        read.sort_unstable();
        assert_eq!(listed, read);
        assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
        let dense = descriptor(0x2000, 0, 256, 3);
        let ranges = dense.byte_ranges(Major::K, 64);
        assert_eq!((ranges.len(), ranges[0].clone()), (1, 0x2000..0x2800));
    }

    #[test]
    fn addresses_wrap_at_18_bits_and_the_base_offset_shifts_the_phase() {
        let wrapping = descriptor(0x3FFF0, 0, 1024, 0);
        assert_eq!(wrapping.address(Major::K, 2, 1, 0), 0);
        let mut shifted = descriptor(0x4080, 0, 1024, 1);
        shifted.base_offset = 1;
        assert_eq!(shifted.address(Major::K, 2, 0, 0), 0x4080, "phase zero is where the tile starts");
        assert_eq!(shifted.address(Major::K, 2, 1, 0), 0x4110);
    }
}

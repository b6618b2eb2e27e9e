//! Swizzles of shared memory: permutations of 16-byte (or other) pieces, by bits of the absolute address.

/// A swizzle pattern. It works on address bits, so the tile's base need not be aligned to the pattern
/// (PTX ISA, Swizzling Modes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Swizzle {
    /// Addresses stay.
    #[default]
    None,
    /// 16-byte pieces of a 32-byte span.
    B32,
    /// 16-byte pieces of a 64-byte span.
    B64,
    /// 16-byte pieces of a 128-byte span.
    B128,
    /// 32-byte pieces of a 128-byte span.
    B128Atom32,
    /// As the former, and the 8-byte halves of each 16 bytes swap on odd 128-byte lines.
    B128Atom32Flip8,
    /// 64-byte pieces of a 128-byte span.
    B128Atom64,
}

impl Swizzle {
    /// Physical address of the byte at the logical address `address`. Its own inverse.
    #[inline]
    pub const fn apply(self, address: u32) -> u32 {
        let line = address >> 7;
        match self {
            Self::None => address,
            Self::B32 => address ^ (line & 1) << 4,
            Self::B64 => address ^ (line & 3) << 4,
            Self::B128 => address ^ (line & 7) << 4,
            Self::B128Atom32 => address ^ (line & 3) << 5,
            Self::B128Atom32Flip8 => address ^ (line & 3) << 5 ^ (line & 1) << 3,
            Self::B128Atom64 => address ^ (line & 1) << 6,
        }
    }

    /// Bytes inside which pieces are permuted; the inner extent of a tile may not exceed it. `None` has no limit.
    pub const fn span(self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::B32 => Some(32),
            Self::B64 => Some(64),
            _ => Some(128),
        }
    }

    /// Bytes that stay together wherever they start aligned to it; `None` where all do.
    pub const fn piece(self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::B32 | Self::B64 | Self::B128 => Some(16),
            Self::B128Atom32 => Some(32),
            Self::B128Atom32Flip8 => Some(8),
            Self::B128Atom64 => Some(64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Swizzle; 7] = [
        Swizzle::None,
        Swizzle::B32,
        Swizzle::B64,
        Swizzle::B128,
        Swizzle::B128Atom32,
        Swizzle::B128Atom32Flip8,
        Swizzle::B128Atom64,
    ];

    #[test]
    fn every_mode_permutes_the_pieces_of_each_line() {
        for mode in ALL {
            let piece = mode.piece().unwrap_or(128);
            for line in (0..0x1000).step_by(128) {
                let mut seen = [false; 128];
                for address in line..line + 128 {
                    let to = mode.apply(address);
                    assert_eq!(mode.apply(to), address);
                    assert_eq!(to / 128, address / 128);
                    assert_eq!(to % piece, address % piece);
                    seen[(to % 128) as usize] = true;
                }
                assert!(seen.iter().all(|&s| s));
            }
        }
    }

    /// The 128-byte mode of the ISA's table: on row r of eight, 16-byte piece c lies at c xor r. The narrower
    /// modes have the same picture with a row of two or four pieces and a line of 128 bytes holding several rows.
    #[test]
    fn pieces_move_as_in_the_tables_of_the_isa() {
        let row = |mode: Swizzle, row: u32| -> Vec<u32> {
            (0..8).map(|piece| mode.apply(0x8000 + row * 128 + piece * 16) % 128 / 16).collect()
        };
        assert_eq!(row(Swizzle::B128, 0), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(row(Swizzle::B128, 1), [1, 0, 3, 2, 5, 4, 7, 6]);
        assert_eq!(row(Swizzle::B128, 6), [6, 7, 4, 5, 2, 3, 0, 1]);
        assert_eq!(row(Swizzle::B64, 3), [3, 2, 1, 0, 7, 6, 5, 4]);
        assert_eq!(row(Swizzle::B64, 4), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(row(Swizzle::B32, 1), [1, 0, 3, 2, 5, 4, 7, 6]);
        assert_eq!(row(Swizzle::B128Atom32, 1), [2, 3, 0, 1, 6, 7, 4, 5]);
        assert_eq!(row(Swizzle::B128Atom64, 1), [4, 5, 6, 7, 0, 1, 2, 3]);
        assert_eq!(Swizzle::B128Atom32Flip8.apply(0x80), 0x80 ^ 0x28);
        assert_eq!(Swizzle::B128Atom32Flip8.apply(0x100), 0x100 ^ 0x40);
    }
}

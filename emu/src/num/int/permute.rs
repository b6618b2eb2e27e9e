//! `prmt`: bytes picked out of two registers.

/// The modes of `prmt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permute {
    /// Four selector nibbles; the top bit of a nibble replicates the byte's sign.
    Index,
    /// `.f4e`: four bytes upwards from the selected one.
    Forward4,
    /// `.b4e`: four bytes downwards from the selected one, ends joined.
    Backward4,
    /// `.rc8`: one byte four times.
    Replicate8,
    /// `.ecl`: at least the selected byte: below it, it is repeated.
    EdgeLeft,
    /// `.ecr`: at most the selected byte: above it, it is repeated.
    EdgeRight,
    /// `.rc16`: one half twice.
    Replicate16,
}

impl Permute {
    /// The four selector nibbles that do the same in the default mode.
    #[inline]
    #[must_use]
    pub const fn selector(self, c: u32) -> u32 {
        let index = c & 3;
        match self {
            Permute::Index => c & 0xFFFF,
            Permute::Forward4 => 0x3210 + 0x1111 * index,
            Permute::Backward4 => (0x5670 + 0x1111 * index) & 0x7777,
            Permute::Replicate8 => 0x1111 * index,
            Permute::EdgeLeft => [0x3210, 0x3211, 0x3222, 0x3333][index as usize],
            Permute::EdgeRight => [0x0000, 0x1110, 0x2210, 0x3210][index as usize],
            Permute::Replicate16 => [0x1010, 0x3232][(index & 1) as usize],
        }
    }
}

/// `prmt`: bytes 0 to 3 come from `a`, 4 to 7 from `b`.
#[inline]
#[must_use]
pub const fn prmt(a: u32, b: u32, c: u32, mode: Permute) -> u32 {
    select(a, b, mode.selector(c))
}

/// `prmt` in the default mode, which the others reduce to.
#[inline]
#[must_use]
pub const fn select(a: u32, b: u32, selector: u32) -> u32 {
    let source = (b as u64) << 32 | a as u64;
    pick(source, selector)
        | pick(source, selector >> 4) << 8
        | pick(source, selector >> 8) << 16
        | pick(source, selector >> 12) << 24
}

#[inline]
const fn pick(source: u64, nibble: u32) -> u32 {
    let byte = (source >> ((nibble & 7) * 8)) as u8;
    let sign = ((byte as i8) >> 7) as u8;
    (if nibble & 8 != 0 { sign } else { byte }) as u32
}

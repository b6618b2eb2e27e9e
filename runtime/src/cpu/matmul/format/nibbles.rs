//! Codes of 4 bits, with the upper bits of 5- and 6-bit codes in planes beside them.
//!
//! Four vectors hold 32 codes of 16 rows: lane `r` of vector `j` is bytes `4j..4j + 4` of row `r`'s nibbles in
//! GGUF's order, whose low nibbles are codes `4j..` and high nibbles codes `16 + 4j..`.

use super::ROWS;
use crate::cpu::simd::int8::Int8;

/// The nibbles of a sub-block.
pub(super) type Nibbles = [[u8; 64]; 4];

/// Copies the 16 bytes of row `r`; `bytes` is empty for a padding row.
pub(super) fn put(nibbles: &mut Nibbles, r: usize, bytes: &[u8]) {
    for (vector, word) in nibbles.iter_mut().zip(bytes.as_chunks::<4>().0) {
        vector[4 * r..4 * r + 4].copy_from_slice(word);
    }
}

/// The 16 bytes of row `r`, back again.
pub(super) fn get(nibbles: &Nibbles, r: usize) -> [u8; 16] {
    std::array::from_fn(|i| nibbles[i / 4][4 * r + i % 4])
}

/// Codes `4j..4j + 4` of every row, 4 bits each.
#[inline(always)]
pub(super) fn codes<S: Int8>(s: S, nibbles: &Nibbles, j: usize) -> S::B {
    let bytes = s.load(&nibbles[j % 4]);
    s.and(if j < 4 { bytes } else { s.shr(bytes, 4) }, 0x0f)
}

/// The fifth bits of 32 codes of 16 rows: bit `j` of byte `4r + b` belongs to code `4j + b` of row `r`.
pub(super) type FifthBits = [u8; 64];

/// Spreads the 32 bits of row `r`.
pub(super) fn put_fifth(plane: &mut FifthBits, r: usize, bits: u32) {
    for (b, byte) in plane[4 * r..4 * r + 4].iter_mut().enumerate() {
        *byte = (0..8).map(|j| ((bits >> (4 * j + b) & 1) as u8) << j).sum();
    }
}

/// The 32 bits of row `r`, back again.
pub(super) fn get_fifth(plane: &FifthBits, r: usize) -> u32 {
    (0..32).map(|i| u32::from(plane[4 * r + i % 4] >> (i / 4) & 1) << i).sum()
}

/// Codes `4j..4j + 4` of every row, 5 bits each.
#[inline(always)]
pub(super) fn codes5<S: Int8>(s: S, nibbles: &Nibbles, plane: &FifthBits, j: usize) -> S::B {
    let bits = s.load(plane);
    let bits = if j <= 4 { s.shl(bits, 4 - j as u32) } else { s.shr(bits, j as u32 - 4) };
    s.or(codes(s, nibbles, j), s.and(bits, 0x10))
}

/// The upper two bits of 32 codes of 16 rows: bits `2(j mod 4)..` of byte `4r + b` of plane `j / 4` belong to code
/// `4j + b` of row `r`.
pub(super) type UpperBits = [[u8; 64]; 2];

/// Sets the upper bits of code `i` of row `r`.
pub(super) fn put_upper(planes: &mut UpperBits, r: usize, i: usize, bits: u8) {
    planes[i / 16][4 * r + i % 4] |= bits << (2 * (i / 4 % 4));
}

/// The upper bits of code `i` of row `r`, back again.
pub(super) fn get_upper(planes: &UpperBits, r: usize, i: usize) -> u8 {
    planes[i / 16][4 * r + i % 4] >> (2 * (i / 4 % 4)) & 3
}

/// Codes `4j..4j + 4` of every row, 6 bits each.
#[inline(always)]
pub(super) fn codes6<S: Int8>(s: S, nibbles: &Nibbles, planes: &UpperBits, j: usize) -> S::B {
    let bits = s.load(&planes[j / 4]);
    let at = 2 * (j % 4) as u32;
    let bits = if at <= 4 { s.shl(bits, 4 - at) } else { s.shr(bits, at - 4) };
    s.or(codes(s, nibbles, j), s.and(bits, 0x30))
}

/// One byte per row.
pub(super) type RowBytes = [u8; ROWS];

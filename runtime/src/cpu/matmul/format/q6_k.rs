//! Q6_K: super-blocks of 256 with a scale that sixteen sub-blocks of 16 multiply by signed bytes; 6-bit codes less
//! 32; 3,360 bytes per tile.

use super::{
    Format, Lanes, Quant, ROWS, half_bits,
    nibbles::{self, Nibbles, RowBytes, UpperBits},
    put_half_bits,
};
use crate::cpu::simd::Simd;
use crate::cpu::simd::int8::Int8;
use jet_numerics::DType;

/// The format [`DType::Q6K`].
pub(in crate::cpu::matmul) struct Q6K;

/// One super-block of 16 rows.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(in crate::cpu::matmul) struct Tile {
    scale: [u16; ROWS],
    /// Byte `i` of every row's signed scales.
    subs: [RowBytes; 16],
    codes: [Sub; 8],
}

/// 32 codes of 16 rows.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Sub {
    low: Nibbles,
    upper: UpperBits,
}

/// Where in a block the parts begin.
const HIGH: usize = 128;
const SCALES: usize = 192;
const SCALE: usize = 208;

/// Bytes with the low four bits of sub-block `sub` (16 codes each, half `h`), and the shift to them.
fn low(sub: usize, h: usize) -> (usize, u32) {
    (64 * (sub / 4) + 32 * (sub % 2) + 16 * h, 4 * (sub as u32 % 4 / 2))
}

/// Byte with the upper two bits of code `i` of sub-block `sub`, and the shift to them.
fn upper(sub: usize, i: usize) -> (usize, u32) {
    (HIGH + 32 * (sub / 4) + i, 2 * (sub as u32 % 4))
}

impl Format for Q6K {
    const DTYPE: DType = DType::Q6K;
    const LEN: usize = 256;
    type Tile = Tile;

    fn pack(blocks: &[&[u8]; ROWS], tile: &mut Tile) {
        *tile = bytemuck::Zeroable::zeroed();
        for (r, b) in blocks.iter().enumerate() {
            let Some(b) = b.first_chunk::<210>() else { continue };
            tile.scale[r] = half_bits(b, SCALE);
            for (row, byte) in tile.subs.iter_mut().zip(&b[SCALES..SCALE]) {
                row[r] = *byte;
            }
            for (n, sub) in tile.codes.iter_mut().enumerate() {
                let ((first, shift), (second, _)) = (low(n, 0), low(n, 1));
                let bytes: [u8; 16] =
                    std::array::from_fn(|i| b[first + i] >> shift & 15 | (b[second + i] >> shift & 15) << 4);
                nibbles::put(&mut sub.low, r, &bytes);
                for i in 0..32 {
                    let (at, shift) = upper(n, i);
                    nibbles::put_upper(&mut sub.upper, r, i, b[at] >> shift & 3);
                }
            }
        }
    }

    fn block(tile: &Tile, r: usize, block: &mut [u8]) {
        block.fill(0);
        put_half_bits(block, SCALE, tile.scale[r]);
        for (byte, row) in block[SCALES..SCALE].iter_mut().zip(&tile.subs) {
            *byte = row[r];
        }
        for (n, sub) in tile.codes.iter().enumerate() {
            let bytes = nibbles::get(&sub.low, r);
            for i in 0..32 {
                let (from, shift) = low(n, i / 16);
                block[from + i % 16] |= (bytes[i % 16] >> (4 * (i / 16)) & 15) << shift;
                let (at, shift) = upper(n, i);
                block[at] |= nibbles::get_upper(&sub.upper, r, i) << shift;
            }
        }
    }
}

impl Quant for Q6K {
    const HALVES: usize = 2;
    const ZERO: i32 = 32;

    #[inline(always)]
    fn codes<S: Int8>(s: S, tile: &Tile, sub: usize, j: usize) -> S::B {
        nibbles::codes6(s, &tile.codes[sub].low, &tile.codes[sub].upper, j)
    }
    #[inline(always)]
    fn scale<S: Int8>(s: S, tile: &Tile, sub: usize, half: usize) -> Lanes<S> {
        s.float().mul(s.float().load_f16(&tile.scale), s.widen_i8(&tile.subs[2 * sub + half]))
    }
}

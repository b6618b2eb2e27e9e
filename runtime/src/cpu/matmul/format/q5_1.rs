//! Q5_1: 5-bit codes times a scale plus a minimum; 384 bytes per tile, six cache lines.

use super::{
    Format, Lanes, Quant, ROWS, half_bits,
    nibbles::{self, FifthBits, Nibbles},
    put_half_bits,
};
use crate::cpu::simd::Simd;
use crate::cpu::simd::int8::Int8;
use jet_numerics::DType;

/// The format [`DType::Q5_1`].
pub(in crate::cpu::matmul) struct Q5_1;

/// One block of 16 rows.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(in crate::cpu::matmul) struct Tile {
    codes: Nibbles,
    fifth: FifthBits,
    scale: [u16; ROWS],
    min: [u16; ROWS],
}

impl Format for Q5_1 {
    const DTYPE: DType = DType::Q5_1;
    const LEN: usize = 32;
    type Tile = Tile;

    fn pack(blocks: &[&[u8]; ROWS], tile: &mut Tile) {
        for (r, b) in blocks.iter().enumerate() {
            tile.scale[r] = half_bits(b, 0);
            tile.min[r] = half_bits(b, 2);
            let fifth = b.get(4..8).map_or(0, |h| u32::from_le_bytes([h[0], h[1], h[2], h[3]]));
            nibbles::put_fifth(&mut tile.fifth, r, fifth);
            nibbles::put(&mut tile.codes, r, b.get(8..).unwrap_or_default());
        }
    }

    fn block(tile: &Tile, r: usize, block: &mut [u8]) {
        put_half_bits(block, 0, tile.scale[r]);
        put_half_bits(block, 2, tile.min[r]);
        block[4..8].copy_from_slice(&nibbles::get_fifth(&tile.fifth, r).to_le_bytes());
        block[8..].copy_from_slice(&nibbles::get(&tile.codes, r));
    }
}

impl Quant for Q5_1 {
    const MIN: bool = true;

    #[inline(always)]
    fn codes<S: Int8>(s: S, tile: &Tile, _sub: usize, j: usize) -> S::B {
        nibbles::codes5(s, &tile.codes, &tile.fifth, j)
    }
    #[inline(always)]
    fn scale<S: Int8>(s: S, tile: &Tile, _sub: usize, _half: usize) -> Lanes<S> {
        s.float().load_f16(&tile.scale)
    }
    #[inline(always)]
    fn min<S: Int8>(s: S, tile: &Tile, _sub: usize) -> Lanes<S> {
        s.float().load_f16(&tile.min)
    }
}

//! Q4_1: 4-bit codes times a scale plus a minimum; 320 bytes per tile, five cache lines.

use super::{
    Format, Lanes, Quant, ROWS, half_bits,
    nibbles::{self, Nibbles},
    put_half_bits,
};
use crate::cpu::simd::Simd;
use crate::cpu::simd::int8::Int8;
use jet_numerics::DType;

/// The format [`DType::Q4_1`].
pub(in crate::cpu::matmul) struct Q4_1;

/// One block of 16 rows.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(in crate::cpu::matmul) struct Tile {
    codes: Nibbles,
    scale: [u16; ROWS],
    min: [u16; ROWS],
}

impl Format for Q4_1 {
    const DTYPE: DType = DType::Q4_1;
    const LEN: usize = 32;
    type Tile = Tile;

    fn pack(blocks: &[&[u8]; ROWS], tile: &mut Tile) {
        for (r, b) in blocks.iter().enumerate() {
            tile.scale[r] = half_bits(b, 0);
            tile.min[r] = half_bits(b, 2);
            nibbles::put(&mut tile.codes, r, b.get(4..).unwrap_or_default());
        }
    }

    fn block(tile: &Tile, r: usize, block: &mut [u8]) {
        put_half_bits(block, 0, tile.scale[r]);
        put_half_bits(block, 2, tile.min[r]);
        block[4..].copy_from_slice(&nibbles::get(&tile.codes, r));
    }
}

impl Quant for Q4_1 {
    const MIN: bool = true;

    #[inline(always)]
    fn codes<S: Int8>(s: S, tile: &Tile, _sub: usize, j: usize) -> S::B {
        nibbles::codes(s, &tile.codes, j)
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

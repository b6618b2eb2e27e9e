//! Q4_0: 4-bit codes less 8 times a scale; 288 bytes per tile.

use super::{
    Format, Lanes, Quant, ROWS, half_bits,
    nibbles::{self, Nibbles},
    put_half_bits,
};
use crate::cpu::simd::Simd;
use crate::cpu::simd::int8::Int8;
use jet_numerics::DType;

/// The format [`DType::Q4_0`].
pub(in crate::cpu::matmul) struct Q4_0;

/// One block of 16 rows.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(in crate::cpu::matmul) struct Tile {
    codes: Nibbles,
    scale: [u16; ROWS],
}

impl Format for Q4_0 {
    const DTYPE: DType = DType::Q4_0;
    const LEN: usize = 32;
    type Tile = Tile;

    fn pack(blocks: &[&[u8]; ROWS], tile: &mut Tile) {
        for (r, b) in blocks.iter().enumerate() {
            tile.scale[r] = half_bits(b, 0);
            nibbles::put(&mut tile.codes, r, b.get(2..).unwrap_or_default());
        }
    }

    fn block(tile: &Tile, r: usize, block: &mut [u8]) {
        put_half_bits(block, 0, tile.scale[r]);
        block[2..].copy_from_slice(&nibbles::get(&tile.codes, r));
    }
}

impl Quant for Q4_0 {
    const ZERO: i32 = 8;

    #[inline(always)]
    fn codes<S: Int8>(s: S, tile: &Tile, _sub: usize, j: usize) -> S::B {
        nibbles::codes(s, &tile.codes, j)
    }
    #[inline(always)]
    fn scale<S: Int8>(s: S, tile: &Tile, _sub: usize, _half: usize) -> Lanes<S> {
        s.float().load_f16(&tile.scale)
    }
}

//! Q8_0: signed bytes times a scale; 544 bytes per tile. The bytes are stored with 128 added, since the dot
//! product wants its weights unsigned.

use super::{Format, Lanes, Quant, ROWS, half_bits, put_half_bits};
use crate::cpu::simd::Simd;
use crate::cpu::simd::int8::Int8;
use jet_numerics::DType;

/// The format [`DType::Q8_0`].
pub(in crate::cpu::matmul) struct Q8_0;

/// One block of 16 rows.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(in crate::cpu::matmul) struct Tile {
    /// Lane `r` of vector `j` has codes `4j..4j + 4` of row `r`.
    codes: [[u8; 64]; 8],
    scale: [u16; ROWS],
}

impl Format for Q8_0 {
    const DTYPE: DType = DType::Q8_0;
    const LEN: usize = 32;
    type Tile = Tile;

    fn pack(blocks: &[&[u8]; ROWS], tile: &mut Tile) {
        for (r, b) in blocks.iter().enumerate() {
            tile.scale[r] = half_bits(b, 0);
            for (vector, word) in tile.codes.iter_mut().zip(b.get(2..).unwrap_or_default().as_chunks::<4>().0)
            {
                vector[4 * r..4 * r + 4].copy_from_slice(&word.map(|x| x ^ 0x80));
            }
        }
    }

    fn block(tile: &Tile, r: usize, block: &mut [u8]) {
        put_half_bits(block, 0, tile.scale[r]);
        for (i, b) in block[2..].iter_mut().enumerate() {
            *b = tile.codes[i / 4][4 * r + i % 4] ^ 0x80;
        }
    }
}

impl Quant for Q8_0 {
    const ZERO: i32 = 128;

    #[inline(always)]
    fn codes<S: Int8>(s: S, tile: &Tile, _sub: usize, j: usize) -> S::B {
        s.load(&tile.codes[j])
    }
    #[inline(always)]
    fn scale<S: Int8>(s: S, tile: &Tile, _sub: usize, _half: usize) -> Lanes<S> {
        s.float().load_f16(&tile.scale)
    }
}

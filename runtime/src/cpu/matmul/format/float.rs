//! Plain numbers: a tile is one value of each row, or two of bfloat16.

use super::{Format, Plain, ROWS};
use crate::cpu::simd::Simd;
use jet_numerics::DType;

/// float32, `[k][16]`.
pub(in crate::cpu::matmul) struct F32;
/// float16, `[k][16]`.
pub(in crate::cpu::matmul) struct F16;
/// bfloat16, `[k / 2][16]` pairs with the even value in the low half, as the dot product takes them.
pub(in crate::cpu::matmul) struct Bf16;

impl Format for F32 {
    const DTYPE: DType = DType::F32;
    const LEN: usize = 1;
    type Tile = [f32; ROWS];

    fn pack(blocks: &[&[u8]; ROWS], tile: &mut Self::Tile) {
        for (t, b) in tile.iter_mut().zip(blocks) {
            *t = b.first_chunk().map_or(0.0, |b| f32::from_le_bytes(*b));
        }
    }

    fn block(tile: &Self::Tile, r: usize, block: &mut [u8]) {
        block.copy_from_slice(&tile[r].to_le_bytes());
    }
}

impl Plain for F32 {
    #[inline(always)]
    fn widen<S: Simd>(_s: S, tile: &Self::Tile, out: &mut [[f32; ROWS]]) {
        out[0] = *tile;
    }
}

impl Format for F16 {
    const DTYPE: DType = DType::F16;
    const LEN: usize = 1;
    type Tile = [u16; ROWS];

    fn pack(blocks: &[&[u8]; ROWS], tile: &mut Self::Tile) {
        for (t, b) in tile.iter_mut().zip(blocks) {
            *t = b.first_chunk().map_or(0, |b| u16::from_le_bytes(*b));
        }
    }

    fn block(tile: &Self::Tile, r: usize, block: &mut [u8]) {
        block.copy_from_slice(&tile[r].to_le_bytes());
    }
}

impl Plain for F16 {
    #[inline(always)]
    fn widen<S: Simd>(s: S, tile: &Self::Tile, out: &mut [[f32; ROWS]]) {
        s.store(s.load_f16(tile), &mut out[0]);
    }
}

impl Format for Bf16 {
    const DTYPE: DType = DType::Bf16;
    const LEN: usize = 2;
    type Tile = [u32; ROWS];

    fn pack(blocks: &[&[u8]; ROWS], tile: &mut Self::Tile) {
        for (t, b) in tile.iter_mut().zip(blocks) {
            let half =
                |i: usize| b.get(2 * i..2 * i + 2).map_or(0, |b| u32::from(u16::from_le_bytes([b[0], b[1]])));
            *t = half(0) | half(1) << 16;
        }
    }

    fn block(tile: &Self::Tile, r: usize, block: &mut [u8]) {
        let len = block.len();
        block.copy_from_slice(&tile[r].to_le_bytes()[..len]);
    }
}

impl Plain for Bf16 {
    #[inline(always)]
    fn widen<S: Simd>(_s: S, tile: &Self::Tile, out: &mut [[f32; ROWS]]) {
        // The last pair of an odd row has one value that counts.
        out[0] = tile.map(|pair| f32::from_bits(pair << 16));
        if let Some(odd) = out.get_mut(1) {
            *odd = tile.map(|pair| f32::from_bits(pair & 0xffff_0000));
        }
    }
}

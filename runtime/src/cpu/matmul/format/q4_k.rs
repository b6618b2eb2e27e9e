//! Q4_K: super-blocks of 256 with a scale and a minimum that eight sub-blocks scale by 6-bit numbers; 2,304 bytes
//! per tile.

use super::{
    Format, Lanes, Quant, ROWS, half_bits,
    nibbles::{self, Nibbles, RowBytes},
    put_half_bits,
};
use crate::cpu::simd::Simd;
use crate::cpu::simd::int8::Int8;
use jet_numerics::DType;

/// The format [`DType::Q4K`].
pub(in crate::cpu::matmul) struct Q4K;

/// One super-block of 16 rows.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(in crate::cpu::matmul) struct Tile {
    scale: [u16; ROWS],
    min: [u16; ROWS],
    /// Byte `i` of every row's packed 6-bit numbers.
    subs: [RowBytes; 12],
    codes: [Nibbles; 8],
}

/// GGUF keeps the low nibbles of 32 bytes for one sub-block and the high ones for the next; a tile keeps both
/// halves of a sub-block together. The same exchange leads there and back: it is its own inverse.
fn regroup(a: &[u8; 16], b: &[u8; 16]) -> ([u8; 16], [u8; 16]) {
    (std::array::from_fn(|i| a[i] & 15 | b[i] << 4), std::array::from_fn(|i| a[i] >> 4 | b[i] & 0xf0))
}

impl Format for Q4K {
    const DTYPE: DType = DType::Q4K;
    const LEN: usize = 256;
    type Tile = Tile;

    fn pack(blocks: &[&[u8]; ROWS], tile: &mut Tile) {
        for (r, b) in blocks.iter().enumerate() {
            let Some(b) = b.first_chunk::<144>() else { continue };
            tile.scale[r] = half_bits(b, 0);
            tile.min[r] = half_bits(b, 2);
            for (row, byte) in tile.subs.iter_mut().zip(&b[4..16]) {
                row[r] = *byte;
            }
            for (pair, bytes) in
                tile.codes.as_chunks_mut::<2>().0.iter_mut().zip(b[16..].as_chunks::<16>().0.chunks(2))
            {
                let (even, odd) = regroup(&bytes[0], &bytes[1]);
                nibbles::put(&mut pair[0], r, &even);
                nibbles::put(&mut pair[1], r, &odd);
            }
        }
    }

    fn block(tile: &Tile, r: usize, block: &mut [u8]) {
        put_half_bits(block, 0, tile.scale[r]);
        put_half_bits(block, 2, tile.min[r]);
        for (byte, row) in block[4..16].iter_mut().zip(&tile.subs) {
            *byte = row[r];
        }
        for (pair, out) in tile.codes.as_chunks::<2>().0.iter().zip(block[16..].chunks_mut(32)) {
            let (a, b) = regroup(&nibbles::get(&pair[0], r), &nibbles::get(&pair[1], r));
            out[..16].copy_from_slice(&a);
            out[16..].copy_from_slice(&b);
        }
    }
}

impl Quant for Q4K {
    const MIN: bool = true;

    #[inline(always)]
    fn codes<S: Int8>(s: S, tile: &Tile, sub: usize, j: usize) -> S::B {
        nibbles::codes(s, &tile.codes[sub], j)
    }
    #[inline(always)]
    fn scale<S: Int8>(s: S, tile: &Tile, sub: usize, _half: usize) -> Lanes<S> {
        let t = &tile.subs;
        let six: RowBytes = if sub < 4 {
            std::array::from_fn(|r| t[sub][r] & 63)
        } else {
            std::array::from_fn(|r| t[sub + 4][r] & 15 | t[sub - 4][r] >> 6 << 4)
        };
        s.float().mul(s.float().load_f16(&tile.scale), s.widen_u8(&six))
    }
    #[inline(always)]
    fn min<S: Int8>(s: S, tile: &Tile, sub: usize) -> Lanes<S> {
        let t = &tile.subs;
        let six: RowBytes = if sub < 4 {
            std::array::from_fn(|r| t[sub + 4][r] & 63)
        } else {
            std::array::from_fn(|r| t[sub + 4][r] >> 4 | t[sub][r] >> 6 << 4)
        };
        let f = s.float();
        f.sub(f.splat(0.0), f.mul(f.load_f16(&tile.min), s.widen_u8(&six)))
    }
}

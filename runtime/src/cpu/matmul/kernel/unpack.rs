//! From the stored formats to what the innermost loops take, for a piece of a row tile at a time.

use super::super::format::{Plain, Quant, ROWS};
use super::int8::Unpacked;
use crate::cpu::simd::int8::{Int8, Int8Kernel};
use crate::cpu::simd::{Kernel, Simd};

/// Plain numbers to float32 `[k][16]`.
pub(in crate::cpu::matmul) struct Widen<'a, F: Plain> {
    pub(in crate::cpu::matmul) tiles: &'a [F::Tile],
    pub(in crate::cpu::matmul) to: &'a mut [[f32; ROWS]],
}

impl<F: Plain> Kernel for Widen<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (tile, to) in self.tiles.iter().zip(self.to.chunks_mut(F::LEN)) {
            F::widen(s, tile, to);
        }
    }
}

/// Blocks to float32 `[k][16]`, by the operations that define the format: the product is rounded before the sum.
pub(in crate::cpu::matmul) struct Decode<'a, Q: Quant> {
    /// The row tile's tiles.
    pub(in crate::cpu::matmul) tiles: &'a [Q::Tile],
    /// First block of 32 values.
    pub(in crate::cpu::matmul) first: usize,
    /// 32 vectors per block.
    pub(in crate::cpu::matmul) to: &'a mut [[f32; ROWS]],
}

impl<Q: Quant> Int8Kernel for Decode<'_, Q> {
    #[inline(always)]
    fn run<S: Int8>(self, s: S) {
        let f = s.float();
        for (block, to) in (self.first..).zip(self.to.as_chunks_mut::<32>().0) {
            let (tile, sub) = (&self.tiles[block / Q::SUBS], block % Q::SUBS);
            let zero = f.splat(Q::ZERO as f32);
            let min = Q::min(s, tile, sub);
            for (j, to) in to.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let scale = Q::scale(s, tile, sub, j * Q::HALVES / 8);
                for (code, to) in s.widen(Q::codes(s, tile, sub, j)).into_iter().zip(to) {
                    let product = f.mul(scale, f.sub(code, zero));
                    f.store(if Q::MIN { f.add(product, min) } else { product }, to);
                }
            }
        }
    }
}

/// Blocks to bytes with float32 scales.
pub(in crate::cpu::matmul) struct Unpack<'a, Q: Quant> {
    /// The row tile's tiles.
    pub(in crate::cpu::matmul) tiles: &'a [Q::Tile],
    /// First block of 32 values.
    pub(in crate::cpu::matmul) first: usize,
    /// One per block.
    pub(in crate::cpu::matmul) to: &'a mut [Unpacked],
}

impl<Q: Quant> Int8Kernel for Unpack<'_, Q> {
    #[inline(always)]
    fn run<S: Int8>(self, s: S) {
        let f = s.float();
        for (block, to) in (self.first..).zip(self.to) {
            let (tile, sub) = (&self.tiles[block / Q::SUBS], block % Q::SUBS);
            for (j, codes) in to.codes.iter_mut().enumerate() {
                s.store(Q::codes(s, tile, sub, j), codes);
            }
            for half in 0..Q::HALVES {
                f.store(Q::scale(s, tile, sub, half), &mut to.scale[half]);
            }
            if Q::MIN {
                f.store(Q::min(s, tile, sub), &mut to.min);
            }
        }
    }
}

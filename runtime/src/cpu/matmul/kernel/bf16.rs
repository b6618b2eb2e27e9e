//! Pairs of bfloat16: weights `[k / 2][16]`, activations `[k / 2][MT]`, sums in float32.

use super::super::format::ROWS;
use crate::cpu::simd::Simd;
use crate::cpu::simd::bf16::{Bf16Dot, Bf16Kernel};

/// Adds the product of `w` and the group's `x` to `acc`, one vector of 16 rows per token.
pub(in crate::cpu::matmul) struct PairTile<'a, const MT: usize> {
    pub(in crate::cpu::matmul) w: &'a [[u32; ROWS]],
    pub(in crate::cpu::matmul) x: &'a [[u32; MT]],
    pub(in crate::cpu::matmul) acc: &'a mut [[f32; ROWS]; MT],
}

impl<const MT: usize> Bf16Kernel for PairTile<'_, MT> {
    #[inline(always)]
    fn run<S: Bf16Dot>(self, s: S) {
        // As in the float32 form, few sums are kept in several parts.
        match MT {
            1..=3 => sum::<S, MT, 4>(s, self),
            4..=6 => sum::<S, MT, 2>(s, self),
            _ => sum::<S, MT, 1>(s, self),
        }
    }
}

#[inline(always)]
fn sum<S: Bf16Dot, const MT: usize, const PARTS: usize>(s: S, tile: PairTile<'_, MT>) {
    let f = s.float();
    let mut acc = [[f.splat(0.0); MT]; PARTS];
    let (w, w_rest) = tile.w.as_chunks::<PARTS>();
    let (x, x_rest) = tile.x.as_chunks::<PARTS>();
    for (w, x) in w.iter().zip(x) {
        for ((acc, w), x) in acc.iter_mut().zip(w).zip(x) {
            for (acc, x) in acc.iter_mut().zip(x) {
                *acc = s.dot(*acc, w, *x);
            }
        }
    }
    for (w, x) in w_rest.iter().zip(x_rest) {
        for (acc, x) in acc[0].iter_mut().zip(x) {
            *acc = s.dot(*acc, w, *x);
        }
    }
    for (t, out) in tile.acc.iter_mut().enumerate() {
        let total = acc.iter().fold(f.load(out), |total, part| f.add(total, part[t]));
        f.store(total, out);
    }
}

/// Rounds `[k][16]` float32 weights to pairs; an odd last one gets a zero beside it.
pub(in crate::cpu::matmul) struct ToPairs<'a> {
    pub(in crate::cpu::matmul) from: &'a [[f32; ROWS]],
    pub(in crate::cpu::matmul) to: &'a mut [[u32; ROWS]],
}

impl Bf16Kernel for ToPairs<'_> {
    #[inline(always)]
    fn run<S: Bf16Dot>(self, s: S) {
        let f = s.float();
        for (from, to) in self.from.chunks(2).zip(self.to) {
            let odd = from.get(1).map_or(f.splat(0.0), |odd| f.load(odd));
            *to = s.pairs(f.load(&from[0]), odd);
        }
    }
}

//! float32: weights `[k][16]`, activations `[k][MT]`.

use super::super::format::ROWS;
use crate::cpu::simd::{Kernel, Simd};

/// Adds the product of `w` and the group's `x` to `acc`, one vector of 16 rows per token.
pub(in crate::cpu::matmul) struct FloatTile<'a, const MT: usize> {
    pub(in crate::cpu::matmul) w: &'a [[f32; ROWS]],
    pub(in crate::cpu::matmul) x: &'a [[f32; MT]],
    pub(in crate::cpu::matmul) acc: &'a mut [[f32; ROWS]; MT],
}

impl<const MT: usize> Kernel for FloatTile<'_, MT> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Few tokens leave too few sums to hide an addition's latency, so each is kept in several parts.
        match MT {
            1..=3 => sum::<S, MT, 4>(s, self),
            4..=6 => sum::<S, MT, 2>(s, self),
            _ => sum::<S, MT, 1>(s, self),
        }
    }
}

#[inline(always)]
fn sum<S: Simd, const MT: usize, const PARTS: usize>(s: S, tile: FloatTile<'_, MT>) {
    let mut acc = [[s.splat(0.0); MT]; PARTS];
    let (w, w_rest) = tile.w.as_chunks::<PARTS>();
    let (x, x_rest) = tile.x.as_chunks::<PARTS>();
    for (w, x) in w.iter().zip(x) {
        for ((acc, w), x) in acc.iter_mut().zip(w).zip(x) {
            let w = s.load(w);
            for (acc, x) in acc.iter_mut().zip(x) {
                *acc = s.fma(w, s.splat(*x), *acc);
            }
        }
    }
    for (w, x) in w_rest.iter().zip(x_rest) {
        let w = s.load(w);
        for (acc, x) in acc[0].iter_mut().zip(x) {
            *acc = s.fma(w, s.splat(*x), *acc);
        }
    }
    for (t, out) in tile.acc.iter_mut().enumerate() {
        let total = acc.iter().fold(s.load(out), |total, part| s.add(total, part[t]));
        s.store(total, out);
    }
}

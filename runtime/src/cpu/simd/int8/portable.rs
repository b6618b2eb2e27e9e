//! The implementation for every machine: arrays.

use super::Int8;
use crate::cpu::simd::Portable;

/// Arrays of bytes and integers.
#[derive(Clone, Copy, Debug)]
pub struct PortableInt8;

fn words(b: [u8; 64], f: impl Fn(u16) -> u16) -> [u8; 64] {
    let mut out = [0; 64];
    for (o, w) in out.as_chunks_mut::<2>().0.iter_mut().zip(b.as_chunks::<2>().0) {
        *o = f(u16::from_le_bytes(*w)).to_le_bytes();
    }
    out
}

/// The dot product, once and not in every kernel: inlined and unrolled, arrays of bytes take minutes to compile.
#[inline(never)]
fn dot(acc: [i32; 16], w: &[u8; 64], a: u32) -> [i32; 16] {
    let a = a.to_le_bytes().map(|x| i32::from(x.cast_signed()));
    let mut acc = acc;
    for (acc, w) in acc.iter_mut().zip(w.as_chunks::<4>().0) {
        *acc += w.iter().zip(a).map(|(w, a)| i32::from(*w) * a).sum::<i32>();
    }
    acc
}

/// Bytes of lanes to floats, for the same reason.
#[inline(never)]
fn widen(b: &[u8; 64]) -> [[f32; 16]; 4] {
    std::array::from_fn(|i| std::array::from_fn(|r| f32::from(b[4 * r + i])))
}

impl Int8 for PortableInt8 {
    type S = Portable;
    type B = [u8; 64];
    type I = [i32; 16];
    const FULL_BIAS: i32 = 0;

    #[inline(always)]
    fn float(self) -> Portable {
        Portable
    }
    #[inline(always)]
    fn load(self, x: &[u8; 64]) -> Self::B {
        *x
    }
    #[inline(always)]
    fn store(self, b: Self::B, out: &mut [u8; 64]) {
        *out = b;
    }
    #[inline(always)]
    fn and(self, b: Self::B, mask: u8) -> Self::B {
        b.map(|x| x & mask)
    }
    #[inline(always)]
    fn or(self, a: Self::B, b: Self::B) -> Self::B {
        std::array::from_fn(|i| a[i] | b[i])
    }
    #[inline(always)]
    fn shl(self, b: Self::B, n: u32) -> Self::B {
        words(b, |w| w << n)
    }
    #[inline(always)]
    fn shr(self, b: Self::B, n: u32) -> Self::B {
        words(b, |w| w >> n)
    }
    #[inline(always)]
    fn splat(self, x: i32) -> Self::I {
        [x; 16]
    }
    #[inline(always)]
    fn dot(self, acc: Self::I, w: Self::B, a: u32) -> Self::I {
        dot(acc, &w, a)
    }
    #[inline(always)]
    fn dot_full(self, acc: Self::I, w: Self::B, a: u32) -> Self::I {
        dot(acc, &w, a)
    }
    #[inline(always)]
    fn to_f32(self, x: Self::I) -> [f32; 16] {
        x.map(|x| x as f32)
    }
    #[inline(always)]
    fn widen(self, b: Self::B) -> [[f32; 16]; 4] {
        widen(&b)
    }
    #[inline(always)]
    fn widen_u8(self, x: &[u8; 16]) -> [f32; 16] {
        x.map(f32::from)
    }
    #[inline(always)]
    fn widen_i8(self, x: &[u8; 16]) -> [f32; 16] {
        x.map(|x| f32::from(x.cast_signed()))
    }
    #[inline(always)]
    fn narrow(self, v: [f32; 16]) -> [i8; 16] {
        v.map(|x| x.round_ties_even() as i8)
    }
    #[inline(always)]
    fn sum_bytes(self, x: &[i8; 16]) -> i32 {
        x.iter().map(|x| i32::from(*x)).sum()
    }
    #[inline(always)]
    fn prefetch(self, _x: &[u8; 64], _ahead: usize) {}
}

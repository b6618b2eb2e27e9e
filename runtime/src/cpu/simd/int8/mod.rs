//! Dot products of bytes: sixteen 32-bit lanes, each of four unsigned weights times four signed activations.
//!
//! [`Int8`] stands beside [`Simd`](super::Simd) and lends its float lanes from it. The instruction sets are finer
//! here: AVX-512 with and without VNNI differ in the dot product ([`Int8Isa`]).

mod portable;
pub use portable::PortableInt8;

#[cfg(all(feature = "simd", target_arch = "x86_64"))]
mod avx2;
#[cfg(all(feature = "simd", target_arch = "x86_64"))]
mod avx512;
#[cfg(all(feature = "simd", target_arch = "x86_64"))]
pub use {avx2::Avx2Int8, avx512::Avx512Int8};

use super::{Isa, Simd};

/// How byte dot products are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Int8Isa {
    /// Plain integers.
    Portable,
    /// `vpmaddubsw` on 32 bytes.
    Avx2,
    /// `vpmaddubsw` on 64 bytes.
    Avx512,
    /// `vpdpbusd` on 64 bytes.
    Avx512Vnni,
}

impl Int8Isa {
    /// All of them, the plainest first.
    pub const ALL: [Int8Isa; 4] = [Int8Isa::Portable, Int8Isa::Avx2, Int8Isa::Avx512, Int8Isa::Avx512Vnni];

    /// Whether this machine and this build have it.
    pub fn available(self) -> bool {
        match self {
            Int8Isa::Portable => true,
            Int8Isa::Avx2 => Isa::Avx2.available(),
            Int8Isa::Avx512 => Isa::Avx512.available(),
            #[cfg(all(feature = "simd", target_arch = "x86_64"))]
            Int8Isa::Avx512Vnni => Avx512Int8::<true>::new().is_some(),
            #[cfg(not(all(feature = "simd", target_arch = "x86_64")))]
            Int8Isa::Avx512Vnni => false,
        }
    }

    /// The best that goes with `isa` on this machine.
    pub fn of(isa: Isa) -> Self {
        match isa {
            Isa::Avx512 if Int8Isa::Avx512Vnni.available() => Int8Isa::Avx512Vnni,
            Isa::Avx512 => Int8Isa::Avx512,
            Isa::Avx2 => Int8Isa::Avx2,
            Isa::Portable => Int8Isa::Portable,
        }
    }
}

/// A kernel on bytes that can run on any instruction set: one generic method, marked `#[inline(always)]`.
pub trait Int8Kernel {
    /// Whether it is run with 64-byte registers only, so that it is not compiled for anything narrower.
    const WIDE: bool = false;
    /// Runs it with the operations of `S`.
    fn run<S: Int8>(self, simd: S);
}

/// Runs `kernel` compiled for `isa`; for the portable one where `isa` is not there.
/// Panics where that would be needed and the kernel is [`WIDE`](Int8Kernel::WIDE).
#[inline]
pub fn dispatch_int8<K: Int8Kernel>(isa: Int8Isa, kernel: K) {
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    match isa {
        Int8Isa::Avx512Vnni => {
            if let Some(token) = Avx512Int8::<true>::new() {
                return token.vectorize(kernel);
            }
        }
        Int8Isa::Avx512 => {
            if let Some(token) = Avx512Int8::<false>::new() {
                return token.vectorize(kernel);
            }
        }
        Int8Isa::Avx2 | Int8Isa::Portable => {}
    }
    narrow(isa, kernel);
}

#[inline]
fn narrow<K: Int8Kernel>(isa: Int8Isa, kernel: K) {
    // The condition is a constant: what it excludes is not compiled.
    if K::WIDE {
        panic!("a kernel for 64-byte registers was asked of {isa:?}");
    } else {
        #[cfg(all(feature = "simd", target_arch = "x86_64"))]
        if isa == Int8Isa::Avx2
            && let Some(token) = Avx2Int8::new()
        {
            return token.vectorize(kernel);
        }
        kernel.run(PortableInt8);
    }
}

/// Operations on 64 bytes and on sixteen 32-bit integers. A value of an implementing type is the proof that the
/// machine has the instructions. Every method is `#[inline(always)]`.
pub trait Int8: Copy + Send + Sync + 'static {
    /// The float lanes.
    type S: Simd;
    /// Sixty-four bytes; lane `r` of sixteen is bytes `4r..4r + 4`.
    type B: Copy;
    /// Sixteen 32-bit integers.
    type I: Copy;
    /// What [`dot_full`](Self::dot_full) takes off every weight: 128 where the instructions want signed weights,
    /// 0 where it is left to the caller.
    const FULL_BIAS: i32;

    /// The float operations.
    fn float(self) -> Self::S;
    /// Loads 64 bytes.
    fn load(self, x: &[u8; 64]) -> Self::B;
    /// Stores 64 bytes.
    fn store(self, b: Self::B, out: &mut [u8; 64]);
    /// Every byte `& mask`.
    fn and(self, b: Self::B, mask: u8) -> Self::B;
    /// Bitwise or.
    fn or(self, a: Self::B, b: Self::B) -> Self::B;
    /// 16-bit lanes shifted left by `n < 8`: bits cross from byte to byte, so a mask follows.
    fn shl(self, b: Self::B, n: u32) -> Self::B;
    /// 16-bit lanes shifted right by `n < 8`: bits cross from byte to byte, so a mask follows.
    fn shr(self, b: Self::B, n: u32) -> Self::B;
    /// `x` in every lane.
    fn splat(self, x: i32) -> Self::I;
    /// `acc + Σ w·a` per lane over its four bytes: weights unsigned and at most 63, `a` four signed bytes from -127
    /// up, the same in every lane.
    fn dot(self, acc: Self::I, w: Self::B, a: u32) -> Self::I;
    /// The same for weights of any size, each taken less [`FULL_BIAS`](Self::FULL_BIAS).
    fn dot_full(self, acc: Self::I, w: Self::B, a: u32) -> Self::I;
    /// To float; exact below 2^24.
    fn to_f32(self, x: Self::I) -> <Self::S as Simd>::V;
    /// The bytes of every lane as floats: element `b` holds byte `b` of the lanes.
    fn widen(self, b: Self::B) -> [<Self::S as Simd>::V; 4];
    /// Sixteen unsigned bytes as floats.
    fn widen_u8(self, x: &[u8; 16]) -> <Self::S as Simd>::V;
    /// Sixteen signed bytes as floats.
    fn widen_i8(self, x: &[u8; 16]) -> <Self::S as Simd>::V;
    /// Floats within ±127, rounded to the nearest integer (ties to even), as signed bytes.
    fn narrow(self, v: <Self::S as Simd>::V) -> [i8; 16];
    /// The sum of sixteen signed bytes.
    fn sum_bytes(self, x: &[i8; 16]) -> i32;
    /// Asks for the cache line `ahead` bytes behind the start of `x`, which may lie beyond its end.
    fn prefetch(self, x: &[u8; 64], ahead: usize);
}

#[cfg(test)]
mod tests;

//! Bytes: codes of 16 rows times the bytes of a group of tokens, block by block of 32 values.

use super::super::format::{Lanes, Quant, ROWS};
use super::super::prepared::{Int8Group, NARROW_GROUP};
use crate::cpu::simd::Simd;
use crate::cpu::simd::int8::{Int8, Int8Isa, Int8Kernel, dispatch_int8};
use std::marker::PhantomData;

/// The activations of a group, by block.
#[derive(Clone, Copy)]
pub(in crate::cpu::matmul) struct Acts<'a, const MT: usize> {
    bytes: &'a [[[u32; MT]; 8]],
    scale: &'a [[f32; MT]],
    scaled_sum: &'a [[f32; MT]],
    minus_sum: &'a [[i32; MT]],
    minus_halves: &'a [[[i32; MT]; 2]],
}

/// The activations of a group in one block.
#[derive(Clone, Copy)]
struct Act<'a, const MT: usize> {
    bytes: &'a [[u32; MT]; 8],
    scale: &'a [f32; MT],
    scaled_sum: &'a [f32; MT],
    minus_sum: &'a [i32; MT],
    minus_halves: &'a [[i32; MT]; 2],
}

impl<'a, const MT: usize> Acts<'a, MT> {
    /// The words of a group of `MT` tokens.
    pub(in crate::cpu::matmul) fn new(words: &'a [f32], blocks: usize) -> Self {
        let group = Int8Group::<&[u32]>::of(bytemuck::cast_slice(words), blocks, MT);
        let floats = |w| bytemuck::cast_slice::<u32, f32>(w).as_chunks().0;
        let ints = |w| bytemuck::cast_slice::<u32, i32>(w).as_chunks().0;
        Self {
            bytes: group.bytes.as_chunks().0.as_chunks().0,
            scale: floats(group.scale),
            scaled_sum: floats(group.scaled_sum),
            minus_sum: ints(group.minus_sum),
            minus_halves: ints(group.minus_halves).as_chunks().0,
        }
    }

    /// Some of the blocks.
    pub(in crate::cpu::matmul) fn blocks(self, range: std::ops::Range<usize>) -> Self {
        Self {
            bytes: &self.bytes[range.clone()],
            scale: &self.scale[range.clone()],
            scaled_sum: &self.scaled_sum[range.clone()],
            minus_sum: &self.minus_sum[range.clone()],
            minus_halves: &self.minus_halves[range],
        }
    }

    #[inline(always)]
    fn iter(self) -> impl Iterator<Item = Act<'a, MT>> {
        self.bytes.iter().zip(self.scale).zip(self.scaled_sum).zip(self.minus_sum).zip(self.minus_halves).map(
            |((((bytes, scale), scaled_sum), minus_sum), minus_halves)| Act {
                bytes,
                scale,
                scaled_sum,
                minus_sum,
                minus_halves,
            },
        )
    }
}

/// One block of 32 values of 16 rows, wherever it comes from.
trait Block<S: Int8>: Copy {
    /// See [`Quant::HALVES`].
    const HALVES: usize;
    /// See [`Quant::MIN`].
    const MIN: bool;
    /// Whether codes go above 63.
    const FULL: bool;
    /// See [`Quant::ZERO`].
    fn zero(self) -> i32;
    fn codes(self, s: S, j: usize) -> S::B;
    fn scale(self, s: S, half: usize) -> Lanes<S>;
    fn min(self, s: S) -> Lanes<S>;
}

/// Adds the products of one block to `sums`.
#[inline(always)]
fn add_block<S: Int8, B: Block<S>, const MT: usize>(
    s: S,
    block: B,
    act: Act<'_, MT>,
    sums: &mut [Lanes<S>; MT],
) {
    let f = s.float();
    let mut part = [f.splat(0.0); MT];
    for half in 0..B::HALVES {
        // The zero point is taken off by starting at its product with the sum of the bytes. Formats with a minimum
        // have none.
        let zero = if B::FULL { 128 - S::FULL_BIAS } else { block.zero() };
        let minus_sum = if B::HALVES == 1 { act.minus_sum } else { &act.minus_halves[half] };
        let mut dots = [s.splat(0); MT];
        if !B::MIN {
            for (dot, x) in dots.iter_mut().zip(minus_sum) {
                *dot = s.splat(x * zero);
            }
        }
        let vectors = 8 / B::HALVES;
        for j in half * vectors..(half + 1) * vectors {
            let codes = block.codes(s, j);
            for (dot, a) in dots.iter_mut().zip(&act.bytes[j]) {
                *dot = if B::FULL { s.dot_full(*dot, codes, *a) } else { s.dot(*dot, codes, *a) };
            }
        }
        let scale = block.scale(s, half);
        for (part, dot) in part.iter_mut().zip(dots) {
            let dot = s.to_f32(dot);
            *part = if half == 0 { f.mul(dot, scale) } else { f.fma(dot, scale, *part) };
        }
    }
    for ((sum, part), a) in sums.iter_mut().zip(part).zip(act.scale) {
        *sum = f.fma(part, f.splat(*a), *sum);
    }
    if B::MIN {
        let min = block.min(s);
        for (sum, a) in sums.iter_mut().zip(act.scaled_sum) {
            *sum = f.fma(min, f.splat(*a), *sum);
        }
    }
}

/// A block that is decoded as it is used.
struct Stored<'a, Q: Quant> {
    tile: &'a Q::Tile,
    sub: usize,
}

impl<Q: Quant> Clone for Stored<'_, Q> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<Q: Quant> Copy for Stored<'_, Q> {}

impl<S: Int8, Q: Quant> Block<S> for Stored<'_, Q> {
    const HALVES: usize = Q::HALVES;
    const MIN: bool = Q::MIN;
    const FULL: bool = Q::ZERO == FULL_ZERO;

    #[inline(always)]
    fn zero(self) -> i32 {
        Q::ZERO
    }
    #[inline(always)]
    fn codes(self, s: S, j: usize) -> S::B {
        Q::codes(s, self.tile, self.sub, j)
    }
    #[inline(always)]
    fn scale(self, s: S, half: usize) -> Lanes<S> {
        Q::scale(s, self.tile, self.sub, half)
    }
    #[inline(always)]
    fn min(self, s: S) -> Lanes<S> {
        Q::min(s, self.tile, self.sub)
    }
}

/// The zero point of codes that take all of a byte.
const FULL_ZERO: i32 = 128;

/// Row tiles straight from their format, for few tokens.
pub(in crate::cpu::matmul) struct Direct<'a, Q: Quant, const MT: usize> {
    /// The tiles of all row tiles.
    pub(in crate::cpu::matmul) tiles: &'a [Q::Tile],
    /// Tiles in a row tile.
    pub(in crate::cpu::matmul) per: usize,
    /// All of the activations.
    pub(in crate::cpu::matmul) acts: Acts<'a, MT>,
    /// One per row tile; replaced.
    pub(in crate::cpu::matmul) out: &'a mut [[[f32; ROWS]; MT]],
    /// Row tiles that go together: 1, 2 or 4.
    pub(in crate::cpu::matmul) together: usize,
    /// Bytes to ask for ahead.
    pub(in crate::cpu::matmul) prefetch: usize,
}

impl<Q: Quant, const MT: usize> Int8Kernel for Direct<'_, Q, MT> {
    #[inline(always)]
    fn run<S: Int8>(self, s: S) {
        match (MT, self.together, self.prefetch) {
            (1, 4, _) => self.pass::<S, 4>(s),
            (1, 2, _) => self.pass::<S, 2>(s),
            _ => self.pass::<S, 1>(s),
        }
    }
}

impl<Q: Quant, const MT: usize> Direct<'_, Q, MT> {
    /// Takes `TOGETHER` row tiles at a time, what is left over one by one.
    #[inline(always)]
    fn pass<S: Int8, const TOGETHER: usize>(mut self, s: S) {
        let whole = self.out.len() / TOGETHER * TOGETHER;
        let (tiles, rest) = self.tiles.split_at(whole * self.per);
        let (out, out_rest) = std::mem::take(&mut self.out).split_at_mut(whole);
        for (tiles, out) in tiles.chunks_exact(TOGETHER * self.per).zip(out.as_chunks_mut::<TOGETHER>().0) {
            self.row_tiles(s, tiles, out);
        }
        if TOGETHER > 1 {
            for (tiles, out) in rest.chunks_exact(self.per).zip(out_rest.as_chunks_mut::<1>().0) {
                self.row_tiles(s, tiles, out);
            }
        }
    }

    #[inline(always)]
    fn row_tiles<S: Int8, const N: usize>(&self, s: S, tiles: &[Q::Tile], out: &mut [[[f32; ROWS]; MT]; N]) {
        let f = s.float();
        let mut sums = [[f.splat(0.0); MT]; N];
        let streams: [&[Q::Tile]; N] = std::array::from_fn(|n| &tiles[n * self.per..(n + 1) * self.per]);
        let mut acts = self.acts.iter();
        for i in 0..self.per {
            if self.prefetch > 0 {
                for stream in streams {
                    for line in bytemuck::bytes_of(&stream[i]).as_chunks().0 {
                        s.prefetch(line, self.prefetch);
                    }
                }
            }
            for sub in 0..Q::SUBS {
                // There are as many blocks of activations as of weights.
                let Some(act) = acts.next() else { break };
                for (stream, sums) in streams.iter().zip(&mut sums) {
                    add_block(s, Stored::<Q> { tile: &stream[i], sub }, act, sums);
                }
            }
        }
        for (out, sums) in out.iter_mut().zip(sums) {
            for (out, sum) in out.iter_mut().zip(sums) {
                f.store(sum, out);
            }
        }
    }
}

/// A block that was unpacked: codes as bytes, scales and minima as floats.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(in crate::cpu::matmul) struct Unpacked {
    pub(in crate::cpu::matmul) codes: [[u8; 64]; 8],
    pub(in crate::cpu::matmul) scale: [[f32; ROWS]; 2],
    pub(in crate::cpu::matmul) min: [f32; ROWS],
}

/// What the kernel must know of unpacked blocks. Formats that agree in it share a kernel.
trait Traits {
    const HALVES: usize = 1;
    const MIN: bool = false;
    const FULL: bool = false;
}

/// A scale and a minimum.
struct WithMin;
/// A scale and a zero point.
struct WithZero;
/// Two scales and a zero point.
struct TwoScales;
/// Codes of 8 bits.
struct FullBytes;

impl Traits for WithMin {
    const MIN: bool = true;
}
impl Traits for WithZero {}
impl Traits for TwoScales {
    const HALVES: usize = 2;
}
impl Traits for FullBytes {
    const FULL: bool = true;
}

/// An unpacked block with what the kernel must know of it.
struct FromPanel<'a, T> {
    block: &'a Unpacked,
    zero: i32,
    traits: PhantomData<T>,
}

impl<T> Clone for FromPanel<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for FromPanel<'_, T> {}

impl<S: Int8, T: Traits> Block<S> for FromPanel<'_, T> {
    const HALVES: usize = T::HALVES;
    const MIN: bool = T::MIN;
    const FULL: bool = T::FULL;

    #[inline(always)]
    fn zero(self) -> i32 {
        self.zero
    }
    #[inline(always)]
    fn codes(self, s: S, j: usize) -> S::B {
        s.load(&self.block.codes[j])
    }
    #[inline(always)]
    fn scale(self, s: S, half: usize) -> Lanes<S> {
        s.float().load(&self.block.scale[half])
    }
    #[inline(always)]
    fn min(self, s: S) -> Lanes<S> {
        s.float().load(&self.block.min)
    }
}

/// An unpacked piece of a row tile, the same blocks of a group, and where the sum of their products goes.
pub(in crate::cpu::matmul) struct PanelTile<'a, const MT: usize> {
    pub(in crate::cpu::matmul) panel: &'a [Unpacked],
    pub(in crate::cpu::matmul) acts: Acts<'a, MT>,
    pub(in crate::cpu::matmul) acc: &'a mut [[f32; ROWS]; MT],
}

impl<const MT: usize> PanelTile<'_, MT> {
    /// Adds the product to `acc`, for blocks unpacked from the format `Q`.
    pub(in crate::cpu::matmul) fn dispatch<Q: Quant>(self, isa: Int8Isa) {
        if Q::MIN {
            self.run_as::<WithMin>(isa, 0);
        } else if Q::HALVES == 2 {
            self.run_as::<TwoScales>(isa, Q::ZERO);
        } else if Q::ZERO == FULL_ZERO {
            self.run_as::<FullBytes>(isa, Q::ZERO);
        } else {
            self.run_as::<WithZero>(isa, Q::ZERO);
        }
    }

    fn run_as<T: Traits>(self, isa: Int8Isa, zero: i32) {
        dispatch_int8(isa, PanelKernel::<T, MT> { tile: self, zero, traits: PhantomData });
    }
}

struct PanelKernel<'a, T, const MT: usize> {
    tile: PanelTile<'a, MT>,
    zero: i32,
    traits: PhantomData<T>,
}

impl<T: Traits, const MT: usize> Int8Kernel for PanelKernel<'_, T, MT> {
    const WIDE: bool = MT > NARROW_GROUP;

    #[inline(always)]
    fn run<S: Int8>(self, s: S) {
        let f = s.float();
        let PanelTile { panel, acts, acc } = self.tile;
        let mut sums = [f.splat(0.0); MT];
        for (sum, acc) in sums.iter_mut().zip(acc.iter()) {
            *sum = f.load(acc);
        }
        for (block, act) in panel.iter().zip(acts.iter()) {
            let block = FromPanel::<T> { block, zero: self.zero, traits: PhantomData };
            add_block(s, block, act, &mut sums);
        }
        for (sum, acc) in sums.into_iter().zip(acc) {
            f.store(sum, acc);
        }
    }
}

//! Weight formats as the kernels read them: tiles of 16 rows.
//!
//! A tile holds as many consecutive values of 16 rows as one stored block of the format does, in exactly as many
//! bytes: the blocks' bytes, reordered so that one vector load gives the same few values of every row. A matrix is
//! row-tile major with the tiles along k inside, so 16 outputs are one forward stream. Each format has a file
//! with its tile, the way there and back, and how kernels take its values.

mod float;
mod nibbles;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q6_k;
mod q8_0;

pub(super) use float::{Bf16, F16, F32};
pub(super) use q4_0::Q4_0;
pub(super) use q4_1::Q4_1;
pub(super) use q4_k::Q4K;
pub(super) use q5_0::Q5_0;
pub(super) use q5_1::Q5_1;
pub(super) use q6_k::Q6K;
pub(super) use q8_0::Q8_0;

use crate::cpu::simd::Simd;
use crate::cpu::simd::int8::Int8;
use jet_numerics::DType;

/// Rows of a tile.
pub(super) const ROWS: usize = 16;

/// A stored format and its tile.
pub(super) trait Format: 'static {
    /// The stored format.
    const DTYPE: DType;
    /// Values along k in a tile.
    const LEN: usize;
    /// The tile.
    type Tile: bytemuck::Pod + Send + Sync;

    /// Reorders one stored block of each row into a tile. A row's block is shorter only at the end of an odd row
    /// of a plain type, and empty for a row that pads the matrix.
    fn pack(blocks: &[&[u8]; ROWS], tile: &mut Self::Tile);

    /// The stored block of row `r`, back again.
    fn block(tile: &Self::Tile, r: usize, block: &mut [u8]);
}

/// A format of plain numbers: a tile is a few values of each row.
pub(super) trait Plain: Format {
    /// The values of a tile, one vector of 16 rows per k.
    fn widen<S: Simd>(s: S, tile: &Self::Tile, out: &mut [[f32; ROWS]]);
}

/// A block format: `value = scale·(code − ZERO) + min`, in sub-blocks of 32 values.
pub(super) trait Quant: Format {
    /// Sub-blocks in a tile.
    const SUBS: usize = Self::LEN / 32;
    /// Scales in a sub-block: 1, or 2 with 16 values each.
    const HALVES: usize = 1;
    /// Whether there is a minimum.
    const MIN: bool = false;
    /// What is taken off every code; codes above 63 appear only where it is 128.
    const ZERO: i32 = 0;

    /// The codes of values `4j..4j + 4` of sub-block `sub`: lane `r` has those of row `r`.
    fn codes<S: Int8>(s: S, tile: &Self::Tile, sub: usize, j: usize) -> S::B;
    /// The scale of each row for sub-block `sub`, its half `half`.
    fn scale<S: Int8>(s: S, tile: &Self::Tile, sub: usize, half: usize) -> Lanes<S>;
    /// The minimum of each row for sub-block `sub`: what is added to its values.
    fn min<S: Int8>(s: S, _tile: &Self::Tile, _sub: usize) -> Lanes<S> {
        s.float().splat(0.0)
    }
}

/// Sixteen floats of the instruction set `S`.
pub(super) type Lanes<S> = <<S as Int8>::S as Simd>::V;

/// Runs `$body` with `$F` standing for the [`Format`] of `$dtype`; `$none` where it has none.
macro_rules! with_format {
    ($dtype:expr, $F:ident => $body:expr, else $none:expr) => {
        $crate::cpu::matmul::format::with_format!(@pick $dtype, $F => $body, else $none;
            F32: F32, F16: F16, Bf16: Bf16, Q4_0: Q4_0, Q4_1: Q4_1, Q5_0: Q5_0, Q5_1: Q5_1, Q8_0: Q8_0, Q4K: Q4K, Q6K: Q6K)
    };
    (@pick $dtype:expr, $F:ident => $body:expr, else $none:expr; $($name:ident: $format:ident),*) => {
        match $dtype {
            $(jet_numerics::DType::$name => {
                type $F = $crate::cpu::matmul::format::$format;
                $body
            })*
            _ => $none,
        }
    };
}
pub(super) use with_format;

/// The same for the formats that are [`Plain`].
macro_rules! with_plain {
    ($dtype:expr, $F:ident => $body:expr, else $none:expr) => {
        $crate::cpu::matmul::format::with_format!(@pick $dtype, $F => $body, else $none; F32: F32, F16: F16, Bf16: Bf16)
    };
}
pub(super) use with_plain;

/// The same for the formats that are [`Quant`].
macro_rules! with_quant {
    ($dtype:expr, $F:ident => $body:expr, else $none:expr) => {
        $crate::cpu::matmul::format::with_format!(@pick $dtype, $F => $body, else $none;
            Q4_0: Q4_0, Q4_1: Q4_1, Q5_0: Q5_0, Q5_1: Q5_1, Q8_0: Q8_0, Q4K: Q4K, Q6K: Q6K)
    };
}
pub(super) use with_quant;

/// The two bytes at `at` of a row's block; 0 for a padding row.
fn half_bits(block: &[u8], at: usize) -> u16 {
    block.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

/// Puts two bytes at `at`.
fn put_half_bits(block: &mut [u8], at: usize, bits: u16) {
    block[at..at + 2].copy_from_slice(&bits.to_le_bytes());
}

#[cfg(test)]
mod tests;

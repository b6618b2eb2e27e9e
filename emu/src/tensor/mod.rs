//! Tensor cores and tensor copies: fragments, accumulation, descriptors, swizzles, tensor maps.
//!
//! Everything here is a pure function of registers, bytes and descriptors; no file knows warps that run, barriers
//! or memory that somebody else may write. An instruction becomes a checked value once ([`Mma::new`],
//! [`Wgmma::new`], [`TensorMap::tiled`]) and is then executed without further checks of its form.
//!
//! ```text
//!  registers ── fragment ──► dense f64 tiles ── accumulate ──► fragment ──► registers        (mma, wgmma)
//!  shared memory ── descriptor, swizzle ──► dense f64 tiles                                  (wgmma)
//!  rows of 16 bytes ── ldmatrix ──► registers
//!  tensor map + coordinates ── map ──► runs of (global address or fill, shared address, bytes)
//! ```

mod accumulate;
mod decode;
mod descriptor;
mod element;
mod error;
mod fragment;
mod ldmatrix;
mod map;
mod mma;
mod scale;
mod swizzle;
mod wgmma;

pub use accumulate::Accumulation;
pub use descriptor::{Descriptor, Major, shared_reader};
pub use element::{Accumulator, Element, ScaleType};
pub use error::TensorError;
pub use fragment::{AccumulatorLayout, OperandLayout};
pub use ldmatrix::{LoadMatrix, MatrixShape, StoreMatrix, transpose_matrix};
pub use map::{
    Atomicity, Fill, Interleave, L2Promotion, MAP_BYTES, MapElement, MapField, Run, SwizzleMode, TensorMap,
    TensorMapSpec, TiledMap,
};
pub use mma::{BitOp, Kind, Mma, MmaRegisters, MmaSpec, Scaling};
pub use scale::{ScaleSelector, Scales};
pub use swizzle::Swizzle;
pub use wgmma::{OperandTile, Wgmma, WgmmaSpec};

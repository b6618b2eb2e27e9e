//! Number formats and the random generator of jet.
//!
//! What is here: [`DType`], the element types a weight may be stored in; the GGUF block formats bit by bit
//! ([`gguf`]); conversions of whole rows to and from float32; Philox4x32 streams ([`philox`]).
//! What is not: files, tensors, kernels. This crate depends on no other jet crate; the CPU kernels read the
//! same bits in their own vectorised way and are tested against it.
//!
//! ```
//! use jet_numerics::{DType, dequantize_row, quantize_row};
//!
//! let values: Vec<f32> = (0..64).map(|i| i as f32 * 0.25 - 8.0).collect();
//! let mut bytes = vec![0; DType::Q8_0.row_bytes(64).expect("64 is two blocks")];
//! quantize_row(DType::Q8_0, &values, &mut bytes)?;
//! let mut back = vec![0.0; 64];
//! dequantize_row(DType::Q8_0, &bytes, &mut back)?;
//! assert!(values.iter().zip(&back).all(|(a, b)| (a - b).abs() < 0.04));
//! # Ok::<(), jet_numerics::Error>(())
//! ```
#![forbid(unsafe_code)]

mod dtype;
mod error;
mod finite;
pub mod gguf;
pub mod philox;
mod row;

pub use dtype::DType;
pub use error::Error;
pub use finite::first_non_finite;
pub use half::{bf16, f16};
pub use row::{dequantize_row, quantize_row};

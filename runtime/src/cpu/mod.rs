//! The native CPU device: kernels by family, a scalar reference beside each, one pool of workers.

pub mod mat;
pub mod simd;

//! The native CPU device: kernels by family, a scalar reference beside each, one pool of workers.

pub mod act;
pub mod arena;
pub mod argmax;
pub mod attention;
mod bench;
pub mod conv;
mod device;
pub mod dynamic_conv;
pub mod embed;
mod exec;
pub mod float_env;
pub mod gated_delta;
#[cfg(test)]
pub(crate) mod golden;
pub mod kv_cache;
mod machine;
pub mod mat;
pub mod matmul;
pub mod moe;
pub mod norm;
pub mod pool;
pub mod rope;
mod scan;
pub mod simd;
pub mod ssd;
pub mod topology;

pub use device::{CpuDevice, FAMILIES};

//! The native CPU device: kernels by family, a scalar reference beside each, one pool of workers.

pub mod act;
pub mod attention;
pub mod conv;
pub mod dynamic_conv;
pub mod float_env;
#[cfg(test)]
pub(crate) mod golden;
pub mod kv_cache;
pub mod mat;
pub mod norm;
pub mod pool;
pub mod rope;
mod scan;
pub mod simd;
pub mod topology;

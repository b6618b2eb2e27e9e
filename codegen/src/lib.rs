//! From a model to ops over named buffers, and the schedules of the kernels that run them.
#![forbid(unsafe_code)]

pub mod schedule;

//! What the tests over whole kernels share: descriptions, inputs, references and lines of CUDA source.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

pub mod description;
pub mod lines;
pub mod reference;
pub mod run;
pub mod tensor;

//! Writing sources: the identity, the constants, the primitives in use, the kernel's own parts.
//!
//! Templates are plain CUDA C++ over constants and types that the [`Writer`] declares; nothing is substituted inside
//! them. They are cut into items (see [`library`]), and a source has those items that its entries reach, once each.

pub mod library;
pub mod namer;
pub mod wgmma;
mod writer;

pub use writer::Writer;

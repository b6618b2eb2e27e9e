//! Shadow memory: which bytes are defined, and who touched them last (data races).
//!
//! Pure data structures: they know spaces, threads, warps, CTAs, clusters, asynchronous operations and what
//! synchronises them, and no instruction. The machine tells a [`Detector`] every access and every synchronisation in
//! the order in which it executes them; the detector answers with [`Race`]s. Definedness is a [`Defined`] bitmap.
//!
//! Order is the happens-before of the PTX memory model (vector clocks, kept once for a warp as long as its lanes know
//! the same), races are found in the manner of FastTrack: each byte remembers the accesses that no later one covers.
//! A second clock that travels with the first says what a proxy fence has covered.
//!
//! Where memory would grow without bound the detector forgets, and only in the direction of silence: it may miss a
//! race with something long past, it never invents one.

mod asyncs;
mod check;
mod clock;
mod defined;
mod detector;
mod event;
mod location;
mod mbarrier;
mod memory;
mod order;
mod races;
mod reach;
mod types;
mod warp;

#[cfg(test)]
mod tests;

pub use defined::Defined;
pub use detector::Detector;
pub use types::{
    Access, AsyncId, AsyncKind, AsyncPart, BarrierRef, Class, CtaId, Kind, Lanes, Options, Party, Proxy,
    Race, SHARED_BITS, Scope, Space, Strength, WarpId, Who,
};

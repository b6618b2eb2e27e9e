//! Measuring in another process: what a candidate breaks there, it breaks for itself alone.
//!
//! ```text
//! tuner ── WorkerBench ── Link ══ lines of JSON over stdin and stdout ══ serve ── a device ── the candidate
//! ```
//!
//! The tuner's own process never opens the device. A worker that dies, hangs or writes nonsense is replaced, and the
//! candidate that it was at has its reason; three deadlines watch it: for setting up and compiling, for a launch, and for any
//! sign of life. Where the device itself is lost a second time, the run ends.

mod bench;
mod link;
pub mod protocol;
mod serve;

pub use bench::{Deadlines, Launcher, WorkerBench};
pub use protocol::{Description, PROTOCOL, PlanAsk};
pub use serve::{DeviceHost, Host, serve};

//! The tile primitives one by one, on the emulator: each against its own definition.

#![allow(unreachable_pub, reason = "a binary of its own")]

mod bench;
mod convert;
mod matrix;
mod values;
mod warpgroup;

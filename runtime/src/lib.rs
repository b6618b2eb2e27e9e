//! Runs programs on devices.
#![deny(unsafe_code)]

pub mod cpu;

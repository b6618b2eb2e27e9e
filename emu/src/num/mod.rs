//! What one lane computes: integers, floats of every width with their rounding, conversions, approximations.
//!
//! Pure functions on bit patterns (`u16` for f16 and bf16, `u32` for f32 and packed pairs, `u64` for f64, the low
//! bits of a `u8` for the narrow types); they know no instruction, no register and no memory. Nothing here panics,
//! whatever the bits are.
//!
//! The common forms are short, branch-light and inlined, so that a loop over 32 lanes vectorises. They rest on
//! host arithmetic in f32 and f64 (round to nearest even, never fused by the compiler) and on one trick: a result
//! is first rounded *to odd* in f64, which keeps enough to round once more, correctly, into any narrower format
//! ([`odd`]). Everything rare goes through an exact core on 128-bit integers ([`round`], [`exact`]), and the two
//! judge each other in the tests.
//!
//! ```
//! use jet_emu::num::{Mode, Rounding, f32, packed};
//!
//! // (1 + 2^-23) * (1 - 2^-23) - 1, with one rounding.
//! assert_eq!(f32::fma(0x3F80_0001, 0x3F7F_FFFE, 0xBF80_0000), (-(2.0f32).powi(-46)).to_bits());
//! let down = Mode { rounding: Rounding::Down, ..Mode::default() };
//! assert_eq!(f32::add_mode(0x3F80_0000, 0xBF80_0000, down), 0x8000_0000);
//! assert_eq!(packed::map2(jet_emu::num::f16::add, 0x3C00_4000, 0x3C00_3C00), 0x4000_4200);
//! ```

pub mod approx;
pub mod atomic;
pub mod bf16;
pub mod cvt;
pub mod exact;
pub mod f16;
pub mod f32;
pub mod f64;
pub mod format;
mod half;
pub mod int;
pub mod mixed;
mod mode;
pub mod odd;
pub mod packed;
pub mod round;
mod sign_magnitude;
#[cfg(test)]
mod tests;

pub use mode::{Class, Compare, IntRounding, MinMax, Mode, Rounding};

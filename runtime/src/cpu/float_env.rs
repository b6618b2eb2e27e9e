//! Subnormal numbers are zero while kernels run.
//!
//! A decaying state underflows in the end, and arithmetic on subnormal numbers is slow on many machines. Kernels
//! therefore run with results flushed to zero (FTZ) and operands taken as zero (DAZ). A scalar reference that is
//! to agree in the last bits runs under the same rule: it holds a [`FlushSubnormals`] while it computes.
#![allow(unsafe_code, reason = "reads and writes the float control register")]

use std::marker::PhantomData;

/// The rule holds on this thread until the value is dropped; then the thread's own setting is back.
#[derive(Debug)]
pub struct FlushSubnormals {
    before: register::Bits,
    /// The setting belongs to a thread, so the guard stays on it.
    here: PhantomData<*const ()>,
}

impl FlushSubnormals {
    /// Switches the rule on.
    pub fn new() -> Self {
        let before = register::read();
        register::write(before | register::FLUSH);
        Self { before, here: PhantomData }
    }
}

impl Default for FlushSubnormals {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for FlushSubnormals {
    fn drop(&mut self) {
        register::write(self.before);
    }
}

#[cfg(target_arch = "x86_64")]
mod register {
    pub(super) type Bits = u32;
    /// MXCSR: bit 15 flushes results, bit 6 takes operands as zero.
    pub(super) const FLUSH: Bits = 1 << 15 | 1 << 6;

    pub(super) fn read() -> Bits {
        let mut bits: Bits = 0;
        // SAFETY: stores the four bytes of MXCSR into `bits`.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut bits, options(nostack, preserves_flags)) };
        bits
    }

    pub(super) fn write(bits: Bits) {
        // SAFETY: the bits were read from the register; of them at most the two of `FLUSH` were changed, which
        // every x86-64 processor has. Rounding mode and exception masks stay as they were.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &bits, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod register {
    pub(super) type Bits = u64;
    /// FPCR: bit 24 flushes results and operands.
    pub(super) const FLUSH: Bits = 1 << 24;

    pub(super) fn read() -> Bits {
        let bits: Bits;
        // SAFETY: reads FPCR.
        unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) bits, options(nomem, nostack, preserves_flags)) };
        bits
    }

    pub(super) fn write(bits: Bits) {
        // SAFETY: the bits were read from the register and only `FLUSH` was changed.
        unsafe { std::arch::asm!("msr fpcr, {}", in(reg) bits, options(nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod register {
    pub(super) type Bits = u32;
    pub(super) const FLUSH: Bits = 0;

    pub(super) fn read() -> Bits {
        0
    }

    pub(super) fn write(_bits: Bits) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    fn half(x: f32) -> f32 {
        black_box(x) * black_box(0.5)
    }

    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn subnormal_results_and_operands_are_zero_only_inside() {
        let subnormal = f32::from_bits(1 << 22);
        {
            let _guard = FlushSubnormals::new();
            assert_eq!(half(f32::MIN_POSITIVE), 0.0);
            assert_eq!(black_box(subnormal) * black_box(8.0), 0.0);
        }
        assert!(half(f32::MIN_POSITIVE) > 0.0);
        assert!(black_box(subnormal) * black_box(8.0) > 0.0);
    }

    #[test]
    fn guards_nest() {
        let outer = FlushSubnormals::new();
        drop(FlushSubnormals::new());
        let inside = half(f32::MIN_POSITIVE);
        drop(outer);
        assert!(inside == 0.0 || cfg!(not(any(target_arch = "x86_64", target_arch = "aarch64"))));
        assert!(half(f32::MIN_POSITIVE) > 0.0);
    }
}

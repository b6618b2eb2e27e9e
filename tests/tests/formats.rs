//! Two witnesses of one number format: the emulator's conversions and those the library uses, over all bit patterns.

use half::{bf16, f16};
use jet_emu::num;

#[test]
fn sixteen_bit_floats_widen_alike() {
    for bits in 0..=u16::MAX {
        let (a, b) = (num::f16::widen(bits), f16::from_bits(bits).to_f32());
        assert!(a == b || (a.is_nan() && b.is_nan()), "f16 {bits:#06x}: {a} and {b}");
        let (a, b) = (num::bf16::widen(bits), bf16::from_bits(bits).to_f32());
        assert!(a == b || (a.is_nan() && b.is_nan()), "bf16 {bits:#06x}: {a} and {b}");
    }
}

#[test]
fn float32_narrows_alike_around_every_sixteen_bit_number() {
    for bits in 0..=u16::MAX {
        // Each number, its neighbours, and the halves between them, where ties are decided.
        for wide in [f16::from_bits(bits).to_f32(), bf16::from_bits(bits).to_f32()] {
            for near in [0, 1, 2, 0x7ff, 0x800, 0x801, 0xfff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001] {
                let x = f32::from_bits(wide.to_bits().wrapping_add(near));
                if x.is_nan() {
                    continue;
                }
                assert_eq!(num::f16::narrow(x), f16::from_f32(x).to_bits(), "{x:e} to f16");
                assert_eq!(num::bf16::narrow(x), bf16::from_f32(x).to_bits(), "{x:e} to bf16");
            }
        }
    }
}

//! Conversions with several elements: who goes where, random bits, scales.

use super::Stream;
use super::model::{F16, Layout};
use crate::num::cvt::packed::{self, PackTarget};
use crate::num::cvt::{Conversion, Options, Type, fast, stochastic};

fn bits(x: f32) -> u64 {
    x.to_bits().into()
}

#[test]
fn the_first_source_goes_to_the_upper_half() {
    let pack =
        |to, a, b| packed::pack2(&Conversion::new(Type::F32, to, Options::default()), bits(a), bits(b));
    assert_eq!(pack(Type::Bf16, 1.0, 2.0), 0x3F80_4000);
    assert_eq!(pack(Type::F16, 1.0, 2.0), 0x3C00_4000);
    assert_eq!(pack(Type::E4m3, 1.0, 2.0), 0x3840);
    assert_eq!(pack(Type::E5m2, 1.0, -2.0), 0x3CC0);
    assert_eq!(pack(Type::E2m1, 1.0, -6.0), 0x2F);
    assert_eq!(pack(Type::E2m3, 1.0, -7.5), 0x083F);
    assert_eq!(pack(Type::E3m2, -28.0, 1.0), 0x3F0C);
    assert_eq!(pack(Type::Ue8m0, 1.0, 4.0), 0x7F81);
    assert_eq!(fast::bf16x2_from_f32(bits(1.0) as u32, bits(2.0) as u32), 0x3F80_4000);
    assert_eq!(fast::f16x2_from_f32(bits(1.0) as u32, bits(2.0) as u32), 0x3C00_4000);
}

#[test]
fn packed_elements_keep_their_places() {
    let repack = |from, to, x| packed::repack2(&Conversion::new(from, to, Options::default()), x);
    assert_eq!(repack(Type::E4m3, Type::F16, 0x3840), 0x3C00_4000);
    assert_eq!(repack(Type::F16, Type::E4m3, 0x3C00_4000), 0x3840);
    assert_eq!(repack(Type::E2m1, Type::F16, 0xFF_2F), 0x3C00_C600);
    assert_eq!(repack(Type::E2m3, Type::F16, 0xC8FF), 0x3C00_C780);
    assert_eq!(repack(Type::Ue8m0, Type::Bf16, 0x7F00), 0x3F80_0040);
    assert_eq!(repack(Type::E4m3, Type::F16, 0xFF7F), 0x7FFF_7FFF);
    assert_eq!(packed::unpack2(Type::E2m1, 0x2F), (2, 15));
    assert_eq!(packed::unpack2(Type::E3m2, 0x3F0C), (0x3F, 0x0C));
}

#[test]
fn scales_multiply_up_and_divide_down_before_the_rounding() {
    let up = Conversion::new(Type::E2m1, Type::Bf16, Options::default());
    // 1 * 2^3 above, -6 * 2^-1 below.
    assert_eq!(packed::repack2_scaled_up(&up, 0x2F, 0x827E), 0x4100_C040);
    let down = Conversion::new(Type::F32, Type::E2m1, Options::default());
    assert_eq!(packed::pack2_scaled_down(&down, bits(8.0), bits(-3.0), 0x827E), 0x2F);
    // 1.25 is a tie that goes to 1; divided by 2^-130 first it is beyond the range.
    assert_eq!(packed::pack2_scaled_down(&down, bits(1.25), bits(1.25), 0x7F00), 0x27);
    let fixed = Conversion::new(Type::S2f6, Type::Bf16, Options::default());
    // The scale 2^6 makes integers of bytes.
    assert_eq!(packed::repack2_scaled_up(&fixed, 0x05FD, 0x8585), 0x40A0_C040);
    assert_eq!(packed::repack2_scaled_up(&up, 0x22, 0xFF7F), 0x7FFF_3F80);
}

/// Over all random numbers, the magnitude goes up as often as the discarded bits say.
#[test]
fn stochastic_rounding_goes_up_as_often_as_the_discarded_bits_say() {
    let mut stream = Stream(61);
    for (to, layout, count) in
        [(Type::F16, F16, 13), (Type::E4m3, Layout { exponent_bits: 4, mantissa_bits: 3 }, 16)]
    {
        for _ in 0..12 {
            let x = stream.next() as u32 & 0x807F_FFFF | (127 - 4 + stream.below(8) as u32) << 23;
            let cut = 23 - layout.mantissa_bits;
            // Random bits that reach below the discarded ones meet zeros there.
            let discarded = if cut >= count { (x & ((1 << cut) - 1)) >> (cut - count) } else { 0 };
            let truncated = stochastic(Type::F32, to, Options::default(), x.into(), 0, count);
            let up = (0..1u32 << count)
                .filter(|&random| {
                    let got = stochastic(Type::F32, to, Options::default(), x.into(), random, count);
                    assert!(got == truncated || got == truncated + 1);
                    got != truncated
                })
                .count();
            assert_eq!(up as u32, discarded, "{x:x} to {to:?}");
        }
    }
}

#[test]
fn stochastic_pairs_take_their_random_bits_from_their_halves() {
    let (one, more) = (0x3F80_0000, 0x3F80_0000 | 1 << 12);
    let f16 = |random| packed::stochastic2(Type::F16, Options::default(), more, more, random);
    // Half a last place is discarded: the top one of 13 random bits decides.
    assert_eq!((f16(0), f16(1 << 12), f16(1 << 28)), (0x3C00_3C00, 0x3C00_3C01, 0x3C01_3C00));
    assert_eq!(f16(0xE000_E000), 0x3C00_3C00, "bits above the 13 do not count");
    let more = 0x3F80_0000 | 1 << 15;
    let bf16 = |random| packed::stochastic2(Type::Bf16, Options::default(), more, one, random);
    assert_eq!((bf16(0x7FFF_FFFF), bf16(0x8000_0000)), (0x3F80_3F80, 0x3F81_3F80));
}

#[test]
fn stochastic_quadruples_share_random_bits_in_pairs() {
    // 1 and half a last place of each format.
    for (to, half, one) in
        [(Type::E4m3, 0x3F88_0000, 0x38), (Type::E5m2, 0x3F90_0000, 0x3C), (Type::E2m3, 0x3F88_0000, 8)]
    {
        let four = |random| packed::stochastic4(to, Options::default(), [half; 4], random);
        let all = one * 0x0101_0101;
        assert_eq!((four(0), four(0x8000_0000), four(0x8000)), (all, all + 0x0101_0000, all + 0x0101));
    }
    // 1.25 is half a last place above 1 in e2m1.
    let four = |random| packed::stochastic4(Type::E2m1, Options::default(), [0x3FA0_0000; 4], random);
    assert_eq!((four(0), four(0x8000_0000), four(0x0080_0000)), (0x2222, 0x3322, 0x2233));
    let order =
        packed::stochastic4(Type::E4m3, Options::default(), [1.0f32, 2.0, 4.0, 448.0].map(f32::to_bits), 0);
    assert_eq!(order, 0x3840_487E);
    let limits = packed::stochastic4(
        Type::E4m3,
        Options::default(),
        [500.0, -1e9, f32::NAN, 0.0].map(f32::to_bits),
        !0,
    );
    assert_eq!(limits, 0x7EFE_7F00);
    let relu = Options { relu: true, ..Options::default() };
    assert_eq!(
        packed::stochastic4(Type::E5m2, relu, [-1.0, 1.0, -0.0, f32::INFINITY].map(f32::to_bits), 0),
        0x003C_007B
    );
}

#[test]
fn pack_saturates_and_stacks_its_operands() {
    let target = |bits, signed| PackTarget { bits, signed };
    let minus = |x: i32| -x as u32;
    assert_eq!(packed::pack_saturated(target(16, true), 40_000, minus(40_000), 0), 0x7FFF_8000);
    assert_eq!(packed::pack_saturated(target(16, false), 70_000, minus(1), 0xAAAA), 0xFFFF_0000);
    assert_eq!(packed::pack_saturated(target(8, true), 1, minus(200), 0x1234_5678), 0x5678_0180);
    assert_eq!(packed::pack_saturated(target(8, false), 300, 2, 0x1), 0x0001_FF02);
    assert_eq!(packed::pack_saturated(target(4, true), minus(8), 9, 0xABC), 0x000A_BC87);
    assert_eq!(packed::pack_saturated(target(4, false), 17, 3, 0), 0xF3);
    assert_eq!(packed::pack_saturated(target(2, true), minus(5), 1, 0x3), 0x39);
    assert_eq!(packed::pack_saturated(target(2, false), 2, 5, 0), 0xB);
}

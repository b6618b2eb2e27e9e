//! Exact decoding of narrow types, and rounding of sums to the accumulator types.

use super::element::{Element, Packing};

/// Takes elements of one type out of 32-bit words, low element first. All values are exact in f32.
pub(super) trait Unpack {
    /// Elements in a word.
    const PARTS: usize;
    /// The element number `part` of `word`.
    fn part(word: u32, part: usize) -> f32;
}

pub(super) struct Half;
pub(super) struct Brain;
pub(super) struct Tensor32;
pub(super) struct E4m3;
pub(super) struct E5m2;
pub(super) struct E2m1Byte;
pub(super) struct E2m3Byte;
pub(super) struct E3m2Byte;
pub(super) struct E2m1Nibble;
pub(super) struct S8;
pub(super) struct U8;
pub(super) struct S4;
pub(super) struct U4;

impl Unpack for Half {
    const PARTS: usize = 2;
    #[inline(always)]
    fn part(word: u32, part: usize) -> f32 {
        f16_to_f32((word >> (16 * part)) as u16)
    }
}

impl Unpack for Brain {
    const PARTS: usize = 2;
    #[inline(always)]
    fn part(word: u32, part: usize) -> f32 {
        f32::from_bits(if part == 0 { word << 16 } else { word & 0xFFFF_0000 })
    }
}

impl Unpack for Tensor32 {
    const PARTS: usize = 1;
    #[inline(always)]
    fn part(word: u32, _: usize) -> f32 {
        f32::from_bits(word & 0xFFFF_E000)
    }
}

/// Types that are looked up by a byte of the word.
macro_rules! by_table {
    ($name:ident, $table:ident) => {
        impl Unpack for $name {
            const PARTS: usize = 4;
            #[inline(always)]
            fn part(word: u32, part: usize) -> f32 {
                $table[(word >> (8 * part)) as u8 as usize]
            }
        }
    };
}
by_table!(E4m3, E4M3);
by_table!(E5m2, E5M2);
by_table!(E2m1Byte, E2M1_BYTE);
by_table!(E2m3Byte, E2M3_BYTE);
by_table!(E3m2Byte, E3M2_BYTE);

impl Unpack for S8 {
    const PARTS: usize = 4;
    #[inline(always)]
    fn part(word: u32, part: usize) -> f32 {
        f32::from((word >> (8 * part)) as i8)
    }
}

impl Unpack for U8 {
    const PARTS: usize = 4;
    #[inline(always)]
    fn part(word: u32, part: usize) -> f32 {
        f32::from((word >> (8 * part)) as u8)
    }
}

impl Unpack for S4 {
    const PARTS: usize = 8;
    #[inline(always)]
    fn part(word: u32, part: usize) -> f32 {
        ((word << (28 - 4 * part)) as i32 >> 28) as f32
    }
}

impl Unpack for U4 {
    const PARTS: usize = 8;
    #[inline(always)]
    fn part(word: u32, part: usize) -> f32 {
        (word >> (4 * part) & 15) as f32
    }
}

impl Unpack for E2m1Nibble {
    const PARTS: usize = 8;
    #[inline(always)]
    fn part(word: u32, part: usize) -> f32 {
        // The byte table looks at bits 5..2.
        E2M1_BYTE[(word >> (4 * part) & 15) as usize * 4]
    }
}

/// Runs `$body` with `$U` bound to the [`Unpack`] of a [`Packing`]; `$other` for types that are not unpacked.
macro_rules! with_unpack {
    ($packing:expr, $U:ident => $body:expr, else $other:expr) => {{
        use $crate::tensor::decode as types;
        use $crate::tensor::element::{Element, Packing};
        match $packing {
            Packing::Plain(Element::F16) => with_unpack!(@ $U = types::Half, $body),
            Packing::Plain(Element::Bf16) => with_unpack!(@ $U = types::Brain, $body),
            Packing::Plain(Element::Tf32) => with_unpack!(@ $U = types::Tensor32, $body),
            Packing::Plain(Element::E4m3) | Packing::Byte(Element::E4m3) => with_unpack!(@ $U = types::E4m3, $body),
            Packing::Plain(Element::E5m2) | Packing::Byte(Element::E5m2) => with_unpack!(@ $U = types::E5m2, $body),
            Packing::Byte(Element::E2m1) => with_unpack!(@ $U = types::E2m1Byte, $body),
            Packing::Byte(Element::E2m3) => with_unpack!(@ $U = types::E2m3Byte, $body),
            Packing::Byte(Element::E3m2) => with_unpack!(@ $U = types::E3m2Byte, $body),
            Packing::Plain(Element::E2m1) => with_unpack!(@ $U = types::E2m1Nibble, $body),
            Packing::Plain(Element::S8) => with_unpack!(@ $U = types::S8, $body),
            Packing::Plain(Element::U8) => with_unpack!(@ $U = types::U8, $body),
            Packing::Plain(Element::S4) => with_unpack!(@ $U = types::S4, $body),
            Packing::Plain(Element::U4) => with_unpack!(@ $U = types::U4, $body),
            _ => $other,
        }
    }};
    (@ $U:ident = $type:ty, $body:expr) => {{
        type $U = $type;
        $body
    }};
}
pub(super) use with_unpack;

static E4M3: [f32; 256] = table(Packing::Plain(Element::E4m3));
static E5M2: [f32; 256] = table(Packing::Plain(Element::E5m2));
static E2M1_BYTE: [f32; 256] = table(Packing::Byte(Element::E2m1));
static E2M3_BYTE: [f32; 256] = table(Packing::Byte(Element::E2m3));
static E3M2_BYTE: [f32; 256] = table(Packing::Byte(Element::E3m2));

/// The values of all 256 bytes.
const fn table(packing: Packing) -> [f32; 256] {
    let mut values = [0.0; 256];
    let mut byte = 0;
    while byte < 256 {
        let code = byte as u32;
        values[byte] = match packing.element() {
            Element::E5m2 => small_float(code, 5, 2),
            Element::E2m1 => small_float(code >> 2, 2, 1),
            Element::E2m3 => small_float(code, 2, 3),
            Element::E3m2 => small_float(code, 3, 2),
            _ => small_float(code, 4, 3),
        };
        byte += 1;
    }
    values
}

/// Value of a float with a sign, `exponent_bits` and `mantissa_bits`, its bias 2^(exponent_bits - 1) - 1.
/// Only the fp8 types have special codes: e5m2 those of IEEE, e4m3 a NaN in place of the largest code.
const fn small_float(code: u32, exponent_bits: u32, mantissa_bits: u32) -> f32 {
    let exponent = (code >> mantissa_bits) & ((1 << exponent_bits) - 1);
    let mantissa = code & ((1 << mantissa_bits) - 1);
    let sign = (code >> (exponent_bits + mantissa_bits)) & 1;
    let bias = (1 << (exponent_bits - 1)) - 1;
    let magnitude = if exponent_bits == 5 && exponent == 31 {
        if mantissa == 0 { f32::INFINITY } else { f32::from_bits(0x7FFF_FFFF) }
    } else if exponent_bits == 4 && exponent == 15 && mantissa == 7 {
        f32::from_bits(0x7FFF_FFFF)
    } else if exponent == 0 {
        mantissa as f32 * power_of_two(1 - bias - mantissa_bits as i32) as f32
    } else {
        let significand = mantissa + (1 << mantissa_bits);
        significand as f32 * power_of_two(exponent as i32 - bias - mantissa_bits as i32) as f32
    };
    f32::from_bits(magnitude.to_bits() | sign << 31)
}

/// Value of an ue8m0 scale.
pub(super) fn ue8m0(code: u8) -> f64 {
    if code == 0xFF { f64::NAN } else { power_of_two(i32::from(code) - 127) }
}

/// Value of an ue4m3 scale: the sign bit is not read.
pub(super) fn ue4m3(code: u8) -> f64 {
    f64::from(E4M3[usize::from(code & 0x7F)])
}

/// 2^exponent for exponents of normal f64 numbers; beyond them the nearest of these.
pub(super) const fn power_of_two(exponent: i32) -> f64 {
    let clamped = if exponent < -1022 {
        -1022
    } else if exponent > 1023 {
        1023
    } else {
        exponent
    };
    f64::from_bits(((clamped + 1023) as u64) << 52)
}

/// Exponent of a finite number as its type stores it: subnormal numbers have `min_exponent`; zero has none.
pub(super) fn exponent(value: f64, min_exponent: i32) -> Option<i32> {
    if value == 0.0 {
        return None;
    }
    // Everything here is a product or a sum of types far narrower than f64: its f64 form is normal.
    let stored = (value.to_bits() >> 52 & 0x7FF) as i32 - 1023;
    Some(stored.max(min_exponent))
}

/// Exact widening; written without branches so that it vectorises, and without subnormal f32 operands, which are
/// slow on many hosts.
#[inline(always)]
pub(super) fn f16_to_f32(half: u16) -> f32 {
    let half = u32::from(half);
    let (magnitude, exponent) = ((half & 0x7FFF) << 13, half & 0x7C00);
    // Infinities and NaN move up by the difference of the biases once more.
    let rebias = if exponent == 0x7C00 { 2 * (112 << 23) } else { 112 << 23 };
    // A subnormal number is 2^-14 with its mantissa, less 2^-14.
    let smallest = f32::from_bits(113 << 23);
    let subnormal = f32::from_bits(magnitude | 113 << 23) - smallest;
    let bits = if exponent == 0 { subnormal.to_bits() } else { magnitude + rebias };
    f32::from_bits(bits | (half & 0x8000) << 16)
}

/// Rounds once, to nearest even; NaN becomes 0x7FFF.
pub(super) fn f64_to_f16(value: f64) -> u16 {
    if value.is_nan() {
        return 0x7FFF;
    }
    let bits = value.to_bits();
    let sign = (bits >> 48) as u16 & 0x8000;
    let magnitude = value.abs();
    if magnitude >= 65520.0 {
        return sign | 0x7C00;
    }
    if magnitude < power_of_two(-14) {
        // Adding 2^52 rounds to an integer, to nearest even, in units of the smallest subnormal number.
        let units = magnitude * power_of_two(24) + power_of_two(52);
        return sign | (units - power_of_two(52)) as u16;
    }
    let bits = magnitude.to_bits();
    let rounded = (bits + ((1 << 41) - 1) + (bits >> 42 & 1)) >> 42;
    sign | (rounded - ((1023 - 15) << 10)) as u16
}

/// Rounds once, to nearest even; NaN becomes 0x7FFFFFFF.
#[inline(always)]
pub(super) fn f64_to_f32(value: f64) -> u32 {
    let rounded = value as f32;
    if rounded.is_nan() { 0x7FFF_FFFF } else { rounded.to_bits() }
}

/// Rounds once, toward zero, except that 2^128 and more become infinite; NaN becomes 0x7FFFFFFF.
pub(super) fn f64_to_f32_toward_zero(value: f64) -> u32 {
    if value.is_nan() {
        return 0x7FFF_FFFF;
    }
    let nearest = value as f32;
    if value.abs() < power_of_two(128) && f64::from(nearest).abs() > value.abs() {
        // The bits of a float of either sign, less one, are its neighbour toward zero.
        nearest.to_bits() - 1
    } else {
        nearest.to_bits()
    }
}

/// Rounds to the nearest tf32, ties to even: what a tensor copy of a tf32 element type does.
pub(super) fn round_to_tf32(bits: u32) -> u32 {
    if f32::from_bits(bits).is_nan() {
        return 0x7FFF_FFFF & 0xFFFF_E000;
    }
    bits.wrapping_add(0xFFF + (bits >> 13 & 1)) & 0xFFFF_E000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Value by the definition, in f64, from the three fields.
    fn defined(code: u32, exponent_bits: i32, mantissa_bits: i32) -> f64 {
        let mantissa = f64::from(code % (1 << mantissa_bits)) / f64::from(1 << mantissa_bits);
        let exponent = (code >> mantissa_bits) as i32 % (1 << exponent_bits);
        let bias = (1 << (exponent_bits - 1)) - 1;
        let sign = if code >> (exponent_bits + mantissa_bits) & 1 == 1 { -1.0 } else { 1.0 };
        let magnitude = if exponent == 0 {
            mantissa * 2f64.powi(1 - bias)
        } else {
            (1.0 + mantissa) * 2f64.powi(exponent - bias)
        };
        sign * magnitude
    }

    #[test]
    fn every_byte_decodes_to_its_definition() {
        for byte in 0..256u32 {
            let e4m3 = E4m3::part(byte << 8, 1);
            if byte & 0x7F == 0x7F {
                assert!(e4m3.is_nan());
            } else {
                assert_eq!(f64::from(e4m3), defined(byte, 4, 3), "{byte:#x}");
            }
            let e5m2 = E5m2::part(byte << 24, 3);
            match byte & 0x7F {
                0x7C => assert!(e5m2.is_infinite() && (e5m2 < 0.0) == (byte > 0x80)),
                0x7D..=0x7F => assert!(e5m2.is_nan()),
                _ => assert_eq!(f64::from(e5m2), defined(byte, 5, 2), "{byte:#x}"),
            }
            assert_eq!(f64::from(E2m3Byte::part(byte, 0)), defined(byte & 63, 2, 3));
            assert_eq!(f64::from(E3m2Byte::part(byte, 0)), defined(byte & 63, 3, 2));
            assert_eq!(f64::from(E2m1Byte::part(byte, 0)), defined(byte >> 2 & 15, 2, 1));
            assert_eq!(S8::part(byte << 16, 2), f32::from(byte as u8 as i8));
        }
        assert_eq!(
            (0..8).map(|c| E2m1Nibble::part(c << 20, 5)).collect::<Vec<_>>(),
            [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
        );
        assert_eq!(S4::part(0x8000_0000, 7), -8.0);
        assert_eq!(U4::part(0x8000_0000, 7), 8.0);
    }

    #[test]
    fn every_half_survives_the_way_there_and_back() {
        for half in 0..=u16::MAX {
            let value = f16_to_f32(half);
            if half & 0x7FFF > 0x7C00 {
                assert!(value.is_nan());
            } else if half & 0x7FFF == 0x7C00 {
                assert!(value.is_infinite());
            } else {
                assert_eq!(f64::from(value), defined(u32::from(half), 5, 10), "{half:#x}");
                assert_eq!(f64_to_f16(f64::from(value)), half);
            }
        }
    }

    #[test]
    fn halves_round_to_the_nearest_and_ties_to_even() {
        for half in 0..0x7BFFu16 {
            let low = f64::from(f16_to_f32(half));
            let high = f64::from(f16_to_f32(half + 1));
            let middle = (low + high) / 2.0;
            assert_eq!(f64_to_f16(middle), half + half % 2, "tie above {half:#x}");
            assert_eq!(f64_to_f16(middle * (1.0 - 1e-12)), half);
            assert_eq!(f64_to_f16(-middle * (1.0 + 1e-12)), 0x8000 | (half + 1));
        }
        assert_eq!(f64_to_f16(65519.999), 0x7BFF);
        assert_eq!(f64_to_f16(65520.0), 0x7C00);
    }

    #[test]
    fn truncation_never_grows_a_number() {
        let above_one = 1.0 + 2f64.powi(-23) * 0.999;
        assert_eq!(f64_to_f32_toward_zero(above_one), 1f32.to_bits());
        assert_eq!(f64_to_f32_toward_zero(-above_one), (-1f32).to_bits());
        assert_eq!(f64_to_f32_toward_zero(2f64.powi(128) * 0.999_999_999_9), f32::MAX.to_bits());
        assert_eq!(f64_to_f32_toward_zero(2f64.powi(128)), f32::INFINITY.to_bits());
        assert_eq!(f64_to_f32_toward_zero(2f64.powi(-149) * 1.9), 1);
    }

    #[test]
    fn scales_follow_their_types() {
        assert_eq!(ue8m0(127), 1.0);
        assert_eq!(ue8m0(0), 2f64.powi(-127));
        assert!(ue8m0(255).is_nan());
        assert_eq!(ue4m3(0xB8), 1.0);
        assert_eq!(round_to_tf32(0x3F80_1000), 0x3F80_0000);
        assert_eq!(round_to_tf32(0x3F80_3000), 0x3F80_4000);
    }
}

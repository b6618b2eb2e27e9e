//! Scalar conversions: the narrow formats exhaustively against nearest-code tables, integers against wider ones.

use super::Stream;
use super::model::{self, BF16, F16, F32, F64, Layout, ROUNDINGS};
use crate::num::cvt::{Conversion, Options, Type, convert, fast};
use crate::num::{IntRounding, Rounding};

/// A narrow format by brute force: the value of every code, from the published field widths and bias.
struct Narrow {
    kind: Type,
    mantissa_bits: u32,
    bias: i32,
    /// The codes of the finite magnitudes are 0..=largest.
    largest: u64,
    sign: u64,
    /// What NaN becomes.
    nan: u64,
    max: f64,
    smallest: f64,
}

const NARROW: [Narrow; 5] = [
    Narrow {
        kind: Type::E4m3,
        mantissa_bits: 3,
        bias: 7,
        largest: 0x7E,
        sign: 0x80,
        nan: 0x7F,
        max: 448.0,
        smallest: 1.0 / 512.0,
    },
    Narrow {
        kind: Type::E5m2,
        mantissa_bits: 2,
        bias: 15,
        largest: 0x7B,
        sign: 0x80,
        nan: 0x7F,
        max: 57344.0,
        smallest: 1.0 / 65536.0,
    },
    Narrow {
        kind: Type::E2m1,
        mantissa_bits: 1,
        bias: 1,
        largest: 0x7,
        sign: 0x8,
        nan: 0x7,
        max: 6.0,
        smallest: 0.5,
    },
    Narrow {
        kind: Type::E2m3,
        mantissa_bits: 3,
        bias: 1,
        largest: 0x1F,
        sign: 0x20,
        nan: 0x1F,
        max: 7.5,
        smallest: 0.125,
    },
    Narrow {
        kind: Type::E3m2,
        mantissa_bits: 2,
        bias: 3,
        largest: 0x1F,
        sign: 0x20,
        nan: 0x1F,
        max: 28.0,
        smallest: 1.0 / 16.0,
    },
];

impl Narrow {
    fn value(&self, code: u64) -> f64 {
        let field = (code >> self.mantissa_bits) as i32;
        let fraction = (code & ((1 << self.mantissa_bits) - 1)) as f64 / f64::from(1 << self.mantissa_bits);
        if field == 0 {
            fraction * 2f64.powi(1 - self.bias)
        } else {
            (1.0 + fraction) * 2f64.powi(field - self.bias)
        }
    }

    fn table(&self) -> Vec<f64> {
        (0..=self.largest).map(|code| self.value(code)).collect()
    }

    /// The nearest code, ties to the even one, saturating.
    fn nearest(&self, table: &[f64], x: f64) -> u64 {
        if x.is_nan() {
            return self.nan;
        }
        let size = x.abs();
        let sign = if x.is_sign_negative() { self.sign } else { 0 };
        let above = table.partition_point(|&v| v < size);
        let code = match above {
            0 => 0,
            _ if above == table.len() => self.largest as usize,
            _ => {
                let (down, up) = (size - table[above - 1], table[above] - size);
                let even = above - (above & 1);
                if down < up {
                    above - 1
                } else if up < down {
                    above
                } else {
                    even
                }
            }
        };
        sign | code as u64
    }
}

fn value_of(layout: Layout, bits: u64) -> f64 {
    if layout.is_nan(bits) {
        return f64::NAN;
    }
    let (significand, exponent) = layout.parts(bits);
    let size = if layout.is_finite(bits) { significand as f64 * 2f64.powi(exponent) } else { f64::INFINITY };
    if layout.is_negative(bits) { -size } else { size }
}

#[test]
fn every_16_bit_float_goes_to_the_nearest_code_of_every_narrow_type() {
    for narrow in &NARROW {
        let table = narrow.table();
        assert_eq!((table[1], table[narrow.largest as usize]), (narrow.smallest, narrow.max));
        for (from, layout) in [(Type::F16, F16), (Type::Bf16, BF16)] {
            let conversion = Conversion::new(from, narrow.kind, Options::default());
            let relu = Conversion::new(from, narrow.kind, Options { relu: true, ..Options::default() });
            for bits in 0..=0xFFFFu64 {
                let x = value_of(layout, bits);
                let want = narrow.nearest(&table, x);
                assert_eq!(conversion.apply(bits), want, "{bits:x} = {x} to {:?}", narrow.kind);
                let want = if x.is_nan() {
                    narrow.nan
                } else if x.is_sign_negative() {
                    0
                } else {
                    want
                };
                assert_eq!(relu.apply(bits), want);
            }
        }
    }
}

#[test]
fn f32_goes_to_the_nearest_narrow_code_also_beside_the_midpoints() {
    let mut stream = Stream(41);
    for narrow in &NARROW {
        let table = narrow.table();
        let conversion = Conversion::new(Type::F32, narrow.kind, Options::default());
        let check = |x: f32| {
            assert_eq!(
                conversion.apply(x.to_bits().into()),
                narrow.nearest(&table, x.into()),
                "{x:e} to {:?}",
                narrow.kind
            );
        };
        for pair in table.windows(2) {
            let middle = ((pair[0] + pair[1]) / 2.0) as f32;
            for x in [middle, middle.next_up(), middle.next_down(), pair[1] as f32] {
                check(x);
                check(-x);
            }
        }
        for _ in 0..20_000 {
            check(f32::from_bits(stream.float(8, 23) as u32));
        }
        for x in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN, 1e30, -0.0] {
            check(x);
        }
    }
}

#[test]
fn every_narrow_code_widens_to_its_value() {
    for narrow in &NARROW {
        for code in 0..(2 * narrow.sign) {
            let size = code & (narrow.sign - 1);
            let value = match (narrow.kind, size) {
                (Type::E5m2, 0x7C) => f64::INFINITY,
                _ if size > narrow.largest => f64::NAN,
                _ => narrow.value(size),
            };
            let value = if code & narrow.sign != 0 { -value } else { value };
            for (to, layout, nan) in
                [(Type::F16, F16, 0x7FFF), (Type::Bf16, BF16, 0x7FFF), (Type::F32, F32, 0x7FFF_FFFF)]
            {
                let got = convert(narrow.kind, to, Options::default(), code);
                if value.is_nan() {
                    assert_eq!(got, nan);
                } else {
                    assert_eq!(
                        value_of(layout, got).to_bits(),
                        value.to_bits(),
                        "{:?} {code:x}",
                        narrow.kind
                    );
                }
            }
            if narrow.kind == Type::E5m2 && !value.is_nan() {
                assert_eq!(convert(Type::E5m2, Type::F16, Options::default(), code), code << 8);
            }
        }
    }
}

#[test]
fn floats_round_to_16_bits_and_tf32_in_every_direction() {
    let mut stream = Stream(42);
    let tf32 = Layout { exponent_bits: 8, mantissa_bits: 10 };
    for _ in 0..6_000 {
        let bits = stream.float(8, 23);
        if !F32.is_finite(bits) {
            continue;
        }
        let exact = (F32.is_negative(bits), F32.value(bits));
        for rounding in ROUNDINGS {
            for (to, layout, shift) in [(Type::F16, F16, 0), (Type::Bf16, BF16, 0), (Type::Tf32, tf32, 13)] {
                let want = layout.sum(exact, (exact.0, model::Fixed::new(0, 0)), rounding);
                let options = Options { rounding, ..Options::default() };
                assert_eq!(
                    convert(Type::F32, to, options, bits),
                    want << shift,
                    "{bits:x} to {to:?} {rounding:?}"
                );
                let finite = if layout.is_finite(want) { want } else { want - 1 };
                let options = Options { satfinite: true, ..options };
                assert_eq!(
                    convert(Type::F32, to, options, bits),
                    finite << shift,
                    "{bits:x} to {to:?} {rounding:?}"
                );
            }
        }
    }
    for (to, nan) in [(Type::F16, 0x7FFF), (Type::Bf16, 0x7FFF), (Type::Tf32, 0x7FFF_FFFF)] {
        for satfinite in [false, true] {
            let options = Options { satfinite, rounding: Rounding::Zero, ..Options::default() };
            assert_eq!(convert(Type::F32, to, options, 0xFFC0_0000), nan);
        }
    }
}

#[test]
fn f64_goes_to_narrower_floats_with_one_rounding() {
    let mut stream = Stream(43);
    for _ in 0..4_000 {
        // Close to the midpoint of two f32 or two f16, where rounding twice is wrong.
        let base = stream.next() & 0x8000_0000_0000_0000 | (1023 - 20 + stream.below(40)) << 52;
        let cut = if stream.below(2) == 0 { 28 } else { 41 };
        let nudge = stream.below(3).wrapping_sub(1);
        let bits = (base | (stream.next() >> 12 >> cut | 1) << cut).wrapping_add(nudge);
        let exact = (F64.is_negative(bits), F64.value(bits));
        for rounding in ROUNDINGS {
            for (to, layout) in [(Type::F32, F32), (Type::F16, F16), (Type::Bf16, BF16)] {
                let want = layout.sum(exact, (exact.0, model::Fixed::new(0, 0)), rounding);
                let options = Options { rounding, ..Options::default() };
                assert_eq!(convert(Type::F64, to, options, bits), want, "{bits:x} to {to:?} {rounding:?}");
            }
        }
    }
    assert_eq!(convert(Type::F32, Type::F64, Options::default(), 1), 2f64.powi(-149).to_bits());
}

/// The integer nearest in a direction, by the host.
fn integral(x: f64, rounding: IntRounding) -> f64 {
    match rounding {
        IntRounding::Nearest => x.round_ties_even(),
        IntRounding::Zero => x.trunc(),
        IntRounding::Down => x.floor(),
        IntRounding::Up => x.ceil(),
    }
}

const INT_ROUNDINGS: [IntRounding; 4] =
    [IntRounding::Nearest, IntRounding::Zero, IntRounding::Down, IntRounding::Up];

fn saturated(x: f64, to: Type) -> u64 {
    match to {
        Type::U8 => u64::from(x as u8),
        Type::S8 => u64::from(x as i8 as u8),
        Type::U16 => u64::from(x as u16),
        Type::S16 => u64::from(x as i16 as u16),
        Type::U32 => u64::from(x as u32),
        Type::S32 => u64::from(x as i32 as u32),
        Type::U64 => x as u64,
        _ => x as i64 as u64,
    }
}

const INTEGERS: [Type; 8] =
    [Type::U8, Type::S8, Type::U16, Type::S16, Type::U32, Type::S32, Type::U64, Type::S64];

#[test]
fn floats_go_to_integers_rounded_and_clamped() {
    let mut stream = Stream(44);
    let mut values: Vec<f64> =
        vec![3e9, -1.0, -0.5, 0.5, 1.5, 2.5, -2.5, 2f64.powi(63), -2f64.powi(63), 2f64.powi(64), 1e300];
    values.extend([
        255.5,
        127.5,
        -128.5,
        65535.5,
        2147483647.5,
        f64::INFINITY,
        f64::NEG_INFINITY,
        1e-300,
        -1e-300,
    ]);
    values.extend((0..5_000).map(|_| f64::from_bits(stream.float(11, 52))));
    values.extend((0..5_000).map(|_| (stream.next() as i64 >> stream.below(64)) as f64 / 4.0));
    for x in values {
        for rounding in INT_ROUNDINGS {
            let options = Options { to_integer: Some(rounding), ..Options::default() };
            for to in INTEGERS {
                if !x.is_nan() {
                    let want = saturated(integral(x, rounding), to);
                    assert_eq!(
                        convert(Type::F64, to, options, x.to_bits()),
                        want,
                        "{x:e} {rounding:?} to {to:?}"
                    );
                }
                let y = x as f32;
                if !y.is_nan() {
                    let want = saturated(integral(y.into(), rounding), to);
                    assert_eq!(
                        convert(Type::F32, to, options, y.to_bits().into()),
                        want,
                        "{y:e} {rounding:?} to {to:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn nan_goes_to_zero_or_with_64_bits_to_the_top_bit() {
    let options = Options { to_integer: Some(IntRounding::Zero), ..Options::default() };
    for to in INTEGERS {
        let top = 1 << (to.width() - 1);
        for (from, nan) in [(Type::F16, 0xFE00), (Type::Bf16, 0x7FC0), (Type::F32, 0xFFC0_0000)] {
            assert_eq!(convert(from, to, options, nan), if to.width() == 64 { top } else { 0 });
        }
        assert_eq!(convert(Type::F64, to, options, f64::NAN.to_bits()), top);
    }
}

#[test]
fn every_f16_goes_to_integers_as_the_host_says() {
    for bits in 0..=0xFFFFu64 {
        let x = value_of(F16, bits);
        if x.is_nan() {
            continue;
        }
        for rounding in INT_ROUNDINGS {
            let options = Options { to_integer: Some(rounding), ..Options::default() };
            for to in [Type::U8, Type::S16, Type::U32, Type::S64] {
                assert_eq!(
                    convert(Type::F16, to, options, bits),
                    saturated(integral(x, rounding), to),
                    "{x}"
                );
            }
            assert_eq!(
                value_of(F16, convert(Type::F16, Type::F16, options, bits)).to_bits(),
                integral(x, rounding).to_bits()
            );
        }
    }
}

#[test]
fn floats_round_to_integral_floats() {
    let mut stream = Stream(45);
    for _ in 0..15_000 {
        let bits = stream.float(8, 23);
        let x = f32::from_bits(bits as u32);
        let wide = f64::from_bits(stream.float(11, 52));
        for rounding in INT_ROUNDINGS {
            let options = Options { to_integer: Some(rounding), ..Options::default() };
            let got = convert(Type::F32, Type::F32, options, bits);
            let want = integral(x.into(), rounding) as f32;
            assert_eq!(
                got,
                if x.is_nan() { 0x7FFF_FFFF } else { want.to_bits().into() },
                "{x:e} {rounding:?}"
            );
            let saturating = Options { sat: true, ..options };
            let clamped = if want > 0.0 { want.min(1.0) } else { 0.0 };
            assert_eq!(
                convert(Type::F32, Type::F32, saturating, bits),
                u64::from(clamped.to_bits()),
                "{x:e} {rounding:?}"
            );
            let got = convert(Type::F64, Type::F64, options, wide.to_bits());
            assert!(wide.is_nan() || got == integral(wide, rounding).to_bits(), "{wide:e} {rounding:?}");
        }
    }
}

fn integer_value(from: Type, bits: u64) -> i128 {
    let unused = 64 - from.width();
    let top = bits << unused;
    if from.is_signed() { i128::from(top as i64 >> unused) } else { i128::from(top >> unused) }
}

#[test]
fn integers_extend_truncate_and_saturate() {
    let mut stream = Stream(46);
    for from in INTEGERS {
        for to in INTEGERS {
            for _ in 0..300 {
                let bits = stream.next() >> stream.below(64);
                let value = integer_value(from, bits);
                let plain = convert(from, to, Options::default(), bits);
                assert_eq!(plain, value as u64 & to.mask(), "{from:?} to {to:?} {bits:x}");
                let (low, high) = match to.is_signed() {
                    true => (-(1i128 << (to.width() - 1)), (1i128 << (to.width() - 1)) - 1),
                    false => (0, (1i128 << to.width()) - 1),
                };
                let saturated = convert(from, to, Options { sat: true, ..Options::default() }, bits);
                assert_eq!(
                    saturated,
                    value.clamp(low, high) as u64 & to.mask(),
                    "{from:?} to {to:?} {bits:x}"
                );
            }
        }
    }
    assert_eq!(Type::S8.extend(0x1FE), u64::MAX - 1);
    assert_eq!(Type::U16.extend(0x1_8000), 0x8000);
}

#[test]
fn integers_round_to_floats_once_in_every_direction() {
    let mut stream = Stream(47);
    for _ in 0..800 {
        let bits = (stream.next() >> stream.below(64)) ^ (stream.next() & 3);
        for from in [Type::U64, Type::S64, Type::U32, Type::S32, Type::S16, Type::U8] {
            let value = integer_value(from, bits);
            if value == 0 {
                assert_eq!(convert(from, Type::F32, Options::default(), bits), 0);
                continue;
            }
            let exact = model::Fixed::signed(value < 0, value.unsigned_abs(), 0);
            for rounding in ROUNDINGS {
                for (to, layout) in [(Type::F16, F16), (Type::Bf16, BF16), (Type::F32, F32), (Type::F64, F64)]
                {
                    let options = Options { rounding, ..Options::default() };
                    let want = layout.round(exact, rounding);
                    assert_eq!(convert(from, to, options, bits), want, "{value} to {to:?} {rounding:?}");
                }
            }
        }
    }
}

#[test]
fn fast_functions_agree_with_the_host() {
    let mut stream = Stream(48);
    for _ in 0..50_000 {
        let a = stream.float(8, 23) as u32;
        let x = f32::from_bits(a);
        let host = |y: f32| if y.is_nan() { 0x7FFF_FFFF } else { y.to_bits() };
        assert_eq!(fast::integral_nearest(a), host(x.round_ties_even()));
        assert_eq!(fast::integral_down(a), host(x.floor()));
        assert_eq!(fast::integral_up(a), host(x.ceil()));
        assert_eq!(fast::integral_zero(a), host(x.trunc()));
        assert_eq!(fast::s32_from_f32_nearest(a), x.round_ties_even() as i32 as u32);
        assert_eq!(fast::s32_from_f32_down(a), x.floor() as i32 as u32);
        assert_eq!(fast::s32_from_f32_up(a), x.ceil() as i32 as u32);
        assert_eq!(fast::f32_from_s32(a), (a as i32 as f32).to_bits());
        assert_eq!(fast::u32_from_f32_zero(a), x as u32);
    }
}

#[test]
fn ftz_flushes_f32_on_either_side() {
    let ftz = Options { ftz: true, ..Options::default() };
    assert_eq!(convert(Type::F32, Type::F64, ftz, 0x8040_0000), 0x8000_0000_0000_0000);
    assert_eq!(convert(Type::F64, Type::F32, ftz, 1e-40f64.to_bits()), 0);
    assert_eq!(convert(Type::F32, Type::F32, ftz, 1), 0);
    // f16 subnormals are f32 normals.
    assert_eq!(convert(Type::F16, Type::F32, ftz, 1), u64::from(2f32.powi(-24).to_bits()));
    let up = Options { to_integer: Some(IntRounding::Up), ..Options::default() };
    assert_eq!(convert(Type::F32, Type::S32, up, 1), 1);
    assert_eq!(convert(Type::F32, Type::S32, Options { ftz: true, ..up }, 1), 0);
}

#[test]
fn saturation_clamps_floats_to_the_unit_interval() {
    let sat = Options { sat: true, ..Options::default() };
    let f32s = |x: f32| convert(Type::F32, Type::F32, sat, x.to_bits().into());
    assert_eq!(
        [f32s(f32::NAN), f32s(-2.0), f32s(-0.0), f32s(0.5), f32s(2.0)],
        [0, 0, 0, 0x3F00_0000, 0x3F80_0000]
    );
    assert_eq!(convert(Type::F32, Type::F16, sat, 7.0f32.to_bits().into()), 0x3C00);
    assert_eq!(convert(Type::S32, Type::F64, sat, 7), 1.0f64.to_bits());
    let relu = Options { relu: true, ..Options::default() };
    assert_eq!(convert(Type::F32, Type::Bf16, relu, (-0.0f32).to_bits().into()), 0);
    assert_eq!(convert(Type::F32, Type::Bf16, relu, f32::NEG_INFINITY.to_bits().into()), 0);
    assert_eq!(convert(Type::F32, Type::Tf32, relu, f32::NAN.to_bits().into()), 0x7FFF_FFFF);
}

#[test]
fn ue8m0_takes_the_exponent() {
    let rz = |satfinite| Options { rounding: Rounding::Zero, satfinite, ..Options::default() };
    let rp = |satfinite| Options { rounding: Rounding::Up, satfinite, ..Options::default() };
    let mut stream = Stream(49);
    for _ in 0..50_000 {
        let bits = stream.float(8, 23);
        let size = bits & 0x7FFF_FFFF;
        let field = size >> 23;
        if field == 255 {
            continue;
        }
        assert_eq!(convert(Type::F32, Type::Ue8m0, rz(false), bits), field, "{bits:x}");
        let more = u64::from(size & 0x7F_FFFF != 0 && size > 0x0040_0000);
        assert_eq!(convert(Type::F32, Type::Ue8m0, rp(false), bits), field + more, "{bits:x}");
        assert_eq!(convert(Type::F32, Type::Ue8m0, rp(true), bits), (field + more).min(0xFE), "{bits:x}");
    }
    for (bits, plain, finite) in
        [(0x7F80_0000, 0xFF, 0xFE), (0xFF80_0000, 0xFF, 0xFE), (0x7FC0_0000, 0xFF, 0xFF)]
    {
        for options in [rz, rp] {
            assert_eq!(convert(Type::F32, Type::Ue8m0, options(false), bits), plain);
            assert_eq!(convert(Type::F32, Type::Ue8m0, options(true), bits), finite);
        }
    }
    for code in 0..255u64 {
        let value = value_of(BF16, convert(Type::Ue8m0, Type::Bf16, Options::default(), code));
        assert_eq!(value, 2f64.powi(code as i32 - 127));
        assert_eq!(
            convert(Type::Bf16, Type::Ue8m0, rz(false), convert(Type::Ue8m0, Type::Bf16, rz(false), code)),
            code
        );
    }
    assert_eq!(convert(Type::Ue8m0, Type::Bf16, Options::default(), 0xFF), 0x7FFF);
}

#[test]
fn s2f6_counts_sixty_fourths() {
    for code in 0..256u64 {
        let value = f64::from(code as u8 as i8) / 64.0;
        assert_eq!(value_of(F32, convert(Type::S2f6, Type::F32, Options::default(), code)), value);
        let bits = u64::from((value as f32).to_bits());
        assert_eq!(convert(Type::F32, Type::S2f6, Options::default(), bits), code);
    }
    let to = |x: f32| convert(Type::F32, Type::S2f6, Options::default(), x.to_bits().into());
    assert_eq!(
        [to(9.0), to(-9.0), to(1.5 / 64.0), to(2.5 / 64.0), to(f32::INFINITY)],
        [0x7F, 0x80, 2, 2, 0x7F]
    );
}

#[test]
fn any_pair_of_types_and_any_bits_convert_without_panic() {
    let mut stream = Stream(50);
    for from in Type::ALL {
        for to in Type::ALL {
            for rounding in ROUNDINGS {
                for to_integer in [None, Some(IntRounding::Up)] {
                    let flags = stream.next();
                    let options = Options {
                        rounding,
                        to_integer,
                        ftz: flags & 1 != 0,
                        sat: flags & 2 != 0,
                        satfinite: flags & 4 != 0,
                        relu: flags & 8 != 0,
                    };
                    for bits in [0, 1, u64::MAX, 1 << 63, stream.next(), stream.next()] {
                        assert_eq!(convert(from, to, options, bits) & !to.mask(), 0);
                    }
                }
            }
        }
    }
}

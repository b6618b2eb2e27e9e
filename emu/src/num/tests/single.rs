//! f32 and f64: all directions against the model, the host's operations, and the modifiers.

use super::Stream;
use super::model::{self, F32, F64, Layout, ROUNDINGS};
use crate::num::format::Format;
use crate::num::{Mode, Rounding, exact, f32 as single, f64 as double, mixed, packed};

fn directed(rounding: Rounding) -> Mode {
    Mode { rounding, ..Mode::default() }
}

fn finite_operands(stream: &mut Stream, layout: Layout) -> [u64; 3] {
    loop {
        let all = [(); 3].map(|()| stream.float(layout.exponent_bits, layout.mantissa_bits));
        if all.iter().all(|&a| layout.is_finite(a)) {
            return all;
        }
    }
}

#[test]
fn f32_sums_and_products_are_rounded_once_in_every_direction() {
    let mut stream = Stream(1);
    for _ in 0..3_000 {
        let [a, b, c] = finite_operands(&mut stream, F32);
        let (x, y, z) = (a as u32, b as u32, c as u32);
        for rounding in ROUNDINGS {
            let mode = directed(rounding);
            assert_eq!(
                u64::from(single::add_mode(x, y, mode)),
                F32.add(a, b, rounding),
                "{x:x} + {y:x} {rounding:?}"
            );
            assert_eq!(u64::from(single::sub_mode(x, y, mode)), F32.add(a, b ^ F32.sign(), rounding));
            assert_eq!(
                u64::from(single::mul_mode(x, y, mode)),
                F32.mul(a, b, rounding),
                "{x:x} * {y:x} {rounding:?}"
            );
            let fma = u64::from(single::fma_mode(x, y, z, mode));
            assert_eq!(fma, F32.fma(a, b, c, rounding), "{x:x} * {y:x} + {z:x} {rounding:?}");
        }
    }
}

#[test]
fn f32_fma_is_exact_where_the_addend_almost_cancels_the_product() {
    let mut stream = Stream(2);
    for _ in 0..10_000 {
        let (a, b) = (stream.float(8, 23), stream.float(8, 23));
        if !F32.is_finite(a) || !F32.is_finite(b) {
            continue;
        }
        let near = single::mul(a as u32, b as u32) ^ 0x8000_0000;
        let c = near.wrapping_add(stream.below(5) as u32).wrapping_sub(2);
        if F32.is_finite(u64::from(c)) {
            let want = F32.fma(a, b, u64::from(c), Rounding::Nearest);
            assert_eq!(u64::from(single::fma(a as u32, b as u32, c)), want, "{a:x} {b:x} {c:x}");
        }
    }
}

#[test]
fn f32_fma_agrees_with_the_hosts_on_any_bits() {
    let mut stream = Stream(3);
    for _ in 0..300_000 {
        let [a, b, c] = [(); 3].map(|()| stream.float(8, 23) as u32);
        let host = f32::from_bits(a).mul_add(f32::from_bits(b), f32::from_bits(c));
        assert_eq!(
            single::fma(a, b, c),
            if host.is_nan() { single::NAN } else { host.to_bits() },
            "{a:x} {b:x} {c:x}"
        );
    }
}

#[test]
fn fma_on_a_warp_equals_fma_on_each_lane() {
    let mut stream = Stream(8);
    for round in 0..4_000 {
        // Short significands of like size sit on midpoints often; one bad lane among 31 easy ones, too.
        let easy = |stream: &mut Stream| (stream.next() as u32 & 0x807F_FFFF) | 0x3F80_0000;
        let hard = |stream: &mut Stream| stream.float(8, 23) as u32;
        let mut warp = || -> [u32; 32] {
            std::array::from_fn(|lane| {
                if round % 2 == 0 || lane == 7 { hard(&mut stream) } else { easy(&mut stream) }
            })
        };
        let (a, b, c) = (warp(), warp(), warp());
        let mut d = [0; 32];
        single::fma_lanes(&a, &b, &c, &mut d);
        for lane in 0..32 {
            assert_eq!(
                d[lane],
                single::fma(a[lane], b[lane], c[lane]),
                "{:x} {:x} {:x}",
                a[lane],
                b[lane],
                c[lane]
            );
        }
    }
    // The square of 1 + 2^-12 is a midpoint; the tail that moves it off is cut off in f64.
    let (one, tail) = (single::ONE, 2f32.powi(-60).to_bits());
    let x = (1.0 + 2f32.powi(-12)).to_bits();
    let mut d = [0; 32];
    single::fma_lanes(&[x; 32], &[x; 32], &[tail; 32], &mut d);
    assert_eq!(d, [(1.0 + 2f32.powi(-11)).to_bits() + 1; 32]);
    single::fma_lanes(&[x; 32], &[x; 32], &[0; 32], &mut d);
    assert_eq!(d, [(1.0 + 2f32.powi(-11)).to_bits(); 32]);
    single::fma_lanes(&[one; 32], &[2f32.powi(-24).to_bits(); 32], &[one; 32], &mut d);
    assert_eq!(d[31], one);
}

#[test]
fn f32_quotients_and_roots_are_rounded_once_in_every_direction() {
    let mut stream = Stream(4);
    for _ in 0..2_000 {
        let [a, b, _] = finite_operands(&mut stream, F32);
        for rounding in ROUNDINGS {
            let mode = directed(rounding);
            if a << 33 != 0 && b << 33 != 0 {
                let got = u64::from(single::div_mode(a as u32, b as u32, mode));
                assert_eq!(got, F32.div(a, b, rounding), "{a:x} / {b:x} {rounding:?}");
            }
            let positive = a & 0x7FFF_FFFF;
            if positive != 0 {
                assert_eq!(u64::from(single::sqrt_mode(positive as u32, mode)), F32.sqrt(positive, rounding));
                assert_eq!(u64::from(single::rcp_mode(a as u32, mode)), F32.div(0x3F80_0000, a, rounding));
            }
        }
    }
}

/// f64 operands within 2^+-150, which the model holds.
fn moderate(stream: &mut Stream) -> u64 {
    let any = stream.next();
    let field = match stream.below(3) {
        0 => 1023 - 150 + stream.below(300),
        _ => 1023 - 30 + stream.below(60),
    };
    let mantissa = if stream.below(2) == 0 { any & ((1 << 52) - 1) } else { any & 7 };
    any & F64.sign() | field << 52 | mantissa
}

#[test]
fn f64_is_rounded_once_in_every_direction() {
    let mut stream = Stream(5);
    for _ in 0..1_500 {
        let [a, b, c] = [(); 3].map(|()| moderate(&mut stream));
        for rounding in ROUNDINGS {
            let mode = directed(rounding);
            assert_eq!(double::add_mode(a, b, mode), F64.add(a, b, rounding), "{a:x} + {b:x} {rounding:?}");
            assert_eq!(double::sub_mode(a, b, mode), F64.add(a, b ^ F64.sign(), rounding));
            assert_eq!(double::mul_mode(a, b, mode), F64.mul(a, b, rounding), "{a:x} * {b:x} {rounding:?}");
            assert_eq!(
                double::fma_mode(a, b, c, mode),
                F64.fma(a, b, c, rounding),
                "{a:x} {b:x} {c:x} {rounding:?}"
            );
            assert_eq!(double::div_mode(a, b, mode), F64.div(a, b, rounding), "{a:x} / {b:x} {rounding:?}");
            let positive = a & !F64.sign();
            assert_eq!(double::sqrt_mode(positive, mode), F64.sqrt(positive, rounding), "{a:x} {rounding:?}");
        }
    }
}

#[test]
fn the_exact_core_rounds_to_nearest_as_the_host_does() {
    let mut stream = Stream(6);
    let bits = |x: f64| if x.is_nan() { Format::F64.nan } else { x.to_bits() };
    for _ in 0..30_000 {
        let [a, b, c] = [(); 3].map(|()| stream.float(11, 52));
        let (x, y, z) = (f64::from_bits(a), f64::from_bits(b), f64::from_bits(c));
        let nearest = Rounding::Nearest;
        assert_eq!(exact::add(&Format::F64, a, b, nearest), bits(x + y), "{x:e} + {y:e}");
        assert_eq!(exact::mul(&Format::F64, a, b, nearest), bits(x * y), "{x:e} * {y:e}");
        assert_eq!(exact::div(&Format::F64, a, b, nearest), bits(x / y), "{x:e} / {y:e}");
        assert_eq!(exact::sqrt(&Format::F64, a, nearest), bits(x.sqrt()), "{x:e}");
        assert_eq!(
            exact::fma(&Format::F64, a, b, c, nearest),
            bits(x.mul_add(y, z)),
            "{x:e} * {y:e} + {z:e}"
        );
    }
}

#[test]
fn f32_infinities_and_nan_follow_ieee_in_every_direction() {
    let specials =
        [0, 0x8000_0000, 0x3F80_0000, 0xBF80_0000, 0x7F80_0000, 0xFF80_0000, 0x7FC0_0001, 0xFF81_2345u32];
    let canonical = |x: f32| if x.is_nan() { single::NAN } else { x.to_bits() };
    for a in specials {
        for b in specials {
            let (x, y) = (f32::from_bits(a), f32::from_bits(b));
            for rounding in ROUNDINGS {
                let mode = directed(rounding);
                if x + y != 0.0 {
                    assert_eq!(single::add_mode(a, b, mode), canonical(x + y), "{x} + {y}");
                }
                assert_eq!(single::mul_mode(a, b, mode), canonical(x * y), "{x} * {y}");
                assert_eq!(single::div_mode(a, b, mode), canonical(x / y), "{x} / {y}");
            }
        }
        for rounding in ROUNDINGS {
            assert_eq!(single::sqrt_mode(a, directed(rounding)), canonical(f32::from_bits(a).sqrt()));
        }
    }
}

#[test]
fn a_product_and_a_sum_are_not_fused() {
    let a = (1.0f32 + 2.0f32.powi(-12)).to_bits();
    // 1 + 2^-11 + 2^-24 rounds to 1 + 2^-11 as a product; fused, the last bit would stay.
    assert_eq!(single::sub(single::mul(a, a), single::ONE), 2.0f32.powi(-11).to_bits());
    let fused = 2.0f32.powi(-11) + 2.0f32.powi(-24);
    assert_eq!(single::fma(a, a, single::neg(single::ONE)), fused.to_bits());
}

#[test]
fn fma_rounds_once() {
    assert_eq!(single::fma(0x3F80_0001, 0x3F7F_FFFE, 0xBF80_0000), (-2.0f32.powi(-46)).to_bits());
}

#[test]
fn ftz_comes_from_the_modifier_and_keeps_signs() {
    let half_of_smallest = 2.0f32.powi(-127).to_bits();
    let negative = half_of_smallest | 0x8000_0000;
    assert_eq!(single::add(half_of_smallest, half_of_smallest), 2.0f32.powi(-126).to_bits());
    assert_eq!(single::add_ftz(half_of_smallest, half_of_smallest), 0);
    assert_eq!(single::add_ftz(negative, negative), 0x8000_0000);
    let smallest_normal = 0x0080_0000;
    let flushing = Mode { ftz: true, ..Mode::default() };
    // 2^-126 * 0.5 is subnormal only as a result.
    assert_eq!(single::mul(smallest_normal, 0x3F00_0000), 0x0040_0000);
    assert_eq!(single::mul_ftz(smallest_normal, 0xBF00_0000), 0x8000_0000);
    assert_eq!(single::mul_mode(smallest_normal, 0xBF00_0000, flushing), 0x8000_0000);
    assert_eq!(single::fma_ftz(smallest_normal, 0x3F00_0000, 0), 0);
    assert_eq!(single::fma_mode(0x3F80_0000, half_of_smallest, smallest_normal, flushing), smallest_normal);
    assert_eq!(single::sub_ftz(0x3F80_0000, half_of_smallest), 0x3F80_0000);
    // A flushed divisor is a zero.
    assert_eq!(single::div_mode(single::ONE, negative, flushing), 0xFF80_0000);
    assert_eq!(single::sqrt_mode(negative, flushing), 0x8000_0000);
}

#[test]
fn saturation_clamps_to_the_unit_interval_and_takes_nan_to_zero() {
    let saturating = Mode { sat: true, ..Mode::default() };
    let sum = |x: f32| single::add_mode(x.to_bits(), (-0.0f32).to_bits(), saturating);
    for (x, want) in [
        (f32::NAN, 0.0f32),
        (f32::NEG_INFINITY, 0.0),
        (-1.0, 0.0),
        (-0.0, 0.0),
        (0.0, 0.0),
        (0.25, 0.25),
        (1.0, 1.0),
        (1.5, 1.0),
        (f32::INFINITY, 1.0),
    ] {
        assert_eq!(sum(x), want.to_bits(), "{x}");
    }
}

#[test]
fn f64_results_keep_the_first_nan_operand() {
    let (quiet, signalling) = (0x7FF8_0000_0000_1234, 0xFFF0_0000_0000_0077);
    let one = double::ONE;
    assert_eq!(double::add(quiet, signalling), quiet);
    assert_eq!(double::add(signalling, quiet), signalling | 1 << 51);
    assert_eq!(double::mul(one, signalling), signalling | 1 << 51);
    assert_eq!(double::fma(one, one, quiet), quiet);
    assert_eq!(double::add_mode(one, quiet, directed(Rounding::Up)), quiet);
    let infinity = f64::INFINITY.to_bits();
    assert!(double::is_nan(double::sub(infinity, infinity)));
    assert_eq!(double::neg(quiet), quiet);
    assert_eq!(double::min(quiet, one), one);
}

#[test]
fn mixed_precision_widens_exactly_and_rounds_once() {
    let mut stream = Stream(7);
    for _ in 0..2_000 {
        let (a, b, c) = (stream.float(8, 7), stream.float(8, 7), stream.float(8, 23));
        let (h, k) = (stream.float(5, 10), stream.float(5, 10));
        for rounding in ROUNDINGS {
            let mode = directed(rounding);
            if F32.is_finite(a << 16) && F32.is_finite(b << 16) && F32.is_finite(c) {
                let got = u64::from(mixed::fma_bf16(a as u16, b as u16, c as u32, mode));
                assert_eq!(got, F32.fma(a << 16, b << 16, c, rounding));
                assert_eq!(
                    u64::from(mixed::sub_bf16(a as u16, c as u32, mode)),
                    F32.add(a << 16, c ^ F32.sign(), rounding)
                );
                assert_eq!(
                    u64::from(mixed::add_bf16(a as u16, c as u32, mode)),
                    F32.add(a << 16, c, rounding)
                );
            }
            if model::F16.is_finite(h) && model::F16.is_finite(k) && F32.is_finite(c) {
                let addend = (F32.is_negative(c), F32.value(c));
                let widened = (model::F16.is_negative(h), model::F16.value(h));
                let got = u64::from(mixed::add_f16(h as u16, c as u32, mode));
                assert_eq!(got, F32.sum(widened, addend, rounding));
                let ((s, e), (t, f)) = (model::F16.parts(h), model::F16.parts(k));
                let negative = model::F16.is_negative(h) != model::F16.is_negative(k);
                let product = (negative, model::Fixed::signed(negative, s * t, e + f));
                let got = u64::from(mixed::fma_f16(h as u16, k as u16, c as u32, mode));
                assert_eq!(got, F32.sum(product, addend, rounding));
            }
        }
    }
}

#[test]
fn pairs_keep_element_zero_in_the_low_half() {
    let pair = |low: f32, high: f32| u64::from(high.to_bits()) << 32 | u64::from(low.to_bits());
    assert_eq!(packed::wide2(single::add, pair(1.0, 10.0), pair(2.0, 20.0)), pair(3.0, 30.0));
    assert_eq!(packed::wide3(single::fma, pair(2.0, 3.0), pair(5.0, 7.0), pair(1.0, -1.0)), pair(11.0, 20.0));
    assert_eq!(packed::compare2(|a, b| a < b, 0x0005_0001, 0x0004_0002), (true, false));
}

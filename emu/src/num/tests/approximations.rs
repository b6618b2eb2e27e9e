//! Approximations: dense grids against the host's f64 functions, and the special operands of the ISA's tables.

use crate::num::{approx, bf16, f16, f32 as single};

const NAN: u32 = single::NAN;
const INFINITY: u32 = 0x7F80_0000;
const MINUS_INFINITY: u32 = 0xFF80_0000;
const MINUS_ZERO: u32 = 0x8000_0000;

/// Steps between two patterns of numbers, across zero too.
fn distance(a: u32, b: u32) -> i64 {
    let key = |x: u32| if x >> 31 == 1 { -i64::from(x & 0x7FFF_FFFF) } else { i64::from(x) };
    (key(a) - key(b)).abs()
}

/// Compares with the host over every `step`-th pattern: never more than one unit off, and hardly ever that.
fn check(f: impl Fn(u32) -> u32, host: impl Fn(f64) -> f64, step: usize) {
    let (mut off, mut count) = (0u32, 0u32);
    for a in (0..=u32::MAX).step_by(step) {
        let want = host(f32::from_bits(a).into()) as f32;
        let got = f(a);
        if want.is_nan() {
            assert_eq!(got, NAN, "{a:x}");
            continue;
        }
        count += 1;
        if got != want.to_bits() {
            off += 1;
            assert!(distance(got, want.to_bits()) <= 1, "{a:x} gives {got:x}, not {:x}", want.to_bits());
        }
    }
    assert!(count > 1_000 && off <= 1 + count / 20_000, "{off} of {count} are not the nearest number");
}

#[test]
fn f32_functions_are_nearly_always_correctly_rounded() {
    check(approx::ex2, f64::exp2, 9_973);
    check(approx::lg2, f64::log2, 9_973);
    check(approx::tanh, f64::tanh, 9_973);
    check(approx::rsqrt, |x| if x == 0.0 { 1.0 / x } else { x.sqrt().recip() }, 9_973);
    check(approx::rcp, f64::recip, 9_973);
    check(approx::sqrt, f64::sqrt, 9_973);
    check(approx::sin, f64::sin, 49_999);
    check(approx::cos, f64::cos, 49_999);
}

#[test]
fn f32_functions_are_right_where_results_cross_zero_and_one() {
    let around = |centre: f32| (0..20_000u32).map(move |i| centre.to_bits() - 10_000 + i);
    for a in around(1.0).chain(around(2.0)).chain(around(0.5)) {
        let x = f64::from(f32::from_bits(a));
        assert!(distance(approx::lg2(a), (x.log2() as f32).to_bits()) <= 1, "{a:x}");
        assert!(distance(approx::ex2(a), (x.exp2() as f32).to_bits()) <= 1, "{a:x}");
    }
    for a in around(0.015_625) {
        let want = (f64::from(f32::from_bits(a)).tanh() as f32).to_bits();
        assert!(distance(approx::tanh(a), want) <= 1, "{a:x}");
    }
}

#[test]
fn half_functions_are_the_nearest_codes() {
    for a in 0..=u16::MAX {
        let x = f64::from(f16::widen(a));
        let near = |got: u16, want: u16| (i32::from(got) - i32::from(want)).abs() <= 1;
        assert!(near(approx::ex2_f16(a), f16::from_f64(x.exp2())), "{a:x}");
        assert!(near(approx::tanh_f16(a), f16::from_f64(x.tanh())), "{a:x}");
        let y = f64::from(bf16::widen(a));
        assert!(near(approx::ex2_ftz_bf16(a), bf16::flush(bf16::from_f64(y.exp2()))), "{a:x}");
        assert!(near(approx::tanh_bf16(a), bf16::from_f64(y.tanh())), "{a:x}");
    }
    assert_eq!((approx::ex2_f16(0xFE00), approx::tanh_bf16(0xFFC1)), (f16::NAN, bf16::NAN));
    assert_eq!(
        (approx::ex2_f16(0xFC00), approx::ex2_f16(0x7C00), approx::tanh_f16(0xFC00)),
        (0, 0x7C00, 0xBC00)
    );
}

#[test]
fn special_operands_follow_the_tables() {
    let subnormal = 0x0040_0000;
    for (f, rows) in [
        (
            approx::rcp as fn(u32) -> u32,
            [(0, INFINITY), (MINUS_ZERO, MINUS_INFINITY), (MINUS_INFINITY, MINUS_ZERO), (INFINITY, 0)],
        ),
        (approx::sqrt, [(0, 0), (MINUS_ZERO, MINUS_ZERO), (MINUS_INFINITY, NAN), (INFINITY, INFINITY)]),
        (approx::rsqrt, [(0, INFINITY), (MINUS_ZERO, MINUS_INFINITY), (0xBF80_0000, NAN), (INFINITY, 0)]),
        (
            approx::ex2,
            [(0, single::ONE), (MINUS_ZERO, single::ONE), (MINUS_INFINITY, 0), (INFINITY, INFINITY)],
        ),
        (
            approx::lg2,
            [(0, MINUS_INFINITY), (MINUS_ZERO, MINUS_INFINITY), (0xBF80_0000, NAN), (INFINITY, INFINITY)],
        ),
        (approx::sin, [(0, 0), (MINUS_ZERO, MINUS_ZERO), (MINUS_INFINITY, NAN), (INFINITY, NAN)]),
        (approx::cos, [(0, single::ONE), (MINUS_ZERO, single::ONE), (MINUS_INFINITY, NAN), (INFINITY, NAN)]),
        (
            approx::tanh,
            [(0, 0), (MINUS_ZERO, MINUS_ZERO), (MINUS_INFINITY, 0xBF80_0000), (subnormal, subnormal)],
        ),
    ] {
        for (a, want) in rows {
            assert_eq!(f(a), want, "{a:x}");
        }
        assert_eq!((f(0x7FC0_0001), f(0xFFC0_0001)), (NAN, NAN));
    }
}

#[test]
fn ftz_flushes_operands_and_results() {
    let subnormal = 0x0040_0000;
    assert_eq!(
        (approx::rcp_ftz(subnormal), approx::rcp_ftz(subnormal | MINUS_ZERO)),
        (INFINITY, MINUS_INFINITY)
    );
    assert_eq!(approx::rcp_ftz(0x7F00_0000), 0);
    assert_eq!(
        (approx::sqrt_ftz(subnormal | MINUS_ZERO), approx::sqrt(subnormal | MINUS_ZERO)),
        (MINUS_ZERO, NAN)
    );
    assert_eq!((approx::rsqrt_ftz(subnormal), approx::lg2_ftz(subnormal)), (INFINITY, MINUS_INFINITY));
    let deep = (-130.0f32).to_bits();
    assert_eq!((approx::ex2_ftz(deep), approx::ex2(deep)), (0, 2.0f32.powi(-130).to_bits()));
    assert_eq!(
        (approx::sin_ftz(subnormal), approx::sin(subnormal), approx::cos_ftz(subnormal)),
        (0, subnormal, single::ONE)
    );
}

#[test]
fn approximate_quotients_lose_large_divisors() {
    let bits = |x: f32| x.to_bits();
    assert_eq!(approx::div(bits(1.0), bits(3.0)), bits(1.0 / 3.0));
    let (limit, above) = (2.0f32.powi(126), 1.5 * 2.0f32.powi(126));
    assert_eq!(approx::div(bits(limit), bits(limit)), bits(1.0));
    assert_eq!(approx::div(bits(limit), bits(above)), 0);
    assert_eq!(approx::div(bits(limit), bits(-above)), MINUS_ZERO);
    assert_eq!(approx::div(INFINITY, bits(above)), NAN);
    assert_eq!(approx::div(bits(1.0), INFINITY), 0);
    assert_eq!(approx::div_full(bits(above), bits(above)), bits(1.0));
    assert_eq!(approx::div_full_ftz(bits(1.0), 0x0040_0000), INFINITY);
    assert_eq!(approx::div_ftz(0x0080_0000, bits(4.0)), 0);
}

#[test]
fn f64_approximations_live_in_the_upper_word() {
    let rows = [1.0, 3.0, -7.0e200, 1.0e-300, 0.1, 123_456.789];
    for x in rows {
        let got = f64::from_bits(approx::rcp_f64(f64::to_bits(x)));
        assert!((got * x - 1.0).abs() < 2.0f64.powi(-19), "{x}");
        assert_eq!(got.to_bits() & 0xFFFF_FFFF, 0);
        let root = f64::from_bits(approx::rsqrt_f64(x.abs().to_bits()));
        assert!((root * root * x.abs() - 1.0).abs() < 2.0f64.powi(-18), "{x}");
        assert_eq!(root.to_bits() & 0xFFFF_FFFF, 0);
    }
    let nan = 0x7FFF_FFFF_0000_0000;
    assert_eq!((approx::rcp_f64(0x7FF0_0000_0000_0001), approx::rsqrt_f64((-1.0f64).to_bits())), (nan, nan));
    assert_eq!(approx::rcp_f64(0x800F_FFFF_FFFF_FFFF), f64::NEG_INFINITY.to_bits());
    assert_eq!(approx::rsqrt_f64(f64::INFINITY.to_bits()), 0);
}

//! f16 and bf16: exact against the model; and that the shortcut through f32 alone would have failed.

use super::Stream;
use super::model::{BF16, F16, Layout};
use crate::num::{Mode, Rounding, bf16, f16, packed};
use proptest::prelude::*;

struct Half {
    layout: Layout,
    add: fn(u16, u16) -> u16,
    sub: fn(u16, u16) -> u16,
    mul: fn(u16, u16) -> u16,
    fma: fn(u16, u16, u16) -> u16,
    widen: fn(u16) -> f32,
    narrow: fn(f32) -> u16,
}

const HALVES: [Half; 2] = [
    Half {
        layout: F16,
        add: f16::add,
        sub: f16::sub,
        mul: f16::mul,
        fma: f16::fma,
        widen: f16::widen,
        narrow: f16::narrow,
    },
    Half {
        layout: BF16,
        add: bf16::add,
        sub: bf16::sub,
        mul: bf16::mul,
        fma: bf16::fma,
        widen: bf16::widen,
        narrow: bf16::narrow,
    },
];

fn check(half: &Half, a: u16, b: u16, c: u16) {
    let layout = half.layout;
    let [x, y, z] = [a, b, c].map(u64::from);
    if ![x, y, z].into_iter().all(|v| layout.is_finite(v)) {
        return;
    }
    let nearest = Rounding::Nearest;
    assert_eq!(u64::from((half.add)(a, b)), layout.add(x, y, nearest), "{layout:?} {a:x} + {b:x}");
    assert_eq!(u64::from((half.sub)(a, b)), layout.add(x, y ^ 0x8000, nearest), "{layout:?} {a:x} - {b:x}");
    assert_eq!(u64::from((half.mul)(a, b)), layout.mul(x, y, nearest), "{layout:?} {a:x} * {b:x}");
    assert_eq!(
        u64::from((half.fma)(a, b, c)),
        layout.fma(x, y, z, nearest),
        "{layout:?} {a:x} * {b:x} + {c:x}"
    );
}

#[test]
fn arithmetic_is_exact_with_one_rounding() {
    let mut stream = Stream(11);
    for half in &HALVES {
        for _ in 0..12_000 {
            let [a, b, c] =
                [(); 3].map(|()| stream.float(half.layout.exponent_bits, half.layout.mantissa_bits) as u16);
            check(half, a, b, c);
        }
    }
}

#[test]
fn arithmetic_is_exact_on_a_grid_of_every_exponent() {
    for half in &HALVES {
        let top = half.layout.infinity() >> half.layout.mantissa_bits;
        let fields = (0..top).step_by(if top > 31 { 9 } else { 2 }).chain([top - 1]);
        let ends = [0, 1, (1 << half.layout.mantissa_bits) - 1];
        let grid: Vec<u16> = fields
            .flat_map(|field| ends.map(|mantissa| (field << half.layout.mantissa_bits | mantissa) as u16))
            .collect();
        for &a in &grid {
            for &b in &grid {
                check(half, a, b ^ 0x8000, 0x8001);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn arithmetic_is_exact_on_any_bits(a: u16, b: u16, c: u16) {
        for half in &HALVES {
            check(half, a, b, c);
        }
    }
}

/// The classic mistake exists: f32 first gives other results, and those are not ours.
#[test]
fn fma_through_f32_would_round_twice() {
    let mut stream = Stream(12);
    for half in &HALVES {
        let mut differ = 0;
        for _ in 0..200_000 {
            let [a, b, c] =
                [(); 3].map(|()| stream.float(half.layout.exponent_bits, half.layout.mantissa_bits) as u16);
            let [x, y, z] = [a, b, c].map(half.widen);
            let twice = (half.narrow)(x.mul_add(y, z));
            if twice != (half.fma)(a, b, c) {
                differ += 1;
                check(half, a, b, c);
            }
        }
        assert!(differ > 0, "{:?}: the operands do not reach the case", half.layout);
    }
}

#[test]
fn every_f16_widens_to_its_value_and_comes_back() {
    for a in 0..=u16::MAX {
        let wide = f16::widen(a);
        if F16.is_nan(a.into()) {
            assert!(wide.is_nan());
            assert_eq!(f16::narrow(wide), f16::NAN);
            continue;
        }
        let (significand, exponent) = F16.parts((a & 0x7FFF).into());
        let value = significand as f64 * 2f64.powi(exponent);
        let value = if a & 0x7FFF == 0x7C00 { f64::INFINITY } else { value };
        let value = if a & 0x8000 != 0 { -value } else { value };
        assert_eq!(f64::from(wide).to_bits(), value.to_bits(), "{a:x}");
        assert_eq!(f16::narrow(wide), a);
        assert_eq!(f16::from_f64(value), a);
    }
}

#[test]
fn modifiers_apply_to_halves() {
    let with = |ftz, sat, relu| Mode { ftz, sat, relu, ..Mode::default() };
    // 2^-15 is subnormal in f16.
    let tiny = 0x0200;
    assert_eq!(f16::add_mode(tiny, tiny, with(false, false, false)), 0x0400);
    assert_eq!(f16::add_mode(tiny, tiny | 0x8000, with(true, false, false)), 0);
    assert_eq!(f16::mul_mode(0x8400, 0x3800, with(true, false, false)), 0x8000);
    assert_eq!(f16::sub_mode(f16::ONE, 0x4000, with(false, true, false)), 0);
    assert_eq!(f16::fma_mode(0x4000, 0x4000, 0, with(false, true, false)), f16::ONE);
    assert_eq!(f16::fma_mode(0x7C00, 0, 0, with(false, true, false)), 0);
    assert_eq!(f16::fma_mode(0x7C00, 0, 0, with(false, false, true)), f16::NAN);
    assert_eq!(bf16::fma_mode(0xBF80, 0x3F80, 0, with(false, false, true)), 0);
    assert_eq!(bf16::fma_mode(0x8000, 0x3F80, 0x8000, with(false, false, true)), 0);
    assert_eq!(bf16::fma_oob(bf16::NAN, 0x3F80, 0x3F80, Mode::default()), 0);
    assert_eq!(bf16::fma_oob(0x7FC0, 0x3F80, 0x3F80, Mode::default()), bf16::NAN);
    assert_eq!(packed::map3(f16::fma, 0x4000_3C00, 0x4000_3C00, 0x3C00_0000), 0x4500_3C00);
}

//! Minimum, maximum, comparisons and classes over all pairs of the values that make them difficult.

use super::Stream;
use crate::num::{Class, Compare, MinMax, bf16, f16, f32 as single, f64 as double};

const VALUES: [f32; 9] =
    [f32::NAN, f32::NEG_INFINITY, -1.0, -0.0, 0.0, 1.0, f32::INFINITY, f32::MIN_POSITIVE / 2.0, -f32::NAN];

/// The order of numbers with minus zero below plus zero, by the host.
fn lower(a: f32, b: f32) -> bool {
    a < b || (a == b && a.is_sign_negative() && !b.is_sign_negative())
}

fn expected_min(a: f32, b: f32) -> u32 {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => single::NAN,
        (true, false) => b.to_bits(),
        (false, true) => a.to_bits(),
        (false, false) => {
            if lower(b, a) {
                b.to_bits()
            } else {
                a.to_bits()
            }
        }
    }
}

fn expected_max(a: f32, b: f32) -> u32 {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => single::NAN,
        (true, false) => b.to_bits(),
        (false, true) => a.to_bits(),
        (false, false) => {
            if lower(a, b) {
                b.to_bits()
            } else {
                a.to_bits()
            }
        }
    }
}

#[test]
fn minimum_and_maximum_order_zeros_and_prefer_numbers() {
    for a in VALUES {
        for b in VALUES {
            let (x, y) = (a.to_bits(), b.to_bits());
            assert_eq!(single::min(x, y), expected_min(a, b), "{a} {b}");
            assert_eq!(single::max(x, y), expected_max(a, b), "{a} {b}");
            let mode = MinMax { nan: true, ..MinMax::default() };
            let any_nan = a.is_nan() || b.is_nan();
            assert_eq!(single::min_mode(x, y, mode), if any_nan { single::NAN } else { expected_min(a, b) });
            assert_eq!(single::max_mode(x, y, mode), if any_nan { single::NAN } else { expected_max(a, b) });
        }
    }
}

#[test]
fn xorsign_compares_magnitudes_and_joins_signs() {
    let mode = MinMax { abs: true, xorsign: true, ..MinMax::default() };
    for a in VALUES {
        for b in VALUES {
            let sign = a.is_sign_negative() != b.is_sign_negative();
            let size = f32::from_bits(expected_min(a.abs(), b.abs()));
            let want = match (size.is_nan(), sign) {
                (true, _) => single::NAN,
                (false, true) => (-size).to_bits(),
                (false, false) => size.to_bits(),
            };
            assert_eq!(single::min_mode(a.to_bits(), b.to_bits(), mode), want, "{a} {b}");
        }
    }
}

#[test]
fn three_operands_take_the_extreme_of_all() {
    let bits = |x: f32| x.to_bits();
    let plain = MinMax::default();
    assert_eq!(single::min3_mode(bits(2.0), bits(f32::NAN), bits(-3.0), plain), bits(-3.0));
    assert_eq!(single::max3_mode(bits(2.0), bits(7.0), bits(f32::NAN), plain), bits(7.0));
    let nan = MinMax { nan: true, ..plain };
    assert_eq!(single::max3_mode(bits(f32::NAN), bits(7.0), bits(1.0), nan), single::NAN);
    let abs = MinMax { abs: true, ..plain };
    assert_eq!(single::max3_mode(bits(2.0), bits(1.0), bits(-8.0), abs), bits(8.0));
    let ftz = MinMax { ftz: true, ..plain };
    assert_eq!(single::max_mode(1, 0x8000_0000, ftz), 0);
    assert_eq!(single::min_mode(1, 0x3F80_0000, ftz), 0);
}

const RELATIONS: [Compare; 14] = [
    Compare::Eq,
    Compare::Ne,
    Compare::Lt,
    Compare::Le,
    Compare::Gt,
    Compare::Ge,
    Compare::Equ,
    Compare::Neu,
    Compare::Ltu,
    Compare::Leu,
    Compare::Gtu,
    Compare::Geu,
    Compare::Num,
    Compare::Nan,
];

fn expected_relation(relation: Compare, a: f64, b: f64) -> bool {
    let unordered = a.is_nan() || b.is_nan();
    match relation {
        Compare::Eq => a == b,
        Compare::Ne => !unordered && a != b,
        Compare::Lt => a < b,
        Compare::Le => a <= b,
        Compare::Gt => a > b,
        Compare::Ge => a >= b,
        Compare::Equ => unordered || a == b,
        Compare::Neu => unordered || a != b,
        Compare::Ltu => unordered || a < b,
        Compare::Leu => unordered || a <= b,
        Compare::Gtu => unordered || a > b,
        Compare::Geu => unordered || a >= b,
        Compare::Num => !unordered,
        Compare::Nan => unordered,
    }
}

#[test]
fn relations_agree_with_the_hosts_for_every_width() {
    for a in VALUES {
        for b in VALUES {
            let (x, y) = (f64::from(a), f64::from(b));
            for relation in RELATIONS {
                let want = expected_relation(relation, x, y);
                assert_eq!(single::compare(relation, a.to_bits(), b.to_bits()), want, "{a} {relation:?} {b}");
                assert_eq!(double::compare(relation, x.to_bits(), y.to_bits()), want, "{a} {relation:?} {b}");
                let short = |x: f32| (x.to_bits() >> 16) as u16;
                assert_eq!(bf16::compare(relation, short(a), short(b)), want, "{a} {relation:?} {b}");
            }
        }
    }
    assert!(!f16::compare(Compare::Ne, f16::NAN, f16::ONE) && f16::compare(Compare::Neu, f16::NAN, f16::ONE));
}

#[test]
fn relations_and_extremes_agree_with_the_hosts_on_any_bits() {
    let mut stream = Stream(21);
    for _ in 0..50_000 {
        let (x, y) = (stream.float(8, 23) as u32, stream.float(8, 23) as u32);
        let (a, b) = (f32::from_bits(x), f32::from_bits(y));
        let relation = RELATIONS[stream.below(14) as usize];
        assert_eq!(single::compare(relation, x, y), expected_relation(relation, a.into(), b.into()));
        assert_eq!(single::min(x, y), expected_min(a, b));
        assert_eq!(single::max(x, y), expected_max(a, b));
        let (h, k) = (stream.next() as u16, stream.next() as u16);
        let (p, q) = (f16::widen(h), f16::widen(k));
        assert_eq!(f16::compare(relation, h, k), expected_relation(relation, p.into(), q.into()));
        let want = f32::from_bits(expected_min(p, q));
        assert!(
            f16::widen(f16::min(h, k)).to_bits() == want.to_bits()
                || want.is_nan() && f16::min(h, k) == f16::NAN
        );
    }
}

#[test]
fn classes_agree_with_the_hosts() {
    let mut stream = Stream(22);
    for _ in 0..20_000 {
        let bits = stream.float(8, 23) as u32;
        let x = f32::from_bits(bits);
        assert_eq!(single::testp(Class::Finite, bits), x.is_finite());
        assert_eq!(single::testp(Class::Infinite, bits), x.is_infinite());
        assert_eq!(single::testp(Class::Number, bits), !x.is_nan());
        assert_eq!(single::testp(Class::NotANumber, bits), x.is_nan());
        assert_eq!(single::testp(Class::Normal, bits), x.is_normal() || x == 0.0);
        assert_eq!(single::testp(Class::Subnormal, bits), x.is_subnormal());
    }
}

#[test]
fn signs_move_without_touching_numbers() {
    let two = 2.0f32.to_bits();
    assert_eq!(single::copysign((-3.0f32).to_bits(), two), (-2.0f32).to_bits());
    assert_eq!(single::copysign(3.0f32.to_bits(), single::neg(two)), two);
    assert_eq!((single::neg(0), single::abs(0x8000_0000)), (0x8000_0000, 0));
    assert_eq!((single::neg(0x7F80_0001), single::abs(0xFFC0_0000)), (single::NAN, single::NAN));
    assert_eq!((single::flush(0x807F_FFFF), single::flush(0x0080_0000)), (0x8000_0000, 0x0080_0000));
    for (bits, want) in
        [(0x8000_0000, 0), (0xBF80_0000, 0), (0xFFC0_0000, single::NAN), (two, two), (0xFF80_0000, 0)]
    {
        assert_eq!(single::relu(bits), want);
    }
}

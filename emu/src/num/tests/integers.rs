//! Integers and bits: against wider integers and loops over single bits.

use super::Stream;
use crate::num::Compare;
use crate::num::int::bits::{self, Overrun};
use crate::num::int::permute::{Permute, prmt};
use crate::num::int::{b16, b32, b64, dot, pairs};

fn word(stream: &mut Stream) -> u32 {
    let any = stream.next() as u32;
    match stream.below(8) {
        0 => [0, 1, u32::MAX, 0x8000_0000, 0x7FFF_FFFF, 0xFFFF, 0x8000, 0x0080_0000][(any % 8) as usize],
        1 => any & 0xFF,
        2 => any >> 16,
        3 => !(any & 0xFFF),
        _ => any,
    }
}

fn long(stream: &mut Stream) -> u64 {
    u64::from(word(stream)) << 32 | u64::from(word(stream))
}

#[test]
fn products_agree_with_wider_integers() {
    let mut stream = Stream(31);
    for _ in 0..20_000 {
        let (a, b, c) = (word(&mut stream), word(&mut stream), word(&mut stream));
        let (x, y) = (i128::from(a as i32), i128::from(b as i32));
        assert_eq!(b32::mul_lo(a, b), (x * y) as u32);
        assert_eq!(b32::mul_hi_s(a, b), ((x * y) >> 32) as u32);
        assert_eq!(b32::mul_hi_u(a, b), ((u128::from(a) * u128::from(b)) >> 32) as u32);
        assert_eq!(b32::mul_wide_s(a, b), (x * y) as u64);
        assert_eq!(b32::mad_wide_u(a, b, 7), (u128::from(a) * u128::from(b) + 7) as u64);
        assert_eq!(b32::mad_lo(a, b, c), (x * y + i128::from(c)) as u32);
        let high = ((x * y) >> 32) + i128::from(c as i32);
        assert_eq!(b32::mad_hi_s(a, b, c), high as u32);
        assert_eq!(b32::mad_hi_sat_s(a, b, c), high.clamp(i32::MIN.into(), i32::MAX.into()) as u32);
        let (p, q) = (long(&mut stream), long(&mut stream));
        assert_eq!(b64::mul_hi_s(p, q), ((i128::from(p as i64) * i128::from(q as i64)) >> 64) as u64);
        assert_eq!(b64::mul_hi_u(p, q), ((u128::from(p) * u128::from(q)) >> 64) as u64);
        let (h, k) = (a as u16, b as u16);
        assert_eq!(b16::mul_hi_s(h, k), ((i64::from(h as i16) * i64::from(k as i16)) >> 16) as u16);
        assert_eq!(b16::mul_wide_s(h, k), (i64::from(h as i16) * i64::from(k as i16)) as u32);
    }
    let lowest = i64::MIN as u64;
    assert_eq!(b64::mul_hi_s(lowest, lowest), 1 << 62);
    assert_eq!(b16::mad_wide_s(0xFFFF, 0xFFFF, 5), 6);
    assert_eq!(b16::mul_wide_s(0xFFFF, 2), -2i32 as u32);
    assert_eq!(b16::mul_wide_u(0xFFFF, 2), 0x1_FFFE);
}

#[test]
fn products_of_24_bits_ignore_the_upper_byte() {
    let mut stream = Stream(32);
    for _ in 0..20_000 {
        let (a, b, c) = (word(&mut stream), word(&mut stream), word(&mut stream));
        let signed = |x: u32| {
            let low = i128::from(x % (1 << 24));
            if low >= 1 << 23 { low - (1 << 24) } else { low }
        };
        let unsigned = |x: u32| i128::from(x % (1 << 24));
        assert_eq!(bits::mul24_lo_s(a, b), (signed(a) * signed(b)) as u32);
        assert_eq!(bits::mul24_hi_s(a, b), ((signed(a) * signed(b)) >> 16) as u32);
        assert_eq!(bits::mul24_lo_u(a, b), (unsigned(a) * unsigned(b)) as u32);
        assert_eq!(bits::mul24_hi_u(a, b), ((unsigned(a) * unsigned(b)) >> 16) as u32);
        let sum = i128::from(((signed(a) * signed(b)) >> 16) as i32) + i128::from(c as i32);
        assert_eq!(bits::mad24_hi_sat_s(a, b, c), sum.clamp(i32::MIN.into(), i32::MAX.into()) as u32);
    }
}

#[test]
fn division_is_defined_but_by_zero() {
    assert_eq!(
        (b32::div_u(7, 0), b32::rem_s(7, 0), b64::div_s(7, 0), b16::rem_u(7, 0)),
        (None, None, None, None)
    );
    let lowest = i32::MIN as u32;
    assert_eq!((b32::div_s(lowest, u32::MAX), b32::rem_s(lowest, u32::MAX)), (Some(lowest), Some(0)));
    let mut stream = Stream(33);
    for _ in 0..10_000 {
        let (a, b) = (word(&mut stream), word(&mut stream).max(1));
        let (x, y) = (i64::from(a as i32), i64::from(b as i32));
        let quotient = b32::div_s(a, b).unwrap() as i32;
        let remainder = i64::from(b32::rem_s(a, b).unwrap() as i32);
        assert!(remainder.abs() < y.abs() && (remainder == 0 || (remainder < 0) == (x < 0)));
        assert_eq!((i64::from(quotient) * y + remainder) as i32, a as i32);
        assert_eq!(b32::div_u(a, b).unwrap() * b + b32::rem_u(a, b).unwrap(), a);
    }
}

#[test]
fn shifts_clamp_their_amounts() {
    for amount in [0, 1, 31, 32, 33, 40, 255, u32::MAX] {
        for a in [0x8000_0001u32, 0x7654_3210] {
            let (mut left, mut right, mut signed) = (a, a, a as i32);
            for _ in 0..amount.min(100) {
                (left, right, signed) = (left << 1, right >> 1, signed >> 1);
            }
            assert_eq!(b32::shl(a, amount), left);
            assert_eq!(b32::shr_u(a, amount), right);
            assert_eq!(b32::shr_s(a, amount), signed as u32);
        }
    }
    assert_eq!((b64::shl(1, 63), b64::shl(1, 64), b64::shr_s(1 << 63, 200)), (1 << 63, 0, u64::MAX));
    assert_eq!((b16::shl(1, 16), b16::shr_s(0x8000, 16), b16::shr_u(0x8000, 15)), (0, 0xFFFF, 1));
}

#[test]
fn funnel_shifts_move_bits_between_words() {
    let (a, b) = (0x89AB_CDEF, 0x0123_4567);
    for amount in 0..70 {
        for (overrun, by) in [(Overrun::Wrap, amount % 32), (Overrun::Clamp, amount.min(32))] {
            let bit = |i: i64| -> u32 {
                match i {
                    0..=31 => a >> i & 1,
                    32..=63 => b >> (i - 32) & 1,
                    _ => 0,
                }
            };
            let word = |first: i64| (0..32).fold(0, |w, i| w | bit(first + i) << i);
            assert_eq!(bits::shf_l(a, b, amount, overrun), word(32 - i64::from(by)), "{amount} {overrun:?}");
            assert_eq!(bits::shf_r(a, b, amount, overrun), word(i64::from(by)), "{amount} {overrun:?}");
        }
    }
}

/// `bfe` bit by bit, as the ISA words it.
fn extract(a: u64, width: u32, signed: bool, position: u32, length: u32) -> u64 {
    let bit = |i: u32| a >> i & 1;
    let fill = if !signed || length == 0 { 0 } else { bit((position + length - 1).min(width - 1)) };
    (0..width).fold(0, |d, i| {
        let inside = i < length && position + i < width;
        d | (if inside { bit(position + i) } else { fill }) << i
    })
}

#[test]
fn bit_fields_agree_with_a_loop_over_bits() {
    let mut stream = Stream(34);
    let amounts = [0, 1, 7, 8, 15, 31, 32, 33, 40, 63, 64, 65, 255];
    for position in amounts {
        for length in amounts {
            for _ in 0..8 {
                let (a, b) = (long(&mut stream), long(&mut stream));
                let (x, y) = (a as u32, b as u32);
                for extra in [0, 0x100] {
                    let (p, l) = (position | extra, length | extra);
                    assert_eq!(
                        u64::from(b32::bfe_u(x, p, l)),
                        extract(x.into(), 32, false, position, length)
                    );
                    assert_eq!(u64::from(b32::bfe_s(x, p, l)), extract(x.into(), 32, true, position, length));
                    assert_eq!(b64::bfe_u(a, p, l), extract(a, 64, false, position, length));
                    assert_eq!(b64::bfe_s(a, p, l), extract(a, 64, true, position, length));
                    let insert = |a: u64, b: u64, width: u32| {
                        (0..width).fold(0, |d, i| {
                            let inside = i >= position && i - position < length;
                            d | (if inside { a >> (i - position) } else { b >> i } & 1) << i
                        })
                    };
                    assert_eq!(u64::from(b32::bfi(x, y, p, l)), insert(x.into(), y.into(), 32));
                    assert_eq!(b64::bfi(a, b, p, l), insert(a, b, 64));
                }
            }
        }
    }
    assert_eq!(b32::bfe_s(0x8000_0000, 31, 8), u32::MAX);
}

#[test]
fn searches_for_bits_find_the_highest() {
    assert_eq!((b32::bfind_u(0), b32::bfind_s(0), b32::bfind_s(u32::MAX)), (u32::MAX, u32::MAX, u32::MAX));
    assert_eq!((b32::bfind_u(0x0001_0000), b32::bfind_s(0xFFFF_0000), b32::bfind_u(u32::MAX)), (16, 15, 31));
    assert_eq!((b64::bfind_u(1 << 40), b64::bfind_s(!(1 << 50))), (40, 50));
    assert_eq!((b32::bfind_shift(16), b64::bfind_shift(40), b32::bfind_shift(u32::MAX)), (15, 23, u32::MAX));
    assert_eq!((b32::popc(0xF0F0), b64::popc(u64::MAX), b32::clz(0), b64::clz(1)), (8, 64, 32, 63));
    assert_eq!((b32::brev(1), b64::brev(0b10), b32::cnot(0), b32::cnot(5)), (1 << 31, 1 << 62, 1, 0));
}

#[test]
fn fns_counts_ones_in_both_directions() {
    let mut stream = Stream(35);
    for _ in 0..500 {
        let mask = word(&mut stream);
        for base in [0, 5, 16, 31] {
            for offset in -34..=34i32 {
                let upward: Vec<u32> = (base..32).filter(|i| mask >> i & 1 == 1).collect();
                let downward: Vec<u32> = (0..=base).rev().filter(|i| mask >> i & 1 == 1).collect();
                let want = match offset {
                    0 => (mask >> base & 1 == 1).then_some(base),
                    1.. => upward.get(offset as usize - 1).copied(),
                    _ => downward.get(offset.unsigned_abs() as usize - 1).copied(),
                };
                assert_eq!(
                    bits::fns(mask, base, offset),
                    want.unwrap_or(u32::MAX),
                    "{mask:x} {base} {offset}"
                );
            }
        }
    }
    assert_eq!(bits::fns(u32::MAX, 0, i32::MIN), u32::MAX);
}

#[test]
fn permute_in_its_default_mode_replicates_signs() {
    let (a, b) = (0x0381_027F, 0xF406_8504);
    let bytes = [0x7F, 0x02, 0x81, 0x03, 0x04, 0x85, 0x06, 0xF4u8];
    for selector in 0..=0xFFFFu32 {
        let want: [u8; 4] = std::array::from_fn(|i| {
            let nibble = selector >> (4 * i) & 15;
            let byte = bytes[(nibble & 7) as usize];
            match (nibble >= 8, byte >= 0x80) {
                (false, _) => byte,
                (true, true) => 0xFF,
                (true, false) => 0,
            }
        });
        assert_eq!(prmt(a, b, selector | 0xABCD_0000, Permute::Index), u32::from_le_bytes(want));
    }
}

/// The ISA's table of source bytes, highest first.
#[test]
fn permute_modes_follow_the_table() {
    let table = [
        (Permute::Forward4, [[3, 2, 1, 0], [4, 3, 2, 1], [5, 4, 3, 2], [6, 5, 4, 3]]),
        (Permute::Backward4, [[5, 6, 7, 0], [6, 7, 0, 1], [7, 0, 1, 2], [0, 1, 2, 3]]),
        (Permute::Replicate8, [[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]]),
        (Permute::EdgeLeft, [[3, 2, 1, 0], [3, 2, 1, 1], [3, 2, 2, 2], [3, 3, 3, 3]]),
        (Permute::EdgeRight, [[0, 0, 0, 0], [1, 1, 1, 0], [2, 2, 1, 0], [3, 2, 1, 0]]),
        (Permute::Replicate16, [[1, 0, 1, 0], [3, 2, 3, 2], [1, 0, 1, 0], [3, 2, 3, 2]]),
    ];
    for (mode, rows) in table {
        for (c, row) in rows.into_iter().enumerate() {
            let got = prmt(0x8382_8180, 0x8786_8584, c as u32 | 0xFFFC, mode);
            assert_eq!(got.to_be_bytes(), row.map(|i| 0x80 + i), "{mode:?} {c}");
        }
    }
}

#[test]
fn lop3_reads_its_table_by_bits() {
    let mut stream = Stream(36);
    for table in 0..=255u8 {
        let (a, b, c) = (word(&mut stream), word(&mut stream), word(&mut stream));
        let want = (0..32).fold(0, |d, i| {
            let index = (a >> i & 1) << 2 | (b >> i & 1) << 1 | c >> i & 1;
            d | (u32::from(table) >> index & 1) << i
        });
        assert_eq!(bits::lop3(a, b, c, table), want, "{table:x}");
        assert_eq!(bits::lop3(a, b, c, 0xE8), a & b | b & c | a & c);
        assert_eq!(bits::lop3(a, b, c, 0x96), a ^ b ^ c);
        assert_eq!(
            (bits::lop3(a, b, c, 0xF0), bits::lop3(a, b, c, 0xCC), bits::lop3(a, b, c, 0xAA)),
            (a, b, c)
        );
    }
}

#[test]
fn dot_products_read_each_operand_by_its_own_sign() {
    let mut stream = Stream(37);
    for _ in 0..5_000 {
        let (a, b, c) = (word(&mut stream), word(&mut stream), word(&mut stream));
        for (sa, sb) in [(false, false), (false, true), (true, false), (true, true)] {
            let byte = |x: u8, signed| if signed { i64::from(x as i8) } else { i64::from(x) };
            let half = |x: u32, i: u32| match sa {
                true => i64::from((x >> (16 * i)) as i16),
                false => i64::from((x >> (16 * i)) as u16),
            };
            let (p, q) = (a.to_le_bytes(), b.to_le_bytes());
            let four: i64 = (0..4).map(|i| byte(p[i], sa) * byte(q[i], sb)).sum();
            assert_eq!(dot::dp4a(a, b, c, sa, sb), (four + i64::from(c)) as u32);
            for (high, first) in [(false, 0), (true, 2)] {
                let two = half(a, 0) * byte(q[first], sb) + half(a, 1) * byte(q[first + 1], sb);
                assert_eq!(dot::dp2a(a, b, c, sa, sb, high), (two + i64::from(c)) as u32);
            }
        }
    }
}

#[test]
fn carries_make_longer_integers() {
    let mut stream = Stream(38);
    for _ in 0..10_000 {
        let (a, b) = (long(&mut stream), long(&mut stream));
        let (low, carry) = b32::add_carry(a as u32, b as u32, false);
        let (high, out) = b32::add_carry((a >> 32) as u32, (b >> 32) as u32, carry);
        assert_eq!((u64::from(high) << 32 | u64::from(low), out), a.overflowing_add(b));
        let (low, borrow) = b32::sub_borrow(a as u32, b as u32, false);
        let (high, out) = b32::sub_borrow((a >> 32) as u32, (b >> 32) as u32, borrow);
        assert_eq!((u64::from(high) << 32 | u64::from(low), out), a.overflowing_sub(b));
    }
    assert_eq!(b64::add_carry(u64::MAX, 0, true), (0, true));
    assert_eq!(b32::add_carry(u32::MAX, u32::MAX, true), (u32::MAX, true));
    assert_eq!(b32::sub_borrow(0, u32::MAX, true), (0, true));
}

#[test]
fn sums_saturate_and_differences_are_exact() {
    let mut stream = Stream(39);
    let limit = |x: i64| x.clamp(i32::MIN.into(), i32::MAX.into()) as u32;
    for _ in 0..10_000 {
        let (a, b, c) = (word(&mut stream), word(&mut stream), word(&mut stream));
        let (x, y) = (i64::from(a as i32), i64::from(b as i32));
        assert_eq!(b32::add_sat_s(a, b), limit(x + y));
        assert_eq!(b32::sub_sat_s(a, b), limit(x - y));
        assert_eq!(b32::sad_s(a, b, c), ((x - y).abs() + i64::from(c)) as u32);
        assert_eq!(b32::sad_u(a, b, c), ((i64::from(a) - i64::from(b)).abs() + i64::from(c)) as u32);
        assert_eq!((b32::min_s(a, b), b32::max_s(a, b)), (x.min(y) as u32, x.max(y) as u32));
        assert_eq!((b32::min_u(a, b), b32::max_u(a, b)), (a.min(b), a.max(b)));
        assert_eq!(b32::relu(a), x.max(0) as u32);
    }
    let lowest = i32::MIN as u32;
    assert_eq!((b32::abs(lowest), b32::neg(lowest), b32::abs(u32::MAX)), (lowest, lowest, 1));
}

#[test]
fn pairs_of_halves_do_not_touch_each_other() {
    assert_eq!(pairs::add(0x0001_FFFF, 0x0001_0001), 0x0002_0000);
    assert_eq!(
        (pairs::min_u(0xFFFF_0001, 0x0001_8000), pairs::max_u(0xFFFF_0001, 0x0001_8000)),
        (0x0001_0001, 0xFFFF_8000)
    );
    assert_eq!(
        (pairs::min_s(0xFFFF_0001, 0x0001_8000), pairs::max_s(0xFFFF_0001, 0x0001_8000)),
        (0xFFFF_8000, 0x0001_0001)
    );
    assert_eq!(
        (pairs::min_relu_s(0xFFFF_0005, 0x0001_0003), pairs::max_relu_s(0xFFFF_8000, 0xFFFE_0003)),
        (3, 3)
    );
}

#[test]
fn masks_and_extensions_differ_beyond_31() {
    for a in [0, 1, 5, 31, 32, 37, 255] {
        for b in [0, 1, 5, 31, 32, 37, 255] {
            let ones = |start: u32, count: u32| {
                (0..32).filter(|i| (start..start + count).contains(i)).fold(0, |m, i| m | 1 << i)
            };
            assert_eq!(bits::bmsk(a, b, Overrun::Clamp), ones(a, b));
            assert_eq!(bits::bmsk(a, b, Overrun::Wrap), ones(a % 32, b % 32));
        }
    }
    let a = 0xDEAD_BEEF;
    for b in 0..80 {
        for (overrun, kept) in [(Overrun::Clamp, b.min(32)), (Overrun::Wrap, b % 32)] {
            let bit = |i: u32| a >> i & 1;
            let low = (0..kept).fold(0, |m, i| m | bit(i) << i);
            let sign = kept > 0 && bit(kept - 1) == 1;
            let filled = (kept..32).fold(low, |m, i| m | u32::from(sign) << i);
            assert_eq!(
                (bits::szext_u(a, b, overrun), bits::szext_s(a, b, overrun)),
                (low, filled),
                "{b} {overrun:?}"
            );
        }
    }
}

#[test]
fn relations_depend_on_the_sign() {
    assert!(b32::compare_u(Compare::Gt, u32::MAX, 1) && b32::compare_s(Compare::Lt, u32::MAX, 1));
    assert!(b64::compare_u(Compare::Ge, 5, 5) && b16::compare_s(Compare::Ne, 0x8000, 0));
    assert!(!b32::compare_s(Compare::Eq, 1, 2) && b32::compare_u(Compare::Le, 1, 2));
}

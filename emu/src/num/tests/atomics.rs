//! The value functions of `atom` and `red`.

use crate::num::atomic::{self, Element, Operation, update};

fn apply(operation: Operation, element: Element, old: u64, b: u64) -> u64 {
    update(operation, element).unwrap()(old, b)
}

#[test]
fn inc_and_dec_wrap_at_the_bound() {
    let inc: Vec<u32> = (0..6).map(|old| atomic::inc(old, 3)).collect();
    assert_eq!(inc, [1, 2, 3, 0, 0, 0]);
    let dec: Vec<u32> = (0..6).map(|old| atomic::dec(old, 3)).collect();
    assert_eq!(dec, [3, 0, 1, 2, 3, 3]);
    assert_eq!((atomic::inc(u32::MAX, u32::MAX), atomic::dec(0, 0), atomic::inc(0, 0)), (0, 0, 0));
    assert_eq!(apply(Operation::Inc, Element::U32, 2, 3), 3);
    assert_eq!(apply(Operation::Dec, Element::U32, 0, 7), 7);
}

#[test]
fn float_sums_flush_in_global_memory_only() {
    let tiny = 1;
    assert_eq!(apply(Operation::Add, Element::F32, tiny, tiny), 2);
    assert_eq!(apply(Operation::Add, Element::F32Flushed, tiny, tiny), 0);
    let bits = |x: f32| u64::from(x.to_bits());
    assert_eq!(apply(Operation::Add, Element::F32, bits(2.0f32.powi(24)), bits(1.0)), bits(2.0f32.powi(24)));
    assert_eq!(apply(Operation::Add, Element::F64, 1.5f64.to_bits(), 2.0f64.to_bits()), 3.5f64.to_bits());
}

#[test]
fn pairs_add_each_half_and_keep_subnormals() {
    assert_eq!(apply(Operation::Add, Element::F16x2, 0x3C00_0001, 0x4000_0001), 0x4200_0002);
    assert_eq!(apply(Operation::Add, Element::Bf16x2, 0x3F80_0001, 0x4000_0001), 0x4040_0002);
    assert_eq!(apply(Operation::Min, Element::Bf16x2, 0x3F80_8000, 0x4000_0000), 0x3F80_8000);
    assert_eq!(apply(Operation::Max, Element::F16, 0xBC00, 0x7E00), 0xBC00);
}

#[test]
fn integers_compare_by_their_type() {
    let minus_one = u64::from(u32::MAX);
    assert_eq!(apply(Operation::Min, Element::S32, minus_one, 1), minus_one);
    assert_eq!(apply(Operation::Min, Element::U32, minus_one, 1), 1);
    assert_eq!(apply(Operation::Max, Element::S64, u64::MAX, 1), 1);
    assert_eq!(apply(Operation::Max, Element::U64, u64::MAX, 1), u64::MAX);
    assert_eq!(apply(Operation::Add, Element::U32, minus_one, 2), 1);
    assert_eq!(apply(Operation::Xor, Element::U64, 0b1100, 0b1010), 0b0110);
    assert_eq!(apply(Operation::And, Element::U32, 0b1100, 0b1010), 0b1000);
    assert_eq!(apply(Operation::Or, Element::U32, 0b1100, 0b1010), 0b1110);
    assert_eq!(apply(Operation::Exch, Element::U64, 1, 2), 2);
}

#[test]
fn compare_and_swap_needs_equality() {
    assert_eq!((atomic::cas(5, 5, 9), atomic::cas(5, 6, 9)), (9, 5));
    assert_eq!((atomic::cas128(1 << 100, 1 << 100, 2), atomic::cas128(1 << 100, 0, 2)), (2, 1 << 100));
}

#[test]
fn forms_without_meaning_have_no_function() {
    for (operation, element) in [
        (Operation::Inc, Element::U64),
        (Operation::Dec, Element::S32),
        (Operation::And, Element::F32),
        (Operation::Min, Element::F32),
        (Operation::Max, Element::F64),
    ] {
        assert!(update(operation, element).is_none());
    }
}

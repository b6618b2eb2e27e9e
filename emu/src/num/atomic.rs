//! The values of `atom` and `red`: the old value and the operands in, the new value out (PTX ISA, atom).
//!
//! Bitwise operations, `exch` and integer `add`, `min`, `max` are here too, so that one table names every operation;
//! who does the memory access decides the order.

use super::{bf16, f16, f32, f64, int, packed};

/// `inc`: wraps to 0 after `b`.
#[inline]
#[must_use]
pub const fn inc(old: u32, b: u32) -> u32 {
    if old >= b { 0 } else { old + 1 }
}

/// `dec`: wraps to `b` at 0 and from above `b`.
#[inline]
#[must_use]
pub const fn dec(old: u32, b: u32) -> u32 {
    if old == 0 || old > b { b } else { old - 1 }
}

/// `cas` on up to 64 bits: `new` if the old value is `compare`.
#[inline]
#[must_use]
pub const fn cas(old: u64, compare: u64, new: u64) -> u64 {
    if old == compare { new } else { old }
}

/// `cas.b128`.
#[inline]
#[must_use]
pub const fn cas128(old: u128, compare: u128, new: u128) -> u128 {
    if old == compare { new } else { old }
}

/// `add.f32` on shared memory: subnormals are kept.
#[inline]
#[must_use]
pub fn add_f32(old: u32, b: u32) -> u32 {
    f32::add(old, b)
}

/// `add.f32` on global memory: subnormal operands and results are flushed.
#[inline]
#[must_use]
pub fn add_f32_flushed(old: u32, b: u32) -> u32 {
    f32::add_ftz(old, b)
}

/// What an element of an atomic operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// `.u32`, `.b32`.
    U32,
    /// `.s32`.
    S32,
    /// `.u64`, `.b64`.
    U64,
    /// `.s64`.
    S64,
    /// `.f32`, subnormals kept (shared memory).
    F32,
    /// `.f32`, subnormals flushed (global memory).
    F32Flushed,
    /// `.f64`.
    F64,
    /// `.f16`.
    F16,
    /// `.f16x2`.
    F16x2,
    /// `.bf16`.
    Bf16,
    /// `.bf16x2`.
    Bf16x2,
}

/// The operations with one operand; `cas` has its own functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The sum.
    Add,
    /// The smaller one.
    Min,
    /// The larger one.
    Max,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// The operand.
    Exch,
    /// [`inc`].
    Inc,
    /// [`dec`].
    Dec,
}

/// From the old value and the operand, both in the low bits, to the new value.
pub type Update = fn(u64, u64) -> u64;

/// The function for one operation, or none if PTX has no such form.
#[must_use]
pub fn update(operation: Operation, element: Element) -> Option<Update> {
    match operation {
        Operation::Add => add(element),
        Operation::Min => min(element),
        Operation::Max => max(element),
        Operation::And => bitwise(element, |a, b| a & b),
        Operation::Or => bitwise(element, |a, b| a | b),
        Operation::Xor => bitwise(element, |a, b| a ^ b),
        Operation::Exch => bitwise(element, |_, b| b),
        Operation::Inc if element == Element::U32 => Some(|a, b| u64::from(inc(a as u32, b as u32))),
        Operation::Dec if element == Element::U32 => Some(|a, b| u64::from(dec(a as u32, b as u32))),
        Operation::Inc | Operation::Dec => None,
    }
}

fn bitwise(element: Element, f: Update) -> Option<Update> {
    matches!(element, Element::U32 | Element::S32 | Element::U64 | Element::S64).then_some(f)
}

fn add(element: Element) -> Option<Update> {
    Some(match element {
        Element::U32 | Element::S32 => |a, b| u64::from((a as u32).wrapping_add(b as u32)),
        Element::U64 | Element::S64 => |a, b| a.wrapping_add(b),
        Element::F32 => |a, b| u64::from(add_f32(a as u32, b as u32)),
        Element::F32Flushed => |a, b| u64::from(add_f32_flushed(a as u32, b as u32)),
        Element::F64 => f64::add,
        Element::F16 => |a, b| u64::from(f16::add(a as u16, b as u16)),
        Element::F16x2 => |a, b| u64::from(packed::map2(f16::add, a as u32, b as u32)),
        Element::Bf16 => |a, b| u64::from(bf16::add(a as u16, b as u16)),
        Element::Bf16x2 => |a, b| u64::from(packed::map2(bf16::add, a as u32, b as u32)),
    })
}

fn min(element: Element) -> Option<Update> {
    Some(match element {
        Element::U32 => |a, b| u64::from((a as u32).min(b as u32)),
        Element::S32 => |a, b| u64::from(int::b32::min_s(a as u32, b as u32)),
        Element::U64 => |a, b| a.min(b),
        Element::S64 => int::b64::min_s,
        Element::F16 => |a, b| u64::from(f16::min(a as u16, b as u16)),
        Element::F16x2 => |a, b| u64::from(packed::map2(f16::min, a as u32, b as u32)),
        Element::Bf16 => |a, b| u64::from(bf16::min(a as u16, b as u16)),
        Element::Bf16x2 => |a, b| u64::from(packed::map2(bf16::min, a as u32, b as u32)),
        Element::F32 | Element::F32Flushed | Element::F64 => return None,
    })
}

fn max(element: Element) -> Option<Update> {
    Some(match element {
        Element::U32 => |a, b| u64::from((a as u32).max(b as u32)),
        Element::S32 => |a, b| u64::from(int::b32::max_s(a as u32, b as u32)),
        Element::U64 => |a, b| a.max(b),
        Element::S64 => int::b64::max_s,
        Element::F16 => |a, b| u64::from(f16::max(a as u16, b as u16)),
        Element::F16x2 => |a, b| u64::from(packed::map2(f16::max, a as u32, b as u32)),
        Element::Bf16 => |a, b| u64::from(bf16::max(a as u16, b as u16)),
        Element::Bf16x2 => |a, b| u64::from(packed::map2(bf16::max, a as u32, b as u32)),
        Element::F32 | Element::F32Flushed | Element::F64 => return None,
    })
}

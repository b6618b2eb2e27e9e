//! Arithmetic on f16, bf16 and their pairs.

use super::decoder::{Dec, Refusal};
use super::float::{min_max_mode, mode, pack_min_max, pack_mode};
use super::form::{Form, deviating, form};
use super::inst::Handler;
use crate::num::{approx, bf16, f16, packed};
use crate::ptx::Type;

const APPROXIMATE: &str = "gives the correctly rounded value, which is within the stated error";

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("add.[rn].[ftz].[sat].{f16,f16x2}", 53),
    form("sub.[rn].[ftz].[sat].{f16,f16x2}", 53),
    form("mul.[rn].[ftz].[sat].{f16,f16x2}", 53),
    form("add.[rn].{bf16,bf16x2}", 90),
    form("sub.[rn].{bf16,bf16x2}", 90),
    form("mul.[rn].{bf16,bf16x2}", 90),
    form("fma.rn.[ftz].[sat].[relu].{f16,f16x2}", 53),
    form("fma.rn.[relu].{bf16,bf16x2}", 80),
    form("fma.rn.[oob].[relu].{f16,f16x2,bf16,bf16x2}", 90),
    form("neg.[ftz].{f16,f16x2}", 53),
    form("abs.[ftz].{f16,f16x2}", 53),
    form("neg.{bf16,bf16x2}", 80),
    form("abs.{bf16,bf16x2}", 80),
    form("min.[ftz].[NaN].[xorsign].[abs].{f16,f16x2}", 80),
    form("max.[ftz].[NaN].[xorsign].[abs].{f16,f16x2}", 80),
    form("min.[NaN].[xorsign].[abs].{bf16,bf16x2}", 80),
    form("max.[NaN].[xorsign].[abs].{bf16,bf16x2}", 80),
    deviating("tanh.approx.{f16,f16x2}", 75, APPROXIMATE),
    deviating("tanh.approx.{bf16,bf16x2}", 90, APPROXIMATE),
    deviating("ex2.approx.[ftz].{f16,f16x2}", 75, APPROXIMATE),
    deviating("ex2.approx.ftz.{bf16,bf16x2}", 90, APPROXIMATE),
];

/// Four handlers of one function, for f16, f16x2, bf16, bf16x2; `x` has its modifiers.
macro_rules! four {
    (1, $unpack:ident, $f16:expr, $bf16:expr) => {
        [
            active_x!(W = |x, a: u32| u32::from($f16(a as u16, $unpack(x))); W),
            active_x!(W = |x, a| packed::map1(|a| $f16(a, $unpack(x)), a); W),
            active_x!(W = |x, a: u32| u32::from($bf16(a as u16, $unpack(x))); W),
            active_x!(W = |x, a| packed::map1(|a| $bf16(a, $unpack(x)), a); W),
        ]
    };
    (2, $unpack:ident, $f16:expr, $bf16:expr) => {
        [
            active_x!(W = |x, (a, b): (u32, u32)| u32::from($f16(a as u16, b as u16, $unpack(x))); W, W),
            active_x!(W = |x, (a, b)| packed::map2(|a, b| $f16(a, b, $unpack(x)), a, b); W, W),
            active_x!(W = |x, (a, b): (u32, u32)| u32::from($bf16(a as u16, b as u16, $unpack(x))); W, W),
            active_x!(W = |x, (a, b)| packed::map2(|a, b| $bf16(a, b, $unpack(x)), a, b); W, W),
        ]
    };
    (3, $unpack:ident, $f16:expr, $bf16:expr) => {
        [
            active_x!(W = |x, (a, b, c): (u32, u32, u32)| u32::from($f16(a as u16, b as u16, c as u16, $unpack(x))); W, W, W),
            active_x!(W = |x, (a, b, c)| packed::map3(|a, b, c| $f16(a, b, c, $unpack(x)), a, b, c); W, W, W),
            active_x!(W = |x, (a, b, c): (u32, u32, u32)| u32::from($bf16(a as u16, b as u16, c as u16, $unpack(x))); W, W, W),
            active_x!(W = |x, (a, b, c)| packed::map3(|a, b, c| $bf16(a, b, c, $unpack(x)), a, b, c); W, W, W),
        ]
    };
}

/// The forms without modifiers, which vectorise: for two sources and for three.
macro_rules! plain_four {
    (2, $op:ident) => {
        [
            every!(W = |a: u32, b: u32| u32::from(f16::$op(a as u16, b as u16)); W, W),
            every!(W = |a, b| packed::map2(f16::$op, a, b); W, W),
            every!(W = |a: u32, b: u32| u32::from(bf16::$op(a as u16, b as u16)); W, W),
            every!(W = |a, b| packed::map2(bf16::$op, a, b); W, W),
        ]
    };
    (3, $op:ident) => {
        [
            every!(W = |a: u32, b: u32, c: u32| u32::from(f16::$op(a as u16, b as u16, c as u16)); W, W, W),
            every!(W = |a, b, c| packed::map3(f16::$op, a, b, c); W, W, W),
            every!(W = |a: u32, b: u32, c: u32| u32::from(bf16::$op(a as u16, b as u16, c as u16)); W, W, W),
            every!(W = |a, b, c| packed::map3(bf16::$op, a, b, c); W, W, W),
        ]
    };
}

fn itself(x: u32) -> u32 {
    x
}

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let ty = dec.ty()?;
    let which = match ty {
        Type::F(16) => 0,
        Type::F16x2 => 1,
        Type::Bf16 => 2,
        _ => 3,
    };
    let x = pack_mode(dec);
    let ftz = dec.has("ftz");
    let (handlers, x, sources): ([Handler; 4], u32, usize) = match dec.opcode() {
        "add" if x == 0 => (plain_four!(2, add), x, 2),
        "sub" if x == 0 => (plain_four!(2, sub), x, 2),
        "mul" if x == 0 => (plain_four!(2, mul), x, 2),
        "fma" if x == 0 && !dec.has("oob") => (plain_four!(3, fma), x, 3),
        "add" => (four!(2, mode, f16::add_mode, bf16::add_mode), x, 2),
        "sub" => (four!(2, mode, f16::sub_mode, bf16::sub_mode), x, 2),
        "mul" => (four!(2, mode, f16::mul_mode, bf16::mul_mode), x, 2),
        "fma" if dec.has("oob") => (four!(3, mode, f16::fma_oob, bf16::fma_oob), x, 3),
        "fma" => (four!(3, mode, f16::fma_mode, bf16::fma_mode), x, 3),
        "neg" => (four!(1, itself, neg_f16, |a, _| bf16::neg(a)), ftz.into(), 1),
        "abs" => (four!(1, itself, abs_f16, |a, _| bf16::abs(a)), ftz.into(), 1),
        "min" => (four!(2, min_max_mode, f16::min_mode, bf16::min_mode), pack_min_max(dec), 2),
        "max" => (four!(2, min_max_mode, f16::max_mode, bf16::max_mode), pack_min_max(dec), 2),
        "tanh" => (four!(1, itself, |a, _| approx::tanh_f16(a), |a, _| approx::tanh_bf16(a)), 0, 1),
        _ => (four!(1, itself, ex2_f16, |a, _| approx::ex2_ftz_bf16(a)), ftz.into(), 1),
    };
    let three = dec.opcode().starts_with('m') && dec.count() == 4;
    if three && dec.opcode() != "mul" {
        if !dec.target_at_least(100) {
            return Err("three sources need sm_100".to_owned());
        }
        let handlers = if dec.opcode() == "min" {
            four!(3, min_max_mode, f16::min3_mode, bf16::min3_mode)
        } else {
            four!(3, min_max_mode, f16::max3_mode, bf16::max3_mode)
        };
        return dec.plain_x(handlers[which], x, ty, &[ty, ty, ty]);
    }
    dec.plain_x(handlers[which], x, ty, &[ty, ty, ty][..sources])
}

fn neg_f16(a: u16, ftz: u32) -> u16 {
    f16::neg(if ftz == 1 { f16::flush(a) } else { a })
}

fn abs_f16(a: u16, ftz: u32) -> u16 {
    f16::abs(if ftz == 1 { f16::flush(a) } else { a })
}

fn ex2_f16(a: u16, ftz: u32) -> u16 {
    if ftz == 1 { approx::ex2_ftz_f16(a) } else { approx::ex2_f16(a) }
}

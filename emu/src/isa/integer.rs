//! Integer arithmetic.

use super::decoder::{Dec, Refusal};
use super::form::{Form, form};
use super::inst::{Flow, Handler, Inst};
use crate::exec::report::{FindingKind, Severity};
use crate::exec::{Cx, lanes};
use crate::num::int::{self, b16, b32, b64, dot, pairs};
use crate::ptx::Type;

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("add.{u16,s16,u32,s32,u64,s64}", 50),
    form("add.sat.s32", 50),
    form("add.{u16x2,s16x2}", 90),
    form("sub.{u16,s16,u32,s32,u64,s64}", 50),
    form("sub.sat.s32", 50),
    form("mul.{lo,hi}.{u16,s16,u32,s32,u64,s64}", 50),
    form("mul.wide.{u16,s16,u32,s32}", 50),
    form("mad.{lo,hi}.{u16,s16,u32,s32,u64,s64}", 50),
    form("mad.hi.sat.s32", 50),
    form("mad.wide.{u16,s16,u32,s32}", 50),
    form("mul24.{lo,hi}.{u32,s32}", 50),
    form("mad24.{lo,hi}.{u32,s32}", 50),
    form("mad24.hi.sat.s32", 50),
    form("div.{u16,s16,u32,s32,u64,s64}", 50),
    form("rem.{u16,s16,u32,s32,u64,s64}", 50),
    form("min.{u16,s16,u32,s32,u64,s64}", 50),
    form("max.{u16,s16,u32,s32,u64,s64}", 50),
    form("min.{u16x2,s16x2}", 90),
    form("max.{u16x2,s16x2}", 90),
    form("min.relu.{s16x2,s32}", 90),
    form("max.relu.{s16x2,s32}", 90),
    form("neg.{s16,s32,s64}", 50),
    form("abs.{s16,s32,s64}", 50),
    form("sad.{u16,s16,u32,s32,u64,s64}", 50),
    form("dp4a.{u32,s32}.{u32,s32}", 61),
    form("dp2a.{lo,hi}.{u32,s32}.{u32,s32}", 61),
    form("add.cc.{u32,s32,u64,s64}", 50),
    form("addc.[cc].{u32,s32,u64,s64}", 50),
    form("sub.cc.{u32,s32,u64,s64}", 50),
    form("subc.[cc].{u32,s32,u64,s64}", 50),
    form("mad.{lo,hi}.cc.{u32,s32,u64,s64}", 50),
    form("madc.{lo,hi}.[cc].{u32,s32,u64,s64}", 50),
];

/// A handler for 16 bits from a function on `u16`.
macro_rules! h {
    ($f:path, 1) => {
        every!(W = |a: u32| u32::from($f(a as u16)); W)
    };
    ($f:path, 2) => {
        every!(W = |a: u32, b: u32| u32::from($f(a as u16, b as u16)); W, W)
    };
    ($f:path, 3) => {
        every!(W = |a: u32, b: u32, c: u32| u32::from($f(a as u16, b as u16, c as u16)); W, W, W)
    };
}

/// The handler of a width among three.
fn by_width(bits: u32, handlers: [Handler; 3]) -> Handler {
    match bits {
        16 => handlers[0],
        64 => handlers[2],
        _ => handlers[1],
    }
}

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    if dec.has("cc") || matches!(dec.opcode(), "addc" | "subc" | "madc") {
        return carry(dec);
    }
    let x2 = |d: &Dec<'_>| d.has("u16x2") || d.has("s16x2");
    if x2(dec) {
        return packed(dec);
    }
    let ty = dec.ty()?;
    let (bits, signed) = (ty.bits(), matches!(ty, Type::S(_)));
    let three = matches!(dec.opcode(), "mad" | "mad24" | "sad");
    let run = match dec.opcode() {
        "mul" | "mad" if dec.has("wide") => return wide(dec, ty),
        "mul" | "mad" => product(dec, bits, signed),
        "mul24" | "mad24" => product24(dec, signed),
        "dp4a" | "dp2a" => return dots(dec),
        "div" | "rem" => return division(dec, ty),
        "neg" => {
            return dec.plain(
                by_width(bits, [h!(b16::neg, 1), every!(W = b32::neg; W), every!(L = b64::neg; L)]),
                ty,
                &[ty],
            );
        }
        "abs" => {
            return dec.plain(
                by_width(bits, [h!(b16::abs, 1), every!(W = b32::abs; W), every!(L = b64::abs; L)]),
                ty,
                &[ty],
            );
        }
        "sad" if signed => by_width(
            bits,
            [h!(b16::sad_s, 3), every!(W = b32::sad_s; W, W, W), every!(L = b64::sad_s; L, L, L)],
        ),
        "sad" => by_width(
            bits,
            [h!(b16::sad_u, 3), every!(W = b32::sad_u; W, W, W), every!(L = b64::sad_u; L, L, L)],
        ),
        _ => simple(dec, bits, signed),
    };
    dec.plain(run, ty, &[ty, ty, ty][..if three { 3 } else { 2 }])
}

fn simple(dec: &Dec<'_>, bits: u32, signed: bool) -> Handler {
    match (dec.opcode(), signed) {
        ("add", _) if dec.has("sat") => every!(W = b32::add_sat_s; W, W),
        ("add", _) => {
            by_width(bits, [h!(b16::add, 2), every!(W = b32::add; W, W), every!(L = b64::add; L, L)])
        }
        ("sub", _) if dec.has("sat") => every!(W = b32::sub_sat_s; W, W),
        ("sub", _) => {
            by_width(bits, [h!(b16::sub, 2), every!(W = b32::sub; W, W), every!(L = b64::sub; L, L)])
        }
        ("min", _) if dec.has("relu") => every!(W = |a, b| b32::relu(b32::min_s(a, b)); W, W),
        ("max", _) if dec.has("relu") => every!(W = |a, b| b32::relu(b32::max_s(a, b)); W, W),
        ("min", true) => {
            by_width(bits, [h!(b16::min_s, 2), every!(W = b32::min_s; W, W), every!(L = b64::min_s; L, L)])
        }
        ("min", false) => {
            by_width(bits, [h!(b16::min_u, 2), every!(W = b32::min_u; W, W), every!(L = b64::min_u; L, L)])
        }
        (_, true) => {
            by_width(bits, [h!(b16::max_s, 2), every!(W = b32::max_s; W, W), every!(L = b64::max_s; L, L)])
        }
        (_, false) => {
            by_width(bits, [h!(b16::max_u, 2), every!(W = b32::max_u; W, W), every!(L = b64::max_u; L, L)])
        }
    }
}

fn packed(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let run = match (dec.opcode(), dec.has("s16x2"), dec.has("relu")) {
        ("add", ..) => every!(W = pairs::add; W, W),
        ("min", _, true) => every!(W = pairs::min_relu_s; W, W),
        ("max", _, true) => every!(W = pairs::max_relu_s; W, W),
        ("min", true, _) => every!(W = pairs::min_s; W, W),
        ("min", false, _) => every!(W = pairs::min_u; W, W),
        (_, true, _) => every!(W = pairs::max_s; W, W),
        (_, false, _) => every!(W = pairs::max_u; W, W),
    };
    dec.plain(run, Type::B(32), &[Type::B(32), Type::B(32)])
}

fn product(dec: &Dec<'_>, bits: u32, signed: bool) -> Handler {
    match (dec.opcode(), dec.has("hi"), signed) {
        ("mul", false, _) => {
            by_width(bits, [h!(b16::mul_lo, 2), every!(W = b32::mul_lo; W, W), every!(L = b64::mul_lo; L, L)])
        }
        ("mul", true, false) => by_width(
            bits,
            [h!(b16::mul_hi_u, 2), every!(W = b32::mul_hi_u; W, W), every!(L = b64::mul_hi_u; L, L)],
        ),
        ("mul", true, true) => by_width(
            bits,
            [h!(b16::mul_hi_s, 2), every!(W = b32::mul_hi_s; W, W), every!(L = b64::mul_hi_s; L, L)],
        ),
        (_, false, _) => by_width(
            bits,
            [h!(b16::mad_lo, 3), every!(W = b32::mad_lo; W, W, W), every!(L = b64::mad_lo; L, L, L)],
        ),
        (_, true, _) if dec.has("sat") => every!(W = b32::mad_hi_sat_s; W, W, W),
        (_, true, false) => by_width(
            bits,
            [h!(b16::mad_hi_u, 3), every!(W = b32::mad_hi_u; W, W, W), every!(L = b64::mad_hi_u; L, L, L)],
        ),
        (_, true, true) => by_width(
            bits,
            [h!(b16::mad_hi_s, 3), every!(W = b32::mad_hi_s; W, W, W), every!(L = b64::mad_hi_s; L, L, L)],
        ),
    }
}

fn product24(dec: &Dec<'_>, signed: bool) -> Handler {
    use int::bits::{mad24_hi_sat_s, mul24_hi_s, mul24_hi_u, mul24_lo_s, mul24_lo_u};
    match (dec.opcode(), dec.has("hi"), signed) {
        ("mul24", false, false) => every!(W = mul24_lo_u; W, W),
        ("mul24", false, true) => every!(W = mul24_lo_s; W, W),
        ("mul24", true, false) => every!(W = mul24_hi_u; W, W),
        ("mul24", true, true) => every!(W = mul24_hi_s; W, W),
        (_, true, _) if dec.has("sat") => every!(W = mad24_hi_sat_s; W, W, W),
        (_, false, false) => every!(W = |a, b, c: u32| mul24_lo_u(a, b).wrapping_add(c); W, W, W),
        (_, false, true) => every!(W = |a, b, c: u32| mul24_lo_s(a, b).wrapping_add(c); W, W, W),
        (_, true, false) => every!(W = |a, b, c: u32| mul24_hi_u(a, b).wrapping_add(c); W, W, W),
        (_, true, true) => every!(W = |a, b, c: u32| mul24_hi_s(a, b).wrapping_add(c); W, W, W),
    }
}

fn wide(dec: &mut Dec<'_>, ty: Type) -> Result<(), Refusal> {
    let double = Type::B(2 * ty.bits() as u8);
    let signed = matches!(ty, Type::S(_));
    let (mul, mad): (Handler, Handler) = match (ty.bits(), signed) {
        (16, false) => (
            every!(W = |a, b| b16::mul_wide_u(a as u16, b as u16); W, W),
            every!(W = |a, b, c| b16::mad_wide_u(a as u16, b as u16, c); W, W, W),
        ),
        (16, true) => (
            every!(W = |a, b| b16::mul_wide_s(a as u16, b as u16); W, W),
            every!(W = |a, b, c| b16::mad_wide_s(a as u16, b as u16, c); W, W, W),
        ),
        (_, false) => (every!(L = b32::mul_wide_u; W, W), every!(L = b32::mad_wide_u; W, W, L)),
        (_, true) => (every!(L = b32::mul_wide_s; W, W), every!(L = b32::mad_wide_s; W, W, L)),
    };
    if dec.opcode() == "mul" {
        dec.plain(mul, double, &[ty, ty])
    } else {
        dec.plain(mad, double, &[ty, ty, double])
    }
}

fn dots(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let types = dec.types();
    let signed = |i: usize| matches!(types.get(i), Some(Type::S(_)));
    let x = u32::from(signed(0)) | u32::from(signed(1)) << 1 | u32::from(dec.has("hi")) << 2;
    let run = if dec.opcode() == "dp4a" {
        active_x!(W = |x: u32, (a, b, c)| dot::dp4a(a, b, c, x & 1 != 0, x & 2 != 0); W, W, W)
    } else {
        active_x!(W = |x: u32, (a, b, c)| dot::dp2a(a, b, c, x & 1 != 0, x & 2 != 0, x & 4 != 0); W, W, W)
    };
    let word = Type::B(32);
    dec.plain_x(run, x, word, &[word, word, word])
}

// Division: a zero divisor gives an unspecified value and no trap; it is reported.

fn division(dec: &mut Dec<'_>, ty: Type) -> Result<(), Refusal> {
    let x = u32::from(matches!(ty, Type::S(_)))
        | u32::from(dec.opcode() == "rem") << 1
        | u32::from(ty.bits() == 16) << 2;
    let run: Handler = if ty.bits() == 64 { divide_long } else { divide_word };
    dec.plain_x(run, x, ty, &[ty, ty])
}

fn divide_word<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let (a, b) = (cx.word(i.a), cx.word(i.b));
    let mut d = [0; 32];
    for l in lanes(mask) {
        let (a, b) = (a[l], b[l]);
        let result = match i.x {
            0 => b32::div_u(a, b),
            1 => b32::div_s(a, b),
            2 => b32::rem_u(a, b),
            3 => b32::rem_s(a, b),
            4 => b16::div_u(a as u16, b as u16).map(u32::from),
            5 => b16::div_s(a as u16, b as u16).map(u32::from),
            6 => b16::rem_u(a as u16, b as u16).map(u32::from),
            _ => b16::rem_s(a as u16, b as u16).map(u32::from),
        };
        d[l] = result.unwrap_or_else(|| {
            by_zero(cx, i, l);
            int::DIVISION_POISON as u32
        });
    }
    cx.set_word(i.d, &d, mask);
    Flow::Next
}

fn divide_long<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let (a, b) = (cx.long(i.a), cx.long(i.b));
    let mut d = [0; 32];
    for l in lanes(mask) {
        let result = match i.x {
            0 => b64::div_u(a[l], b[l]),
            1 => b64::div_s(a[l], b[l]),
            2 => b64::rem_u(a[l], b[l]),
            _ => b64::rem_s(a[l], b[l]),
        };
        d[l] = result.unwrap_or_else(|| {
            by_zero(cx, i, l);
            int::DIVISION_POISON
        });
    }
    cx.set_long(i.d, &d, mask);
    Flow::Next
}

#[cold]
fn by_zero(cx: &mut Cx<'_>, i: &Inst, lane: usize) {
    let message = "integer division by zero: the result is unspecified".to_owned();
    cx.report(i.site, FindingKind::Undefined, Severity::Warning, lane, message);
}

// Extended precision: one carry flag a thread.

/// Packed in `x`: reads the flag, writes it, subtracts.
const CARRY_IN: u32 = 1;
const CARRY_OUT: u32 = 2;
const SUBTRACT: u32 = 4;

fn carry(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let ty = dec.ty()?;
    let opcode = dec.opcode();
    let reads = opcode.ends_with('c');
    let flags = if reads { CARRY_IN } else { 0 }
        | if dec.has("cc") { CARRY_OUT } else { 0 }
        | if opcode.starts_with("sub") { SUBTRACT } else { 0 };
    if !opcode.starts_with("mad") {
        let run: Handler = if ty.bits() == 64 { carry_long } else { carry_word };
        return dec.plain_x(run, flags, ty, &[ty, ty]);
    }
    // The product first, then the sum with the flag.
    dec.expect(4, 4)?;
    let signed = matches!(ty, Type::S(_));
    let class = super::decoder::class_of(ty);
    let t = dec.temp(class);
    let (a, b) = (dec.src(1, ty)?, dec.src(2, ty)?);
    let bits = ty.bits();
    let mut first = Inst::new(match (dec.has("hi"), signed) {
        (false, _) => by_width(
            bits,
            [every!(W = b32::mul_lo; W, W), every!(W = b32::mul_lo; W, W), every!(L = b64::mul_lo; L, L)],
        ),
        (true, false) => by_width(
            bits,
            [
                every!(W = b32::mul_hi_u; W, W),
                every!(W = b32::mul_hi_u; W, W),
                every!(L = b64::mul_hi_u; L, L),
            ],
        ),
        (true, true) => by_width(
            bits,
            [
                every!(W = b32::mul_hi_s; W, W),
                every!(W = b32::mul_hi_s; W, W),
                every!(L = b64::mul_hi_s; L, L),
            ],
        ),
    });
    (first.d, first.a, first.b) = (t, a, b);
    dec.note_def(class, t);
    first.flags.internal = true;
    dec.emit(first);
    dec.note_use(class, t);
    let mut second = Inst::new(if bits == 64 { carry_long } else { carry_word });
    (second.a, second.b, second.x) = (t, dec.src(3, ty)?, flags);
    second.d = dec.dst(0, ty)?;
    dec.emit(second);
    Ok(())
}

macro_rules! carry_handler {
    ($name:ident, $get:ident, $set:ident, $width:ident, $zero:expr) => {
        fn $name<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
            let (a, b) = (cx.$get(i.a), cx.$get(i.b));
            let (mut d, mut out) = ([$zero; 32], 0u32);
            for l in 0..32 {
                let flag = i.x & CARRY_IN != 0 && cx.warp.carry >> l & 1 == 1;
                let (value, flag) = if i.x & SUBTRACT != 0 {
                    $width::sub_borrow(a[l], b[l], flag)
                } else {
                    $width::add_carry(a[l], b[l], flag)
                };
                d[l] = value;
                out |= u32::from(flag) << l;
            }
            if i.x & CARRY_OUT != 0 {
                cx.warp.carry = (cx.warp.carry & !mask) | (out & mask);
            }
            cx.$set(i.d, &d, mask);
            Flow::Next
        }
    };
}

carry_handler!(carry_word, word, set_word, b32, 0u32);
carry_handler!(carry_long, long, set_long, b64, 0u64);

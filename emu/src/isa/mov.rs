//! `mov` in all its uses: copy, pack, unpack, special register, the address of a variable or function.

use super::decoder::{Dec, Refusal};
use super::form::{Form, form};
use super::inst::{Class, Flow, Handler, Inst, Slot};
use super::layout::Place;
use super::sreg;
use crate::exec::Cx;
use crate::ptx::{Operand, Space, Type};

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("mov.{b16,b32,b64,u16,u32,u64,s16,s32,s64,f32,f64,f16,bf16,f16x2,bf16x2,pred,b128}", 50),
    form("mov.{v4,v2}.{u32,u16,b32}", 50),
];

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(2, 2)?;
    let ty = dec.ty()?;
    if dec.has("v4") || dec.has("v2") {
        return vector(dec, ty);
    }
    match (dec.operand(0)?, dec.operand(1)?) {
        (Operand::Vector(parts), Operand::Vector(_)) if parts.len() == 1 => copy(dec, ty),
        (Operand::Vector(_), _) => unpack(dec, ty),
        (_, Operand::Vector(_)) => pack(dec, ty),
        _ => copy(dec, ty),
    }
}

fn copy(dec: &mut Dec<'_>, ty: Type) -> Result<(), Refusal> {
    let run: Handler = match ty.bits() {
        1 => move_pred,
        64 => every!(L = |a: u64| a; L),
        128 => move_quad,
        _ => every!(W = |a: u32| a; W),
    };
    dec.plain(run, ty, &[ty])
}

fn move_pred<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let value = cx.pred(i.a);
    cx.set_pred(i.d, value, mask);
    Flow::Next
}

fn move_quad<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    for part in 0..2 {
        let value = cx.long(i.a + part);
        cx.set_long(i.d + part, &value, mask);
    }
    Flow::Next
}

/// Takes the low half of a 64-bit register.
pub(super) fn narrow<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let d = cx.long(i.a).map(|v| v as u32);
    cx.set_word(i.d, &d, mask);
    Flow::Next
}

/// Zero- or sign-extends a 32-bit register to 64 bits (`x` 1: with its sign).
pub(super) fn widen<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let a = cx.word(i.a);
    let d = if i.x == 1 { a.map(|v| v as i32 as i64 as u64) } else { a.map(u64::from) };
    cx.set_long(i.d, &d, mask);
    Flow::Next
}

fn vector(dec: &mut Dec<'_>, ty: Type) -> Result<(), Refusal> {
    let Operand::Special(name) = dec.operand(1)? else {
        return Err("a vector can only be moved from a special register".to_owned());
    };
    let parts = dec.elements(0)?;
    for (op, component) in parts.iter().zip(["x", "y", "z", "w"]) {
        let d = dec.destination(op, ty)?;
        sreg::read(dec, &format!("{name}.{component}"), d, ty)?;
    }
    Ok(())
}

/// The element type of a vector of `n` that makes up a register of a type.
fn element(ty: Type, n: usize) -> Result<Type, Refusal> {
    match ty.bits() as usize / n.max(1) {
        bits @ (8 | 16 | 32 | 64) if bits * n == ty.bits() as usize => Ok(Type::B(bits as u8)),
        _ => Err(format!("{n} elements do not make up {} bits", ty.bits())),
    }
}

fn pack(dec: &mut Dec<'_>, ty: Type) -> Result<(), Refusal> {
    let n = dec.elements(1)?.len();
    let part = element(ty, n)?;
    let from = dec.src_vector(1, part)?;
    let mut step = Inst::new(match (part.bits(), ty.bits()) {
        (16, 32) => every!(W = |a: u32, b: u32| (a & 0xffff) | b << 16; W, W),
        (32, 64) => every!(L = |a: u32, b: u32| u64::from(a) | u64::from(b) << 32; W, W),
        (64, _) => pack_longs,
        _ => pack_words,
    });
    (step.a, step.b) = (from[0], from.get(1).copied().unwrap_or(0));
    step.x = part.bits();
    step.imm = u64::from(ty.bits());
    step.list = dec.list(&from);
    step.d = dec.dst(0, ty)?;
    dec.emit(step);
    Ok(())
}

fn pack_longs<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let (a, b) = (cx.long(i.a), cx.long(i.b));
    cx.set_long(i.d, &a, mask);
    cx.set_long(i.d + 1, &b, mask);
    Flow::Next
}

fn pack_words<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let low = if i.x == 32 { u32::MAX } else { (1 << i.x) - 1 };
    let mut parts = [[0u64; 32]; 2];
    for (k, slot) in cx.program.list(i.list).iter().enumerate() {
        let value = cx.word(*slot);
        let at = k as u32 * i.x;
        for l in 0..32 {
            parts[(at / 64) as usize][l] |= u64::from(value[l] & low) << (at % 64);
        }
    }
    match i.imm {
        128 => {
            cx.set_long(i.d, &parts[0], mask);
            cx.set_long(i.d + 1, &parts[1], mask);
        }
        64 => cx.set_long(i.d, &parts[0], mask),
        _ => cx.set_word(i.d, &parts[0].map(|v| v as u32), mask),
    }
    Flow::Next
}

fn unpack(dec: &mut Dec<'_>, ty: Type) -> Result<(), Refusal> {
    let n = dec.elements(0)?.len();
    let part = element(ty, n)?;
    let a = dec.src(1, ty)?;
    let to = dec.dst_vector(0, part)?;
    let mut step = Inst::new(if part.bits() == 64 { unpack_longs } else { unpack_words });
    (step.a, step.x, step.imm) = (a, part.bits(), u64::from(ty.bits()));
    step.list = dec.list(&to);
    dec.emit(step);
    Ok(())
}

fn unpack_longs<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let value = [cx.long(i.a), cx.long(i.a + 1)];
    for (part, slot) in value.iter().zip(cx.program.list(i.list)) {
        cx.set_long(*slot, part, mask);
    }
    Flow::Next
}

fn unpack_words<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let parts: [[u64; 32]; 2] = match i.imm {
        128 => [cx.long(i.a), cx.long(i.a + 1)],
        64 => [cx.long(i.a), [0; 32]],
        _ => [cx.word(i.a).map(u64::from), [0; 32]],
    };
    let low = if i.x == 32 { u32::MAX } else { (1 << i.x) - 1 };
    for (k, slot) in cx.program.list(i.list).iter().enumerate() {
        let at = k as u32 * i.x;
        let part = &parts[(at / 64) as usize];
        let value: [u32; 32] = std::array::from_fn(|l| (part[l] >> (at % 64)) as u32 & low);
        cx.set_word(*slot, &value, mask);
    }
    Flow::Next
}

/// A variable's address as a value.
pub(super) fn symbol_operand(
    dec: &mut Dec<'_>,
    place: Place,
    offset: i64,
    ty: Type,
) -> Result<Slot, Refusal> {
    if ty.bits() < 32 {
        return Err("an address needs 32 or 64 bits".to_owned());
    }
    let address = place.address.wrapping_add(offset as u64);
    let run: Handler = match place.space {
        Space::Shared => cta_address,
        Space::Local => frame_address,
        _ => return Ok(dec.constant(ty, address)),
    };
    let class = if ty.bits() == 64 { Class::Long } else { Class::Word };
    let d = dec.temp(class);
    let mut step = Inst::new(run);
    (step.d, step.imm, step.x) = (d, address, ty.bits());
    dec.emit_internal(step, &[], &[(class, d)]);
    dec.note_use(class, d);
    Ok(d)
}

fn set_address(cx: &mut Cx<'_>, i: &Inst, address: u64, mask: u32) -> Flow {
    match i.x {
        64 => cx.set_long(i.d, &[address; 32], mask),
        _ => cx.set_word(i.d, &[address as u32; 32], mask),
    }
    Flow::Next
}

fn cta_address<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let address = i.imm.wrapping_add(u64::from(cx.shared_base()));
    set_address(cx, i, address, mask)
}

fn frame_address<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let address = i.imm.wrapping_add(u64::from(cx.frame.local_base));
    set_address(cx, i, address, mask)
}

//! Logic, on bits and predicates, and shifts.

use super::decoder::{Dec, Refusal};
use super::form::{Form, form};
use super::inst::{Flow, Handler, Inst, PRED_FALSE};
use crate::exec::Cx;
use crate::num::int::bits::{self, Overrun};
use crate::num::int::{b16, b32, b64};
use crate::ptx::{Operand, Type};

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("and.{pred,b16,b32,b64}", 50),
    form("or.{pred,b16,b32,b64}", 50),
    form("xor.{pred,b16,b32,b64}", 50),
    form("not.{pred,b16,b32,b64}", 50),
    form("cnot.{b16,b32,b64}", 50),
    form("lop3.[or,and].b32", 50),
    form("shl.{b16,b32,b64}", 50),
    form("shr.{b16,b32,b64,u16,u32,u64,s16,s32,s64}", 50),
    form("shf.{l,r}.{clamp,wrap}.b32", 50),
];

const WORD: Type = Type::B(32);

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let ty = dec.ty()?;
    match dec.opcode() {
        "lop3" => lop3(dec),
        "shl" | "shr" => shift(dec, ty),
        "shf" => funnel(dec),
        "not" => dec.plain(not(ty), ty, &[ty]),
        "cnot" => {
            let run = match ty.bits() {
                16 => every!(W = |a: u32| u32::from(b16::cnot(a as u16)); W),
                64 => every!(L = b64::cnot; L),
                _ => every!(W = b32::cnot; W),
            };
            dec.plain(run, ty, &[ty])
        }
        _ => dec.plain(binary(dec.opcode(), ty), ty, &[ty, ty]),
    }
}

macro_rules! preds {
    ($f:expr) => {
        handler!(|cx, i, mask| {
            let value = $f(cx.pred(i.a), cx.pred(i.b));
            cx.set_pred(i.d, value, mask);
            Flow::Next
        })
    };
}

fn not(ty: Type) -> Handler {
    match ty.bits() {
        1 => handler!(|cx, i, mask| {
            let value = !cx.pred(i.a);
            cx.set_pred(i.d, value, mask);
            Flow::Next
        }),
        16 => every!(W = |a: u32| !a & 0xffff; W),
        64 => every!(L = |a: u64| !a; L),
        _ => every!(W = |a: u32| !a; W),
    }
}

fn binary(opcode: &str, ty: Type) -> Handler {
    match (opcode, ty.bits()) {
        ("and", 1) => preds!(|a: u32, b: u32| a & b),
        ("or", 1) => preds!(|a: u32, b: u32| a | b),
        (_, 1) => preds!(|a: u32, b: u32| a ^ b),
        ("and", 64) => every!(L = |a: u64, b: u64| a & b; L, L),
        ("or", 64) => every!(L = |a: u64, b: u64| a | b; L, L),
        (_, 64) => every!(L = |a: u64, b: u64| a ^ b; L, L),
        ("and", _) => every!(W = |a: u32, b: u32| a & b; W, W),
        ("or", _) => every!(W = |a: u32, b: u32| a | b; W, W),
        _ => every!(W = |a: u32, b: u32| a ^ b; W, W),
    }
}

fn shift(dec: &mut Dec<'_>, ty: Type) -> Result<(), Refusal> {
    let signed = matches!(ty, Type::S(_));
    let run = match (dec.opcode(), ty.bits(), signed) {
        ("shl", 16, _) => every!(W = |a: u32, n| u32::from(b16::shl(a as u16, n)); W, W),
        ("shl", 64, _) => every!(L = b64::shl; L, W),
        ("shl", ..) => every!(W = b32::shl; W, W),
        (_, 16, false) => every!(W = |a: u32, n| u32::from(b16::shr_u(a as u16, n)); W, W),
        (_, 16, true) => every!(W = |a: u32, n| u32::from(b16::shr_s(a as u16, n)); W, W),
        (_, 64, false) => every!(L = b64::shr_u; L, W),
        (_, 64, true) => every!(L = b64::shr_s; L, W),
        (_, _, false) => every!(W = b32::shr_u; W, W),
        (_, _, true) => every!(W = b32::shr_s; W, W),
    };
    dec.plain(run, ty, &[ty, WORD])
}

fn funnel(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let run = match (dec.has("l"), dec.has("wrap")) {
        (true, true) => every!(W = |a, b, n| bits::shf_l(a, b, n, Overrun::Wrap); W, W, W),
        (true, false) => every!(W = |a, b, n| bits::shf_l(a, b, n, Overrun::Clamp); W, W, W),
        (false, true) => every!(W = |a, b, n| bits::shf_r(a, b, n, Overrun::Wrap); W, W, W),
        (false, false) => every!(W = |a, b, n| bits::shf_r(a, b, n, Overrun::Clamp); W, W, W),
    };
    dec.plain(run, WORD, &[WORD, WORD, WORD])
}

/// `lop3.b32 d, a, b, c, table`, and `lop3.or.b32 d|p, a, b, c, table, q`: p = (d != 0) or q.
fn lop3(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let combine = dec.which(&["or", "and"]);
    dec.expect(if combine.is_some() { 6 } else { 5 }, if combine.is_some() { 6 } else { 5 })?;
    let mut step = Inst::new(match combine {
        None => lop3_plain,
        Some(_) => lop3_pred,
    });
    (step.a, step.b, step.c) = (dec.src(1, WORD)?, dec.src(2, WORD)?, dec.src(3, WORD)?);
    step.imm = dec.immediate(4)?;
    if step.imm > 255 {
        return Err(format!("the table {} is not a byte", step.imm));
    }
    match (combine, dec.operand(0)?) {
        (None, Operand::Pair(..)) => return Err("a predicate needs `.or` or `.and`".to_owned()),
        (None, _) => step.d = dec.dst(0, WORD)?,
        (Some(which), Operand::Pair(d, p)) => {
            step.d = dec.destination(d, WORD)?;
            let p = dec.destination(p, Type::Pred)?;
            let q = dec.src(5, Type::Pred)?;
            step.x = which as u32;
            step.list = dec.list(&[p, q]);
        }
        _ => return Err("`d|p` is needed".to_owned()),
    }
    dec.emit(step);
    Ok(())
}

fn table(cx: &Cx<'_>, i: &Inst) -> [u32; 32] {
    let (a, b, c) = (cx.word(i.a), cx.word(i.b), cx.word(i.c));
    std::array::from_fn(|l| bits::lop3(a[l], b[l], c[l], i.imm as u8))
}

fn lop3_plain<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let d = table(cx, i);
    cx.set_word(i.d, &d, mask);
    Flow::Next
}

fn lop3_pred<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let d = table(cx, i);
    let (p, q) = match *cx.program.list(i.list) {
        [p, q] => (p, cx.pred(q)),
        _ => (0, cx.pred(PRED_FALSE)),
    };
    let any = (0..32).filter(|l| d[*l] != 0).fold(0, |m, l| m | 1 << l);
    cx.set_word(i.d, &d, mask);
    cx.set_pred(p, if i.x == 0 { any | q } else { any & q }, mask);
    Flow::Next
}

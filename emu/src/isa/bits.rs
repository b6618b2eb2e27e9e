//! Bit fields, counts and permutations.

use super::decoder::{Dec, Refusal};
use super::form::{Form, form};
use super::inst::Handler;
use crate::num::int::bits::{self, Overrun};
use crate::num::int::permute::{self, Permute};
use crate::num::int::{b32, b64};
use crate::ptx::Type;

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("popc.{b32,b64}", 50),
    form("clz.{b32,b64}", 50),
    form("brev.{b32,b64}", 50),
    form("bfind.[shiftamt].{u32,s32,u64,s64}", 50),
    form("bfe.{u32,s32,u64,s64}", 50),
    form("bfi.{b32,b64}", 50),
    form("prmt.b32.[f4e,b4e,rc8,ecl,ecr,rc16]", 50),
    form("fns.b32", 50),
    form("bmsk.{clamp,wrap}.b32", 70),
    form("szext.{clamp,wrap}.{u32,s32}", 70),
];

const WORD: Type = Type::B(32);

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let ty = dec.ty()?;
    let long = ty.bits() == 64;
    let signed = matches!(ty, Type::S(_));
    let pick = |word: Handler, wide: Handler| if long { wide } else { word };
    match dec.opcode() {
        "popc" => dec.plain(pick(every!(W = b32::popc; W), every!(W = b64::popc; L)), WORD, &[ty]),
        "clz" => dec.plain(pick(every!(W = b32::clz; W), every!(W = b64::clz; L)), WORD, &[ty]),
        "brev" => dec.plain(pick(every!(W = b32::brev; W), every!(L = b64::brev; L)), ty, &[ty]),
        "bfind" => bfind(dec, ty, signed),
        "bfe" if signed => {
            let run = pick(every!(W = b32::bfe_s; W, W, W), every!(L = b64::bfe_s; L, W, W));
            dec.plain(run, ty, &[ty, WORD, WORD])
        }
        "bfe" => {
            let run = pick(every!(W = b32::bfe_u; W, W, W), every!(L = b64::bfe_u; L, W, W));
            dec.plain(run, ty, &[ty, WORD, WORD])
        }
        "bfi" => bfi(dec, ty),
        "prmt" => prmt(dec),
        "fns" => dec.plain(
            every!(W = |m, base, n: u32| bits::fns(m, base, n as i32); W, W, W),
            WORD,
            &[WORD, WORD, WORD],
        ),
        "bmsk" => overrun(
            dec,
            every!(W = |a, b| bits::bmsk(a, b, Overrun::Clamp); W, W),
            every!(W = |a, b| bits::bmsk(a, b, Overrun::Wrap); W, W),
        ),
        _ if signed => overrun(
            dec,
            every!(W = |a, b| bits::szext_s(a, b, Overrun::Clamp); W, W),
            every!(W = |a, b| bits::szext_s(a, b, Overrun::Wrap); W, W),
        ),
        _ => overrun(
            dec,
            every!(W = |a, b| bits::szext_u(a, b, Overrun::Clamp); W, W),
            every!(W = |a, b| bits::szext_u(a, b, Overrun::Wrap); W, W),
        ),
    }
}

fn overrun(dec: &mut Dec<'_>, clamp: Handler, wrap: Handler) -> Result<(), Refusal> {
    dec.plain(if dec.has("wrap") { wrap } else { clamp }, WORD, &[WORD, WORD])
}

fn bfind(dec: &mut Dec<'_>, ty: Type, signed: bool) -> Result<(), Refusal> {
    let shift = dec.has("shiftamt");
    let run: Handler = match (ty.bits(), signed, shift) {
        (32, false, false) => every!(W = b32::bfind_u; W),
        (32, false, true) => every!(W = |a| b32::bfind_shift(b32::bfind_u(a)); W),
        (32, true, false) => every!(W = b32::bfind_s; W),
        (32, true, true) => every!(W = |a| b32::bfind_shift(b32::bfind_s(a)); W),
        (_, false, false) => every!(W = b64::bfind_u; L),
        (_, false, true) => every!(W = |a| b64::bfind_shift(b64::bfind_u(a)); L),
        (_, true, false) => every!(W = b64::bfind_s; L),
        (_, true, true) => every!(W = |a| b64::bfind_shift(b64::bfind_s(a)); L),
    };
    dec.plain(run, WORD, &[ty])
}

/// Four sources: the fourth goes through the instruction's `e`.
fn bfi(dec: &mut Dec<'_>, ty: Type) -> Result<(), Refusal> {
    let run = if ty.bits() == 64 {
        handler!(|cx, i, mask| {
            let (a, b, p, n) = (cx.long(i.a), cx.long(i.b), cx.word(i.c), cx.word(i.e));
            let d = std::array::from_fn(|l| b64::bfi(a[l], b[l], p[l], n[l]));
            cx.set_long(i.d, &d, mask);
            super::Flow::Next
        })
    } else {
        handler!(|cx, i, mask| {
            let (a, b, p, n) = (cx.word(i.a), cx.word(i.b), cx.word(i.c), cx.word(i.e));
            let d = std::array::from_fn(|l| b32::bfi(a[l], b[l], p[l], n[l]));
            cx.set_word(i.d, &d, mask);
            super::Flow::Next
        })
    };
    dec.plain(run, ty, &[ty, ty, WORD, WORD])
}

fn prmt(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let run = match dec.which(&["f4e", "b4e", "rc8", "ecl", "ecr", "rc16"]) {
        None => every!(W = |a, b, c| permute::prmt(a, b, c, Permute::Index); W, W, W),
        Some(0) => every!(W = |a, b, c| permute::prmt(a, b, c, Permute::Forward4); W, W, W),
        Some(1) => every!(W = |a, b, c| permute::prmt(a, b, c, Permute::Backward4); W, W, W),
        Some(2) => every!(W = |a, b, c| permute::prmt(a, b, c, Permute::Replicate8); W, W, W),
        Some(3) => every!(W = |a, b, c| permute::prmt(a, b, c, Permute::EdgeLeft); W, W, W),
        Some(4) => every!(W = |a, b, c| permute::prmt(a, b, c, Permute::EdgeRight); W, W, W),
        Some(_) => every!(W = |a, b, c| permute::prmt(a, b, c, Permute::Replicate16); W, W, W),
    };
    dec.plain(run, WORD, &[WORD, WORD, WORD])
}

//! Comparison and selection.

use super::decoder::{Dec, Refusal, type_word};
use super::form::{Form, form};
use super::inst::{Class, Flow, Handler, Inst, PRED_TRUE};
use crate::exec::Cx;
use crate::num::int::{b16, b32, b64};
use crate::num::{Compare, bf16, f16, f32, f64};
use crate::ptx::{Operand, Type};

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("setp.{eq,ne,lt,le,gt,ge,lo,ls,hi,hs}.[and,or,xor].{b16,b32,b64,u16,u32,u64,s16,s32,s64}", 50),
    form("setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.[and,or,xor].[ftz].f32", 50),
    form("setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.[and,or,xor].f64", 50),
    form("setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.[and,or,xor].[ftz].{f16,f16x2}", 53),
    form("setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.[and,or,xor].{bf16,bf16x2}", 90),
    form(
        "set.{eq,ne,lt,le,gt,ge,lo,ls,hi,hs}.[and,or,xor].{u32,s32,f32}.{b16,b32,b64,u16,u32,u64,s16,s32,s64}",
        50,
    ),
    form(
        "set.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.[and,or,xor].[ftz].{u32,s32,f32}.{f32,f64}",
        50,
    ),
    form(
        "set.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.[and,or,xor].[ftz].{f16,u16,s16,u32,s32}.f16",
        53,
    ),
    form(
        "set.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.[and,or,xor].{bf16,u16,s16,u32,s32}.bf16",
        90,
    ),
    form("set.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.[and,or,xor].[ftz].f16x2.f16x2", 53),
    form("set.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.[and,or,xor].bf16x2.bf16x2", 90),
    form("selp.{b16,b32,b64,u16,u32,u64,s16,s32,s64,f32,f64}", 50),
    form("slct.{b16,b32,b64,u16,u32,u64,s16,s32,s64,f32,f64}.s32", 50),
    form("slct.[ftz].{b16,b32,b64,u16,u32,u64,s16,s32,s64,f32,f64}.f32", 50),
];

const RELATIONS: [(&str, Compare); 18] = [
    ("eq", Compare::Eq),
    ("ne", Compare::Ne),
    ("lt", Compare::Lt),
    ("le", Compare::Le),
    ("gt", Compare::Gt),
    ("ge", Compare::Ge),
    ("equ", Compare::Equ),
    ("neu", Compare::Neu),
    ("ltu", Compare::Ltu),
    ("leu", Compare::Leu),
    ("gtu", Compare::Gtu),
    ("geu", Compare::Geu),
    ("num", Compare::Num),
    ("nan", Compare::Nan),
    ("lo", Compare::Lt),
    ("ls", Compare::Le),
    ("hi", Compare::Gt),
    ("hs", Compare::Ge),
];

/// What a comparison does with its result.
#[derive(Clone, Copy)]
struct Plan {
    /// Outcomes of the comparison, as bits, for lanes: the low element's and the high one's.
    compare: fn(&Cx<'_>, &Inst, Compare) -> (u32, u32),
    relation: Compare,
    /// 0 and, 1 or, 2 xor, or none.
    combine: Option<usize>,
}

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    match dec.opcode() {
        "setp" => setp(dec),
        "set" => set(dec),
        "selp" => selp(dec),
        _ => slct(dec),
    }
}

/// Bits of lanes for which a function of two operands holds.
macro_rules! outcome {
    ($get:ident, |$r:ident, $a:ident, $b:ident| $f:expr) => {
        |cx: &Cx<'_>, i: &Inst, $r: Compare| {
            let (av, bv) = (cx.$get(i.a), cx.$get(i.b));
            let mut bits = 0u32;
            for l in 0..32 {
                let ($a, $b) = (av[l], bv[l]);
                bits |= u32::from($f) << l;
            }
            (bits, bits)
        }
    };
}

/// The same for pairs: two results.
macro_rules! outcome2 {
    ($compare:path, $flush:expr) => {
        |cx: &Cx<'_>, i: &Inst, r: Compare| {
            let (av, bv) = (cx.word(i.a), cx.word(i.b));
            let (mut low, mut high) = (0u32, 0u32);
            for l in 0..32 {
                low |= u32::from($compare(r, $flush(av[l] as u16), $flush(bv[l] as u16))) << l;
                high |=
                    u32::from($compare(r, $flush((av[l] >> 16) as u16), $flush((bv[l] >> 16) as u16))) << l;
            }
            (low, high)
        }
    };
}

type Outcome = fn(&Cx<'_>, &Inst, Compare) -> (u32, u32);

fn integers(ty: Type, unsigned: bool) -> Outcome {
    match (ty.bits(), matches!(ty, Type::S(_)) && !unsigned) {
        (16, false) => outcome!(word, |r, a, b| b16::compare_u(r, a as u16, b as u16)),
        (16, true) => outcome!(word, |r, a, b| b16::compare_s(r, a as u16, b as u16)),
        (64, false) => outcome!(long, |r, a, b| b64::compare_u(r, a, b)),
        (64, true) => outcome!(long, |r, a, b| b64::compare_s(r, a, b)),
        (_, false) => outcome!(word, |r, a, b| b32::compare_u(r, a, b)),
        (_, true) => outcome!(word, |r, a, b| b32::compare_s(r, a, b)),
    }
}

fn same(a: u16) -> u16 {
    a
}

fn floats(ty: Type, ftz: bool) -> Outcome {
    match (ty, ftz) {
        (Type::F(64), _) => outcome!(long, |r, a, b| f64::compare(r, a, b)),
        (Type::F(32), false) => outcome!(word, |r, a, b| f32::compare(r, a, b)),
        (Type::F(32), true) => outcome!(word, |r, a, b| f32::compare(r, f32::flush(a), f32::flush(b))),
        (Type::F(_), false) => outcome!(word, |r, a, b| f16::compare(r, a as u16, b as u16)),
        (Type::F(_), true) => {
            outcome!(word, |r, a, b| f16::compare(r, f16::flush(a as u16), f16::flush(b as u16)))
        }
        (Type::F16x2, false) => outcome2!(f16::compare, same),
        (Type::F16x2, true) => outcome2!(f16::compare, f16::flush),
        (Type::Bf16x2, _) => outcome2!(bf16::compare, same),
        _ => outcome!(word, |r, a, b| bf16::compare(r, a as u16, b as u16)),
    }
}

fn plan(dec: &Dec<'_>, ty: Type) -> Result<Plan, Refusal> {
    let index = dec.which(&RELATIONS.map(|(word, _)| word)).ok_or("no comparison")?;
    let unsigned = matches!(RELATIONS[index].0, "lo" | "ls" | "hi" | "hs");
    let integer = matches!(ty, Type::B(_) | Type::U(_) | Type::S(_));
    let compare = if integer { integers(ty, unsigned) } else { floats(ty, dec.has("ftz")) };
    Ok(Plan { compare, relation: RELATIONS[index].1, combine: dec.which(&["and", "or", "xor"]) })
}

fn combined(how: Option<usize>, value: u32, with: u32) -> u32 {
    match how {
        Some(0) => value & with,
        Some(1) => value | with,
        Some(_) => value ^ with,
        None => value,
    }
}

/// `setp.lt.and.f32 p|q, a, b, c`: p = (a < b) & c, q = !(a < b) & c; for pairs p and q are the two elements' results.
fn setp(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let ty = dec.ty()?;
    let plan = plan(dec, ty)?;
    let n = if plan.combine.is_some() { 4 } else { 3 };
    dec.expect(n, n)?;
    // The frequent comparisons have handlers of their own.
    let single = !matches!(dec.operand(0)?, Operand::Pair(..)) && plan.combine.is_none();
    let quick =
        if single { quick(ty, plan.relation, dec.which(&["lo", "ls", "hi", "hs"]).is_some()) } else { None };
    let pairs = matches!(ty, Type::F16x2 | Type::Bf16x2);
    let mut step = Inst::new(quick.unwrap_or(if pairs { setp_pairs } else { setp_any }));
    (step.a, step.b) = (dec.src(1, ty)?, dec.src(2, ty)?);
    step.c = if plan.combine.is_some() { dec.src(3, Type::Pred)? } else { PRED_TRUE };
    match dec.operand(0)? {
        Operand::Pair(p, q) => {
            step.d = dec.destination(p, Type::Pred)?;
            step.e = dec.destination(q, Type::Pred)?;
        }
        _ => {
            step.d = dec.dst(0, Type::Pred)?;
            step.e = dec.temp(Class::Pred);
        }
    }
    step.x = dec.data(plan);
    dec.emit(step);
    Ok(())
}

macro_rules! quick_setp {
    ($get:ident, |$a:ident, $b:ident| $f:expr) => {
        handler!(|cx, i, mask| {
            let (av, bv) = (cx.$get(i.a), cx.$get(i.b));
            let mut flags = [0u8; 32];
            for l in 0..32 {
                let ($a, $b) = (av[l], bv[l]);
                flags[l] = u8::from($f);
            }
            let bits = flags.iter().enumerate().fold(0u32, |m, (l, f)| m | u32::from(*f) << l);
            cx.set_pred(i.d, bits, mask);
            Flow::Next
        })
    };
}

fn quick(ty: Type, relation: Compare, unsigned: bool) -> Option<Handler> {
    let signed = matches!(ty, Type::S(_)) && !unsigned;
    Some(match (ty, relation, signed) {
        (Type::B(32) | Type::U(32) | Type::S(32), Compare::Eq, _) => quick_setp!(word, |a, b| a == b),
        (Type::B(32) | Type::U(32) | Type::S(32), Compare::Ne, _) => quick_setp!(word, |a, b| a != b),
        (Type::U(32) | Type::S(32), Compare::Lt, false) => quick_setp!(word, |a, b| a < b),
        (Type::U(32) | Type::S(32), Compare::Le, false) => quick_setp!(word, |a, b| a <= b),
        (Type::U(32) | Type::S(32), Compare::Gt, false) => quick_setp!(word, |a, b| a > b),
        (Type::U(32) | Type::S(32), Compare::Ge, false) => quick_setp!(word, |a, b| a >= b),
        (Type::S(32), Compare::Lt, true) => quick_setp!(word, |a, b| (a as i32) < b as i32),
        (Type::S(32), Compare::Le, true) => quick_setp!(word, |a, b| a as i32 <= b as i32),
        (Type::S(32), Compare::Gt, true) => quick_setp!(word, |a, b| a as i32 > b as i32),
        (Type::S(32), Compare::Ge, true) => quick_setp!(word, |a, b| a as i32 >= b as i32),
        _ => return None,
    })
}

fn setp_any<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Plan>(i.x);
    let (value, _) = (plan.compare)(cx, i, plan.relation);
    let with = cx.pred(i.c);
    cx.set_pred(i.d, combined(plan.combine, value, with), mask);
    cx.set_pred(i.e, combined(plan.combine, !value, with), mask);
    Flow::Next
}

fn setp_pairs<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Plan>(i.x);
    let (low, high) = (plan.compare)(cx, i, plan.relation);
    let with = cx.pred(i.c);
    cx.set_pred(i.d, combined(plan.combine, low, with), mask);
    cx.set_pred(i.e, combined(plan.combine, high, with), mask);
    Flow::Next
}

/// What `set` writes where the comparison holds; nothing else is 0.
fn truth(to: Type) -> (u32, Type) {
    match to {
        Type::F(32) => (0x3f80_0000, to),
        Type::F(_) => (0x3c00, to),
        Type::Bf16 => (0x3f80, to),
        Type::U(16) | Type::S(16) => (0xffff, to),
        _ => (u32::MAX, to),
    }
}

fn set(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let types: Vec<Type> = dec.inst.modifiers.iter().filter_map(|m| type_word(m)).collect();
    let [to, from] = types[..] else { return Err("two types are needed".to_owned()) };
    let plan = plan(dec, from)?;
    let n = if plan.combine.is_some() { 4 } else { 3 };
    dec.expect(n, n)?;
    let pairs = matches!(from, Type::F16x2 | Type::Bf16x2);
    let mut step = Inst::new(if pairs { set_pairs } else { set_any });
    (step.a, step.b) = (dec.src(1, from)?, dec.src(2, from)?);
    step.c = if plan.combine.is_some() { dec.src(3, Type::Pred)? } else { PRED_TRUE };
    step.imm = match to {
        Type::F16x2 => 0x3c00,
        Type::Bf16x2 => 0x3f80,
        _ => truth(to).0.into(),
    };
    step.d = dec.dst(0, to)?;
    step.x = dec.data(plan);
    dec.emit(step);
    Ok(())
}

fn set_any<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Plan>(i.x);
    let (value, _) = (plan.compare)(cx, i, plan.relation);
    let bits = combined(plan.combine, value, cx.pred(i.c));
    let d = std::array::from_fn(|l| if bits >> l & 1 == 1 { i.imm as u32 } else { 0 });
    cx.set_word(i.d, &d, mask);
    Flow::Next
}

fn set_pairs<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Plan>(i.x);
    let (low, high) = (plan.compare)(cx, i, plan.relation);
    let with = cx.pred(i.c);
    let (low, high) = (combined(plan.combine, low, with), combined(plan.combine, high, with));
    let one = |bits: u32, l: usize| if bits >> l & 1 == 1 { i.imm as u32 } else { 0 };
    let d = std::array::from_fn(|l| one(low, l) | one(high, l) << 16);
    cx.set_word(i.d, &d, mask);
    Flow::Next
}

/// Only the operand that is chosen must be defined.
fn selp(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let ty = dec.ty()?;
    dec.expect(4, 4)?;
    let mut step = Inst::new(if ty.bits() == 64 { selp_long } else { selp_word });
    (step.a, step.b) = (dec.src(1, ty)?, dec.src(2, ty)?);
    step.c = dec.src(3, Type::Pred)?;
    step.d = dec.dst(0, ty)?;
    step.flags.own_definedness = true;
    dec.emit(step);
    Ok(())
}

fn chosen(cx: &mut Cx<'_>, i: &Inst, class: Class, p: u32, mask: u32) {
    if cx.checks_definedness() {
        let (a, b) = (cx.defined(class, i.a), cx.defined(class, i.b));
        let defined = ((a & p) | (b & !p)) & cx.defined(Class::Pred, i.c);
        cx.set_defined(class, i.d, defined, mask);
    }
}

fn selp_word<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let (a, b, p) = (cx.word(i.a), cx.word(i.b), cx.pred(i.c));
    chosen(cx, i, Class::Word, p, mask);
    let d = std::array::from_fn(|l| if p >> l & 1 == 1 { a[l] } else { b[l] });
    cx.set_word(i.d, &d, mask);
    Flow::Next
}

fn selp_long<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let (a, b, p) = (cx.long(i.a), cx.long(i.b), cx.pred(i.c));
    chosen(cx, i, Class::Long, p, mask);
    let d = std::array::from_fn(|l| if p >> l & 1 == 1 { a[l] } else { b[l] });
    cx.set_long(i.d, &d, mask);
    Flow::Next
}

/// `slct d, a, b, c`: a where c >= 0 (also for -0; not for NaN).
fn slct(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let types = dec.types();
    let [ty, by] = types[..] else { return Err("two types are needed".to_owned()) };
    let float = by == Type::F(32);
    let run: Handler = match (ty.bits() == 64, float) {
        (false, false) => every!(W = |a: u32, b: u32, c: u32| if c as i32 >= 0 { a } else { b }; W, W, W),
        (false, true) => {
            every!(W = |a: u32, b: u32, c: u32| if f32::compare(Compare::Ge, c, 0) { a } else { b }; W, W, W)
        }
        (true, false) => every!(L = |a: u64, b: u64, c: u32| if c as i32 >= 0 { a } else { b }; L, L, W),
        (true, true) => {
            every!(L = |a: u64, b: u64, c: u32| if f32::compare(Compare::Ge, c, 0) { a } else { b }; L, L, W)
        }
    };
    let flushed = float && dec.has("ftz");
    if flushed && ty.bits() == 64 {
        let run = every!(L = |a: u64, b: u64, c: u32| if f32::compare(Compare::Ge, f32::flush(c), 0) { a } else { b }; L, L, W);
        return dec.plain(run, ty, &[ty, ty, by]);
    }
    if flushed {
        let run = every!(W = |a: u32, b: u32, c: u32| if f32::compare(Compare::Ge, f32::flush(c), 0) { a } else { b }; W, W, W);
        return dec.plain(run, ty, &[ty, ty, by]);
    }
    dec.plain(run, ty, &[ty, ty, by])
}

//! Addresses: between the generic space and the windows in it, and between the CTAs of a cluster.

use super::decoder::{Dec, Refusal};
use super::form::{Form, form};
use super::inst::{Class, Flow, Inst};
use crate::exec::report::{FindingKind, Severity};
use crate::exec::space::{LOCAL_BITS, MemSpace, SHARED_BITS, SHARED_WINDOW, classify};
use crate::exec::{Cx, lanes};
use crate::ptx::Type;

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form(
        "cvta.[to].{global,const,local,shared,shared::cta,shared::cluster,param,param::entry}.{u32,u64}",
        50,
    ),
    form("isspacep.{global,const,local,shared,shared::cta,shared::cluster,param,param::entry}", 50),
    form("mapa.[shared::cluster].{u32,u64}", 90),
    form("getctarank.[shared::cluster].{u32,u64}", 90),
];

/// The space among the modifiers.
fn space(dec: &Dec<'_>) -> MemSpace {
    match dec.which(&["global", "const", "local", "param", "param::entry"]) {
        Some(0) => MemSpace::Global,
        Some(1) => MemSpace::Const,
        Some(2) => MemSpace::Local,
        Some(_) => MemSpace::Param,
        None => MemSpace::Shared,
    }
}

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    match dec.opcode() {
        "cvta" => cvta(dec),
        "isspacep" => isspacep(dec),
        "mapa" => mapa(dec),
        _ => getctarank(dec),
    }
}

fn cvta(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let ty = dec.ty()?;
    if ty.bits() == 32 {
        return Err("only 64-bit generic addresses exist here".to_owned());
    }
    let space = space(dec);
    dec.expect(2, 2)?;
    let to = dec.has("to");
    let mut step = Inst::new(match (to, space) {
        (_, MemSpace::Global) => every!(L = |a: u64| a; L),
        (false, _) => to_generic,
        (true, _) => from_generic,
    });
    step.imm = space.window();
    step.x = u32::from(space == MemSpace::Local);
    // `cvta.shared.u64` takes a 64-bit register that holds the 32-bit address.
    step.a = dec.src(1, ty)?;
    step.d = dec.dst(0, ty)?;
    dec.emit(step);
    Ok(())
}

/// A generic address of local memory says whose it is.
fn thread_part(cx: &Cx<'_>, lane: usize) -> u64 {
    u64::from(cx.thread_index(lane)) << LOCAL_BITS
}

fn to_generic<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let a = cx.long(i.a);
    let own = |l: usize| if i.x == 1 { thread_part(cx, l) } else { 0 };
    let d = std::array::from_fn(|l| (a[l] & 0xffff_ffff).wrapping_add(i.imm + own(l)));
    cx.set_long(i.d, &d, mask);
    Flow::Next
}

/// Outside the window the result is undefined; it stays as it is, so that its use faults and says where it points.
fn from_generic<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let a = cx.long(i.a);
    let d = std::array::from_fn(|l| {
        let (space, inner) = classify(a[l]);
        match space {
            _ if space.window() != i.imm => a[l],
            MemSpace::Local => inner.wrapping_sub(thread_part(cx, l)),
            _ => inner,
        }
    });
    cx.set_long(i.d, &d, mask);
    Flow::Next
}

fn isspacep(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(2, 2)?;
    let mut step = Inst::new(is_in_space);
    step.imm = space(dec).window();
    step.x = match (space(dec), dec.has("shared::cluster")) {
        (MemSpace::Global, _) => 1,
        (MemSpace::Shared, false) => 2,
        _ => 0,
    };
    step.a = dec.src(1, Type::B(64))?;
    step.d = dec.dst(0, Type::Pred)?;
    dec.emit(step);
    Ok(())
}

fn is_in_space<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let a = cx.long(i.a);
    let own = u64::from(cx.rank());
    let holds = |address: u64| {
        let (space, inner) = classify(address);
        match i.x {
            // Kernel parameters lie inside global.
            1 => matches!(space, MemSpace::Global | MemSpace::Param),
            2 => space == MemSpace::Shared && inner >> SHARED_BITS == own,
            _ => space.window() == i.imm,
        }
    };
    let bits = (0..32).filter(|l| holds(a[*l])).fold(0, |m, l| m | 1 << l);
    cx.set_pred(i.d, bits, mask);
    Flow::Next
}

/// `mapa d, a, r`: the same offset in CTA r of the cluster. Without `.shared::cluster` addresses are generic.
fn mapa(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(3, 3)?;
    let ty = dec.ty()?;
    let long = ty.bits() == 64;
    let mut step = Inst::new(if long { map_long } else { map_word });
    step.imm = if dec.has("shared::cluster") { 0 } else { SHARED_WINDOW };
    step.a = dec.src(1, ty)?;
    step.b = dec.src(2, Type::B(32))?;
    step.d = dec.dst(0, ty)?;
    dec.emit(step);
    Ok(())
}

fn mapped(cx: &mut Cx<'_>, i: &Inst, lane: usize, address: u64, rank: u32) -> u64 {
    if rank >= cx.run.cluster_size() {
        let message = format!("rank {rank} in a cluster of {} CTAs", cx.run.cluster_size());
        cx.report(i.site, FindingKind::WrongSpace, Severity::Error, lane, message);
    }
    let offset = address & ((1 << SHARED_BITS) - 1);
    i.imm | u64::from(rank & 0xff) << SHARED_BITS | offset
}

fn map_long<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let (a, r) = (cx.long(i.a), cx.word(i.b));
    let mut d = [0; 32];
    for l in lanes(mask) {
        d[l] = mapped(cx, i, l, a[l], r[l]);
    }
    cx.set_long(i.d, &d, mask);
    Flow::Next
}

fn map_word<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let (a, r) = (cx.word(i.a), cx.word(i.b));
    let mut d = [0; 32];
    for l in lanes(mask) {
        d[l] = mapped(cx, i, l, a[l].into(), r[l]) as u32;
    }
    cx.set_word(i.d, &d, mask);
    Flow::Next
}

fn getctarank(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(2, 2)?;
    let ty = dec.ty()?;
    let run = if ty.bits() == 64 {
        every!(W = |a: u64| (a >> SHARED_BITS) as u32 & 0xff; L)
    } else {
        every!(W = |a: u32| a >> SHARED_BITS; W)
    };
    let mut step = Inst::new(run);
    step.a = dec.src(1, ty)?;
    step.d = dec.dst(0, Type::B(32))?;
    let _ = Class::Word;
    dec.emit(step);
    Ok(())
}

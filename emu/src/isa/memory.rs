//! Loads, stores, prefetches and cache hints.

use super::decoder::{Address, Dec, Refusal};
use super::form::{Form, form};
use super::inst::{Class, Flow, Inst, Slot};
use crate::exec::access::{Request, base_code};
use crate::exec::report::{FindingKind, Severity};
use crate::exec::space::{MemSpace, classify};
use crate::exec::{Cx, lanes};
use crate::ptx::{Operand, Space, Type};
use crate::shadow::{self, Kind, Proxy, Scope, Strength};

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form(
        "ld.[weak,volatile].[global,const,local,shared,shared::cta,param,param::entry,param::func].[ca,cg,cs,lu,cv].[L1::*].[L2::*].[L2::*].[v2,v4].{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f16,f32,f64}",
        50,
    ),
    form(
        "ld.[weak,volatile].shared::cluster.[v2,v4].{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}",
        90,
    ),
    form(
        "ld.[relaxed,acquire].{cta,gpu,sys}.[global,shared,shared::cta].[L1::*].[L2::*].[L2::*].[v2,v4].{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}",
        70,
    ),
    form(
        "ld.[relaxed,acquire].{cta,cluster,gpu,sys}.[global,shared,shared::cta,shared::cluster].[L1::*].[L2::*].[L2::*].[v2,v4].{b8,b16,b32,b64,b128,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}",
        90,
    ),
    form("ld.mmio.relaxed.sys.[global].{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}", 70),
    form(
        "ld.[weak].global.[ca,cg,cs].nc.[L1::*].[L2::*].[L2::*].[v2,v4].{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}",
        50,
    ),
    form("ld.[weak].[global].[nc].[L1::*].[L2::*].[L2::*].b128", 70),
    form("ld.[weak].[global].[nc].[L1::*].[L2::*].[L2::*].v8.{b32,u32,s32,f32}", 100),
    form("ld.[weak].[global].[nc].[L1::*].[L2::*].[L2::*].v4.{b64,u64,s64,f64}", 100),
    form("ldu.[global].[v2,v4].{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}", 50),
    form(
        "st.[weak,volatile].[global,local,shared,shared::cta,param,param::func].[wb,cg,cs,wt].[L1::*].[L2::*].[L2::*].[v2,v4].{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f16,f32,f64}",
        50,
    ),
    form(
        "st.[weak,volatile].shared::cluster.[v2,v4].{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}",
        90,
    ),
    form(
        "st.[relaxed,release].{cta,gpu,sys}.[global,shared,shared::cta].[L1::*].[L2::*].[L2::*].[v2,v4].{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}",
        70,
    ),
    form(
        "st.[relaxed,release].{cta,cluster,gpu,sys}.[global,shared,shared::cta,shared::cluster].[L1::*].[L2::*].[L2::*].[v2,v4].{b8,b16,b32,b64,b128,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}",
        90,
    ),
    form("st.mmio.relaxed.sys.[global].{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}", 70),
    form("st.[weak].[global].[L1::*].[L2::*].[L2::*].b128", 70),
    form("st.[weak].[global].[L1::*].[L2::*].[L2::*].v8.{b32,u32,s32,f32}", 100),
    form("st.[weak].[global].[L1::*].[L2::*].[L2::*].v4.{b64,u64,s64,f64}", 100),
    form("prefetch.[global,local].{L1,L2}", 50),
    form("prefetch.[global].L2::*", 80),
    form("prefetch.[const,param,param::entry].tensormap", 90),
    form("prefetchu.L1", 50),
    form("applypriority.[global].L2::evict_normal", 80),
    form("discard.[global].L2", 80),
    form("createpolicy.fractional.L2::*.[L2::*].b64", 80),
    form("createpolicy.range.[global].L2::*.[L2::*].b64", 80),
    form("createpolicy.cvt.L2.b64", 80),
];

/// The space that an instruction names, or its address.
pub(super) fn space_of(dec: &Dec<'_>, address: &Address) -> MemSpace {
    let named = address.named.map(|p| match p.space {
        Space::Global => MemSpace::Global,
        Space::Const => MemSpace::Const,
        Space::Shared => MemSpace::Shared,
        Space::Local => MemSpace::Local,
        Space::Param => MemSpace::Param,
    });
    let words = [
        "global",
        "const",
        "local",
        "shared",
        "shared::cta",
        "shared::cluster",
        "param",
        "param::entry",
        "param::func",
    ];
    match dec.which(&words) {
        Some(0) => MemSpace::Global,
        Some(1) => MemSpace::Const,
        Some(2) => MemSpace::Local,
        Some(3..=5) => MemSpace::Shared,
        // Parameters of device functions and of calls lie in the frame.
        Some(_) => named.unwrap_or(MemSpace::Param),
        None => named.unwrap_or(MemSpace::Generic),
    }
}

/// The scope among the modifiers.
pub(super) fn scope(dec: &Dec<'_>) -> Option<Scope> {
    match dec.which(&["cta", "cluster", "gpu", "sys", "gl"])? {
        0 => Some(Scope::Cta),
        1 => Some(Scope::Cluster),
        2 | 4 => Some(Scope::Gpu),
        _ => Some(Scope::Sys),
    }
}

fn strength(dec: &Dec<'_>) -> Strength {
    let scope = scope(dec).unwrap_or(Scope::Sys);
    match dec.which(&["volatile", "mmio", "acquire", "release", "relaxed"]) {
        Some(0 | 1) => Strength::relaxed(Scope::Sys),
        Some(2) => Strength::acquire(scope),
        Some(3) => Strength::release(scope),
        Some(_) => Strength::relaxed(scope),
        None => Strength::Weak,
    }
}

/// What a load or store moves, decoded.
struct Plan {
    request: Request,
    /// Bytes of an element.
    element: u32,
    signed: bool,
    /// Registers of the elements: slot and width; sources of a store have the element's class.
    parts: Vec<(Slot, u32)>,
}

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    match dec.opcode() {
        "ld" | "ldu" => load(dec),
        "st" => store(dec),
        "prefetch" | "prefetchu" | "applypriority" | "discard" => hint(dec),
        _ => policy(dec),
    }
}

fn plan(dec: &mut Dec<'_>, kind: Kind, address: &Address, count: usize, ty: Type) -> Result<Plan, Refusal> {
    let wanted = dec.which(&["v2", "v4", "v8"]).map_or(1, |i| 2 << i);
    if count != wanted {
        return Err(format!("{count} elements where the form has {wanted}"));
    }
    let element = ty.bits() / 8;
    let bytes = element * count as u32;
    let wide = dec.has("v8") || (dec.has("v4") && element == 8);
    if bytes > if wide { 32 } else { 16 } {
        return Err(format!("{bytes} bytes at once"));
    }
    let proxy = if dec.has("nc") || dec.opcode() == "ldu" { Proxy::NonCoherent } else { Proxy::Generic };
    let access = shadow::Access {
        site: dec.site,
        size: bytes,
        piece: element.min(8),
        kind,
        strength: strength(dec),
        proxy,
        same_value: 0,
        agreed: 0,
    };
    let request = Request { space: space_of(dec, address), bytes, access };
    Ok(Plan { request, element, signed: matches!(ty, Type::S(_)), parts: Vec::new() })
}

/// Checks a trailing cache policy.
fn cache_policy(dec: &mut Dec<'_>, at: usize) -> Result<(), Refusal> {
    dec.expect(at, at + 1)?;
    if dec.count() > at {
        dec.src(at, Type::B(64))?;
    }
    Ok(())
}

pub(super) fn put_address(step: &mut Inst, address: &Address) {
    (step.a, step.imm, step.x) = (address.slot, address.offset, base_code(address.base));
}

fn load(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let ty = dec.ty()?;
    cache_policy(dec, 2)?;
    let address = dec.address(1)?;
    let elements = dec.elements(0)?;
    let mut plan = plan(dec, Kind::Read, &address, elements.len(), ty)?;
    for op in elements {
        let part = dec.dst_wide(op, ty)?;
        plan.parts.push(part);
    }
    let single = plan.parts.len() == 1 && plan.element == 4 && plan.parts[0].1 == 32;
    let mut step = Inst::new(if single { load_word } else { load_any });
    put_address(&mut step, &address);
    step.d = plan.parts[0].0;
    step.c = dec.data(plan);
    step.flags.own_definedness = true;
    dec.emit(step);
    Ok(())
}

fn load_word<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Plan>(i.c);
    let addresses = cx.addresses(i.x, i.a, i.imm);
    let mut rows = cx.take_rows();
    let done = cx.load(i, &plan.request, &addresses, mask, &mut rows);
    let flow = match done {
        Ok(defined) => {
            cx.set_word(i.d, &rows[0], mask);
            cx.loaded(Class::Word, i.d, defined, mask);
            Flow::Next
        }
        Err(flow) => flow,
    };
    cx.give_rows(rows);
    flow
}

fn load_any<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Plan>(i.c);
    let addresses = cx.addresses(i.x, i.a, i.imm);
    let mut rows = cx.take_rows();
    let done = cx.load(i, &plan.request, &addresses, mask, &mut rows);
    let flow = match done {
        Ok(defined) => {
            distribute(cx, plan, &rows, defined, mask);
            Flow::Next
        }
        Err(flow) => flow,
    };
    cx.give_rows(rows);
    flow
}

/// Puts loaded elements into their registers, extended to the registers' widths.
fn distribute(cx: &mut Cx<'_>, plan: &Plan, rows: &[[u32; 32]], defined: u32, mask: u32) {
    for (k, &(slot, bits)) in plan.parts.iter().enumerate() {
        let at = k * plan.element as usize;
        if plan.element >= 8 {
            for half in 0..plan.element as usize / 8 {
                let row = at / 4 + half * 2;
                let value =
                    std::array::from_fn(|l| u64::from(rows[row][l]) | u64::from(rows[row + 1][l]) << 32);
                cx.set_long(slot + half as u32, &value, mask);
                let known = cx.element_definedness(defined, row as u32 * 4, 8);
                cx.loaded(Class::Long, slot + half as u32, known, mask);
            }
            continue;
        }
        let (row, shift) = (&rows[at / 4], (at % 4) as u32 * 8);
        let unused = 32 - 8 * plan.element;
        let known = cx.element_definedness(defined, at as u32, plan.element);
        let value: [u32; 32] = if plan.signed {
            row.map(|w| (((w >> shift) << unused) as i32 >> unused) as u32)
        } else {
            row.map(|w| ((w >> shift) << unused) >> unused)
        };
        if bits == 64 {
            let signed = plan.signed;
            cx.set_long(slot, &value.map(|v| if signed { v as i32 as u64 } else { v.into() }), mask);
            cx.loaded(Class::Long, slot, known, mask);
        } else {
            cx.set_word(slot, &value, mask);
            cx.loaded(Class::Word, slot, known, mask);
        }
    }
}

fn store(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let ty = dec.ty()?;
    cache_policy(dec, 2)?;
    let address = dec.address(0)?;
    let elements = dec.elements(1)?;
    let mut plan = plan(dec, Kind::Write, &address, elements.len(), ty)?;
    for op in elements {
        let from = dec.uses.len();
        let slot = match op {
            Operand::Sink => dec.constant(ty, 0),
            op => dec.source(op, ty, true)?,
        };
        // What reaches global memory must be defined; shared and local memory keep track of it.
        let critical = plan.request.space == MemSpace::Global;
        dec.uses[from..].iter_mut().for_each(|r| r.critical = critical);
        plan.parts.push((slot, ty.bits()));
    }
    let single = plan.parts.len() == 1 && plan.element == 4;
    let mut step = Inst::new(if single { store_word } else { store_any });
    put_address(&mut step, &address);
    step.b = plan.parts[0].0;
    step.c = dec.data(plan);
    dec.emit(step);
    Ok(())
}

fn store_word<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Plan>(i.c);
    let addresses = cx.addresses(i.x, i.a, i.imm);
    let rows = [cx.word(i.b)];
    let defined = if cx.checks_definedness() { cx.defined(Class::Word, i.b) } else { u32::MAX };
    if defined != u32::MAX {
        cx.warp.byte_definedness = [0; 32];
    }
    match cx.store(i, &plan.request, &addresses, mask, &rows, defined) {
        Ok(()) => Flow::Next,
        Err(flow) => flow,
    }
}

fn store_any<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Plan>(i.c);
    let addresses = cx.addresses(i.x, i.a, i.imm);
    let mut rows = cx.take_rows();
    let defined = collect(cx, plan, &mut rows);
    let done = cx.store(i, &plan.request, &addresses, mask, &rows, defined);
    cx.give_rows(rows);
    match done {
        Ok(()) => Flow::Next,
        Err(flow) => flow,
    }
}

/// Gathers the elements of a store into rows; gives the lanes all of whose elements hold a value.
fn collect(cx: &mut Cx<'_>, plan: &Plan, rows: &mut [[u32; 32]]) -> u32 {
    let checks = cx.checks_definedness();
    let defined = if checks { collect_definedness(cx, plan) } else { u32::MAX };
    for (k, &(slot, _)) in plan.parts.iter().enumerate() {
        let at = k * plan.element as usize;
        if plan.element >= 8 {
            for half in 0..plan.element as usize / 8 {
                let value = cx.long(slot + half as u32);
                let row = at / 4 + half * 2;
                rows[row] = value.map(|v| v as u32);
                rows[row + 1] = value.map(|v| (v >> 32) as u32);
            }
            continue;
        }
        let value = cx.word(slot);
        let (row, shift) = (&mut rows[at / 4], (at % 4) as u32 * 8);
        let low = u32::MAX >> (32 - 8 * plan.element);
        for l in 0..32 {
            row[l] = if shift == 0 { value[l] & low } else { row[l] | (value[l] & low) << shift };
        }
    }
    defined
}

/// Lanes all of whose elements hold a value; which bytes do is kept for the others.
fn collect_definedness(cx: &mut Cx<'_>, plan: &Plan) -> u32 {
    let halves = (plan.element as usize / 8).max(1);
    let class = if plan.element >= 8 { Class::Long } else { Class::Word };
    let of_part =
        |cx: &Cx<'_>, slot: Slot| (0..halves).fold(u32::MAX, |m, h| m & cx.defined(class, slot + h as u32));
    let whole = plan.parts.iter().fold(u32::MAX, |m, (slot, _)| m & of_part(cx, *slot));
    if whole != u32::MAX {
        cx.warp.byte_definedness = [0; 32];
        let size = plan.element.min(8);
        for (k, &(slot, _)) in plan.parts.iter().enumerate() {
            for half in 0..halves {
                let known = cx.defined(class, slot + half as u32);
                let first = k as u32 * plan.element + half as u32 * 8;
                let bits = (u32::MAX >> (32 - size)) << first;
                lanes(known).for_each(|lane| cx.warp.byte_definedness[lane] |= bits);
            }
        }
    }
    whole
}

// Hints: no effect, but an address outside every buffer is worth a word.

fn hint(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let operands = if matches!(dec.opcode(), "applypriority" | "discard") { 2 } else { 1 };
    dec.expect(operands, operands)?;
    let address = dec.address(0)?;
    let global = matches!(space_of(dec, &address), MemSpace::Global | MemSpace::Generic);
    let mut step = Inst::new(check_hint);
    put_address(&mut step, &address);
    step.b = u32::from(global);
    dec.emit(step);
    Ok(())
}

fn check_hint<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    if i.b == 0 {
        return Flow::Next;
    }
    let addresses = cx.addresses(i.x, i.a, i.imm);
    let outside = |a: u64| classify(a).0 == MemSpace::Global && cx.run.global.find(a, 1).is_none();
    if let Some(lane) = lanes(mask).find(|l| outside(addresses[*l])) {
        let message = "a hint for an address that is in no buffer".to_owned();
        cx.report_at(
            i.site,
            FindingKind::OutOfBounds,
            Severity::Note,
            lane,
            message,
            Some(addresses[lane]),
            None,
        );
    }
    Flow::Next
}

/// A cache policy is any 64-bit value.
fn policy(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let mut step = Inst::new(|cx, i, mask| {
        cx.set_long(i.d, &[0x14f0_0000_0000_0000; 32], mask);
        Flow::Next
    });
    step.d = dec.dst(0, Type::B(64))?;
    dec.emit(step);
    Ok(())
}

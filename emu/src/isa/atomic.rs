//! `atom` and `red`.

use super::decoder::{Dec, Refusal};
use super::form::{Form, form};
use super::inst::{Class, Flow, Inst, Slot};
use super::memory::{put_address, scope, space_of};
use crate::exec::access::{Request, split_shared};
use crate::exec::report::FindingKind;
use crate::exec::space::{MemSpace, classify};
use crate::exec::words::{Words, WordsMut};
use crate::exec::{Cx, lanes};
use crate::num::atomic::{self, Element, Operation, Update};
use crate::ptx::{Operand, Type};
use crate::shadow::{self, Kind, Proxy, Scope, Strength};

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form(
        "atom.[relaxed,acquire,release,acq_rel].[cta,gpu,sys].[global,shared,shared::cta].{add,min,max,and,or,xor,exch,inc,dec}.[L2::cache_hint].{b32,b64,u32,u64,s32,s64,f32,f64}",
        60,
    ),
    form(
        "atom.[relaxed,acquire,release,acq_rel].[cta,cluster,gpu,sys].[global,shared,shared::cta,shared::cluster].{add,min,max,and,or,xor,exch,inc,dec}.[L2::cache_hint].{b32,b64,u32,u64,s32,s64,f32,f64}",
        90,
    ),
    form(
        "atom.[relaxed,acquire,release,acq_rel].[cta,gpu,sys].[global,shared,shared::cta].cas.[L2::cache_hint].{b16,b32,b64}",
        70,
    ),
    form(
        "atom.[relaxed,acquire,release,acq_rel].[cta,cluster,gpu,sys].[global,shared,shared::cta,shared::cluster].cas.[L2::cache_hint].{b16,b32,b64}",
        90,
    ),
    form(
        "atom.[relaxed,acquire,release,acq_rel].[cta,cluster,gpu,sys].[global,shared,shared::cta,shared::cluster].{cas,exch}.[L2::cache_hint].b128",
        90,
    ),
    form(
        "atom.[relaxed,acquire,release,acq_rel].[cta,cluster,gpu,sys].[global,shared,shared::cta,shared::cluster].add.noftz.[L2::cache_hint].{f16,f16x2,bf16,bf16x2}",
        70,
    ),
    form(
        "atom.[relaxed,acquire,release,acq_rel].[cta,cluster,gpu,sys].[global].add.[L2::cache_hint].{v2,v4}.f32",
        90,
    ),
    form(
        "atom.[relaxed,acquire,release,acq_rel].[cta,cluster,gpu,sys].[global].{add,min,max}.noftz.[L2::cache_hint].{v2,v4,v8}.{f16,bf16}",
        90,
    ),
    form(
        "atom.[relaxed,acquire,release,acq_rel].[cta,cluster,gpu,sys].[global].{add,min,max}.noftz.[L2::cache_hint].{v2,v4}.{f16x2,bf16x2}",
        90,
    ),
    form(
        "red.[relaxed,release].[cta,gpu,sys].[global,shared,shared::cta].{add,min,max,and,or,xor,inc,dec}.[L2::cache_hint].{b32,b64,u32,u64,s32,s64,f32,f64}",
        60,
    ),
    form(
        "red.[relaxed,release].[cta,cluster,gpu,sys].[global,shared,shared::cta,shared::cluster].{add,min,max,and,or,xor,inc,dec}.[L2::cache_hint].{b32,b64,u32,u64,s32,s64,f32,f64}",
        90,
    ),
    form(
        "red.[relaxed,release].[cta,cluster,gpu,sys].[global,shared,shared::cta,shared::cluster].add.noftz.[L2::cache_hint].{f16,f16x2,bf16,bf16x2}",
        70,
    ),
    form("red.[relaxed,release].[cta,cluster,gpu,sys].[global].add.[L2::cache_hint].{v2,v4}.f32", 90),
    form(
        "red.[relaxed,release].[cta,cluster,gpu,sys].[global].{add,min,max}.noftz.[L2::cache_hint].{v2,v4,v8}.{f16,bf16}",
        90,
    ),
    form(
        "red.[relaxed,release].[cta,cluster,gpu,sys].[global].{add,min,max}.noftz.[L2::cache_hint].{v2,v4}.{f16x2,bf16x2}",
        90,
    ),
];

const OPERATIONS: [(&str, Operation); 9] = [
    ("add", Operation::Add),
    ("min", Operation::Min),
    ("max", Operation::Max),
    ("and", Operation::And),
    ("or", Operation::Or),
    ("xor", Operation::Xor),
    ("exch", Operation::Exch),
    ("inc", Operation::Inc),
    ("dec", Operation::Dec),
];

/// What is done to one element.
#[derive(Clone, Copy)]
enum Change {
    /// One function for shared memory, one for global: they flush differently.
    Update(Update, Update),
    Compare,
}

struct Plan {
    request: Request,
    change: Change,
    /// Bytes of an element: 2 to 16.
    element: u32,
    /// Destinations; none for `red`.
    to: Vec<Slot>,
    /// Operands, and for `cas` what they replace.
    from: Vec<Slot>,
    with: Vec<Slot>,
}

fn element(ty: Type, global: bool) -> Element {
    match ty {
        Type::S(32) => Element::S32,
        Type::U(64) | Type::B(64) => Element::U64,
        Type::S(64) => Element::S64,
        Type::F(32) if global => Element::F32Flushed,
        Type::F(32) => Element::F32,
        Type::F(64) => Element::F64,
        Type::F(_) => Element::F16,
        Type::F16x2 => Element::F16x2,
        Type::Bf16 => Element::Bf16,
        Type::Bf16x2 => Element::Bf16x2,
        _ => Element::U32,
    }
}

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let ty = dec.ty()?;
    let atom = dec.opcode() == "atom";
    let first = usize::from(atom);
    let cas = dec.has("cas");
    let operands = first + if cas { 3 } else { 2 };
    dec.expect(operands, operands + 1)?;
    let address = dec.address(first)?;
    let elements = dec.elements(first + 1)?.len();
    let wanted = dec.which(&["v2", "v4", "v8"]).map_or(1, |i| 2 << i);
    if elements != wanted {
        return Err(format!("{elements} elements where the form has {wanted}"));
    }
    let bytes = ty.bits() / 8 * elements as u32;
    if bytes > 16 {
        return Err(format!("{bytes} bytes at once"));
    }
    let access = shadow::Access {
        site: dec.site,
        size: bytes,
        piece: ty.bits() / 8,
        kind: if atom { Kind::Atomic } else { Kind::Reduce },
        strength: strength(dec),
        proxy: Proxy::Generic,
        same_value: 0,
        agreed: 0,
    };
    let request = Request { space: space_of(dec, &address), bytes, access };
    let mut plan = Plan {
        request,
        change: Change::Compare,
        element: ty.bits() / 8,
        to: vec![],
        from: vec![],
        with: vec![],
    };
    if !cas && ty.bits() != 128 {
        plan.change = change(dec, ty)?;
    }
    plan.from = dec.src_vector(first + 1, ty)?;
    if cas {
        plan.with = dec.src_vector(first + 2, ty)?;
    }
    dec.all_critical();
    if dec.count() > operands {
        dec.src(operands, Type::B(64))?;
    }
    if atom && *dec.operand(0)? != Operand::Sink {
        plan.to = dec.dst_vector(0, ty)?;
    }
    let mut step = Inst::new(if ty.bits() == 128 { quads } else { run });
    put_address(&mut step, &address);
    step.c = dec.data(plan);
    dec.emit(step);
    Ok(())
}

fn change(dec: &Dec<'_>, ty: Type) -> Result<Change, Refusal> {
    let which = dec.which(&OPERATIONS.map(|(word, _)| word)).ok_or("no operation")?;
    let operation = OPERATIONS[which].1;
    let none = || format!("`.{}` does not exist for this type", OPERATIONS[which].0);
    let shared = atomic::update(operation, element(ty, false)).ok_or_else(none)?;
    let global = atomic::update(operation, element(ty, true)).ok_or_else(none)?;
    Ok(Change::Update(shared, global))
}

fn strength(dec: &Dec<'_>) -> Strength {
    let scope = scope(dec).unwrap_or(Scope::Gpu);
    match dec.which(&["acquire", "release", "acq_rel"]) {
        Some(0) => Strength::acquire(scope),
        Some(1) => Strength::release(scope),
        Some(_) => Strength::acq_rel(scope),
        None => Strength::relaxed(scope),
    }
}

/// Lanes in the order that the seed draws.
fn order(cx: &mut Cx<'_>, mask: u32) -> impl Iterator<Item = usize> + use<> {
    let first = cx.cluster.rng.below(32) as usize;
    (0..32).map(move |l| (l + first) % 32).filter(move |l| mask >> l & 1 == 1)
}

/// The addresses of lanes, each checked, and where they are.
fn targets(cx: &mut Cx<'_>, i: &Inst, plan: &Plan, mask: u32) -> Result<([u64; 32], [MemSpace; 32]), Flow> {
    let given = cx.addresses(i.x, i.a, i.imm);
    let mut spaces = [plan.request.space; 32];
    let mut inner = given;
    if plan.request.space == MemSpace::Generic {
        for lane in lanes(mask) {
            (spaces[lane], inner[lane]) = classify(given[lane]);
        }
    }
    for space in [MemSpace::Global, MemSpace::Shared] {
        let part = lanes(mask).filter(|l| spaces[*l] == space).fold(0, |m, l| m | 1 << l);
        if part != 0 {
            cx.touch(i, &plan.request, space, &inner, part)?;
        }
    }
    if let Some(lane) = lanes(mask).find(|l| !matches!(spaces[*l], MemSpace::Global | MemSpace::Shared)) {
        let message = format!("an atomic operation on {} memory", spaces[lane].name());
        return Err(cx.bad_address(i, FindingKind::WrongSpace, lane, message, given[lane]));
    }
    Ok((inner, spaces))
}

fn operand(cx: &Cx<'_>, slot: Slot, element: u32) -> [u64; 32] {
    if element == 8 { cx.long(slot) } else { cx.word(slot).map(u64::from) }
}

fn run<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Plan>(i.c);
    let (addresses, spaces) = match targets(cx, i, plan, mask) {
        Ok(found) => found,
        Err(flow) => return flow,
    };
    let order: Vec<usize> = order(cx, mask).collect();
    for (k, &from) in plan.from.iter().enumerate() {
        let values = operand(cx, from, plan.element);
        let with = plan.with.get(k).map_or([0; 32], |slot| operand(cx, *slot, plan.element));
        let mut old = [0u64; 32];
        for &lane in &order {
            let address = addresses[lane] + u64::from(plan.element) * k as u64;
            let (value, with) = (values[lane], with[lane]);
            old[lane] = match spaces[lane] {
                MemSpace::Shared => on_shared(cx, plan, address, value, with),
                _ => on_global(cx, plan, address, value, with),
            };
        }
        if let Some(to) = plan.to.get(k) {
            match plan.element {
                8 => cx.set_long(*to, &old, mask),
                _ => cx.set_word(*to, &old.map(|v| v as u32), mask),
            }
        }
    }
    Flow::Next
}

impl Plan {
    fn new_value(&self, shared: bool, old: u64, value: u64, with: u64) -> u64 {
        match self.change {
            Change::Update(f, _) if shared => f(old, value),
            Change::Update(_, f) => f(old, value),
            Change::Compare => atomic::cas(old, value, with),
        }
    }
}

fn on_shared(cx: &mut Cx<'_>, plan: &Plan, address: u64, value: u64, with: u64) -> u64 {
    let (rank, offset) = split_shared(address);
    let words = &mut cx.cluster.ctas[rank].shared[..];
    if plan.element == 8 {
        let old = words.long(offset);
        let new = plan.new_value(true, old, value, with);
        words.set_word(offset as usize / 4, new as u32);
        words.set_word(offset as usize / 4 + 1, (new >> 32) as u32);
        return old;
    }
    let low = u64::from(u32::MAX >> (32 - 8 * plan.element));
    let old = u64::from(words.part(offset, plan.element));
    let new = plan.new_value(true, old, value & low, with & low);
    words.set_part(offset, new as u32, plan.element);
    old
}

/// Words change by compare-and-swap, wider elements under the lock of their address.
fn on_global(cx: &Cx<'_>, plan: &Plan, address: u64, value: u64, with: u64) -> u64 {
    use std::sync::atomic::Ordering::SeqCst;
    let Some((_, buffer, offset)) = cx.run.global.find(address, plan.element.into()) else { return 0 };
    if plan.element == 8 {
        let _whole = cx.run.lock(address);
        let mut words = buffer.words();
        let old = words.long(offset);
        let new = plan.new_value(false, old, value, with);
        words.set_word(offset as usize / 4, new as u32);
        words.set_word(offset as usize / 4 + 1, (new >> 32) as u32);
        return old;
    }
    let Some(word) = buffer.atomic(offset) else { return 0 };
    let shift = (offset & 3) as u32 * 8;
    let low = u32::MAX >> (32 - 8 * plan.element);
    let part = |w: u32| u64::from((w >> shift) & low);
    let change = |w: u32| {
        let new = plan.new_value(false, part(w), value & u64::from(low), with & u64::from(low)) as u32;
        Some((w & !(low << shift)) | (new & low) << shift)
    };
    word.fetch_update(SeqCst, SeqCst, change).map_or(0, part)
}

/// `cas.b128` and `exch.b128`.
fn quads<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Plan>(i.c);
    let (addresses, spaces) = match targets(cx, i, plan, mask) {
        Ok(found) => found,
        Err(flow) => return flow,
    };
    let both =
        |cx: &Cx<'_>, slots: &[Slot]| slots.first().map_or([[0; 32]; 2], |s| [cx.long(*s), cx.long(*s + 1)]);
    let (value, with) = (both(cx, &plan.from), both(cx, &plan.with));
    let join = |v: &[[u64; 32]; 2], l: usize| u128::from(v[0][l]) | u128::from(v[1][l]) << 64;
    let mut old = [[0u64; 32]; 2];
    for lane in order(cx, mask) {
        let change = |now: u128| {
            if plan.with.is_empty() {
                join(&value, lane)
            } else {
                atomic::cas128(now, join(&value, lane), join(&with, lane))
            }
        };
        let now = match spaces[lane] {
            MemSpace::Shared => {
                let (rank, offset) = split_shared(addresses[lane]);
                swap_quad(&mut cx.cluster.ctas[rank].shared[..], offset, change)
            }
            _ => match cx.run.global.find(addresses[lane], 16) {
                Some((_, buffer, offset)) => {
                    let _whole = cx.run.lock(addresses[lane]);
                    swap_quad(&mut buffer.words(), offset, change)
                }
                None => 0,
            },
        };
        (old[0][lane], old[1][lane]) = (now as u64, (now >> 64) as u64);
    }
    if let Some(to) = plan.to.first() {
        cx.set_long(*to, &old[0], mask);
        cx.set_long(*to + 1, &old[1], mask);
    }
    let _ = Class::Long;
    Flow::Next
}

fn swap_quad<M: WordsMut + ?Sized>(memory: &mut M, offset: u64, change: impl Fn(u128) -> u128) -> u128 {
    let old = u128::from(memory.long(offset)) | u128::from(memory.long(offset + 8)) << 64;
    let new = change(old);
    for k in 0..4 {
        memory.set_word(offset as usize / 4 + k, (new >> (32 * k)) as u32);
    }
    old
}

//! Bulk copies of one dimension, reductions, and bulk groups (ptx.md 5.3).

use std::sync::{Arc, Mutex};

use super::bulk_ops::{Between, LoadPlan, Reduce, Store, issue_load, issue_store, signalled};
use super::decoder::{Address, Dec, Refusal};
use super::form::{Form, form};
use super::inst::{Flow, Inst, Slot};
use crate::count;
use crate::exec::access::{base_code, split_shared};
use crate::exec::async_ops::Kind;
use crate::exec::report::FindingKind;
use crate::exec::space::MemSpace;
use crate::exec::transfer::Wanted;
use crate::exec::{Cx, lanes};
use crate::num::atomic::{self, Element, Operation};
use crate::ptx::Type;
use crate::shadow::{self, Access, AsyncKind, Proxy};
use crate::tensor::{MapElement, Run};

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form(
        "cp.async.bulk.{shared::cluster,shared::cta}.global.mbarrier::complete_tx::bytes.[multicast::cluster].[L2::cache_hint].[ignore_oob]",
        90,
    ),
    form("cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes", 90),
    form("cp.async.bulk.global.shared::cta.bulk_group.[L2::cache_hint]", 90),
    form("cp.async.bulk.global.shared::cta.bulk_group.[L2::cache_hint].cp_mask", 100),
    form("cp.async.bulk.prefetch.L2.global.[L2::cache_hint]", 90),
    form("cp.async.bulk.commit_group", 90),
    form("cp.async.bulk.wait_group.[read]", 90),
    form(
        "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.{and,or,xor,add,inc,dec,min,max}.{b32,u32,s32,u64}",
        90,
    ),
    form(
        "cp.reduce.async.bulk.global.shared::cta.bulk_group.[L2::cache_hint].{and,or,xor,add,inc,dec,min,max}.{b32,u32,s32,b64,u64,s64,f32,f64}",
        90,
    ),
    form("cp.reduce.async.bulk.global.shared::cta.bulk_group.[L2::cache_hint].add.noftz.{f16,bf16}", 90),
    form("cp.reduce.async.bulk.global.shared::cta.bulk_group.[L2::cache_hint].{min,max}.{f16,bf16}", 90),
];

/// The operation among the modifiers on an element type; shared memory keeps subnormals.
pub(super) fn reduction(dec: &Dec<'_>, element: Element) -> Result<Reduce, Refusal> {
    const OPERATIONS: [(&str, Operation); 8] = [
        ("add", Operation::Add),
        ("min", Operation::Min),
        ("max", Operation::Max),
        ("and", Operation::And),
        ("or", Operation::Or),
        ("xor", Operation::Xor),
        ("inc", Operation::Inc),
        ("dec", Operation::Dec),
    ];
    let which = dec.which(&OPERATIONS.map(|(word, _)| word)).ok_or("no operation among the modifiers")?;
    reduce(OPERATIONS[which].1, element)
        .ok_or_else(|| format!("`.{}` does not exist for this type", OPERATIONS[which].0))
}

/// The operation on an element type, where it exists.
pub(super) fn reduce(operation: Operation, element: Element) -> Option<Reduce> {
    let wide = matches!(element, Element::U64 | Element::S64 | Element::F64);
    let update = atomic::update(operation, element)?;
    Some(Reduce { bytes: if wide { 8 } else { 4 }, update })
}

/// Where an operand in brackets points, to be asked at run time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pointer {
    base: u32,
    slot: Slot,
    offset: u64,
}

impl Pointer {
    pub(super) fn of(address: &Address) -> Self {
        Pointer { base: base_code(address.base), slot: address.slot, offset: address.offset }
    }

    pub(super) fn addresses(&self, cx: &Cx<'_>) -> [u64; 32] {
        cx.addresses(self.base, self.slot, self.offset)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Load,
    Between,
    Store,
    Prefetch,
}

struct Plan {
    way: Way,
    to: Pointer,
    from: Pointer,
    size: Slot,
    barrier: Pointer,
    multicast: Option<Slot>,
    ignored: Option<(Slot, Slot)>,
    mask: Option<Slot>,
    reduce: Option<Reduce>,
}

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    match dec.which(&["commit_group", "wait_group"]) {
        Some(0) => {
            dec.expect(0, 0)?;
            dec.emit(Inst::new(|cx, _, mask| {
                cx.commit(Kind::BulkRead, mask);
                cx.commit(Kind::Bulk, mask);
                Flow::Next
            }));
            Ok(())
        }
        Some(_) => wait_group(dec),
        None => copy(dec),
    }
}

fn wait_group(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(1, 1)?;
    let mut step = Inst::new(|cx, i, mask| {
        let flow = cx.wait_groups(Kind::BulkRead, mask, i.imm);
        if i.x == 1 || flow != Flow::Next { flow } else { cx.wait_groups(Kind::Bulk, mask, i.imm) }
    });
    step.x = u32::from(dec.has("read"));
    step.imm = dec.immediate(0)?;
    dec.emit(step);
    Ok(())
}

fn element(ty: Type) -> Element {
    match ty {
        Type::S(32) => Element::S32,
        Type::U(64) | Type::B(64) => Element::U64,
        Type::S(64) => Element::S64,
        Type::F(64) => Element::F64,
        Type::F(32) => Element::F32Flushed,
        Type::F(_) => Element::F16x2,
        Type::Bf16 => Element::Bf16x2,
        _ => Element::U32,
    }
}

fn copy(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let way = match (dec.has("prefetch"), dec.has("bulk_group"), dec.has("global")) {
        (true, ..) => Way::Prefetch,
        (_, true, _) => Way::Store,
        (.., true) => Way::Load,
        _ => Way::Between,
    };
    let reduce = if dec.opcode() == "cp" && dec.has("reduce") {
        Some(reduction(dec, element(dec.ty()?))?)
    } else {
        None
    };
    let (ends, multicast) = (dec.has("ignore_oob"), dec.has("multicast::cluster"));
    let (policy, masked) = (dec.has("L2::cache_hint"), dec.has("cp_mask"));
    let addresses = usize::from(way != Way::Prefetch) + 1;
    let barrier = usize::from(matches!(way, Way::Load | Way::Between));
    let count = addresses
        + 1
        + barrier
        + 2 * usize::from(ends)
        + [multicast, policy, masked].iter().filter(|b| **b).count();
    dec.expect(count, count)?;
    let first = dec.address(0)?;
    let source = if addresses == 2 { dec.address(1)? } else { first };
    let mut at = addresses;
    let mut next = || {
        at += 1;
        at - 1
    };
    let size = dec.critical(next(), Type::U(32))?;
    let ignored = if ends {
        Some((dec.critical(next(), Type::U(32))?, dec.critical(next(), Type::U(32))?))
    } else {
        None
    };
    let signal = if barrier == 1 { dec.address(next())? } else { first };
    let multicast = if multicast { Some(dec.critical(next(), Type::U(16))?) } else { None };
    if policy {
        dec.src(next(), Type::B(64))?;
    }
    let mask = if masked { Some(dec.critical(next(), Type::U(16))?) } else { None };
    let plan = Plan {
        way,
        to: Pointer::of(&first),
        from: Pointer::of(&source),
        size,
        barrier: Pointer::of(&signal),
        multicast,
        ignored,
        mask,
        reduce,
    };
    let mut step = Inst::new(run);
    step.x = dec.data(plan);
    dec.emit(step);
    Ok(())
}

/// What one lane asks for.
struct One {
    lane: usize,
    to: u64,
    from: u64,
    size: u32,
    barrier: u64,
    multicast: Option<u32>,
    ignored: (u32, u32),
    mask: u16,
}

fn run<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Plan>(i.x);
    let (to, from, barriers) = (plan.to.addresses(cx), plan.from.addresses(cx), plan.barrier.addresses(cx));
    let sizes = cx.word(plan.size);
    let word = |cx: &Cx<'_>, slot: Option<Slot>, lane: usize| slot.map(|s| cx.word(s)[lane]);
    for lane in lanes(mask) {
        let one = One {
            lane,
            to: to[lane],
            from: from[lane],
            size: sizes[lane],
            barrier: barriers[lane],
            multicast: word(cx, plan.multicast, lane),
            ignored: plan.ignored.map_or((0, 0), |(l, r)| (cx.word(l)[lane], cx.word(r)[lane])),
            mask: word(cx, plan.mask, lane).map_or(u16::MAX, |m| m as u16),
        };
        let flow = checked(cx, i, plan, one);
        if flow != Flow::Next {
            return flow;
        }
    }
    Flow::Next
}

fn checked(cx: &mut Cx<'_>, i: &Inst, plan: &Plan, one: One) -> Flow {
    if !one.size.is_multiple_of(16) {
        let message = format!("a bulk copy of {} bytes; multiples of 16 are allowed", one.size);
        return cx.abort(i, FindingKind::AsyncMisuse, one.lane, message);
    }
    if one.ignored.0 > 15 || one.ignored.1 > 15 || one.ignored.0 + one.ignored.1 > one.size {
        let message =
            format!("{:?} ignored bytes of {}; at most 15 at each end are allowed", one.ignored, one.size);
        return cx.abort(i, FindingKind::AsyncMisuse, one.lane, message);
    }
    let done = match plan.way {
        Way::Load => load(cx, i, &one),
        Way::Between => between(cx, i, plan, &one),
        Way::Store => store(cx, i, plan, &one),
        Way::Prefetch => cx.global_target(i, one.from, one.size.into(), 16, one.lane).map(|()| Flow::Next),
    };
    done.unwrap_or_else(|flow| flow)
}

pub(super) fn barrier_wanted() -> Wanted {
    Wanted { space: MemSpace::Shared, bytes: 8, align: 8, remote: true, what: "the mbarrier of a copy" }
}

fn shared(bytes: u32, remote: bool, what: &'static str) -> Wanted {
    Wanted { space: MemSpace::Shared, bytes: bytes.into(), align: 16, remote, what }
}

/// The mbarrier must be in the destination's CTA.
pub(super) fn same_cta(cx: &mut Cx<'_>, i: &Inst, lane: usize, destination: u64, barrier: u64) {
    let (data, signal) = (split_shared(destination).0, split_shared(barrier).0);
    if data != signal {
        let message = format!("the data goes to CTA {data} of the cluster, its mbarrier is in CTA {signal}");
        cx.complain(i, FindingKind::AsyncMisuse, lane, message, barrier);
    }
}

fn load(cx: &mut Cx<'_>, i: &Inst, one: &One) -> Result<Flow, Flow> {
    let One { lane, size, .. } = *one;
    let to = cx.shared_target(i, &shared(size, true, "the destination"), one.to, lane)?;
    let barrier = cx.shared_target(i, &barrier_wanted(), one.barrier, lane)?;
    let (left, right) = one.ignored;
    let inside = one.from.wrapping_add(left.into());
    if !one.from.is_multiple_of(16) {
        let message = format!("the source {:#x} is no multiple of 16", one.from);
        return Err(cx.bad_address(i, FindingKind::Misaligned, lane, message, one.from));
    }
    cx.global_target(i, inside, u64::from(size - left - right), 1, lane)?;
    if one.multicast.is_none() {
        same_cta(cx, i, lane, to, barrier);
    }
    let offset = split_shared(to).1;
    let barriers = signalled(cx, i, lane, to, barrier, one.multicast)?;
    let runs: Vec<Run> =
        vec![Run { global: Some(inside), shared: offset as u32 + left, bytes: size - left - right }];
    let plan = LoadPlan {
        runs: runs.into_iter().filter(|r| r.bytes > 0).collect(),
        element: MapElement::U8,
        fill: 0,
        ignored: (0, 0),
        offset,
        bytes: size,
        map: None,
    };
    Ok(issue_load(cx, i, lane, &plan, &barriers))
}

fn between(cx: &mut Cx<'_>, i: &Inst, plan: &Plan, one: &One) -> Result<Flow, Flow> {
    let One { lane, size, .. } = *one;
    let to = cx.shared_target(i, &shared(size, true, "the destination"), one.to, lane)?;
    let from = cx.shared_target(i, &shared(size, false, "the source"), one.from, lane)?;
    let barrier = cx.shared_target(i, &barrier_wanted(), one.barrier, lane)?;
    same_cta(cx, i, lane, to, barrier);
    let target = split_shared(to);
    if target.0 as u32 == cx.rank() {
        let message = "a copy between CTAs of a cluster whose destination is the own CTA".to_owned();
        cx.complain(i, FindingKind::AsyncMisuse, lane, message, to);
    }
    let watched = cx.fork(1 << lane, AsyncKind::Whole, |detector, id| {
        detector.mbarrier_use(id, barrier, i.site);
        let access = |kind| Access::weak(i.site, kind, size).via(Proxy::Async);
        let write = if plan.reduce.is_some() { shadow::Kind::Reduce } else { shadow::Kind::Write };
        detector.access_async(id, shadow::Space::Shared, from, size.into(), &access(shadow::Kind::Read));
        detector.access_async(id, shadow::Space::Shared, to, size.into(), &access(write));
    });
    cx.count(|c| {
        c.shared_range(i.site, count::Access::Read, size.into(), false);
        c.shared_range(i.site, count::Access::Write, size.into(), true);
        c.copied(i.site, size.into());
    });
    let op = Between {
        from: split_shared(from).1,
        to: target,
        barrier,
        bytes: size,
        reduce: plan.reduce,
        watched,
    };
    cx.issue(i, Kind::Mbarrier, 1 << lane, Arc::new(op), watched, false);
    Ok(Flow::Next)
}

fn store(cx: &mut Cx<'_>, i: &Inst, plan: &Plan, one: &One) -> Result<Flow, Flow> {
    let One { lane, size, .. } = *one;
    let from = cx.shared_target(i, &shared(size, false, "the source"), one.from, lane)?;
    cx.global_target(i, one.to, size.into(), 16, lane)?;
    let runs = if size == 0 {
        Vec::new()
    } else {
        vec![Run { global: Some(one.to), shared: split_shared(from).1 as u32, bytes: size }]
    };
    let store = Store { runs, reduce: plan.reduce, bytes_of_16: one.mask, taken: Mutex::new(None) };
    Ok(issue_store(cx, i, lane, store, (from, size.into()), None))
}

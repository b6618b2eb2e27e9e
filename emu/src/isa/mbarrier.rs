//! mbarriers (ptx.md 5.2): their state is in [`crate::exec::mbarrier`].

use std::sync::Arc;

use super::decoder::{Dec, Refusal};
use super::form::{Form, form};
use super::inst::{Flow, Inst, Slot};
use super::memory::{put_address, scope};
use crate::exec::async_ops::{AsyncCx, Kind, Operation, Pending};
use crate::exec::group::Ticket;
use crate::exec::mbarrier::{Arrival, Mbarriers, Misuse, Token};
use crate::exec::report::{FindingKind, Severity};
use crate::exec::space::MemSpace;
use crate::exec::transfer::Wanted;
use crate::exec::{Cx, lanes};
use crate::ptx::{Operand, Type};
use crate::shadow::{AsyncId, AsyncPart, Scope};

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("mbarrier.init.[shared,shared::cta].b64", 80),
    form("mbarrier.inval.[shared,shared::cta].b64", 80),
    form("mbarrier.{arrive,arrive_drop}.[release].[cta].[shared,shared::cta].b64", 80),
    form("mbarrier.{arrive,arrive_drop}.noComplete.[release].[cta].[shared,shared::cta].b64", 80),
    form(
        "mbarrier.{arrive,arrive_drop}.[expect_tx].[release,relaxed].[cta,cluster].[shared,shared::cta,shared::cluster].b64",
        90,
    ),
    form(
        "mbarrier.{expect_tx,complete_tx}.[relaxed].[cta,cluster].[shared,shared::cta,shared::cluster].b64",
        90,
    ),
    form("mbarrier.test_wait.[parity].[acquire].[cta].[shared,shared::cta].b64", 80),
    form(
        "mbarrier.{test_wait,try_wait}.[parity].[acquire,relaxed].[cta,cluster].[shared,shared::cta].b64",
        90,
    ),
    form("mbarrier.pending_count.b64", 80),
    form("cp.async.mbarrier.arrive.[noinc].[shared,shared::cta].b64", 80),
];

/// What an instruction does, decoded.
struct Plan {
    what: What,
    wanted: Wanted,
    scope: Scope,
    /// Releases or acquires.
    ordered: bool,
    /// The count, the bytes, the state or the parity, by what it does.
    operand: Slot,
    /// Where the state or the answer goes.
    to: Option<Slot>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Init,
    Inval,
    Arrive { drop: bool, expect: bool, no_complete: bool },
    Expect,
    Complete,
    Wait { parity: bool, blocking: bool },
    AfterCopies { counted: bool },
}

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    if dec.has("pending_count") {
        return pending_count(dec);
    }
    let what = match dec.which(&["init", "inval", "complete_tx", "test_wait", "try_wait", "mbarrier"]) {
        Some(0) => What::Init,
        Some(1) => What::Inval,
        Some(2) => What::Complete,
        Some(n @ (3 | 4)) => What::Wait { parity: dec.has("parity"), blocking: n == 4 },
        Some(_) => What::AfterCopies { counted: dec.has("noinc") },
        None if dec.has("arrive") || dec.has("arrive_drop") => What::Arrive {
            drop: dec.has("arrive_drop"),
            expect: dec.has("expect_tx"),
            no_complete: dec.has("noComplete"),
        },
        None => What::Expect,
    };
    let relaxed = dec.has("relaxed");
    if relaxed && scope(dec).is_none() {
        return Err("`.relaxed` needs a scope".to_owned());
    }
    let any_space = dec.which(&["shared", "shared::cta", "shared::cluster"]).is_some();
    let remote = matches!(what, What::Arrive { .. } | What::Expect | What::Complete)
        && (dec.has("shared::cluster") || !any_space);
    let space = if any_space { MemSpace::Shared } else { MemSpace::Generic };
    let wanted = Wanted { space, bytes: 8, align: 8, remote, what: "the mbarrier" };
    let scope = scope(dec).unwrap_or(Scope::Cta);
    let mut plan = Plan { what, wanted, scope, ordered: !relaxed, operand: 0, to: None };
    let mut step = Inst::new(run);
    operands(dec, &mut plan, &mut step)?;
    step.b = dec.data(plan);
    dec.emit(step);
    Ok(())
}

fn operands(dec: &mut Dec<'_>, plan: &mut Plan, step: &mut Inst) -> Result<(), Refusal> {
    let word = Type::U(32);
    let first = usize::from(matches!(plan.what, What::Arrive { .. } | What::Wait { .. }));
    let (least, most) = match plan.what {
        What::Inval | What::AfterCopies { .. } => (1, 1),
        What::Init | What::Expect | What::Complete => (2, 2),
        What::Arrive { expect: true, .. } | What::Arrive { no_complete: true, .. } => (3, 3),
        What::Arrive { .. } => (2, 3),
        What::Wait { blocking, .. } => (3, if blocking { 4 } else { 3 }),
    };
    dec.expect(least, most)?;
    let mut address = dec.address(first)?;
    if let Some(place) = address.named {
        // A variable's name is a shared address, whatever the form.
        plan.wanted.space = MemSpace::Shared;
        address.named = Some(place);
    }
    put_address(step, &address);
    match plan.what {
        What::Inval | What::AfterCopies { .. } => {}
        What::Wait { parity: false, .. } => plan.operand = dec.critical(2, Type::B(64))?,
        What::Wait { .. } => plan.operand = dec.critical(2, word)?,
        What::Arrive { .. } if dec.count() == 2 => {
            if !dec.target_at_least(90) && plan.wanted.remote && dec.has("shared::cluster") {
                return Err("`.shared::cluster` needs sm_90".to_owned());
            }
            plan.operand = dec.word_constant(1);
        }
        What::Arrive { no_complete: false, .. } if !dec.target_at_least(90) => {
            return Err("a count needs `.noComplete` before sm_90".to_owned());
        }
        _ => plan.operand = dec.critical(first + 1, word)?,
    }
    if dec.count() == 4 {
        // The time limit only says how soon a wait may come back with nothing.
        dec.critical(3, word)?;
    }
    match plan.what {
        What::Arrive { .. } if dec.has("shared::cluster") && *dec.operand(0)? != Operand::Sink => {
            return Err("an arrival by `.shared::cluster` gives no state: its result must be `_`".to_owned());
        }
        What::Arrive { .. } if *dec.operand(0)? == Operand::Sink => {}
        What::Arrive { .. } => plan.to = Some(dec.dst(0, Type::B(64))?),
        What::Wait { .. } => plan.to = Some(dec.dst(0, Type::Pred)?),
        _ => {}
    }
    Ok(())
}

fn run<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Plan>(i.b);
    let given = cx.addresses(i.x, i.a, i.imm);
    let mut addresses = [0; 32];
    for lane in lanes(mask) {
        match cx.shared_target(i, &plan.wanted, given[lane], lane) {
            Ok(address) => addresses[lane] = address,
            Err(flow) => return flow,
        }
    }
    match plan.what {
        What::Wait { parity, blocking } => wait(cx, i, plan, &addresses, mask, parity, blocking),
        What::AfterCopies { counted } => after_copies(cx, i, &addresses, mask, counted),
        _ => {
            let values = if matches!(plan.what, What::Inval) { [0; 32] } else { cx.word(plan.operand) };
            let mut states = [0; 32];
            for lane in lanes(mask) {
                states[lane] = one(cx, i, plan, addresses[lane], values[lane], lane);
            }
            if let Some(to) = plan.to {
                cx.set_long(to, &states, mask);
            }
            Flow::Next
        }
    }
}

/// What one lane does to its mbarrier; gives the state that an arrival returns.
fn one(cx: &mut Cx<'_>, i: &Inst, plan: &Plan, address: u64, value: u32, lane: usize) -> u64 {
    let site = i.site;
    match plan.what {
        What::Init => cx.tell(1 << lane, |d, who| d.mbarrier_init(who, address, site)),
        What::Inval => cx.tell(1 << lane, |d, who| d.mbarrier_inval(who, address, site)),
        What::Arrive { .. } => {
            cx.tell(1 << lane, |d, who| d.mbarrier_arrive(who, address, plan.scope, plan.ordered, site));
            unobserved(cx, i, address, lane);
        }
        _ => cx.tell(1 << lane, |d, who| d.mbarrier_arrive(who, address, plan.scope, false, site)),
    }
    let barriers = cx.mbarriers();
    let done: Result<(u64, bool), Misuse> = match plan.what {
        What::Init => barriers.init(address, value).map(|()| (0, false)),
        What::Inval => barriers.inval(address).map(|()| (0, false)),
        What::Arrive { drop, expect, no_complete } => {
            let count = if expect { 1 } else { value };
            let how = Arrival { count, expect: expect.then_some(value), drop, no_complete };
            barriers.get_mut(address).and_then(|b| b.arrive(how)).map(|(token, ended)| (token.bits(), ended))
        }
        What::Expect => barriers.get_mut(address).and_then(|b| b.expect_tx(value)).map(|()| (0, false)),
        _ => barriers.get_mut(address).and_then(|b| b.complete_tx(value)).map(|ended| (0, ended)),
    };
    match done {
        Ok((state, ended)) => {
            if ended {
                phase_ended(cx, address);
            }
            state
        }
        Err(misuse) => {
            cx.mbarrier_misuse(i, lane, address, &misuse);
            0
        }
    }
}

fn phase_ended(cx: &mut Cx<'_>, address: u64) {
    if let Some(cta) = cx.cluster.ctas[cx.warp.cta].watched {
        cx.tell(1, |d, _| d.mbarrier_complete(cta, address));
    }
}

/// Somebody must have seen the end of a phase before anybody arrives in the next one (PTX ISA, Phase of the mbarrier).
fn unobserved(cx: &mut Cx<'_>, i: &Inst, address: u64, lane: usize) {
    let Ok(barrier) = cx.mbarriers().get_mut(address) else { return };
    if barrier.observed {
        return;
    }
    barrier.observed = true;
    let message = format!(
        "arrives in phase {} before anybody saw the end of phase {}",
        barrier.phase,
        barrier.phase - 1
    );
    cx.mbarrier_misuse(i, lane, address, &message);
}

fn wait<'a>(
    cx: &mut Cx<'a>,
    i: &'a Inst,
    plan: &Plan,
    addresses: &[u64; 32],
    mask: u32,
    parity: bool,
    blocking: bool,
) -> Flow {
    let values = if parity { cx.word(plan.operand).map(u64::from) } else { cx.long(plan.operand) };
    let mut done = 0;
    for lane in lanes(mask) {
        let barrier = cx.mbarriers().get_mut(addresses[lane]);
        let answer = match barrier {
            Ok(_) if parity && values[lane] > 1 => {
                Err(format!("a parity of {}; 0 and 1 are allowed", values[lane]))
            }
            Ok(barrier) if parity => Ok(barrier.test_parity(values[lane] as u32)),
            Ok(barrier) => barrier.test(values[lane]),
            Err(misuse) => Err(misuse),
        };
        match answer {
            Ok(yes) => done |= u32::from(yes) << lane,
            Err(misuse) => {
                cx.mbarrier_misuse(i, lane, addresses[lane], &misuse);
                done |= 1 << lane;
            }
        }
    }
    let warp = cx.rank() * cx.run.warps() + cx.warp.id;
    if done & mask == 0 && blocking {
        let clock = cx.warp.clock;
        // Back with nothing only where nobody else can go on: what the warp does then may help.
        if cx.cluster.stuck == 0 || !cx.mbarriers().may_return(warp, clock) {
            let lane = mask.trailing_zeros() as usize % 32;
            cx.group.ticket = Ticket::Numbers(addresses[lane], values[lane]);
            return Flow::Wait;
        }
    }
    cx.group.ticket = Ticket::None;
    if done & mask != 0 {
        cx.mbarriers().went_on(warp);
        passed(cx, i, plan, addresses, mask & done, parity);
    }
    if let Some(to) = plan.to {
        cx.set_pred(to, done, mask);
    }
    if done & mask == 0 { Flow::Yield } else { Flow::Next }
}

/// Lanes saw the end of a phase.
fn passed(cx: &mut Cx<'_>, i: &Inst, plan: &Plan, addresses: &[u64; 32], done: u32, parity: bool) {
    let mut left = done;
    while left != 0 {
        let address = addresses[left.trailing_zeros() as usize];
        let part = lanes(left).filter(|l| addresses[*l] == address).fold(0, |m, l| m | 1 << l);
        left &= !part;
        cx.tell(part, |d, who| d.mbarrier_wait(who, address, plan.scope, plan.ordered, i.site));
        if let Ok(barrier) = cx.mbarriers().get_mut(address) {
            barrier.observed = true;
        }
        if !cx.run.checks.any() || !parity {
            continue;
        }
        for lane in lanes(part) {
            let thread = cx.thread_index(lane);
            if cx.mbarriers().pass(address, thread) {
                let message = format!(
                    "the mbarrier at {address:#x}: the thread waits once more for the end of a phase that it has seen; \
                     was the parity not flipped?"
                );
                cx.report_at(
                    i.site,
                    FindingKind::MbarrierMisuse,
                    Severity::Warning,
                    lane,
                    message,
                    Some(address),
                    None,
                );
            }
        }
    }
}

fn pending_count(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(2, 2)?;
    let mut step = Inst::new(|cx, i, mask| {
        let states = cx.long(i.a);
        let mut counts = [0; 32];
        for lane in lanes(mask) {
            match Token::of(states[lane]) {
                Some(token) if token.no_complete => counts[lane] = token.pending,
                _ => {
                    let message = "the state was not given by an arrival with `.noComplete`".to_owned();
                    cx.report(i.site, FindingKind::MbarrierMisuse, Severity::Error, lane, message);
                }
            }
        }
        cx.set_word(i.d, &counts, mask);
        Flow::Next
    });
    step.a = dec.critical(1, Type::B(64))?;
    step.d = dec.dst(0, Type::U(32))?;
    dec.emit(step);
    Ok(())
}

/// Arrives when all earlier `cp.async` of the lane have taken effect.
struct ArriveAfterCopies {
    addresses: [u64; 32],
    /// Those copies, as the detector names them, with their lanes.
    copies: Vec<(AsyncId, u32)>,
}

impl Operation for ArriveAfterCopies {
    fn perform(&self, cx: &mut AsyncCx<'_>, mask: u32) -> bool {
        for lane in lanes(mask) {
            let address = self.addresses[lane];
            for (id, _) in self.copies.iter().filter(|(_, m)| m >> lane & 1 == 1) {
                cx.tell(|detector| detector.join_mbarrier(*id, AsyncPart::All, 1 << lane, address));
            }
            cx.arrive(lane, address);
        }
        true
    }
}

fn after_copies(cx: &mut Cx<'_>, i: &Inst, addresses: &[u64; 32], mask: u32, counted: bool) -> Flow {
    for lane in lanes(mask) {
        let address = addresses[lane];
        let barrier = cx.mbarriers().get_mut(address);
        let more = barrier.and_then(|b| if counted { Ok(()) } else { b.one_more() });
        if let Err(misuse) = more {
            cx.mbarrier_misuse(i, lane, address, &misuse);
        }
    }
    let (rank, warp) = (cx.rank(), cx.warp.id);
    let own = |p: &&Pending| p.kind == Kind::Copy && p.rank == rank && p.warp == warp && p.mask & mask != 0;
    let copies = cx.cluster.pending.iter().filter(own).filter_map(|p| Some((p.watched?, p.mask))).collect();
    cx.cluster.pending.forget_done(Kind::Copy, rank, warp, mask);
    let op = ArriveAfterCopies { addresses: *addresses, copies };
    cx.issue(i, Kind::Copy, mask, Arc::new(op), None, true);
    Flow::Next
}

/// What a group that waits at an mbarrier waits for, for reports of deadlocks.
pub(crate) fn waits_for(barriers: &Mbarriers, ticket: &Ticket) -> Option<String> {
    let Ticket::Numbers(address, value) = ticket else { return None };
    let barrier = barriers.get(*address)?;
    let value = if *value > 1 { "a state".to_owned() } else { format!("parity {value}") };
    Some(format!(" (for {value} of the mbarrier at {address:#x}, which is {barrier})"))
}

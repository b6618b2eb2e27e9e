//! `bar` and `barrier` of a CTA.

use super::decoder::{Dec, Refusal};
use super::form::{Form, form};
use super::inst::{Flow, Inst, PRED_FALSE};
use crate::exec::barrier::Arrival;
use crate::exec::group::Ticket;
use crate::exec::report::{FindingKind, Severity};
use crate::exec::{Cx, lanes};
use crate::ptx::Type;
use crate::shadow::BarrierRef;

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("bar.[cta].{sync,arrive}", 50),
    form("bar.[cta].red.popc.u32", 50),
    form("bar.[cta].red.{and,or}.pred", 50),
    form("barrier.[cta].{sync,arrive}.[aligned]", 70),
    form("barrier.[cta].red.popc.[aligned].u32", 70),
    form("barrier.[cta].red.{and,or}.[aligned].pred", 70),
];

/// How a reduction combines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Combine {
    Count,
    And,
    Or,
}

struct Plan {
    arrival: Arrival,
    combine: Combine,
    aligned: bool,
    counted: bool,
}

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let aligned = dec.opcode() == "bar" || dec.has("aligned");
    let reduce = dec.has("red");
    let arrival = match (reduce, dec.has("arrive")) {
        (true, _) => Arrival::Reduce,
        (_, true) => Arrival::Arrive,
        _ => Arrival::Sync,
    };
    let combine = match dec.which(&["and", "or"]) {
        Some(0) => Combine::And,
        Some(_) => Combine::Or,
        None => Combine::Count,
    };
    let first = usize::from(reduce);
    let tail = usize::from(reduce);
    let (least, most) = (first + tail + if arrival == Arrival::Arrive { 2 } else { 1 }, first + tail + 2);
    dec.expect(least, most)?;
    let counted = dec.count() == most;
    let mut step = Inst::new(run);
    let word = Type::U(32);
    step.a = dec.critical(first, word)?;
    step.b = if counted { dec.critical(first + 1, word)? } else { 0 };
    step.c = if reduce { dec.critical(dec.count() - 1, Type::Pred)? } else { PRED_FALSE };
    if reduce {
        step.d = dec.dst(0, if combine == Combine::Count { word } else { Type::Pred })?;
    }
    step.x = dec.data(Plan { arrival, combine, aligned, counted });
    dec.emit(step);
    Ok(())
}

fn run<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Plan>(i.x);
    if let Ticket::Barrier(generation) = cx.group.ticket {
        return wait(cx, i, plan, generation, mask);
    }
    let (mut lanes_here, mut votes) = (mask, cx.pred(i.c) & mask);
    let needed = cx.warp.live();
    if mask != needed || !matches!(cx.group.ticket, Ticket::None) {
        if plan.aligned {
            if let Some(flow) = cx.gather(i, needed, mask) {
                return flow;
            }
        } else {
            let id = cx.word(i.a)[mask.trailing_zeros() as usize % 32];
            let values = std::array::from_fn(|l| u64::from(votes >> l & 1));
            let Some(all) = cx.exchange(KEY | u64::from(id), needed, mask, &values) else {
                return Flow::Wait;
            };
            lanes_here = all.lanes;
            votes = lanes(all.lanes).filter(|l| all.values[*l] != 0).fold(0, |m, l| m | 1 << l);
        }
    }
    arrive(cx, i, plan, mask, lanes_here, votes)
}

/// Key of exchanges at barriers; the id is added.
const KEY: u64 = 0xba55_0000_0000;

fn arrive<'a>(cx: &mut Cx<'a>, i: &'a Inst, plan: &Plan, mask: u32, all: u32, votes: u32) -> Flow {
    let lane = mask.trailing_zeros() as usize % 32;
    let (ids, counts) = (cx.word(i.a), cx.word(i.b));
    let id = ids[lane];
    let count = plan.counted.then(|| counts[lane]);
    if lanes(mask).any(|l| ids[l] != id || (plan.counted && counts[l] != counts[lane])) {
        let message = "lanes of a warp name different barriers or counts".to_owned();
        cx.report(i.site, FindingKind::BarrierMisuse, Severity::Error, lane, message);
    }
    if id > 15 {
        return cx.abort(
            i,
            FindingKind::BarrierMisuse,
            lane,
            format!("barrier {id}; a CTA has barriers 0 to 15"),
        );
    }
    if let Some(n) = count
        && (n == 0 || n % 32 != 0)
    {
        return cx.abort(
            i,
            FindingKind::BarrierMisuse,
            lane,
            format!("a thread count of {n}, which is no multiple of 32"),
        );
    }
    let (warp, expected) = (cx.warp.id, cx.expected_threads());
    let barrier = &mut cx.cta().barriers[id as usize];
    let generation = match barrier.arrive(warp, count, expected, plan.arrival, (votes, all)) {
        Ok(generation) => generation,
        Err(misuse) => {
            return cx.abort(i, FindingKind::BarrierMisuse, lane, format!("barrier {id}: {misuse}"));
        }
    };
    cx.tell(all, |detector, who| detector.barrier_arrive(who, BarrierRef::Cta(id), generation, true));
    let key = KEY | u64::from(id);
    for group in &mut cx.warp.groups {
        if matches!(&group.ticket, Ticket::Exchange(e) if e.complete && e.key == key) {
            group.ticket = Ticket::Barrier(generation);
        }
    }
    if plan.arrival == Arrival::Arrive {
        return Flow::Next;
    }
    cx.group.ticket = Ticket::Barrier(generation);
    wait(cx, i, plan, generation, mask)
}

fn wait<'a>(cx: &mut Cx<'a>, i: &'a Inst, plan: &Plan, generation: u64, mask: u32) -> Flow {
    let id = cx.word(i.a)[mask.trailing_zeros() as usize % 32];
    if plan.arrival == Arrival::Arrive {
        cx.group.ticket = Ticket::None;
        return Flow::Next;
    }
    let barrier = &cx.cta().barriers[id as usize & 15];
    if barrier.generation <= generation {
        return Flow::Wait;
    }
    let result = barrier.result;
    cx.group.ticket = Ticket::None;
    cx.tell(mask, |detector, who| detector.barrier_leave(who, BarrierRef::Cta(id), generation));
    if plan.arrival == Arrival::Reduce {
        let truth = |yes: bool| if yes { u32::MAX } else { 0 };
        match plan.combine {
            Combine::Count => cx.set_word(i.d, &[result.count; 32], mask),
            Combine::And => cx.set_pred(i.d, truth(result.count == result.threads), mask),
            Combine::Or => cx.set_pred(i.d, truth(result.count > 0), mask),
        }
    }
    Flow::Next
}

//! The barrier of a cluster (ptx.md 7).

use super::decoder::{Dec, Refusal};
use super::form::{Form, form};
use super::inst::{Flow, Inst};
use crate::exec::group::Ticket;
use crate::exec::report::{FindingKind, Severity};
use crate::exec::{Cx, lanes};
use crate::shadow::BarrierRef;

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("barrier.cluster.arrive.[release,relaxed].[aligned]", 90),
    form("barrier.cluster.wait.[acquire].[aligned]", 90),
];

/// The barrier: which lanes arrived, by warp of the cluster.
#[derive(Debug, Default)]
struct ClusterBarrier {
    generation: u64,
    /// In the generation that is under way.
    arrived: Vec<u32>,
    /// In the one before, and have not waited yet.
    passing: Vec<u32>,
}

/// What an arrival is, in `x`.
const RELEASE: u32 = 1;
const ALIGNED: u32 = 2;

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(0, 0)?;
    let mut step = Inst::new(if dec.has("arrive") { arrive } else { wait });
    step.x = if dec.has("relaxed") { 0 } else { RELEASE } | if dec.has("aligned") { ALIGNED } else { 0 };
    dec.emit(step);
    Ok(())
}

fn barrier<'c>(cx: &'c mut Cx<'_>) -> &'c mut ClusterBarrier {
    let warps = cx.cluster.warps.len();
    let barrier = cx.cluster.extra.get::<ClusterBarrier>();
    barrier.arrived.resize(warps, 0);
    barrier.passing.resize(warps, 0);
    barrier
}

fn own(cx: &Cx<'_>) -> usize {
    (cx.rank() * cx.run.warps() + cx.warp.id) as usize
}

/// Ends the generation if every thread of the cluster has arrived or ended.
fn complete_if(cx: &mut Cx<'_>) {
    let (own, live) = (own(cx), cx.warp.live());
    let arrived = &barrier(cx).arrived;
    if arrived[own] & live != live || arrived.iter().all(|a| *a == 0) {
        return;
    }
    let arrived = std::mem::take(&mut barrier(cx).arrived);
    let missing = |(w, a): (usize, &u32)| w != own && cx.cluster.warps[w].live() & !a != 0;
    let complete = !arrived.iter().enumerate().any(missing);
    let barrier = barrier(cx);
    if complete {
        barrier.generation += 1;
        barrier.passing.iter_mut().zip(&arrived).for_each(|(p, a)| *p |= a);
    } else {
        barrier.arrived = arrived;
    }
}

fn arrive<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    if i.x & ALIGNED != 0
        && let Some(flow) = cx.gather(i, cx.warp.live(), mask)
    {
        return flow;
    }
    let own = own(cx);
    let barrier = barrier(cx);
    let generation = barrier.generation;
    let twice = (barrier.arrived[own] | barrier.passing[own]) & mask;
    barrier.arrived[own] |= mask;
    barrier.passing[own] &= !mask;
    if twice != 0 {
        let lane = twice.trailing_zeros() as usize;
        let message = "arrives at the cluster's barrier once more without having waited".to_owned();
        cx.report(i.site, FindingKind::BarrierMisuse, Severity::Error, lane, message);
    }
    let release = i.x & RELEASE != 0;
    cx.tell(mask, |detector, who| detector.barrier_arrive(who, BarrierRef::Cluster, generation, release));
    complete_if(cx);
    Flow::Next
}

fn wait<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    if i.x & ALIGNED != 0
        && matches!(cx.group.ticket, Ticket::None)
        && let Some(flow) = cx.gather(i, cx.warp.live(), mask)
    {
        return flow;
    }
    complete_if(cx);
    let own = own(cx);
    let state = barrier(cx);
    let (here, through) = (state.arrived[own] & mask, state.passing[own] & mask);
    let neither = mask & !here & !through;
    if neither != 0 && matches!(cx.group.ticket, Ticket::None) {
        let lane = lanes(neither).next().unwrap_or(0);
        let message = "waits at the cluster's barrier without having arrived".to_owned();
        return cx.abort(i, FindingKind::BarrierMisuse, lane, message);
    }
    if here != 0 {
        cx.group.ticket = Ticket::Numbers(0, 0);
        return Flow::Wait;
    }
    let state = barrier(cx);
    state.passing[own] &= !mask;
    let generation = state.generation.saturating_sub(1);
    cx.group.ticket = Ticket::None;
    cx.tell(mask, |detector, who| detector.barrier_leave(who, BarrierRef::Cluster, generation));
    Flow::Next
}

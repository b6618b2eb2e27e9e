//! Whose turn it is: groups of a warp, warps of a cluster, clusters of a host thread.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::cx::{Cx, place_of, thread_of};
use super::group::{Group, State};
use super::report::{Finding, FindingKind, Severity};
use super::run::{Stop, perform, run_group};
use super::state::{Cluster, Run};
use super::warp::Warp;
use crate::count::Counting;

/// Instructions of a warp after which parked lanes no longer wait for the others, which may be waiting for them.
const PATIENCE: u64 = 4096;
/// The same with checks on, where an instruction costs more and a lock that lanes spin on should not take long.
const PATIENCE_CHECKED: u64 = 512;
/// Instructions that one group of a warp may run while others could.
const GROUP_QUANTUM: u32 = 256;
/// Rounds without any progress after which a cluster is dead.
const STUCK_ROUNDS: u32 = 8;
/// Instructions without the end of a CTA after which another is admitted.
const ADMIT_AFTER: u64 = 1 << 20;
/// Clusters resident on a host thread at most.
const RESIDENT_LIMIT: usize = 4096;

/// Runs a warp for a turn; gives the instructions executed, or `None` if the launch is over.
fn turn<const CHECK: bool, const COUNT: bool>(
    run: &Run<'_>,
    cluster: &mut Cluster,
    index: usize,
    budget: u32,
) -> Option<u32> {
    let mut warp = std::mem::take(&mut cluster.warps[index]);
    warp.turns += 1;
    let mut left = budget;
    let mut alive = true;
    while alive && left > 0 {
        let turns = warp.turns;
        let Some(i) = warp.groups.iter().position(|g| g.state != State::Parked && g.tried != turns) else {
            break;
        };
        let group = warp.groups.remove(i);
        let alone = warp.groups.iter().all(|g| g.state == State::Parked);
        let quantum = if alone { left } else { left.min(GROUP_QUANTUM) };
        let (stop, used) = group_turn::<CHECK, COUNT>(run, cluster, &mut warp, group, quantum);
        left -= used.min(left);
        warp.clock += u64::from(used);
        alive = stop != Stop::Abort;
    }
    let used = budget - left;
    let clock = warp.clock;
    if used == 0 {
        warp.release(|_| true);
    } else {
        let patience = if CHECK { PATIENCE_CHECKED } else { PATIENCE };
        warp.release(|g| clock - g.since > patience);
    }
    cluster.warps[index] = warp;
    alive.then_some(used)
}

fn group_turn<const CHECK: bool, const COUNT: bool>(
    run: &Run<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    group: Group,
    quantum: u32,
) -> (Stop, u32) {
    let frame = std::mem::take(&mut warp.frames[group.frame as usize]);
    let program = &*run.program;
    let mut cx = Cx { run, program, cluster, warp, frame, group };
    let (stop, used) = run_group::<CHECK, COUNT>(&mut cx, quantum);
    let Cx { frame, mut group, .. } = cx;
    warp.frames[group.frame as usize] = frame;
    let turns = warp.turns;
    match stop {
        Stop::Quantum => {
            group.state = State::Ready;
            group.tried = if used < quantum { turns } else { 0 };
            warp.groups.push(group);
        }
        Stop::Waiting => {
            group.state = State::Waiting;
            group.tried = turns;
            warp.groups.push(group);
        }
        Stop::Parked => park(warp, group, used),
        Stop::Ended | Stop::Abort => {}
    }
    (stop, used)
}

fn park(warp: &mut Warp, mut group: Group, used: u32) {
    group.state = State::Parked;
    group.since = warp.clock + u64::from(used);
    let join = group.joins.last().copied();
    let mask = group.mask;
    warp.groups.push(group);
    if let Some(join) = join {
        warp.joins[join as usize].arrived |= mask;
        warp.settle(join);
    }
}

/// One turn for each warp of a cluster; `None` if the launch is over.
fn round<const CHECK: bool, const COUNT: bool>(run: &Run<'_>, cluster: &mut Cluster) -> Option<u64> {
    let count = cluster.warps.len();
    let first = cluster.rng.below(count as u64) as usize;
    let mut executed = 0;
    for i in 0..count {
        let index = (first + i) % count;
        if cluster.warps[index].live() == 0 {
            continue;
        }
        // Small turns with checks on, so that seeds differ; long ones otherwise, for the caches.
        let budget = if CHECK { 1 + cluster.rng.below(96) } else { 512 + cluster.rng.below(512) };
        let used = u64::from(turn::<CHECK, COUNT>(run, cluster, index, budget as u32)?);
        executed += used;
        cluster.clock += used;
        let due = cluster.pending.take_due(cluster.clock);
        if !due.is_empty() && !perform(run, &run.program, cluster, due) {
            return None;
        }
    }
    Some(executed)
}

/// A round, and what follows when nobody could go on.
fn step<const CHECK: bool, const COUNT: bool>(run: &Run<'_>, cluster: &mut Cluster) -> Option<u64> {
    let executed = round::<CHECK, COUNT>(run, cluster)?;
    if executed > 0 || cluster.ended() {
        cluster.stuck = 0;
        return Some(executed);
    }
    let one = cluster.pending.take_one(&mut cluster.rng);
    if !one.is_empty() {
        return perform(run, &run.program, cluster, one).then_some(0);
    }
    cluster.stuck += 1;
    if cluster.stuck > STUCK_ROUNDS {
        deadlock(run, cluster);
        return None;
    }
    Some(0)
}

/// Lets everything under way take effect at a cluster's end.
fn finish(run: &Run<'_>, cluster: &mut Cluster) -> bool {
    while !cluster.pending.is_empty() {
        let one = cluster.pending.take_one(&mut cluster.rng);
        if !perform(run, &run.program, cluster, one) {
            return false;
        }
    }
    true
}

fn group_site(run: &Run<'_>, warp: &Warp, group: &Group) -> u32 {
    let function = warp.frames[group.frame as usize].function;
    let code = &run.program.functions[function as usize].insts;
    code.get(group.pc as usize).or(code.last()).map_or(0, |i| i.site)
}

/// Where each warp of a cluster stands, in one line each.
fn standing(run: &Run<'_>, cluster: &Cluster) -> String {
    let mut text = String::new();
    let mut shown = 0;
    for warp in cluster.warps.iter().filter(|w| w.live() != 0) {
        for group in &warp.groups {
            if shown == 40 {
                return text + "; …";
            }
            let place = place_of(&run.program, group_site(run, warp, group));
            let cta = cluster.ctas[warp.cta].id;
            let id = warp.id;
            text += &format!(
                "; CTA {cta:?} warp {id} lanes {:#010x} at line {} `{}`",
                group.mask, place.line, place.instruction
            );
            text += &crate::isa::waits_for(cluster, warp, group).unwrap_or_default();
            shown += 1;
        }
    }
    text
}

fn finding_at(
    run: &Run<'_>,
    cluster: &Cluster,
    warp: &Warp,
    group: &Group,
    kind: FindingKind,
    message: String,
) -> Finding {
    let lane = group.mask.trailing_zeros() as usize % 32;
    Finding {
        kind,
        severity: Severity::Error,
        message,
        place: place_of(&run.program, group_site(run, warp, group)),
        other: None,
        thread: Some(thread_of(run, &cluster.ctas[warp.cta], warp.id, lane)),
        address: None,
        buffer: None,
        count: 1,
    }
}

fn deadlock(run: &Run<'_>, cluster: &Cluster) {
    let where_all = standing(run, cluster);
    for warp in cluster.warps.iter().filter(|w| w.live() != 0) {
        for group in &warp.groups {
            let missing = warp.live() & !group.mask;
            let site = group_site(run, warp, group);
            let text = run.program.sites.get(site as usize).map_or("", |s| s.text.as_str());
            if missing != 0 && needs_all_lanes(text) {
                let kind = if text.starts_with("bar") {
                    FindingKind::BarrierMisuse
                } else {
                    FindingKind::MissingLanes
                };
                let message = format!("lanes {missing:#010x} of the warp do not come to this instruction");
                run.add(finding_at(run, cluster, warp, group, kind, message));
            }
            let message = format!("nobody can go on{where_all}");
            run.add(finding_at(run, cluster, warp, group, FindingKind::Deadlock, message));
        }
    }
    run.stop.store(true, Relaxed);
}

fn needs_all_lanes(text: &str) -> bool {
    text.contains(".sync") || text.contains(".aligned") || text.starts_with("bar.")
}

fn over_limit(run: &Run<'_>, cluster: &Cluster) {
    let where_all = standing(run, cluster);
    let limit = run.options.instruction_limit;
    if let Some((warp, group)) = cluster.warps.iter().find_map(|w| w.groups.first().map(|g| (w, g))) {
        let message = format!("the launch has executed its limit of {limit} warp instructions{where_all}");
        run.add(finding_at(run, cluster, warp, group, FindingKind::InstructionLimit, message));
    }
    run.stop.store(true, Relaxed);
}

/// Clusters that a host thread starts with.
fn window(run: &Run<'_>) -> usize {
    if let Some(n) = run.options.resident {
        return n.max(1);
    }
    let threads = (run.threads() * run.cluster_size()).max(1);
    let shared = (run.shared_bytes * run.cluster_size()).max(1);
    let by_threads = 2048 / threads;
    let by_shared = 228 * 1024 / shared;
    by_threads.min(by_shared).clamp(1, 32) as usize
}

/// Runs clusters until none is left: `total` of the `all` that the grid has, from the middles of equal parts of it.
pub(crate) fn worker<const CHECK: bool, const COUNT: bool>(
    run: &Run<'_>,
    next: &AtomicU64,
    [total, all]: [u64; 2],
    first_slot: u32,
) -> Option<Counting> {
    let buffers = || run.global.iter().map(|(_, b)| (b.name.as_str(), b.base, b.len));
    let mut counting = COUNT.then(|| Counting::new(run.program.sites.len(), buffers()));
    let mut resident: Vec<Cluster> = Vec::new();
    let mut spare: Vec<Cluster> = Vec::new();
    let mut window = window(run);
    let (mut slots, mut since_end) = (first_slot, 0u64);
    loop {
        while resident.len() < window {
            let index = next.fetch_add(1, Relaxed);
            if index >= total {
                break;
            }
            let mut cluster = spare.pop().unwrap_or_else(|| {
                slots += 1;
                Cluster::new(slots - 1)
            });
            cluster.reset(run, (2 * index + 1) * all / (2 * total));
            resident.push(cluster);
        }
        if resident.is_empty() {
            return counting;
        }
        let mut at = 0;
        while at < resident.len() {
            let cluster = &mut resident[at];
            cluster.counting = counting.take();
            let executed = step::<CHECK, COUNT>(run, cluster);
            counting = cluster.counting.take();
            let Some(executed) = executed else {
                run.stop.store(true, Relaxed);
                return counting;
            };
            since_end += executed;
            let before = run.executed.fetch_add(executed, Relaxed);
            if before + executed > run.options.instruction_limit {
                over_limit(run, cluster);
            }
            if cluster.ended() {
                if !finish(run, cluster) {
                    return counting;
                }
                since_end = 0;
                spare.push(resident.swap_remove(at));
            } else {
                at += 1;
            }
            if run.stop.load(Relaxed) {
                return counting;
            }
        }
        if since_end > ADMIT_AFTER && window < RESIDENT_LIMIT {
            window += 1;
            since_end = 0;
        }
    }
}

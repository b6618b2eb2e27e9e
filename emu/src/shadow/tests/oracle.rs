//! The detector against brute force: a graph of everything that each thread did, with an edge for every rule, and
//! reachability in it.

use super::*;
use proptest::prelude::*;

const LANES: u32 = 3;
const MASK: u32 = 7;
const DATA: u64 = 0x1_0000_0000;
const BAR: u64 = 1024;

/// What a node's predecessors are, all of them.
#[derive(Clone, Default)]
struct Before(Vec<u64>);

impl Before {
    fn has(&self, node: usize) -> bool {
        self.0.get(node / 64).is_some_and(|w| w >> (node % 64) & 1 == 1)
    }

    fn add(&mut self, node: usize) {
        if self.0.len() <= node / 64 {
            self.0.resize(node / 64 + 1, 0);
        }
        self.0[node / 64] |= 1 << (node % 64);
    }

    fn union(&mut self, other: &Before) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            *a |= b;
        }
    }
}

/// A release that a read of a location can see: its node, scope, thread.
type Release = (usize, Scope, Thread);

#[derive(Clone)]
struct Copy {
    kind: AsyncKind,
    issuer: Lanes,
    /// The node of each lane's issue.
    issue: Vec<usize>,
    /// Nodes that came to know of its completion: of its reads only or of everything, for a lane.
    joins: Vec<(AsyncPart, u32, usize)>,
    /// Phases likewise: mask, phase.
    phases: Vec<(AsyncPart, u32, usize)>,
    id: AsyncId,
    done: bool,
}

#[derive(Clone, Debug)]
struct Past {
    /// What is remembered of its bytes, and all of them.
    bytes: std::ops::Range<u64>,
    whole: std::ops::Range<u64>,
    kind: Kind,
    scope: Option<Scope>,
    proxy: Proxy,
    thread: Thread,
    /// The thread's node, or the number of the copy.
    by: Result<usize, usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Verdict {
    No,
    Perhaps,
    Yes,
}

struct Oracle {
    before: Vec<Before>,
    /// The last node of each thread.
    last: std::collections::HashMap<Thread, usize>,
    accesses: Vec<Past>,
    copies: Vec<Copy>,
    /// Writes of each location since the last store: what they release.
    chains: std::collections::HashMap<u64, Vec<Release>>,
    /// Of each thread: fences with node and scope; relaxed reads with their scope and what they saw.
    fences: Vec<(Thread, usize, Scope)>,
    reads: Vec<(Thread, Scope, Vec<Release>)>,
    sc: Vec<Release>,
    proxy_fences: Vec<usize>,
    /// Arrivals at the mbarrier with their phase; phases complete; waits that saw them: node and phases.
    arrivals: Vec<(usize, Release)>,
    phase: usize,
    waits: Vec<(usize, usize)>,
}

fn reach(a: Thread, b: Thread) -> Scope {
    if a.0 == b.0 { Scope::Cta } else { Scope::Cluster }
}

impl Oracle {
    fn node(&mut self, thread: Thread, more: &[usize]) -> usize {
        let mut before = Before::default();
        for &p in more.iter().chain(self.last.get(&thread)) {
            before.add(p);
            let up = self.before[p].clone();
            before.union(&up);
        }
        self.before.push(before);
        self.last.insert(thread, self.before.len() - 1);
        self.before.len() - 1
    }

    fn le(&self, a: usize, b: usize) -> bool {
        a == b || self.before[b].has(a)
    }

    /// Nodes from which all that follow know that an access is complete.
    fn known_from(&self, past: &Past) -> Vec<usize> {
        match past.by {
            Ok(node) => vec![node],
            Err(copy) => {
                let copy = &self.copies[copy];
                let counts = |part: AsyncPart| part == AsyncPart::All || past.kind == Kind::Read;
                let mine = |lane: u32| copy.kind == AsyncKind::Whole || lane == past.thread.2;
                let joins = copy.joins.iter().filter(|j| counts(j.0) && mine(j.1)).map(|j| j.2);
                let its = |mask: u32| copy.kind == AsyncKind::Whole || mask >> past.thread.2 & 1 == 1;
                let phases = copy.phases.iter().filter(|p| counts(p.0) && its(p.1));
                let waits = phases.flat_map(|p| self.waits.iter().filter(|w| w.1 >= p.2).map(|w| w.0));
                joins.chain(waits).collect()
            }
        }
    }

    /// Nodes that an access comes after, itself included: for a copy's those of its issue.
    fn starts(&self, now: &Past) -> Vec<usize> {
        match now.by {
            Ok(node) => vec![node],
            Err(copy) => {
                let copy = &self.copies[copy];
                match copy.kind {
                    AsyncKind::Whole => copy.issue.clone(),
                    AsyncKind::PerLane => vec![copy.issue[now.thread.2 as usize]],
                }
            }
        }
    }

    fn ordered(&self, past: &Past, now: &Past) -> bool {
        if let (Err(a), Err(b)) = (past.by, now.by)
            && a == b
        {
            return self.copies[a].kind == AsyncKind::Whole || past.thread == now.thread;
        }
        let starts = self.starts(now);
        self.known_from(past).iter().any(|&k| starts.iter().any(|&s| self.le(k, s)))
    }

    fn fenced(&self, past: &Past, now: &Past) -> bool {
        let starts = self.starts(now);
        let known = self.known_from(past);
        let between =
            |f: usize| known.iter().any(|&k| self.le(k, f)) && starts.iter().any(|&s| self.le(f, s));
        self.proxy_fences.iter().any(|&f| between(f))
    }

    /// Whether a past access of a byte is settled for a later one: ordered, or followed by an access that stands for
    /// it and is settled itself. (A copy that overwrites a byte came after who read it before, though who waits for
    /// the copy learns nothing else of its issuer.)
    fn settled(&self, past: usize, now: &Past, byte: u64) -> bool {
        let first = &self.accesses[past];
        self.ordered(first, now)
            || (past + 1..self.accesses.len()).any(|k| {
                let z = &self.accesses[k];
                let stands = z.scope.is_none() && (z.kind.writes() || !first.kind.writes());
                stands
                    && z.bytes.contains(&byte)
                    && self.settled_before(past, k, byte)
                    && self.settled(k, now, byte)
            })
    }

    fn settled_before(&self, past: usize, now: usize, byte: u64) -> bool {
        let first = &self.accesses[past];
        self.ordered(first, &self.accesses[now])
            || (past + 1..now).any(|k| {
                let z = &self.accesses[k];
                let stands = z.scope.is_none() && (z.kind.writes() || !first.kind.writes());
                stands
                    && z.bytes.contains(&byte)
                    && self.settled_before(past, k, byte)
                    && self.settled_before(k, now, byte)
            })
    }

    /// Whether a later write of a byte stands for a past one.
    fn replaced(&self, past: usize, now: &Past, byte: u64) -> bool {
        (past + 1..self.accesses.len()).any(|k| {
            let z = &self.accesses[k];
            let weak_write = z.kind.writes() && z.scope.is_none();
            weak_write
                && z.bytes.contains(&byte)
                && self.settled_before(past, k, byte)
                && self.settled(k, now, byte)
        })
    }

    /// Whether an access races, or lacks a fence, with any of the past. What is settled without being ordered may be
    /// reported or not.
    fn judge(&self, now: &Past) -> (Verdict, Verdict) {
        let (mut race, mut fence) = (Verdict::No, Verdict::No);
        for (index, past) in self.accesses.iter().enumerate() {
            let far = reach(past.thread, now.thread);
            let strong = past.scope.is_some_and(|s| s >= far) && now.scope.is_some_and(|s| s >= far);
            if !(past.kind.writes() || now.kind.writes()) || strong && past.whole == now.whole {
                continue;
            }
            for byte in past.bytes.start.max(now.bytes.start)..past.bytes.end.min(now.bytes.end) {
                let pick = |excused: bool| if excused { Verdict::Perhaps } else { Verdict::Yes };
                if !self.ordered(past, now) {
                    race = race.max(pick(self.settled(index, now, byte)));
                }
                if past.kind.writes()
                    && past.proxy == Proxy::Generic
                    && now.proxy == Proxy::Async
                    && !self.fenced(past, now)
                {
                    fence = fence.max(pick(self.replaced(index, now, byte)));
                }
            }
        }
        (race, fence)
    }

    /// Judges the lanes of one instruction one after the other, and remembers them.
    fn access(&mut self, all: Vec<Past>) -> (Verdict, Verdict) {
        let mut verdict = (Verdict::No, Verdict::No);
        for past in all {
            let (race, fence) = self.judge(&past);
            verdict = (verdict.0.max(race), verdict.1.max(fence));
            self.accesses.push(past);
        }
        verdict
    }

    /// Forgets who touched bytes: after a race, so that what follows is judged afresh.
    fn forget(&mut self, bytes: &std::ops::Range<u64>) {
        for past in std::mem::take(&mut self.accesses) {
            let (start, end) = (past.bytes.start, past.bytes.end);
            for part in [start..end.min(bytes.start), start.max(bytes.end)..end] {
                if !part.is_empty() {
                    self.accesses.push(Past { bytes: part, ..past.clone() });
                }
            }
        }
    }
}

struct Run {
    w: World,
    o: Oracle,
    /// What was done, for a failure's message.
    story: Vec<String>,
}

/// A step: what, and numbers to choose from.
type Step = (u8, [u8; 6]);

const SCOPES: [Scope; 3] = [Scope::Cta, Scope::Cluster, Scope::Gpu];

impl Run {
    fn new() -> Self {
        let o = Oracle {
            before: Vec::new(),
            last: std::collections::HashMap::new(),
            accesses: Vec::new(),
            copies: Vec::new(),
            chains: std::collections::HashMap::new(),
            fences: Vec::new(),
            reads: Vec::new(),
            sc: Vec::new(),
            proxy_fences: Vec::new(),
            arrivals: Vec::new(),
            phase: 0,
            waits: Vec::new(),
        };
        let mut run = Run { w: World::clusters(1, 2, Options::default()), o, story: Vec::new() };
        run.w.d.mbarrier_init(run.w.lanes(A), BAR, 0);
        run.fence_async(run.w.ctas[0].warp(0).lanes(1), 0);
        run.cluster_barrier(0);
        run
    }

    fn threads(who: Lanes, cta: usize) -> Vec<Thread> {
        (0..LANES).filter(|l| who.mask >> l & 1 == 1).map(|l| (cta, who.warp.warp, l)).collect()
    }

    fn fence_async(&mut self, who: Lanes, cta: usize) {
        self.w.d.fence_async(who);
        self.story.push(format!("fence_async {who:?}"));
        for t in Self::threads(who, cta) {
            let node = self.o.node(t, &[]);
            self.o.proxy_fences.push(node);
        }
    }

    fn cluster_barrier(&mut self, generation: u64) {
        let mut arrived = Vec::new();
        for leave in [false, true] {
            for cta in 0..2 {
                for warp in 0..2 {
                    let who = self.w.ctas[cta].warp(warp).lanes(MASK);
                    if leave {
                        self.w.d.barrier_leave(who, BarrierRef::Cluster, generation);
                    } else {
                        self.w.d.barrier_arrive(who, BarrierRef::Cluster, generation, true);
                    }
                    for t in Self::threads(who, cta) {
                        let node = self.o.node(t, if leave { &arrived } else { &[] });
                        if !leave {
                            arrived.push(node);
                        }
                    }
                }
            }
        }
    }

    fn step(&mut self, index: usize, (what, n): Step) -> Result<(), TestCaseError> {
        let cta = (n[0] % 2) as usize;
        let warp = u32::from(n[0] / 2 % 2);
        let mask = [1, 2, 4, 7, 7, 7, 3, 5][(n[1] % 8) as usize];
        let who = self.w.ctas[cta].warp(warp).lanes(mask);
        let one = (cta, warp, mask.trailing_zeros());
        match what % 16 {
            0..=4 => self.data_access(who, cta, n, index),
            5 | 6 => self.strong(one, n, index),
            7 => {
                self.w.d.warp_sync(who);
                self.story.push(format!("warp_sync {cta} {warp} {mask}"));
                let threads = Self::threads(who, cta);
                let nodes: Vec<_> = threads.iter().map(|&t| self.o.node(t, &[])).collect();
                threads.iter().for_each(|&t| {
                    self.o.node(t, &nodes);
                });
                Ok(())
            }
            8 => {
                self.barrier(cta, n, index as u64);
                Ok(())
            }
            9 => {
                self.fence(one, SCOPES[(n[2] % 3) as usize], n[3] % 2 == 1);
                Ok(())
            }
            10 => {
                self.fence_async(who, cta);
                Ok(())
            }
            11 => {
                let kind = if n[2].is_multiple_of(2) { AsyncKind::PerLane } else { AsyncKind::Whole };
                let issuer =
                    self.w.ctas[cta].warp(warp).lanes(if kind == AsyncKind::PerLane { MASK } else { mask });
                let id = self.w.d.fork(&[issuer], kind);
                self.story.push(format!("fork {cta} {issuer:?} {kind:?}"));
                let threads = Self::threads(issuer, cta);
                let issue = threads.iter().map(|&t| self.o.node(t, &[])).collect();
                self.o.copies.push(Copy {
                    kind,
                    issuer,
                    issue,
                    joins: vec![],
                    phases: vec![],
                    id,
                    done: false,
                });
                Ok(())
            }
            12 | 13 => self.copy_access(n, index),
            14 => {
                self.copy_join(n, who, cta);
                Ok(())
            }
            _ => {
                self.mbarrier(n, who, cta, index as u32);
                Ok(())
            }
        }
    }

    fn compare(&mut self, all: Vec<Past>, step: usize) -> Result<(), TestCaseError> {
        let bytes: Vec<_> = all.iter().map(|p| p.whole.clone()).collect();
        self.story.push(format!("{step}: {:?}", all));
        let (want_race, want_fence) = self.o.access(all);
        let races = self.w.d.take();
        let fence = races.iter().any(|r| r.class == Class::MissingProxyFence);
        let race = races.iter().any(|r| r.class != Class::MissingProxyFence);
        if want_race != Verdict::Perhaps {
            let want = want_race == Verdict::Yes;
            prop_assert_eq!(race, want, "step {}: {:?} {:#?}", step, races, self.story);
        }
        if want_race == Verdict::No && want_fence != Verdict::Perhaps {
            let want = want_fence == Verdict::Yes;
            prop_assert_eq!(fence, want, "fence, step {}: {:?} {:#?}", step, races, self.story);
        }
        if race || fence {
            for range in bytes {
                self.w.d.forget(range.start, range.end - range.start);
                self.o.forget(&range);
            }
        }
        Ok(())
    }

    /// Lanes read or write some of 64 bytes.
    fn data_access(&mut self, who: Lanes, cta: usize, n: [u8; 6], step: usize) -> Result<(), TestCaseError> {
        let size = 1u64 << (n[2] % 5);
        let base = DATA + 32 + u64::from(n[3] % 32) / size * size;
        let stride = [0, 1, 1, 2, -1][(n[4] % 5) as usize] * size as i64;
        let kind = if n[5].is_multiple_of(2) { Kind::Read } else { Kind::Write };
        let access = Access::weak(step as u32, kind, size as u32);
        if n[5] % 4 < 2 {
            self.w.d.access_affine(who, Space::Global, base, stride, &access);
        } else {
            let table: [u64; 32] = std::array::from_fn(|l| base.wrapping_add_signed(stride * l as i64));
            self.w.d.access(who, Space::Global, &table, &access);
        }
        let all = Self::threads(who, cta)
            .into_iter()
            .map(|t| {
                let at = base.wrapping_add_signed(stride * i64::from(t.2));
                let by = Ok(self.o.node(t, &[]));
                Past {
                    bytes: at..at + size,
                    whole: at..at + size,
                    kind,
                    scope: None,
                    proxy: Proxy::Generic,
                    thread: t,
                    by,
                }
            })
            .collect();
        self.compare(all, step)
    }

    fn strong(&mut self, t: Thread, n: [u8; 6], step: usize) -> Result<(), TestCaseError> {
        let address =
            if n[2] % 4 < 3 { 64 + 4 * u64::from(n[2] % 2) } else { DATA + 32 + u64::from(n[3] % 8) * 4 };
        let kind = [Kind::Read, Kind::Write, Kind::Atomic, Kind::Reduce][(n[4] % 4) as usize];
        let scope = SCOPES[(n[5] % 3) as usize];
        let acquire = n[3] / 8 % 2 == 1 && matches!(kind, Kind::Read | Kind::Atomic);
        let release = n[3] / 16 % 2 == 1 && kind.writes();
        let access = Access::strong(step as u32, kind, 4, Strength::Strong { scope, acquire, release });
        self.w.d.access_affine(self.w.lanes(t), Space::Global, address, 0, &access);
        self.story.push(format!("strong {:?}", access.strength));
        let node = self.o.node(t, &[]);
        let bytes = address..address + 4;
        let (whole, scoped) = (bytes.clone(), Some(scope));
        let now = Past { bytes, whole, kind, scope: scoped, proxy: Proxy::Generic, thread: t, by: Ok(node) };
        // What it saw.
        let mut after = node;
        if matches!(kind, Kind::Read | Kind::Atomic) {
            let near = |r: &&Release| r.1.min(scope) >= reach(r.2, t);
            let chain = self.o.chains.get(&address).cloned().unwrap_or_default();
            let seen: Vec<Release> = chain.iter().filter(near).copied().collect();
            if acquire {
                let from: Vec<usize> = seen.iter().map(|r| r.0).collect();
                after = self.o.node(t, &from);
            } else {
                self.o.reads.push((t, scope, seen));
            }
        }
        // What it gives.
        let chain = self.o.chains.entry(address).or_default();
        if kind == Kind::Write {
            chain.clear();
        }
        if release {
            chain.push((after, scope, t));
        } else if kind.writes() {
            chain.extend(self.o.fences.iter().filter(|f| f.0 == t).map(|f| (f.1, f.2.min(scope), t)));
        }
        self.compare(vec![now], step)
    }

    fn barrier(&mut self, cta: usize, n: [u8; 6], generation: u64) {
        let arrive_only = n[1] % 3;
        let mut arrived = Vec::new();
        self.story.push(format!("barrier {cta}, {arrive_only} only arrives"));
        for leave in [false, true] {
            for warp in 0..2 {
                if leave && u32::from(arrive_only) == warp {
                    continue;
                }
                let who = self.w.ctas[cta].warp(warp).lanes(MASK);
                let barrier = BarrierRef::Cta(u32::from(n[2] % 2));
                match leave {
                    false => self.w.d.barrier_arrive(who, barrier, generation, true),
                    true => self.w.d.barrier_leave(who, barrier, generation),
                }
                for t in Self::threads(who, cta) {
                    let node = self.o.node(t, if leave { &arrived } else { &[] });
                    if !leave {
                        arrived.push(node);
                    }
                }
            }
        }
    }

    fn fence(&mut self, t: Thread, scope: Scope, sc: bool) {
        self.w.d.fence(self.w.lanes(t), scope, sc);
        self.story.push(format!("fence {t:?} {scope:?} {sc}"));
        let mut from = Vec::new();
        for (reader, _, seen) in &self.o.reads {
            let near = seen.iter().filter(|r| *reader == t && scope >= reach(r.2, t));
            from.extend(near.map(|r| r.0));
        }
        if sc {
            from.extend(self.o.sc.iter().filter(|f| f.1.min(scope) >= reach(f.2, t)).map(|f| f.0));
        }
        let node = self.o.node(t, &from);
        if sc {
            self.o.sc.push((node, scope, t));
        }
        self.o.fences.push((t, node, scope));
    }

    fn copy_access(&mut self, n: [u8; 6], step: usize) -> Result<(), TestCaseError> {
        let open: Vec<usize> = (0..self.o.copies.len()).filter(|&c| !self.o.copies[c].done).collect();
        if open.is_empty() {
            return Ok(());
        }
        let index = open[n[0] as usize % open.len()];
        let copy = self.o.copies[index].clone();
        let kind = if n[1].is_multiple_of(2) { Kind::Read } else { Kind::Write };
        let proxy = if n[2].is_multiple_of(2) { Proxy::Generic } else { Proxy::Async };
        let size = 4u64 << (n[3] % 3);
        let base = DATA + 32 + u64::from(n[4] % 32) / size * size;
        let access = Access::weak(step as u32, kind, size as u32).via(proxy);
        let warp = copy.issuer.warp;
        let cta = warp.cta.index as usize;
        let past = |at: u64, lane: u32| Past {
            bytes: at..at + size,
            whole: at..at + size,
            kind,
            scope: None,
            proxy,
            thread: (cta, warp.warp, lane),
            by: Err(index),
        };
        let all = match copy.kind {
            AsyncKind::Whole => {
                self.w.d.access_async(copy.id, Space::Global, base, size, &access);
                vec![past(base, copy.issuer.mask.trailing_zeros())]
            }
            AsyncKind::PerLane => {
                let table: [u64; 32] = std::array::from_fn(|l| base + size * l as u64);
                self.w.d.access_async_lanes(copy.id, MASK, Space::Global, &table, &access);
                (0..LANES).map(|l| past(table[l as usize], l)).collect()
            }
        };
        self.compare(all, step)
    }

    fn copy_join(&mut self, n: [u8; 6], who: Lanes, cta: usize) {
        let open: Vec<usize> = (0..self.o.copies.len()).filter(|&c| !self.o.copies[c].done).collect();
        if open.is_empty() {
            return;
        }
        let index = open[n[2] as usize % open.len()];
        let part = if n[3].is_multiple_of(3) { AsyncPart::Reads } else { AsyncPart::All };
        let copy = self.o.copies[index].clone();
        let who = match copy.kind {
            AsyncKind::PerLane => copy.issuer,
            AsyncKind::Whole => who,
        };
        let cta = if copy.kind == AsyncKind::PerLane { who.warp.cta.index as usize } else { cta };
        self.story.push(format!("join {index} {part:?} {who:?} by a phase {}", n[4] % 2));
        self.o.copies[index].done |= part == AsyncPart::All;
        if n[4].is_multiple_of(2) {
            self.w.d.join_lanes(copy.id, part, who);
            for t in Self::threads(who, cta) {
                let node = self.o.node(t, &[]);
                self.o.copies[index].joins.push((part, t.2, node));
            }
        } else {
            self.w.d.join_mbarrier(copy.id, part, who.mask, BAR);
            let phase = self.o.phase + 1;
            self.o.copies[index].phases.push((part, who.mask, phase));
        }
    }

    fn mbarrier(&mut self, n: [u8; 6], who: Lanes, cta: usize, step: u32) {
        let scope = SCOPES[(n[2] % 3) as usize];
        let threads = Self::threads(who, cta);
        self.story.push(format!(
            "mbarrier {} {who:?} {scope:?}",
            ["arrive", "complete", "wait"][n[3] as usize % 3]
        ));
        match n[3] % 3 {
            0 => {
                self.w.d.mbarrier_arrive(who, BAR, scope, true, step);
                for t in threads {
                    let node = self.o.node(t, &[]);
                    self.o.arrivals.push((self.o.phase, (node, scope, t)));
                }
            }
            1 => {
                self.w.d.mbarrier_complete(self.w.ctas[0], BAR);
                self.o.phase += 1;
            }
            _ => {
                self.w.d.mbarrier_wait(who, BAR, scope, true, step);
                for t in threads {
                    let near = |r: &Release| r.1.min(scope) >= reach(r.2, t);
                    let done = self.o.arrivals.iter().filter(|a| a.0 < self.o.phase && near(&a.1));
                    let from: Vec<usize> = done.map(|a| a.1.0).collect();
                    let node = self.o.node(t, &from);
                    self.o.waits.push((node, self.o.phase));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn the_detector_agrees_with_reachability(steps in prop::collection::vec((any::<u8>(), any::<[u8; 6]>()), 1..60)) {
        let mut run = Run::new();
        prop_assert_eq!(run.w.d.take(), []);
        for (i, step) in steps.into_iter().enumerate() {
            run.step(i + 1, step)?;
        }
    }
}

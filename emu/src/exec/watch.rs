//! What the checks know about memory: which bytes of global memory were written, and the race detector.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};

use super::access::Request;
use super::cx::{Cx, lanes, place_of};
use super::report::{Finding, FindingKind, Severity, ThreadId};
use super::state::{Run, split_index};
use crate::shadow::{self, AsyncId, AsyncKind, CtaId, Defined, Detector, Lanes};

/// State of the checks of a launch.
#[derive(Debug, Default)]
pub struct Watch {
    /// The race detector.
    pub detector: Detector,
    /// Written bytes of the buffers that began without values, by buffer number.
    pub defined: HashMap<u32, Defined>,
}

impl Run<'_> {
    /// The checks' state.
    pub fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns what the detector found into findings.
    pub fn drain(&self, watch: &mut Watch) {
        for race in watch.detector.take() {
            self.add(self.finding_of(&race));
        }
    }

    fn finding_of(&self, race: &shadow::Race) -> Finding {
        let shared = race.space == shadow::Space::Shared;
        let buffer = if shared {
            self.program.shared_name((race.address & 0xff_ffff) as u32).map(str::to_owned)
        } else {
            self.global.find(race.address, 1).map(|(_, b, _)| b.name.clone())
        };
        let (kind, severity) = kind_of(race.class, shared);
        let who = race.second.who;
        Finding {
            kind,
            severity,
            message: describe(race),
            place: place_of(&self.program, race.second.site),
            other: race.first.map(|f| place_of(&self.program, f.site)),
            thread: Some(ThreadId {
                cta: split_index(who.cta, self.grid),
                thread: split_index(who.warp * 32 + who.lane, self.block),
            }),
            address: Some(race.address),
            buffer,
            count: race.count,
        }
    }
}

fn kind_of(class: shadow::Class, shared: bool) -> (FindingKind, Severity) {
    use shadow::Class as C;
    let race = if shared { FindingKind::SharedRace } else { FindingKind::GlobalRace };
    match class {
        // Compilers let warps that hold copies of a value write them all to its place in shared memory.
        C::SameValue if shared => (FindingKind::BenignRace, Severity::Note),
        C::SameValue => (FindingKind::BenignRace, Severity::Warning),
        C::Agreed => (FindingKind::BenignRace, Severity::Note),
        C::NonCoherent => (FindingKind::ReadOnlyPath, Severity::Error),
        C::MissingProxyFence | C::MissingTensorMapFence => (FindingKind::MissingProxyFence, Severity::Error),
        C::MissingProxyFenceAfterRead => (FindingKind::MissingProxyFence, Severity::Warning),
        C::MbarrierInit | C::MbarrierInitFence => (FindingKind::MbarrierMisuse, Severity::Error),
        C::PeerNotStarted | C::PeerExited => (FindingKind::ClusterLifetime, Severity::Error),
        _ => (race, Severity::Error),
    }
}

fn describe(race: &shadow::Race) -> String {
    use shadow::Class as C;
    let what = match race.class {
        C::WriteWrite => "two writes that nothing orders",
        C::ReadWrite => "a read and a write that nothing orders",
        C::SameValue => "two writes of the same value that nothing orders",
        C::Agreed => "lanes of one instruction write the same value to the same bytes",
        C::SameInstruction => "two lanes of one instruction write the same byte",
        C::MixedSize => "two unordered strong accesses of different sizes",
        C::ScopeTooNarrow => "two accesses whose scope does not reach from one thread to the other",
        C::NonCoherent => "a read through the read-only path of bytes that the grid writes",
        C::MissingProxyFence => "a proxy fence is missing between a generic and an asynchronous access",
        C::MissingProxyFenceAfterRead => {
            "a proxy fence is missing between a generic read and an asynchronous write"
        }
        C::MissingTensorMapFence => {
            "the tensormap proxy's fence is missing between a map's write and its use"
        }
        C::MbarrierInit => "an mbarrier is used before anything orders its initialisation",
        C::MbarrierInitFence => {
            "an mbarrier is used by another CTA or a copy without a fence after its initialisation"
        }
        C::PeerNotStarted => "another CTA's shared memory is accessed before it is known to have started",
        C::PeerExited => {
            "another CTA's shared memory is accessed, and nothing keeps that CTA from ending before"
        }
    };
    match race.first {
        Some(first) => {
            let w = first.who;
            format!(
                "{what}; the first by CTA {} warp {} lane {}{}",
                w.cta,
                w.warp,
                w.lane,
                if first.asynchronous { " (asynchronous)" } else { "" }
            )
        }
        None => what.to_owned(),
    }
}

impl Cx<'_> {
    /// The lanes of a mask as the detector names them; `None` where races are not looked for.
    pub fn who(&self, mask: u32) -> Option<Lanes> {
        let cta: CtaId = self.cluster.ctas[self.warp.cta].watched?;
        Some(Lanes { warp: cta.warp(self.warp.id), mask })
    }

    /// Tells the detector something about the lanes of a mask.
    pub fn tell(&self, mask: u32, f: impl FnOnce(&mut Detector, Lanes)) {
        if let Some(who) = self.who(mask) {
            let mut watch = self.run.watch();
            f(&mut watch.detector, who);
            if watch.detector.any() {
                self.run.drain(&mut watch);
            }
        }
    }

    /// Gives an asynchronous operation of lanes a name to the detector, and tells what it accesses.
    pub fn fork(
        &self,
        mask: u32,
        kind: AsyncKind,
        f: impl FnOnce(&mut Detector, AsyncId),
    ) -> Option<AsyncId> {
        let who = self.who(mask)?;
        let mut watch = self.run.watch();
        let id = watch.detector.fork(&[who], kind);
        f(&mut watch.detector, id);
        if watch.detector.any() {
            self.run.drain(&mut watch);
        }
        Some(id)
    }

    /// Tells the detector of an access.
    pub(super) fn watch_races(
        &self,
        space: shadow::Space,
        request: &Request,
        addresses: &[u64; 32],
        mask: u32,
    ) {
        if self.run.checks.races {
            self.tell(mask, |detector, who| detector.access(who, space, addresses, &request.access));
        }
    }

    /// After an access of global memory: tells the detector, and keeps or asks which bytes were written. Gives the
    /// lanes that read bytes which have values.
    pub(super) fn watch_global(
        &mut self,
        request: &Request,
        addresses: &[u64; 32],
        mask: u32,
        written: u32,
    ) -> u32 {
        self.watch_races(shadow::Space::Global, request, addresses, mask);
        if !self.run.checks.definedness {
            return u32::MAX;
        }
        let (writes, reads) = (request.access.kind.writes(), request.access.kind != shadow::Kind::Write);
        let mut defined = u32::MAX;
        let mut watch = self.run.watch();
        for lane in lanes(mask) {
            let Some((id, buffer, offset)) = self.run.global.find(addresses[lane], request.bytes.into())
            else {
                continue;
            };
            if buffer.initialised {
                continue;
            }
            let shadow = watch.defined.entry(id.0).or_insert_with(|| Defined::new(buffer.len));
            if reads && !shadow.all(offset, request.bytes) {
                defined &= !(1 << lane);
                self.warp.byte_definedness[lane] = shadow.bits(offset, request.bytes);
            }
            if writes && written >> lane & 1 == 1 {
                shadow.define(offset, request.bytes);
            }
        }
        defined
    }
}

//! Small concurrent programs, told as lists of events, and what must be found in them (ptx.md 4.1 to 4.3, 5, 7, 9).

mod asyncs;
mod lifetime;
mod oracle;
mod order;
mod proxies;
mod races;
mod scale;

use super::*;

/// All lanes.
const ALL: u32 = u32::MAX;

/// CTAs of one grid, with short words for what they do. Sites are numbered by the calls.
struct World {
    d: Detector,
    ctas: Vec<CtaId>,
    site: u32,
}

/// A thread: CTA, warp, lane.
type Thread = (usize, u32, u32);

impl World {
    /// CTAs of 4 warps, each a cluster of its own.
    fn of(ctas: u32) -> Self {
        Self::clusters(ctas, 1, Options::default())
    }

    /// Clusters of `size` CTAs.
    fn clusters(count: u32, size: u32, options: Options) -> Self {
        let mut d = Detector::new(options);
        let ctas = (0..count * size).map(|i| d.start_cta(i, i / size, i % size, 4)).collect();
        World { d, ctas, site: 0 }
    }

    fn lanes(&self, (cta, warp, lane): Thread) -> Lanes {
        self.ctas[cta].warp(warp).lanes(1 << lane)
    }

    fn warp(&self, cta: usize, warp: u32) -> Lanes {
        self.ctas[cta].warp(warp).lanes(ALL)
    }

    fn next(&mut self) -> u32 {
        self.site += 1;
        self.site
    }

    /// One thread's access of 4 bytes.
    fn touch(&mut self, thread: Thread, space: Space, address: u64, kind: Kind, strength: Strength) {
        let access = Access::strong(self.next(), kind, 4, strength);
        self.d.access_affine(self.lanes(thread), space, address, 0, &access);
    }

    fn write(&mut self, thread: Thread, address: u64) {
        self.touch(thread, Space::Shared, address, Kind::Write, Strength::Weak);
    }

    fn read(&mut self, thread: Thread, address: u64) {
        self.touch(thread, Space::Shared, address, Kind::Read, Strength::Weak);
    }

    fn write_global(&mut self, thread: Thread, address: u64) {
        self.touch(thread, Space::Global, address, Kind::Write, Strength::Weak);
    }

    fn read_global(&mut self, thread: Thread, address: u64) {
        self.touch(thread, Space::Global, address, Kind::Read, Strength::Weak);
    }

    fn strong(&mut self, thread: Thread, address: u64, kind: Kind, strength: Strength) {
        self.touch(thread, Space::Global, address, kind, strength);
    }

    /// A whole warp reads or writes 4 bytes a lane from an address on.
    fn row(&mut self, cta: usize, warp: u32, address: u64, kind: Kind) {
        let access = Access::weak(self.next(), kind, 4);
        self.d.access_affine(self.warp(cta, warp), Space::Shared, address, 4, &access);
    }

    /// `bar.sync` of all warps of a CTA.
    fn bar_sync(&mut self, cta: usize, generation: u64) {
        self.bar(cta, 0, generation, &[0, 1, 2, 3], &[]);
    }

    /// A generation of a named barrier.
    fn bar(&mut self, cta: usize, id: u32, generation: u64, sync: &[u32], arrive: &[u32]) {
        for &w in arrive.iter().chain(sync) {
            self.d.barrier_arrive(self.warp(cta, w), BarrierRef::Cta(id), generation, true);
        }
        for &w in sync {
            self.d.barrier_leave(self.warp(cta, w), BarrierRef::Cta(id), generation);
        }
    }

    fn cluster_barrier(&mut self, ctas: &[usize], generation: u64, release: bool) {
        for &cta in ctas {
            for w in 0..4 {
                self.d.barrier_arrive(self.warp(cta, w), BarrierRef::Cluster, generation, release);
            }
        }
        for &cta in ctas {
            for w in 0..4 {
                self.d.barrier_leave(self.warp(cta, w), BarrierRef::Cluster, generation);
            }
        }
    }

    /// Classes found since the last call, in the order of their names.
    fn found(&mut self) -> Vec<Class> {
        let mut classes: Vec<Class> = self.d.take().iter().map(|r| r.class).collect();
        classes.sort();
        classes.dedup();
        classes
    }

    fn finds(&mut self, class: Class) {
        assert_eq!(self.found(), [class]);
    }

    fn clean(&mut self) {
        assert_eq!(self.d.take(), []);
    }
}

const A: Thread = (0, 0, 0);
/// Another lane of its warp.
const B: Thread = (0, 0, 1);
/// Another warp.
const C: Thread = (0, 1, 0);
/// Another CTA.
const D: Thread = (1, 0, 0);

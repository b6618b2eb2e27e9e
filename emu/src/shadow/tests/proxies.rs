//! The table of ptx.md 4.3, row by row.

use super::*;

const TILE: u64 = 4096;
const GLOBAL: u64 = 0x1_0000_0000;
const MAP: u64 = 0x2_0000_0000;

impl World {
    fn async_touch(&mut self, thread: Thread, space: Space, address: u64, kind: Kind) -> AsyncId {
        let who = self.lanes(thread);
        let id = self.d.fork(&[who], AsyncKind::Whole);
        let access = Access::weak(self.next(), kind, 16).via(Proxy::Async);
        self.d.access_async(id, space, address, 64, &access);
        id
    }

    fn fence(&mut self, thread: Thread) {
        let who = self.lanes(thread);
        self.d.fence_async(who);
    }
}

#[test]
fn a_generic_write_needs_the_fence_before_async_reads_and_writes() {
    for kind in [Kind::Read, Kind::Write] {
        // By the writer, before the barrier: right.
        let mut w = World::of(1);
        w.write(C, TILE);
        w.fence(C);
        w.bar_sync(0, 0);
        w.async_touch(A, Space::Shared, TILE, kind);
        w.clean();
        // Nowhere; before the write; by a bystander who has not seen the write.
        for wrong in 0..3 {
            let mut w = World::of(1);
            if wrong == 1 {
                w.fence(C);
            }
            w.write(C, TILE);
            if wrong == 2 {
                w.fence((0, 2, 0));
            }
            w.bar_sync(0, 0);
            w.async_touch(A, Space::Shared, TILE, kind);
            w.finds(Class::MissingProxyFence);
        }
        // On the reader's side, or in between: on the way all the same.
        let mut w = World::of(1);
        w.write(C, TILE);
        w.bar_sync(0, 0);
        w.fence(A);
        w.async_touch(A, Space::Shared, TILE, kind);
        w.clean();
        let mut w = World::of(1);
        w.write(C, TILE);
        w.bar_sync(0, 0);
        w.fence((0, 2, 5));
        w.bar_sync(0, 1);
        w.async_touch(A, Space::Shared, TILE, kind);
        w.clean();
    }
}

#[test]
fn without_order_a_fence_does_not_help_and_it_is_a_race() {
    let mut w = World::of(1);
    w.write(C, TILE);
    w.fence(C);
    w.async_touch(A, Space::Shared, TILE, Kind::Read);
    w.finds(Class::ReadWrite);
}

#[test]
fn the_writer_itself_needs_the_fence_too() {
    let mut w = World::of(1);
    w.write(A, TILE);
    w.async_touch(A, Space::Shared, TILE, Kind::Read);
    w.finds(Class::MissingProxyFence);
    let mut w = World::of(1);
    w.write(A, TILE);
    w.fence(A);
    w.async_touch(A, Space::Shared, TILE, Kind::Read);
    w.clean();
}

#[test]
fn a_fence_of_one_lane_does_not_cover_what_its_neighbours_wrote_before_it() {
    let mut w = World::of(1);
    w.row(0, 0, TILE, Kind::Write);
    w.fence(A);
    w.bar_sync(0, 0);
    w.async_touch(A, Space::Shared, TILE, Kind::Read);
    let race = w.d.take()[0];
    assert_eq!((race.class, race.address), (Class::MissingProxyFence, TILE + 4));
    // With the whole warp at the fence, or a sync before it, it does.
    for sync in [true, false] {
        let mut w = World::of(1);
        w.row(0, 0, TILE, Kind::Write);
        if sync {
            w.d.warp_sync(w.warp(0, 0));
            w.fence(A);
            w.d.warp_sync(w.warp(0, 0));
        } else {
            w.d.fence_async(w.warp(0, 0));
        }
        w.bar_sync(0, 0);
        w.async_touch((0, 2, 0), Space::Shared, TILE, Kind::Read);
        w.clean();
    }
}

#[test]
fn cp_async_is_generic_after_its_wait() {
    for fence in [true, false] {
        let addresses: [u64; 32] = std::array::from_fn(|i| TILE + 16 * i as u64);
        let mut w = World::of(1);
        let id = w.d.fork(&[w.warp(0, 1)], AsyncKind::PerLane);
        w.d.access_async_lanes(id, ALL, Space::Shared, &addresses, &Access::weak(1, Kind::Write, 16));
        w.d.join_lanes(id, AsyncPart::All, w.warp(0, 1));
        if fence {
            w.d.fence_async(w.warp(0, 1));
        }
        w.bar_sync(0, 0);
        w.async_touch(A, Space::Shared, TILE, Kind::Read);
        assert_eq!(w.found(), if fence { vec![] } else { vec![Class::MissingProxyFence] });
    }
}

#[test]
fn generic_atomics_need_the_fence_as_well() {
    let mut w = World::of(1);
    w.touch(C, Space::Shared, TILE, Kind::Atomic, Strength::relaxed(Scope::Cta));
    w.bar_sync(0, 0);
    w.async_touch(A, Space::Shared, TILE, Kind::Read);
    w.finds(Class::MissingProxyFence);
}

#[test]
fn a_generic_read_before_an_async_write_needs_order_and_only_strictly_a_fence() {
    for (strict, fence, class) in
        [(false, false, None), (true, false, Some(Class::MissingProxyFenceAfterRead)), (true, true, None)]
    {
        let mut w = World::clusters(1, 1, Options { strict, ..Options::default() });
        w.row(0, 1, TILE, Kind::Read);
        if fence {
            w.d.fence_async(w.warp(0, 1));
        }
        w.bar_sync(0, 0);
        w.async_touch(A, Space::Shared, TILE, Kind::Write);
        assert_eq!(w.found(), class.into_iter().collect::<Vec<_>>());
    }
    let mut w = World::of(1);
    w.row(0, 1, TILE, Kind::Read);
    w.async_touch(A, Space::Shared, TILE, Kind::Write);
    w.finds(Class::ReadWrite);
}

#[test]
fn after_completion_nothing_else_is_needed() {
    // Async write, then generic read, async read, generic write; async read, then generic write.
    for first in [Kind::Write, Kind::Read] {
        let mut w = World::of(1);
        let id = w.async_touch(A, Space::Shared, TILE, first);
        w.d.join_lanes(id, AsyncPart::All, w.lanes(A));
        w.bar_sync(0, 0);
        w.read(C, TILE);
        w.async_touch(C, Space::Shared, TILE, Kind::Read);
        w.clean();
        let mut w = World::of(1);
        let id = w.async_touch(A, Space::Shared, TILE, first);
        w.d.join_lanes(id, AsyncPart::All, w.lanes(A));
        w.write(A, TILE);
        w.clean();
    }
}

#[test]
fn global_writes_of_the_grid_need_the_fence_on_either_side() {
    for (writer, reader, class) in
        [(true, false, None), (false, true, None), (false, false, Some(Class::MissingProxyFence))]
    {
        let mut w = World::of(2);
        w.write_global(A, GLOBAL);
        if writer {
            w.fence(A);
        }
        w.strong(A, 64, Kind::Write, Strength::release(Scope::Gpu));
        w.strong(D, 64, Kind::Read, Strength::acquire(Scope::Gpu));
        if reader {
            w.fence(D);
        }
        w.async_touch(D, Space::Global, GLOBAL, Kind::Read);
        assert_eq!(w.found(), class.into_iter().collect::<Vec<_>>());
    }
    // What an earlier grid wrote needs nothing.
    let mut w = World::of(1);
    w.write_global(A, GLOBAL);
    w.d.start_grid();
    w.ctas[0] = w.d.start_cta(0, 0, 0, 4);
    w.async_touch(C, Space::Global, GLOBAL, Kind::Read);
    w.clean();
}

/// A map written by one thread, used by another CTA's thread.
fn map(release: bool, acquire: bool, ordered: bool, acquire_before_order: bool) -> Vec<Class> {
    let mut w = World::of(2);
    w.write_global(A, MAP + 64);
    if release {
        w.d.fence_tensormap_release(w.lanes(A));
    }
    if acquire_before_order {
        w.d.fence_tensormap_acquire(w.lanes(D));
    }
    if ordered {
        w.strong(A, 64, Kind::Write, Strength::release(Scope::Gpu));
        w.strong(D, 64, Kind::Read, Strength::acquire(Scope::Gpu));
    }
    if acquire {
        w.d.fence_tensormap_acquire(w.lanes(D));
    }
    let id = w.d.fork(&[w.lanes(D)], AsyncKind::Whole);
    w.d.access_async(id, Space::Global, MAP, 128, &Access::weak(9, Kind::Read, 128).via(Proxy::TensorMap));
    w.found()
}

#[test]
fn a_map_needs_release_order_and_acquire() {
    assert_eq!(map(true, true, true, false), []);
    assert_eq!(map(false, true, true, false), [Class::MissingTensorMapFence]);
    assert_eq!(map(true, false, true, false), [Class::MissingTensorMapFence]);
    assert_eq!(map(true, false, true, true), [Class::MissingTensorMapFence]);
    assert_eq!(map(true, true, false, false), [Class::ReadWrite]);
}

#[test]
fn a_map_of_an_earlier_grid_needs_an_acquire_and_one_of_the_host_nothing() {
    let look = |w: &mut World| {
        let id = w.d.fork(&[w.lanes(A)], AsyncKind::Whole);
        w.d.access_async(
            id,
            Space::Global,
            MAP,
            128,
            &Access::weak(9, Kind::Read, 128).via(Proxy::TensorMap),
        );
        w.found()
    };
    assert_eq!(look(&mut World::of(1)), []);
    let mut w = World::of(1);
    w.write_global(A, MAP + 64);
    w.d.start_grid();
    w.ctas[0] = w.d.start_cta(0, 0, 0, 4);
    assert_eq!(look(&mut w), [Class::MissingTensorMapFence]);
    w.d.fence_tensormap_acquire(w.lanes(A));
    assert_eq!(look(&mut w), []);
}

/// An mbarrier initialised by A, used by another thread.
fn init(size: u32, prepare: impl Fn(&mut World), user: Thread, by_copy: bool) -> Vec<Class> {
    let mut w = World::clusters(1, size, Options::default());
    w.cluster_barrier(&(0..size as usize).collect::<Vec<_>>(), 100, true);
    w.d.mbarrier_init(w.lanes(A), 1024, 1);
    prepare(&mut w);
    if by_copy {
        let id = w.d.fork(&[w.lanes(user)], AsyncKind::Whole);
        w.d.mbarrier_use(id, 1024, 2);
    } else {
        w.d.mbarrier_arrive(w.lanes(user), 1024, Scope::Cluster, true, 2);
    }
    w.found()
}

#[test]
fn an_mbarrier_must_be_visible_to_who_uses_it() {
    let nothing = |_: &mut World| {};
    let barrier = |w: &mut World| w.bar_sync(0, 0);
    let both = |w: &mut World| {
        w.fence(A);
        w.bar_sync(0, 0);
    };
    let init_fence = |w: &mut World| {
        w.d.fence_mbarrier_init(w.lanes(A));
        w.bar_sync(0, 0);
    };
    // Threads of its CTA need order.
    assert_eq!(init(1, nothing, A, false), []);
    assert_eq!(init(1, nothing, C, false), [Class::MbarrierInit]);
    assert_eq!(init(1, barrier, C, false), []);
    // Copies need a fence as well, even the initialiser's own.
    assert_eq!(init(1, nothing, A, true), [Class::MbarrierInitFence]);
    assert_eq!(init(1, barrier, C, true), [Class::MbarrierInitFence]);
    assert_eq!(init(1, both, C, true), []);
    assert_eq!(init(1, init_fence, C, true), []);
    assert_eq!(init(1, |w| w.d.fence_mbarrier_init(w.lanes(A)), A, true), []);
}

#[test]
fn a_remote_arrive_needs_the_initialisation_fenced_and_the_relaxed_cluster_barrier_will_do() {
    let cluster = |w: &mut World| w.cluster_barrier(&[0, 1], 0, true);
    let fenced = |w: &mut World| {
        w.d.fence_mbarrier_init(w.lanes(A));
        w.cluster_barrier(&[0, 1], 0, true);
    };
    let relaxed = |w: &mut World| {
        w.d.fence_mbarrier_init(w.lanes(A));
        w.cluster_barrier(&[0, 1], 0, false);
    };
    assert_eq!(init(2, |_| {}, D, false), [Class::MbarrierInit]);
    assert_eq!(init(2, cluster, D, false), [Class::MbarrierInitFence]);
    assert_eq!(init(2, fenced, D, false), []);
    assert_eq!(init(2, relaxed, D, false), []);
    assert_eq!(init(2, relaxed, D, true), []);
    assert_eq!(
        init(2, |w: &mut World| w.cluster_barrier(&[0, 1], 0, false), D, false),
        [Class::MbarrierInit]
    );
}

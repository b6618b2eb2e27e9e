//! Asynchronous operations: cp.async, bulk copies on mbarriers and in groups, wgmma.

use super::*;

const BAR: u64 = 1024;
const TILE: u64 = 4096;

impl World {
    /// A bulk copy issued by a thread: an operation on its own.
    fn bulk(&mut self, thread: Thread) -> AsyncId {
        let who = self.lanes(thread);
        self.d.fork(&[who], AsyncKind::Whole)
    }

    /// A bulk copy's access.
    fn bulk_touch(&mut self, id: AsyncId, space: Space, address: u64, kind: Kind) {
        let access = Access::weak(self.next(), kind, 16).via(Proxy::Async);
        self.d.access_async(id, space, address, 128, &access);
    }

    /// A barrier that is ready for everybody in its CTA.
    fn mbarrier(&mut self, cta: usize) -> u64 {
        let address = (cta as u64) << SHARED_BITS | BAR;
        let site = self.next();
        self.d.mbarrier_init(self.lanes((cta, 0, 0)), address, site);
        self.d.fence_async(self.lanes((cta, 0, 0)));
        self.bar_sync(cta, 1000);
        address
    }

    fn arrive(&mut self, who: Lanes, bar: u64) {
        let site = self.next();
        self.d.mbarrier_arrive(who, bar, Scope::Cta, true, site);
    }

    fn wait(&mut self, who: Lanes, bar: u64) {
        let site = self.next();
        self.d.mbarrier_wait(who, bar, Scope::Cta, true, site);
    }

    /// A copy onto an mbarrier, complete.
    fn load(&mut self, thread: Thread, bar: u64, to: u64) -> AsyncId {
        let id = self.bulk(thread);
        let site = self.next();
        self.d.mbarrier_use(id, bar, site);
        self.bulk_touch(id, Space::Shared, to, Kind::Write);
        self.d.join_mbarrier(id, AsyncPart::All, ALL, bar);
        id
    }
}

#[test]
fn a_bulk_load_is_ordered_by_its_mbarrier_alone() {
    let mut w = World::of(1);
    let bar = w.mbarrier(0);
    w.arrive(w.lanes(A), bar);
    w.load(A, bar, TILE);
    w.d.mbarrier_complete(w.ctas[0], bar);
    for warp in 1..4 {
        w.wait(w.warp(0, warp), bar);
        w.row(0, warp, TILE, Kind::Read);
    }
    w.clean();
    // Not even its issuer may look without waiting.
    w.row(0, 0, TILE, Kind::Read);
    w.finds(Class::ReadWrite);
}

#[test]
fn a_read_before_the_copy_lands_races_when_it_lands() {
    let mut w = World::of(1);
    let bar = w.mbarrier(0);
    let id = w.bulk(A);
    w.row(0, 0, TILE, Kind::Read);
    w.bulk_touch(id, Space::Shared, TILE, Kind::Write);
    w.d.join_mbarrier(id, AsyncPart::All, ALL, bar);
    let race = w.d.take()[0];
    assert_eq!(race.class, Class::ReadWrite);
    assert!(race.second.asynchronous && !race.first.expect("two").asynchronous);
    assert_eq!(race.second.who, Who { cta: 0, warp: 0, lane: 0 });
}

#[test]
fn a_copy_gives_its_own_bytes_and_nothing_of_its_issuer() {
    let mut w = World::of(1);
    let bar = w.mbarrier(0);
    w.row(0, 0, 8192, Kind::Write);
    w.load(A, bar, TILE);
    w.d.mbarrier_complete(w.ctas[0], bar);
    w.wait(w.warp(0, 1), bar);
    w.row(0, 1, 8192, Kind::Read);
    w.finds(Class::ReadWrite);
}

#[test]
fn a_phase_gives_what_arrived_in_it_not_what_arrives_later() {
    let mut w = World::of(1);
    let bar = w.mbarrier(0);
    w.row(0, 0, TILE, Kind::Write);
    w.arrive(w.warp(0, 0), bar);
    w.d.mbarrier_complete(w.ctas[0], bar);
    w.row(0, 0, 8192, Kind::Write);
    w.arrive(w.warp(0, 0), bar);
    w.wait(w.warp(0, 1), bar);
    w.row(0, 1, TILE, Kind::Read);
    w.clean();
    w.row(0, 1, 8192, Kind::Read);
    w.finds(Class::ReadWrite);
}

#[test]
fn an_arrive_that_does_not_release_gives_nothing() {
    let mut w = World::of(1);
    let bar = w.mbarrier(0);
    w.row(0, 0, TILE, Kind::Write);
    w.d.mbarrier_arrive(w.warp(0, 0), bar, Scope::Cta, false, 70);
    w.d.mbarrier_complete(w.ctas[0], bar);
    w.wait(w.warp(0, 1), bar);
    w.row(0, 1, TILE, Kind::Read);
    w.finds(Class::ReadWrite);
}

/// A pipeline of two stages: a producer thread, consumers that read by wgmma and by ordinary loads.
fn pipeline(rounds: u64, wait_empty: bool, wait_full: bool, wait_wgmma: bool) -> Vec<Class> {
    let mut w = World::of(1);
    let (full, empty, tile) = ([1024u64, 1032], [1040u64, 1048], [4096u64, 8192]);
    for bar in full.into_iter().chain(empty) {
        w.d.mbarrier_init(w.lanes(A), bar, 1);
    }
    w.d.fence_async(w.lanes(A));
    w.bar_sync(0, 0);
    for round in 0..rounds {
        let s = (round % 2) as usize;
        if round >= 2 && wait_empty {
            w.d.mbarrier_wait(w.lanes(A), empty[s], Scope::Cta, true, 2);
        }
        w.d.mbarrier_arrive(w.lanes(A), full[s], Scope::Cta, true, 3);
        w.load(A, full[s], tile[s]);
        w.d.mbarrier_complete(w.ctas[0], full[s]);
        for warp in 1..3 {
            if wait_full {
                w.d.mbarrier_wait(w.warp(0, warp), full[s], Scope::Cta, true, 5);
            }
            w.row(0, warp, tile[s], Kind::Read);
        }
        let group = [w.warp(0, 1), w.warp(0, 2)];
        let wgmma = w.d.fork(&group, AsyncKind::Whole);
        w.bulk_touch(wgmma, Space::Shared, tile[s], Kind::Read);
        for who in group {
            if wait_wgmma {
                w.d.join_lanes(wgmma, AsyncPart::All, who);
            }
        }
        // One thread of each consumer warp says that the stage is free.
        for warp in 1..3 {
            let all = w.warp(0, warp);
            w.d.warp_sync(all);
            w.d.mbarrier_arrive(w.lanes((0, warp, 0)), empty[s], Scope::Cta, true, 6);
        }
        w.d.mbarrier_complete(w.ctas[0], empty[s]);
    }
    w.found()
}

#[test]
fn a_pipeline_with_all_its_waits_is_clean_and_each_missing_one_is_found() {
    assert_eq!(pipeline(200, true, true, true), []);
    assert_eq!(pipeline(6, false, true, true), [Class::WriteWrite, Class::ReadWrite]);
    // Nobody who saw the copy complete tells the producer, so its next one is not ordered after it either.
    assert_eq!(pipeline(6, true, false, true), [Class::WriteWrite, Class::ReadWrite]);
    assert_eq!(pipeline(6, true, true, false), [Class::ReadWrite]);
}

#[test]
fn cp_async_is_seen_by_its_own_lane_after_its_wait_and_by_others_after_a_barrier() {
    let addresses: [u64; 32] = std::array::from_fn(|i| TILE + 16 * i as u64);
    let copy = Access::weak(50, Kind::Write, 16);
    let run = |wait: bool, sync: bool, reader: Thread| {
        let mut w = World::of(1);
        let id = w.d.fork(&[w.warp(0, 0)], AsyncKind::PerLane);
        w.d.access_async_lanes(id, ALL, Space::Shared, &addresses, &copy);
        if wait {
            w.d.join_lanes(id, AsyncPart::All, w.warp(0, 0));
        }
        if sync {
            w.bar_sync(0, 0);
        }
        w.read(reader, TILE);
        w.found()
    };
    assert_eq!(run(true, false, A), []);
    assert_eq!(run(true, true, C), []);
    for (wait, sync, reader) in
        [(false, false, A), (false, true, A), (false, true, C), (true, false, B), (true, false, C)]
    {
        assert_eq!(run(wait, sync, reader), [Class::ReadWrite], "{wait} {sync} {reader:?}");
    }
}

#[test]
fn a_wait_covers_the_groups_that_it_says() {
    let mut w = World::of(1);
    let copies: Vec<AsyncId> = (0..4)
        .map(|k| {
            let id = w.d.fork(&[w.warp(0, 0)], AsyncKind::PerLane);
            let addresses: [u64; 32] = std::array::from_fn(|i| TILE + 512 * k + 16 * i as u64);
            w.d.access_async_lanes(id, ALL, Space::Shared, &addresses, &Access::weak(9, Kind::Write, 16));
            id
        })
        .collect();
    w.d.join_lanes_all(copies[..3].iter().copied(), AsyncPart::All, w.warp(0, 0));
    for k in 0..3 {
        w.read(A, TILE + 512 * k);
    }
    w.clean();
    w.read(A, TILE + 512 * 3);
    w.finds(Class::ReadWrite);
}

#[test]
fn cp_async_tracked_by_an_mbarrier_is_ordered_by_it() {
    let addresses: [u64; 32] = std::array::from_fn(|i| TILE + 4 * i as u64);
    let mut w = World::of(1);
    let bar = w.mbarrier(0);
    let id = w.d.fork(&[w.warp(0, 0)], AsyncKind::PerLane);
    w.d.access_async_lanes(id, ALL, Space::Shared, &addresses, &Access::weak(9, Kind::Write, 4));
    w.d.join_mbarrier(id, AsyncPart::All, 0xffff, bar);
    w.d.mbarrier_complete(w.ctas[0], bar);
    w.wait(w.warp(0, 1), bar);
    w.read(C, TILE + 4 * 15);
    w.clean();
    w.read(C, TILE + 4 * 16);
    w.finds(Class::ReadWrite);
}

#[test]
fn a_copys_source_may_be_overwritten_after_the_wait_for_its_reads_and_its_target_not_read() {
    let target = 0x1_0000_0000;
    let run = |part: AsyncPart, then: fn(&mut World)| {
        let mut w = World::of(1);
        let id = w.bulk(A);
        w.bulk_touch(id, Space::Shared, TILE, Kind::Read);
        w.bulk_touch(id, Space::Global, target, Kind::Write);
        w.d.join_lanes(id, part, w.lanes(A));
        then(&mut w);
        w.found()
    };
    let overwrite = |w: &mut World| w.write(A, TILE);
    let look = |w: &mut World| w.read_global(A, 0x1_0000_0000);
    assert_eq!(run(AsyncPart::Reads, overwrite), []);
    assert_eq!(run(AsyncPart::Reads, look), [Class::ReadWrite]);
    assert_eq!(run(AsyncPart::All, look), []);
    assert_eq!(run(AsyncPart::All, overwrite), []);
    let mut w = World::of(1);
    let id = w.bulk(A);
    w.bulk_touch(id, Space::Shared, TILE, Kind::Read);
    w.write(A, TILE);
    w.finds(Class::ReadWrite);
}

#[test]
fn a_store_is_seen_elsewhere_after_its_wait_and_a_release() {
    let target = 0x1_0000_0000;
    for wait in [true, false] {
        let mut w = World::of(2);
        let id = w.bulk(A);
        w.bulk_touch(id, Space::Global, target, Kind::Write);
        if wait {
            w.d.join_lanes(id, AsyncPart::All, w.lanes(A));
        }
        w.strong(A, 64, Kind::Write, Strength::release(Scope::Gpu));
        w.strong(D, 64, Kind::Read, Strength::acquire(Scope::Gpu));
        w.read_global(D, target);
        assert_eq!(w.found(), if wait { vec![] } else { vec![Class::ReadWrite] });
    }
}

#[test]
fn operations_of_one_thread_are_not_ordered_with_each_other() {
    let mut w = World::of(1);
    let (a, b) = (w.bulk(A), w.bulk(A));
    w.bulk_touch(a, Space::Shared, TILE, Kind::Write);
    w.bulk_touch(b, Space::Shared, TILE, Kind::Write);
    w.finds(Class::WriteWrite);
    // Unless the first was waited for before the second was issued.
    let mut w = World::of(1);
    let a = w.bulk(A);
    w.bulk_touch(a, Space::Shared, TILE, Kind::Write);
    w.d.join_lanes(a, AsyncPart::All, w.lanes(A));
    let b = w.bulk(A);
    w.bulk_touch(b, Space::Shared, TILE, Kind::Write);
    w.clean();
}

#[test]
fn reductions_into_global_memory_do_not_race_with_each_other() {
    let add = Access::strong(3, Kind::Reduce, 4, Strength::relaxed(Scope::Gpu)).via(Proxy::Async);
    let mut w = World::of(2);
    for thread in [A, D, C] {
        let id = w.bulk(thread);
        w.d.access_async(id, Space::Global, 0x1_0000_0000, 256, &add);
        w.d.join_lanes(id, AsyncPart::All, w.lanes(thread));
    }
    w.clean();
    w.read_global(A, 0x1_0000_0010);
    w.finds(Class::ReadWrite);
}

#[test]
fn a_multicast_is_an_operation_for_each_target_and_each_waits_on_its_own_barrier() {
    let mut w = World::clusters(1, 2, Options::default());
    let bars = [w.mbarrier(0), w.mbarrier(1)];
    w.cluster_barrier(&[0, 1], 0, true);
    for cta in 0..2 {
        let id = w.bulk(A);
        w.d.mbarrier_use(id, bars[cta], 1);
        w.bulk_touch(id, Space::Shared, (cta as u64) << SHARED_BITS | TILE, Kind::Write);
        w.d.join_mbarrier(id, AsyncPart::All, ALL, bars[cta]);
        w.d.mbarrier_complete(w.ctas[cta], bars[cta]);
    }
    w.wait(w.warp(1, 2), bars[1]);
    w.row(1, 2, 1 << SHARED_BITS | TILE, Kind::Read);
    w.clean();
    w.d.access_affine(w.warp(1, 2), Space::Shared, TILE, 4, &Access::weak(99, Kind::Read, 4));
    w.finds(Class::ReadWrite);
}

#[test]
fn a_remote_arrive_publishes_only_with_cluster_scope_on_both_sides() {
    for (arrive, wait, class) in [
        (Scope::Cluster, Scope::Cluster, None),
        (Scope::Cta, Scope::Cluster, Some(Class::ScopeTooNarrow)),
        (Scope::Cluster, Scope::Cta, Some(Class::ScopeTooNarrow)),
    ] {
        let mut w = World::clusters(1, 2, Options::default());
        let bar = w.mbarrier(0);
        w.cluster_barrier(&[0, 1], 0, true);
        w.write(D, TILE);
        w.d.mbarrier_arrive(w.lanes(D), bar, arrive, true, 8);
        w.d.mbarrier_complete(w.ctas[0], bar);
        w.d.mbarrier_wait(w.lanes(A), bar, wait, true, 9);
        w.read(A, TILE);
        assert_eq!(w.found(), class.into_iter().collect::<Vec<_>>());
    }
}

//! Many CTAs, much memory, long runs: bounded, and right to the end.

use super::*;

#[test]
fn ten_thousand_ctas_come_and_go() {
    let mut d = Detector::default();
    let row = Access::weak(1, Kind::Write, 4);
    for index in 0..10_000u32 {
        let cta = d.start_cta(index, index, 0, 8);
        for warp in 0..8 {
            let who = cta.warp(warp).lanes(ALL);
            let at = 128 * u64::from(warp);
            d.access_affine(who, Space::Shared, 1024 + at, 4, &row);
            d.barrier_arrive(who, BarrierRef::Cta(0), 0, true);
            d.access_affine(who, Space::Global, 0x1_0000_0000 + u64::from(index) * 1024 + at, 4, &row);
        }
        for warp in 0..8 {
            let who = cta.warp(warp).lanes(ALL);
            d.barrier_leave(who, BarrierRef::Cta(0), 0);
            d.access_affine(who, Space::Shared, 1024, 4, &Access::weak(2, Kind::Read, 4));
        }
        d.end_cta(cta);
    }
    assert_eq!(d.take(), []);
    assert_eq!((d.ctas.len(), d.shared.len(), d.clusters.len()), (1, 1, 0));
    // A dead CTA's writes are not ordered before a later CTA.
    let cta = d.start_cta(10_000, 10_000, 0, 8);
    d.access_affine(
        cta.warp(0).lanes(1),
        Space::Global,
        0x1_0000_0000 + 77 * 1024,
        0,
        &Access::weak(3, Kind::Read, 4),
    );
    let race = d.take()[0];
    assert_eq!((race.class, race.first.expect("two").who.cta), (Class::ReadWrite, 77));
}

#[test]
fn a_counter_that_all_ctas_pass_through_orders_them() {
    let mut d = Detector::default();
    let count = Access::strong(1, Kind::Atomic, 4, Strength::acq_rel(Scope::Gpu));
    for index in 0..2000u32 {
        let cta = d.start_cta(index, index, 0, 1);
        let who = cta.warp(0).lanes(1);
        d.access_affine(
            who,
            Space::Global,
            0x2_0000_0000 + u64::from(index) * 4,
            0,
            &Access::weak(2, Kind::Write, 4),
        );
        d.access_affine(who, Space::Global, 64, 0, &count);
        if index == 1999 {
            for other in 0..2000 {
                d.access_affine(
                    who,
                    Space::Global,
                    0x2_0000_0000 + other * 4,
                    0,
                    &Access::weak(3, Kind::Read, 4),
                );
            }
        }
        d.end_cta(cta);
    }
    assert_eq!(d.take(), []);
}

#[test]
fn forgetting_what_nobody_remembers_changes_nothing() {
    let mut w = World::of(1);
    w.d.access_affine(w.warp(0, 0), Space::Shared, 1024, 4, &Access::weak(70, Kind::Write, 4));
    w.d.access_affine(w.warp(0, 1), Space::Shared, 8192, 8, &Access::weak(71, Kind::Read, 8));
    // Enough accesses, each with a table of its own, that old ones are collected several times.
    for i in 0..300_000u64 {
        let addresses: [u64; 32] = std::array::from_fn(|l| 65536 + ((l as u64 * 7 + i) % 32) * 20);
        w.d.access(w.warp(0, 2), Space::Shared, &addresses, &Access::weak(72, Kind::Read, 4));
        if i % 100 == 0 {
            w.d.warp_sync(w.warp(0, 2));
        }
    }
    w.clean();
    assert!(w.d.shared[0].log.next_id() < 1 << 18);
    w.write((0, 3, 3), 1024 + 4 * 17);
    let race = w.d.take()[0].first.expect("two");
    assert_eq!((race.site, race.who.lane), (70, 17));
    w.write((0, 3, 3), 8192 + 8 * 9 + 4);
    let race = w.d.take()[0].first.expect("two");
    assert_eq!((race.site, race.who.lane), (71, 9));
    w.write((0, 3, 3), 65536 + 20);
    assert_eq!(w.d.take()[0].first.expect("two").site, 72);
}

#[test]
fn old_asynchronous_operations_are_forgotten_silently() {
    let mut w = World::of(1);
    let old = w.d.fork(&[w.lanes(A)], AsyncKind::Whole);
    w.d.access_async(old, Space::Shared, 1024, 16, &Access::weak(1, Kind::Write, 16).via(Proxy::Async));
    for _ in 0..(1 << 20) + 5 {
        let id = w.d.fork(&[w.lanes(A)], AsyncKind::Whole);
        w.d.join_lanes(id, AsyncPart::All, w.lanes(A));
    }
    w.read(A, 1024);
    w.clean();
}

#[test]
fn what_does_not_exist_is_ignored() {
    let mut w = World::of(1);
    let gone = w.ctas[0];
    let id = w.d.fork(&[w.lanes(A)], AsyncKind::PerLane);
    w.d.end_cta(gone);
    w.d.end_cta(gone);
    w.write(A, 64);
    w.bar_sync(0, 3);
    w.d.fence(w.lanes(A), Scope::Sys, true);
    w.d.mbarrier_wait(w.lanes(A), 8, Scope::Cta, true, 1);
    w.d.join_lanes(id, AsyncPart::All, w.lanes(A));
    w.d.join_mbarrier(id, AsyncPart::All, ALL, u64::MAX);
    w.d.fork(&[], AsyncKind::Whole);
    w.clean();
    let cta = w.d.start_cta(u32::MAX, 5, 300, 99);
    let all = cta.warp(31).lanes(ALL);
    for stride in [i64::MAX, i64::MIN, -1, 1, 0, 3] {
        for base in [0, u64::MAX, u64::MAX - 64, 1 << 63] {
            for kind in [Kind::Read, Kind::Write, Kind::Atomic] {
                w.d.access_affine(all, Space::Global, base, stride, &Access::weak(1, kind, 16));
                w.d.access_affine(all, Space::Shared, base, stride, &Access::weak(1, kind, 3));
            }
        }
    }
    w.d.access_affine(cta.warp(31).lanes(0), Space::Global, 0, 4, &Access::weak(1, Kind::Read, 4));
    w.d.forget(0, u64::MAX);
    w.d.mbarrier_init(all, u64::MAX, 3);
    w.d.mbarrier_arrive(all, u64::MAX, Scope::Cta, true, 3);
}

//! What orders, and what only seems to.

use super::*;

const RELAXED: Strength = Strength::Strong { scope: Scope::Gpu, acquire: false, release: false };
const FLAG: u64 = 0x1000;
const DATA: u64 = 0x2000;

#[test]
fn a_barrier_orders_all_its_warps() {
    let mut w = World::of(1);
    for round in 0..20 {
        w.row(0, 0, 1024, Kind::Write);
        w.bar_sync(0, 2 * round);
        for warp in 0..4 {
            w.row(0, warp, 1024, Kind::Read);
        }
        w.bar_sync(0, 2 * round + 1);
    }
    w.clean();
    w.row(0, 0, 1024, Kind::Write);
    w.row(0, 1, 1024, Kind::Read);
    w.finds(Class::ReadWrite);
}

#[test]
fn without_the_second_barrier_of_a_round_the_reads_race_with_the_next_write() {
    let mut w = World::of(1);
    w.row(0, 0, 1024, Kind::Write);
    w.bar_sync(0, 0);
    w.row(0, 1, 1024, Kind::Read);
    w.row(0, 0, 1024, Kind::Write);
    w.finds(Class::ReadWrite);
}

#[test]
fn an_arrive_gives_what_was_before_it_and_takes_nothing() {
    // Producer warp 0 arrives, consumer warp 1 waits.
    let mut w = World::of(1);
    w.row(0, 0, 1024, Kind::Write);
    w.bar(0, 1, 0, &[1], &[0]);
    w.row(0, 1, 1024, Kind::Read);
    w.clean();
    // What the producer writes after its arrive is not covered, nor is it ordered after the consumer's reads.
    w.row(0, 0, 2048, Kind::Write);
    w.row(0, 1, 2048, Kind::Read);
    w.finds(Class::ReadWrite);
    w.row(0, 0, 1024, Kind::Write);
    w.finds(Class::ReadWrite);
}

#[test]
fn a_ring_over_two_named_barriers_is_clean() {
    let mut w = World::of(1);
    for round in 0..50 {
        w.row(0, 0, 1024, Kind::Write);
        w.bar(0, 1, round, &[1], &[0]);
        w.row(0, 1, 1024, Kind::Read);
        w.bar(0, 2, round, &[0], &[1]);
    }
    w.clean();
}

#[test]
fn barriers_of_other_numbers_and_generations_do_not_help() {
    let mut w = World::of(1);
    w.d.barrier_arrive(w.warp(0, 0), BarrierRef::Cta(1), 0, true);
    w.row(0, 0, 1024, Kind::Write);
    w.d.barrier_arrive(w.warp(0, 0), BarrierRef::Cta(1), 1, true);
    w.d.barrier_arrive(w.warp(0, 1), BarrierRef::Cta(1), 0, true);
    w.d.barrier_leave(w.warp(0, 1), BarrierRef::Cta(1), 0);
    w.row(0, 1, 1024, Kind::Read);
    w.finds(Class::ReadWrite);
}

#[test]
fn a_warp_sync_orders_its_mask_only() {
    let mut w = World::of(1);
    w.write((0, 0, 5), 64);
    w.d.warp_sync(w.ctas[0].warp(0).lanes(0xff));
    w.read((0, 0, 6), 64);
    w.clean();
    w.read((0, 0, 9), 64);
    w.finds(Class::ReadWrite);
}

#[test]
fn shuffles_and_volatile_order_nothing() {
    // A shuffle is no call at all; a volatile flag is strong, but no acquire.
    let volatile = Strength::relaxed(Scope::Sys);
    let mut w = World::of(2);
    w.write_global(A, DATA);
    w.strong(A, FLAG, Kind::Write, volatile);
    w.strong(D, FLAG, Kind::Read, volatile);
    w.read_global(D, DATA);
    w.finds(Class::ReadWrite);
}

/// Message passing from A to another thread: how the flag is written and read, fences around.
fn message(
    to: Thread,
    fences: [Option<(Scope, bool)>; 2],
    write: (Kind, Strength),
    read: (Kind, Strength),
) -> Vec<Class> {
    let mut w = World::clusters(2, 2, Options::default());
    let fence = |w: &mut World, t: Thread, f: Option<(Scope, bool)>| {
        if let Some((scope, sc)) = f {
            w.d.fence(w.lanes(t), scope, sc);
        }
    };
    w.write_global(A, DATA);
    fence(&mut w, A, fences[0]);
    w.strong(A, FLAG, write.0, write.1);
    w.strong(to, FLAG, read.0, read.1);
    fence(&mut w, to, fences[1]);
    w.read_global(to, DATA);
    w.found()
}

#[test]
fn a_release_and_an_acquire_order_within_both_scopes() {
    let (near, far) = (D, (2, 0, 0));
    for (to, release, acquire, class) in [
        (C, Scope::Cta, Scope::Cta, None),
        (near, Scope::Cluster, Scope::Cluster, None),
        (near, Scope::Gpu, Scope::Cluster, None),
        (far, Scope::Gpu, Scope::Sys, None),
        (near, Scope::Cta, Scope::Gpu, Some(Class::ScopeTooNarrow)),
        (near, Scope::Gpu, Scope::Cta, Some(Class::ScopeTooNarrow)),
        (far, Scope::Cluster, Scope::Gpu, Some(Class::ScopeTooNarrow)),
    ] {
        let got = message(
            to,
            [None, None],
            (Kind::Write, Strength::release(release)),
            (Kind::Read, Strength::acquire(acquire)),
        );
        assert_eq!(got, class.into_iter().collect::<Vec<_>>(), "{to:?} {release:?} {acquire:?}");
    }
}

#[test]
fn fences_make_relaxed_accesses_release_and_acquire() {
    let gpu = Some((Scope::Gpu, false));
    let (write, read) = ((Kind::Write, RELAXED), (Kind::Read, RELAXED));
    let far = (2, 0, 0);
    assert_eq!(message(far, [gpu, gpu], write, read), []);
    assert_eq!(message(far, [gpu, None], write, (Kind::Read, Strength::acquire(Scope::Gpu))), []);
    assert_eq!(message(far, [None, gpu], (Kind::Atomic, Strength::release(Scope::Gpu)), read), []);
    assert_eq!(message(far, [gpu, None], write, read), [Class::ReadWrite]);
    assert_eq!(message(far, [None, gpu], write, read), [Class::ReadWrite]);
    // A fence is as wide as it says, and so is what it goes with.
    assert_eq!(message(far, [Some((Scope::Cta, false)), gpu], write, read), [Class::ScopeTooNarrow]);
    assert_eq!(message(far, [gpu, Some((Scope::Cluster, false))], write, read), [Class::ScopeTooNarrow]);
    assert_eq!(message(C, [Some((Scope::Cta, false)), Some((Scope::Cta, false))], write, read), []);
}

#[test]
fn a_reduction_is_never_part_of_an_acquire() {
    let gpu = Some((Scope::Gpu, false));
    let release = (Kind::Write, Strength::release(Scope::Gpu));
    assert_eq!(message((2, 0, 0), [None, gpu], release, (Kind::Reduce, RELAXED)), [Class::ReadWrite]);
    assert_eq!(message((2, 0, 0), [None, gpu], release, (Kind::Atomic, RELAXED)), []);
}

#[test]
fn a_release_covers_only_what_came_before_it() {
    let mut w = World::of(2);
    w.strong(A, FLAG, Kind::Write, Strength::release(Scope::Gpu));
    w.write_global(A, DATA);
    w.strong(D, FLAG, Kind::Read, Strength::acquire(Scope::Gpu));
    w.read_global(D, DATA);
    w.finds(Class::ReadWrite);
    // And a fence only what came before the fence.
    let mut w = World::of(2);
    w.d.fence(w.lanes(A), Scope::Gpu, false);
    w.write_global(A, DATA);
    w.strong(A, FLAG, Kind::Write, RELAXED);
    w.strong(D, FLAG, Kind::Read, Strength::acquire(Scope::Gpu));
    w.read_global(D, DATA);
    w.finds(Class::ReadWrite);
}

#[test]
fn a_chain_of_atomics_carries_earlier_releases_and_a_store_ends_it() {
    let last: Thread = (2, 0, 0);
    let chain = |middle: Kind| {
        let mut w = World::of(3);
        w.write_global(A, DATA);
        w.strong(A, FLAG, Kind::Atomic, Strength::release(Scope::Gpu));
        w.strong(D, FLAG, middle, RELAXED);
        w.strong(last, FLAG, Kind::Read, Strength::acquire(Scope::Gpu));
        w.read_global(last, DATA);
        w.found()
    };
    assert_eq!(chain(Kind::Atomic), []);
    assert_eq!(chain(Kind::Reduce), []);
    assert_eq!(chain(Kind::Write), [Class::ReadWrite]);
}

#[test]
fn order_is_transitive_across_ctas() {
    let last: Thread = (2, 1, 4);
    let mut w = World::of(3);
    w.write_global(A, DATA);
    w.bar_sync(0, 0);
    w.strong((0, 3, 9), FLAG, Kind::Write, Strength::release(Scope::Gpu));
    w.strong(D, FLAG, Kind::Read, Strength::acquire(Scope::Gpu));
    w.bar_sync(1, 0);
    w.strong((1, 2, 0), FLAG + 4, Kind::Write, Strength::release(Scope::Gpu));
    w.strong(last, FLAG + 4, Kind::Read, Strength::acquire(Scope::Gpu));
    w.read_global(last, DATA);
    w.clean();
}

#[test]
fn fences_of_total_order_order_by_themselves_within_their_scopes() {
    for (to, scope, class) in
        [(C, Scope::Cta, None), (D, Scope::Gpu, None), (D, Scope::Cta, Some(Class::ScopeTooNarrow))]
    {
        let mut w = World::of(2);
        w.write_global(A, DATA);
        w.d.fence(w.lanes(A), scope, true);
        w.d.fence(w.lanes(to), Scope::Gpu, true);
        w.read_global(to, DATA);
        assert_eq!(w.found(), class.into_iter().collect::<Vec<_>>());
    }
    let mut w = World::of(2);
    w.write_global(A, DATA);
    w.d.fence(w.lanes(A), Scope::Gpu, false);
    w.d.fence(w.lanes(D), Scope::Gpu, true);
    w.read_global(D, DATA);
    w.finds(Class::ReadWrite);
}

#[test]
fn a_lock_orders_its_critical_sections() {
    let mut w = World::of(2);
    for turn in 0..6 {
        let thread = [A, D, B][turn % 3];
        w.strong(thread, FLAG, Kind::Atomic, Strength::acquire(Scope::Gpu));
        w.read_global(thread, DATA);
        w.write_global(thread, DATA);
        w.strong(thread, FLAG, Kind::Atomic, Strength::release(Scope::Gpu));
    }
    w.clean();
    w.write_global(C, DATA);
    w.finds(Class::WriteWrite);
}

#[test]
fn lanes_that_learned_different_things_are_told_apart() {
    let mut w = World::of(2);
    w.write_global(A, DATA);
    w.strong(A, FLAG, Kind::Write, Strength::release(Scope::Gpu));
    // Lane 3 of the other CTA learns of it, lane 4 does not, until the warp meets.
    w.strong((1, 0, 3), FLAG, Kind::Read, Strength::acquire(Scope::Gpu));
    w.read_global((1, 0, 3), DATA);
    w.clean();
    w.read_global((1, 0, 4), DATA);
    w.finds(Class::ReadWrite);
    w.d.warp_sync(w.warp(1, 0));
    w.read_global((1, 0, 5), DATA);
    w.clean();
    // And all of its CTA after a barrier.
    w.bar_sync(1, 0);
    w.read_global((1, 3, 5), DATA);
    w.clean();
}

#[test]
fn a_release_by_one_lane_does_not_speak_for_the_others() {
    let mut w = World::of(2);
    let row = Access::weak(77, Kind::Write, 4);
    w.d.access_affine(w.warp(0, 0), Space::Global, DATA, 4, &row);
    w.strong(A, FLAG, Kind::Write, Strength::release(Scope::Gpu));
    w.strong(D, FLAG, Kind::Read, Strength::acquire(Scope::Gpu));
    w.read_global(D, DATA);
    w.clean();
    w.read_global(D, DATA + 4);
    w.finds(Class::ReadWrite);
}

#[test]
fn the_cluster_barrier_orders_unless_it_is_relaxed() {
    let mut w = World::clusters(1, 2, Options::default());
    w.write_global(A, DATA);
    w.cluster_barrier(&[0, 1], 0, true);
    w.read_global(D, DATA);
    w.clean();

    let mut w = World::clusters(1, 2, Options::default());
    w.write_global(A, DATA);
    w.cluster_barrier(&[0, 1], 0, false);
    w.read_global(D, DATA);
    w.finds(Class::ReadWrite);

    // A fence before the relaxed arrive makes it a release.
    let mut w = World::clusters(1, 2, Options::default());
    w.write_global(A, DATA);
    w.d.fence(w.lanes(A), Scope::Cluster, false);
    w.cluster_barrier(&[0, 1], 0, false);
    w.read_global(D, DATA);
    w.clean();
}

#[test]
fn accesses_between_arrive_and_wait_are_not_ordered() {
    let mut w = World::clusters(1, 2, Options::default());
    for cta in [0, 1] {
        for warp in 0..4 {
            w.d.barrier_arrive(w.warp(cta, warp), BarrierRef::Cluster, 0, true);
        }
    }
    w.write_global(A, DATA);
    w.d.barrier_leave(w.warp(0, 0), BarrierRef::Cluster, 0);
    w.d.barrier_leave(w.warp(1, 0), BarrierRef::Cluster, 0);
    w.read_global(D, DATA);
    w.finds(Class::ReadWrite);
}

//! Classes of races, sizes, shapes, and what a report says.

use super::*;

#[test]
fn unordered_accesses_race_and_only_reads_do_not() {
    for other in [B, C] {
        for (first, second, class) in [
            (Kind::Read, Kind::Read, None),
            (Kind::Read, Kind::Write, Some(Class::ReadWrite)),
            (Kind::Write, Kind::Read, Some(Class::ReadWrite)),
            (Kind::Write, Kind::Write, Some(Class::WriteWrite)),
        ] {
            for space in [Space::Shared, Space::Global] {
                let mut w = World::of(1);
                w.touch(A, space, 1024, first, Strength::Weak);
                w.touch(other, space, 1024, second, Strength::Weak);
                assert_eq!(
                    w.found(),
                    class.into_iter().collect::<Vec<_>>(),
                    "{other:?} {first:?} {second:?}"
                );
            }
        }
    }
}

#[test]
fn a_report_names_both_accesses() {
    let mut w = World::of(2);
    w.write_global((1, 2, 7), 0x1_0000_0040);
    w.touch((0, 3, 31), Space::Global, 0x1_0000_0042, Kind::Read, Strength::Weak);
    let [race] = w.d.take().try_into().expect("one race");
    let first = race.first.expect("two parties");
    assert_eq!(
        (race.class, race.space, race.address, race.count),
        (Class::ReadWrite, Space::Global, 0x1_0000_0042, 1)
    );
    assert_eq!((first.who, first.site, first.kind), (Who { cta: 1, warp: 2, lane: 7 }, 1, Kind::Write));
    assert_eq!(
        (race.second.who, race.second.site, race.second.size),
        (Who { cta: 0, warp: 3, lane: 31 }, 2, 4)
    );
    assert!(!first.asynchronous && !race.second.asynchronous);
}

#[test]
fn a_thread_is_ordered_with_itself() {
    let mut w = World::of(1);
    for kind in [Kind::Write, Kind::Read, Kind::Write, Kind::Atomic, Kind::Read] {
        w.touch(A, Space::Shared, 64, kind, Strength::Weak);
    }
    // Each lane with its own word, in any order of words.
    w.row(0, 0, 1024, Kind::Write);
    w.row(0, 0, 1024, Kind::Read);
    w.row(0, 0, 1024, Kind::Write);
    w.clean();
}

#[test]
fn a_warp_that_reads_what_its_neighbours_wrote_needs_a_sync() {
    let mut w = World::of(1);
    w.row(0, 0, 1024, Kind::Write);
    w.row(0, 0, 1028, Kind::Read);
    w.finds(Class::ReadWrite);

    let mut w = World::of(1);
    w.row(0, 0, 1024, Kind::Write);
    w.d.warp_sync(w.warp(0, 0));
    w.row(0, 0, 1028, Kind::Read);
    w.clean();
    // Nobody but lane 0 touched the first word; the second was read by lane 0 and is lane 1's to write after a sync.
    w.touch((0, 0, 0), Space::Shared, 1024, Kind::Write, Strength::Weak);
    w.clean();
    w.touch((0, 0, 1), Space::Shared, 1028, Kind::Write, Strength::Weak);
    w.finds(Class::ReadWrite);
}

#[test]
fn lanes_of_one_instruction_that_write_one_byte_are_told() {
    let store = Access::weak(5, Kind::Write, 4);
    let mut addresses: [u64; 32] = std::array::from_fn(|i| 1024 + 8 * i as u64);
    let mut w = World::of(1);
    w.d.access(w.warp(0, 0), Space::Shared, &addresses, &store);
    w.clean();
    w.d.warp_sync(w.warp(0, 0));
    addresses[20] = addresses[3];
    w.d.access(w.warp(0, 0), Space::Shared, &addresses, &store);
    let race = w.d.take()[0];
    assert_eq!((race.class, race.address), (Class::SameInstruction, 1024 + 24));
    assert_eq!((race.first.expect("two lanes").who.lane, race.second.who.lane), (3, 20));

    // All lanes to one address; of the same value it is a lower class; reads and atomics are fine.
    let mut w = World::of(1);
    w.d.access_affine(w.warp(0, 0), Space::Shared, 1024, 0, &store);
    w.finds(Class::SameInstruction);
    let same = Access { agreed: ALL, ..Access::weak(6, Kind::Write, 4) };
    w.d.access_affine(w.warp(0, 0), Space::Shared, 4096, 0, &same);
    w.finds(Class::Agreed);
    w.d.access_affine(w.warp(0, 0), Space::Shared, 8192, 0, &Access::weak(7, Kind::Read, 4));
    let atomic = Access::strong(8, Kind::Atomic, 4, Strength::relaxed(Scope::Cta));
    w.d.access_affine(w.warp(0, 0), Space::Shared, 9216, 0, &atomic);
    w.clean();
}

#[test]
fn same_value_writes_are_a_lower_class() {
    let mut w = World::of(1);
    w.write(A, 64);
    let same = Access { same_value: 1, ..Access::weak(9, Kind::Write, 4) };
    w.d.access_affine(w.lanes(C), Space::Shared, 64, 0, &same);
    w.finds(Class::SameValue);
}

#[test]
fn strong_accesses_do_not_race_unless_scope_or_size_differ() {
    let relaxed = |scope| Strength::relaxed(scope);
    let cases = [
        (C, Scope::Cta, Scope::Cta, None),
        (C, Scope::Gpu, Scope::Cta, None),
        (D, Scope::Gpu, Scope::Sys, None),
        (D, Scope::Cta, Scope::Gpu, Some(Class::ScopeTooNarrow)),
        (D, Scope::Gpu, Scope::Cluster, Some(Class::ScopeTooNarrow)),
    ];
    for (other, first, second, class) in cases {
        let mut w = World::of(2);
        w.strong(A, 64, Kind::Reduce, relaxed(first));
        w.strong(other, 64, Kind::Atomic, relaxed(second));
        assert_eq!(w.found(), class.into_iter().collect::<Vec<_>>(), "{other:?} {first:?} {second:?}");
    }
    let mut w = World::of(1);
    w.strong(A, 64, Kind::Write, relaxed(Scope::Gpu));
    let wide = Access::strong(9, Kind::Read, 8, relaxed(Scope::Gpu));
    w.d.access_affine(w.lanes(C), Space::Global, 64, 0, &wide);
    w.finds(Class::MixedSize);
}

#[test]
fn a_weak_poll_of_a_strong_flag_races() {
    let mut w = World::of(2);
    w.strong(A, 64, Kind::Write, Strength::release(Scope::Gpu));
    w.read_global(D, 64);
    w.finds(Class::ReadWrite);
}

#[test]
fn a_weak_initialisation_races_with_others_atomics_even_after_the_own_one() {
    let mut w = World::of(2);
    w.write_global(A, 64);
    w.strong(A, 64, Kind::Atomic, Strength::relaxed(Scope::Gpu));
    w.strong(D, 64, Kind::Atomic, Strength::relaxed(Scope::Gpu));
    w.finds(Class::WriteWrite);
}

#[test]
fn every_one_of_several_atomics_counts() {
    let mut w = World::of(1);
    let (a, b, c) = (A, C, (0, 2, 0));
    w.strong(a, 64, Kind::Atomic, Strength::relaxed(Scope::Gpu));
    w.strong(b, 64, Kind::Atomic, Strength::relaxed(Scope::Gpu));
    // b and c meet; a does not.
    w.bar(0, 1, 0, &[1, 2], &[]);
    w.read_global(c, 64);
    w.finds(Class::ReadWrite);
}

#[test]
fn bytes_are_told_apart() {
    let byte = |site, kind| Access::weak(site, kind, 1);
    let mut w = World::of(1);
    w.d.access_affine(w.lanes(A), Space::Shared, 1024, 0, &byte(1, Kind::Write));
    w.d.access_affine(w.lanes(C), Space::Shared, 1025, 0, &byte(2, Kind::Write));
    w.d.access_affine(w.lanes((0, 2, 0)), Space::Shared, 1026, 0, &Access::weak(3, Kind::Write, 2));
    w.clean();
    w.read((0, 3, 0), 1024);
    let races = w.d.take();
    let firsts: Vec<_> = races.iter().map(|r| (r.first.expect("two").site, r.address)).collect();
    assert_eq!(firsts, [(1, 1024), (2, 1025), (3, 1026)]);
    // A wide write covers them all; then a barrier, and all is well.
    w.d.access_affine(w.lanes(A), Space::Shared, 1024, 0, &Access::weak(4, Kind::Write, 16));
    w.d.take();
    w.bar_sync(0, 0);
    w.d.access_affine(w.lanes(C), Space::Shared, 1031, 0, &byte(5, Kind::Write));
    w.clean();
}

#[test]
fn strided_scattered_and_descending_lanes_are_found_again() {
    let shapes: [fn(u64) -> u64; 4] =
        [|i| 4096 - 4 * i, |i| 1024 + 132 * i, |i| 1024 + (i ^ 5) * 16, |i| 1024 + i / 4 * 64 + (i % 4) * 4];
    for shape in shapes {
        for lane in [0u32, 1, 13, 31] {
            let addresses: [u64; 32] = std::array::from_fn(|i| shape(i as u64));
            let mut w = World::of(1);
            w.d.access(w.warp(0, 1), Space::Shared, &addresses, &Access::weak(1, Kind::Write, 4));
            w.d.access(w.warp(0, 1), Space::Shared, &addresses, &Access::weak(1, Kind::Read, 4));
            w.clean();
            w.read(A, addresses[lane as usize]);
            let race = w.d.take()[0];
            assert_eq!(race.first.expect("two").who, Who { cta: 0, warp: 1, lane });
            assert_eq!(race.address, addresses[lane as usize]);
        }
    }
}

#[test]
fn the_non_coherent_path_must_not_meet_writes_of_the_grid() {
    let nc = |site| Access::weak(site, Kind::Read, 4).via(Proxy::NonCoherent);
    // Before, after, by the same thread, ordered or not.
    let mut w = World::of(1);
    w.write_global(A, 64);
    w.d.access_affine(w.lanes(A), Space::Global, 64, 0, &nc(10));
    w.finds(Class::NonCoherent);
    let mut w = World::of(1);
    w.d.access_affine(w.lanes(A), Space::Global, 64, 0, &nc(10));
    w.read_global(A, 64);
    w.bar_sync(0, 0);
    w.write_global(C, 64);
    w.finds(Class::NonCoherent);
    // Of an earlier grid it is fine.
    let mut w = World::of(1);
    w.write_global(A, 64);
    w.d.start_grid();
    w.ctas[0] = w.d.start_cta(0, 0, 0, 4);
    w.d.access_affine(w.lanes(C), Space::Global, 64, 0, &nc(10));
    w.read_global(C, 64);
    w.clean();
}

#[test]
fn repeats_are_counted_once_reported() {
    let mut w = World::of(1);
    for i in 0..5 {
        let at = 1024 + 64 * i;
        w.d.access_affine(w.lanes(A), Space::Shared, at, 0, &Access::weak(1, Kind::Write, 4));
        w.d.access_affine(w.lanes(C), Space::Shared, at, 0, &Access::weak(2, Kind::Read, 4));
        if i == 1 {
            assert!(w.d.any());
            assert_eq!(w.d.take()[0].count, 2);
            assert!(!w.d.any());
        }
    }
    assert_eq!(w.d.take(), []);
    assert_eq!(w.d.take_repeats(), [(Class::ReadWrite, Some(1), 2, 3)]);
    assert_eq!(w.d.take_repeats(), []);
}

#[test]
fn the_list_of_races_is_bounded() {
    let mut w = World::clusters(1, 1, Options { max_races: 3, ..Options::default() });
    for _ in 0..20 {
        w.write(A, 64);
        w.write(C, 64);
    }
    assert_eq!(w.d.take().len(), 3);
}

#[test]
fn freed_memory_is_forgotten() {
    let mut w = World::of(2);
    w.write_global(A, 0x1_0000_0000);
    w.write_global(A, 0x1_0000_0010);
    w.d.forget(0x1_0000_0000, 8);
    w.write_global(D, 0x1_0000_0000);
    w.clean();
    w.write_global(D, 0x1_0000_0010);
    w.finds(Class::WriteWrite);
}

#[test]
fn a_grid_is_ordered_after_the_one_before() {
    let mut w = World::of(1);
    w.write_global(A, 64);
    w.d.start_grid();
    let cta = w.d.start_cta(0, 0, 0, 4);
    w.d.access_affine(cta.warp(2).lanes(ALL), Space::Global, 64, 0, &Access::weak(3, Kind::Read, 4));
    w.clean();
}

#[test]
fn many_lanes_that_came_one_by_one_are_all_remembered() {
    for (kind, strength) in [(Kind::Read, Strength::Weak), (Kind::Atomic, Strength::relaxed(Scope::Cta))] {
        for last in [0, 5, 11] {
            let mut w = World::of(1);
            for lane in 0..12 {
                w.touch((0, 0, lane), Space::Shared, 1024, kind, strength);
            }
            w.clean();
            // Another one comes again: all others are still in its way.
            w.write((0, 0, last), 1024);
            assert!(w.d.any(), "{kind:?} {last}");
        }
        // But not after they met.
        let mut w = World::of(1);
        for lane in 0..12 {
            w.touch((0, 0, lane), Space::Shared, 1024, kind, strength);
        }
        w.d.warp_sync(w.warp(0, 0));
        w.write((0, 0, 11), 1024);
        w.clean();
    }
}

//! Shared memory of other CTAs lives from their start to their exit.

use super::*;

const PEER: u64 = 1 << SHARED_BITS | 2048;

fn remote_read(w: &mut World) {
    w.d.access_affine(w.lanes(A), Space::Shared, PEER, 0, &Access::weak(7, Kind::Read, 4));
}

#[test]
fn a_peer_must_be_known_to_have_started() {
    let mut w = World::clusters(1, 2, Options::default());
    remote_read(&mut w);
    w.finds(Class::PeerNotStarted);
    let mut w = World::clusters(1, 2, Options::default());
    w.cluster_barrier(&[0, 1], 0, true);
    remote_read(&mut w);
    w.clean();
    // A CTA that is not there at all.
    let mut w = World::of(1);
    remote_read(&mut w);
    w.finds(Class::PeerNotStarted);
}

#[test]
fn accesses_must_come_before_the_peers_exit_whoever_is_first() {
    // The final cluster barrier is missing: found at the peer's end though the access was in time.
    let mut w = World::clusters(1, 2, Options::default());
    w.cluster_barrier(&[0, 1], 0, true);
    remote_read(&mut w);
    w.d.end_cta(w.ctas[1]);
    let race = w.d.take()[0];
    assert_eq!((race.class, race.second.site, race.address), (Class::PeerExited, 7, PEER));
    assert_eq!(race.second.who, Who { cta: 0, warp: 0, lane: 0 });
    // And too late.
    let mut w = World::clusters(1, 2, Options::default());
    w.cluster_barrier(&[0, 1], 0, true);
    w.d.end_cta(w.ctas[1]);
    remote_read(&mut w);
    w.finds(Class::PeerExited);
    // With it all is well.
    let mut w = World::clusters(1, 2, Options::default());
    w.cluster_barrier(&[0, 1], 0, true);
    remote_read(&mut w);
    w.cluster_barrier(&[0, 1], 1, true);
    w.d.end_cta(w.ctas[1]);
    w.d.end_cta(w.ctas[0]);
    w.clean();
}

#[test]
fn a_copy_that_still_reads_at_its_ctas_exit_is_told() {
    for wait in [false, true] {
        let mut w = World::of(1);
        let id = w.d.fork(&[w.lanes(A)], AsyncKind::Whole);
        w.d.access_async(id, Space::Shared, 2048, 64, &Access::weak(3, Kind::Read, 16).via(Proxy::Async));
        if wait {
            w.d.join_lanes(id, AsyncPart::Reads, w.lanes(A));
        }
        w.d.end_cta(w.ctas[0]);
        assert_eq!(w.found(), if wait { vec![] } else { vec![Class::PeerExited] });
    }
}

#[test]
fn one_instruction_may_go_to_several_ctas() {
    let mut w = World::clusters(1, 4, Options::default());
    w.cluster_barrier(&[0, 1, 2, 3], 0, true);
    let addresses: [u64; 32] = std::array::from_fn(|i| ((i as u64 % 4) << SHARED_BITS) + 1024 + 4 * i as u64);
    w.d.access(w.warp(0, 0), Space::Shared, &addresses, &Access::weak(1, Kind::Write, 4));
    w.clean();
    for (cta, lane) in [(0, 8u64), (1, 9), (2, 30), (3, 31)] {
        let at = ((cta as u64) << SHARED_BITS) + 1024 + 4 * lane;
        w.d.access_affine(w.lanes((cta, 3, 0)), Space::Shared, at, 0, &Access::weak(2, Kind::Read, 4));
        let race = w.d.take();
        if cta == 0 {
            assert_eq!((race[0].address, race[0].first.expect("two").who.lane), (at, lane as u32));
        }
    }
    assert_eq!(w.d.take_repeats(), [(Class::ReadWrite, Some(1), 2, 3)]);
    // An address of one CTA is not that of another.
    w.d.access_affine(
        w.lanes((1, 3, 0)),
        Space::Shared,
        (1 << SHARED_BITS) + 1024 + 32,
        0,
        &Access::weak(4, Kind::Write, 4),
    );
    w.clean();
}

use super::*;
use proptest::prelude::*;
use std::sync::atomic::AtomicU32;

#[test]
fn every_worker_runs_once_and_the_caller_is_the_first() {
    let pool = Pool::new(4);
    assert_eq!(pool.workers(), 4);
    let here = std::thread::current().id();
    for _ in 0..100 {
        let seen: [AtomicU32; 4] = Default::default();
        pool.run(|w| {
            assert_eq!(w.count(), 4);
            assert_eq!(w.id() == 0, std::thread::current().id() == here);
            seen[w.id()].fetch_add(1, Ordering::Relaxed);
        });
        assert!(seen.iter().all(|s| s.load(Ordering::Relaxed) == 1));
    }
}

/// Each worker adds to its cell in every phase and checks all cells after the barrier. Few workers meet all to
/// all, many through the first; most counts here are more than this machine has processors.
#[test]
fn what_was_written_before_a_barrier_is_read_after_it() {
    for workers in [1, 2, 3, 8, 9, 13] {
        let pool = Pool::new(workers);
        let cells: Vec<AtomicUsize> = (0..workers).map(|_| AtomicUsize::new(0)).collect();
        let phases = 300;
        pool.run(|w| {
            for phase in 0..phases {
                cells[w.id()].store(phase + 1, Ordering::Relaxed);
                w.barrier();
                assert!(cells.iter().all(|c| c.load(Ordering::Relaxed) == phase + 1));
                w.barrier();
            }
        });
    }
}

#[test]
fn parked_workers_wake() {
    let pool = Pool::new(3);
    let count = AtomicU32::new(0);
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(10));
        pool.run(|_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
    }
    assert_eq!(count.load(Ordering::Relaxed), 15);
}

#[test]
fn a_panic_frees_the_others_and_reaches_the_caller() {
    let pool = Pool::new(3);
    for bad in 0..3 {
        for barriers_before in [0, 2] {
            let run = || {
                pool.run(|w| {
                    (0..barriers_before).for_each(|_| w.barrier());
                    if w.id() == bad {
                        panic!("worker {bad} is out");
                    }
                    w.barrier();
                });
            };
            let payload = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
            assert_eq!(*payload.downcast::<String>().unwrap(), format!("worker {bad} is out"));
        }
        // The pool is as good as before.
        let count = AtomicU32::new(0);
        pool.run(|w| {
            w.barrier();
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }
}

#[test]
fn unequal_numbers_of_barriers_are_reported() {
    for workers in [2, 9] {
        for early in [0, 1] {
            let pool = Pool::new(workers);
            let run = || {
                pool.run(|w| {
                    if w.id() != early {
                        w.barrier();
                    }
                });
            };
            let payload = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
            assert!(payload.downcast::<&str>().unwrap().contains("left the run"));
        }
    }
}

#[test]
fn a_run_inside_a_run_is_done_by_the_asking_worker() {
    let pool = Pool::new(2);
    let inner = AtomicU32::new(0);
    pool.run(|w| {
        pool.run(|alone| {
            assert_eq!((alone.id(), alone.count(), alone.share(10, 3)), (0, 1, 0..10));
            alone.barrier();
            inner.fetch_add(1, Ordering::Relaxed);
        });
        w.barrier();
    });
    assert_eq!(inner.load(Ordering::Relaxed), 2);
    let other = Pool::new(2);
    pool.run(|w| {
        if w.id() == 0 {
            other.run(|o| {
                o.barrier();
                inner.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(inner.load(Ordering::Relaxed), 4);
}

#[test]
fn callers_from_several_threads_take_turns() {
    let pool = Pool::new(2);
    let busy = AtomicBool::new(false);
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for _ in 0..50 {
                    pool.run(|w| {
                        if w.id() == 0 {
                            assert!(!busy.swap(true, Ordering::SeqCst));
                        }
                        w.barrier();
                        w.barrier();
                        if w.id() == 0 {
                            busy.store(false, Ordering::SeqCst);
                        }
                    });
                }
            });
        }
    });
}

#[test]
fn pieces_cover_the_data() {
    let pool = Pool::new(3);
    for len in [0, 1, 7, 64, 100] {
        let mut data = vec![0usize; len];
        pool.for_each_piece(&mut data, 7, |i, piece| {
            assert!(piece.len() == 7 || (i + 1) * 7 > len);
            piece.iter_mut().for_each(|x| *x += i + 1);
        });
        assert!(data.iter().enumerate().all(|(i, x)| *x == i / 7 + 1));
    }
}

#[test]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn workers_flush_subnormals_and_the_caller_gets_its_setting_back() {
    let half = |x: f32| std::hint::black_box(x) * std::hint::black_box(0.5);
    for workers in [1, 2] {
        Pool::new(workers).run(|_| assert_eq!(half(f32::MIN_POSITIVE), 0.0));
        assert!(half(f32::MIN_POSITIVE) > 0.0);
    }
}

#[test]
fn a_counter_gives_everything_once() {
    let pool = Pool::new(4);
    let counter = Counter::new();
    for n in [0, 1, 1000] {
        let sum = AtomicUsize::new(0);
        pool.run(|w| {
            while let Some(range) = counter.take(n, 7) {
                sum.fetch_add(range.sum::<usize>(), Ordering::Relaxed);
            }
            w.barrier();
            if w.id() == 0 {
                counter.reset();
            }
        });
        assert_eq!(sum.into_inner(), n * n.saturating_sub(1) / 2);
    }
}

proptest! {
    #[test]
    fn shares_are_whole_grains_in_order_and_even(n in 0usize..10_000, grain in 0usize..40, count in 1usize..20) {
        let mut next = 0;
        let (mut least, mut most) = (usize::MAX, 0);
        for id in 0..count {
            let r = share(id, count, n, grain);
            prop_assert_eq!(r.start, next);
            prop_assert!(r.start == n || r.start.is_multiple_of(grain.max(1)));
            let grains = r.len().div_ceil(grain.max(1));
            (least, most) = (least.min(grains), most.max(grains));
            next = r.end;
        }
        prop_assert_eq!(next, n);
        prop_assert!(most - least <= 1);
    }
}

//! One pool of workers that run the same closure together.
//!
//! [`Pool::run`] hands a closure to every worker, the calling thread being worker 0, and returns when all are
//! through. Inside, workers split the work by their number ([`Worker::share`]) and meet at barriers
//! ([`Worker::barrier`]); a whole token or a whole block of a prompt is one run. Nothing is allocated per run.
//!
//! Waiting is spinning for some ten microseconds, then yielding; a worker without a run parks after about a
//! millisecond. Each worker says how far it is in a cache line of its own, so a barrier costs one write and one
//! read per peer (all to all up to eight workers, through worker 0 above).
//!
//! Workers, the caller included, run with subnormal numbers flushed to zero ([`FlushSubnormals`]).
//!
//! A panic in one worker releases the others from their barriers, and goes on in the caller. A run inside a run
//! of the same pool is executed by the one worker that asked for it.
#![allow(unsafe_code, reason = "lends a closure and its borrows to the workers for the length of a run")]

use super::float_env::FlushSubnormals;
use super::topology::default_workers;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// `spin_loop` hints before a waiting worker yields: 18 µs on Zen 4, 40 µs on Skylake and later.
const SPINS: u32 = 1000;
/// The same where there are more workers than processors, so that whom we wait for can run.
const SPINS_CROWDED: u32 = 16;
/// How long a worker without a run yields before it parks.
const PARK_AFTER: Duration = Duration::from_millis(1);
/// All-to-all barriers up to this many workers.
const ALL_TO_ALL: usize = 8;
/// More workers than any machine has cores.
const MAX_WORKERS: usize = 1024;
/// Bit in a worker's flag: it has left the run.
const LEFT: u64 = 1 << 63;

/// A value in cache lines of its own; two, because some machines fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line<T>(T);

/// A closure lent to the workers.
#[derive(Clone, Copy)]
struct Job {
    data: *const (),
    /// Calls the closure behind `data`.
    call: unsafe fn(*const (), &Worker<'_>),
}

/// What one worker tells the others.
#[derive(Default)]
struct Signal {
    /// Barriers of this run it has arrived at, and [`LEFT`] from when it is through.
    arrived: AtomicU64,
    parked: AtomicBool,
}

struct Shared {
    /// Number of the current run; 0 is none yet.
    run: Line<AtomicU64>,
    /// The closure of the current run; `None` tells the workers to end.
    job: UnsafeCell<Option<Job>>,
    signals: Box<[Line<Signal>]>,
    /// Barriers that worker 0 has opened, where it does.
    opened: Line<AtomicU64>,
    /// A worker panicked in this run.
    failed: Line<AtomicBool>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    spins: u32,
}

// SAFETY: `job` is written by the caller only while every worker waits for a run, and published by `run`. The
// closure behind it is `Sync` by the bound of `Pool::run`.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

thread_local! {
    /// The pool whose run this thread is in, by the address of its shared part.
    static INSIDE: Cell<*const Shared> = const { Cell::new(std::ptr::null()) };
}

/// The payload that takes a worker out of a run in which another one panicked.
struct Released;

/// Persistent workers; the thread that calls [`run`](Self::run) is the first of them.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Runs from several threads take turns.
    turn: Mutex<()>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("workers", &self.workers()).finish_non_exhaustive()
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Pool {
    /// A pool of `workers` workers, the caller of each run included; 0 takes one for each physical core that the
    /// process may use. Where the system refuses a thread, the pool has fewer ([`workers`](Self::workers)).
    pub fn new(workers: usize) -> Self {
        let wanted = if workers == 0 { default_workers() } else { workers.min(MAX_WORKERS) };
        let mut count = wanted;
        loop {
            match Self::start(count) {
                Ok(pool) => return pool,
                Err(started) => {
                    tracing::warn!("the system gave {} of {wanted} workers; going on with them", started + 1);
                    count = started + 1;
                }
            }
        }
    }

    /// Starts the threads, or says how many could be started.
    fn start(count: usize) -> Result<Self, usize> {
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
        let shared = Arc::new(Shared {
            run: Line::default(),
            job: UnsafeCell::new(None),
            signals: (0..count).map(|_| Line::default()).collect(),
            opened: Line::default(),
            failed: Line::default(),
            panic: Mutex::new(None),
            spins: if count > processors { SPINS_CROWDED } else { SPINS },
        });
        let mut pool = Self { shared, threads: Vec::with_capacity(count - 1), turn: Mutex::new(()) };
        for id in 1..count {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new().name(format!("jet-{id}"));
            match thread.spawn(move || serve(&shared, id)) {
                Ok(handle) => pool.threads.push(handle),
                Err(_) => return Err(pool.threads.len()),
            }
        }
        Ok(pool)
    }

    /// Number of workers, the caller included.
    pub fn workers(&self) -> usize {
        self.threads.len() + 1
    }

    /// Runs `f` on every worker and returns when all are through.
    ///
    /// All workers must come to the same barriers. A panic of any worker goes on in the caller; so does leaving
    /// the closure while another worker waits at a barrier. Calls from several threads take turns; inside a run
    /// of this pool, `f` is run by the asking worker alone, as the only one of one.
    pub fn run<F: Fn(&Worker<'_>) + Sync>(&self, f: F) {
        let shared = &*self.shared;
        if self.threads.is_empty() || INSIDE.get() == std::ptr::from_ref(shared) {
            let _flush = FlushSubnormals::new();
            return f(&Worker { id: 0, count: 1, barriers: Cell::new(0), shared: None });
        }
        let turn = lock(&self.turn);
        for s in &shared.signals {
            s.0.arrived.store(0, Ordering::Relaxed);
        }
        shared.opened.0.store(0, Ordering::Relaxed);
        // SAFETY: the turn is ours and the workers wait for a run, so nobody reads the job.
        unsafe { *shared.job.get() = Some(Job { data: std::ptr::from_ref(&f).cast(), call: call::<F> }) };
        self.publish();
        {
            let _flush = FlushSubnormals::new();
            shared.work(0, |w| f(w));
        }
        // `f` and what it borrows must outlive every worker's use of them, so nothing may return before this.
        for s in &shared.signals[1..] {
            shared.wait(|| s.0.arrived.load(Ordering::Acquire) & LEFT != 0);
        }
        let failed = shared.failed.0.swap(false, Ordering::Relaxed);
        let payload = failed.then(|| lock(&shared.panic).take()).flatten();
        drop(turn);
        if let Some(payload) = payload {
            resume_unwind(payload);
        }
    }

    /// Starts a run, or the end: raises the number and wakes who parked.
    fn publish(&self) {
        // Sequentially consistent with `Shared::next_run`: either the worker sees the new number, or we see that
        // it parked.
        self.shared.run.0.fetch_add(1, Ordering::SeqCst);
        for (signal, thread) in self.shared.signals[1..].iter().zip(&self.threads) {
            if signal.0.parked.load(Ordering::SeqCst) {
                thread.thread().unpark();
            }
        }
    }

    /// Cuts `data` into pieces of `len` elements (the last may be shorter) and hands each, with its number, to
    /// `f` on some worker; pieces are shared out evenly.
    pub fn for_each_piece<T: Send>(&self, data: &mut [T], len: usize, f: impl Fn(usize, &mut [T]) + Sync) {
        let (total, len) = (data.len(), len.max(1));
        let base = SendPtr(data.as_mut_ptr());
        self.run(|w| {
            for i in w.share(total.div_ceil(len), 1) {
                let range = i * len..((i + 1) * len).min(total);
                // SAFETY: inside `data`, which this call holds mutably; the pieces are disjoint and each is one
                // worker's, because `share` gives every number to one worker.
                let piece = unsafe { std::slice::from_raw_parts_mut(base.at(range.start), range.len()) };
                f(i, piece);
            }
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: `&mut self`: no run is under way, so nobody reads the job.
        unsafe { *self.shared.job.get() = None };
        self.publish();
        for t in self.threads.drain(..) {
            // A worker catches the panics of closures and has none of its own.
            let _ = t.join();
        }
    }
}

/// A pointer that may go to other threads; its user says why.
struct SendPtr<T>(*mut T);

impl<T> SendPtr<T> {
    fn at(&self, i: usize) -> *mut T {
        self.0.wrapping_add(i)
    }
}

// SAFETY: only `for_each_piece` uses it, for disjoint pieces of `Send` elements.
unsafe impl<T: Send> Sync for SendPtr<T> {}

/// # Safety
/// `data` points to a live `F`.
unsafe fn call<F: Fn(&Worker<'_>) + Sync>(data: *const (), worker: &Worker<'_>) {
    // SAFETY: the caller's promise.
    unsafe { (*data.cast::<F>())(worker) }
}

/// A lock whose poison says nothing: what it guards is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What every worker but the caller does for the length of its life.
fn serve(shared: &Shared, id: usize) {
    INSIDE.set(std::ptr::from_ref(shared));
    let _flush = FlushSubnormals::new();
    let mut seen = 0;
    loop {
        seen = shared.next_run(id, seen);
        // SAFETY: the run was published after the job was written, and the caller does not write it again before
        // this worker has left.
        let Some(job) = (unsafe { *shared.job.get() }) else { return };
        // SAFETY: the closure lives until every worker has left the run.
        shared.work(id, |w| unsafe { (job.call)(job.data, w) });
    }
}

impl Shared {
    /// Runs `f` as worker `id`, keeps its panic, and leaves the run.
    fn work(&self, id: usize, f: impl FnOnce(&Worker<'_>)) {
        let outside = INSIDE.replace(std::ptr::from_ref(self));
        let worker = Worker { id, count: self.signals.len(), barriers: Cell::new(0), shared: Some(self) };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| f(&worker))) {
            if !payload.is::<Released>() {
                lock(&self.panic).get_or_insert(payload);
            }
            self.failed.0.store(true, Ordering::Release);
        }
        INSIDE.set(outside);
        self.signals[id].0.arrived.fetch_or(LEFT, Ordering::Release);
    }

    /// Waits for a run after number `seen`: spinning, yielding, parked.
    fn next_run(&self, id: usize, seen: u64) -> u64 {
        let news = || self.run.0.load(Ordering::Acquire) != seen;
        for _ in 0..self.spins {
            if news() {
                return seen + 1;
            }
            std::hint::spin_loop();
        }
        let begin = Instant::now();
        while begin.elapsed() < PARK_AFTER {
            if news() {
                return seen + 1;
            }
            std::thread::yield_now();
        }
        let parked = &self.signals[id].0.parked;
        // Sequentially consistent with `Pool::publish`: either we see the new number here, or the publisher sees
        // that we parked and wakes us.
        parked.store(true, Ordering::SeqCst);
        while self.run.0.load(Ordering::SeqCst) == seen {
            std::thread::park();
        }
        parked.store(false, Ordering::Relaxed);
        seen + 1
    }

    /// Waits for `done`: spinning, then yielding.
    fn wait(&self, mut done: impl FnMut() -> bool) {
        for _ in 0..self.spins {
            if done() {
                return;
            }
            std::hint::spin_loop();
        }
        while !done() {
            std::thread::yield_now();
        }
    }

    /// Waits until `flag` has come to `barrier`. Unwinds where it never will: `setter`, whose part that is, has
    /// left the run, or another worker failed.
    fn wait_for(&self, flag: &AtomicU64, setter: &AtomicU64, barrier: u64) {
        let mut arrived = false;
        self.wait(|| {
            // In this order: a worker that left has set its flags before.
            let never = setter.load(Ordering::Acquire) & LEFT != 0 || self.failed.0.load(Ordering::Acquire);
            arrived = flag.load(Ordering::Acquire) & !LEFT >= barrier;
            arrived || never
        });
        if !arrived {
            // A worker that failed has left as well; its own panic is the one to show.
            if self.failed.0.load(Ordering::Acquire) {
                resume_unwind(Box::new(Released));
            }
            panic!(
                "a worker left the run while another one waits at a barrier; all must come to the same barriers"
            );
        }
    }

    fn barrier(&self, id: usize, barrier: u64) {
        let flag = |worker: usize| &self.signals[worker].0.arrived;
        let meet_all = || {
            for peer in (0..self.signals.len()).filter(|peer| *peer != id) {
                self.wait_for(flag(peer), flag(peer), barrier);
            }
        };
        flag(id).store(barrier, Ordering::Release);
        if self.signals.len() <= ALL_TO_ALL {
            meet_all();
        } else if id == 0 {
            meet_all();
            self.opened.0.store(barrier, Ordering::Release);
        } else {
            self.wait_for(&self.opened.0, flag(0), barrier);
        }
    }
}

/// One worker inside a run.
pub struct Worker<'a> {
    id: usize,
    count: usize,
    /// Barriers of this run it has passed. The cell also keeps a worker on its thread.
    barriers: Cell<u64>,
    /// `None` for the only worker of one.
    shared: Option<&'a Shared>,
}

impl std::fmt::Debug for Worker<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Worker({} of {})", self.id, self.count)
    }
}

impl Worker<'_> {
    /// Number of this worker, from 0; the caller of the run is 0.
    pub fn id(&self) -> usize {
        self.id
    }

    /// Workers in this run.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Waits until every worker of the run is here. What one wrote before, all can read after.
    pub fn barrier(&self) {
        if let Some(shared) = self.shared {
            self.barriers.set(self.barriers.get() + 1);
            shared.barrier(self.id, self.barriers.get());
        }
    }

    /// This worker's share of `0..n` in whole grains (the last one may be short): the same on every call, the
    /// shares in order, their sizes at most one grain apart.
    pub fn share(&self, n: usize, grain: usize) -> Range<usize> {
        share(self.id, self.count, n, grain)
    }
}

/// The share of worker `id` of `count`; see [`Worker::share`].
pub fn share(id: usize, count: usize, n: usize, grain: usize) -> Range<usize> {
    let grain = grain.max(1);
    let grains = n.div_ceil(grain);
    let start = |w: usize| (grains / count * w + (grains % count).min(w)) * grain;
    start(id).min(n)..start(id + 1).min(n)
}

/// Hands out `0..n` in chunks to whoever comes, for work whose parts take unequal times.
///
/// One worker resets it while nobody takes from it, that is between two barriers.
#[derive(Debug, Default)]
pub struct Counter(Line<AtomicUsize>);

impl Counter {
    /// A counter at 0.
    pub const fn new() -> Self {
        Self(Line(AtomicUsize::new(0)))
    }

    /// The next `grain` of `0..n`, or fewer at the end; `None` when all are taken.
    pub fn take(&self, n: usize, grain: usize) -> Option<Range<usize>> {
        let grain = grain.max(1);
        let start = self.0.0.fetch_add(grain, Ordering::Relaxed);
        (start < n).then(|| start..(start + grain).min(n))
    }

    /// Back to 0.
    pub fn reset(&self) {
        self.0.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;

//! Many compilations at once, each with a deadline.

use super::{Compiled, CubinStore, Nvrtc, NvrtcError, Output};
use crate::arch::Arch;
use std::collections::VecDeque;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One compilation.
#[derive(Clone, Debug)]
pub struct Job {
    /// The source.
    pub source: Arc<str>,
    /// The architecture.
    pub arch: &'static Arch,
    /// What is wanted.
    pub output: Output,
}

/// When each job began, for its deadline.
enum Event {
    Began(usize),
    Done(usize, Result<Compiled, NvrtcError>),
}

/// Compiles `jobs` on `threads` threads (0: as many as there are cores), each within `deadline`, and gives their
/// results in order. What `store` has is not compiled.
///
/// A compilation cannot be interrupted: one that overruns is given up, its thread is left to end by itself, and another
/// takes its place.
pub fn compile_all(
    nvrtc: &'static Nvrtc,
    jobs: &[Job],
    threads: usize,
    deadline: Duration,
    store: Option<&CubinStore>,
) -> Vec<Result<Compiled, NvrtcError>> {
    let work = move |job: &Job, store: Option<&CubinStore>| {
        let compile = || nvrtc.compile(&job.source, job.arch, job.output);
        match store {
            Some(s) => s.get_or_compile((&job.source, job.arch, job.output), &nvrtc.version(), compile),
            None => compile(),
        }
    };
    run(jobs, threads, deadline, store, work)
}

pub(super) fn run(
    jobs: &[Job],
    threads: usize,
    deadline: Duration,
    store: Option<&CubinStore>,
    work: impl Fn(&Job, Option<&CubinStore>) -> Result<Compiled, NvrtcError> + Clone + Send + 'static,
) -> Vec<Result<Compiled, NvrtcError>> {
    let threads =
        if threads == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { threads };
    let queue: Arc<Mutex<VecDeque<(usize, Job)>>> =
        Arc::new(Mutex::new(jobs.iter().cloned().enumerate().collect()));
    let (send, events) = mpsc::channel();
    let spawn = || {
        let (queue, send, store, work) = (Arc::clone(&queue), send.clone(), store.cloned(), work.clone());
        std::thread::spawn(move || {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some((i, job)) = next else { break };
                // A receiver that is gone has given this job up.
                if send.send(Event::Began(i)).is_err()
                    || send.send(Event::Done(i, work(&job, store.as_ref()))).is_err()
                {
                    break;
                }
            }
        });
    };
    (0..threads.min(jobs.len())).for_each(|_| spawn());
    let mut results: Vec<Option<Result<Compiled, NvrtcError>>> = jobs.iter().map(|_| None).collect();
    let mut began: Vec<Option<Instant>> = vec![None; jobs.len()];
    while results.iter().any(Option::is_none) {
        let ends = |i: usize| began[i].filter(|_| results[i].is_none()).map(|b| b + deadline);
        let next = (0..jobs.len()).filter_map(ends).min();
        let wait = next.map_or(deadline, |t| t.saturating_duration_since(Instant::now()));
        match events.recv_timeout(wait) {
            Ok(Event::Began(i)) => began[i] = Some(Instant::now()),
            // A result after the deadline was already told as late.
            Ok(Event::Done(i, result)) => {
                results[i].get_or_insert(result);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                for i in 0..jobs.len() {
                    if results[i].is_none() && began[i].is_some_and(|b| b.elapsed() >= deadline) {
                        results[i] = Some(Err(NvrtcError::Deadline { seconds: deadline.as_secs_f64() }));
                        spawn();
                    }
                }
            }
        }
    }
    results.into_iter().map(|r| r.unwrap_or(Err(NvrtcError::Lost))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch;

    fn jobs(names: &[&str]) -> Vec<Job> {
        let arch = arch::parse("sm_80").unwrap();
        names.iter().map(|n| Job { source: Arc::from(*n), arch, output: Output::Ptx }).collect()
    }

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        let names: Vec<String> = (0..20).map(|i| i.to_string()).collect();
        let list = jobs(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let work = |job: &Job, _: Option<&CubinStore>| {
            Ok(Compiled { ptx: format!("ptx of {}", job.source), ..Compiled::default() })
        };
        let all = run(&list, 3, Duration::from_secs(60), None, work);
        for (i, r) in all.into_iter().enumerate() {
            assert_eq!(r.unwrap().ptx, format!("ptx of {i}"));
        }
    }

    #[test]
    fn one_that_overruns_is_given_up_and_the_others_are_done() {
        let work = |job: &Job, _: Option<&CubinStore>| {
            if &*job.source == "slow" {
                std::thread::sleep(Duration::from_secs(30));
            }
            Ok(Compiled::default())
        };
        let begin = Instant::now();
        let all = run(&jobs(&["slow", "a", "b"]), 1, Duration::from_millis(100), None, work);
        assert!(matches!(all[0], Err(NvrtcError::Deadline { .. })), "{:?}", all[0]);
        assert!(all[1].is_ok() && all[2].is_ok());
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
}

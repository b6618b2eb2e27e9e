//! What stands between a race and the device: a workbench around a workbench.
//!
//! The race asks for one candidate after the other. The guard answers from the journal what an interrupted run has found
//! already, turns away what is known to fail and what is not worth trying any more, writes each launch down before it
//! happens, remembers failures with their kind, and gives the default a second chance where the fault was not its own.

use crate::book::Book;
use crate::journal::{Journal, Past};
use crate::subject::{Details, Errors, Fault, Subject, Workbench};
use crate::tasks::Task;
use jet_cache::{CandidateKey, Failure, FailureKind, Grade, Provenance, TaskKey};
use jet_codegen::schedule::{Family, Problem, Values};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// Why a candidate is not in the race.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It failed.
    Failed {
        /// How; `None` where it is not to blame.
        kind: Option<FailureKind>,
        /// In words.
        reason: String,
        /// Whether an earlier run had found that out.
        known: bool,
    },
    /// It was not worth trying.
    Pruned(String),
}

/// What the guard knows of a task's candidates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    pub(crate) fates: BTreeMap<Values, Fate>,
    pub(crate) details: BTreeMap<Values, Details>,
    /// Whether the problem could be set up at all.
    pub(crate) opened: bool,
    /// Seconds that a run takes at least.
    pub(crate) bound: Option<f64>,
    /// The fastest timing so far, in seconds per run.
    best: Option<f64>,
    /// Steps that were answered from the journal.
    pub(crate) replayed: usize,
    /// What a step could not be written down for.
    fault: Option<String>,
}

/// How a guard works.
pub(crate) struct Rules {
    /// A search ends when its best is within this part of the bound, as in 0.05.
    pub(crate) stop_within: Option<f64>,
    /// Try again what is known to fail.
    pub(crate) retry_failed: bool,
    /// Who found a failure out.
    pub(crate) provenance: Provenance,
}

/// A workbench for one task.
pub(crate) struct Guard<'a, 'b> {
    bench: &'a dyn Workbench,
    task: &'a Task,
    default: Values,
    rules: Rules,
    book: RefCell<&'b mut dyn Book>,
    journal: Option<&'a Mutex<Journal>>,
    notes: RefCell<Notes>,
}

impl<'a, 'b> Guard<'a, 'b> {
    pub(crate) fn new(
        bench: &'a dyn Workbench,
        task: &'a Task,
        default: Values,
        rules: Rules,
        book: &'b mut dyn Book,
        journal: Option<&'a Mutex<Journal>>,
    ) -> Self {
        Self { bench, task, default, rules, book: RefCell::new(book), journal, notes: RefCell::default() }
    }

    /// What was learned.
    pub(crate) fn notes(&self) -> Notes {
        self.notes.borrow().clone()
    }

    /// What could not be written down, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        self.notes.borrow().fault.clone()
    }

    fn candidate(&self, values: &Values) -> CandidateKey {
        CandidateKey::new(&self.task.key, &self.bench.toolchain(), &values.0)
    }

    /// Writes a step into the journal. What cannot be written stops the run after this task, not in its middle.
    fn write(&self, step: impl FnOnce(&mut Journal) -> Result<(), crate::TuneError>) {
        let Some(journal) = self.journal else { return };
        let written = step(&mut journal.lock().unwrap_or_else(PoisonError::into_inner));
        if let Err(e) = written {
            self.notes.borrow_mut().fault = Some(e.to_string());
        }
    }

    /// Why a candidate that was not tried yet must not be tried.
    fn turned_away(&self, values: &Values) -> Option<Fate> {
        if *values == self.default {
            return None;
        }
        let known = |kind, reason: String| Fate::Failed { kind: Some(kind), reason, known: true };
        let journal = self.journal.map(|j| j.lock().unwrap_or_else(PoisonError::into_inner));
        let strikes = journal.and_then(|journal| journal.strikes(&self.task.key, values));
        if let Some(runs) = strikes.filter(|_| !self.rules.retry_failed) {
            let reason = format!("{runs} runs in a row ended while it was being tried");
            self.remember(values, FailureKind::Crashed, &reason);
            return Some(known(FailureKind::Crashed, reason));
        }
        let failure = self.book.borrow_mut().rejection(&self.candidate(values));
        match failure {
            Some(_) if self.rules.retry_failed => {
                let forgiven = self.book.borrow_mut().forgive(&self.candidate(values));
                if let Err(e) = forgiven {
                    self.notes.borrow_mut().fault = Some(e.to_string());
                }
            }
            Some(failure) => {
                return Some(known(failure.kind, format!("known from an earlier run: {}", failure.reason)));
            }
            None => {}
        }
        let notes = self.notes.borrow();
        let (bound, best, within) = (notes.bound?, notes.best?, self.rules.stop_within?);
        let reason = || format!("the best is within {:.1} % of the bound", (best / bound - 1.0) * 100.0);
        (best <= bound * (1.0 + within)).then(|| Fate::Pruned(reason()))
    }

    fn remember(&self, values: &Values, kind: FailureKind, reason: &str) {
        // Whether the default works is asked anew each time: everything is compared with it.
        if *values == self.default {
            return;
        }
        let provenance = self.rules.provenance.clone();
        let failure = Failure { key: self.candidate(values), kind, reason: reason.to_owned(), provenance };
        let stored = self.book.borrow_mut().reject(&failure);
        if let Err(e) = stored {
            self.notes.borrow_mut().fault = Some(e.to_string());
        }
    }
}

impl Workbench for Guard<'_, '_> {
    fn families(&self) -> &[&dyn Family] {
        self.bench.families()
    }

    fn open(&self, problem: &Problem) -> Result<Box<dyn Subject + '_>, String> {
        let inner = self.bench.open(problem)?;
        let mut notes = self.notes.borrow_mut();
        notes.opened = true;
        notes.bound = self.bench.bound(inner.floor()).filter(|bound| *bound > 0.0);
        Ok(Box::new(Watched {
            guard: self,
            inner,
            values: Values::default(),
            live: false,
            past: BTreeMap::new(),
            seen: BTreeSet::new(),
            details: Details::default(),
            fault: None,
            chances: 1,
        }))
    }

    fn reference(&self) -> String {
        self.bench.reference()
    }

    fn toolchain(&self) -> String {
        self.bench.toolchain()
    }

    fn conditions(&self) -> BTreeMap<String, String> {
        self.bench.conditions()
    }

    fn grade(&self) -> Grade {
        self.bench.grade()
    }

    fn bound(&self, floor: (u64, u64)) -> Option<f64> {
        self.bench.bound(floor)
    }

    fn usable(&self) -> Result<(), String> {
        self.bench.usable()
    }
}

/// A subject that is watched.
struct Watched<'g, 'a, 'b> {
    guard: &'g Guard<'a, 'b>,
    inner: Box<dyn Subject + 'g>,
    values: Values,
    /// Whether `values` is prepared on the device: not, where its answers come from the journal.
    live: bool,
    past: BTreeMap<Values, Past>,
    /// Candidates that were validated, by whatever means.
    seen: BTreeSet<Values>,
    details: Details,
    fault: Option<Fault>,
    /// How often the default may still be tried again.
    chances: usize,
}

impl Watched<'_, '_, '_> {
    fn key(&self) -> &TaskKey {
        &self.guard.task.key
    }

    /// Notes why the candidate at hand is out, and gives the reason.
    fn out(&mut self, fate: Fate) -> String {
        let (kind, reason) = match &fate {
            Fate::Failed { kind, reason, .. } => (*kind, reason.clone()),
            Fate::Pruned(reason) => (None, reason.clone()),
        };
        self.fault = Some(Fault { kind, reason: reason.clone() });
        self.live = false;
        self.guard.notes.borrow_mut().fates.insert(self.values.clone(), fate);
        reason
    }

    /// What the candidate at hand has done; `usual` where the device does not know better.
    fn blame(&self, usual: FailureKind) -> Option<FailureKind> {
        self.inner.fault().map_or(Some(usual), |fault| fault.kind)
    }

    /// The candidate at hand has failed on the device just now.
    fn failed(&mut self, kind: Option<FailureKind>, reason: String) -> String {
        self.guard.write(|journal| journal.failed(self.key(), &self.values, kind, &reason));
        if let Some(kind) = kind {
            self.guard.remember(&self.values, kind, &reason);
        }
        self.out(Fate::Failed { kind, reason, known: false })
    }

    /// The candidate at hand has failed in the run that is resumed.
    fn failed_before(&mut self, kind: Option<FailureKind>, reason: String) -> String {
        self.guard.notes.borrow_mut().replayed += 1;
        self.out(Fate::Failed { kind, reason, known: false })
    }

    /// Whether what just happened may be tried again: the default fell with its worker, which may have been ended from
    /// outside.
    fn again(&mut self) -> bool {
        let crashed = self.inner.fault().is_some_and(|fault| fault.kind == Some(FailureKind::Crashed));
        let again = crashed && self.values == self.guard.default && self.chances > 0;
        self.chances -= usize::from(again);
        again
    }

    /// Makes the candidate at hand the device's.
    fn start(&mut self) -> Result<(), String> {
        if self.live {
            return Ok(());
        }
        let first = !self.seen.contains(&self.values);
        self.guard.write(|journal| journal.started(self.key(), &self.values, first));
        let mut prepared = self.inner.prepare(&self.values);
        if prepared.is_err() && self.again() {
            prepared = self.inner.prepare(&self.values);
        }
        self.live = prepared.is_ok();
        prepared.map_err(|reason| self.failed(self.blame(FailureKind::DoesNotCompile), reason))
    }

    fn timing(&mut self, runs: usize, seconds: f64) -> f64 {
        let per_run = seconds / runs.max(1) as f64;
        let mut notes = self.guard.notes.borrow_mut();
        notes.best = Some(notes.best.map_or(per_run, |best| best.min(per_run)));
        seconds
    }

    /// The next timing that the journal has for the candidate at hand.
    fn recorded(&mut self, runs: usize) -> Option<f64> {
        let past = self.past.get_mut(&self.values)?;
        if past.times.front().is_some_and(|(of, _)| *of != runs) {
            // The race goes another way than before: what follows belongs to the other.
            past.times.clear();
        }
        if let Some((_, seconds)) = past.times.pop_front() {
            self.guard.notes.borrow_mut().replayed += 1;
            return Some(self.timing(runs, seconds));
        }
        let (kind, reason) = past.failed.take()?;
        self.failed_before(kind, reason);
        Some(f64::NAN)
    }
}

impl Subject for Watched<'_, '_, '_> {
    fn prepare(&mut self, values: &Values) -> Result<(), String> {
        (self.values, self.live, self.fault) = (values.clone(), false, None);
        let out = self.guard.notes.borrow().fates.get(values).cloned();
        if let Some(fate) = out {
            return Err(self.out(fate));
        }
        if !self.seen.contains(values) {
            if let Some(fate) = self.guard.turned_away(values) {
                return Err(self.out(fate));
            }
            let journal = self.guard.journal.map(|j| j.lock().unwrap_or_else(PoisonError::into_inner));
            let past =
                journal.map(|mut journal| journal.past(&self.guard.task.key, values)).unwrap_or_default();
            self.past.insert(values.clone(), past);
        }
        let past = self.past.entry(values.clone()).or_default();
        if past.validated.is_none()
            && past.times.is_empty()
            && let Some((kind, reason)) = past.failed.take()
        {
            return Err(self.failed_before(kind, reason));
        }
        // What the journal will answer needs no device.
        let answered = past.validated.is_some() || !past.times.is_empty();
        if answered { Ok(()) } else { self.start() }
    }

    fn validate(&mut self) -> Result<Errors, String> {
        let recorded = self.past.get_mut(&self.values).and_then(|past| past.validated.take());
        let (errors, details) = match recorded {
            Some(recorded) => {
                self.guard.notes.borrow_mut().replayed += 1;
                recorded
            }
            None => {
                self.start()?;
                let mut errors = self.inner.validate();
                if errors.is_err() && self.again() {
                    errors = self.inner.prepare(&self.values).and_then(|()| self.inner.validate());
                }
                let errors =
                    errors.map_err(|reason| self.failed(self.blame(FailureKind::Crashed), reason))?;
                let details = self.inner.details();
                self.guard.write(|journal| journal.validated(self.key(), &self.values, errors, details));
                (errors, details)
            }
        };
        self.details = details;
        self.seen.insert(self.values.clone());
        self.guard.notes.borrow_mut().details.insert(self.values.clone(), details);
        if !errors.acceptable() {
            let reason = format!("relative error {:.2e}, allowed {:.2e}", errors.rel_rms, errors.allowed);
            self.failed(Some(FailureKind::WrongOutput), reason);
        }
        Ok(errors)
    }

    fn time(&mut self, runs: usize) -> f64 {
        if let Some(seconds) = self.recorded(runs) {
            return seconds;
        }
        if self.start().is_err() {
            return f64::NAN;
        }
        let good = |seconds: f64| seconds.is_finite() && seconds > 0.0;
        let mut seconds = self.inner.time(runs);
        if !good(seconds) && self.again() && self.inner.prepare(&self.values).is_ok() {
            seconds = self.inner.time(runs);
        }
        if good(seconds) {
            self.guard.write(|journal| journal.timed(self.key(), &self.values, runs, seconds));
            return self.timing(runs, seconds);
        }
        if let Some(fault) = self.inner.fault() {
            self.failed(fault.kind, fault.reason);
        }
        f64::NAN
    }

    fn floor(&self) -> (u64, u64) {
        self.inner.floor()
    }

    fn details(&self) -> Details {
        self.details
    }

    fn fault(&self) -> Option<Fault> {
        self.fault.clone()
    }
}

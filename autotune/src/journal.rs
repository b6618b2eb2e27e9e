//! The journal: what a run has done since it began, written before and after everything that may end it.
//!
//! One line a step, `CHECKSUM JSON`, only ever appended. A line says that a candidate is about to be launched *before*
//! it is, so that what ends the process, or the machine, has a name afterwards. `jet-tune run --resume` reads the lines
//! and gives the race the recorded answers again: no candidate is launched twice for the same sample. A line that
//! a kill tore in two ends the record there.
//!
//! A run that comes to its end removes its journal: all that counts is in the store by then.

use crate::error::TuneError;
use crate::subject::{Details, Errors};
use jet_cache::{Digest, FailureKind, TaskKey};
use jet_codegen::schedule::Values;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Hexadecimal digits of a line's checksum.
const CHECK: usize = 16;

/// So many runs must have ended at a candidate's first launch, one after the other, before the candidate is held guilty.
const STRIKES: usize = 3;

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// A run begins, or goes on.
    Run { jet: String, command: String },
    /// A candidate is about to be launched.
    Started { task: String, schedule: String },
    /// Its output was compared.
    Validated { task: String, schedule: String, errors: [Option<f64>; 3], details: Details },
    /// It was timed: seconds of so many runs together.
    Timed { task: String, schedule: String, runs: usize, seconds: f64 },
    /// It failed.
    Failed { task: String, schedule: String, kind: Option<FailureKind>, reason: String },
    /// A task is stored.
    Done { task: String },
}

/// What an earlier run learned about one candidate, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Past {
    pub(crate) failed: Option<(Option<FailureKind>, String)>,
    pub(crate) validated: Option<(Errors, Details)>,
    /// Runs and seconds of each timing.
    pub(crate) times: VecDeque<(usize, f64)>,
}

/// A candidate of a task.
type Candidate = (String, String);

/// A run's journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Whether a line must survive the machine and not only the process.
    durable: bool,
    past: BTreeMap<Candidate, Past>,
    guilty: BTreeMap<Candidate, usize>,
    notices: Vec<String>,
}

impl Journal {
    /// Opens the journal of the store in the folder `root`, which must be locked by this process. With `resume` what an
    /// interrupted run wrote is read and continued, else it is dropped. With `durable` the line before a first launch
    /// reaches the disk before the launch: for devices that may take the machine with them.
    ///
    /// # Errors
    /// [`TuneError::Journal`] where the file cannot be read or written.
    pub fn open(root: &Path, resume: bool, durable: bool, command: &str) -> Result<Self, TuneError> {
        let path = jet_cache::folders::Layout::of(root).journal;
        let fault = |source: io::Error| TuneError::Journal { path: path.clone(), source };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(fault(e)),
        };
        let (lines, good) = read(&bytes);
        let mut replay = Replay::default();
        lines.into_iter().for_each(|line| replay.take(line));
        let mut notices = Vec::new();
        if let Some((task, schedule)) = replay.end() {
            notices.push(format!("an earlier run ended while {schedule} of task {task} was being tried"));
        }
        let file = OpenOptions::new().append(true).create(true).open(&path).map_err(fault)?;
        let keep = if resume { good } else { 0 };
        if keep < bytes.len() {
            file.set_len(keep as u64).map_err(fault)?;
        }
        let guilty = replay.guilty();
        let past = if resume { replay.past } else { BTreeMap::new() };
        if resume && bytes.is_empty() {
            notices.push("there is no interrupted run to resume: this one begins anew".to_owned());
        } else if resume && good < bytes.len() {
            notices
                .push(format!("{} bytes at the journal's end were torn and are dropped", bytes.len() - good));
        }
        let mut journal = Self { path, file, durable, past, guilty, notices };
        let run = Line::Run { jet: env!("CARGO_PKG_VERSION").to_owned(), command: command.to_owned() };
        journal.write(&run)?;
        Ok(journal)
    }

    /// What is to be told about an earlier run.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// How many recorded steps are still to be given again.
    pub fn recorded(&self) -> usize {
        let steps =
            |p: &Past| p.times.len() + usize::from(p.validated.is_some()) + usize::from(p.failed.is_some());
        self.past.values().map(steps).sum()
    }

    /// Removes the journal: the run has come to its end.
    ///
    /// # Errors
    /// [`TuneError::Journal`].
    pub fn finish(self) -> Result<(), TuneError> {
        fs::remove_file(&self.path).map_err(|source| TuneError::Journal { path: self.path, source })
    }

    /// What is recorded about a candidate; it is given once.
    pub(crate) fn past(&mut self, task: &TaskKey, values: &Values) -> Past {
        self.past.remove(&(task.short_id(), values.to_string())).unwrap_or_default()
    }

    /// How many runs in a row have ended at this candidate's first launch, where these are too many.
    pub(crate) fn strikes(&self, task: &TaskKey, values: &Values) -> Option<usize> {
        let strikes = *self.guilty.get(&(task.short_id(), values.to_string()))?;
        (strikes >= STRIKES).then_some(strikes)
    }

    /// Says that a candidate is about to be launched; `first` where nothing is known of it yet.
    pub(crate) fn started(&mut self, task: &TaskKey, values: &Values, first: bool) -> Result<(), TuneError> {
        self.write(&Line::Started { task: task.short_id(), schedule: values.to_string() })?;
        if first && self.durable {
            self.file.sync_data().map_err(|source| self.fault(source))?;
        }
        Ok(())
    }

    pub(crate) fn validated(
        &mut self,
        task: &TaskKey,
        values: &Values,
        errors: Errors,
        details: Details,
    ) -> Result<(), TuneError> {
        // Not-a-number and infinity, which JSON does not have, are both no number, and both wrong.
        let number = |x: f64| x.is_finite().then_some(x);
        let errors = [number(errors.max_abs), number(errors.rel_rms), number(errors.allowed)];
        let finite = |x: Option<f64>| x.and_then(number);
        let details =
            Details { mean_abs: finite(details.mean_abs), max_ulp: finite(details.max_ulp), ..details };
        self.write(&Line::Validated { task: task.short_id(), schedule: values.to_string(), errors, details })
    }

    pub(crate) fn timed(
        &mut self,
        task: &TaskKey,
        values: &Values,
        runs: usize,
        seconds: f64,
    ) -> Result<(), TuneError> {
        self.write(&Line::Timed { task: task.short_id(), schedule: values.to_string(), runs, seconds })
    }

    pub(crate) fn failed(
        &mut self,
        task: &TaskKey,
        values: &Values,
        kind: Option<FailureKind>,
        reason: &str,
    ) -> Result<(), TuneError> {
        let reason = reason.to_owned();
        self.write(&Line::Failed { task: task.short_id(), schedule: values.to_string(), kind, reason })
    }

    pub(crate) fn done(&mut self, task: &TaskKey) -> Result<(), TuneError> {
        self.write(&Line::Done { task: task.short_id() })
    }

    fn write(&mut self, line: &Line) -> Result<(), TuneError> {
        let json = serde_json::to_string(line).expect("a line has only text and finite numbers");
        let check = &Digest::of(json.as_bytes()).to_string()[..CHECK];
        self.file.write_all(format!("{check} {json}\n").as_bytes()).map_err(|source| self.fault(source))
    }

    fn fault(&self, source: io::Error) -> TuneError {
        TuneError::Journal { path: self.path.clone(), source }
    }
}

/// The lines of a journal up to the first that is not whole, and how many bytes they take.
fn read(bytes: &[u8]) -> (Vec<Line>, usize) {
    let (mut lines, mut good) = (Vec::new(), 0);
    for raw in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(line) = parse(raw) else { break };
        lines.push(line);
        good += raw.len();
    }
    (lines, good)
}

fn parse(raw: &[u8]) -> Option<Line> {
    let text = std::str::from_utf8(raw.strip_suffix(b"\n")?).ok()?;
    let (check, json) = text.split_once(' ')?;
    (check == &Digest::of(json.as_bytes()).to_string()[..CHECK]).then(|| serde_json::from_str(json).ok())?
}

/// Reads a journal's lines one after the other.
#[derive(Default)]
struct Replay {
    past: BTreeMap<Candidate, Past>,
    /// The candidate whose first launch has no end so far.
    open: Option<Candidate>,
    /// The candidate at which the last runs ended, and how many of them.
    suspect: Option<(Candidate, usize)>,
}

impl Replay {
    fn take(&mut self, line: Line) {
        match line {
            Line::Run { .. } => drop(self.end()),
            Line::Started { task, schedule } => {
                let candidate = (task, schedule);
                self.open = (!self.past.contains_key(&candidate)).then_some(candidate);
            }
            Line::Validated { task, schedule, errors, details } => {
                let [max_abs, rel_rms, allowed] = errors.map(|x| x.unwrap_or(f64::NAN));
                let past = self.learn(task, schedule);
                past.validated = Some((Errors { max_abs, rel_rms, allowed }, details));
            }
            Line::Timed { task, schedule, runs, seconds } => {
                self.learn(task, schedule).times.push_back((runs, seconds));
            }
            Line::Failed { task, schedule, kind, reason } => {
                self.learn(task, schedule).failed = Some((kind, reason));
            }
            // What is stored is not raced again, and if it is, then anew.
            Line::Done { task } => {
                self.past.retain(|(of, _), _| *of != task);
                (self.open, self.suspect) = (None, None);
            }
        }
    }

    fn learn(&mut self, task: String, schedule: String) -> &mut Past {
        (self.open, self.suspect) = (None, None);
        self.past.entry((task, schedule)).or_default()
    }

    /// A run has ended here: at which candidate's first launch, if at any.
    fn end(&mut self) -> Option<Candidate> {
        let at = self.open.take()?;
        let before =
            self.suspect.take().filter(|(suspect, _)| *suspect == at).map_or(0, |(_, strikes)| strikes);
        self.suspect = Some((at.clone(), before + 1));
        Some(at)
    }

    fn guilty(&self) -> BTreeMap<Candidate, usize> {
        self.suspect.clone().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jet_cache::{Fingerprint, TaskFields};

    fn key(n: i64) -> TaskKey {
        TaskKey::new(TaskFields::new(Fingerprint::new("invented"), "gemm", 1, "f32", "1").dim("n", n))
    }

    fn tile(tile: i64) -> Values {
        Values([("tile".to_owned(), tile)].into())
    }

    const RIGHT: Errors = Errors { max_abs: 0.5, rel_rms: 1e-6, allowed: 1e-3 };

    fn open(root: &Path, resume: bool) -> Journal {
        Journal::open(root, resume, true, "a test").expect("it opens")
    }

    #[test]
    fn what_was_written_is_given_again_once_and_only_to_a_run_that_resumes() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = open(folder.path(), false);
        let wrong = Errors { rel_rms: f64::NAN, ..RIGHT };
        journal.started(&key(1), &tile(8), true).expect("written");
        journal.validated(&key(1), &tile(8), RIGHT, Details::default()).expect("written");
        journal.timed(&key(1), &tile(8), 1, 0.1).expect("written");
        journal.timed(&key(1), &tile(8), 5, 0.3).expect("written");
        journal.validated(&key(1), &tile(9), wrong, Details::default()).expect("written");
        journal.failed(&key(1), &tile(9), Some(FailureKind::WrongOutput), "wrong").expect("written");
        journal.validated(&key(2), &tile(8), RIGHT, Details::default()).expect("written");
        journal.done(&key(2)).expect("written");
        drop(journal);
        let mut again = open(folder.path(), true);
        assert_eq!(again.recorded(), 5);
        let past = again.past(&key(1), &tile(8));
        assert_eq!((past.validated, past.failed), (Some((RIGHT, Details::default())), None));
        assert_eq!(past.times, [(1, 0.1), (5, 0.3)]);
        assert_eq!(again.past(&key(1), &tile(8)), Past::default());
        let past = again.past(&key(1), &tile(9));
        assert!(past.validated.is_some_and(|(errors, _)| !errors.acceptable()));
        assert_eq!(past.failed, Some((Some(FailureKind::WrongOutput), "wrong".to_owned())));
        assert_eq!(again.past(&key(2), &tile(8)), Past::default(), "a stored task is not raced again");
        drop(again);
        assert_eq!(open(folder.path(), false).recorded(), 0);
        assert_eq!(open(folder.path(), true).recorded(), 0);
    }

    #[test]
    fn a_line_that_is_torn_or_changed_ends_the_record() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = open(folder.path(), false);
        for n in 1..=3 {
            journal.timed(&key(1), &tile(8), n, 0.1).expect("written");
        }
        let path = journal.path.clone();
        drop(journal);
        let whole = fs::read(&path).expect("it is there");
        let starts: Vec<usize> =
            whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect();
        for at in 0..whole.len() {
            let (lines, good) = read(&whole[..at]);
            assert_eq!(lines.len(), starts.iter().filter(|start| **start <= at).count(), "cut at {at}");
            let mut bad = whole.clone();
            bad[at] ^= 1;
            let line = starts.iter().filter(|start| **start <= at).count();
            assert_eq!(read(&bad).0.len(), line, "byte {at} went unnoticed");
            assert!(good <= at);
        }
        // What follows a torn line is written behind the last whole one.
        fs::write(&path, &whole[..whole.len() - 3]).expect("it is written");
        let mut again = open(folder.path(), true);
        assert!(again.notices()[0].contains("torn"), "{:?}", again.notices());
        assert_eq!(again.past(&key(1), &tile(8)).times.len(), 2);
        again.timed(&key(1), &tile(9), 1, 0.1).expect("written");
        drop(again);
        assert_eq!(open(folder.path(), true).recorded(), 3);
    }

    #[test]
    fn the_candidate_at_which_a_run_ended_has_a_name_and_three_in_a_row_are_guilt() {
        let folder = tempfile::tempdir().expect("a folder");
        let ends_at = |values: Option<&Values>| {
            let mut journal = open(folder.path(), true);
            if let Some(values) = values {
                journal.started(&key(1), values, true).expect("written");
            }
            (journal.notices().join("; "), journal.strikes(&key(1), &tile(8)))
        };
        assert_eq!(ends_at(Some(&tile(8))).1, None);
        let (told, strikes) = ends_at(Some(&tile(8)));
        assert!(told.contains("tile=8 of task ") && strikes.is_none(), "{told}");
        assert_eq!(ends_at(Some(&tile(8))).1, None);
        assert_eq!(ends_at(None).1, Some(3));
        // A run that was killed at another one clears it.
        assert_eq!(ends_at(Some(&tile(9))).1, Some(3));
        assert_eq!(ends_at(None).1, None);
    }
}

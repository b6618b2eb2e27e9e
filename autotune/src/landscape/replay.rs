//! A workbench that draws its times from landscapes.

use super::{Landscape, Row};
use crate::clock::Clock;
use crate::stats::Random;
use crate::subject::{Errors, Subject, Workbench};
use jet_codegen::schedule::{Family, Problem, Values};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// Seconds that a replayed comparison with the reference takes, and a change of the candidate: of the order of a CPU's.
const VALIDATION: Duration = Duration::from_micros(2000);
const PREPARATION: Duration = Duration::from_micros(20);

/// Recorded tasks as a device, and the clock by which its kernels take their time. Each sample is one of the candidate's
/// recorded samples, drawn by the seed.
pub struct Replay<'a> {
    landscapes: &'a [Landscape],
    families: &'a [&'a dyn Family],
    random: RefCell<Random>,
    now: Cell<Duration>,
}

impl<'a> Replay<'a> {
    /// A workbench over `landscapes`, whose schedules are those of `families`.
    ///
    /// # Errors
    /// A landscape of a family that is not there, of another version of it, or of other candidates than it has now.
    pub fn new(
        landscapes: &'a [Landscape],
        families: &'a [&'a dyn Family],
        seed: u64,
    ) -> Result<Self, String> {
        landscapes.iter().try_for_each(|landscape| fresh(landscape, families))?;
        let (random, now) = (RefCell::new(Random::new(seed)), Cell::new(Duration::ZERO));
        Ok(Self { landscapes, families, random, now })
    }

    fn pass(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }
}

/// Whether what was recorded is what would be recorded now.
fn fresh(landscape: &Landscape, families: &[&dyn Family]) -> Result<(), String> {
    let (name, problem) = (&landscape.problem.family, &landscape.problem);
    let family = families.iter().find(|f| f.name() == name);
    let family = family.ok_or_else(|| format!("{problem}: there is no family {name}"))?;
    let again = "record it again with `jet-tune landscape`";
    if family.version() != landscape.header.version {
        let (then, now) = (landscape.header.version, family.version());
        return Err(format!(
            "{problem} was recorded with version {then} of {name}, which now is {now}; {again}"
        ));
    }
    let mut now = family.candidates(problem);
    let mut then: Vec<_> = landscape.rows.iter().map(|row| row.values.clone()).collect();
    if now.first() != then.first() {
        return Err(format!("{problem} was recorded with another default schedule; {again}"));
    }
    now.sort();
    then.sort();
    match now == then {
        true => Ok(()),
        false => Err(format!(
            "{problem} has {} schedules and was recorded with {}; {again}",
            now.len(),
            then.len()
        )),
    }
}

impl Clock for Replay<'_> {
    fn now(&self) -> Duration {
        self.now.get()
    }

    fn date(&self) -> u64 {
        self.landscapes.first().map_or(0, |l| l.header.date) + self.now.get().as_secs()
    }
}

impl Workbench for Replay<'_> {
    fn families(&self) -> &[&dyn Family] {
        self.families
    }

    fn open(&self, problem: &Problem) -> Result<Box<dyn Subject + '_>, String> {
        let found = self.landscapes.iter().find(|l| l.problem == *problem);
        let landscape = found.ok_or_else(|| format!("{problem} was not recorded"))?;
        Ok(Box::new(Recorded { replay: self, landscape, prepared: &landscape.rows[0] }))
    }

    fn reference(&self) -> String {
        self.landscapes.first().map_or_else(String::new, |l| l.header.reference.clone())
    }
}

struct Recorded<'r> {
    replay: &'r Replay<'r>,
    landscape: &'r Landscape,
    prepared: &'r Row,
}

impl Subject for Recorded<'_> {
    fn prepare(&mut self, values: &Values) -> Result<(), String> {
        self.prepared = self.landscape.row(values).ok_or_else(|| format!("{values} was not recorded"))?;
        self.replay.pass(PREPARATION);
        Ok(())
    }

    fn validate(&mut self) -> Result<Errors, String> {
        self.replay.pass(VALIDATION);
        match &self.prepared.rejected {
            Some(reason) => Err(reason.clone()),
            None => Ok(self.prepared.measured_errors()),
        }
    }

    fn time(&mut self, runs: usize) -> f64 {
        let ns = &self.prepared.ns;
        if ns.is_empty() {
            return f64::NAN;
        }
        let drawn = ns[self.replay.random.borrow_mut().below(ns.len())];
        let time = Duration::from_nanos(drawn).saturating_mul(u32::try_from(runs).unwrap_or(u32::MAX));
        self.replay.pass(time);
        time.as_secs_f64()
    }

    fn floor(&self) -> (u64, u64) {
        self.landscape.header.floor
    }
}

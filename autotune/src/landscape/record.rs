//! Making a landscape: a race that nobody leaves.

use super::{FORMAT, Header, Landscape, Row};
use crate::clock::Clock;
use crate::race::{self, End, Lane, Standing, Track, race};
use crate::subject::{Subject, Workbench};
use jet_codegen::schedule::Problem;
use std::sync::atomic::AtomicBool;

/// Measures every legal candidate of `problem` in `rounds` interleaved rounds; `device` names the device in words. `None`
/// where `stop` was set meanwhile.
///
/// # Errors
/// The reason why the problem cannot be set up, or why its default cannot be used.
pub fn record(
    bench: &dyn Workbench,
    problem: &Problem,
    device: &str,
    rounds: usize,
    clock: &dyn Clock,
    stop: &AtomicBool,
) -> Result<Option<Landscape>, String> {
    let family = bench.family(&problem.family).ok_or_else(|| {
        let known: Vec<_> = bench.families().iter().map(|f| f.name()).collect();
        format!("{problem} is of no family of this device; it has: {}", known.join(", "))
    })?;
    let candidates = family.candidates(problem);
    family.legal(problem, &candidates[0]).map_err(|e| e.to_string())?;
    let mut subject: Box<dyn Subject + '_> = bench.open(problem)?;
    let lanes = candidates.into_iter().map(Lane::new).collect();
    let rules = race::Rules { rounds: rounds.max(1), drops: &[], ..race::Rules::default() };
    let mut track = Track { clock, deadline: None, stop, watch: &mut |_| {}, spent: race::Spent::default() };
    let (lanes, how) = race(&mut *subject, lanes, &rules, &mut track);
    if how == End::Stopped {
        return Ok(None);
    }
    if let Standing::Rejected(reason) = &lanes[0].standing {
        return Err(format!("the default schedule ({}) cannot be used: {reason}", lanes[0].values));
    }
    let header = Header {
        format: FORMAT,
        problem: problem.to_string(),
        version: family.version(),
        device: device.to_owned(),
        reference: bench.reference(),
        floor: subject.floor(),
        date: clock.date(),
    };
    Ok(Some(Landscape { header, problem: problem.clone(), rows: lanes.into_iter().map(row).collect() }))
}

fn row(lane: Lane) -> Row {
    let rejected = match &lane.standing {
        Standing::Rejected(reason) => Some(reason.clone()),
        _ => None,
    };
    let ns = |seconds: f64| ((seconds * 1e9).round() as u64).max(1);
    let ns = if rejected.is_some() { Vec::new() } else { lane.times().into_iter().map(ns).collect() };
    // Three digits say all there is to say of an error.
    let short = |x: f64| format!("{x:.2e}").parse().unwrap_or(x);
    let errors = lane.errors.map(|e| [e.max_abs, e.rel_rms, e.allowed].map(short));
    Row { values: lane.values, ns, errors, rejected }
}

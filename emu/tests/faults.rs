//! Kernels with one planted fault each, and their repaired twins.
//!
//! Every faulty kernel must be reported as one of the kinds that its description names, at a line of the CUDA source
//! that carries the mark `// FAULT`, under every seed, or under one at least where the description says that the fault
//! depends on it. The twin must run clean and give the same bits under every seed.
#![allow(clippy::unwrap_used)]

mod common;

use common::description::{Case, Expected, Loaded, Ptx, load};
use common::lines::{cuda_lines, marked};
use common::run::{Outcome, complaints, kind_name, options, run, wrong_outputs};
use jet_emu::exec::Severity;
use std::collections::BTreeSet;
use std::path::Path;

const SEEDS: u64 = 20;

/// A line of the table.
struct Row {
    name: String,
    /// Under how many seeds it was found as it should be.
    found: u64,
    every_seed: bool,
    /// What was found, with the lines.
    kinds: BTreeSet<String>,
    /// What is wrong with the repaired twin.
    twin: Vec<String>,
}

impl Row {
    fn holds(&self) -> bool {
        self.twin.is_empty() && if self.every_seed { self.found == SEEDS } else { self.found > 0 }
    }
}

#[test]
fn planted_faults_are_found_and_repaired_twins_are_clean() {
    let faults = load("faults");
    assert!(faults.len() >= 27, "{} planted faults", faults.len());
    // Two halves at a time: the runs share nothing.
    let (left, right) = faults.split_at(faults.len() / 2);
    let mut rows: Vec<Row> = std::thread::scope(|scope| {
        let other = scope.spawn(|| right.iter().map(row).collect::<Vec<_>>());
        left.iter().map(row).collect::<Vec<_>>().into_iter().chain(other.join().unwrap()).collect()
    });
    rows.sort_by_key(|r| r.holds());
    println!("{:<30} {:>7}  {:<6} {:<11} reported as", "planted fault", "seeds", "wanted", "twin");
    for r in &rows {
        let wanted = if r.every_seed { "all" } else { "some" };
        let twin = if r.twin.is_empty() { "clean" } else { "NOT CLEAN" };
        let kinds = r.kinds.iter().cloned().collect::<Vec<_>>().join(", ");
        println!("{:<30} {:>4}/{SEEDS}  {wanted:<6} {twin:<11} {kinds}", r.name, r.found);
        for line in r.twin.iter().take(3) {
            println!("{:>30} {line}", "");
        }
    }
    let wrong: Vec<&str> = rows.iter().filter(|r| !r.holds()).map(|r| r.name.as_str()).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} are not as they should be: {}",
        wrong.len(),
        rows.len(),
        wrong.join(", ")
    );
}

fn row(fault: &Loaded) -> Row {
    let expected = fault.description.finding.as_ref().expect("a planted fault says what must be found");
    let [case] = &fault.description.cases[..] else { panic!("{}: one case", fault.name) };
    let text = |variant: &str| {
        let found = fault.ptx.iter().find(|p| p.name.contains(variant));
        found.unwrap_or_else(|| panic!("{} has no {variant} PTX", fault.name))
    };
    let mut row = Row {
        name: fault.name.clone(),
        found: 0,
        every_seed: expected.every_seed,
        kinds: BTreeSet::new(),
        twin: twin(text(".repaired."), case),
    };
    let faulty = text(".faulty.");
    let source = fault.description.source.as_ref().expect("a CUDA source");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults").join(source);
    let right_lines = marked(&std::fs::read_to_string(path).unwrap());
    let lines = cuda_lines(&faulty.text, source);
    for seed in 0..SEEDS {
        match run(faulty, case, options(seed)) {
            Ok(outcome) => {
                row.found += u64::from(judge(expected, case, &outcome, &lines, &right_lines, &mut row.kinds));
            }
            Err(refused) => {
                row.kinds.insert(format!("REFUSED: {refused}"));
                break;
            }
        }
    }
    row
}

/// Whether the fault was found as it should be; notes everything that was found.
fn judge(
    expected: &Expected,
    case: &Case,
    outcome: &Outcome,
    lines: &[BTreeSet<u32>],
    right_lines: &BTreeSet<u32>,
    kinds: &mut BTreeSet<String>,
) -> bool {
    let mut right = false;
    for finding in outcome.reports.iter().flat_map(|r| &r.findings) {
        if finding.severity == Severity::Note {
            continue;
        }
        let name = kind_name(finding.kind);
        let none = BTreeSet::new();
        let at = lines.get((finding.place.line as usize).wrapping_sub(1)).unwrap_or(&none);
        let here = !at.is_disjoint(right_lines);
        let wanted = expected.kinds.contains(&name);
        let place = at.iter().map(u32::to_string).collect::<Vec<_>>().join("/");
        kinds.insert(match (wanted, here) {
            (true, true) => format!("{name}:{place}"),
            (true, false) => format!("{name}:{place} (another line)"),
            (false, _) => format!("({name}:{place})"),
        });
        right |= wanted && here;
    }
    if expected.kinds.iter().any(|k| k == "wrong_result")
        && !wrong_outputs(case, &outcome.tensors, true).is_empty()
    {
        kinds.insert("wrong_result".to_owned());
        right = true;
    }
    right
}

/// What is wrong with the repaired variant under any seed.
fn twin(ptx: &Ptx, case: &Case) -> Vec<String> {
    let mut first = None;
    for seed in 0..SEEDS {
        let outcome = match run(ptx, case, options(seed)) {
            Ok(outcome) => outcome,
            Err(refused) => return vec![format!("refused: {refused}")],
        };
        let mut wrong = complaints(&outcome);
        if wrong.is_empty() {
            wrong.extend(wrong_outputs(case, &outcome.tensors, true));
        }
        let before = first.get_or_insert_with(|| outcome.tensors.clone());
        if wrong.is_empty() && *before != outcome.tensors {
            wrong.push("other bits than under the first seed".to_owned());
        }
        if !wrong.is_empty() {
            return wrong.into_iter().map(|w| format!("seed {seed}: {w}")).collect();
        }
    }
    Vec::new()
}

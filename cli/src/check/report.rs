//! The report: one line per tensor, one per folder, and the same as JSON.

use super::discover::Found;
use super::tally::{Row, Verdict};
use super::{Context, Greedy};
use crate::common::table::Table;
use jet_runtime::device::Precision;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;

/// What came of one case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseReport {
    /// File or folder.
    pub path: String,
    /// The folder it is counted under.
    pub folder: String,
    /// Its op; `checkpoint` for a whole model.
    pub op: String,
    /// One line per tensor.
    pub rows: Vec<Row>,
    /// Agreement of greedy continuations.
    pub greedy: Option<Greedy>,
    /// Why it could not be checked.
    pub error: Option<String>,
    /// Whether `error` says that this version or this call cannot check it, not that something is wrong.
    pub not_checked: bool,
}

impl CaseReport {
    /// An empty report of `found`.
    pub fn new(found: &Found) -> Self {
        Self {
            path: found.path().display().to_string(),
            folder: found.folder().display().to_string(),
            op: "checkpoint".into(),
            rows: Vec::new(),
            greedy: None,
            error: None,
            not_checked: false,
        }
    }

    /// Whether something is wrong with it.
    pub fn failed(&self) -> bool {
        (self.error.is_some() && !self.not_checked) || self.rows.iter().any(|r| r.verdict == Verdict::Fail)
    }

    fn name(&self) -> &str {
        let name = self.path.rsplit(['/', '\\']).next().unwrap_or(&self.path);
        name.strip_suffix(".safetensors").unwrap_or(name)
    }
}

/// What came of all cases.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The device.
    pub device: String,
    /// Its arithmetic.
    pub precision: Precision,
    /// Whether everything was checked and is right.
    pub ok: bool,
    /// Cases that are right.
    pub passed: usize,
    /// Cases that are wrong.
    pub failed: usize,
    /// Cases that could not be checked.
    pub not_checked: usize,
    /// All of them.
    pub cases: Vec<CaseReport>,
}

impl Report {
    /// Sums up.
    pub fn new(cx: &Context<'_>, cases: Vec<CaseReport>) -> Self {
        let failed = cases.iter().filter(|c| c.failed()).count();
        let not_checked = cases.iter().filter(|c| c.not_checked).count();
        let passed = cases.len() - failed - not_checked;
        Self {
            device: cx.device.describe(),
            precision: cx.precision,
            ok: passed == cases.len(),
            passed,
            failed,
            not_checked,
            cases,
        }
    }

    /// 0, 1 where something is wrong, 3 where something could not be checked.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match (self.failed, self.not_checked) {
            (0, 0) => 0,
            (0, _) => 3,
            _ => 1,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table =
            Table::new(&["case", "tensor", ">max abs", ">rel rms", ">tolerance", "ok", "worst in"]);
        self.cases.iter().flat_map(case_lines).for_each(|line| table.row(line));
        write!(f, "{table}")?;
        self.folders(f)
    }
}

impl Report {
    fn folders(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut folders: BTreeMap<&str, Vec<&CaseReport>> = BTreeMap::new();
        for case in &self.cases {
            folders.entry(&case.folder).or_default().push(case);
        }
        writeln!(f)?;
        for (folder, cases) in folders {
            let failed = cases.iter().filter(|c| c.failed()).count();
            let not_checked = cases.iter().filter(|c| c.not_checked).count();
            let rows = || cases.iter().flat_map(|c| &c.rows);
            let count = |v: Verdict| rows().filter(|r| r.verdict == v).count();
            write!(
                f,
                "{folder}: {} of {} cases pass; {} tensors within tolerance, {} beyond, {} shown only, {} not exposed",
                cases.len() - failed - not_checked,
                cases.len(),
                count(Verdict::Pass),
                count(Verdict::Fail),
                count(Verdict::Shown),
                count(Verdict::NotExposed)
            )?;
            let greedy: Vec<Greedy> = cases.iter().filter_map(|c| c.greedy).collect();
            if !greedy.is_empty() {
                let (agree, total) = greedy.iter().fold((0, 0), |(a, t), g| (a + g.agree, t + g.total));
                write!(f, "; greedy tokens {agree} of {total}")?;
            }
            if not_checked > 0 {
                write!(f, "; {not_checked} not checked")?;
            }
            writeln!(f)?;
        }
        let precision = Precision::ALL.iter().find(|p| p.1 == self.precision).map_or("", |p| p.0);
        let verdict = match (self.failed, self.not_checked) {
            (0, 0) => "all pass",
            (0, _) => "not everything could be checked",
            _ => "FAILED",
        };
        writeln!(
            f,
            "{} in {precision}: {} passed, {} failed, {} not checked: {verdict}",
            self.device, self.passed, self.failed, self.not_checked
        )
    }
}

fn case_lines(case: &CaseReport) -> Vec<[String; 7]> {
    let name = || case.name().to_owned();
    if let Some(error) = &case.error {
        let ok = if case.not_checked { "-" } else { "NO" };
        let [empty, ..] = std::array::from_fn::<_, 4, _>(|_| String::new());
        return vec![[name(), empty.clone(), empty.clone(), empty.clone(), empty, ok.into(), error.clone()]];
    }
    let number = |v: Option<f64>| v.map_or_else(String::new, |v| format!("{v:.2e}"));
    let mut lines: Vec<_> = case
        .rows
        .iter()
        .map(|r| {
            let limit = match r.limit {
                Some(0.0) => "exact".to_owned(),
                Some(l) if r.by_rms => format!("rel {l:.1e}"),
                limit => limit.map_or_else(String::new, |l| format!("{l:.1e}")),
            };
            let ok = match r.verdict {
                Verdict::Pass => "yes",
                Verdict::Fail => "NO",
                Verdict::Shown => "shown",
                Verdict::NotExposed => "not exposed",
            };
            [name(), r.tensor.clone(), number(r.max_abs), number(r.rel_rms), limit, ok.into(), r.note.clone()]
        })
        .collect();
    if let Some(g) = case.greedy {
        let agree = format!("{} of {} tokens agree", g.agree, g.total);
        let [a, b, c, d] = std::array::from_fn(|_| String::new());
        lines.push([name(), "greedy".into(), a, b, c, d, agree]);
    }
    lines
}

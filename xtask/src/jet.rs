//! The built binaries, and what `jet bench --json` prints.

use crate::process::{cargo, json, run};
use crate::target;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds `jet` and `jet-tune` as users have them.
pub(crate) fn build() -> Result<()> {
    run(&mut cargo(["build", "--release", "--package", "jet-cli", "--bins"]))
}

/// A built binary.
pub(crate) fn binary(name: &str) -> PathBuf {
    target().join("release").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// What to measure.
#[derive(Clone, Debug)]
pub(crate) struct Workload<'a> {
    pub(crate) model: &'a Path,
    pub(crate) prefill: usize,
    pub(crate) decode: usize,
    pub(crate) runs: usize,
    /// 0 is one per core.
    pub(crate) threads: usize,
    /// Without tuned schedules.
    pub(crate) defaults: bool,
    /// A JSON list of the prompt's token ids.
    pub(crate) ids: Option<&'a Path>,
}

/// One call of `jet bench`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    /// Tokens per second, median of the call.
    pub(crate) prefill: f64,
    /// Tokens per second, median of the call.
    pub(crate) decode: f64,
    /// Peak resident memory of the process, in KiB.
    pub(crate) peak_kib: f64,
}

/// Runs `jet bench`.
pub(crate) fn bench(w: &Workload<'_>) -> Result<(Measured, Value)> {
    let mut c = Command::new(binary("jet"));
    c.arg("bench").arg(w.model).arg("--json");
    for (flag, n) in
        [("--prefill", w.prefill), ("--decode", w.decode), ("--runs", w.runs), ("--threads", w.threads)]
    {
        c.arg(flag).arg(n.to_string());
    }
    if w.defaults {
        c.args(["--schedules", "off"]);
    }
    if let Some(ids) = w.ids {
        c.arg("--ids").arg(ids);
    }
    let report = json(&mut c)?;
    let measured = Measured {
        prefill: number(&report, "/prefill_tokens_per_second")?,
        decode: number(&report, "/decode_tokens_per_second")?,
        peak_kib: number(&report, "/peak_memory_bytes")? / 1024.0,
    };
    Ok((measured, report))
}

/// The number at `pointer` of a report.
pub(crate) fn number(report: &Value, pointer: &str) -> Result<f64> {
    let found = report.pointer(pointer).with_context(|| format!("the report has no `{pointer}`"))?;
    match found.as_f64() {
        Some(n) => Ok(n),
        None => bail!("`{pointer}` of the report is {found}, expected a number"),
    }
}

/// The middle value; the mean of the two middle ones where there is an even number. `None` of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    (n > 0).then(|| (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_no_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn numbers_of_a_report_are_found_or_named() {
        let report: Value = serde_json::from_str(r#"{"a": {"b": 2, "c": "x"}}"#).unwrap();
        assert_eq!(number(&report, "/a/b").unwrap(), 2.0);
        assert!(number(&report, "/a/c").unwrap_err().to_string().contains("expected a number"));
        assert!(number(&report, "/z").unwrap_err().to_string().contains("no `/z`"));
    }
}

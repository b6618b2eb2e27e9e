//! Results as JSON files that are whole at every moment: a step that is stopped has told what it had.

use anyhow::{Context as _, Result};
use jet_runtime::device::Grade;
use serde::Serialize;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A list of results that is written anew with each of them.
pub(crate) struct Report {
    path: PathBuf,
    head: Value,
    rows: Vec<Value>,
}

impl Report {
    /// A file that says what it is about.
    pub(crate) fn new(path: &Path, head: Value) -> Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let new = Self { path: path.to_owned(), head, rows: vec![] };
        new.write(false)?;
        Ok(new)
    }

    /// Adds a result.
    pub(crate) fn push(&mut self, row: &impl Serialize) -> Result<()> {
        self.rows.push(serde_json::to_value(row)?);
        self.write(false)
    }

    /// All results are there.
    pub(crate) fn finish(&self) -> Result<()> {
        self.write(true)
    }

    fn write(&self, complete: bool) -> Result<()> {
        let all = json!({"about": self.head, "complete": complete, "results": self.rows});
        let beside = self.path.with_extension("part");
        fs::write(&beside, serde_json::to_vec_pretty(&all)?).with_context(|| beside.display().to_string())?;
        fs::rename(&beside, &self.path).with_context(|| self.path.display().to_string())
    }
}

/// What a device's results are worth.
pub(crate) fn grade(device: &str) -> Grade {
    if device.starts_with(jet_runtime::emulated::PREFIX) { Grade::Emulated } else { Grade::Measured }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_whole_after_each_result_and_says_when_it_is_complete() {
        let path = std::env::temp_dir().join(format!("jet-report-{}.json", std::process::id()));
        let read = || serde_json::from_slice::<Value>(&fs::read(&path).unwrap()).unwrap();
        let mut report = Report::new(&path, json!("a test")).unwrap();
        report.push(&1).unwrap();
        assert_eq!(read(), json!({"about": "a test", "complete": false, "results": [1]}));
        report.finish().unwrap();
        assert_eq!(read()["complete"], true);
        fs::remove_file(&path).unwrap();
        assert_eq!((grade("cuda:0"), grade("emulated:sm_80")), (Grade::Measured, Grade::Emulated));
    }
}

//! Landscapes: for one task, the samples of every legal candidate, written down once.
//!
//! A search can then be run again and again without the device: [`Replay`] is a workbench that draws from what was
//! recorded, and [`regret`] asks how far from the best a strategy ends, and at what cost. [`record`] makes one.
//!
//! The file is JSON, one object a line: a [`Header`], then a [`Row`] for each candidate, the default first.

mod record;
pub mod regret;
mod replay;

pub use record::record;
pub use replay::Replay;

use crate::stats::{Interval, bootstrap_median, median};
use crate::subject::Errors;
use jet_codegen::schedule::{Problem, Values};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// The version of the file's form.
pub const FORMAT: u32 = 1;

/// What cannot be read or written.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum LandscapeError {
    /// A file or folder cannot be read or written.
    #[error("{place}: {reason}")]
    Io {
        /// The file or folder.
        place: String,
        /// Why.
        reason: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("{place}, line {line}: {reason}; record the task again with `jet-tune landscape`")]
    Line {
        /// The file.
        place: String,
        /// Counted from one.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// What was measured, and how: the first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// The problem, as it is displayed.
    pub problem: String,
    /// Version of the family's schedule.
    pub version: u32,
    /// The device, in words.
    pub device: String,
    /// The reference that outputs were compared with.
    pub reference: String,
    /// Bytes that a run must move and floating-point operations that it must do, at least.
    pub floor: (u64, u64),
    /// Seconds since 1970, UTC.
    pub date: u64,
}

/// One candidate: its samples, or why there are none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its schedule.
    pub values: Values,
    /// Nanoseconds of a run, by round; rounds are interleaved over the candidates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ns: Vec<u64>,
    /// `[max_abs, rel_rms, allowed]` against the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<[f64; 3]>,
    /// Why it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
}

impl Row {
    /// Its recorded errors.
    pub fn measured_errors(&self) -> Errors {
        let [max_abs, rel_rms, allowed] = self.errors.unwrap_or_default();
        Errors { max_abs, rel_rms, allowed }
    }

    /// Its median, in seconds; not-a-number where it was rejected.
    pub fn seconds(&self) -> f64 {
        median(&self.times())
    }

    /// Its samples, in seconds.
    pub fn times(&self) -> Vec<f64> {
        self.ns.iter().map(|ns| *ns as f64 * 1e-9).collect()
    }

    /// Where its median lies.
    pub fn interval(&self) -> Interval {
        bootstrap_median(&self.times(), 0.95, 1)
    }
}

/// A task's recorded candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct Landscape {
    /// What was measured.
    pub header: Header,
    /// The problem of the header.
    pub problem: Problem,
    /// The default, then the others.
    pub rows: Vec<Row>,
}

impl Landscape {
    /// The candidate with `values`.
    pub fn row(&self, values: &Values) -> Option<&Row> {
        self.rows.iter().find(|row| row.values == *values)
    }

    /// The recorded median of `values` in seconds; infinite where they were rejected or are not among the candidates.
    pub fn seconds(&self, values: &Values) -> f64 {
        self.row(values).map(Row::seconds).filter(|s| !s.is_nan()).unwrap_or(f64::INFINITY)
    }

    /// The fastest candidate.
    pub fn best(&self) -> Option<&Row> {
        let fit = self.rows.iter().filter(|row| row.rejected.is_none());
        fit.min_by(|a, b| a.seconds().total_cmp(&b.seconds()))
    }

    /// How much slower than the best, relative to it.
    pub fn regret(&self, values: &Values) -> f64 {
        self.best().map_or(0.0, |best| self.seconds(values) / best.seconds() - 1.0)
    }

    /// A name for its file, made of the problem's words.
    pub fn file_name(&self) -> String {
        let words = self.header.problem.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "-");
        let parts: Vec<_> = words.split('-').filter(|part| !part.is_empty()).collect();
        format!("{}.jsonl", parts.join("-"))
    }

    /// From the text of a file; `place` names it in errors.
    ///
    /// # Errors
    /// The first line that is not what it should be.
    pub fn parse(text: &str, place: &str) -> Result<Self, LandscapeError> {
        let wrong =
            |line: usize, reason: String| LandscapeError::Line { place: place.to_owned(), line, reason };
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let header: Header = serde_json::from_str(first).map_err(|e| wrong(1, e.to_string()))?;
        if header.format != FORMAT {
            return Err(wrong(1, format!("its format is {}, this program reads {FORMAT}", header.format)));
        }
        let problem = header.problem.parse().map_err(|e| wrong(1, format!("{e}")))?;
        let mut rows: Vec<Row> = Vec::new();
        for (at, line) in rest.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let row: Row = serde_json::from_str(line).map_err(|e| wrong(at + 2, e.to_string()))?;
            if row.ns.is_empty() == row.rejected.is_none() || row.ns.contains(&0) {
                return Err(wrong(at + 2, "it has neither positive times nor a reason, or both".to_owned()));
            }
            if rows.iter().any(|known| known.values == row.values) {
                return Err(wrong(at + 2, format!("`{}` comes twice", row.values)));
            }
            rows.push(row);
        }
        match rows.first() {
            Some(default) if default.rejected.is_none() => Ok(Self { header, problem, rows }),
            _ => Err(wrong(2, "the default has no times".to_owned())),
        }
    }

    /// The text of its file.
    pub fn text(&self) -> String {
        let line = |json: Result<String, serde_json::Error>| json.expect("plain numbers and words") + "\n";
        let rows = self.rows.iter().map(|row| line(serde_json::to_string(row)));
        line(serde_json::to_string(&self.header)) + &rows.collect::<String>()
    }

    /// Writes it into `folder`, under its own name.
    ///
    /// # Errors
    /// [`LandscapeError::Io`].
    pub fn save(&self, folder: &Path) -> Result<PathBuf, LandscapeError> {
        let file = folder.join(self.file_name());
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&file, self.text()));
        written.map_err(|reason| LandscapeError::Io { place: file.display().to_string(), reason })?;
        Ok(file)
    }
}

/// All landscapes of a folder, in the order of their names.
///
/// # Errors
/// The folder or one of its files cannot be read.
pub fn load(folder: &Path) -> Result<Vec<Landscape>, LandscapeError> {
    let io = |path: &Path| {
        let place = path.display().to_string();
        move |reason| LandscapeError::Io { place, reason }
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(io(folder))? {
        let path = entry.map_err(io(folder))?.path();
        if path.extension().is_some_and(|e| e == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).map_err(io(path))?;
        Landscape::parse(&text, &path.display().to_string())
    };
    files.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\"format\":1,\"problem\":\"ssd[heads=8 tokens=64] f32\",\"version\":1,\"device\":\"d\",\
        \"reference\":\"r\",\"floor\":[10,20],\"date\":5}\n\
        {\"values\":{\"chunk\":16},\"ns\":[10,30,20],\"errors\":[0.0,0.0,1.0]}\n\
        {\"values\":{\"chunk\":32},\"ns\":[15,16,17],\"errors\":[0.0,0.0,1.0]}\n\
        {\"values\":{\"chunk\":64},\"rejected\":\"wrong\"}\n";

    #[test]
    fn what_is_read_is_what_was_written() {
        let landscape = Landscape::parse(TEXT, "x").unwrap();
        assert_eq!(landscape.text(), TEXT);
        assert_eq!(landscape.file_name(), "ssd-heads-8-tokens-64-f32.jsonl");
        let folder = tempfile::tempdir().unwrap();
        landscape.save(folder.path()).unwrap();
        assert_eq!(load(folder.path()).unwrap(), [landscape]);
    }

    #[test]
    fn regret_is_the_distance_to_the_fastest_that_is_right() {
        let landscape = Landscape::parse(TEXT, "x").unwrap();
        let best = landscape.best().unwrap();
        assert_eq!(best.values.get("chunk"), Some(32));
        assert!((landscape.regret(&landscape.rows[0].values) - 0.25).abs() < 1e-9);
        assert_eq!(landscape.regret(&best.values), 0.0);
        assert_eq!(landscape.regret(&landscape.rows[2].values), f64::INFINITY);
    }

    #[test]
    fn what_is_damaged_is_told_with_its_line() {
        let damaged = |from: &str, to: &str| {
            assert!(TEXT.contains(from), "{from}");
            Landscape::parse(&TEXT.replacen(from, to, 1), "x.jsonl").unwrap_err().to_string()
        };
        assert!(damaged("\"format\":1", "\"format\":9").contains("x.jsonl, line 1: its format is 9"));
        assert!(damaged("[10,30,20]", "[10,0]").contains("line 2: it has neither"));
        assert!(damaged("\"chunk\":32", "\"chunk\":16").contains("line 3: `chunk=16` comes twice"));
        assert!(damaged("ssd[", "ssd").contains("line 1: "));
        assert!(damaged("{\"values\":{\"chunk\":64}", "{\"values\":{\"chunk\":").contains("line 4"));
        assert!(
            damaged("\"ns\":[10,30,20],\"errors\":[0.0,0.0,1.0]", "\"rejected\":\"w\"").contains("default")
        );
    }
}

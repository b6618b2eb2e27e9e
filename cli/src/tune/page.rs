//! The page that a run of the tuner leaves: where it goes, and its writing.

use crate::common::exit::Usage;
use crate::common::output;
use anyhow::{Context as _, Result};
use jet_autotune::Report;
use jet_autotune::html::{About, page};
use jet_cache::folders;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of pages that nobody gave a place, in jet's cache folder.
const FOLDER: &str = "reports";

/// Where a page goes.
pub(crate) struct Page {
    file: PathBuf,
    /// Whether somebody named the file, so that a page that cannot be written is an error.
    named: bool,
}

impl Page {
    /// The file that was asked for, or the one of `model` on `device` beside the store.
    ///
    /// # Errors
    /// The file that was asked for can be none. Said before anything is tuned, not hours later.
    pub(crate) fn place(asked: Option<&Path>, model: &str, device: &str) -> Result<Self> {
        let Some(file) = asked else {
            let file = folders::jet_folder()?.join(FOLDER).join(file_name(model, device));
            return Ok(Self { file, named: false });
        };
        let wrong = |what: &str| Usage(format!("--report {}: {what}", file.display()));
        if file.is_dir() {
            return Err(wrong("is a folder; name a file in it, as in report.html").into());
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(wrong(&format!("there is no folder {}; make it first", folder.display())).into());
        }
        Ok(Self { file: file.to_owned(), named: true })
    }

    /// Writes it and gives its place; `None` where nobody asked for it and it cannot be written, which is then said.
    pub(crate) fn write(&self, report: &Report, about: &About) -> Result<Option<&Path>> {
        let folder = self.file.parent().filter(|_| !self.named);
        let made = folder.map_or(Ok(()), fs::create_dir_all);
        let written = made.and_then(|()| fs::write(&self.file, page(report, about)));
        match written.with_context(|| format!("cannot write the report {}", self.file.display())) {
            Ok(()) => Ok(Some(&self.file)),
            Err(e) if self.named => Err(e),
            Err(e) => {
                output::complain(&format!("{e:#}"));
                Ok(None)
            }
        }
    }
}

/// `tiny-hybrid on cpu` as a file's name.
fn file_name(model: &str, device: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = format!("{model}-{device}").chars().map(plain).collect();
    format!("{}.html", name.trim_start_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_s_name_becomes_a_file_s_name() {
        assert_eq!(file_name("tiny-hybrid", "cuda:0"), "tiny-hybrid-cuda-0.html");
        assert_eq!(file_name("../a b/c", "cpu"), "-a-b-c-cpu.html");
    }

    #[test]
    fn a_place_that_is_none_is_refused_before_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |file: &Path| Page::place(Some(file), "m", "cpu").err().unwrap().to_string();
        assert!(refused(folder.path()).contains("is a folder"));
        let lost = folder.path().join("none/report.html");
        assert!(refused(&lost).contains("there is no folder"), "{}", refused(&lost));
        let page = Page::place(Some(&folder.path().join("r.html")), "m", "cpu").unwrap();
        let written = page.write(&Report::default(), &About::default()).unwrap().unwrap();
        assert!(fs::read_to_string(written).unwrap().starts_with("<!doctype html>"));
    }
}

//! What the tests over the whole workspace share.
//!
//! Tests are sorted by what they need. One that needs something this machine does not have calls [`skip`] and returns:
//! the line it prints is counted by `cargo xtask test`, so nothing is silently green.
#![forbid(unsafe_code)]

pub mod reference;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Says that the test running now cannot run here, and why.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    println!("skipped: {test}: {why}");
}

/// Held while a test keeps every core busy: a device's workers wait for each other at every step, so two devices at work
/// on the same cores are slower than one after the other. A test that failed meanwhile does not matter here.
pub fn all_cores() -> MutexGuard<'static, ()> {
    static CORES: Mutex<()> = Mutex::new(());
    CORES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root").to_owned()
}

/// A file or folder among the stored vectors.
pub fn vectors(path: &str) -> PathBuf {
    root().join("tests/vectors").join(path)
}

/// The real model that some tests need, where it has been fetched into jet's cache folder; where not, the test is
/// marked as skipped.
pub fn real_model() -> Option<PathBuf> {
    let set = |key: &str| std::env::var_os(key).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = set("JET_CACHE_DIR")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("jet")))
        .or_else(|| Some(set("HOME")?.join(".cache/jet")));
    let path = cache.map(|c| c.join("models/SmolLM2-135M-Instruct.Q4_1.gguf")).filter(|p| p.is_file());
    if path.is_none() {
        skip(
            "SmolLM2-135M-Instruct.Q4_1.gguf is not in jet's cache folder; `cargo xtask fetch-model` puts it there",
        );
    }
    path
}

/// All files below `folder` whose name ends with `end`, sorted; build output and hidden folders are left out.
pub fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    collect(folder, end, &mut all);
    all.sort();
    all
}

fn collect(folder: &Path, end: &str, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, end, all);
            }
        } else if name.ends_with(end) {
            all.push(path);
        }
    }
}

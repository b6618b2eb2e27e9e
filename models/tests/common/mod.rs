//! What several test files share: where vectors lie, and the one file too large to be stored with them.
#![allow(dead_code, reason = "each test file uses a part")]

use jet_models::weights::Safetensors;
use std::path::PathBuf;

/// A file or folder among the stored vectors.
pub(crate) fn vectors(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(path)
}

/// An open vector file.
pub(crate) fn vector(path: &str) -> Safetensors {
    Safetensors::open(&vectors(path)).expect("the vectors are part of the repository")
}

/// `SmolLM2-135M-Instruct.Q4_1.gguf` in jet's cache folder, where it has been fetched. Where it has not, the line
/// that says so is counted as a skipped test.
pub(crate) fn smollm2() -> Option<PathBuf> {
    let name = "SmolLM2-135M-Instruct.Q4_1.gguf";
    let set = |key: &str| std::env::var_os(key).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = set("JET_CACHE_DIR")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("jet")))
        .or_else(|| Some(set("HOME")?.join(".cache/jet")));
    let path = cache.map(|c| c.join("models").join(name)).filter(|p| p.is_file());
    if path.is_none() {
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        eprintln!(
            "skipped: {test}: {name} is not in jet's cache folder; `cargo xtask quickstart` puts it there"
        );
    }
    path
}

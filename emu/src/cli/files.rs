//! Files that are whole or not there.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Reads a file; the error names it and its role.
pub(super) fn read(role: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {role} `{}`", path.display()))
}

/// Writes by way of a temporary file beside it, so that whoever reads it never sees a part.
pub(super) fn write(role: &str, path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = beside(path);
    let written = std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.with_context(|| format!("cannot write {role} `{}`", path.display()))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

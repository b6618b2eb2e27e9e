//! Where NVRTC is looked for. A machine with only a driver has none; one with Python often has it in a wheel.

use super::api::Api;
use libloading::Library;
use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// One place and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The file, folder or variable.
    pub place: String,
    /// Why it did not serve.
    pub reason: String,
}

/// NVRTC is nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct NotFound {
    /// In the order they were tried.
    pub tried: Vec<Tried>,
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "NVRTC, the compiler of CUDA kernels, is not here; set JET_NVRTC to the file libnvrtc.so.13, or \
             `pip install nvidia-cuda-nvrtc` (in a checkout: `cargo xtask setup`). Tried:",
        )?;
        for t in &self.tried {
            write!(f, "\n  {}: {}", t.place, t.reason)?;
        }
        Ok(())
    }
}

/// Sonames in the order of preference.
const SONAMES: [&str; 2] = ["libnvrtc.so.13", "libnvrtc.so.12"];
/// Folders below a `site-packages` that wheels put it in.
const WHEELS: [&str; 2] = ["nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"];
/// The variable that names the file or its folder.
const VARIABLE: &str = "JET_NVRTC";

/// The first NVRTC that loads.
pub(super) fn load() -> Result<(Api, String), NotFound> {
    let mut tried = Vec::new();
    for candidate in candidates(&mut tried) {
        match open(&candidate) {
            Ok(api) => return Ok((api, candidate.display().to_string())),
            Err(reason) => tried.push(Tried { place: candidate.display().to_string(), reason }),
        }
    }
    Err(NotFound { tried })
}

/// Files to try, in order; places without one are noted in `tried`.
fn candidates(tried: &mut Vec<Tried>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (name, place) in places() {
        let Some(place) = place else {
            tried.push(Tried { place: name, reason: "is not set".into() });
            continue;
        };
        let files = if place.is_file() { vec![place.clone()] } else { libraries_in(&place) };
        if files.is_empty() {
            let reason = if place.is_dir() { "holds no libnvrtc.so" } else { "is not there" };
            tried.push(Tried { place: format!("{name} ({})", place.display()), reason: reason.into() });
        }
        found.extend(files);
    }
    found.extend(SONAMES.iter().map(PathBuf::from));
    found
}

/// Places by name; `None` where a variable is not set.
fn places() -> Vec<(String, Option<PathBuf>)> {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from);
    let executable = env::current_exe().ok();
    let beside = executable.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    let mut places =
        vec![(VARIABLE.to_owned(), variable(VARIABLE)), ("next to the executable".to_owned(), beside)];
    let toolchains = executable.iter().flat_map(|e| toolchains(e));
    places.extend(toolchains.map(|p| ("the checkout's toolchain".to_owned(), Some(p))));
    for name in ["CUDA_HOME", "CUDA_PATH"] {
        places.push((name.to_owned(), variable(name).map(|v| v.join("lib64"))));
    }
    places.extend(python_folders().into_iter().map(|p| ("a Python package".to_owned(), Some(p))));
    places
}

/// The NVRTCs of a folder, the preferred version first.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let plain = folder.join("libnvrtc.so");
    SONAMES.iter().map(|n| folder.join(n)).chain([plain]).filter(|p| p.is_file()).collect()
}

/// `toolchain/nvrtc-*` in the folders above the executable, the newest first: where a checkout keeps its own.
fn toolchains(executable: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for folder in executable.ancestors().skip(1) {
        let entries = std::fs::read_dir(folder.join("toolchain")).into_iter().flatten().flatten();
        let mut here: Vec<PathBuf> = entries
            .filter(|e| e.file_name().to_string_lossy().starts_with("nvrtc-"))
            .map(|e| e.path())
            .collect();
        here.sort();
        all.extend(here.into_iter().rev());
    }
    all
}

/// Wheel folders of the active environment and of the interpreters in the usual places.
fn python_folders() -> Vec<PathBuf> {
    let mut roots = Vec::new();
    for name in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        roots.extend(env::var_os(name).map(|v| Path::new(&v).join("lib")));
    }
    roots.extend(env::var_os("HOME").map(|v| Path::new(&v).join(".local/lib")));
    roots.extend(["/usr/local/lib", "/usr/lib"].map(PathBuf::from));
    let mut all = Vec::new();
    for root in roots {
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        let mut pythons: Vec<PathBuf> = entries
            .filter(|e| e.file_name().to_string_lossy().starts_with("python3"))
            .map(|e| e.path())
            .collect();
        pythons.sort();
        for python in pythons {
            for packages in ["site-packages", "dist-packages"] {
                all.extend(WHEELS.iter().map(|w| python.join(packages).join(w)).filter(|p| p.is_dir()));
            }
        }
    }
    all
}

/// Loads a file, its builtins library first where one lies beside it: NVRTC asks for it by name at the first
/// compilation, and a wheel's folder is on no search path.
fn open(file: &Path) -> Result<Api, String> {
    let beside = file.parent().map(builtins_in).unwrap_or_default();
    for builtins in beside {
        // SAFETY: NVIDIA's library; its initialisers have no preconditions.
        let loaded = unsafe { Library::new(&builtins) };
        // It stays loaded for the life of the process.
        std::mem::forget(loaded.map_err(|e| e.to_string())?);
    }
    // SAFETY: as above.
    let library = unsafe { Library::new(file) }.map_err(|e| e.to_string())?;
    Api::new(library)
}

fn builtins_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is = |name: &str| name.starts_with("libnvrtc-builtins.so");
    let mut all: Vec<PathBuf> =
        entries.filter(|e| is(&e.file_name().to_string_lossy())).map(|e| e.path()).collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toolchain_above_the_executable_is_found_newest_first() {
        let root = env::temp_dir().join(format!("jet-nvrtc-find-{}", std::process::id()));
        for version in ["12.9.86", "13.5.37"] {
            let folder = root.join("toolchain").join(format!("nvrtc-{version}"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(format!("libnvrtc.so.{}", &version[..2])), b"").unwrap();
        }
        let found = toolchains(&root.join("debug/deps/kernels-0123"));
        let files: Vec<PathBuf> = found.iter().flat_map(|f| libraries_in(f)).collect();
        std::fs::remove_dir_all(&root).unwrap();
        assert!(files[0].ends_with("nvrtc-13.5.37/libnvrtc.so.13"), "{files:?}");
        assert!(files[1].ends_with("nvrtc-12.9.86/libnvrtc.so.12"), "{files:?}");
    }

    #[test]
    fn the_error_lists_every_place() {
        let tried = vec![Tried { place: "CUDA_HOME".into(), reason: "is not set".into() }];
        let text = NotFound { tried }.to_string();
        assert!(text.contains("JET_NVRTC") && text.contains("\n  CUDA_HOME: is not set"), "{text}");
    }

    #[test]
    fn a_file_that_is_no_library_is_told_with_the_loaders_words() {
        let file = env::temp_dir().join(format!("jet-nvrtc-not-a-library-{}.so", std::process::id()));
        std::fs::write(&file, b"not a library").unwrap();
        let refused = open(&file).err().unwrap_or_default();
        std::fs::remove_file(&file).unwrap();
        assert!(!refused.is_empty());
    }
}

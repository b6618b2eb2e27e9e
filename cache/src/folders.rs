//! Where jet keeps what it stores: `JET_CACHE_DIR`, else `jet` in the platform's cache folder. Never the working folder.

use crate::error::CacheError;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The variable that names jet's cache folder.
pub const VARIABLE: &str = "JET_CACHE_DIR";

/// Jet's cache folder. It need not exist.
///
/// # Errors
/// [`CacheError::NoFolder`] where no variable says where the user keeps such things.
pub fn jet_folder() -> Result<PathBuf, CacheError> {
    folder_from(std::env::consts::OS, |name| std::env::var_os(name))
}

/// The folder of the schedule overlay: `schedules` in [`jet_folder`].
///
/// # Errors
/// As [`jet_folder`].
pub fn schedules_folder() -> Result<PathBuf, CacheError> {
    jet_folder().map(|folder| folder.join("schedules"))
}

/// [`jet_folder`] as a function of the operating system's name and the environment.
fn folder_from(os: &str, get: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, CacheError> {
    let set = |name: &str| get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // A relative platform folder would follow the working folder; the XDG specification says to ignore one.
    let absolute = |name: &str| set(name).filter(|path| path.is_absolute());
    if let Some(named) = set(VARIABLE) {
        return Ok(std::path::absolute(&named).unwrap_or(named));
    }
    let (found, tried) = match os {
        "macos" => (absolute("HOME").map(|home| home.join("Library/Caches")), "HOME"),
        "windows" => (absolute("LOCALAPPDATA"), "LOCALAPPDATA"),
        _ => {
            let xdg = absolute("XDG_CACHE_HOME");
            (xdg.or_else(|| absolute("HOME").map(|home| home.join(".cache"))), "XDG_CACHE_HOME or HOME")
        }
    };
    found.map(|cache| cache.join("jet")).ok_or(CacheError::NoFolder { tried })
}

/// The files of an overlay folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The folder.
    pub root: PathBuf,
    /// The store that only the tuner opens.
    pub store: PathBuf,
    /// The pack that sessions read.
    pub snapshot: PathBuf,
    /// The folder of compiled kernels, by content.
    pub cubins: PathBuf,
    /// The lock of the tuner that has the store open; names its holder.
    pub lock: PathBuf,
    /// What a run of the tuner has done so far; there while it works, and after it was killed.
    pub journal: PathBuf,
}

impl Layout {
    /// The files below `root`.
    pub fn of(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            store: root.join("schedules.sled"),
            snapshot: root.join("schedules.jetpack"),
            cubins: root.join("cubins"),
            lock: root.join("schedules.lock"),
            journal: root.join("journal.jsonl"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(os: &str, variables: &[(&str, &str)]) -> Result<PathBuf, String> {
        let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
        folder_from(os, get).map_err(|e| e.to_string())
    }

    #[test]
    fn the_own_variable_wins() {
        let all = [("JET_CACHE_DIR", "/a/b"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(folder("linux", &all), Ok("/a/b".into()));
        assert_eq!(folder("linux", &all[1..]), Ok("/x/jet".into()));
        assert_eq!(folder("linux", &all[2..]), Ok("/h/.cache/jet".into()));
        assert_eq!(folder("macos", &all[2..]), Ok("/h/Library/Caches/jet".into()));
    }

    #[test]
    fn empty_and_relative_platform_folders_are_ignored() {
        let odd = [("JET_CACHE_DIR", ""), ("XDG_CACHE_HOME", "cache"), ("HOME", "/h")];
        assert_eq!(folder("linux", &odd), Ok("/h/.cache/jet".into()));
        assert!(folder("linux", &[("JET_CACHE_DIR", "here")]).unwrap().is_absolute());
    }

    #[test]
    fn without_a_home_the_error_says_what_to_set() {
        let message = folder("linux", &[]).unwrap_err();
        assert!(message.contains("set JET_CACHE_DIR") && message.contains("HOME"), "{message}");
    }
}

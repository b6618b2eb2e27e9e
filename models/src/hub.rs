//! The Hugging Face cache of this machine, read and never written: `models--ORG--NAME/{refs,blobs,snapshots}`.
//!
//! The folder is `HF_HUB_CACHE`, else `HF_HOME/hub`, else `huggingface/hub` in the user's cache folder
//! (`XDG_CACHE_HOME`, or `.cache` in the home folder). Nothing is ever requested from a network.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Why a model is not found in the cache.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The name has no form that a repository has.
    #[error("`{name}` is no name of a repository; expected ORG/NAME or ORG/NAME@REVISION")]
    Name {
        /// What was given.
        name: String,
    },
    /// No folder can be named.
    #[error("there is no home folder to look for the Hugging Face cache in; set HF_HUB_CACHE or HF_HOME")]
    NoFolder,
    /// The repository is not in the cache.
    #[error(
        "`{name}` is not in the Hugging Face cache {}; jet fetches nothing: download it first \
         (`hf download {name}`), or give a folder",
        cache.display()
    )]
    NotCached {
        /// The repository.
        name: String,
        /// The cache folder.
        cache: PathBuf,
    },
    /// The repository is there, the revision is not.
    #[error("`{name}` is in the cache {}, but not its revision `{revision}`; there {}", cache.display(), have(revisions))]
    Revision {
        /// The repository.
        name: String,
        /// The revision asked for.
        revision: String,
        /// The cache folder.
        cache: PathBuf,
        /// Revisions that are there.
        revisions: Vec<String>,
    },
}

fn have(revisions: &[String]) -> String {
    match revisions {
        [] => "is none; the download was not finished".to_owned(),
        [one] => format!("is {one}"),
        several => format!("are {}", several.join(", ")),
    }
}

/// The cache folder by the environment.
pub fn folder() -> Result<PathBuf, HubError> {
    folder_by(|key| std::env::var_os(key))
}

fn folder_by(get: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, HubError> {
    let set = |key: &str| get(key).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = || set("HOME").or_else(|| set("USERPROFILE"));
    // `~` is written in profiles that no shell expands.
    let expand = |path: PathBuf| match path.strip_prefix("~") {
        Ok(rest) => home().map_or_else(|| path.clone(), |h| h.join(rest)),
        Err(_) => path,
    };
    let cache = || set("XDG_CACHE_HOME").or_else(|| Some(home()?.join(".cache")));
    set("HF_HUB_CACHE")
        .or_else(|| Some(set("HF_HOME")?.join("hub")))
        .or_else(|| Some(cache()?.join("huggingface/hub")))
        .map(expand)
        .ok_or(HubError::NoFolder)
}

/// Whether `name` has the form of a repository, `ORG/NAME[@REVISION]`; such a name may also be a relative path, and an
/// existing path comes first.
pub fn is_name(name: &str) -> bool {
    parse(name).is_some()
}

/// The snapshot folder of `ORG/NAME[@REVISION]` in the cache; without a revision `main`.
pub fn resolve(name: &str) -> Result<PathBuf, HubError> {
    resolve_in(&folder()?, name)
}

/// [`resolve`] in a given cache folder.
pub fn resolve_in(cache: &Path, name: &str) -> Result<PathBuf, HubError> {
    let (repository, revision) = parse(name).ok_or_else(|| HubError::Name { name: name.to_owned() })?;
    let base = cache.join(format!("models--{}", repository.replace('/', "--")));
    if !base.is_dir() {
        return Err(HubError::NotCached { name: repository.to_owned(), cache: cache.to_owned() });
    }
    let wanted = revision.unwrap_or("main");
    // A reference is a file that holds a commit; a commit names its snapshot itself.
    let commit = std::fs::read_to_string(base.join("refs").join(wanted)).map(|c| c.trim().to_owned());
    let commit = commit.ok().filter(|c| is_plain(c)).unwrap_or_else(|| wanted.to_owned());
    let snapshot = base.join("snapshots").join(&commit);
    if is_plain(&commit) && snapshot.is_dir() {
        return Ok(snapshot);
    }
    let mut revisions = names(&base.join("refs"));
    revisions.extend(names(&base.join("snapshots")));
    Err(HubError::Revision {
        name: repository.to_owned(),
        revision: wanted.to_owned(),
        cache: cache.to_owned(),
        revisions,
    })
}

/// Splits a name; neither part may step out of the cache folder.
fn parse(name: &str) -> Option<(&str, Option<&str>)> {
    let (repository, revision) = match name.split_once('@') {
        Some((repository, revision)) => (repository, Some(revision)),
        None => (name, None),
    };
    let (org, model) = repository.split_once('/')?;
    let word = |s: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !s.is_empty() && s.chars().all(allowed) && !s.starts_with('.') && !s.contains("--")
    };
    // A revision may be a path, as `refs/pr/1`.
    let inside =
        |r: &str| !r.is_empty() && Path::new(r).components().all(|c| matches!(c, Component::Normal(_)));
    (word(org) && word(model) && revision.is_none_or(inside)).then_some((repository, revision))
}

fn is_plain(commit: &str) -> bool {
    !commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(pairs: &[(&str, &str)]) -> Result<PathBuf, HubError> {
        folder_by(|key| pairs.iter().find(|(k, _)| *k == key).map(|(_, v)| OsString::from(v)))
    }

    #[test]
    fn the_environment_names_the_folder() {
        let all = [("HF_HUB_CACHE", "/a"), ("HF_HOME", "/b"), ("XDG_CACHE_HOME", "/c"), ("HOME", "/d")];
        let expected = ["/a", "/b/hub", "/c/huggingface/hub", "/d/.cache/huggingface/hub"];
        for (i, path) in expected.into_iter().enumerate() {
            assert_eq!(by(&all[i..]), Ok(PathBuf::from(path)));
        }
        assert_eq!(by(&[]), Err(HubError::NoFolder));
        assert_eq!(by(&[("HF_HUB_CACHE", ""), ("HF_HOME", "~/hf"), ("HOME", "/d")]), Ok("/d/hf/hub".into()));
        assert_eq!(by(&[("HF_HOME", "~/hf")]), Ok("~/hf/hub".into()));
    }

    #[test]
    fn finds_snapshots_by_reference_and_by_commit() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("models--jet-ai--Jet-Nemotron-2B");
        let snapshot = base.join("snapshots/0123abcd");
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir_all(base.join("refs/refs/pr")).unwrap();
        std::fs::write(base.join("refs/main"), "0123abcd\n").unwrap();
        std::fs::write(base.join("refs/refs/pr/1"), "0123abcd").unwrap();
        std::fs::write(base.join("refs/evil"), "../../..").unwrap();
        let at = |name: &str| resolve_in(dir.path(), name);
        assert_eq!(at("jet-ai/Jet-Nemotron-2B"), Ok(snapshot.clone()));
        assert_eq!(at("jet-ai/Jet-Nemotron-2B@0123abcd"), Ok(snapshot.clone()));
        assert_eq!(at("jet-ai/Jet-Nemotron-2B@refs/pr/1"), Ok(snapshot));
        let error = at("jet-ai/Jet-Nemotron-2B@v2").unwrap_err().to_string();
        assert!(error.contains("not its revision `v2`; there are evil, main, refs, 0123abcd"), "{error}");
        assert!(matches!(at("jet-ai/Jet-Nemotron-2B@evil"), Err(HubError::Revision { .. })));
        let error = at("jet-ai/Other").unwrap_err().to_string();
        assert!(
            error.contains("`jet-ai/Other` is not in the Hugging Face cache")
                && error.contains("fetches nothing")
        );
    }

    #[test]
    fn names_cannot_step_out_of_the_folder() {
        for name in [
            "",
            "plain",
            "a/b/c",
            "../x",
            "a/..",
            "a/b@",
            "a/b@../../x",
            "a/b@/etc",
            "/a/b",
            "a--b/c",
            "a /b",
            "a/b.gguf\n",
        ] {
            assert!(
                matches!(resolve_in(Path::new("/nowhere"), name), Err(HubError::Name { .. })),
                "{name:?}"
            );
        }
        assert!(is_name("Qwen/Qwen2.5-1.5B@main"));
    }
}

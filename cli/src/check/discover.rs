//! Finding cases: no list, the files say what they are.

use super::case::CaseFile;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Folders below a given one that are looked into.
const MAX_DEPTH: usize = 4;
/// The file that makes a folder with a config a checkpoint with expectations.
const EXPECTED: &str = "expected.safetensors";
/// The metadata value of [`EXPECTED`] in a checkpoint.
const CHECKPOINT: &str = "checkpoint";

/// Something to check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// A file that names its op.
    Op(PathBuf),
    /// A folder with config, weights and expectations.
    Checkpoint(PathBuf),
}

impl Found {
    /// The file or the folder.
    pub fn path(&self) -> &Path {
        match self {
            Found::Op(p) | Found::Checkpoint(p) => p,
        }
    }

    /// The folder it is counted under in the summary.
    pub fn folder(&self) -> &Path {
        self.path().parent().unwrap_or(Path::new(""))
    }
}

/// Everything to check under `path`: a case file, a checkpoint folder, or a folder with either inside.
///
/// # Errors
/// A path that is not there, a folder without any case, a `.safetensors` file that is neither a case nor expected
/// values nor weights of its checkpoint.
pub fn discover(path: &Path) -> Result<Vec<Found>> {
    let meta = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut found = Vec::new();
    if meta.is_file() {
        found.push(file(path)?);
    } else {
        folder(path, 0, &mut found)?;
    }
    found.sort();
    Ok(found)
}

fn file(path: &Path) -> Result<Found> {
    let case = CaseFile::open(path)?;
    match case.op() {
        Some(CHECKPOINT) => {
            let dir = case.folder();
            ensure!(
                dir.join("config.json").is_file(),
                "{}: the expected values of a checkpoint, but there is no config.json beside it",
                path.display()
            );
            Ok(Found::Checkpoint(dir))
        }
        Some(_) => Ok(Found::Op(path.to_owned())),
        None => bail!("{}: its metadata names no `op`, so it is no case", path.display()),
    }
}

fn folder(dir: &Path, depth: usize, found: &mut Vec<Found>) -> Result<()> {
    ensure!(depth <= MAX_DEPTH, "{}: folders are nested deeper than {MAX_DEPTH}", dir.display());
    let before = found.len();
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)
        .and_then(|list| list.map(|e| e.map(|e| e.path())).collect())
        .with_context(|| format!("cannot read the folder {}", dir.display()))?;
    entries.sort();
    let weights = weights_of(dir)?;
    if weights.is_some() {
        ensure!(
            dir.join(EXPECTED).is_file(),
            "{}: a checkpoint without {EXPECTED}; there is nothing to compare it with",
            dir.display()
        );
    }
    for path in &entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            folder(path, depth + 1, found)?;
        } else if name.ends_with(".safetensors") && !weights.as_ref().is_some_and(|w| w.contains(&*name)) {
            found.push(loose(path, &name, weights.is_some())?);
        }
    }
    ensure!(found.len() > before, "{}: no case in this folder", dir.display());
    Ok(())
}

/// Judges a `.safetensors` file that is no weight of its folder's checkpoint.
fn loose(path: &Path, name: &str, checkpoint: bool) -> Result<Found> {
    let case = CaseFile::open(path)?;
    match case.op() {
        Some(CHECKPOINT) if !checkpoint => bail!(
            "{}: the expected values of a checkpoint, but its config.json or its weights are not beside it",
            path.display()
        ),
        Some(CHECKPOINT) if name != EXPECTED => {
            bail!("{}: the expected values of a checkpoint are called {EXPECTED}", path.display())
        }
        Some(CHECKPOINT) => Ok(Found::Checkpoint(case.folder())),
        Some(_) => Ok(Found::Op(path.to_owned())),
        None => {
            bail!(
                "{}: neither a case (its metadata names no `op`) nor weights of a checkpoint",
                path.display()
            )
        }
    }
}

/// File names of the checkpoint's weights in `dir`; `None` where it holds no checkpoint.
fn weights_of(dir: &Path) -> Result<Option<BTreeSet<String>>> {
    if !dir.join("config.json").is_file() {
        return Ok(None);
    }
    let index = dir.join("model.safetensors.index.json");
    if index.is_file() {
        let text =
            std::fs::read_to_string(&index).with_context(|| format!("cannot read {}", index.display()))?;
        let json: serde_json::Value =
            serde_json::from_str(&text).with_context(|| format!("{} is no JSON", index.display()))?;
        let Some(map) = json.get("weight_map").and_then(|m| m.as_object()) else {
            bail!("{}: there is no `weight_map`", index.display());
        };
        return Ok(Some(map.values().filter_map(|v| v.as_str()).map(str::to_owned).collect()));
    }
    let single = "model.safetensors";
    Ok(dir.join(single).is_file().then(|| BTreeSet::from([single.to_owned()])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jet_models::weights::safetensors::write;
    use std::collections::BTreeMap;

    fn put(path: &Path, op: Option<&str>) {
        let metadata: BTreeMap<_, _> = op.map(|o| ("op".to_owned(), o.to_owned())).into_iter().collect();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(path, &metadata, &[]).unwrap();
    }

    fn error(path: &Path) -> String {
        format!("{:#}", discover(path).unwrap_err())
    }

    #[test]
    fn finds_cases_and_checkpoints_without_a_list() {
        let dir = tempfile::tempdir().unwrap();
        put(&dir.path().join("b.safetensors"), Some("ssd"));
        put(&dir.path().join("a.safetensors"), Some("rope"));
        std::fs::write(dir.path().join("README.md"), "for people").unwrap();
        let sub = dir.path().join("tiny");
        put(&sub.join(EXPECTED), Some("checkpoint"));
        put(&sub.join("model-00001-of-00001.safetensors"), None);
        std::fs::write(sub.join("config.json"), "{}").unwrap();
        let map = r#"{"weight_map": {"x": "model-00001-of-00001.safetensors"}}"#;
        std::fs::write(sub.join("model.safetensors.index.json"), map).unwrap();
        let found = discover(dir.path()).unwrap();
        assert_eq!(
            found,
            [
                Found::Op(dir.path().join("a.safetensors")),
                Found::Op(dir.path().join("b.safetensors")),
                Found::Checkpoint(sub.clone())
            ]
        );
        assert_eq!(discover(&sub).unwrap(), [Found::Checkpoint(sub.clone())]);
        assert_eq!(discover(&sub.join(EXPECTED)).unwrap(), [Found::Checkpoint(sub.clone())]);
        put(&sub.join("model-00002-of-00002.safetensors"), None);
        assert!(error(dir.path()).contains("neither a case"));
    }

    #[test]
    fn strays_and_empty_folders_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        assert!(error(dir.path()).contains("no case in this folder"));
        assert!(error(&dir.path().join("gone")).contains("cannot read"));
        put(&dir.path().join("x/a.safetensors"), None);
        assert!(error(dir.path()).contains("neither a case"));
        put(&dir.path().join("x/a.safetensors"), Some("checkpoint"));
        assert!(error(dir.path()).contains("not beside it"));
        put(&dir.path().join("x/a.safetensors"), Some("ssd"));
        assert_eq!(discover(dir.path()).unwrap().len(), 1);
        std::fs::create_dir(dir.path().join("empty")).unwrap();
        assert!(error(dir.path()).contains("empty: no case"));
        std::fs::remove_dir(dir.path().join("empty")).unwrap();
        put(&dir.path().join("model.safetensors"), None);
        std::fs::write(dir.path().join("config.json"), "{}").unwrap();
        assert!(error(dir.path()).contains("nothing to compare"));
    }
}

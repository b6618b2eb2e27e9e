//! The safetensors files of a checkpoint folder: one, or several with an index that says which holds what.

use super::{Error, Safetensors};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Opens all weight files of a folder: `model.safetensors`, else those that `model.safetensors.index.json` lists.
pub(super) fn open(folder: &Path) -> Result<Vec<Safetensors>, Error> {
    let single = folder.join(SINGLE);
    if single.exists() {
        return Ok(vec![Safetensors::open(&single)?]);
    }
    let index = folder.join(INDEX);
    if !index.exists() {
        return Err(Error::NoWeights { path: folder.to_owned(), what: absent(folder) });
    }
    let text = std::fs::read_to_string(&index).map_err(|source| Error::Io {
        path: index.clone(),
        doing: "read it",
        source,
    })?;
    sharded(folder, &index, &text)
}

/// What stands in a folder that has no weights, for the message.
fn absent(folder: &Path) -> String {
    if !folder.exists() {
        return "there is no such folder or file".to_owned();
    }
    let is_weights = |n: &String| {
        [".bin", ".pt", ".pth", ".safetensors", ".gguf", ".npz"].iter().any(|end| n.ends_with(end))
    };
    let names = std::fs::read_dir(folder).map(|entries| {
        let names = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned());
        names.filter(is_weights).collect::<BTreeSet<_>>()
    });
    let found = match names {
        Ok(names) if !names.is_empty() => {
            format!("; found {}", names.into_iter().collect::<Vec<_>>().join(", "))
        }
        _ => String::new(),
    };
    format!("expected {SINGLE} or {INDEX}{found}; jet reads safetensors folders and single .gguf files")
}

fn sharded(folder: &Path, index: &Path, text: &str) -> Result<Vec<Safetensors>, Error> {
    let fault = |what: String| Error::Shards { path: index.to_owned(), what };
    let Index { weight_map: Pairs(listed) } =
        serde_json::from_str(text).map_err(|e| fault(format!("it is not the JSON it should be: {e}")))?;
    let mut files: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (tensor, file) in &listed {
        if !seen.insert(tensor) {
            return Err(fault(format!("the tensor `{tensor}` is listed twice")));
        }
        let mut parts = Path::new(file).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(fault(format!(
                "the tensor `{tensor}` is said to be in `{file}`, which is no plain file name"
            )));
        }
        files.entry(file).or_default().insert(tensor);
    }
    if files.is_empty() {
        return Err(fault("it lists no tensors".to_owned()));
    }
    let gone: Vec<_> = files.keys().filter(|f| !folder.join(f).exists()).copied().collect();
    if !gone.is_empty() {
        return Err(fault(format!("these files are listed but not there: {}", gone.join(", "))));
    }
    let mut open = Vec::with_capacity(files.len());
    for (file, tensors) in files {
        let shard = Safetensors::open(&folder.join(file))?;
        if let Some(t) = tensors.iter().find(|t| shard.table().get(t).is_none()) {
            return Err(fault(format!("the tensor `{t}` is said to be in {file}, which does not hold it")));
        }
        if let Some(t) = shard.table().entries().iter().find(|e| !tensors.contains(e.name.as_str())) {
            return Err(fault(format!("{file} holds the tensor `{}`, which is not listed there", t.name)));
        }
        open.push(shard);
    }
    Ok(open)
}

#[derive(Deserialize)]
struct Index {
    weight_map: Pairs,
}

/// A JSON object of strings as a list, so that a name that occurs twice is seen.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of file names by tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut items = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    items.push(pair);
                }
                Ok(Pairs(items))
            }
        }
        deserializer.deserialize_map(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::safetensors::{TensorData, write};
    use jet_numerics::DType;

    fn folder(index: &str, shards: &[(&str, &[&str])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(INDEX), index).unwrap();
        for (file, names) in shards {
            let tensors: Vec<_> = names
                .iter()
                .map(|name| TensorData { name, dtype: DType::U8, shape: &[2], bytes: &[1, 2] })
                .collect();
            write(&dir.path().join(file), &BTreeMap::new(), &tensors).unwrap();
        }
        dir
    }

    fn fault(index: &str, shards: &[(&str, &[&str])]) -> String {
        open(folder(index, shards).path()).unwrap_err().to_string()
    }

    #[test]
    fn opens_every_shard_once() {
        let dir = folder(
            r#"{"metadata":{"total_size":6},"weight_map":{"a":"x.safetensors","b":"y.safetensors","c":"x.safetensors"}}"#,
            &[("x.safetensors", &["a", "c"]), ("y.safetensors", &["b"])],
        );
        assert_eq!(open(dir.path()).unwrap().len(), 2);
    }

    #[test]
    fn says_what_is_wrong_with_an_index() {
        let x: &[(&str, &[&str])] = &[("x.safetensors", &["a"])];
        for (found, expected) in [
            (fault("{", x), "not the JSON it should be"),
            (fault(r#"{"weight_map":{}}"#, x), "it lists no tensors"),
            (fault(r#"{"weight_map":{"a":"x.safetensors","a":"x.safetensors"}}"#, x), "`a` is listed twice"),
            (fault(r#"{"weight_map":{"a":"../x.safetensors"}}"#, x), "no plain file name"),
            (fault(r#"{"weight_map":{"a":"/etc/passwd"}}"#, x), "no plain file name"),
            (fault(r#"{"weight_map":{"a":"z1","b":"z2"}}"#, x), "listed but not there: z1, z2"),
            (fault(r#"{"weight_map":{"b":"x.safetensors"}}"#, x), "which does not hold it"),
            (
                fault(r#"{"weight_map":{"a":"x.safetensors"}}"#, &[("x.safetensors", &["a", "q"])]),
                "holds the tensor `q`",
            ),
        ] {
            assert!(found.contains(expected), "{found:?} should contain {expected:?}");
        }
    }

    #[test]
    fn names_what_is_there_instead() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pytorch_model.bin"), b"").unwrap();
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("expected model.safetensors") && error.contains("found pytorch_model.bin"),
            "{error}"
        );
        assert!(open(&dir.path().join("gone")).unwrap_err().to_string().contains("no such folder"));
    }
}

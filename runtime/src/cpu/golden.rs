//! For the tests: golden vectors from `tests/vectors`, and seeded noise.

use jet_numerics::philox::{Stream, Tag};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One `.safetensors` file, read whole.
pub(crate) struct Golden {
    /// The file's name, for messages.
    pub(crate) name: String,
    header: Value,
    data: Vec<u8>,
}

/// The folder of the vectors.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors")
}

/// Every file of `folder` whose name begins with `prefix`, by name.
pub(crate) fn folder(folder: &str, prefix: &str) -> Vec<Golden> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(root().join(folder)).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "safetensors"))
        .filter(|p| p.file_name().unwrap().to_str().unwrap().starts_with(prefix))
        .map(|p| Golden::open(p))
        .collect()
}

impl Golden {
    /// Reads a file.
    pub(crate) fn open(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = serde_json::from_slice(&bytes[8..8 + header_len]).unwrap();
        Self { name: path.display().to_string(), header, data: bytes[8 + header_len..].to_vec() }
    }

    /// A metadata value, if it is there and not `None`.
    pub(crate) fn meta(&self, key: &str) -> Option<&str> {
        self.header["__metadata__"][key].as_str().filter(|v| *v != "None")
    }

    /// A metadata value that is a number.
    pub(crate) fn number(&self, key: &str) -> f64 {
        let text = self.meta(key).unwrap_or_else(|| panic!("{} has no {key}", self.name));
        text.parse().unwrap_or_else(|_| panic!("{key} of {} is {text}", self.name))
    }

    /// Whether there is a tensor `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.header.get(name).is_some()
    }

    /// The names of all tensors.
    pub(crate) fn names(&self) -> Vec<&str> {
        let tensors = self.header.as_object().unwrap();
        tensors.keys().map(String::as_str).filter(|k| *k != "__metadata__").collect()
    }

    /// A tensor's shape.
    pub(crate) fn shape(&self, name: &str) -> Vec<usize> {
        let shape = self.header[name]["shape"].as_array();
        let shape = shape.unwrap_or_else(|| panic!("{} has no tensor {name}", self.name));
        shape.iter().map(|v| v.as_u64().unwrap() as usize).collect()
    }

    fn tensor(&self, name: &str, dtype: &str) -> &[u8] {
        assert_eq!(self.header[name]["dtype"], dtype, "{name} of {}", self.name);
        let at = |i: usize| self.header[name]["data_offsets"][i].as_u64().unwrap() as usize;
        &self.data[at(0)..at(1)]
    }

    /// A float32 tensor.
    pub(crate) fn f32(&self, name: &str) -> Vec<f32> {
        self.tensor(name, "F32").chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    /// A float64 tensor.
    pub(crate) fn f64(&self, name: &str) -> Vec<f64> {
        self.tensor(name, "F64").chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    }

    /// An int64 tensor.
    pub(crate) fn i64(&self, name: &str) -> Vec<i64> {
        self.tensor(name, "I64").chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
    }
}

/// `n` reproducible numbers in -1.7..1.7 with variance about one.
pub(crate) fn noise(seed: u64, n: usize) -> Vec<f32> {
    Stream::new(seed, Tag::Data, 0, 0).uniforms(n).into_iter().map(|u| (u - 0.5) * 3.46).collect()
}

/// To float64.
pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

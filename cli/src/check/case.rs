//! One case file: its metadata, its tensors, and which of them have been looked at.

use anyhow::{Context, Result, anyhow, bail, ensure};
use jet_models::weights::Safetensors;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Values with a shape. Everything is held as f64, which every stored type fits into exactly.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Slowest dimension first.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f64>,
}

impl Array {
    /// The values rounded to float32. Inputs of a case are float32, so this changes nothing there.
    pub fn f32(&self) -> Vec<f32> {
        self.values.iter().map(|v| *v as f32).collect()
    }

    /// Size of dimension `i`; 1 where there are fewer.
    pub fn dim(&self, i: usize) -> usize {
        self.shape.get(i).copied().unwrap_or(1)
    }

    /// Product of the dimensions from `i` on.
    pub fn inner(&self, i: usize) -> usize {
        self.shape.iter().skip(i).product()
    }

    /// The values below index `i` of the first dimension, as float32.
    pub fn row(&self, i: usize) -> Vec<f32> {
        let n = self.inner(1);
        self.values[i * n..(i + 1) * n].iter().map(|v| *v as f32).collect()
    }
}

/// A case file.
pub struct CaseFile {
    file: Safetensors,
    read: RefCell<BTreeSet<String>>,
}

impl CaseFile {
    /// Opens a file and checks its header.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { file: Safetensors::open(path)?, read: RefCell::default() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The folder it lies in.
    pub fn folder(&self) -> PathBuf {
        self.path().parent().map_or_else(PathBuf::new, Path::to_owned)
    }

    /// The op it is a case of.
    pub fn op(&self) -> Option<&str> {
        self.param_or_none("op")
    }

    /// A parameter as text; `None` where it is absent or spelled `None`.
    pub fn param_or_none(&self, key: &str) -> Option<&str> {
        self.file.metadata().get(key).map(String::as_str).filter(|v| *v != "None")
    }

    /// A parameter as text.
    pub fn param(&self, key: &str) -> Result<&str> {
        self.param_or_none(key).ok_or_else(|| anyhow!("the metadata has no `{key}`"))
    }

    /// A parameter as a number.
    pub fn number<T: FromStr>(&self, key: &str) -> Result<T> {
        parse(key, self.param(key)?)
    }

    /// A parameter as a number, where there is one.
    pub fn number_or_none<T: FromStr>(&self, key: &str) -> Result<Option<T>> {
        self.param_or_none(key).map(|text| parse(key, text)).transpose()
    }

    /// A parameter written as a list, as in `[1, 3, 63]`.
    pub fn list<T: FromStr>(&self, key: &str) -> Result<Vec<T>> {
        let text = self.param(key)?;
        let inside = text
            .trim()
            .strip_prefix('[')
            .and_then(|t| t.strip_suffix(']'))
            .ok_or_else(|| anyhow!("the metadata's `{key}` is `{text}`, expected a list in brackets"))?;
        inside.split(',').map(str::trim).filter(|t| !t.is_empty()).map(|t| parse(key, t)).collect()
    }

    /// Whether there is a tensor `name`.
    pub fn has(&self, name: &str) -> bool {
        self.file.table().get(name).is_some()
    }

    /// Names of all tensors.
    pub fn names(&self) -> Vec<String> {
        self.file.table().entries().iter().map(|t| t.name.clone()).collect()
    }

    /// The floating-point or integer tensor `name`.
    pub fn array(&self, name: &str) -> Result<Array> {
        let tensor = self.tensor(name)?;
        let values = match tensor.to_f64() {
            Ok(values) => values,
            Err(_) => tensor.to_i64()?.into_iter().map(|v| v as f64).collect(),
        };
        Ok(Array { shape: tensor.shape.iter().map(|d| *d as usize).collect(), values })
    }

    /// The tensor `name`, where there is one.
    pub fn array_or_none(&self, name: &str) -> Result<Option<Array>> {
        if self.has(name) { self.array(name).map(Some) } else { Ok(None) }
    }

    /// The tensor `name`, which must have `rank` dimensions.
    pub fn array_of_rank(&self, name: &str, rank: usize) -> Result<Array> {
        let array = self.array(name)?;
        ensure!(
            array.shape.len() == rank,
            "tensor `{name}` has shape {:?}, expected {rank} dimensions",
            array.shape
        );
        Ok(array)
    }

    /// The tensor `name`, which must have this shape.
    pub fn array_of_shape(&self, name: &str, shape: &[usize]) -> Result<Array> {
        let array = self.array(name)?;
        ensure!(array.shape == shape, "tensor `{name}` has shape {:?}, expected {shape:?}", array.shape);
        Ok(array)
    }

    /// The integers of tensor `name`, with its shape.
    pub fn ints(&self, name: &str) -> Result<(Vec<usize>, Vec<i64>)> {
        let tensor = self.tensor(name)?;
        Ok((tensor.shape.iter().map(|d| *d as usize).collect(), tensor.to_i64()?))
    }

    /// Token ids `[rows, tokens]` (or `[tokens]`, one row).
    pub fn token_rows(&self, name: &str) -> Result<Vec<Vec<u32>>> {
        let (shape, ids) = self.ints(name)?;
        let tokens =
            *shape.last().ok_or_else(|| anyhow!("tensor `{name}` is a scalar, expected token ids"))?;
        ensure!(
            shape.len() <= 2 && tokens > 0,
            "tensor `{name}` has shape {shape:?}, expected [rows, tokens]"
        );
        ids.chunks(tokens)
            .map(|row| {
                row.iter()
                    .map(|id| {
                        u32::try_from(*id).map_err(|_| anyhow!("tensor `{name}` holds {id}, no token id"))
                    })
                    .collect()
            })
            .collect()
    }

    /// The raw bytes of tensor `name`.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        Ok(self.tensor(name)?.bytes.to_vec())
    }

    /// Counts tensor `name` as read: another one is compared in its place.
    pub fn skip(&self, name: &str) {
        self.read.borrow_mut().insert(name.to_owned());
    }

    /// Tensors that nobody has asked for.
    pub fn unread(&self) -> Vec<String> {
        let read = self.read.borrow();
        self.names().into_iter().filter(|n| !read.contains(n)).collect()
    }

    fn tensor(&self, name: &str) -> Result<jet_models::weights::Tensor<'_>> {
        let Some(tensor) = self.file.tensor(name) else { bail!("there is no tensor `{name}`") };
        self.read.borrow_mut().insert(name.to_owned());
        Ok(tensor)
    }
}

fn parse<T: FromStr>(key: &str, text: &str) -> Result<T> {
    let text = text.trim();
    text.parse().ok().with_context(|| format!("the metadata's `{key}` is `{text}`, expected a number"))
}

//! Tensors from and to safetensors.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// A tensor of the host.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

const DTYPES: &[Dtype] = &[
    Dtype::BOOL,
    Dtype::U8,
    Dtype::I8,
    Dtype::F8_E4M3,
    Dtype::F8_E5M2,
    Dtype::F8_E8M0,
    Dtype::F4,
    Dtype::U16,
    Dtype::I16,
    Dtype::F16,
    Dtype::BF16,
    Dtype::U32,
    Dtype::I32,
    Dtype::F32,
    Dtype::U64,
    Dtype::I64,
    Dtype::F64,
];

/// An element type by its name in safetensors.
pub(super) fn dtype(name: &str) -> Result<Dtype> {
    DTYPES.iter().copied().find(|d| d.to_string() == name).ok_or_else(|| {
        let known: Vec<String> = DTYPES.iter().map(ToString::to_string).collect();
        anyhow!("`{name}` is no element type; known are {}", known.join(", "))
    })
}

/// Bytes of a tensor.
pub(super) fn bytes_of(dtype: Dtype, shape: &[usize]) -> Result<usize> {
    let elements = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    let bits = elements.and_then(|n| n.checked_mul(dtype.bitsize()));
    match bits {
        Some(bits) if bits % 8 == 0 => Ok(bits / 8),
        Some(_) => bail!("a tensor of shape {shape:?} and type {dtype} is no whole number of bytes"),
        None => bail!("a tensor of shape {shape:?} is larger than memory can be"),
    }
}

/// All tensors of a file, by name.
pub(super) fn read(path: &Path) -> Result<Vec<Tensor>> {
    let bytes = super::files::read("the input", path)?;
    let file = SafeTensors::deserialize(&bytes)
        .with_context(|| format!("the input `{}` is no valid safetensors file", path.display()))?;
    let mut list: Vec<Tensor> = file
        .iter()
        .map(|(name, view)| Tensor {
            name: name.to_owned(),
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: view.data().to_vec(),
        })
        .collect();
    list.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(list)
}

/// Writes tensors as a file.
pub(super) fn write(path: &Path, list: &[Tensor]) -> Result<()> {
    let mut views = Vec::with_capacity(list.len());
    for t in list {
        let view = TensorView::new(t.dtype, t.shape.clone(), &t.bytes)
            .with_context(|| format!("the tensor `{}` cannot be written", t.name))?;
        views.push((t.name.as_str(), view));
    }
    let bytes = safetensors::serialize(views, None).context("the tensors cannot be written")?;
    super::files::write("the tensors", path, &bytes)
}

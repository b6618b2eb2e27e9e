//! GGUF files as targets: metadata for the importer, names and row orders for the weights.

use super::{Place, Target, TargetError};
use crate::weights::gguf::{Array, Value};
use crate::weights::{Checkpoint, Gguf, RowOrder};
use jet_dsl::ModelSpec;
use jet_dsl::block::Block;
use jet_dsl::import::gguf::{GgufModel, MetaValue, Metadata, import};
use jet_dsl::weight::{Role, WeightDecl};
use std::path::Path;

/// A file's metadata as the importer asks for it.
struct Header<'a>(&'a Gguf);

impl Metadata for Header<'_> {
    fn get(&self, key: &str) -> Option<MetaValue> {
        Some(match self.0.get(key)? {
            Value::F32(x) => MetaValue::F32(*x),
            Value::F64(x) => MetaValue::F64(*x),
            Value::Bool(b) => MetaValue::Bool(*b),
            Value::String(text) => MetaValue::Text(text.clone()),
            Value::Array(array) => MetaValue::Array(items(array)),
            whole => match whole.as_u64() {
                Some(n) => MetaValue::Uint(n),
                None => MetaValue::Int(negative(whole)),
            },
        })
    }

    fn array_len(&self, key: &str) -> Option<usize> {
        match self.0.get(key)? {
            Value::Array(array) => Some(length(array)),
            _ => None,
        }
    }

    fn has_tensor(&self, name: &str) -> bool {
        self.0.table().get(name).is_some()
    }
}

/// A whole number below zero.
fn negative(value: &Value) -> i64 {
    match *value {
        Value::I8(v) => v.into(),
        Value::I16(v) => v.into(),
        Value::I32(v) => v.into(),
        Value::I64(v) => v,
        _ => 0,
    }
}

fn length(array: &Array) -> usize {
    match array {
        Array::U8(v) => v.len(),
        Array::I8(v) => v.len(),
        Array::U16(v) => v.len(),
        Array::I16(v) => v.len(),
        Array::U32(v) => v.len(),
        Array::I32(v) => v.len(),
        Array::F32(v) => v.len(),
        Array::Bool(v) => v.len(),
        Array::String(v) => v.len(),
        Array::Array(v) => v.len(),
        Array::U64(v) => v.len(),
        Array::I64(v) => v.len(),
        Array::F64(v) => v.len(),
    }
}

fn items(array: &Array) -> Vec<MetaValue> {
    fn whole<T: Copy + Into<i64>>(values: &[T]) -> Vec<MetaValue> {
        values.iter().map(|v| (*v).into()).map(signed).collect()
    }
    fn signed(v: i64) -> MetaValue {
        u64::try_from(v).map_or(MetaValue::Int(v), MetaValue::Uint)
    }
    match array {
        Array::U8(v) => whole(v),
        Array::I8(v) => whole(v),
        Array::U16(v) => whole(v),
        Array::I16(v) => whole(v),
        Array::U32(v) => whole(v),
        Array::I32(v) => whole(v),
        Array::I64(v) => whole(v),
        Array::U64(v) => v.iter().map(|v| MetaValue::Uint(*v)).collect(),
        Array::F32(v) => v.iter().map(|v| MetaValue::F32(*v)).collect(),
        Array::F64(v) => v.iter().map(|v| MetaValue::F64(*v)).collect(),
        Array::Bool(v) => v.iter().map(|v| MetaValue::Bool(*v)).collect(),
        Array::String(v) => v.iter().map(|v| MetaValue::Text(v.clone())).collect(),
        Array::Array(v) => v.iter().map(|v| MetaValue::Array(items(v))).collect(),
    }
}

fn model(gguf: &Gguf, path: &Path) -> Result<GgufModel, TargetError> {
    let stem = path.file_stem().map_or_else(|| "model".to_owned(), |s| s.to_string_lossy().into_owned());
    import(&Header(gguf), &stem).map_err(|source| TargetError::Import { path: path.to_owned(), source })
}

/// The target that a file is, its model named after the file.
pub(super) fn open(path: &Path) -> Result<Target, TargetError> {
    let found = model(&Gguf::open(path)?, path)?;
    Ok(Target { spec: found.spec, place: Place::Gguf(path.to_owned()), notes: found.notes })
}

/// The weights of `spec` in a file.
pub(super) fn checkpoint(spec: &ModelSpec, path: &Path) -> Result<Checkpoint, TargetError> {
    let gguf = Gguf::open(path)?;
    let permuted = model(&gguf, path)?.permuted_qk;
    let head = |layer: Option<u32>| match spec.layers().nth(layer? as usize)?.2 {
        Block::Attention(a) => Some(a.d_head),
        _ => None,
    };
    if permuted
        && let Some(bias) = spec.weights().iter().find(|w| matches!(w.id.role, Role::QBias | Role::KBias))
    {
        let what = format!(
            "has `{}`, a bias on permuted query or key rows, which is not supported",
            name(spec, bias)
        );
        return Err(TargetError::Path { path: path.to_owned(), what });
    }
    let place = |weight: &WeightDecl| {
        let rows = match (weight.id.role, head(weight.id.layer)) {
            (Role::QProj | Role::KProj, Some(d_head)) if permuted => RowOrder::AdjacentPairs { d_head },
            _ => RowOrder::AsStored,
        };
        (name(spec, weight), rows)
    };
    Ok(Checkpoint::from_gguf(spec, gguf, place)?)
}

/// A weight's name in the file; for one that GGUF has no name for, the usual one, which is then reported as missing.
fn name(spec: &ModelSpec, weight: &WeightDecl) -> String {
    spec.gguf_name(weight.id).unwrap_or_else(|| weight.name.clone())
}

/// In what the model of a file differs from a declared one, in sentences. Names, the context and the characters of the
/// pattern may differ.
pub(super) fn differences(declared: &ModelSpec, found: &ModelSpec) -> Vec<String> {
    let mut all = Vec::new();
    let mut differ = |what: &str, declared: String, found: String| {
        if declared != found {
            all.push(format!("{what} is {found} in the file and {declared} in the declaration"));
        }
    };
    differ("vocab", declared.vocab.to_string(), found.vocab.to_string());
    differ("d_model", declared.d_model.to_string(), found.d_model.to_string());
    differ("norm eps", declared.norm_eps.to_string(), found.norm_eps.to_string());
    differ("tie_embeddings", declared.tie_embeddings.to_string(), found.tie_embeddings.to_string());
    let (here, there) = (declared.layers().count(), found.layers().count());
    differ("the number of blocks", here.to_string(), there.to_string());
    let pairs = declared.layers().zip(found.layers());
    if here == there
        && let Some(((i, _, ours), (_, _, theirs))) = pairs.into_iter().find(|(a, b)| a.2 != b.2)
    {
        differ(&format!("block {i}"), format!("{ours:?}"), format!("{theirs:?}"));
    }
    all
}

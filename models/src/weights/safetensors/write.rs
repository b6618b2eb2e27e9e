//! Writing safetensors.

use crate::weights::Error;
use jet_numerics::DType;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// A tensor to write. Its bytes are those of `dtype` and `shape`, a type that safetensors knows.
#[derive(Clone, Copy, Debug)]
pub struct TensorData<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type.
    pub dtype: DType,
    /// Its shape, slowest dimension first.
    pub shape: &'a [u64],
    /// Its values, little-endian.
    pub bytes: &'a [u8],
}

/// The bytes of a file with these tensors, in this order, and `metadata`.
///
/// Fails for a type that safetensors has no name for (the GGUF block formats). Whether sizes agree and names are
/// distinct is left to the reader, which refuses such a file.
pub fn to_bytes(metadata: &BTreeMap<String, String>, tensors: &[TensorData<'_>]) -> Result<Vec<u8>, Error> {
    let mut header = head(metadata, tensors)?;
    header.reserve(tensors.iter().map(|t| t.bytes.len()).sum());
    tensors.iter().for_each(|t| header.extend_from_slice(t.bytes));
    Ok(header)
}

/// Writes a file, whole or not at all: into a neighbour first, then by rename.
pub fn write(
    path: &Path,
    metadata: &BTreeMap<String, String>,
    tensors: &[TensorData<'_>],
) -> Result<(), Error> {
    let head = head(metadata, tensors)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let written = (|| {
        let mut file = std::io::BufWriter::new(std::fs::File::create(&part)?);
        file.write_all(&head)?;
        tensors.iter().try_for_each(|t| file.write_all(t.bytes))?;
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&part, path)
    })();
    written.map_err(|source| {
        // The neighbour may not exist; what matters is the error above.
        let _ = std::fs::remove_file(&part);
        Error::Io { path: path.to_owned(), doing: "write it", source }
    })
}

/// Length and header, padded with spaces so that the data starts at a multiple of eight.
fn head(metadata: &BTreeMap<String, String>, tensors: &[TensorData<'_>]) -> Result<Vec<u8>, Error> {
    let text = |s: &str| serde_json::Value::from(s).to_string();
    let mut items = Vec::with_capacity(tensors.len() + 1);
    if !metadata.is_empty() {
        let pairs: Vec<_> = metadata.iter().map(|(k, v)| format!("{}:{}", text(k), text(v))).collect();
        items.push(format!("\"__metadata__\":{{{}}}", pairs.join(",")));
    }
    let mut at = 0usize;
    for t in tensors {
        let Some(dtype) = t.dtype.safetensors_name() else {
            return Err(Error::Type {
                name: t.name.to_owned(),
                dtype: t.dtype,
                shape: t.shape.to_vec(),
                expected: "which safetensors cannot hold",
            });
        };
        let end = at + t.bytes.len();
        items.push(format!(
            "{}:{{\"dtype\":\"{dtype}\",\"shape\":{:?},\"data_offsets\":[{at},{end}]}}",
            text(t.name),
            t.shape
        ));
        at = end;
    }
    let mut json = format!("{{{}}}", items.join(","));
    while json.len() % 8 != 0 {
        json.push(' ');
    }
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Safetensors;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let floats: Vec<u8> = [1.5f32, -2.0].into_iter().flat_map(f32::to_le_bytes).collect();
        let metadata = BTreeMap::from([("quo\"te".to_owned(), "\u{e9}\n".to_owned())]);
        let tensors = [
            TensorData { name: "x\\y", dtype: DType::F32, shape: &[2], bytes: &floats },
            TensorData { name: "ids", dtype: DType::U8, shape: &[1, 3], bytes: &[7, 8, 9] },
        ];
        write(&path, &metadata, &tensors).unwrap();
        let file = Safetensors::open(&path).unwrap();
        assert_eq!(file.metadata(), &metadata);
        assert_eq!(file.tensor("x\\y").unwrap().to_f32(), [1.5, -2.0]);
        assert_eq!(file.tensor("ids").unwrap().to_i64().unwrap(), [7, 8, 9]);
        assert_eq!(std::fs::read(&path).unwrap(), to_bytes(&metadata, &tensors).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn block_formats_are_refused() {
        let t = TensorData { name: "w", dtype: DType::Q4_0, shape: &[32], bytes: &[0; 18] };
        let error = to_bytes(&BTreeMap::new(), &[t]).unwrap_err().to_string();
        assert_eq!(error, "tensor `w` is q4_0[32], which safetensors cannot hold");
    }
}

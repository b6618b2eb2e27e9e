//! Writing small GGUF files: fixtures of tests and exported random models.

use super::{Array, Value};
use jet_numerics::DType;

/// Gathers metadata and tensors and lays them out as a version 3 file.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    pairs: Vec<(String, Value)>,
    tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
}

const ALIGNMENT: usize = 32;

impl Builder {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metadata pair. Nothing is checked: the reader refuses a key that occurs twice.
    pub fn pair(mut self, key: &str, value: Value) -> Self {
        self.pairs.push((key.to_owned(), value));
        self
    }

    /// Adds a tensor with a row-major shape. Panics for a type that GGUF has no number for.
    pub fn tensor(mut self, name: &str, dtype: DType, shape: &[u64], bytes: &[u8]) -> Self {
        let id = dtype.gguf_type().expect("a type that GGUF files can hold");
        self.tensors.push((name.to_owned(), shape.to_vec(), id, bytes.to_vec()));
        self
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.pairs.len() as u64).to_le_bytes());
        for (key, value) in &self.pairs {
            string(&mut out, key);
            put_value(&mut out, value);
        }
        let mut at = 0usize;
        for (name, shape, id, bytes) in &self.tensors {
            string(&mut out, name);
            out.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|d| out.extend(d.to_le_bytes()));
            out.extend(id.to_le_bytes());
            out.extend((at as u64).to_le_bytes());
            at = (at + bytes.len()).next_multiple_of(ALIGNMENT);
        }
        for (.., bytes) in &self.tensors {
            out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
            out.extend(bytes);
        }
        out
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    fn put<const N: usize>(out: &mut Vec<u8>, kind: u32, bytes: [u8; N]) {
        out.extend(kind.to_le_bytes());
        out.extend(bytes);
    }
    match value {
        Value::U8(v) => put(out, 0, v.to_le_bytes()),
        Value::I8(v) => put(out, 1, v.to_le_bytes()),
        Value::U16(v) => put(out, 2, v.to_le_bytes()),
        Value::I16(v) => put(out, 3, v.to_le_bytes()),
        Value::U32(v) => put(out, 4, v.to_le_bytes()),
        Value::I32(v) => put(out, 5, v.to_le_bytes()),
        Value::F32(v) => put(out, 6, v.to_le_bytes()),
        Value::Bool(v) => put(out, 7, [u8::from(*v)]),
        Value::String(v) => {
            out.extend(8u32.to_le_bytes());
            string(out, v);
        }
        Value::Array(v) => {
            out.extend(9u32.to_le_bytes());
            put_array(out, v);
        }
        Value::U64(v) => put(out, 10, v.to_le_bytes()),
        Value::I64(v) => put(out, 11, v.to_le_bytes()),
        Value::F64(v) => put(out, 12, v.to_le_bytes()),
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    fn put<T: Copy, const N: usize>(
        out: &mut Vec<u8>,
        kind: u32,
        values: &[T],
        bytes: impl Fn(T) -> [u8; N],
    ) {
        out.extend(kind.to_le_bytes());
        out.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|&v| out.extend(bytes(v)));
    }
    match array {
        Array::U8(v) => put(out, 0, v, u8::to_le_bytes),
        Array::I8(v) => put(out, 1, v, i8::to_le_bytes),
        Array::U16(v) => put(out, 2, v, u16::to_le_bytes),
        Array::I16(v) => put(out, 3, v, i16::to_le_bytes),
        Array::U32(v) => put(out, 4, v, u32::to_le_bytes),
        Array::I32(v) => put(out, 5, v, i32::to_le_bytes),
        Array::F32(v) => put(out, 6, v, f32::to_le_bytes),
        Array::Bool(v) => put(out, 7, v, |b| [u8::from(b)]),
        Array::String(v) => {
            put::<u8, 0>(out, 8, &[], |_| []);
            let n = out.len() - 8;
            out[n..].copy_from_slice(&(v.len() as u64).to_le_bytes());
            v.iter().for_each(|s| string(out, s));
        }
        Array::Array(v) => {
            out.extend(9u32.to_le_bytes());
            out.extend((v.len() as u64).to_le_bytes());
            v.iter().for_each(|a| put_array(out, a));
        }
        Array::U64(v) => put(out, 10, v, u64::to_le_bytes),
        Array::I64(v) => put(out, 11, v, i64::to_le_bytes),
        Array::F64(v) => put(out, 12, v, f64::to_le_bytes),
    }
}

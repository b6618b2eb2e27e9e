//! The reader: one forward pass over the header, every length checked against what is left of the file before
//! anything of that length is made.

use super::{Array, GgufFault, Value};
use crate::weights::table::tensor_bytes;
use crate::weights::{TensorEntry, TensorTable};
use jet_numerics::DType;
use std::collections::HashMap;

/// Arrays of arrays deeper than this are refused.
const DEEPEST: u32 = 4;

/// Everything before the tensors' values.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    metadata: Vec<(String, Value)>,
    by_key: HashMap<String, usize>,
    /// The tensors, with offsets counted from the start of the file.
    pub table: TensorTable,
}

impl Contents {
    /// Reads and checks the metadata and the tensor list of a whole file.
    pub fn parse(file: &[u8]) -> Result<Self, GgufFault> {
        let mut cursor = Cursor { file, at: 0 };
        version(&mut cursor)?;
        let tensors = cursor.u64(&|| "the number of tensors".to_owned())?;
        let pairs = cursor.u64(&|| "the number of metadata pairs".to_owned())?;
        // A tensor takes at least 28 bytes (empty name, one dimension), a pair 13 (empty key, one byte).
        let tensors = cursor.count(&|| "tensors".to_owned(), tensors, 28)?;
        let pairs = cursor.count(&|| "metadata pairs".to_owned(), pairs, 13)?;
        let mut this = Self::default();
        for i in 0..pairs {
            let key = cursor.string(&|| format!("the key of metadata pair {i}"))?;
            let what = || format!("the metadata value `{key}`");
            let kind = cursor.u32(&what)?;
            let value = cursor.value(kind, &what, 0)?;
            if this.by_key.insert(key.clone(), this.metadata.len()).is_some() {
                return Err(GgufFault::DuplicateKey { key });
            }
            this.metadata.push((key, value));
        }
        let alignment = this.alignment()?;
        let infos = (0..tensors).map(|i| Info::read(&mut cursor, i)).collect::<Result<Vec<_>, _>>()?;
        let data = (cursor.at as u64).next_multiple_of(alignment);
        let entries = infos.into_iter().map(|info| info.place(data, alignment, file.len()));
        this.table = TensorTable::new(entries.collect::<Result<_, _>>()?)
            .map_err(|name| GgufFault::DuplicateTensor { name })?;
        if let Some((a, b)) = this.table.overlap() {
            return Err(GgufFault::Overlap { first: a.name.clone(), second: b.name.clone() });
        }
        Ok(this)
    }

    /// The metadata value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.by_key.get(key).map(|&i| &self.metadata[i].1)
    }

    /// The metadata, in the file's order.
    pub fn metadata(&self) -> &[(String, Value)] {
        &self.metadata
    }

    fn alignment(&self) -> Result<u64, GgufFault> {
        let key = "general.alignment";
        let fault =
            |found| GgufFault::Key { key: key.to_owned(), found, expected: "a power of two up to 65536" };
        match self.get(key) {
            None => Ok(32),
            Some(&Value::U32(a)) if a.is_power_of_two() && a <= 65536 => Ok(a.into()),
            Some(Value::U32(a)) => Err(fault(a.to_string())),
            Some(other) => Err(fault(other.kind().to_owned())),
        }
    }
}

fn version(cursor: &mut Cursor<'_>) -> Result<(), GgufFault> {
    let head = &cursor.file[..cursor.file.len().min(4)];
    if head != b"GGUF" {
        return Err(GgufFault::Magic { found: head.to_vec() });
    }
    cursor.at = 4;
    match cursor.u32(&|| "the version".to_owned())? {
        2 | 3 => Ok(()),
        v if matches!(v.swap_bytes(), 1..=3) => Err(GgufFault::BigEndian),
        found => Err(GgufFault::Version { found }),
    }
}

/// A line of the tensor list.
struct Info {
    name: String,
    shape: Vec<u64>,
    dtype: DType,
    offset: u64,
}

impl Info {
    fn read(cursor: &mut Cursor<'_>, i: usize) -> Result<Self, GgufFault> {
        let name = cursor.string(&|| format!("the name of tensor {i}"))?;
        let what = || format!("the description of tensor `{name}`");
        let found = cursor.u32(&what)?;
        if !(1..=4).contains(&found) {
            return Err(GgufFault::Dimensions { name, found });
        }
        // The file lists the fastest dimension first.
        let mut shape = (0..found).map(|_| cursor.u64(&what)).collect::<Result<Vec<_>, _>>()?;
        shape.reverse();
        let id = cursor.u32(&what)?;
        let Some(dtype) = DType::from_gguf(id) else {
            return Err(GgufFault::TensorType { name, found: id });
        };
        let offset = cursor.u64(&what)?;
        Ok(Self { name, shape, dtype, offset })
    }

    /// Where the tensor lies in a file of `file` bytes whose data section starts at `data`.
    fn place(self, data: u64, alignment: u64, file: usize) -> Result<TensorEntry, GgufFault> {
        let Self { name, shape, dtype, offset } = self;
        let Some(bytes) = tensor_bytes(dtype, &shape) else {
            return Err(GgufFault::Shape { name, dtype, shape });
        };
        if !offset.is_multiple_of(alignment) {
            return Err(GgufFault::Misaligned { name, offset, alignment });
        }
        let start = u128::from(data) + u128::from(offset);
        let end = start + bytes as u128;
        if end > file as u128 {
            return Err(GgufFault::Offset { name, start, end, file });
        }
        Ok(TensorEntry { name, dtype, shape, range: start as usize..end as usize })
    }
}

/// What a piece of the file is called in an error; made only when one happens.
type What<'a> = &'a dyn Fn() -> String;

struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn left(&self) -> usize {
        self.file.len() - self.at
    }

    fn take(&mut self, n: u64, what: What<'_>) -> Result<&'a [u8], GgufFault> {
        let left = self.left();
        match usize::try_from(n) {
            Ok(n) if n <= left => {
                let bytes = &self.file[self.at..self.at + n];
                self.at += n;
                Ok(bytes)
            }
            _ => Err(GgufFault::Truncated { what: what(), at: self.at, wanted: n, left }),
        }
    }

    fn fixed<const N: usize>(&mut self, what: What<'_>) -> Result<[u8; N], GgufFault> {
        Ok(self.take(N as u64, what)?.try_into().expect("take gives as many bytes as asked for"))
    }

    fn u32(&mut self, what: What<'_>) -> Result<u32, GgufFault> {
        self.fixed(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: What<'_>) -> Result<u64, GgufFault> {
        self.fixed(what).map(u64::from_le_bytes)
    }

    /// A claimed number of items of at least `each` bytes, refused where the file cannot hold so many.
    fn count(&self, what: What<'_>, claimed: u64, each: u64) -> Result<usize, GgufFault> {
        let left = self.left();
        let most = left as u64 / each;
        if claimed > most {
            return Err(GgufFault::Count { what: what(), claimed, left, most });
        }
        Ok(claimed as usize)
    }

    fn string(&mut self, what: What<'_>) -> Result<String, GgufFault> {
        let length = self.u64(what)?;
        let at = self.at;
        let bytes = self.take(length, what)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(GgufFault::Utf8 { what: what(), at }),
        }
    }

    fn bool(&mut self, what: What<'_>) -> Result<bool, GgufFault> {
        match self.fixed(what)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [found] => Err(GgufFault::Bool { what: what(), found }),
        }
    }

    fn value(&mut self, kind: u32, what: What<'_>, depth: u32) -> Result<Value, GgufFault> {
        Ok(match kind {
            0 => Value::U8(u8::from_le_bytes(self.fixed(what)?)),
            1 => Value::I8(i8::from_le_bytes(self.fixed(what)?)),
            2 => Value::U16(u16::from_le_bytes(self.fixed(what)?)),
            3 => Value::I16(i16::from_le_bytes(self.fixed(what)?)),
            4 => Value::U32(self.u32(what)?),
            5 => Value::I32(i32::from_le_bytes(self.fixed(what)?)),
            6 => Value::F32(f32::from_le_bytes(self.fixed(what)?)),
            7 => Value::Bool(self.bool(what)?),
            8 => Value::String(self.string(what)?),
            9 => Value::Array(self.array(what, depth)?),
            10 => Value::U64(self.u64(what)?),
            11 => Value::I64(i64::from_le_bytes(self.fixed(what)?)),
            12 => Value::F64(f64::from_le_bytes(self.fixed(what)?)),
            found => return Err(GgufFault::ValueType { what: what(), found }),
        })
    }

    fn array(&mut self, what: What<'_>, depth: u32) -> Result<Array, GgufFault> {
        if depth >= DEEPEST {
            return Err(GgufFault::Nesting { what: what(), limit: DEEPEST });
        }
        let kind = self.u32(what)?;
        let n = self.u64(what)?;
        Ok(match kind {
            0 => Array::U8(self.take(n, what)?.to_vec()),
            1 => Array::I8(self.numbers(n, what, i8::from_le_bytes)?),
            2 => Array::U16(self.numbers(n, what, u16::from_le_bytes)?),
            3 => Array::I16(self.numbers(n, what, i16::from_le_bytes)?),
            4 => Array::U32(self.numbers(n, what, u32::from_le_bytes)?),
            5 => Array::I32(self.numbers(n, what, i32::from_le_bytes)?),
            6 => Array::F32(self.numbers(n, what, f32::from_le_bytes)?),
            7 => Array::Bool(self.items(n, 1, what, |c| c.bool(what))?),
            8 => Array::String(self.items(n, 8, what, |c| c.string(what))?),
            9 => Array::Array(self.items(n, 12, what, |c| c.array(what, depth + 1))?),
            10 => Array::U64(self.numbers(n, what, u64::from_le_bytes)?),
            11 => Array::I64(self.numbers(n, what, i64::from_le_bytes)?),
            12 => Array::F64(self.numbers(n, what, f64::from_le_bytes)?),
            found => return Err(GgufFault::ValueType { what: format!("an element of {}", what()), found }),
        })
    }

    fn numbers<T, const N: usize>(
        &mut self,
        n: u64,
        what: What<'_>,
        value: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, GgufFault> {
        let bytes = self.take(n.saturating_mul(N as u64), what)?;
        Ok(bytes.as_chunks::<N>().0.iter().map(|&b| value(b)).collect())
    }

    /// `n` items of at least `each` bytes.
    fn items<T>(
        &mut self,
        n: u64,
        each: u64,
        what: What<'_>,
        mut item: impl FnMut(&mut Self) -> Result<T, GgufFault>,
    ) -> Result<Vec<T>, GgufFault> {
        let n = self.count(&|| format!("elements of {}", what()), n, each)?;
        (0..n).map(|_| item(self)).collect()
    }
}

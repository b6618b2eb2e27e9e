//! The header: read as a list first, so that a name that occurs twice is seen, then judged tensor by tensor.

use crate::weights::table::tensor_bytes;
use crate::weights::{TensorEntry, TensorTable};
use jet_numerics::DType;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use std::collections::BTreeMap;

/// Headers above this are refused, as the format's own reader does.
const LONGEST_HEADER: u64 = 100_000_000;

/// What a safetensors header says, with offsets counted from the start of the file.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// Strings by key.
    pub metadata: BTreeMap<String, String>,
    /// The tensors.
    pub table: TensorTable,
}

/// What can be wrong with a safetensors file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say it")]
pub enum HeaderFault {
    #[error(
        "the file has {found} bytes, a safetensors file has at least 10; it is truncated or something else"
    )]
    Short { found: usize },
    #[error(
        "the header claims {claimed} bytes, but the file has {left} after its first 8; it is truncated or no \
         safetensors file"
    )]
    HeaderLength { claimed: u64, left: usize },
    #[error("the header claims {claimed} bytes, the limit is {LONGEST_HEADER}")]
    HeaderTooLong { claimed: u64 },
    #[error("the header is not the JSON object it should be: {what}")]
    Json { what: String },
    #[error("the tensor `{name}` is listed twice")]
    Duplicate { name: String },
    #[error("the tensor `{name}` has the type {found}, which jet does not read; it reads {}", known())]
    DType { name: String, found: String },
    #[error("the tensor `{name}` has the shape {shape:?}, whose size overflows")]
    Overflow { name: String, shape: Vec<u64> },
    #[error("the tensor `{name}` lies at bytes {start}..{end} of the data, which has {data} bytes")]
    Offsets { name: String, start: u64, end: u64, data: usize },
    #[error("the tensor `{name}`, {dtype}{shape:?}, is {expected} bytes, but its offsets span {found}")]
    Size { name: String, dtype: DType, shape: Vec<u64>, expected: usize, found: usize },
    #[error("the tensors `{first}` and `{second}` share bytes")]
    Overlap { first: String, second: String },
    #[error("bytes {start}..{end} of the data belong to no tensor; the file is damaged or not finished")]
    Hole { start: usize, end: usize },
}

fn known() -> String {
    DType::ALL.into_iter().filter_map(DType::safetensors_name).collect::<Vec<_>>().join(", ")
}

impl Header {
    /// Reads and checks the header of a whole file: every tensor inside the data, no byte used twice, none unused.
    pub fn parse(file: &[u8]) -> Result<Self, HeaderFault> {
        let (length, rest) = file.split_first_chunk::<8>().ok_or(HeaderFault::Short { found: file.len() })?;
        let claimed = u64::from_le_bytes(*length);
        if claimed > LONGEST_HEADER {
            return Err(match usize::try_from(claimed) {
                Ok(n) if n <= rest.len() => HeaderFault::HeaderTooLong { claimed },
                _ => HeaderFault::HeaderLength { claimed, left: rest.len() },
            });
        }
        let (json, data) = rest
            .split_at_checked(claimed as usize)
            .ok_or(HeaderFault::HeaderLength { claimed, left: rest.len() })?;
        let Raw(items) =
            serde_json::from_slice(json).map_err(|e| HeaderFault::Json { what: e.to_string() })?;
        let mut metadata = None;
        let mut entries = Vec::with_capacity(items.len());
        for (name, item) in items {
            match item {
                Item::Metadata(map) if metadata.is_none() => metadata = Some(map),
                Item::Metadata(_) => return Err(HeaderFault::Duplicate { name }),
                Item::Tensor(raw) => entries.push(entry(name, raw, 8 + json.len(), data.len())?),
            }
        }
        let table = TensorTable::new(entries).map_err(|name| HeaderFault::Duplicate { name })?;
        whole(&table, 8 + json.len(), file.len())?;
        Ok(Self { metadata: metadata.unwrap_or_default(), table })
    }
}

/// One tensor, checked for itself. `base` is where the data starts in the file, `data` its length.
fn entry(name: String, raw: RawTensor, base: usize, data: usize) -> Result<TensorEntry, HeaderFault> {
    let Some(dtype) = DType::from_safetensors(&raw.dtype) else {
        return Err(HeaderFault::DType { name, found: raw.dtype });
    };
    let RawTensor { shape, data_offsets: (start, end), .. } = raw;
    let inside = match (usize::try_from(start), usize::try_from(end)) {
        (Ok(s), Ok(e)) if s <= e && e <= data => Some((s, e)),
        _ => None,
    };
    let Some((s, e)) = inside else {
        return Err(HeaderFault::Offsets { name, start, end, data });
    };
    let Some(expected) = tensor_bytes(dtype, &shape) else {
        return Err(HeaderFault::Overflow { name, shape });
    };
    if expected != e - s {
        return Err(HeaderFault::Size { name, dtype, shape, expected, found: e - s });
    }
    Ok(TensorEntry { name, dtype, shape, range: base + s..base + e })
}

/// The tensors together cover the data exactly once.
fn whole(table: &TensorTable, base: usize, file: usize) -> Result<(), HeaderFault> {
    if let Some((a, b)) = table.overlap() {
        return Err(HeaderFault::Overlap { first: a.name.clone(), second: b.name.clone() });
    }
    let mut ranges: Vec<_> = table.entries().iter().map(|e| e.range.clone()).collect();
    ranges.sort_by_key(|r| (r.start, r.end));
    let mut at = base;
    for r in ranges.into_iter().chain(std::iter::once(file..file)) {
        if r.start > at {
            return Err(HeaderFault::Hole { start: at - base, end: r.start - base });
        }
        at = r.end;
    }
    Ok(())
}

/// The header's pairs in order, twins included.
struct Raw(Vec<(String, Item)>);

enum Item {
    Metadata(BTreeMap<String, String>),
    Tensor(RawTensor),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Raw;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of tensors by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut items = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let named = |e: A::Error| A::Error::custom(format_args!("`{name}`: {e}"));
                    let item = if name == "__metadata__" {
                        Item::Metadata(map.next_value().map_err(named)?)
                    } else {
                        Item::Tensor(map.next_value().map_err(named)?)
                    };
                    items.push((name, item));
                }
                Ok(Raw(items))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(json: &str, data: usize) -> Vec<u8> {
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        bytes.extend((0..data).map(|i| i as u8));
        bytes
    }

    fn fault(json: &str, data: usize) -> String {
        Header::parse(&file(json, data)).unwrap_err().to_string()
    }

    #[test]
    fn reads_types_shapes_and_metadata() {
        let json = r#"{"__metadata__":{"op":"x"},"b":{"dtype":"BF16","shape":[2,2],"data_offsets":[4,12]},
            "a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"e":{"dtype":"I64","shape":[0,3],"data_offsets":[12,12]}}"#;
        let header = Header::parse(&file(json, 12)).unwrap();
        assert_eq!(header.metadata["op"], "x");
        let b = header.table.get("b").unwrap();
        assert_eq!((b.dtype, &b.shape[..], b.range.len()), (DType::Bf16, &[2, 2][..], 8));
        assert_eq!(header.table.entries().len(), 3);
    }

    #[test]
    fn says_what_is_wrong() {
        let t = |name: &str, dtype: &str, shape: &str, at: &str| {
            format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{at}}}"#)
        };
        let one = |item: String| format!("{{{item}}}");
        let two = |a: String, b: String| format!("{{{a},{b}}}");
        let cases = [
            (fault("", 0), "not the JSON object"),
            (fault("[]", 0), "an object of tensors by name"),
            (fault("{}", 3), "bytes 0..3 of the data belong to no tensor"),
            (
                fault(&one(t("w", "F8_E5M2", "[4]", "[0,4]")), 4),
                "`w` has the type F8_E5M2, which jet does not read",
            ),
            (
                fault(&one(t("w", "F32", "[2]", "[0,4]")), 4),
                "`w`, f32[2], is 8 bytes, but its offsets span 4",
            ),
            (
                fault(&one(t("w", "F32", "[2]", "[0,8]")), 4),
                "`w` lies at bytes 0..8 of the data, which has 4 bytes",
            ),
            (fault(&one(t("w", "F32", "[1]", "[4,0]")), 4), "`w` lies at bytes 4..0"),
            (fault(&one(t("w", "F32", "[4611686018427387904,4]", "[0,4]")), 4), "size overflows"),
            (fault(&one(t("w", "F32", "[-1]", "[0,4]")), 4), "`w`: invalid value: integer `-1`"),
            (fault(&one(t("w", "F32", "[1.5]", "[0,4]")), 4), "`w`: invalid type"),
            (
                fault(&two(t("w", "U8", "[2]", "[0,2]"), t("w", "U8", "[2]", "[2,4]")), 4),
                "the tensor `w` is listed twice",
            ),
            (
                fault(&two(t("v", "U8", "[3]", "[0,3]"), t("w", "U8", "[2]", "[2,4]")), 4),
                "the tensors `v` and `w` share bytes",
            ),
            (
                fault(&two(t("v", "U8", "[1]", "[0,1]"), t("w", "U8", "[2]", "[2,4]")), 4),
                "bytes 1..2 of the data belong to no tensor",
            ),
            (fault(r#"{"__metadata__":{},"__metadata__":{}}"#, 0), "`__metadata__` is listed twice"),
            (fault(r#"{"__metadata__":{"a":1}}"#, 0), "`__metadata__`: invalid type"),
        ];
        for (found, expected) in cases {
            assert!(found.contains(expected), "{found:?} should contain {expected:?}");
        }
    }

    #[test]
    fn refuses_absurd_lengths_without_reading_them() {
        for claimed in [11u64, 1 << 27, 1 << 40, u64::MAX] {
            let mut bytes = claimed.to_le_bytes().to_vec();
            bytes.extend_from_slice(b"{}");
            assert!(matches!(Header::parse(&bytes), Err(HeaderFault::HeaderLength { left: 2, .. })));
        }
        assert_eq!(Header::parse(&[1, 2, 3]).unwrap_err(), HeaderFault::Short { found: 3 });
    }

    #[test]
    fn deep_nesting_is_an_error() {
        assert!(fault(&format!("{{\"w\":{}", "[".repeat(100_000)), 0).contains("not the JSON object"));
    }
}

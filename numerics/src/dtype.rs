//! [`DType`]: how the values of a tensor are stored, and what the file formats call it.

use serde::{Deserialize, Serialize};

/// How the values of a tensor are stored. Plain types are blocks of one value; the GGUF formats pack 32 or 256
/// values of one row into a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the formats")]
pub enum DType {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    /// 32 values in 18 bytes: f16 scale, 4-bit values less 8.
    #[serde(rename = "q4_0")]
    Q4_0,
    /// 32 values in 20 bytes: f16 scale and minimum, 4-bit values.
    #[serde(rename = "q4_1")]
    Q4_1,
    /// 32 values in 22 bytes: f16 scale, 5-bit values less 16.
    #[serde(rename = "q5_0")]
    Q5_0,
    /// 32 values in 24 bytes: f16 scale and minimum, 5-bit values.
    #[serde(rename = "q5_1")]
    Q5_1,
    /// 32 values in 34 bytes: f16 scale, signed bytes.
    #[serde(rename = "q8_0")]
    Q8_0,
    /// 256 values in 144 bytes: eight sub-blocks with 6-bit scales and minima, 4-bit values.
    #[serde(rename = "q4_k")]
    Q4K,
    /// 256 values in 210 bytes: sixteen sub-blocks with 8-bit scales, 6-bit values less 32.
    #[serde(rename = "q6_k")]
    Q6K,
}

/// One line of the table below.
struct Info {
    dtype: DType,
    name: &'static str,
    block_len: usize,
    block_bytes: usize,
    safetensors: Option<&'static str>,
    gguf: Option<u32>,
}

const fn plain(dtype: DType, name: &'static str, bytes: usize, st: &'static str, gguf: Option<u32>) -> Info {
    Info { dtype, name, block_len: 1, block_bytes: bytes, safetensors: Some(st), gguf }
}

const fn block(dtype: DType, name: &'static str, len: usize, bytes: usize, gguf: u32) -> Info {
    Info { dtype, name, block_len: len, block_bytes: bytes, safetensors: None, gguf: Some(gguf) }
}

/// The registry: every type with its names and sizes, in the order of the enum.
const TABLE: [Info; 20] = [
    plain(DType::F64, "f64", 8, "F64", Some(28)),
    plain(DType::F32, "f32", 4, "F32", Some(0)),
    plain(DType::F16, "f16", 2, "F16", Some(1)),
    plain(DType::Bf16, "bf16", 2, "BF16", Some(30)),
    plain(DType::I64, "i64", 8, "I64", Some(27)),
    plain(DType::I32, "i32", 4, "I32", Some(26)),
    plain(DType::I16, "i16", 2, "I16", Some(25)),
    plain(DType::I8, "i8", 1, "I8", Some(24)),
    plain(DType::U64, "u64", 8, "U64", None),
    plain(DType::U32, "u32", 4, "U32", None),
    plain(DType::U16, "u16", 2, "U16", None),
    plain(DType::U8, "u8", 1, "U8", None),
    plain(DType::Bool, "bool", 1, "BOOL", None),
    block(DType::Q4_0, "q4_0", 32, 18, 2),
    block(DType::Q4_1, "q4_1", 32, 20, 3),
    block(DType::Q5_0, "q5_0", 32, 22, 6),
    block(DType::Q5_1, "q5_1", 32, 24, 7),
    block(DType::Q8_0, "q8_0", 32, 34, 8),
    block(DType::Q4K, "q4_k", 256, 144, 12),
    block(DType::Q6K, "q6_k", 256, 210, 14),
];

impl DType {
    /// Every type.
    pub const ALL: [DType; TABLE.len()] = {
        let mut all = [DType::F64; TABLE.len()];
        let mut i = 0;
        while i < TABLE.len() {
            all[i] = TABLE[i].dtype;
            i += 1;
        }
        all
    };

    const fn info(self) -> &'static Info {
        &TABLE[self as usize]
    }

    /// The name in jet, as in `q4_1` and `bf16`.
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// Values of a block: 1 for the plain types, 32 or 256 for the block formats.
    pub const fn block_len(self) -> usize {
        self.info().block_len
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        self.info().block_bytes
    }

    /// Bytes of a row of `values` values; `None` where that is no whole number of blocks, or overflows.
    pub const fn row_bytes(self, values: usize) -> Option<usize> {
        let info = self.info();
        if !values.is_multiple_of(info.block_len) {
            return None;
        }
        (values / info.block_len).checked_mul(info.block_bytes)
    }

    /// Whether values come in blocks with scales of their own.
    pub const fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// Whether a weight may be stored so: a floating-point type or a block format.
    pub const fn is_weight(self) -> bool {
        self.is_quantized() || matches!(self, DType::F64 | DType::F32 | DType::F16 | DType::Bf16)
    }

    /// The type that jet calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|i| i.name == name).map(|i| i.dtype)
    }

    /// The name in a safetensors header; `None` for the block formats, which it cannot hold.
    pub const fn safetensors_name(self) -> Option<&'static str> {
        self.info().safetensors
    }

    /// The type that a safetensors header calls `name`.
    pub fn from_safetensors(name: &str) -> Option<Self> {
        TABLE.iter().find(|i| i.safetensors == Some(name)).map(|i| i.dtype)
    }

    /// The number in a GGUF tensor list; `None` for the types it does not know.
    pub const fn gguf_type(self) -> Option<u32> {
        self.info().gguf
    }

    /// The type with the number `id` in a GGUF tensor list.
    pub fn from_gguf(id: u32) -> Option<Self> {
        TABLE.iter().find(|i| i.gguf == Some(id)).map(|i| i.dtype)
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (i, d) in DType::ALL.into_iter().enumerate() {
            assert_eq!(d as usize, i);
            assert_eq!(TABLE[i].dtype, d);
        }
    }

    #[test]
    fn every_name_leads_back() {
        for d in DType::ALL {
            assert_eq!(DType::from_name(d.name()), Some(d));
            assert!(d.safetensors_name().is_none_or(|n| DType::from_safetensors(n) == Some(d)));
            assert!(d.gguf_type().is_none_or(|n| DType::from_gguf(n) == Some(d)));
            assert!(d.safetensors_name().is_some() || d.gguf_type().is_some());
        }
        assert_eq!(DType::from_name("q9_9"), None);
        assert_eq!(DType::from_gguf(13), None);
        assert_eq!(DType::from_safetensors("bf16"), None);
    }

    #[test]
    fn rows_are_whole_blocks() {
        assert_eq!(DType::Q4_1.row_bytes(576), Some(360));
        assert_eq!(DType::Q4_1.row_bytes(577), None);
        assert_eq!(DType::Q4K.row_bytes(512), Some(288));
        assert_eq!(DType::F64.row_bytes(usize::MAX), None);
        assert_eq!(DType::Q6K.row_bytes(0), Some(0));
    }
}

//! What can be wrong with a GGUF file.

use jet_numerics::DType;

/// What can be wrong with a GGUF file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say it")]
pub enum GgufFault {
    #[error("the file starts with {found:02x?}, not with `GGUF`; it is no GGUF file")]
    Magic { found: Vec<u8> },
    #[error("the file is big-endian; jet reads little-endian GGUF files")]
    BigEndian,
    #[error("the file has version {found}; jet reads GGUF versions 2 and 3")]
    Version { found: u32 },
    #[error("the file ends inside {what}, at byte {at}: {wanted} bytes wanted, {left} left; it is truncated")]
    Truncated { what: String, at: usize, wanted: u64, left: usize },
    #[error(
        "the file claims {claimed} {what}, but its {left} bytes cannot hold more than {most}; it is damaged"
    )]
    Count { what: String, claimed: u64, left: usize, most: u64 },
    #[error("{what}, at byte {at}, is not valid UTF-8")]
    Utf8 { what: String, at: usize },
    #[error("{what} has the type {found}; GGUF has the types 0 to 12")]
    ValueType { what: String, found: u32 },
    #[error("{what} is the boolean {found}; expected 0 or 1")]
    Bool { what: String, found: u8 },
    #[error("{what} nests arrays deeper than {limit}")]
    Nesting { what: String, limit: u32 },
    #[error("the metadata key `{key}` occurs twice")]
    DuplicateKey { key: String },
    #[error("the metadata key `{key}` is {found}; expected {expected}")]
    Key { key: String, found: String, expected: &'static str },
    #[error("the tensor `{name}` is listed twice")]
    DuplicateTensor { name: String },
    #[error("the tensor `{name}` has {found} dimensions; GGUF allows 1 to 4")]
    Dimensions { name: String, found: u32 },
    #[error("the tensor `{name}` is stored in {}, which jet does not read; it reads {}", kind(*.found), known())]
    TensorType { name: String, found: u32 },
    #[error("the tensor `{name}` has the shape {shape:?}, which {dtype} blocks of {} do not divide, or which overflows", .dtype.block_len())]
    Shape { name: String, dtype: DType, shape: Vec<u64> },
    #[error("the tensor `{name}` starts at {offset}, no multiple of the alignment {alignment}")]
    Misaligned { name: String, offset: u64, alignment: u64 },
    #[error(
        "the tensor `{name}` lies at bytes {start}..{end} of the file, which has {file}; it is truncated or damaged"
    )]
    Offset { name: String, start: u128, end: u128, file: usize },
    #[error("the tensors `{first}` and `{second}` share bytes")]
    Overlap { first: String, second: String },
}

/// The names of the formats that are not read, for the message.
fn kind(id: u32) -> String {
    let name = match id {
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        13 => "Q5_K",
        15 => "Q8_K",
        16..=23 | 29 => "an IQ format",
        34 | 35 => "a ternary format",
        _ => return format!("the unknown format {id}"),
    };
    format!("{name} (format {id})")
}

fn known() -> String {
    let weights = DType::ALL.into_iter().filter(|d| d.is_weight() && d.gguf_type().is_some());
    weights.map(DType::name).collect::<Vec<_>>().join(", ")
}

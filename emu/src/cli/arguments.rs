//! ARGS.json: what each parameter of the kernel gets.

use anyhow::{Context, Result, anyhow, bail};
use safetensors::Dtype;
use serde_json::{Map, Value};

use crate::exec::Arg;
use crate::tensor::TensorMapSpec;

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Argument {
    /// The address of a buffer, and bytes into it.
    Tensor { name: String, offset: u64 },
    /// The address of a buffer made for it.
    Fresh(Fresh),
    /// A tensor map over a buffer.
    Map(TensorMapSpec),
    /// A value as it is.
    Value(Arg),
}

/// A buffer to be made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fresh {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Whether its zeros count as written.
    pub(super) written: bool,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Arguments {
    /// Buffers that only tensor maps use.
    pub(super) buffers: Vec<Fresh>,
    /// By parameter.
    pub(super) list: Vec<Argument>,
}

const KINDS: &[&str] = &[
    "tensor",
    "zeros",
    "empty",
    "u8",
    "i8",
    "u16",
    "i16",
    "u32",
    "i32",
    "u64",
    "i64",
    "f32",
    "f64",
    "bool",
    "null",
    "bytes",
    "tensor_map",
];

/// Reads the text of the file.
pub(super) fn parse(text: &str) -> Result<Arguments> {
    match serde_json::from_str(text).context("it is no valid JSON")? {
        Value::Array(list) => Ok(Arguments { buffers: Vec::new(), list: entries(&list)? }),
        Value::Object(mut map) => {
            let mut take = |key: &str| match map.remove(key) {
                None => Ok(Vec::new()),
                Some(Value::Array(list)) => Ok(list),
                Some(other) => Err(anyhow!("`{key}` is {}, expected a list", describe(&other))),
            };
            let (buffers, list) = (take("buffers")?, take("args")?);
            if let Some(key) = map.keys().next() {
                bail!("unknown key `{key}`; the file is a list, or an object of `buffers` and `args`");
            }
            Ok(Arguments { buffers: fresh_buffers(&buffers)?, list: entries(&list)? })
        }
        other => {
            bail!("it holds {}, expected a list with one entry for each parameter", describe(&other))
        }
    }
}

fn entries(list: &[Value]) -> Result<Vec<Argument>> {
    list.iter().enumerate().map(|(i, v)| entry(v).with_context(|| format!("argument {i}"))).collect()
}

fn fresh_buffers(list: &[Value]) -> Result<Vec<Fresh>> {
    let one = |(i, value): (usize, &Value)| match entry(value).with_context(|| format!("buffer {i}"))? {
        Argument::Fresh(fresh) => Ok(fresh),
        _ => bail!("buffer {i}: only `zeros` and `empty` make buffers"),
    };
    list.iter().enumerate().map(one).collect()
}

fn entry(value: &Value) -> Result<Argument> {
    let Value::Object(map) = value else {
        bail!("{}, expected an object such as {{\"tensor\": \"a\"}} or {{\"u32\": 64}}", describe(value));
    };
    let kinds: Vec<&str> = KINDS.iter().copied().filter(|k| map.contains_key(*k)).collect();
    let kind = match kinds[..] {
        [kind] => kind,
        [] => bail!("the object has none of the keys {}", KINDS.join(", ")),
        [a, b, ..] => bail!("the object has both `{a}` and `{b}`, expected one of them"),
    };
    let others: &[&str] = match kind {
        "tensor" => &["offset"],
        "zeros" | "empty" => &["dtype", "shape"],
        _ => &[],
    };
    if let Some(key) = map.keys().find(|k| *k != kind && !others.contains(&k.as_str())) {
        bail!("unknown key `{key}` beside `{kind}`");
    }
    let given = &map[kind];
    Ok(match kind {
        "tensor" => Argument::Tensor { name: text(kind, given)?, offset: offset(map)? },
        "zeros" | "empty" => Argument::Fresh(fresh(kind, map)?),
        "tensor_map" => {
            let spec = serde_json::from_value(given.clone()).context("`tensor_map`")?;
            Argument::Map(spec)
        }
        _ => Argument::Value(scalar(kind, given)?),
    })
}

fn offset(map: &Map<String, Value>) -> Result<u64> {
    match map.get("offset") {
        None => Ok(0),
        Some(v) => v.as_u64().ok_or_else(|| anyhow!("`offset` is {v}, expected bytes as a whole number")),
    }
}

fn fresh(kind: &str, map: &Map<String, Value>) -> Result<Fresh> {
    let need = |key: &str| {
        map.get(key).ok_or_else(|| anyhow!("`{kind}` needs `dtype` and `shape`; `{key}` is missing"))
    };
    let name = text(kind, &map[kind])?;
    let dtype = super::tensors::dtype(&text("dtype", need("dtype")?)?)?;
    let shape = need("shape")?;
    let dims = shape.as_array().and_then(|list| {
        list.iter().map(|d| d.as_u64().and_then(|d| usize::try_from(d).ok())).collect::<Option<Vec<usize>>>()
    });
    let shape = dims.ok_or_else(|| anyhow!("`shape` is {shape}, expected a list of whole numbers"))?;
    Ok(Fresh { name, dtype, shape, written: kind == "zeros" })
}

fn text(key: &str, value: &Value) -> Result<String> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| anyhow!("`{key}` is {}, expected a text", describe(value)))
}

fn scalar(kind: &str, value: &Value) -> Result<Arg> {
    Ok(match kind {
        "u8" => Arg::U8(integer(kind, value)?),
        "i8" => Arg::U8(integer::<i8>(kind, value)? as u8),
        "u16" => Arg::U16(integer(kind, value)?),
        "i16" => Arg::U16(integer::<i16>(kind, value)? as u16),
        "u32" => Arg::U32(integer(kind, value)?),
        "i32" => Arg::I32(integer(kind, value)?),
        "u64" => Arg::U64(integer(kind, value)?),
        "i64" => Arg::I64(integer(kind, value)?),
        "f32" => Arg::F32(float(kind, value)? as f32),
        "f64" => Arg::F64(float(kind, value)?),
        "bool" => match value {
            Value::Bool(b) => Arg::U8(u8::from(*b)),
            other => bail!("`bool` is {}, expected true or false", describe(other)),
        },
        "null" if *value == Value::Bool(true) => Arg::Null,
        "null" => bail!("`null` is {}, expected true", describe(value)),
        _ => Arg::Bytes(hexadecimal(&text(kind, value)?)?),
    })
}

/// An integer type with its name in the file.
trait Whole: TryFrom<i128> {
    const RANGE: (i128, i128);
}

macro_rules! whole {
    ($($t:ty),*) => { $(impl Whole for $t { const RANGE: (i128, i128) = (<$t>::MIN as i128, <$t>::MAX as i128); })* };
}
whole!(u8, i8, u16, i16, u32, i32, u64, i64);

fn integer<T: Whole>(kind: &str, value: &Value) -> Result<T> {
    let number = value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
    number.and_then(|n| T::try_from(n).ok()).ok_or_else(|| {
        let (low, high) = T::RANGE;
        anyhow!("`{kind}` is {value}, expected a whole number from {low} to {high}")
    })
}

/// A number; JSON has no infinities, so they are texts.
fn float(kind: &str, value: &Value) -> Result<f64> {
    let named = match value.as_str() {
        Some("inf") => Some(f64::INFINITY),
        Some("-inf") => Some(f64::NEG_INFINITY),
        Some("nan") => Some(f64::NAN),
        _ => None,
    };
    named
        .or(value.as_f64())
        .ok_or_else(|| anyhow!("`{kind}` is {value}, expected a number, \"inf\", \"-inf\" or \"nan\""))
}

fn hexadecimal(digits: &str) -> Result<Vec<u8>> {
    let digits: Vec<u8> = digits.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs.iter().map(|p| Some(digit(p[0])? << 4 | digit(p[1])?)).collect();
    match bytes {
        Some(bytes) if rest.is_empty() => Ok(bytes),
        _ => bail!("`bytes` must be pairs of hexadecimal digits, as in \"00ff\""),
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => format!("the text \"{s}\""),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// What an argument is, in words, for messages.
pub(super) fn name_of(argument: &Argument) -> String {
    match argument {
        Argument::Tensor { name, .. } => format!("the address of `{name}`"),
        Argument::Fresh(fresh) => format!("the address of `{}`", fresh.name),
        Argument::Map(spec) => format!("a tensor map over `{}`", spec.tensor),
        Argument::Value(Arg::Null) => "a null pointer".to_owned(),
        Argument::Value(Arg::Bytes(bytes)) => format!("{} bytes", bytes.len()),
        Argument::Value(value) => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_argument_is_read() {
        let text = r#"[{"tensor":"a"}, {"tensor":"a","offset":16}, {"zeros":"c","dtype":"BF16","shape":[2,3]},
            {"empty":"s","dtype":"U8","shape":[]}, {"u8":255}, {"i8":-1}, {"u16":65535}, {"i16":-2},
            {"u32":4294967295}, {"i32":-3}, {"u64":18446744073709551615}, {"i64":-4}, {"f32":0.5}, {"f64":"-inf"},
            {"bool":true}, {"null":true}, {"bytes":"00 ff7A"},
            {"tensor_map":{"tensor":"a","dtype":"bf16","dims":[64,8],"box":[64,8],"swizzle":"128B"}}]"#;
        let list = parse(text).expect("it is valid").list;
        assert_eq!(list.len(), 18);
        assert_eq!(list[1], Argument::Tensor { name: "a".into(), offset: 16 });
        let fresh = Fresh { name: "c".into(), dtype: Dtype::BF16, shape: vec![2, 3], written: true };
        assert_eq!(list[2], Argument::Fresh(fresh));
        assert!(matches!(&list[3], Argument::Fresh(f) if !f.written));
        let values: Vec<Arg> = list[4..17]
            .iter()
            .map(|a| match a {
                Argument::Value(v) => v.clone(),
                other => panic!("{other:?} is no value"),
            })
            .collect();
        let wanted = [
            Arg::U8(255),
            Arg::U8(255),
            Arg::U16(65535),
            Arg::U16(65534),
            Arg::U32(u32::MAX),
            Arg::I32(-3),
            Arg::U64(u64::MAX),
            Arg::I64(-4),
            Arg::F32(0.5),
            Arg::F64(f64::NEG_INFINITY),
            Arg::U8(1),
            Arg::Null,
            Arg::Bytes(vec![0, 255, 0x7a]),
        ];
        assert_eq!(values, wanted);
        assert!(matches!(&list[17], Argument::Map(m) if m.tensor == "a"));
    }

    #[test]
    fn buffers_of_tensor_maps_may_be_declared_apart() {
        let read = parse(r#"{"buffers":[{"zeros":"c","dtype":"F32","shape":[4]}],"args":[{"u32":1}]}"#);
        let read = read.expect("it is valid");
        assert_eq!((read.buffers.len(), read.list.len()), (1, 1));
    }

    #[test]
    fn mistakes_say_what_was_found_and_what_is_expected() {
        let cases = [
            ("{", "no valid JSON"),
            ("3", "it holds 3, expected a list"),
            ("[3]", "argument 0: 3, expected an object"),
            (r#"[{"u32":1},{"f16":1}]"#, "argument 1: the object has none of the keys tensor, zeros"),
            (r#"[{"u32":1,"i32":1}]"#, "both `u32` and `i32`"),
            (r#"[{"u32":-1}]"#, "`u32` is -1, expected a whole number from 0 to 4294967295"),
            (r#"[{"i8":1.5}]"#, "`i8` is 1.5"),
            (r#"[{"f32":"x"}]"#, "`f32` is \"x\", expected a number"),
            (r#"[{"tensor":1}]"#, "`tensor` is 1, expected a text"),
            (r#"[{"tensor":"a","shape":[1]}]"#, "unknown key `shape` beside `tensor`"),
            (r#"[{"zeros":"c","dtype":"F32"}]"#, "`shape` is missing"),
            (r#"[{"zeros":"c","dtype":"f32","shape":[1]}]"#, "`f32` is no element type; known are BOOL, U8"),
            (r#"[{"zeros":"c","dtype":"F32","shape":[-1]}]"#, "`shape` is [-1], expected a list"),
            (r#"[{"bytes":"0"}]"#, "pairs of hexadecimal digits"),
            (r#"[{"null":false}]"#, "`null` is false, expected true"),
            (r#"[{"tensor_map":{"tensor":"a"}}]"#, "`tensor_map`: missing field"),
            (r#"{"arg":[]}"#, "unknown key `arg`"),
        ];
        for (text, wanted) in cases {
            let error = format!("{:#}", parse(text).expect_err(text));
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}

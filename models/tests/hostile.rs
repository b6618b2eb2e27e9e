//! Damaged files: cut at every length, with bytes flipped, with absurd counts. An error or a correct read, never a
//! panic and never a large allocation. The loops that run for a second are the fuzz entry points; they take any
//! bytes, so a coverage-guided fuzzer can drive the same functions.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use jet_models::weights::gguf::{Array, Builder, Contents, GgufFault, Value};
use jet_models::weights::safetensors::{Header, TensorData, to_bytes};
use jet_models::weights::{FileBytes, Gguf, Safetensors};
use jet_numerics::DType;
use jet_numerics::philox::{Stream, Tag};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Reads all there is in a safetensors file. Any bytes are a legal input.
fn fuzz_safetensors(bytes: &[u8]) -> bool {
    let Ok(header) = Header::parse(bytes) else { return false };
    for entry in header.table.entries() {
        assert!(entry.range.end <= bytes.len());
    }
    let file = Safetensors::from_bytes(Path::new("any"), FileBytes::from_vec(bytes.to_vec())).unwrap();
    let names: Vec<_> = file.table().entries().iter().map(|e| e.name.clone()).collect();
    for tensor in names.iter().map(|n| file.tensor(n).unwrap()) {
        assert_eq!(tensor.to_f32().len(), tensor.elements());
    }
    true
}

/// Reads all there is in a GGUF file. Any bytes are a legal input.
fn fuzz_gguf(bytes: &[u8]) -> bool {
    let Ok(contents) = Contents::parse(bytes) else { return false };
    for entry in contents.table.entries() {
        assert!(entry.range.end <= bytes.len());
    }
    let file = Gguf::from_bytes(Path::new("any"), FileBytes::from_vec(bytes.to_vec())).unwrap();
    let names: Vec<_> = file.table().entries().iter().map(|e| e.name.clone()).collect();
    for tensor in names.iter().map(|n| file.tensor(n).unwrap()) {
        assert_eq!(tensor.to_f32().len(), tensor.elements());
    }
    for (_, value) in file.metadata() {
        let _ = (value.as_f64(), value.as_str(), value.as_integers(), value.kind());
    }
    true
}

fn small_safetensors() -> Vec<u8> {
    let floats: Vec<u8> = (0..12).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let metadata = BTreeMap::from([("op".to_owned(), "checkpoint".to_owned())]);
    let tensors = [
        TensorData { name: "model.norm.weight", dtype: DType::F32, shape: &[3, 4], bytes: &floats },
        TensorData { name: "ids", dtype: DType::I64, shape: &[2], bytes: &[0; 16] },
        TensorData { name: "empty", dtype: DType::Bf16, shape: &[0, 5], bytes: &[] },
    ];
    to_bytes(&metadata, &tensors).unwrap()
}

fn small_gguf() -> Vec<u8> {
    let words = ["a", "b\u{e9}", ""].map(str::to_owned).to_vec();
    Builder::new()
        .pair("general.architecture", Value::String("llama".into()))
        .pair("llama.block_count", Value::U32(2))
        .pair("flag", Value::Bool(true))
        .pair("eps", Value::F32(1e-5))
        .pair("tokens", Value::Array(Array::String(words)))
        .pair("types", Value::Array(Array::I32(vec![1, 3, -1])))
        .pair("nested", Value::Array(Array::Array(vec![Array::U8(vec![1, 2]), Array::U16(vec![])])))
        .pair("big", Value::U64(u64::MAX))
        .tensor("w", DType::Q4_1, &[2, 32], &[7; 40])
        .tensor("n", DType::F32, &[3], &[0; 12])
        .tensor("k", DType::Q6K, &[1, 256], &[9; 210])
        .to_bytes()
}

#[test]
fn the_whole_files_are_read() {
    assert!(fuzz_safetensors(&small_safetensors()));
    assert!(fuzz_gguf(&small_gguf()));
    let file = Gguf::from_bytes(Path::new("any"), FileBytes::from_vec(small_gguf())).unwrap();
    assert_eq!(file.get("tokens").unwrap().as_strings().unwrap()[1], "b\u{e9}");
    assert_eq!(file.get("types").unwrap().as_integers().unwrap(), [1, 3, -1]);
    assert_eq!(file.get("big").unwrap().as_u64(), Some(u64::MAX));
    assert_eq!(file.tensor("w").unwrap().shape[..], [2, 32]);
    assert!(matches!(file.get("nested"), Some(Value::Array(Array::Array(v))) if v.len() == 2));
}

#[test]
fn every_prefix_is_an_error() {
    let (safetensors, gguf) = (small_safetensors(), small_gguf());
    for n in 0..safetensors.len() {
        assert!(!fuzz_safetensors(&safetensors[..n]), "{n} bytes of {}", safetensors.len());
    }
    for n in 0..gguf.len() {
        assert!(!fuzz_gguf(&gguf[..n]), "{n} bytes of {}", gguf.len());
    }
}

#[test]
fn every_single_byte_may_be_anything() {
    for whole in [small_safetensors(), small_gguf()] {
        for i in 0..whole.len() {
            for byte in [0, 1, 0x20, 0x7F, 0x80, 0xFF, whole[i] ^ 1, whole[i].wrapping_add(1)] {
                let mut bytes = whole.clone();
                bytes[i] = byte;
                fuzz_safetensors(&bytes);
                fuzz_gguf(&bytes);
            }
        }
    }
}

fn run_for_a_second(seed: u64, whole: &[u8], entry: fn(&[u8]) -> bool) {
    let (stream, start, mut round) = (Stream::new(seed, Tag::Data, 0, 0), Instant::now(), 0u64);
    while start.elapsed() < Duration::from_secs(1) {
        let mut draw = (0..).map(|i| stream.word(round * 64 + i) as usize);
        let mut bytes = whole.to_vec();
        for _ in 0..1 + draw.next().unwrap() % 6 {
            let (at, word) = (draw.next().unwrap() % bytes.len().max(1), draw.next().unwrap());
            match word % 4 {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << (word / 4 % 8),
                1 if !bytes.is_empty() => bytes[at] = (word >> 8) as u8,
                2 => bytes.insert(at, (word >> 8) as u8),
                _ => bytes.truncate(bytes.len() - word / 4 % 8.min(bytes.len() + 1)),
            }
        }
        entry(&bytes);
        round += 1;
    }
    eprintln!("{round} inputs, seed {seed}");
}

#[test]
fn fuzz_gguf_for_a_second() {
    run_for_a_second(1, &small_gguf(), fuzz_gguf);
}

#[test]
fn fuzz_safetensors_for_a_second() {
    run_for_a_second(2, &small_safetensors(), fuzz_safetensors);
}

/// The start of a GGUF file that claims `tensors` and `pairs`.
fn start(tensors: u64, pairs: u64) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(tensors.to_le_bytes());
    bytes.extend(pairs.to_le_bytes());
    bytes
}

fn text(s: &[u8]) -> Vec<u8> {
    let mut bytes = (s.len() as u64).to_le_bytes().to_vec();
    bytes.extend(s);
    bytes
}

fn pair(kind: u32, value: &[u8]) -> Vec<u8> {
    [start(0, 1), text(b"key"), kind.to_le_bytes().to_vec(), value.to_vec()].concat()
}

#[test]
fn absurd_counts_are_refused_before_anything_is_made() {
    let huge = u64::MAX.to_le_bytes();
    let array = |kind: u32| pair(9, &[&kind.to_le_bytes()[..], &huge].concat());
    for (bytes, expected) in [
        (start(u64::MAX, 0), "claims 18446744073709551615 tensors"),
        (start(0, 1 << 40), "claims 1099511627776 metadata pairs"),
        ([start(0, 1), huge.to_vec(), vec![0; 16]].concat(), "the key of metadata pair 0"),
        (pair(8, &huge), "ends inside the metadata value `key`"),
        (array(0), "ends inside the metadata value `key`"),
        (array(8), "elements of the metadata value `key`"),
        (array(9), "elements of the metadata value `key`"),
        (array(12), "ends inside the metadata value `key`"),
        (array(77), "an element of the metadata value `key` has the type 77"),
        (pair(13, &[0; 8]), "the metadata value `key` has the type 13"),
        (pair(7, &[2]), "the metadata value `key` is the boolean 2"),
        ([start(0, 1), text(&[0xFF]), vec![0; 16]].concat(), "is not valid UTF-8"),
        (b"GGUF\0\0\0\x03".to_vec(), "big-endian"),
        (b"GGUF\x09\0\0\0".to_vec(), "version 9; jet reads GGUF versions 2 and 3"),
        (b"PK\x03\x04".to_vec(), "no GGUF file"),
        (vec![], "no GGUF file"),
    ] {
        let found = Contents::parse(&bytes).unwrap_err().to_string();
        assert!(found.contains(expected), "{found:?} should contain {expected:?}");
    }
    // Arrays in arrays, deeper than is read.
    let mut deep = Vec::new();
    for _ in 0..1000 {
        deep.extend(9u32.to_le_bytes());
        deep.extend(1u64.to_le_bytes());
    }
    deep.extend([0; 64]);
    assert!(matches!(Contents::parse(&pair(9, &deep)), Err(GgufFault::Nesting { .. })));
}

#[test]
fn tensor_lists_are_judged() {
    let line = |name: &str, dims: &[u64], kind: u32, offset: u64| {
        let mut bytes = text(name.as_bytes());
        bytes.extend((dims.len() as u32).to_le_bytes());
        dims.iter().for_each(|d| bytes.extend(d.to_le_bytes()));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes
    };
    let file = |lines: &[Vec<u8>]| [start(lines.len() as u64, 0), lines.concat(), vec![0; 256]].concat();
    let w = |dims: &[u64], kind, offset| file(&[line("w", dims, kind, offset)]);
    for (bytes, expected) in [
        (w(&[], 0, 0), "`w` has 0 dimensions"),
        (w(&[1, 1, 1, 1, 1], 0, 0), "`w` has 5 dimensions"),
        (w(&[32], 10, 0), "`w` is stored in Q2_K (format 10), which jet does not read; it reads f64, f32"),
        (w(&[32], 999, 0), "the unknown format 999"),
        (w(&[33], 2, 0), "the shape [33], which q4_0 blocks of 32 do not divide"),
        (w(&[u64::MAX, u64::MAX], 0, 0), "or which overflows"),
        (w(&[1 << 40], 0, 0), "lies at bytes"),
        (w(&[4], 0, 8), "starts at 8, no multiple of the alignment 32"),
        (w(&[4], 0, u64::MAX - 31), "lies at bytes"),
        (file(&[line("w", &[4], 0, 0), line("w", &[4], 0, 32)]), "`w` is listed twice"),
        (file(&[line("v", &[16], 0, 0), line("w", &[4], 0, 32)]), "`v` and `w` share bytes"),
    ] {
        let found = Contents::parse(&bytes).unwrap_err().to_string();
        assert!(found.contains(expected), "{found:?} should contain {expected:?}");
    }
    let twice = Builder::new().pair("k", Value::U8(1)).pair("k", Value::U8(2)).to_bytes();
    assert_eq!(Contents::parse(&twice).unwrap_err().to_string(), "the metadata key `k` occurs twice");
    for alignment in [Value::U32(0), Value::U32(33), Value::U32(1 << 20), Value::String("32".into())] {
        let bytes = Builder::new().pair("general.alignment", alignment).to_bytes();
        assert!(matches!(Contents::parse(&bytes), Err(GgufFault::Key { .. })));
    }
}

proptest! {
    #[test]
    fn any_bytes_at_all(bytes in prop::collection::vec(any::<u8>(), 0..400), gguf in any::<bool>()) {
        let mut bytes = bytes;
        if gguf {
            bytes.splice(0..0, *b"GGUF\x03\0\0\0");
        }
        fuzz_gguf(&bytes);
        fuzz_safetensors(&bytes);
    }

    #[test]
    fn many_flipped_bytes(seed in any::<u64>(), flips in 1usize..20) {
        let stream = Stream::new(seed, Tag::Data, 1, 0);
        for mut bytes in [small_safetensors(), small_gguf()] {
            for i in 0..flips as u64 {
                let at = stream.word(2 * i) as usize % bytes.len();
                bytes[at] = stream.word(2 * i + 1) as u8;
            }
            fuzz_gguf(&bytes);
            fuzz_safetensors(&bytes);
        }
    }
}

//! The number formats and the random streams against stored vectors, bit for bit.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use common::{smollm2, vector, vectors};
use jet_models::weights::{Gguf, Safetensors};
use jet_numerics::philox::{Stream, Tag, philox4x32};
use jet_numerics::{DType, dequantize_row};

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn decoded(file: &Safetensors, dtype: DType, raw: &str, expected: &str) {
    let (raw, expected) = (file.tensor(raw).unwrap(), file.tensor(expected).unwrap().to_f32());
    let mut got = vec![0.0; expected.len()];
    dequantize_row(dtype, &raw.bytes, &mut got).unwrap();
    assert_eq!(bits(&got), bits(&expected), "{} as {dtype}", raw.name);
}

#[test]
fn block_formats_decode_as_the_gguf_package_does() {
    let file = vector("gguf_blocks/blocks.safetensors");
    let formats: Vec<_> = DType::ALL.into_iter().filter(|d| d.is_quantized()).collect();
    assert_eq!(file.table().entries().len(), 2 * formats.len());
    for dtype in formats {
        decoded(&file, dtype, &format!("{dtype}.raw"), &format!("{dtype}.f32"));
    }
}

#[test]
fn rows_of_a_real_file_decode_exactly() {
    let file = vector("smollm2/dequant_samples.safetensors");
    let mut seen = 0;
    for entry in file.table().entries() {
        let Some(stem) = entry.name.strip_suffix(".raw") else { continue };
        let dtype = match stem {
            s if s.starts_with("token_embd") => DType::Q8_0,
            s if s.contains("norm") => DType::F32,
            _ => DType::Q4_1,
        };
        decoded(&file, dtype, &entry.name, &format!("{stem}.f32"));
        seen += 1;
    }
    assert_eq!(seen, 14);
}

#[test]
fn sums_of_every_tensor_of_a_real_file_agree() {
    let Some(path) = smollm2() else { return };
    let gguf = Gguf::open(&path).unwrap();
    let text = std::fs::read_to_string(vectors("smollm2/tensor_sums.json")).unwrap();
    let sums: serde_json::Value = serde_json::from_str(&text).unwrap();
    let sums = sums.get("tensors").unwrap_or(&sums).as_object().unwrap();
    assert_eq!(gguf.table().entries().len(), sums.len());
    for (name, expected) in sums {
        let entry = gguf.table().get(name).unwrap_or_else(|| panic!("{name} is not in the file"));
        assert_eq!(entry.range.start as u64, expected["offset"].as_u64().unwrap(), "{name}");
        let dims: Vec<u64> =
            expected["dims"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap()).collect();
        assert_eq!(entry.shape.iter().rev().copied().collect::<Vec<_>>(), dims, "{name}");
        let values = gguf.tensor(name).unwrap().to_f32();
        let sum: f64 = values.iter().map(|&v| f64::from(v)).sum();
        let squares: f64 = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        // The order of a f64 sum is free; a single wrong value would show at this bound.
        let near = |a: f64, b: &serde_json::Value| (a - b.as_f64().unwrap()).abs() <= 1e-9 * squares.max(1.0);
        assert!(
            near(sum, &expected["sum"]) && near(squares, &expected["sumsq"]),
            "{name}: {sum} {squares} {expected}"
        );
    }
}

fn words(file: &Safetensors, name: &str) -> Vec<u32> {
    file.tensor(name).unwrap().to_i64().unwrap().into_iter().map(|w| w as u32).collect()
}

#[test]
fn philox_agrees_with_its_vectors() {
    let file = vector("rng/philox.safetensors");
    let all = |name: &str, rounds: u32| {
        let (ctr, key) = (words(&file, &format!("{name}_ctr")), words(&file, &format!("{name}_key")));
        let out = words(&file, &format!("{name}_out"));
        assert_eq!(ctr.len(), out.len());
        for i in 0..out.len() / 4 {
            let counter = ctr[4 * i..4 * i + 4].try_into().unwrap();
            let key = key[2 * i..2 * i + 2].try_into().unwrap();
            let got =
                if rounds == 7 { philox4x32::<7>(counter, key) } else { philox4x32::<10>(counter, key) };
            assert_eq!(got, out[4 * i..4 * i + 4], "{name} {i}");
        }
    };
    all("any", 10);
    all("kat10", 10);
    all("kat7", 7);
}

fn tag(id: i64) -> Tag {
    use Tag::{Data, Dropout, Engram, Init, RfGauss, RfNorm, RhtSign, Safety, StochasticRounding};
    let all = [RfGauss, RfNorm, StochasticRounding, Dropout, RhtSign, Init, Data, Safety, Engram];
    all.into_iter().find(|t| *t as i64 == id).unwrap()
}

#[test]
fn streams_agree_with_their_vectors() {
    const SEED: u64 = 1234;
    let file = vector("rng/philox.safetensors");
    for n in 0..5 {
        let def = file.tensor(&format!("stream{n}_def")).unwrap().to_i64().unwrap();
        let [t, layer, unit, hi, first, count] = def[..] else { panic!("six numbers") };
        let stream = Stream::new(SEED, tag(t), layer as u32, unit as u32).at_step(hi as u32);
        let expected = words(&file, &format!("stream{n}_words"));
        let uniform = file.tensor(&format!("stream{n}_u01")).unwrap().to_f32();
        assert_eq!(expected.len(), count as usize);
        for (i, (&word, &u)) in expected.iter().zip(&uniform).enumerate() {
            assert_eq!(stream.word(first as u64 + i as u64), word, "stream {n} word {i}");
            assert_eq!(stream.uniform(first as u64 + i as u64).to_bits(), u.to_bits());
        }
    }
    for (name, unit) in [("normal", 4), ("normal_odd", 5)] {
        let expected = file.tensor(name).unwrap().to_f32();
        let mut got = vec![0.0; expected.len()];
        Stream::new(SEED, Tag::Init, 1, unit).normals_at(0, &mut got);
        for (g, e) in got.iter().zip(&expected) {
            assert!((g.to_bits() as i64 - e.to_bits() as i64).abs() <= 1, "{name}: {g} for {e}");
        }
    }
    let integers = file.tensor("randint").unwrap().to_i64().unwrap();
    let stream = Stream::new(SEED, Tag::Data, 0, 6);
    assert!(integers.iter().enumerate().all(|(i, &v)| stream.integer(i as u64, -5, 12) == v));
    for layer in 0..4 {
        let signs = file.tensor(&format!("rht_signs_layer{layer}")).unwrap().to_f32();
        let stream = Stream::new(SEED, Tag::RhtSign, layer, 0);
        assert!(signs.iter().enumerate().all(|(i, &s)| f32::from(stream.sign(i as u64)) == s));
    }
    let stream = Stream::new(SEED, Tag::StochasticRounding, 3, 5).at_step(7);
    assert_eq!(stream.words(8).collect::<Vec<_>>(), words(&file, "sr_block_words"));
    let bytes: Vec<i64> = stream.words(8).flat_map(u32::to_le_bytes).map(i64::from).collect();
    assert_eq!(bytes, file.tensor("sr_block_bytes").unwrap().to_i64().unwrap());
}

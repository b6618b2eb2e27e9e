//! What a user can get wrong, and damaged files: an error that names the file, the tensor or the token, and what was
//! expected; never a panic and never a wrong answer.

use jet_models::session::{LoadOptions, Schedules, Session};
use jet_models::target::Target;
use jet_models::weights::gguf::{Builder, Value};
use jet_models::weights::safetensors::{TensorData, to_bytes};
use jet_models::weights::{RowOrder, Safetensors};
use jet_numerics::DType;
use jet_runtime::device::Precision;
use jet_tests::{real_model, vectors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A tensor, owned, to be changed.
#[derive(Clone)]
struct Owned {
    name: String,
    dtype: DType,
    shape: Vec<u64>,
    bytes: Vec<u8>,
}

/// A checkpoint to be spoilt: the stored tiny llama, in a folder of its own.
struct Spoilt {
    folder: tempfile::TempDir,
    config: String,
    tensors: Vec<Owned>,
}

impl Spoilt {
    fn new() -> Self {
        let source = vectors("dense/tiny_llama");
        let config = std::fs::read_to_string(source.join("config.json")).expect("a stored vector");
        let file = Safetensors::open(&source.join("model.safetensors")).expect("a stored vector");
        let entries = file.table().entries().iter();
        let tensors = entries.map(|e| {
            let t = file.tensor(&e.name).expect("a listed tensor is there");
            Owned { name: e.name.clone(), dtype: t.dtype, shape: t.shape.to_vec(), bytes: t.bytes.to_vec() }
        });
        let spoilt =
            Self { config, tensors: tensors.collect(), folder: tempfile::tempdir().expect("a folder") };
        spoilt.write();
        spoilt
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn weights(&self) -> PathBuf {
        self.path().join("model.safetensors")
    }

    fn bytes(&self) -> Vec<u8> {
        let data: Vec<TensorData<'_>> = self
            .tensors
            .iter()
            .map(|t| TensorData { name: &t.name, dtype: t.dtype, shape: &t.shape, bytes: &t.bytes })
            .collect();
        to_bytes(&BTreeMap::new(), &data).expect("types that safetensors can hold")
    }

    fn write(&self) {
        std::fs::write(self.path().join("config.json"), &self.config).expect("the folder is writable");
        std::fs::write(self.weights(), self.bytes()).expect("the folder is writable");
    }

    fn tensor(&mut self, name: &str) -> &mut Owned {
        self.tensors.iter_mut().find(|t| t.name == name).expect("the test knows its tensors")
    }

    /// The checkpoint's error, as it is now.
    fn error(&self) -> String {
        self.write();
        load_error(self.path())
    }
}

fn options() -> LoadOptions {
    LoadOptions {
        context: Some(64),
        precision: Precision::F32.into(),
        threads: 2,
        schedules: Schedules::off(),
        ..LoadOptions::default()
    }
}

fn load(path: &Path) -> Result<Session, String> {
    let target = Target::resolve(&path.to_string_lossy()).map_err(|e| e.to_string())?;
    Session::load(&target, &options()).map_err(|e| e.to_string())
}

fn load_error(path: &Path) -> String {
    match load(path) {
        Ok(_) => panic!("{} loads", path.display()),
        Err(e) => e,
    }
}

fn logits(session: &mut Session, ids: &[u32]) -> Vec<f32> {
    let sequence = session.open().expect("a sequence opens");
    let logits = session.prefill(sequence, ids).expect("the prompt runs").to_vec();
    session.close(sequence);
    logits
}

#[track_caller]
fn says(error: &str, words: &[&str]) {
    for word in words {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
    assert!(!error.contains("panicked"), "a panic in: {error}");
}

const Q: &str = "model.layers.1.self_attn.q_proj.weight";

#[test]
fn the_untouched_copy_loads() {
    let spoilt = Spoilt::new();
    assert_eq!(logits(&mut load(spoilt.path()).expect("it is sound"), &[1, 2, 3]).len(), 128);
}

#[test]
fn tensors_that_are_missing_extra_or_misshapen_are_all_named_at_once() {
    let mut spoilt = Spoilt::new();
    spoilt.tensors.retain(|t| t.name != "model.norm.weight");
    spoilt.tensor("model.embed_tokens.weight").dtype = DType::I32;
    let extra =
        Owned { name: "model.layers.9.strange".into(), dtype: DType::F32, shape: vec![1], bytes: vec![0; 4] };
    spoilt.tensors.push(extra);
    // Query rows and columns are equal in number here, so the shape is spoilt by force.
    let q = spoilt.tensor(Q);
    q.shape = vec![q.shape[0] * q.shape[1]];
    let error = spoilt.error();
    says(
        &error,
        &["model.safetensors", "`model.norm.weight` is missing", Q, "has shape [5184], expected [72, 72]"],
    );
    says(&error, &["`model.layers.9.strange`", "`model.embed_tokens.weight` is stored as i32"]);
}

#[test]
fn a_config_that_contradicts_the_weights_names_both() {
    let mut spoilt = Spoilt::new();
    spoilt.config = spoilt.config.replace("\"intermediate_size\": 120", "\"intermediate_size\": 128");
    says(&spoilt.error(), &["mlp.up_proj.weight", "has shape [120, 72], expected [128, 72]"]);
    let mut spoilt = Spoilt::new();
    spoilt.config = spoilt.config.replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4");
    says(&spoilt.error(), &["model.layers.3.self_attn.q_proj.weight", "is missing"]);
    let mut spoilt = Spoilt::new();
    spoilt.config = spoilt.config.replace("\"num_key_value_heads\": 3", "\"num_key_value_heads\": 4");
    says(&spoilt.error(), &["config.json", "num_key_value_heads", "4", "9"]);
    let mut spoilt = Spoilt::new();
    spoilt.config = spoilt.config.replace("\"model_type\": \"llama\"", "\"model_type\": \"gpt_neox\"");
    says(&spoilt.error(), &["config.json", "gpt_neox", "llama", "nemotron_h"]);
    spoilt.config.truncate(40);
    says(&spoilt.error(), &["config.json", "not valid JSON"]);
}

#[test]
fn weights_that_are_no_numbers_are_found_before_they_run() {
    for (bad, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let mut spoilt = Spoilt::new();
        spoilt.tensor(Q).bytes[400..404].copy_from_slice(&bad.to_le_bytes());
        let error = spoilt.error();
        says(&error, &[Q]);
        assert!(error.to_lowercase().contains(&word.to_lowercase()), "`{word}` is not in: {error}");
    }
}

#[test]
fn a_file_that_was_cut_is_never_read() {
    let spoilt = Spoilt::new();
    let bytes = spoilt.bytes();
    for cut in [0, 1, 7, 8, 9, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(spoilt.weights(), &bytes[..cut]).expect("the folder is writable");
        says(&load_error(spoilt.path()), &["model.safetensors"]);
    }
    std::fs::write(spoilt.weights(), [&bytes[..], b"more"].concat()).expect("the folder is writable");
    says(&load_error(spoilt.path()), &["model.safetensors"]);
    std::fs::remove_file(spoilt.weights()).expect("it is there");
    says(&load_error(spoilt.path()), &["expected model.safetensors", &spoilt.path().to_string_lossy()]);
}

#[test]
fn a_spoilt_header_is_an_error_or_the_same_model() {
    let spoilt = Spoilt::new();
    let bytes = spoilt.bytes();
    let sound = logits(&mut load(spoilt.path()).expect("it is sound"), &[5, 6]);
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    // Every 13th byte of the header, three ways.
    for (i, flip) in (0..header).step_by(13).zip([1u8, 0x20, 0x80].into_iter().cycle()) {
        let mut changed = bytes.clone();
        changed[i] ^= flip;
        std::fs::write(spoilt.weights(), &changed).expect("the folder is writable");
        match load(spoilt.path()) {
            // A swap of equal digits of two offsets would still be a valid file: then sizes must agree.
            Ok(mut session) => assert_eq!(logits(&mut session, &[5, 6]).len(), sound.len()),
            Err(e) => says(&e, &["model.safetensors"]),
        }
    }
}

#[test]
fn prompts_that_cannot_run_are_refused_before_anything_ran() {
    let spoilt = Spoilt::new();
    let mut session = load(spoilt.path()).expect("it is sound");
    let plain = logits(&mut session, &[1, 2, 3]);
    let sequence = session.open().expect("a sequence opens");
    let mut error = |ids: &[u32]| match session.prefill(sequence, ids) {
        Ok(_) => panic!("{} tokens run", ids.len()),
        Err(e) => e.to_string(),
    };
    says(&error(&[]), &["empty"]);
    says(&error(&[0; 65]), &["65", "64"]);
    says(&error(&[1, 128]), &["128"]);
    says(&error(&[u32::MAX]), &["4294967295", "128"]);
    // Nothing of it went into the sequence.
    assert_eq!(session.position(sequence), 0);
    assert_eq!(session.prefill(sequence, &[1, 2, 3]).expect("it runs"), plain);
    let full = vec![7; 61];
    session.prefill(sequence, &full).expect("64 tokens fit");
    let error = session.step(sequence, 1).map(<[f32]>::len).expect_err("the context is full").to_string();
    says(&error, &["64"]);
}

#[test]
fn a_model_larger_than_the_memory_is_refused_with_the_figures() {
    let target = Target::resolve("nemotron-3-nano-30b-a3b").expect("a preset");
    let options = LoadOptions {
        random: Some(1),
        batch: 4_000,
        context: Some(target.spec().max_context as usize),
        schedules: Schedules::off(),
        ..LoadOptions::default()
    };
    let error = match Session::load(&target, &options) {
        Ok(_) => panic!("it loads"),
        Err(e) => e.to_string(),
    };
    says(&error, &["nemotron-3-nano-30b-a3b", "needs", "available", "iB"]);
}

#[test]
fn names_that_are_no_model_get_a_suggestion() {
    let error = |text: &str| Target::resolve(text).map(|_| ()).expect_err("no model").to_string();
    says(&error("smollm2-135n"), &["did you mean `smollm2-135m`?"]);
    says(&error("/nowhere/model.gguf"), &["/nowhere/model.gguf"]);
    let empty = tempfile::tempdir().expect("a folder");
    says(&error(&empty.path().to_string_lossy()), &["config.json"]);
    let source = empty.path().join("a.rs");
    std::fs::write(&source, "fn main() {}").expect("the folder is writable");
    says(&error(&source.to_string_lossy()), &["a.rs", "jet_model!"]);
    std::fs::write(&source, "jet_model! { pub struct A; vocab: 0 }").expect("the folder is writable");
    says(&error(&source.to_string_lossy()), &["a.rs", "1:", "vocab"]);
}

/// The tiny llama as a GGUF file, its matrices stored as `dtype` and its query and key rows as that format has them.
fn gguf(spoilt: &Spoilt, change: impl Fn(&mut Vec<(String, Value)>, &mut Vec<Owned>)) -> Vec<u8> {
    let target = Target::resolve(&spoilt.path().to_string_lossy()).expect("a sound checkpoint");
    let spec = target.spec();
    let mut tensors: Vec<Owned> = spec
        .weights()
        .iter()
        .map(|w| {
            let stored = spoilt.tensors.iter().find(|t| t.name == w.name).expect("a sound checkpoint");
            let mut owned = stored.clone();
            owned.name = spec.gguf_name(w.id).expect("a llama has names in GGUF");
            if owned.name.contains("attn_q.") || owned.name.contains("attn_k.") {
                let (order, row) = (RowOrder::AdjacentPairs { d_head: 8 }, owned.shape[1] as usize * 4);
                for r in 0..owned.shape[0] as usize {
                    let to = order.stored_row(r) * row;
                    owned.bytes[to..to + row].copy_from_slice(&stored.bytes[r * row..(r + 1) * row]);
                }
            }
            owned
        })
        .collect();
    let mut pairs: Vec<(String, Value)> = [
        ("embedding_length", 72),
        ("block_count", 3),
        ("feed_forward_length", 120),
        ("attention.head_count", 9),
        ("attention.head_count_kv", 3),
        ("context_length", 8192),
        ("vocab_size", 128),
    ]
    .map(|(key, n)| (format!("llama.{key}"), Value::U32(n)))
    .into();
    pairs.push(("general.architecture".into(), Value::String("llama".into())));
    pairs.push(("llama.attention.layer_norm_rms_epsilon".into(), Value::F32(1e-5)));
    pairs.push(("llama.rope.freq_base".into(), Value::F32(100_000.0)));
    change(&mut pairs, &mut tensors);
    let mut file = Builder::new();
    for (key, value) in &pairs {
        file = file.pair(key, value.clone());
    }
    for t in &tensors {
        file = file.tensor(&t.name, t.dtype, &t.shape, &t.bytes);
    }
    file.to_bytes()
}

/// Writes a GGUF file beside the checkpoint.
fn put(spoilt: &Spoilt, bytes: &[u8]) -> PathBuf {
    let path = spoilt.path().join("tiny.gguf");
    std::fs::write(&path, bytes).expect("the folder is writable");
    path
}

#[test]
fn a_gguf_file_is_the_same_model_as_its_checkpoint() {
    let spoilt = Spoilt::new();
    let path = put(&spoilt, &gguf(&spoilt, |_, _| ()));
    let ids: Vec<u32> = (0..40).map(|i| i * 7 % 128).collect();
    let a = logits(&mut load(spoilt.path()).expect("it is sound"), &ids);
    let b = logits(&mut load(&path).expect("it is sound"), &ids);
    assert_eq!(a, b);
}

#[test]
fn a_gguf_file_that_is_wrong_says_in_what() {
    let spoilt = Spoilt::new();
    let error = |change: fn(&mut Vec<(String, Value)>, &mut Vec<Owned>)| {
        load_error(&put(&spoilt, &gguf(&spoilt, change)))
    };
    says(
        &error(|_, t| t.retain(|t| t.name != "output_norm.weight")),
        &["tiny.gguf", "`output_norm.weight` is missing"],
    );
    says(&error(|_, t| t[2].shape = vec![36, 144]), &["tiny.gguf", "has shape [36, 144]"]);
    says(
        &error(|_, t| {
            let twin = t[2].clone();
            t.push(twin);
        }),
        &["tiny.gguf", "blk.0.attn_"],
    );
    says(
        &error(|p, _| p.retain(|p| p.0 != "llama.block_count")),
        &["tiny.gguf", "llama.block_count", "missing"],
    );
    says(&error(|p, _| p[1].1 = Value::U32(2)), &["tiny.gguf", "blk.2."]);
    says(&error(|p, _| p[1].1 = Value::U32(u32::MAX)), &["tiny.gguf", "block_count", "4294967295"]);
    says(
        &error(|p, _| p[0].1 = Value::String("wide".into())),
        &["tiny.gguf", "llama.embedding_length", "wide"],
    );
    says(&error(|p, _| p.push(p[0].clone())), &["tiny.gguf", "llama.embedding_length"]);
    let arch = |p: &mut Vec<(String, Value)>, _: &mut Vec<Owned>| {
        p.retain(|p| p.0 != "general.architecture");
        p.push(("general.architecture".into(), Value::String("mamba".into())));
    };
    says(&error(arch), &["tiny.gguf", "general.architecture", "mamba", "llama"]);
    says(&error(|_, t| t[5].bytes[0..4].copy_from_slice(&f32::NAN.to_le_bytes())), &["tiny.gguf", "blk.0."]);
}

#[test]
fn a_gguf_file_that_was_cut_or_flipped_is_an_error_or_a_model() {
    let spoilt = Spoilt::new();
    let bytes = gguf(&spoilt, |_, _| ());
    for cut in [0, 3, 4, 8, 16, 23, 24, 100, 700, bytes.len() / 2, bytes.len() - 1] {
        says(&load_error(&put(&spoilt, &bytes[..cut])), &["tiny.gguf"]);
    }
    for (i, flip) in (0..1500).step_by(31).zip([1u8, 0x10, 0x80].into_iter().cycle()) {
        let mut changed = bytes.clone();
        changed[i] ^= flip;
        if let Err(e) = load(&put(&spoilt, &changed)) {
            says(&e, &["tiny.gguf"]);
        }
    }
    says(&load_error(&put(&spoilt, b"not a model at all, but long enough to be one")), &["tiny.gguf"]);
}

#[test]
fn the_real_model_cut_in_half_is_an_error() {
    use std::io::Read;
    let Some(model) = real_model() else { return };
    let mut half = Vec::new();
    let file = std::fs::File::open(&model).expect("it is there");
    file.take(40_000_000).read_to_end(&mut half).expect("it can be read");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("half.gguf");
    std::fs::write(&path, &half).expect("the folder is writable");
    says(&load_error(&path), &["half.gguf"]);
}

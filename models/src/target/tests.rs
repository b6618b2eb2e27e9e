use super::*;
use crate::presets::TinyHybrid;
use crate::weights::gguf::{Builder, Value};
use jet_dsl::weight::{Role, WeightRef};
use std::fs;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn message(text: &str) -> String {
    Target::resolve(text).unwrap_err().to_string()
}

fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

const TINY: &str = "jet_model! { pub struct Small; vocab: 8, d_model: 16, norm: rms_norm { eps: 1e-5 }, \
    tie_embeddings: true, pattern: \"-\", blocks { '-' => mlp { hidden: 32, act: relu2 } } }";

#[test]
fn every_preset_is_a_target_without_weights() {
    for preset in crate::presets::ALL {
        let target = Target::resolve(preset.name).unwrap();
        assert_eq!(*target.spec(), (preset.spec)());
        assert!(!target.has_weights() && target.checkpoint().unwrap().is_none());
        let error = target.weights(None).err().unwrap().to_string();
        assert!(error.contains(preset.name) && error.contains("--random"), "{error}");
        assert_eq!(target.weights(Some(Random::new(3))).unwrap().seed(), Some(3));
    }
}

#[test]
fn a_wrong_name_is_told_what_was_meant_and_what_there_is() {
    let error = message("smollm-135m");
    assert!(error.contains("did you mean `smollm2-135m`?") && error.contains("jet_model!"), "{error}");
    let error = message("zzz");
    assert!(error.contains("`tiny-hybrid`") && error.contains("ORG/NAME"), "{error}");
    assert!(message("./no/such/folder").contains("there is no such file or folder"));
    assert!(message("none.gguf").contains("none.gguf"));
    assert!(message("none.rs").contains("there is no such file"));
    assert!(message("").contains("is no model"));
}

#[test]
fn a_source_file_gives_its_only_model_or_the_named_one() {
    let dir = folder();
    let one = file(&dir, "one.rs", TINY);
    assert_eq!(Target::resolve(&one).unwrap().spec().name, "small");
    assert_eq!(Target::resolve(&format!("{one}::Small")).unwrap().spec().vocab, 8);
    let two = file(&dir, "two.rs", &format!("{TINY}\n{}", TINY.replace("Small", "Other")));
    let error = message(&two);
    assert!(
        error.contains("declares 2 models, `Small` and `Other`") && error.contains("two.rs::Small"),
        "{error}"
    );
    assert_eq!(Target::resolve(&format!("{two}::Other")).unwrap().spec().name, "other");
    let error = message(&format!("{two}::Othre"));
    assert!(error.contains("no model `Othre`") && error.contains("did you mean `Other`?"), "{error}");
}

#[test]
fn a_faulty_source_file_is_told_line_and_column_of_every_fault() {
    let dir = folder();
    let text = format!("// A comment.\n{}", TINY.replace("vocab: 8", "vocab: 0").replace("relu2", "relu3"));
    let path = file(&dir, "bad.rs", &text);
    let error = message(&path);
    assert!(error.contains("2 faults") && error.matches(&format!("{path}:2:")).count() == 2, "{error}");
    assert!(message(&file(&dir, "none.rs", "fn main() {}")).contains("declares no model"));
    fs::write(dir.path().join("bytes.rs"), [0x66, 0xFF, 0xFE]).unwrap();
    assert!(message(&dir.path().join("bytes.rs").display().to_string()).contains("byte 1 is not"));
}

#[test]
fn a_folder_is_told_what_it_lacks() {
    let dir = folder();
    let here = dir.path().display().to_string();
    assert!(message(&here).contains("has no config.json, so it is no checkpoint folder"));
    file(&dir, "model.gguf", "x");
    assert!(message(&here).contains("did you mean") && message(&here).contains("model.gguf"));
    let weights = file(&dir, "model.safetensors", "x");
    assert!(message(&weights).contains("give the folder"));
    file(&dir, "config.json", "{ \"model_type\": \"gpt9\" }");
    let error = message(&here);
    assert!(error.contains("config.json") && error.contains("gpt9") && error.contains("llama"), "{error}");
}

#[test]
fn a_config_is_named_after_its_folder_and_needs_no_weights_to_be_looked_at() {
    let dir = folder();
    let model = dir.path().join("my-model");
    fs::create_dir(&model).unwrap();
    let config = r#"{ "model_type": "llama", "vocab_size": 96, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "max_position_embeddings": 128, "tie_word_embeddings": true, "eos_token_id": [2, 5],
        "hidden_act": "silu" }"#;
    fs::write(model.join("config.json"), config).unwrap();
    for text in [model.display().to_string(), model.join("config.json").display().to_string()] {
        let target = Target::resolve(&text).unwrap();
        assert_eq!(target.spec().name, "my-model");
        assert_eq!(target.spec().pattern, "*-*-");
        assert_eq!(target.notes().eos, [2, 5]);
        assert!(!target.has_weights());
        assert!(target.weights(None).is_err());
        let embedding = WeightRef { layer: None, role: Role::Embedding };
        assert_eq!(target.formats(DType::F16).unwrap().info(embedding).unwrap().dtype, DType::F16);
    }
}

#[test]
fn damaged_gguf_files_are_refused_by_name() {
    let dir = folder();
    assert!(message(&file(&dir, "short.gguf", "GGUF")).contains("short.gguf"));
    assert!(message(&file(&dir, "text.gguf", "hello, world, this is no model")).contains("text.gguf"));
    let path = dir.path().join("other.gguf");
    fs::write(&path, Builder::new().pair("general.architecture", Value::String("mamba".into())).to_bytes())
        .unwrap();
    let error = message(&path.display().to_string());
    assert!(error.contains("mamba") && error.contains("llama"), "{error}");
}

#[test]
fn a_declaration_says_in_what_it_differs_from_a_file() {
    let mut other = TinyHybrid::SPEC;
    assert!(gguf::differences(&TinyHybrid::SPEC, &other).is_empty());
    other.name = "another".into();
    other.max_context = 7;
    assert!(gguf::differences(&TinyHybrid::SPEC, &other).is_empty());
    other.vocab = 5;
    other.pattern = "MM*M-J".into();
    let all = gguf::differences(&TinyHybrid::SPEC, &other);
    assert_eq!(all[0], "vocab is 5 in the file and 32000 in the declaration");
    assert_eq!(all[1], "the number of blocks is 6 in the file and 7 in the declaration");
}

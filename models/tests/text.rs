//! The tokenizer and the chat template of a real GGUF file against stored cases.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use common::{smollm2, vectors};
use jet_models::text::{Message, Special, Text};
use jet_models::weights::FileBytes;
use jet_models::weights::Gguf;
use jet_models::weights::gguf::{Array, Builder, Value};
use jet_numerics::philox::{Stream, Tag};
use serde_json::Value as Json;
use std::path::Path;

fn cases() -> Json {
    let text = std::fs::read_to_string(vectors("smollm2/tokenizer_cases.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn ids(json: &Json) -> Vec<u32> {
    json.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn text() -> Option<Text> {
    smollm2().map(|path| Text::from_gguf(&Gguf::open(&path).unwrap()).unwrap())
}

#[test]
fn texts_become_the_stored_ids_and_come_back() {
    let Some(text) = text() else { return };
    let cases = cases();
    for case in cases["cases"].as_array().unwrap() {
        let (words, expected) = (case["text"].as_str().unwrap(), ids(&case["ids"]));
        assert_eq!(text.tokenizer.encode(words).unwrap(), expected, "{words:?}");
        assert_eq!(
            text.tokenizer.decode(&expected, Special::Show).unwrap(),
            case["decoded"].as_str().unwrap()
        );
    }
}

#[test]
fn bytes_without_a_token_are_dropped() {
    let Some(text) = text() else { return };
    let without: Vec<u64> =
        cases()["bytes_without_token"].as_array().unwrap().iter().map(|b| b.as_u64().unwrap()).collect();
    for byte in 0..0x80u64 {
        let word = char::from(byte as u8).to_string();
        let ids = text.tokenizer.encode(&word).unwrap();
        assert_eq!(ids.is_empty(), without.contains(&byte), "{byte:#x}");
        assert!(ids.is_empty() || text.tokenizer.decode(&ids, Special::Show).unwrap() == word);
    }
}

#[test]
fn conversations_become_the_stored_prompts() {
    let Some(text) = text() else { return };
    let cases = cases();
    for chat in cases["chats"].as_array().unwrap() {
        let messages: Vec<Message> = serde_json::from_value(chat["messages"].clone()).unwrap();
        let answer = chat["add_generation_prompt"].as_bool().unwrap();
        let prompt = text.template.as_ref().unwrap().render(&messages, answer).unwrap();
        assert_eq!(prompt, chat["rendered"].as_str().unwrap());
        assert_eq!(text.tokenizer.encode_rendered(&prompt).unwrap(), ids(&chat["ids"]));
        if answer {
            assert_eq!(text.encode_chat(&messages).unwrap(), ids(&chat["ids"]));
        }
    }
    assert_eq!(text.defaults.eos, [2]);
    assert_eq!(text.defaults.bos, Some(1));
}

#[test]
fn a_stream_gives_the_whole_text_in_whole_characters() {
    let Some(text) = text() else { return };
    let t = &text.tokenizer;
    let emoji = t.encode("na\u{ef}ve \u{1F642}\u{1F44D}\u{1F3FD} \u{4F60}\u{597D}<|im_end|>").unwrap();
    let stream = Stream::new(3, Tag::Data, 0, 0);
    let random =
        |n: u64| (0..60).map(|i| stream.integer(n * 60 + i, 0, t.vocab_size() as i64 + 2) as u32).collect();
    let mut inputs: Vec<Vec<u32>> = (0..200).map(random).collect();
    inputs.push(emoji);
    for ids in inputs {
        for special in [Special::Show, Special::Hide] {
            let mut decoder = t.stream(special);
            let mut out: String = ids.iter().map(|&id| decoder.push(id).unwrap()).collect();
            out.push_str(&decoder.finish().unwrap());
            assert_eq!(out, t.decode(&ids, special).unwrap());
        }
    }
}

/// A small file with a tokenizer, one pair of which can be replaced or left out.
fn file(change: &str, value: Option<Value>) -> Gguf {
    let strings = |s: &[&str]| Value::Array(Array::String(s.iter().map(|s| (*s).to_owned()).collect()));
    let pairs = [
        ("tokenizer.ggml.model", Value::String("gpt2".into())),
        ("tokenizer.ggml.pre", Value::String("smollm".into())),
        ("tokenizer.ggml.tokens", strings(&["<|end|>", "a", "b", "ab", "abb", "\u{120}"])),
        ("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![3, 1, 1, 1, 1, 1]))),
        ("tokenizer.ggml.merges", strings(&["a b", "ab b"])),
        ("tokenizer.ggml.bos_token_id", Value::U32(0)),
        ("tokenizer.ggml.eos_token_id", Value::U32(0)),
    ];
    let mut builder = Builder::new();
    for (key, original) in pairs {
        builder = match &value {
            Some(new) if key == change => builder.pair(key, new.clone()),
            None if key == change => builder,
            _ => builder.pair(key, original),
        };
    }
    if let Some(value) = value.filter(|_| !change.is_empty() && !pairs_has(change)) {
        builder = builder.pair(change, value);
    }
    Gguf::from_bytes(Path::new("x.gguf"), FileBytes::from_vec(builder.to_bytes())).unwrap()
}

fn pairs_has(key: &str) -> bool {
    let own = ["model", "pre", "tokens", "token_type", "merges", "bos_token_id", "eos_token_id"];
    key.strip_prefix("tokenizer.ggml.").is_some_and(|k| own.contains(&k))
}

#[test]
fn a_small_tokenizer_is_built_from_its_parts() {
    let text = Text::from_gguf(&file("", None)).unwrap();
    assert_eq!(text.tokenizer.encode("abb<|end|>ab a?").unwrap(), [4, 0, 3, 5, 1]);
    assert!(text.template.is_none() && text.tokenizer.is_special(0));
    assert_eq!(
        text.encode_chat(&[]).unwrap_err().to_string(),
        "the model has no chat template; give a plain prompt"
    );
    let text = Text::from_gguf(&file("tokenizer.ggml.add_bos_token", Some(Value::Bool(true)))).unwrap();
    assert_eq!(text.tokenizer.encode("a").unwrap(), [0, 1]);
    assert_eq!(text.tokenizer.encode("<|end|>a").unwrap(), [0, 1], "the start token is not put twice");
    assert_eq!(text.tokenizer.encode_rendered("a").unwrap(), [1]);
}

#[test]
fn damaged_tokenizers_are_named() {
    let strings = |s: &[&str]| Some(Value::Array(Array::String(s.iter().map(|s| (*s).to_owned()).collect())));
    for (key, value, expected) in [
        ("model", None, "`tokenizer.ggml.model` is missing"),
        ("model", Some(Value::String("llama".into())), "of the kind `llama`; jet reads byte-level BPE"),
        ("model", Some(Value::U8(1)), "`tokenizer.ggml.model` is an unsigned number; expected a string"),
        (
            "pre",
            Some(Value::String("odd".into())),
            "`odd` is not known; jet knows gpt-2, smollm, qwen2, llama-bpe",
        ),
        ("tokens", strings(&["a", "a"]), "the token \"a\" has two ids, 0 and 1"),
        ("tokens", strings(&["a"]), "which is no token"),
        ("merges", strings(&["ab"]), "merge 0, \"ab\", is not two tokens"),
        ("merges", strings(&["abb abb"]), "speaks of \"abbabb\", which is no token"),
        ("merges", strings(&[""]), "merge 0, \"\", is not two tokens"),
        ("token_type", Some(Value::Array(Array::I32(vec![1]))), "has 1 entries for 6 tokens"),
        ("token_type", Some(Value::Bool(true)), "is a boolean; expected whole numbers"),
        ("eos_token_id", Some(Value::String("x".into())), "is a string; expected a token id"),
        (
            "add_bos_token",
            Some(Value::U8(1)),
            "`tokenizer.ggml.add_bos_token` is an unsigned number; expected a boolean",
        ),
    ] {
        let error = Text::from_gguf(&file(&format!("tokenizer.ggml.{key}"), value)).unwrap_err().to_string();
        assert!(
            error.starts_with("x.gguf: ") && error.contains(expected),
            "{error:?} should contain {expected:?}"
        );
    }
}
